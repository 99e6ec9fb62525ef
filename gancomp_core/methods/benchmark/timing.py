"""How long the networks of the benchmark take, and how much memory: one machine, all networks in turns."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

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
from gancomp_core.methods.benchmark.compressed import CALIBRATION, LIGHTER_FORMS
from gancomp_core.methods.benchmark.entries import TASKS, TEACHER, Entry, entries
from gancomp_core.methods.quantization import export_int8
from gancomp_core.methods.recorded_table import RecordedTable, key_of
from gancomp_core.nets import build_generator, initialise

log = logging.getLogger("gancomp")

TIMES = RecordedTable("latency")
VERSION = 3  # of the way to measure; a mended one bumps it
THREADS = (1, 2)
ROUNDS = 9


def timed() -> pd.DataFrame:
    """Milliseconds and bytes of every network of the benchmark, for one picture of its task's size.

    Networks, forms and numbers of threads take turns, in :data:`ROUNDS` rounds of changing order, so that a slow minute
    of the machine hits all alike; where one network is new, all are timed anew. A row for each network and number of
    threads: "torch" is float32 in PyTorch, "float" and "int8" are ONNX files in onnxruntime, and so
    are a teacher's lighter weights, of which :data:`LIGHTER_FORMS` has the names; ``ms_...`` and ``p95_...``
    are the middle one of the rounds' medians and 95th percentiles, ``memory_...`` is as :func:`peak_memory` gives it.
    Weights do not change a time: they are random here, and entries of one architecture share their rows.
    """
    keys = timing_keys()
    if not set(keys.values()) <= set(TIMES.rows().get("key", ())):
        for place, row in _measured().items():
            TIMES.once(keys[place], partial(dict, row))
    rows = TIMES.rows()
    return rows[rows.key.isin(keys.values())]


def timing_keys() -> dict[tuple[str, int], str]:
    """The key of each row of this machine, by :func:`network_key` and number of threads."""
    networks = sorted(_networks())
    return {
        (network, threads): key_of(network, threads, networks, machine_class(), VERSION)
        for network in networks
        for threads in THREADS
    }


def network_key(entry: Entry) -> str:
    """What a time depends on beside the machine: the architecture and the size of the picture."""
    return key_of(entry.architecture.as_dict(), load_task(entry.task).size)


def _networks() -> dict[str, Entry]:
    """One entry for each architecture and size."""
    return {network_key(entry): entry for task in TASKS for entry in entries(task)}


@dataclass(frozen=True)
class _Turn:
    """A network that waits to be timed: how in each form, given the number of threads, and its row's first columns."""

    ways: Mapping[str, Callable[..., Latency]]
    memory: Mapping[str, Callable[..., int]]
    about: Mapping[str, Any]


def _measured() -> dict[tuple[str, int], dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="gancomp-") as folder:
        turns = {network: _turn(entry, Path(folder) / network) for network, entry in _networks().items()}
        found = _rounds({network: turn.ways for network, turn in turns.items()})
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        for (network, threads), of_forms in found.groupby(["network", "threads"]):
            turn, row = turns[network], {"network": network, "threads": threads}
            for form, times in of_forms.groupby("form"):
                row |= {f"ms_{form}": times.ms.median(), f"p95_{form}": times.p95.median()}
            memory = {f"memory_{form}": measure(threads=threads) for form, measure in turn.memory.items()}
            rows[network, threads] = {**turn.about, **row, **memory}
    return rows


def _turn(entry: Entry, folder: Path) -> _Turn:
    folder.mkdir()
    task = load_task(entry.task)
    generator = initialise(build_generator(entry.architecture.as_dict()), seed=0).eval()
    shape = (1, task.source_channels, task.size, task.size)
    floating = export_onnx(generator, folder / "float32.onnx", shape)
    whole = export_int8(generator, folder / "int8.onnx", task.calibration(CALIBRATION), floating=floating)
    ways: dict[str, Callable[..., Latency]] = {
        "torch": partial(eager_latency, generator, shape),
        "float": partial(onnx_latency, floating, shape),
        "int8": partial(onnx_latency, whole, shape),
    }
    if entry.label == TEACHER:
        for form, lighten in LIGHTER_FORMS.items():
            path = export_onnx(lighten(generator).generator, folder / f"{form}.onnx", shape)
            ways[form] = partial(onnx_latency, path, shape)
    memory = {form: partial(peak_memory, path, shape) for form, path in (("float", floating), ("int8", whole))}
    return _Turn(ways, memory, {"pixels": task.size, "macs": cost(generator, task.size, task.size).macs})


def _rounds(networks: Mapping[str, Mapping[str, Callable[..., Latency]]]) -> pd.DataFrame:
    """``network``, ``threads``, ``form``, ``ms`` and ``p95`` of every turn of every round."""
    turns = [(network, form, threads) for network, ways in networks.items() for form in ways for threads in THREADS]
    order = random.Random(0)
    rows = []
    for number in range(1, ROUNDS + 1):
        log.info("round %d of %d through %d networks", number, ROUNDS, len(networks))
        for network, form, threads in order.sample(turns, len(turns)):
            time = networks[network][form](threads=threads, min_seconds=0.2, repeats=20, warmup=5)
            row = {"network": network, "threads": threads, "form": form}
            rows.append({**row, "ms": time.median_ms, "p95": time.p95_ms})
    return pd.DataFrame(rows)
