"""How long the networks of the benchmark take, and how much memory: one machine, one after another."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from gancomp_core.data import load_task
from gancomp_core.measure import (
    Latency,
    cost,
    eager_latency,
    export_onnx,
    machine_class,
    onnx_latency,
    peak_memory,
)
from gancomp_core.methods.benchmark.compressed import CALIBRATION
from gancomp_core.methods.benchmark.entries import Entry
from gancomp_core.methods.quantization import export_int8
from gancomp_core.methods.recorded_table import RecordedTable, key_of
from gancomp_core.nets import build_generator, initialise

TIMES = RecordedTable("latency")
VERSION = 1  # of the way to measure; a mended one bumps it
THREADS = (1, 2)
ROUNDS = 5


def timed(entry: Entry, threads: int) -> dict[str, Any]:
    """The row of a network at so many threads: one picture of the task's size, milliseconds and bytes.

    "torch" is float32 in PyTorch, "float" and "int8" are ONNX files in onnxruntime. Of :data:`ROUNDS` rounds through
    all three forms, the middle medians and 95th percentiles; ``memory_...`` as :func:`peak_memory` gives it. Weights do
    not change a time: they are random here, and entries of one architecture share their row.
    """
    return TIMES.once(timing_key(entry, threads), lambda: _measured(entry, threads))


def timing_key(entry: Entry, threads: int) -> str:
    return key_of(network_key(entry), threads, machine_class(), VERSION)


def network_key(entry: Entry) -> str:
    """What a time depends on beside the machine: the architecture and the size of the picture."""
    return key_of(entry.architecture.as_dict(), load_task(entry.task).size)


def _measured(entry: Entry, threads: int) -> dict[str, Any]:
    task = load_task(entry.task)
    generator = initialise(build_generator(entry.architecture.as_dict()), seed=0).eval()
    shape = (1, task.source_channels, task.size, task.size)
    with tempfile.TemporaryDirectory(prefix="gancomp-") as folder:
        floating = export_onnx(generator, Path(folder) / "float32.onnx", shape)
        whole = export_int8(generator, Path(folder) / "int8.onnx", task.calibration(CALIBRATION), floating=floating)
        row = _clocked(generator, {"float": floating, "int8": whole}, shape, threads)
    about = {"network": network_key(entry), "threads": threads, "pixels": task.size}
    return about | {"macs": cost(generator, task.size, task.size).macs} | row


def _clocked(generator: nn.Module, paths: dict[str, Path], shape: tuple[int, ...], threads: int) -> dict[str, Any]:
    how: dict[str, Any] = {"threads": threads, "min_seconds": 0.4, "repeats": 30, "warmup": 5}
    ways: dict[str, Callable[[], Latency]] = {"torch": partial(eager_latency, generator, shape, **how)}
    ways |= {form: partial(onnx_latency, path, shape, **how) for form, path in paths.items()}
    found = [{form: way() for form, way in ways.items()} for _ in range(ROUNDS)]
    row: dict[str, Any] = {}
    for form in ways:
        row[f"ms_{form}"] = statistics.median(each[form].median_ms for each in found)
        row[f"p95_{form}"] = statistics.median(each[form].p95_ms for each in found)
    return row | {f"memory_{form}": peak_memory(path, shape, threads) for form, path in paths.items()}
