"""Latency of many networks on this machine from a table: the stages of all of them are timed, and summed.

Source: the latency tables of Once-for-All (Cai et al., ICLR 2020, arXiv 1908.09791) and ProxylessNAS.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancomp_core import files
from gancomp_core.errors import GancompError, one_of
from gancomp_core.measure import RUNTIMES, latency, machine_class
from gancomp_core.methods.architecture_search.rows import ENUMERABLE, A, Rows, blueprints, every_row
from gancomp_core.nets import Architecture, Generator, Space

BETWEEN = 4  # networks that are timed in another runtime, besides the narrowest and the widest
ROUNDS = 3  # the least of their medians counts: other programs only add time


@dataclass(frozen=True)
class LatencyError:
    """How far a table's milliseconds are from those of whole networks.

    Attributes:
        mean_percent: Mean absolute error in percent of the measured times.
        correlation: Pearson's correlation (nan for fewer than 2 networks).
        networks: Number of networks.
    """

    mean_percent: float
    correlation: float
    networks: int

    def __str__(self) -> str:
        return (
            f"{self.mean_percent:.1f} % mean absolute error, correlation {self.correlation:.3f} "
            f"({self.networks} networks, timed as a whole)"
        )


@dataclass
class LatencyTable:
    """Milliseconds of one picture through each distinct stage.

    Stages that are not in the table yet are timed when they are needed, on this machine. They are timed in PyTorch; of
    another runtime, whose price for a call is more than many a stage takes, some whole networks are timed, and a
    network's milliseconds are read from the line through those.

    Attributes:
        base: What all networks have in common.
        pixels: Height and width of the pictures.
        threads: PyTorch's threads.
        machine: The class of machine.
        stages: Milliseconds in PyTorch by the name of a stage.
        runtime: One of :data:`gancomp_core.measure.RUNTIMES`, whose milliseconds the table predicts.
        line: Of a runtime but PyTorch: its milliseconds for a network whose stages take none, and for each of theirs.
    """

    base: Architecture
    pixels: tuple[int, int]
    threads: int
    machine: str
    stages: dict[str, float] = field(default_factory=dict)
    runtime: str = "eager"
    line: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def build(
        cls, space: Space[A], pixels: tuple[int, int], threads: int | None = None, runtime: str = "eager"
    ) -> LatencyTable:
        """Time every distinct stage of a space on this machine, about 0.05 s each; some networks in another runtime.

        Args:
            space: The space; of more than 200,000 networks nothing is timed before it is needed.
            pixels: Height and width of the pictures.
            threads: The runtime's threads; None takes PyTorch's present number.
            runtime: One of :data:`gancomp_core.measure.RUNTIMES`.

        Returns:
            The table.
        """
        one_of(runtime, RUNTIMES, "runtime")
        table = cls(space.base, pixels, threads or torch.get_num_threads(), machine_class(), runtime=runtime)
        if space.size <= ENUMERABLE:
            table.of(space, every_row(space))
        if runtime != "eager":
            table._fit(space)
        return table

    def _fit(self, space: Space[A]) -> None:
        """Lay the line through the narrowest and the widest network of a space and some between, timed whole."""
        draw = random.Random(0)
        networks = {space.narrowest, space.widest, *(space.sample(draw) for _ in range(BETWEEN))}
        stages = [self.predict(each) for each in networks]
        whole = [self.measure(each) for each in networks]
        rise, start = np.polyfit(stages, whole, 1) if len(networks) > 1 else (whole[0] / stages[0], 0.0)
        self.line = float(start), float(rise)

    def _read(self, milliseconds: Any) -> Any:
        """What the runtime takes for networks whose stages take this long in PyTorch."""
        start, rise = self.line
        return start + rise * milliseconds

    def predict(self, architecture: Architecture) -> float:
        """Milliseconds of one picture through this network: the sum of its stages."""
        self._check_kin(architecture)
        keys = stage_keys(architecture, self.pixels)
        self._measure(architecture, keys)
        return float(self._read(sum(self.stages[key] for key in keys)))

    def of(self, space: Space[A], rows: Rows) -> NDArray[np.float64]:
        """Milliseconds of many networks, given as index rows."""
        self._check_kin(space.base)
        found = np.zeros(len(rows))
        for places, plan in blueprints(space, rows, self.pixels):
            for stage in plan.stages:
                columns = np.stack(np.broadcast_arrays(*stage.widths, places)[:-1], axis=1)
                shapes, first, place = np.unique(columns, axis=0, return_index=True, return_inverse=True)
                keys = [stage.key(shape) for shape in shapes]
                for key, row in zip(keys, first, strict=True):
                    if key not in self.stages:
                        example = space.decode(rows[places[row]])
                        self._measure(example, stage_keys(example, self.pixels))
                found[places] += np.array([self.stages[key] for key in keys])[place.ravel()]
        read: NDArray[np.float64] = self._read(found)
        return read

    def error(self, networks: Iterable[Architecture] | Mapping[Architecture, float]) -> LatencyError:
        """The table's error on these networks; those without a given time are timed now."""
        measured = dict(networks) if isinstance(networks, Mapping) else {a: self.measure(a) for a in networks}
        if not measured:
            raise GancompError("The error of a latency table needs at least one network; give a sample of its space.")
        true = np.array(list(measured.values()))
        guess = np.array([self.predict(a) for a in measured])
        correlation = float(np.corrcoef(true, guess)[0, 1]) if len(true) > 1 and true.std() and guess.std() else np.nan
        return LatencyError(float(np.mean(np.abs(guess / true - 1)) * 100), correlation, len(true))

    def measure(self, architecture: Architecture) -> float:
        """Milliseconds of one picture through the whole network, timed now."""
        shape = (1, architecture.in_channels, *self.pixels)
        network = _to_be_timed(architecture)
        return min(
            latency(
                network, shape, runtime=self.runtime, threads=self.threads, warmup=1, repeats=5, min_seconds=0.05
            ).median_ms
            for _ in range(ROUNDS if self.runtime == "eager" else 1)  # another one needs a file for each
        )

    def save(self, path: Path | str) -> None:
        """Write the table as JSON."""
        values = {
            "machine": self.machine,
            "threads": self.threads,
            "pixels": list(self.pixels),
            "base": self.base.as_dict(),
            "stages": self.stages,
            "runtime": self.runtime,
            "line": list(self.line),
        }
        with files.atomic_write(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> LatencyTable:
        """Read a table that :meth:`save` wrote, of this machine or another."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            base: Architecture = Architecture.from_dict(values["base"])
            height, width = values["pixels"]
            stages = {str(key): float(ms) for key, ms in values["stages"].items()}
            start, rise = values.get("line", (0.0, 1.0))
            of = values["threads"], values["machine"], stages, values.get("runtime", "eager")
            return cls(base, (height, width), *of, (float(start), float(rise)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GancompError(
                f"{path} is not a latency table that can be read; LatencyTable.build(space, pixels).save(path) "
                "writes one for this machine."
            ) from error

    def _check_kin(self, architecture: Architecture) -> None:
        kin = type(architecture) is type(self.base) and architecture.with_genes(self.base.genes) == self.base
        if not kin:
            raise GancompError(
                f"This latency table was measured for networks like {self.base}, not like {architecture}; "
                "build one with LatencyTable.build(space, pixels)."
            )

    def _measure(self, architecture: Architecture, keys: list[str]) -> None:
        """Time those of the stages of a network, given in the order of :func:`stage_keys`, that are missing."""
        missing = [key for key in dict.fromkeys(keys) if key not in self.stages]
        if not missing:
            return
        if machine_class() != self.machine:
            raise GancompError(
                f"This latency table was measured on another machine ({self.machine}) and lacks the stage "
                f"'{missing[0]}'; build one here with LatencyTable.build(space, pixels)."
            )
        network = _to_be_timed(architecture)
        picture = torch.rand(1, architecture.in_channels, *self.pixels, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for key, run in zip(keys, _stage_runs(network, picture * 2 - 1), strict=True):
                if key not in self.stages:
                    self.stages[key] = min(
                        latency(run, threads=self.threads, warmup=1, repeats=3, min_seconds=0.015).median_ms
                        for _ in range(ROUNDS)
                    )


def _to_be_timed(architecture: Architecture) -> Generator:
    """A network in eval mode; its weights are all alike: random ones take longer to make."""
    with torch.device("meta"):
        network = architecture.network()
    network = network.to_empty(device="cpu").requires_grad_(False).eval()
    for tensor in network.state_dict().values():
        tensor.fill_(0.01 if tensor.is_floating_point() else 0)
    return cast(Generator, network)


def stage_keys(architecture: Architecture, pixels: tuple[int, int]) -> list[str]:
    """The stages of a network in order, by their names in a table."""
    return [stage.key(stage.widths) for stage in architecture.blueprint(*pixels).stages]


def _stage_runs(network: Generator, picture: Tensor) -> Iterator[Callable[[], Tensor]]:
    """What each stage of a network does to the picture, in the order of its blueprint."""
    x = picture
    for _, step in network.steps(picture):
        yield functools.partial(step, x)
        x = step(x)
