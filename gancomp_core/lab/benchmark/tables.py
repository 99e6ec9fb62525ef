"""The benchmark as tables: scores by seed, one row a method, differences between two of them, and the headline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gancomp_core.errors import GancompError
from gancomp_core.lab.benchmark.compressed import COMPRESSED, LIGHTER, LIGHTER_FORMS, compressed_key, lighter_key
from gancomp_core.lab.benchmark.entries import COMBINED, TEACHER, Entry, Member, entries, entry
from gancomp_core.lab.benchmark.timing import THREADS, TIMES, rounds
from gancomp_core.lab.runs import table as recorded_runs
from gancomp_core.measure import PairedInterval, paired_interval

SCORES = ("fd", "kid", "psnr", "ssim", "perceptual")
FLOAT, INT8 = "float32", "int8"
FORMS = (FLOAT, INT8, *LIGHTER_FORMS)
QUARTILES = ("low", "median", "high")
TIMED_AS = {FLOAT: "float"}  # the others by their own names


def scores(of: Entry) -> pd.DataFrame:
    """What is recorded of an entry: a row for each seed and form, one of :data:`FORMS`.

    Columns: ``form``, ``seed``, ``macs``, ``params``, ``fd`` (where the task has one), ``kid``, ``psnr``, ``ssim``,
    ``perceptual``, each of the last step and, where a run was watched, ``..._best``; ``bytes`` of the ONNX file, None
    for a float row without an int8 one, and of the weights alone for other forms. Forms but float32 add
    ``psnr_to_float``, int8 also ``float_...``, the scores of the very weights that were rounded. Empty where nothing is
    recorded.
    """
    runs, small, light = _by_key(recorded_runs()), _by_key(COMPRESSED.rows()), _by_key(LIGHTER.rows())
    rows = [row for member in of.members for row in (*_rows(member, runs, small), *_lighter_rows(member, light))]
    return pd.DataFrame(rows)


def _by_key(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {} if rows.empty else rows.set_index("key").to_dict("index")


def _rows(member: Member, runs: dict[str, Any], small: dict[str, Any]) -> Iterator[dict[str, Any]]:
    run, packed = runs.get(member.key), small.get(compressed_key(member))
    about = {"seed": member.seed}
    if run is not None:
        both = {f"{name}{end}": run.get(f"{name}{end or '_last'}") for name in SCORES for end in ("", "_best")}
        size = packed["bytes_float"] if packed else None
        yield {**about, "form": FLOAT, "macs": run["macs"], "params": run["params"], "bytes": size, **both}
    if packed is None:
        return
    about |= {name: packed[name] for name in ("macs", "params")}
    if run is None:
        found = {name: packed.get(f"float_{name}") for name in SCORES}
        yield {**about, "form": FLOAT, "bytes": packed["bytes_float"], **found}
    found = {name: packed.get(f"int8_{name}") for name in (*SCORES,)}
    found |= {f"float_{name}": packed.get(f"float_{name}") for name in SCORES}  # of the very weights that were rounded
    likeness = {name: packed[name] for name in ("psnr_to_float", "psnr_to_float_worst")}
    yield {**about, "form": INT8, "bytes": packed["bytes_int8"], **found, **likeness}


def _lighter_rows(member: Member, light: dict[str, Any]) -> Iterator[dict[str, Any]]:
    columns = ("form", "seed", "macs", "params", "bytes", *SCORES, "psnr_to_float", "psnr_to_float_worst")
    for form in LIGHTER_FORMS:
        if (row := light.get(lighter_key(member, form))) is not None:
            yield {name: row.get(name) for name in columns}


def table(task: str) -> pd.DataFrame:
    """The benchmark of a task: one row an entry and form, indexed by both, as far as it is recorded.

    ``seeds``, ``steps`` of training; ``macs``, ``params``, ``bytes`` as in :func:`scores`; mean and ``..._spread``
    (standard deviation over seeds) of each score, ``float_...`` the mean of the same seeds before rounding; ``ms_1``,
    ``p95_1`` and the same of 2 threads (onnxruntime), ``torch_ms_1``, ``torch_p95_1`` and so on (PyTorch, float32),
    ``memory`` in bytes (1 thread); and beside the teacher in float32 ``times_fewer_macs``, ``times_smaller``,
    ``times_faster_1``, ``times_faster_2``. ``ms_...`` is the median of the row's own quietest round, on the class of
    machine that was timed last: what else runs there only ever adds to a time (Chen and Revels, "Robust benchmarking in
    noisy environments", 2016). ``p95_...`` is the middle one of all rounds' 95th percentiles, with whatever else ran,
    and ``times_faster_1_low``, ``..._median`` and ``..._high`` are quartiles of the rounds' own ratios.
    """
    times, of = TIMES.rows(), {each.label: each for each in entries(task)}
    found = {(label, form): row for label, each in of.items() for form, row in _summaries(each, times)}
    if not found:
        raise GancompError(
            f"Nothing of the benchmark of {task} is recorded; 'gancomp benchmark do {task}' measures it."
        )
    rows = pd.DataFrame(found.values(), index=pd.MultiIndex.from_tuples(found, names=("method", "form")))
    if (TEACHER, FLOAT) in rows.index:
        teacher = rows.loc[(TEACHER, FLOAT)]
        rows["times_fewer_macs"] = teacher["macs"] / rows["macs"]
        rows["times_smaller"] = teacher["bytes"] / rows["bytes"]
        for threads in THREADS:
            rows[f"times_faster_{threads}"] = teacher[f"ms_{threads}"] / rows[f"ms_{threads}"]
            whole = rounds(of[TEACHER], "float", threads, times).ms
            ratios = [whole / rounds(of[name], TIMED_AS.get(form, form), threads, times).ms for name, form in found]
            for word, part in zip(QUARTILES, (0.25, 0.5, 0.75), strict=True):
                rows[f"times_faster_{threads}_{word}"] = [ratio.quantile(part) for ratio in ratios]
    return rows


def _summaries(of: Entry, times: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    recorded = scores(of)
    for form in FORMS:
        some = recorded[recorded.form == form] if len(recorded) else recorded
        if some.empty:
            continue
        row: dict[str, Any] = {"seeds": len(some), "steps": of.steps}
        row |= {name: some[name].iloc[0] for name in ("macs", "params")}
        row["bytes"] = some["bytes"].mean()
        for name in some.columns.difference(["form", "seed", "macs", "params", "bytes"]):
            row |= {name: some[name].mean(), f"{name}_spread": some[name].std()}
        yield form, row | _times(of, form, times)


def _times(of: Entry, form: str, times: pd.DataFrame) -> dict[str, Any]:
    """Quietest median and middle 95th percentile of the rounds, at each number of threads; memory of one."""
    row: dict[str, Any] = {}
    for threads in THREADS:
        for word, name in (("", TIMED_AS.get(form, form)), *((("torch_", "torch"),) if form == FLOAT else ())):
            found = rounds(of, name, threads, times)
            row |= {f"{word}ms_{threads}": found.ms.min(), f"{word}p95_{threads}": found.p95.median()}
    one = rounds(of, TIMED_AS.get(form, form), 1, times)
    return row | {"memory": one.memory.max(), "machine": next(iter(one.machine), None)}


def differences(task: str, label: str, other: str, score: str = "fd", form: str = FLOAT) -> PairedInterval:
    """By how many per cent ``label`` scores above ``other``: the 95 % interval over the seeds that both have.

    Raises :class:`GancompError` for fewer than two seeds in common.
    """
    ours, theirs = (by_seed(entry(task, name), score, form) for name in (label, other))
    both = ours.index.intersection(theirs.index)
    return paired_interval(list(100 * (ours[both] / theirs[both] - 1)))


def by_seed(of: Entry, score: str, form: str = FLOAT) -> pd.Series:
    """One score of an entry, indexed by seed; raises :class:`GancompError` where it is not recorded."""
    recorded = scores(of)
    if recorded.empty or score not in recorded:
        raise GancompError(
            f"No {score} of '{of.label}' on {of.task} is recorded; 'gancomp benchmark do {of.task}' measures it."
        )
    return recorded[recorded.form == form].set_index("seed")[score].astype(float)


#: For each task the row with the fewest multiplications that learned from its teacher.
HEADLINES = {"edges2shoes": COMBINED, "flat2gloss": "searched, fine-tuned"}


@dataclass(frozen=True)
class Headline:
    """A compressed network in int8 beside its teacher in float32, in the same runtime.

    ``fewer_macs``, ``smaller`` (the ONNX file) and ``faster`` (by number of threads) say how many times, and
    ``faster_by_round`` has the quartiles of the rounds of timing; ``distance`` has for each seed the set distance
    ``name`` (FD, else KID) as a multiple of the teacher's; ``beside`` has for other scores the mean and the teacher's.
    """

    task: str
    label: str
    fewer_macs: float
    smaller: float
    faster: dict[int, float]
    faster_by_round: dict[int, tuple[float, ...]]
    distance: tuple[float, ...]
    name: str
    beside: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        values, seeds = pd.Series(self.distance), len(self.distance)
        spread = f" +- {values.std():.2f}" if seeds > 1 else ""
        faster = ", ".join(
            f"{times:.1f} times faster on {threads} thread{'s' * (threads > 1)} ({words})"
            for threads, times in self.faster.items()
            for words in [" / ".join(f"{quartile:.1f}" for quartile in self.faster_by_round[threads])]
        )
        return (
            f"{self.task}, {self.label}, int8: {self.fewer_macs:.1f} times fewer MACs, a file {self.smaller:.0f} times "
            f"smaller, {faster}, "
            f"{self.name} {values.mean():.2f}{spread} times the teacher's ({seeds} seed{'s' * (seeds > 1)}); "
            + ", ".join(f"{name} {ours:.3g} (teacher {its:.3g})" for name, (ours, its) in self.beside.items())
        )


def headline(task: str = "edges2shoes") -> Headline:
    """A task's row of :data:`HEADLINES` in int8 against the teacher in float32.

    Raises :class:`GancompError` where one is not recorded, and for a task that has none.
    """
    if task not in HEADLINES:
        raise GancompError(f"There is no headline of '{task}'; choose one of {', '.join(HEADLINES)}.")
    rows, label = table(task), HEADLINES[task]
    for wanted in ((TEACHER, FLOAT), (label, INT8)):
        if wanted not in rows.index or pd.isna(rows.loc[wanted, "ms_1"]):
            raise GancompError(
                f"'{wanted[0]}' in {wanted[1]} is not measured on {task}; 'gancomp benchmark do {task}' does it."
            )
    row, teacher = rows.loc[(label, INT8)], rows.loc[(TEACHER, FLOAT)]
    name = "fd" if pd.notna(teacher["fd"]) else "kid"
    distances = by_seed(entry(task, label), name, INT8) / float(teacher[name])
    others = {"KID": "kid", "PSNR": "psnr", "SSIM": "ssim"}
    return Headline(
        task,
        label,
        float(row.times_fewer_macs),
        float(row.times_smaller),
        {threads: float(row[f"times_faster_{threads}"]) for threads in THREADS},
        {n: tuple(float(row[f"times_faster_{n}_{part}"]) for part in QUARTILES) for n in THREADS},
        tuple(float(value) for value in distances),
        name.upper(),
        {word: (float(row[each]), float(teacher[each])) for word, each in others.items() if each in row},
    )
