"""The benchmark as tables: scores by seed, one row a method, differences between two of them, and the headline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.lab import results
from gancomp_core.lab.benchmark.compressed import WEIGHT_FORMS, in_forms, in_int8
from gancomp_core.lab.benchmark.rows import HEADLINES, TEACHER, Row, row, rows
from gancomp_core.lab.benchmark.timing import THREADS, Clock
from gancomp_core.lab.experiment import Experiment
from gancomp_core.measure import PairedInterval, paired_interval

SCORES = ("fd", "kid", "psnr", "ssim", "perceptual")
FLOAT, INT8 = "float32", "int8"
FORMS = (FLOAT, INT8, *WEIGHT_FORMS)
QUARTILES = ("low", "median", "high")
COSTS = {name: name for name in ("macs", "params")}
LIKENESS = {name: name for name in ("psnr_to_float", "psnr_to_float_worst")}
LIGHT = COSTS | LIKENESS | {name: name for name in ("form", "seed", "bytes", *SCORES)}
TIMED_AS = {FLOAT: "float"}  # the others by their own names


def scores(of: Row) -> pd.DataFrame:
    """What is recorded of a row: a row for each seed and form, one of :data:`FORMS`.

    Columns: ``form``, ``seed``, ``macs``, ``params``, ``fd`` (where the task has one), ``kid``, ``psnr``, ``ssim``,
    ``perceptual``, each of the last step and, where a run was watched, ``..._best``; ``bytes`` of the ONNX file, none
    for a float row without an int8 one, and of the weights alone for other forms. Forms but float32 add
    ``psnr_to_float``, int8 also ``float_...``, the scores of the very weights that were rounded. Empty where nothing is
    recorded.
    """
    found = [each for network in of.experiments for each in _scores(of, network)]
    found += [_taken(metrics, LIGHT) for each in in_forms(of) if (metrics := results.row(each.key)) is not None]
    return pd.DataFrame(found)


def _scores(of: Row, network: Experiment) -> Iterator[Json]:
    """One network in float32 and in int8, as far as it is recorded."""
    run, rounded = (results.row(each.key) for each in (network, in_int8(of, network)))
    about, bytes_float = {"seed": network.seed, "form": FLOAT}, rounded["bytes_float"] if rounded else None
    if run is not None:
        ends = {f"{name}{end}": f"{name}{end or '_last'}" for name in SCORES for end in ("", "_best")}
        yield {**about, **_taken(run, COSTS), "bytes": bytes_float, **_taken(run, ends)}
    if rounded is None:
        return
    before = {f"float_{name}": f"float_{name}" for name in SCORES}
    if run is None:
        yield {
            **about,
            **_taken(rounded, COSTS),
            "bytes": bytes_float,
            **_taken(rounded, {n: f"float_{n}" for n in SCORES}),
        }
    about |= {"form": INT8, "bytes": rounded["bytes_int8"]}
    yield {**about, **_taken(rounded, COSTS | LIKENESS | before | {name: f"int8_{name}" for name in SCORES})}


def _taken(metrics: Json, names: Mapping[str, str]) -> Json:
    """Some metrics of a row under new names; what is not recorded is not a number."""
    return {name: metrics.get(column, math.nan) for name, column in names.items()}


def table(task: str) -> pd.DataFrame:
    """The benchmark of a task: one row a label and form, indexed by both, as far as it is recorded.

    ``seeds``, ``steps`` of training; ``macs``, ``params``, ``bytes`` as in :func:`scores`; mean and ``..._spread``
    (standard deviation over seeds) of each score, ``float_...`` the mean of the same seeds before rounding; ``ms_1``,
    ``p95_1`` and the same of 2 threads (onnxruntime), ``torch_ms_1``, ``torch_p95_1`` and so on (PyTorch, float32),
    ``memory`` in bytes (1 thread); and compared with the teacher in float32 ``times_fewer_macs``, ``times_smaller``,
    ``times_faster_1``, ``times_faster_2``. ``ms_...`` is the median of the row's own quietest round, on the class of
    machine that was timed last: what else runs there only ever adds to a time (Chen and Revels, "Robust benchmarking in
    noisy environments", 2016). ``p95_...`` is the middle one of all rounds' 95th percentiles, with whatever else ran,
    and ``times_faster_1_low``, ``..._median`` and ``..._high`` are quartiles of the rounds' own ratios.
    """
    of = {each.label: each for each in rows(task)}
    recorded = [found.assign(method=label) for label, each in of.items() if len(found := scores(each))]
    if not recorded:
        raise GancompError(
            f"Nothing of the benchmark of {task} is recorded; 'gancomp benchmark do {task}' measures it."
        )
    whole = _summaries(pd.concat(recorded), of)
    clock = Clock(results.rows("latency"))
    times = [_times(of[label], form, clock) for label, form in whole.index]
    whole = whole.join(pd.DataFrame(times, index=whole.index))
    if (TEACHER, FLOAT) in whole.index:
        teacher = whole.loc[(TEACHER, FLOAT)]
        whole["times_fewer_macs"] = teacher["macs"] / whole["macs"]
        whole["times_smaller"] = teacher["bytes"] / whole["bytes"]
        for threads in THREADS:
            whole[f"times_faster_{threads}"] = teacher[f"ms_{threads}"] / whole[f"ms_{threads}"]
            its = clock(of[TEACHER], "float", threads)
            ratios = [its / clock(of[name], TIMED_AS.get(form, form), threads) for name, form in whole.index]
            whole[[f"times_faster_{threads}_{word}" for word in QUARTILES]] = [
                ratio.quantile([0.25, 0.5, 0.75]).to_numpy() for ratio in ratios
            ]
    return whole


def _summaries(recorded: pd.DataFrame, of: Mapping[str, Row]) -> pd.DataFrame:
    """Seeds, steps, costs, and mean and spread of each score: a row a method and form."""
    by = recorded.groupby(["method", "form"], sort=False)
    names = recorded.columns.difference(["method", "form", "seed", "macs", "params", "bytes"])
    whole = by.agg(seeds=("seed", "size"), macs=("macs", "first"), params=("params", "first"), bytes=("bytes", "mean"))
    whole.insert(1, "steps", [of[label].steps for label, _ in whole.index])
    both = pd.concat([by[list(names)].mean(), by[list(names)].std().add_suffix("_spread")], axis=1)
    return whole.join(both.sort_index(axis=1))


def _times(of: Row, form: str, clock: Clock) -> Json:
    """Quietest median and middle 95th percentile of the rounds, at each number of threads; memory of one."""
    found: Json = {}
    timed_as = TIMED_AS.get(form, form)
    for threads in THREADS:
        for word, name in (("", timed_as), *((("torch_", "torch"),) if form == FLOAT else ())):
            found[f"{word}ms_{threads}"] = clock(of, name, threads).min()
            found[f"{word}p95_{threads}"] = clock(of, name, threads, "p95").median()
    timed = len(clock(of, timed_as, 1)) > 0
    return found | {"memory": clock(of, timed_as, 1, "memory").max(), "machine": clock.machine if timed else None}


def differences(task: str, label: str, other: str, score: str = "fd", form: str = FLOAT) -> PairedInterval:
    """By how many percent one row scores above another: the 95 % interval over the seeds that both have.

    Args:
        task: The task.
        label: A row.
        other: The row to compare with.
        score: A column of :func:`scores`.
        form: One of :data:`FORMS`.

    Returns:
        The interval.

    Raises:
        GancompError: For fewer than two seeds in common.
    """
    ours, theirs = (by_seed(row(task, name), score, form) for name in (label, other))
    both = ours.index.intersection(theirs.index)
    return paired_interval(list(100 * (ours[both] / theirs[both] - 1)))


def by_seed(of: Row, score: str, form: str = FLOAT) -> pd.Series:
    """One score of a row, indexed by seed.

    Args:
        of: The row.
        score: A column of :func:`scores`.
        form: One of :data:`FORMS`.

    Returns:
        The scores.

    Raises:
        GancompError: Where it is not recorded.
    """
    recorded = scores(of)
    if recorded.empty or score not in recorded:
        raise GancompError(
            f"No {score} of '{of.label}' on {of.task} is recorded; 'gancomp benchmark do {of.task}' measures it."
        )
    return recorded[recorded.form == form].set_index("seed")[score].astype(float)


@dataclass(frozen=True)
class Headline:
    """A compressed network in int8 beside its teacher in float32, in the same runtime.

    ``fewer_macs`` and ``smaller`` (the ONNX file) say how many times; ``faster`` has by number of threads the lower
    quartile, median and upper quartile over the rounds of timing; ``distance`` has for each seed the set distance
    ``name`` (FD, else KID) as a multiple of the teacher's; ``beside`` has for other scores the mean and the teacher's.
    """

    task: str
    label: str
    fewer_macs: float
    smaller: float
    faster: dict[int, tuple[float, float, float]]
    distance: tuple[float, ...]
    name: str
    beside: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        values, seeds = pd.Series(self.distance), len(self.distance)
        spread = f" +- {values.std():.2f}" if seeds > 1 else ""
        faster = ", ".join(
            f"{median:.1f} times faster on {threads} thread{'s' * (threads > 1)} ({low:.1f} to {high:.1f})"
            for threads, (low, median, high) in self.faster.items()
        )
        return (
            f"{self.task}, {self.label}, int8: {self.fewer_macs:.1f} times fewer MACs, a file {self.smaller:.0f} times "
            f"smaller, {faster}, "
            f"{self.name} {values.mean():.2f}{spread} times the teacher's ({seeds} seed{'s' * (seeds > 1)}); "
            + ", ".join(f"{name} {ours:.3g} (teacher {its:.3g})" for name, (ours, its) in self.beside.items())
        )


def headline(task: str = "edges2shoes") -> Headline:
    """A task's row of :data:`HEADLINES` in int8 against the teacher in float32.

    Raises:
        GancompError: Where one is not recorded, and for a task without a headline.
    """
    if task not in HEADLINES:
        raise GancompError(f"There is no headline of '{task}'; choose one of {', '.join(HEADLINES)}.")
    whole, label = table(task), HEADLINES[task]
    for wanted in ((TEACHER, FLOAT), (label, INT8)):
        if wanted not in whole.index or pd.isna(whole.loc[wanted, "ms_1"]):
            raise GancompError(
                f"'{wanted[0]}' in {wanted[1]} is not measured on {task}; 'gancomp benchmark do {task}' does it."
            )
    ours, teacher = whole.loc[(label, INT8)], whole.loc[(TEACHER, FLOAT)]
    name = "fd" if pd.notna(teacher["fd"]) else "kid"
    distances = by_seed(row(task, label), name, INT8) / float(teacher[name])
    others = {"KID": "kid", "PSNR": "psnr", "SSIM": "ssim"}
    return Headline(
        task,
        label,
        float(ours.times_fewer_macs),
        float(ours.times_smaller),
        {n: _quartiles(ours, n) for n in THREADS},
        tuple(float(value) for value in distances),
        name.upper(),
        {word: (float(ours[each]), float(teacher[each])) for word, each in others.items() if each in ours},
    )


def _quartiles(of: pd.Series, threads: int) -> tuple[float, float, float]:
    low, median, high = (float(of[f"times_faster_{threads}_{word}"]) for word in QUARTILES)
    return low, median, high
