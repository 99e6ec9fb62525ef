"""The rivals as a table, and our network against both the float teacher and its best free form."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.lab import results
from gancomp_core.lab.benchmark.rows import TEACHER, Row, row
from gancomp_core.lab.benchmark.tables import scores
from gancomp_core.lab.rivals.forms import FLOAT, FORMS, INT8, INT8_IN_OPENVINO
from gancomp_core.lab.rivals.rows import OURS, free_forms, trained
from gancomp_core.lab.rivals.timing import SMALL_FORMS, times

SCORES = ("fd", "kid", "psnr")
QUARTILES = {"low": 0.25, "ms": 0.5, "high": 0.75}


def table(task: str) -> pd.DataFrame:
    """Every rival of a task, by label and form, as far as it is recorded; the teacher's free forms first.

    ``seeds``, ``steps`` of training, ``macs``, ``bytes``, means of ``fd`` (where the task has one), ``kid`` and
    ``psnr``; and where it is timed, ``ms``, the median over the rounds, with its quartiles ``low`` and ``high``.
    """
    teacher = row(task, TEACHER)
    found = _scored(teacher, [name for name, form in FORMS.items() if form.scored_as])
    for each in free_forms(task):
        if (metrics := results.row(each.key)) is not None:
            about = {name: metrics.get(name) for name in ("macs", "bytes", *SCORES)}
            found[TEACHER, str(each["form"])] = {"seeds": 1, "steps": 0, **about}
    for other in (row(task, OURS[task]), *trained(task)):
        found |= _scored(other, SMALL_FORMS)
    whole = pd.DataFrame.from_dict(found, orient="index").dropna(axis=1, how="all")
    whole.index = pd.MultiIndex.from_tuples(whole.index, names=["network", "form"])
    if len(results.rows("rival latency", task)):
        by_round, _ = times(task)
        for name, share in QUARTILES.items():
            whole[name] = by_round.quantile(share, axis=1).reindex(whole.index)
    return whole


def _scored(of: Row, forms: Collection[str]) -> dict[tuple[str, str], Json]:
    """What the benchmark has of a row in those of these forms that it scores."""
    recorded, found = scores(of), dict[tuple[str, str], Json]()
    for name in FORMS:
        if recorded.empty or name not in forms or not FORMS[name].scored_as:
            continue
        part = recorded[recorded.form == FORMS[name].scored_as]
        if len(part):
            means = {score: part[score].mean() for score in SCORES}
            found[of.label, name] = {
                "seeds": len(part), "steps": 0 if of.label == TEACHER else of.steps,
                "macs": part.macs.iloc[0], "bytes": part.bytes.mean(), **means,
            }  # fmt: skip
    return found


@dataclass(frozen=True)
class Against:
    """Our network against the teacher in float32 and against its best free form, one thread.

    ``form`` is ours, the faster of our int8 file's two runtimes. ``free`` is the fastest form of the teacher that needs
    no training and whose set distance is no larger than ours. Ratios are medians and quartiles over the rounds.
    """

    task: str
    label: str
    form: str
    free: str
    ms: dict[str, float]
    distance: dict[str, float]
    name: str
    than_float: tuple[float, float, float]
    than_free: tuple[float, float, float]
    machine: str

    def __str__(self) -> str:
        (low, median, high), (least, middle, most) = self.than_float, self.than_free
        ours, free, given = (self.ms[each] for each in ("ours", "free", "float"))
        here, there = self.distance["ours"], self.distance["free"]
        return (
            f"{self.task}, {self.label}, {self.form}: {ours:.2f} ms, {self.name} {here:.3g}; {median:.1f} times faster "
            f"({low:.1f} to {high:.1f}) than the teacher in float32 (onnxruntime, {given:.2f} ms), and {middle:.1f} "
            f"times faster ({least:.1f} to {most:.1f}) than its best free form, {self.free} ({free:.2f} ms, "
            f"{self.name} {there:.3g}); 1 thread, {self.machine}"
        )


def against(task: str) -> Against:
    """Our network of a task beside its float teacher and its best free form.

    Raises:
        GancompError: Where they are not timed or scored, naming the command.
    """
    by_round, machine = times(task)
    whole, label = table(task), OURS[task]
    name = "fd" if "fd" in whole else "kid"
    ours = min(((label, form) for form in (INT8, INT8_IN_OPENVINO)), key=lambda each: by_round.loc[each].median())
    free = whole.loc[[TEACHER]]
    free = free[(free[name] <= whole.loc[ours, name]) & free.ms.notna()]
    if free.empty:
        raise GancompError(f"No free form of {task}'s teacher is as good as '{label}'; record them first.")
    best = free.ms.idxmin()
    than_float, than_free = (_quartiles(by_round.loc[each] / by_round.loc[ours]) for each in ((TEACHER, FLOAT), best))
    of = {"ours": ours, "free": best, "float": (TEACHER, FLOAT)}
    return Against(
        task, label, ours[1], best[1], {word: float(whole.loc[each, "ms"]) for word, each in of.items()},
        {word: float(whole.loc[each, name]) for word, each in of.items()}, name.upper(), than_float, than_free, machine,
    )  # fmt: skip


def _quartiles(ratios: pd.Series) -> tuple[float, float, float]:
    low, median, high = ratios.quantile(list(QUARTILES.values()))
    return float(low), float(median), float(high)
