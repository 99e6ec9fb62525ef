"""Completing the benchmark: what is missing of its rows, and what they say."""

from __future__ import annotations

import logging

from gancomp_core.lab import results
from gancomp_core.lab.benchmark.compressed import in_forms, in_int8
from gancomp_core.lab.benchmark.rows import HEADLINES, Row, rows
from gancomp_core.lab.benchmark.tables import headline, table
from gancomp_core.lab.benchmark.timing import THREADS, timings
from gancomp_core.lab.experiment import Experiment
from gancomp_core.lab.recording import record

log = logging.getLogger("gancomp")


def _parts(row: Row) -> dict[str, list[Experiment]]:
    """What is to be done for a row, before its networks are timed."""
    return {
        "trained": [] if row.shipped else list(row.experiments),
        "in int8": [in_int8(row, network) for network in row.experiments[: row.int8]],
        "in compressed weights": in_forms(row),
    }


def do(task: str) -> None:
    """Train what is not trained of a task, and compress what is not compressed."""
    for row in rows(task):
        for part in _parts(row).values():
            for experiment in part:
                log.info("%s: %s", row.label, experiment)
                record(experiment)


def progress(task: str) -> list[str]:
    """A line for each row of a task: what of it is recorded."""
    recorded, of = set(results.rows().key), timings()
    lines = []
    for row in rows(task):
        said = [
            f"{sum(each.key in recorded for each in part)} of {len(part)} {what}"
            for what, part in _parts(row).items()
            if part
        ]
        clocked = all(of[1, row.network, threads].key in recorded for threads in THREADS)
        said.append("timed" if clocked else "not timed on this machine")
        lines.append(f"{task}, {row.label}: {', '.join(said)}")
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
