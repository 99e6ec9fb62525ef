"""How long the networks of the benchmark take, and how much memory: one machine, all networks in turns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import Json, scratch
from gancomp_core.lab import results
from gancomp_core.lab.benchmark.compressed import CALIBRATION, WEIGHT_FORMS
from gancomp_core.lab.benchmark.rows import TASKS, TEACHER, Row, rows
from gancomp_core.lab.experiment import JSON, Experiment, key_of, kind
from gancomp_core.measure import (
    Latency,
    cost,
    eager_latency,
    export_onnx,
    machine_class,
    onnx_latency,
    peak_memory,
)
from gancomp_core.measure.latency import turn_order
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import build

log = logging.getLogger("gancomp")

THREADS = (1, 2)
ROUNDS = 15


@kind("latency", version=4)
def latency(
    experiment: Experiment, *, network: str, among: str, threads: int, round: int, machine: str
) -> Mapping[str, JSON]:
    """One round of one network; ``among`` stands for all that are timed with it, in turns: see :func:`timed`."""
    raise GancompError("Networks are timed together; 'gancomp benchmark time' does it.")


def timed() -> results.Rows:
    """Milliseconds and bytes of every network of the benchmark, for one picture of its task's size.

    Networks, forms and numbers of threads take turns, in :data:`ROUNDS` rounds of changing order, so that a slow minute
    of the machine hits all alike; a round is recorded whole, a killed measurement goes on with the next one, and where
    one network is new, all are timed again. A row for each network, number of threads and ``round``: "torch" is float32
    in PyTorch, "float" and "int8" are ONNX files in onnxruntime, and so are a teacher's compressed weights, of which
    :data:`WEIGHT_FORMS` has the names; ``ms_...`` and ``p95_...`` are the median and 95th percentile of the round's
    calls, ``memory_...`` is as :func:`peak_memory` gives it, in the first round alone. Weights do not change a time:
    they are random here, and rows of one architecture share theirs.
    """
    turns = timings()
    if missing := sorted({number for (number, _, _), each in turns.items() if results.row(each.key) is None}):
        _measure(missing, turns)
    recorded = results.rows("latency")
    return recorded[recorded.key.isin({each.key for each in turns.values()})]


def timings() -> dict[tuple[int, str, int], Experiment]:
    """The experiment of each row of this machine, by round, :attr:`Row.network` and number of threads."""
    networks = _networks()
    among, machine = key_of(sorted(networks)), machine_class()
    return {
        (number, network, threads): Experiment(
            name=row.label,
            kind="latency",
            task=row.task,
            spec={"network": network, "among": among, "threads": threads, "round": number, "machine": machine},
        )
        for number in range(1, ROUNDS + 1)
        for network, row in sorted(networks.items())
        for threads in THREADS
    }


class Clock:
    """Recorded times by round, on the class of machine that was timed last.

    Args:
        times: Rows of kind "latency".
    """

    def __init__(self, times: results.Rows) -> None:
        self.machine: str | None = None
        self._rounds: dict[object, pd.DataFrame] = {}
        if len(times):
            last = times.sort_values("when", kind="stable")
            self.machine = str(last.machine.iloc[-1])
            for place, part in last[last.machine == self.machine].groupby(["network", "threads"]):
                self._rounds[place] = part.drop_duplicates("round", keep="last").set_index("round")

    def __call__(self, of: Row, form: str, threads: int, what: str = "ms") -> pd.Series:
        """One value a round: "ms", "p95" or "memory" of a row in a form as in :func:`timed`; none where not timed."""
        part = self._rounds.get((of.network, threads))
        if part is None or f"{what}_{form}" not in part:
            return pd.Series(dtype=float)
        return part[f"{what}_{form}"].dropna()


def _networks() -> dict[str, Row]:
    """One row for each architecture and size."""
    return {row.network: row for task in TASKS for row in rows(task)}


@dataclass(frozen=True)
class _Turn:
    """A network that waits to be timed: how in each form, given the number of threads, and its row's first columns."""

    ways: Mapping[str, Callable[..., Latency]]
    memory: Mapping[str, Callable[..., int]]
    about: Json


def _measure(numbers: Sequence[int], experiments: Mapping[tuple[int, str, int], Experiment]) -> None:
    with scratch() as folder:
        turns = {network: _turn(row, folder / network) for network, row in _networks().items()}
        for number in numbers:
            log.info("round %d of %d through %d networks", number, ROUNDS, len(turns))
            for (network, threads), row in _round(number, turns).items():
                results.once(experiments[number, network, threads], partial(dict, row))


def _turn(row: Row, folder: Path) -> _Turn:
    folder.mkdir()
    task = load_task(row.task)
    generator = build(row.architecture, seed=0).eval()
    shape = (1, task.source_channels, task.size, task.size)
    floating = export_onnx(generator, folder / "float32.onnx", shape)
    whole = export_int8(generator, folder / "int8.onnx", task.calibration(CALIBRATION), floating=floating)
    ways: dict[str, Callable[..., Latency]] = {
        "torch": partial(eager_latency, generator, shape),
        "float": partial(onnx_latency, floating, shape),
        "int8": partial(onnx_latency, whole, shape),
    }
    if row.label == TEACHER:
        for form, compress in WEIGHT_FORMS.items():
            path = export_onnx(compress(generator).generator, folder / f"{form}.onnx", shape)
            ways[form] = partial(onnx_latency, path, shape)
    memory = {form: partial(peak_memory, path, shape) for form, path in (("float", floating), ("int8", whole))}
    return _Turn(ways, memory, {"pixels": task.size, "macs": cost(generator, task.size, task.size).macs})


def _round(number: int, turns: Mapping[str, _Turn]) -> dict[tuple[str, int], Json]:
    """One turn of every network, form and number of threads; the order depends on the round's number."""
    rows: dict[tuple[str, int], Json] = {
        (network, threads): {**turn.about, "network": network, "threads": threads, "round": number}
        for network, turn in turns.items()
        for threads in THREADS
    }
    places = ((network, form, threads) for network, threads in rows for form in turns[network].ways)
    for network, form, threads in turn_order(places, number):
        time = turns[network].ways[form](threads=threads, min_seconds=0.2, repeats=20, warmup=5)
        rows[network, threads] |= {f"ms_{form}": time.median_ms, f"p95_{form}": time.p95_ms}
    if number == 1:
        for (network, threads), row in rows.items():
            row |= {f"memory_{form}": measure(threads=threads) for form, measure in turns[network].memory.items()}
    return rows
