"""What of the benchmark is measured, what is missing, and the table as text."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gancomp_core.lab.benchmark.compressed import (
    COMPRESSED,
    LIGHTER,
    LIGHTER_FORMS,
    compressed,
    compressed_key,
    lighter,
    lighter_key,
)
from gancomp_core.lab.benchmark.entries import TEACHER, Entry, Member, entries
from gancomp_core.lab.benchmark.tables import HEADLINES, headline, table
from gancomp_core.lab.benchmark.timing import ROUNDS, THREADS, TIMES, network_key, timing_keys
from gancomp_core.lab.runs import record
from gancomp_core.lab.runs import table as recorded_runs

log = logging.getLogger("gancomp")


def progress(task: str) -> Iterator[str]:
    """How much of each row of a task is measured: a sentence for each."""
    tables = (recorded_runs(), COMPRESSED.rows(), LIGHTER.rows(), TIMES.rows())
    runs, small, light, times = (set(rows.get("key", ())) for rows in tables)
    keys = timing_keys()
    for entry in entries(task):
        members = entry.members
        trained = sum(member.key in runs for member in members) if entry.runs else len(members)
        packed = sum(compressed_key(member) in small for member in members)
        clocked = all(keys[ROUNDS, network_key(entry), threads] in times for threads in THREADS)
        tried = sum(lighter_key(member, form) in light for member, form in _lighter_of(entry))
        yield (
            f"{task}, {entry.label}: {trained} of {len(members)} trained, {packed} of "
            f"{min(entry.seeds_int8, len(members))} in int8, "
            + (f"{tried} of {len(LIGHTER_FORMS)} in lighter weights, " if entry.label == TEACHER else "")
            + ("timed" if clocked else "not timed on this machine")
        )


def do(task: str) -> None:
    """Train what is not trained, and quantize what is not quantized."""
    for entry in entries(task):
        for run in entry.runs:
            log.info("%s", run)
            record(run)
        for member in entry.members[: entry.seeds_int8]:
            row = compressed(entry, member)
            log.info("%s, seed %d: int8 keeps %.1f dB", entry.label, member.seed, row["psnr_to_float"])
        for member, form in _lighter_of(entry):
            row = lighter(entry, member, form)
            log.info("%s, %s: keeps %.1f dB", entry.label, form, row["psnr_to_float"])


def summary(task: str) -> str:
    """Scores and costs of all rows of a task, and its headline, as plain text."""
    rows = table(task).round(3)
    words = {"scores": rows.filter(regex="^(seeds|steps|fd|kid|psnr|ssim|perceptual)")}
    words |= {"costs": rows.filter(regex="^(seeds|macs|params|bytes|times|torch|ms|p95|memory)")}
    parts = [f"{task}: {word}\n{part.dropna(axis=1, how='all').to_string()}\n" for word, part in words.items()]
    return "\n".join([*parts, f"{headline(task)}\n"] if task in HEADLINES else parts)


def _lighter_of(entry: Entry) -> list[tuple[Member, str]]:
    """Teachers alone are tried in lighter weights."""
    return [(member, form) for member in entry.members for form in LIGHTER_FORMS if entry.label == TEACHER]
