"""Completing the benchmark: what is missing of its rows, and what they say."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd

from gancomp_core.executors import Executor
from gancomp_core.lab import results
from gancomp_core.lab.added import Method
from gancomp_core.lab.benchmark.compressed import in_forms, in_int8
from gancomp_core.lab.benchmark.rows import BEGUN, HEADLINES, Row, row, rows
from gancomp_core.lab.benchmark.tables import by_seed, differences, headline, scores, table
from gancomp_core.lab.benchmark.timing import THREADS, timings
from gancomp_core.lab.catalogue import SIZES
from gancomp_core.lab.experiment import Experiment
from gancomp_core.lab.recording import architecture, record_all

log = logging.getLogger("gancomp")


def _parts(row: Row) -> dict[str, list[Experiment]]:
    """What is to be done for a row, before its networks are timed."""
    return {
        "trained": [] if row.shipped else list(row.experiments),
        "in int8": [in_int8(row, network) for network in row.experiments[: row.int8]],
        "in compressed weights": in_forms(row),
    }


def do(task: str, executor: Executor | None = None) -> None:
    """Train what is not trained of a task, and compress what is not compressed."""
    _do(rows(task), executor)


def do_row(of: Row, executor: Executor | None = None) -> None:
    """Train and compress what is missing of one row."""
    _do([of], executor)


def _do(of: Sequence[Row], executor: Executor | None) -> None:
    """One part after the other, for what is compressed is trained before."""
    parts = [_parts(each) for each in of]
    for name in parts[0] if parts else ():
        log.info("%s", name)
        record_all([experiment for part in parts for experiment in part[name]], executor)


def plan(method: Method) -> str:
    """What adding a method will do: its trainings, and how long those of the row that it is compared with took."""
    other = compared_with(method.task)
    took = pd.Series([found["minutes"] for each in other.experiments if (found := results.row(each.key))], dtype=float)
    first, seeds = method.experiments[0], len(method.experiments)
    spent = architecture(first).cost(SIZES[method.task], SIZES[method.task])
    return (
        f"{method.name}: {method.about}\n"
        f"{seeds} trainings of {first.steps:,} steps on {method.task}, each of a network of {spent.macs / 1e6:.1f} M "
        f"MACs and {spent.params:,} parameters; then {other.int8} files in int8.\n"
        f"A training of '{other.label}' took {took.median():.1f} minutes where it was recorded."
    )


def compared_with(task: str) -> Row:
    """The row that an added method is paired with: students that begin as it does and imitate nothing."""
    found = {each.label: each for each in rows(task)}
    return found.get(BEGUN) or found["from scratch"]


def outcome(method: Method) -> str:
    """How a method scores, and the difference from the row that it is paired with."""
    other, of = compared_with(method.task), row(method.task, method.name)
    score = "fd" if scores(of)["fd"].notna().any() else "kid"
    ours = by_seed(of, score)
    apart = differences(method.task, method.name, other.label, score)
    return (
        f"{method.name}: {score.upper()} {ours.mean():.4g} +- {ours.std():.2g} over {len(ours)} seeds, "
        f"{apart.mean:+.1f} +- {apart.half_width:.1f} % against '{other.label}' "
        f"(95 % interval over {apart.seeds} paired seeds)."
    )


def progress(task: str) -> list[str]:
    """A line for each row of a task: what of it is recorded."""
    recorded, turns = set(results.rows().key), timings()
    lines = []
    for of in rows(task):
        said = [
            f"{sum(each.key in recorded for each in part)} of {len(part)} {what}"
            for what, part in _parts(of).items()
            if part
        ]
        clocked = all(turns[1, of.network, threads].key in recorded for threads in THREADS)
        said.append("timed" if clocked else "not timed on this machine")
        lines.append(f"{task}, {of.label}: {', '.join(said)}")
    return lines


def summary(task: str) -> str:
    """Scores and costs of all rows of a task, and its headline."""
    whole = table(task).round(3)
    parts = {"scores": "^(seeds|steps|fd|kid|psnr|ssim|perceptual)"}
    parts |= {"costs": "^(seeds|macs|params|bytes|times|torch|ms|p95|memory)"}
    said = [
        f"{task}: {word}\n{whole.filter(regex=names).dropna(axis=1, how='all').to_string()}\n"
        for word, names in parts.items()
    ]
    return "\n".join([*said, *([f"{headline(task)}\n"] if task in HEADLINES else [])])
