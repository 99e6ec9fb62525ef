"""Tables of results in ``data/results``, whose rows are made once: a key says what determines a row."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from gancomp_core import files
from gancomp_core.errors import GancompError
from gancomp_core.measure import machine_class


@dataclass(frozen=True)
class RecordedTable:
    """The Parquet file ``data/results/<name>.parquet``. A row is a dictionary of plain values with a ``key``.

    A row is written as soon as it is made, the file whole or not at all, one process at a time.
    """

    name: str

    @property
    def path(self) -> Path:
        return files.data_root() / "results" / f"{self.name}.parquet"

    def rows(self) -> pd.DataFrame:
        """All rows; an empty frame when there are none. Raises :class:`GancompError` for a file that is damaged."""
        try:
            return pd.read_parquet(self.path) if self.path.exists() else pd.DataFrame()
        except (ValueError, OSError) as error:  # pyarrow's errors are kinds of these
            raise GancompError(
                f"The table {self.path} cannot be read; 'git checkout -- data/results/{self.path.name}' restores the "
                "shipped one."
            ) from error

    def row(self, key: str) -> dict[str, Any] | None:
        """The row of this key, None where it was never made."""
        rows = self.rows()
        found = rows[rows.key == key] if len(rows) else rows
        return None if found.empty else found.iloc[0].to_dict()

    def once(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The row of this key, made and written down where it is not there yet."""
        if (row := self.row(key)) is not None:
            return row
        row = {"key": key, **make(), **provenance()}
        with lock(self.path.with_suffix(".lock")):
            rows = pd.concat([self.rows(), pd.DataFrame([row])], ignore_index=True).drop_duplicates("key", keep="last")
            with files.atomic_write(self.path) as temporary:
                rows.to_parquet(temporary, index=False)
        return row


def key_of(*parts: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def lock(path: Path) -> FileLock:
    """One process at a time for what ``path`` stands beside."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GancompError(
            f"The folder {path.parent} cannot be made ({error.strerror}); set GANCOMP_CACHE to one of your own."
        ) from error
    return FileLock(path)


def provenance() -> dict[str, str]:
    """What a row was made by: the class of the machine, the commit and the time."""
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
