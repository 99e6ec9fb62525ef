"""The one table of results, ``data/results/results.parquet``, and the artifacts that belong to its rows.

A row is made once: its ``key`` is that of its :class:`Experiment`. It holds what was asked (``name``, ``kind``,
``task``, ``seed``, ``spec``), what made it (``machine``, ``commit``, ``when``, ``protocol``), and a column for each
metric. Rows that were recorded under the first schema keep their former key in ``old_key``. Frontiers and histories are
in ``data/results/artefacts``, under the first 16 characters of the key.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from gancomp_core import files
from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.lab.experiment import JSON, Experiment, canonical
from gancomp_core.measure import machine_class

Rows: TypeAlias = pd.DataFrame
COLUMNS = ("key", "name", "kind", "task", "spec")  # that every row has, as text


def path() -> Path:
    """The file of the table."""
    return files.data_root() / "results" / "results.parquet"


def artifact(experiment: Experiment, suffix: str) -> Path:
    """The file that belongs to an experiment's row."""
    return path().parent / "artefacts" / f"{experiment.key[:16]}{suffix}"


State: TypeAlias = tuple[Path, int, int, int]


def state() -> State:
    """What changes when the table does, whatever the clock says: its path, size, number on the disk, and time."""
    try:
        about = path().stat()
    except FileNotFoundError:
        return path(), 0, 0, 0
    return path(), about.st_size, about.st_ino, about.st_mtime_ns


@lru_cache(maxsize=2)
def _table(state: State) -> pd.DataFrame:
    file, size, *_ = state
    if not size:
        return pd.DataFrame(columns=["key", "kind", "task"])
    try:
        table = pd.read_parquet(io.BytesIO(file.read_bytes()))  # a path is opened twice, between which it may change
        if missing := [name for name in COLUMNS if not pd.api.types.is_string_dtype(table[name])]:
            raise TypeError(f"{missing[0]} is no text")
        return table
    except Exception as error:  # pyarrow and pandas raise many kinds
        raise GancompError(
            f"The table {file} cannot be read; 'git checkout -- data/results/{file.name}' restores the shipped one."
        ) from error


@lru_cache(maxsize=2)
def _by_key(state: State) -> dict[str, int]:
    return {key: place for place, key in enumerate(_table(state).key)}


@lru_cache(maxsize=64)
def _part(state: State, kinds: tuple[str, ...], task: str | None) -> pd.DataFrame:
    part = _table(state)
    if kinds and len(part):
        part = part[part.kind.isin(kinds)]
        part = part.dropna(axis=1, how="all") if len(part) else part
    if task is not None:
        part = part[part.task == task]
    part = part.reset_index(drop=True)
    if not kinds:
        return part
    whole = [name for name in part if part[name].dtype == "Int64" and part[name].notna().all()]
    return part.astype(dict.fromkeys(whole, "int64"))


def rows(kind: str | Collection[str] = (), task: str | None = None) -> Rows:
    """Recorded rows.

    Args:
        kind: One kind or some, whose columns are returned; empty for all.
        task: A task; None for all.

    Returns:
        The rows.

    Raises:
        GancompError: For a file that is damaged.
    """
    return _part(state(), (kind,) if isinstance(kind, str) else tuple(kind), task).copy()


def row(key: str) -> Json | None:
    """The values of the row with this key, without missing ones; None where it was never made."""
    found = _row(state(), key)
    return None if found is None else dict(found)


@lru_cache(maxsize=4096)
def _row(state: State, key: str) -> Json | None:
    place = _by_key(state).get(key)
    return None if place is None else dict(_table(state).iloc[place].dropna().to_dict())


def once(experiment: Experiment, make: Callable[[], Mapping[str, JSON]]) -> Json:
    """The row of an experiment, made and recorded where it is not there yet.

    One process makes it while others that ask for the same row wait; it is written atomically as soon as it is made.

    Args:
        experiment: The experiment.
        make: Computes the values of its row.

    Returns:
        The row.
    """
    if (found := row(experiment.key)) is not None:
        return found
    return add(experiment, made(experiment, make))


def made(experiment: Experiment, make: Callable[[], Mapping[str, JSON]]) -> Json:
    """The first half of :func:`once`, which a worker on another machine may do: the row, but not yet in the table.

    It is kept in the experiment's folder until :func:`add` has it, so that what is finished is not done again, whoever
    dies in between.
    """
    with files.locked(experiment.folder / "lock"):
        found = _waiting(experiment) or row(experiment.key)  # in this order: it leaves one when the other has it
        if found:
            return found
        new = {**identity(experiment), **make(), **provenance()}
        with files.atomic_write(_waiting_file(experiment)) as temporary:
            temporary.write_text(json.dumps(new, default=lambda number: number.item()), encoding="utf-8")
    return new


def add(experiment: Experiment, new: Json) -> Json:
    """The second half of :func:`once`: the row goes into the table, unless another process has put it there.

    Raises:
        GancompError: For a row of another experiment.
    """
    if new["key"] != experiment.key:
        raise GancompError(
            f"A worker did another experiment than '{experiment}': its pictures, weights or code differ from those "
            "here; give all workers the same commit and the same data."
        )
    with files.locked(path().with_suffix(".lock")):
        if row(experiment.key) is None:
            whole = {name: "Int64" for name, value in new.items() if type(value) is int}
            together = pd.concat([_table(state()), pd.DataFrame([new])], ignore_index=True).astype(whole)
            with files.atomic_write(path()) as temporary:
                together.to_parquet(temporary, index=False, compression="zstd")
    _waiting_file(experiment).unlink(missing_ok=True)
    return new


def _waiting_file(experiment: Experiment) -> Path:
    return experiment.folder / "row.json"


def _waiting(experiment: Experiment) -> Json | None:
    """The row that was made and is not yet in the table, if there is one."""
    try:
        found: Json = json.loads(_waiting_file(experiment).read_text(encoding="utf-8"))
        return found if found["key"] == experiment.key else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def identity(experiment: Experiment) -> dict[str, JSON]:
    """The columns of a row that describe its experiment."""
    about = {name: getattr(experiment, name) for name in ("key", "name", "kind", "task", "seed", "schema")}
    return {
        **about,
        "spec": canonical(experiment.spec),
        "protocol": experiment.version,
        "weights": canonical(experiment.weights) if experiment.weights else None,
    }


def provenance() -> dict[str, str]:
    """What made a row: the class of machine, the commit and the time."""
    return {
        "machine": machine_class(),
        "commit": _commit(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str:
    """The commit whose code runs, marked when files of the package were changed since; "unknown" without git."""
    try:
        commit, changed = (
            subprocess.run(["git", *words], cwd=files.REPOSITORY, capture_output=True, text=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "gancomp_core"))
        )
    except OSError:
        return "unknown"
    return f"{commit or 'unknown'}{'-changed' if changed else ''}"
