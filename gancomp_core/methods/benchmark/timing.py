"""How long the networks of the benchmark take, and how much memory: one machine, one after another."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from gancomp_core.data import load_task
from gancomp_core.measure import Latency, cost, eager_latency, machine_class, onnx_latency, peak_memory
from gancomp_core.methods.benchmark.compressed import onnx_files
from gancomp_core.methods.benchmark.entries import Entry, Member
from gancomp_core.methods.recorded_table import RecordedTable, key_of

TIMES = RecordedTable("latency")
VERSION = 1  # of the way to measure; a mended one bumps it
THREADS = (1, 2)
ROUNDS = 5
FORMS = ("torch", "float", "int8")


def timed(entry: Entry, member: Member, threads: int) -> dict[str, Any]:
    """The row of one network at so many threads: one picture of the task's size, milliseconds and bytes.

    "torch" is float32 in PyTorch, "float" and "int8" are ONNX files in onnxruntime. Of :data:`ROUNDS` rounds through
    all three forms, the middle medians and 95th percentiles; ``memory_...`` as :func:`peak_memory` gives it.
    """
    return TIMES.once(timing_key(entry, member, threads), lambda: _measured(entry, member, threads))


def timing_key(entry: Entry, member: Member, threads: int) -> str:
    return key_of(member.key, load_task(entry.task).size, threads, machine_class(), VERSION)


def _measured(entry: Entry, member: Member, threads: int) -> dict[str, Any]:
    task, generator = load_task(entry.task), member.load()
    floating, whole = onnx_files(task, member)
    shape = (1, task.source_channels, task.size, task.size)
    how: dict[str, Any] = {"threads": threads, "min_seconds": 0.4, "repeats": 30, "warmup": 5}
    ways: dict[str, Callable[[], Latency]] = {
        "torch": partial(eager_latency, generator, shape, **how),
        "float": partial(onnx_latency, floating, shape, **how),
        "int8": partial(onnx_latency, whole, shape, **how),
    }
    found = [{form: way() for form, way in ways.items()} for _ in range(ROUNDS)]
    row: dict[str, Any] = {"task": entry.task, "label": entry.label, "threads": threads, "pixels": task.size}
    row["macs"] = cost(generator, task.size, task.size).macs
    for form in FORMS:
        row[f"ms_{form}"] = statistics.median(each[form].median_ms for each in found)
        row[f"p95_{form}"] = statistics.median(each[form].p95_ms for each in found)
    for form, path in (("float", floating), ("int8", whole)):
        row[f"memory_{form}"] = peak_memory(path, shape, threads)
    return row
