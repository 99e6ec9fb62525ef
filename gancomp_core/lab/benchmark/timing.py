"""How long the networks of the benchmark take, and how much memory: one machine, all networks in turns."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gancomp_core.data import load_task
from gancomp_core.lab.benchmark.compressed import CALIBRATION, LIGHTER_FORMS
from gancomp_core.lab.benchmark.entries import TASKS, TEACHER, Entry, entries
from gancomp_core.lab.recorded_table import RecordedTable, key_of
from gancomp_core.measure import (
    Latency,
    cost,
    eager_latency,
    export_onnx,
    machine_class,
    onnx_latency,
    peak_memory,
)
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import build_generator, initialise

log = logging.getLogger("gancomp")

TIMES = RecordedTable("latency")
VERSION = 4  # of the way to measure; a mended one bumps it
THREADS = (1, 2)
ROUNDS = 15


def timed() -> pd.DataFrame:
    """Milliseconds and bytes of every network of the benchmark, for one picture of its task's size.

    Networks, forms and numbers of threads take turns, in :data:`ROUNDS` rounds of changing order, so that a slow minute
    of the machine hits all alike; a round is recorded whole, a killed measurement goes on with the next one, and where
    one network is new, all are timed anew. A row for each network, number of threads and ``round``: "torch" is float32
    in PyTorch, "float" and "int8" are ONNX files in onnxruntime, and so are a teacher's lighter weights, of which
    :data:`LIGHTER_FORMS` has the names; ``ms_...`` and ``p95_...`` are the median and 95th percentile of the round's
    calls, ``memory_...`` is as :func:`peak_memory` gives it, in the first round alone. Weights do not change a time:
    they are random here, and entries of one architecture share their rows.
    """
    keys, recorded = timing_keys(), set(TIMES.rows().get("key", ()))
    if missing := sorted({number for (number, _, _), key in keys.items() if key not in recorded}):
        _measure(missing, keys)
    rows = TIMES.rows()
    return rows[rows.key.isin(keys.values())]


def timing_keys() -> dict[tuple[int, str, int], str]:
    """The key of each row of this machine, by round, :func:`network_key` and number of threads."""
    networks = sorted(_networks())
    return {
        (number, network, threads): key_of(network, threads, number, networks, machine_class(), VERSION)
        for number in range(1, ROUNDS + 1)
        for network in networks
        for threads in THREADS
    }


def rounds(of: Entry, form: str, threads: int, times: pd.DataFrame) -> pd.DataFrame:
    """``ms``, ``p95``, ``memory`` and ``machine`` of an entry by round, on the class of machine that was timed last.

    ``form`` as in :func:`timed`; ``times`` are recorded rows. Empty where the form was not timed.
    """
    columns = {f"{name}_{form}": name for name in ("ms", "p95", "memory")} | {"machine": "machine"}
    if times.empty:
        return pd.DataFrame(columns=list(columns.values()), dtype=float)
    last = times.sort_values("when", kind="stable")
    mine = last[(last.machine == last.machine.iloc[-1]) & (last.network == network_key(of)) & (last.threads == threads)]
    mine = mine.drop_duplicates("round", keep="last").set_index("round")
    return mine.reindex(columns=list(columns)).rename(columns=columns).dropna(subset="ms")


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


def _measure(numbers: Sequence[int], keys: Mapping[tuple[int, str, int], str]) -> None:
    with tempfile.TemporaryDirectory(prefix="gancomp-") as folder:
        turns = {network: _turn(entry, Path(folder) / network) for network, entry in _networks().items()}
        for number in numbers:
            log.info("round %d of %d through %d networks", number, ROUNDS, len(turns))
            for (network, threads), row in _round(number, turns).items():
                TIMES.once(keys[number, network, threads], partial(dict, row))


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


def _round(number: int, turns: Mapping[str, _Turn]) -> dict[tuple[str, int], dict[str, Any]]:
    """One turn of every network, form and number of threads; the order depends on the round's number."""
    rows: dict[tuple[str, int], dict[str, Any]] = {
        (network, threads): {**turn.about, "network": network, "threads": threads, "round": number}
        for network, turn in turns.items()
        for threads in THREADS
    }
    places = [(network, form, threads) for network, threads in rows for form in turns[network].ways]
    for network, form, threads in random.Random(number).sample(places, len(places)):
        time = turns[network].ways[form](threads=threads, min_seconds=0.2, repeats=20, warmup=5)
        rows[network, threads] |= {f"ms_{form}": time.median_ms, f"p95_{form}": time.p95_ms}
    if number == 1:
        for (network, threads), row in rows.items():
            row |= {f"memory_{form}": measure(threads=threads) for form, measure in turns[network].memory.items()}
    return rows
