"""Recorded runs: every experiment of the course, done once, kept in one table.

    gancomp runs list                  # the plans
    gancomp runs do edges2shoes/plain  # what is not recorded yet; resumes when killed
    gancomp runs show                  # the table

A run is keyed by what determines it; the table is ``data/results/runs.parquet``. The *protocol* of a task fixes what
all methods share (steps, batch, pictures, metrics), so that their rows compare. "Best" is chosen on the search split
and, like "last", reported on the test split: a minimum over test scores would flatter every method.
"""

from gancomp_core.lab.runs.plans import PLANS, do, planned, progress
from gancomp_core.lab.runs.records import PROTOCOLS, Protocol, Run, find, record, table, trained_generator

__all__ = [
    "PLANS",
    "PROTOCOLS",
    "Protocol",
    "Run",
    "do",
    "find",
    "planned",
    "progress",
    "record",
    "table",
    "trained_generator",
]
