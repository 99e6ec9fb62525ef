"""How long networks take on this machine, without running each: the stages of all of them are timed, and summed.

Source: the latency tables of Once-for-All (Cai et al., ICLR 2020, arXiv 1908.09791) and ProxylessNAS.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gancomp_core import files
from gancomp_core.errors import GancompError
from gancomp_core.measure import eager_latency, latency, machine_class
from gancomp_core.methods.architecture_search.choices import ENUMERABLE, Choices, every_choice, express, structures
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    GeneratorArchitecture,
    ResnetArchitecture,
    ResnetGenerator,
    SpadeArchitecture,
    SpadeGenerator,
    build_generator,
)
from gancomp_core.nets.blocks import resized
from gancomp_core.nets.spade import SMALLEST

ROUNDS = 3  # the least of their medians counts: other programs only add time


@dataclass(frozen=True)
class LatencyError:
    """How far a table's milliseconds are from those of whole networks.

    ``mean_percent`` is the mean absolute error in percent of what was measured, ``correlation`` Pearson's (nan for
    fewer than 2 networks), ``networks`` their number.
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
    """Milliseconds of one picture through each distinct stage, by its name, on ``machine`` with ``threads`` threads.

    ``base`` and ``pixels`` (height, width) are what all networks share. Stages that are not in the table yet are timed
    when they are asked for, on this machine.
    """

    base: GeneratorArchitecture
    pixels: tuple[int, int]
    threads: int
    machine: str
    stages: dict[str, float] = field(default_factory=dict)

    @classmethod
    def build(cls, space: ArchitectureSpace, pixels: tuple[int, int], threads: int | None = None) -> LatencyTable:
        """Time every distinct stage of a space on this machine, some 0.05 s each.

        ``threads`` are PyTorch's, None for as many as it has now. Of a space of more than 200,000 networks nothing is
        timed before it is asked for.
        """
        table = cls(space.base, pixels, threads or torch.get_num_threads(), machine_class())
        if len(space) <= ENUMERABLE:
            table.of(space, every_choice(space))
        return table

    def predict(self, architecture: GeneratorArchitecture) -> float:
        """Milliseconds of one picture through this network: the sum of its stages."""
        self._check_kin(architecture)
        keys = [name.format(*widths) for name, widths in stages_of(architecture)]
        self._measure(architecture, keys)
        return float(sum(self.stages[key] for key in keys))

    def of(self, space: ArchitectureSpace, choices: Choices) -> NDArray[np.float64]:
        """Milliseconds of many networks, given as choices; rows as in a search."""
        self._check_kin(space.base)
        found = np.zeros(len(choices))
        for rows, architecture in structures(space, choices):
            for name, widths in stages_of(architecture):
                columns = np.stack(np.broadcast_arrays(*widths, rows)[:-1], axis=1)
                shapes, first, place = np.unique(columns, axis=0, return_index=True, return_inverse=True)
                keys = [name.format(*shape) for shape in shapes]
                for key, row in zip(keys, first, strict=True):
                    if key not in self.stages:
                        example = express(space, choices[rows[row]])
                        self._measure(example, [stage.format(*gaps) for stage, gaps in stages_of(example)])
                found[rows] += np.array([self.stages[key] for key in keys])[place.ravel()]
        return found

    def error(self, networks: Iterable[GeneratorArchitecture] | Mapping[GeneratorArchitecture, float]) -> LatencyError:
        """The table's error on these networks; those without milliseconds of their own are timed as a whole now."""
        measured = dict(networks) if isinstance(networks, Mapping) else {a: self.measure(a) for a in networks}
        if not measured:
            raise GancompError("The error of a latency table needs at least one network; give a sample of its space.")
        true = np.array(list(measured.values()))
        guess = np.array([self.predict(a) for a in measured])
        correlation = float(np.corrcoef(true, guess)[0, 1]) if len(true) > 1 and true.std() and guess.std() else np.nan
        return LatencyError(float(np.mean(np.abs(guess / true - 1)) * 100), correlation, len(true))

    def measure(self, architecture: GeneratorArchitecture) -> float:
        """Milliseconds of one picture through the whole network, timed now."""
        shape = (1, architecture.in_channels, *self.pixels)
        network = _fresh(architecture)
        timing: dict[str, Any] = {"threads": self.threads, "warmup": 1, "repeats": 5, "min_seconds": 0.05}
        return min(eager_latency(network, shape, **timing).median_ms for _ in range(ROUNDS))

    def save(self, path: Path | str) -> None:
        """Write the table as JSON."""
        values = {
            "machine": self.machine,
            "threads": self.threads,
            "pixels": list(self.pixels),
            "base": self.base.as_dict(),
            "stages": self.stages,
        }
        with files.atomic_write(path) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> LatencyTable:
        """Read a table that :meth:`save` wrote, of this machine or another."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            kind = SpadeArchitecture if values["base"].get("family") == "spade" else ResnetArchitecture
            height, width = values["pixels"]
            stages = {str(key): float(ms) for key, ms in values["stages"].items()}
            return cls(kind.from_dict(values["base"]), (height, width), values["threads"], values["machine"], stages)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GancompError(
                f"{path} is not a latency table that can be read; LatencyTable.build(space, pixels).save(path) "
                "writes one for this machine."
            ) from error

    def _check_kin(self, architecture: GeneratorArchitecture) -> None:
        if _kind(architecture) != _kind(self.base):
            raise GancompError(
                f"This latency table was measured for networks like {self.base}, not like {architecture}; "
                "build one with LatencyTable.build(space, pixels)."
            )

    def _measure(self, architecture: GeneratorArchitecture, keys: list[str]) -> None:
        """Time those of the stages of a network, given in the order of :func:`stages_of`, that are missing."""
        missing = [key for key in dict.fromkeys(keys) if key not in self.stages]
        if not missing:
            return
        if machine_class() != self.machine:
            raise GancompError(
                f"This latency table was measured on another machine ({self.machine}) and lacks the stage "
                f"'{missing[0]}'; build one here with LatencyTable.build(space, pixels)."
            )
        network = _fresh(architecture)
        picture = torch.rand(1, architecture.in_channels, *self.pixels, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            for key, run in zip(keys, _stage_runs(network, picture * 2 - 1), strict=True):
                if key not in self.stages:
                    timing: dict[str, Any] = {"threads": self.threads, "warmup": 1, "repeats": 3, "min_seconds": 0.015}
                    self.stages[key] = min(latency(run, **timing).median_ms for _ in range(ROUNDS))


def _fresh(architecture: GeneratorArchitecture) -> nn.Module:
    """A network to be timed, in eval mode; its weights are all alike: random ones take longer to make."""
    with torch.device("meta"):
        network = build_generator(architecture.as_dict())
    network = network.to_empty(device="cpu").requires_grad_(False).eval()
    for tensor in network.state_dict().values():
        tensor.fill_(0.01 if tensor.is_floating_point() else 0)
    return network


def _kind(architecture: GeneratorArchitecture) -> GeneratorArchitecture:
    """What all networks of a table share: everything but what a space may choose."""
    usual: dict[str, Any] = {"channels": ChannelConfig.uniform(8), "kernels": (3, 3, 3), "resolution": 1.0}
    if isinstance(architecture, ResnetArchitecture):
        return replace(architecture, blocks=9, separable=False, **usual)
    return replace(architecture, middles=2, **usual)


def stages_of(architecture: GeneratorArchitecture) -> list[tuple[str, tuple[Any, ...]]]:
    """The stages of a network in order: a name with gaps for widths, and the widths."""
    found = (
        _resnet_stages(architecture) if isinstance(architecture, ResnetArchitecture) else _spade_stages(architecture)
    )
    at = "" if architecture.resolution == 1 else f" @{architecture.resolution:g}"
    return [(" ".join([name, ">".join(["{}"] * len(widths))]) + at, widths) for name, widths in found]


def _resnet_stages(a: ResnetArchitecture) -> Iterator[tuple[str, tuple[Any, ...]]]:
    stem, down1, down2, up1, up2 = a.channels.ends
    yield "stem", (stem,)
    yield "down1", (stem, down1)
    yield "down2", (down1, down2)
    for block, inner in enumerate(a.channels.inner_widths(a.blocks)):
        separable, kernel = a.in_third(block)
        yield f"{'separable' if separable else 'dense'} block {kernel}x{kernel}", (down2, inner)
    yield "up1", (down2, up1)
    yield "up2", (up1, up2)
    yield "tail", (up2,)


def _spade_stages(a: SpadeArchitecture) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "fc", (a.first_width,)
    before = SMALLEST[a.upsampling]
    for shape in a.blocks:
        kind = f"{'up' if shape.shortcut else 'block'} {shape.kernel}x{shape.kernel}"
        enlarged = " enlarged" if shape.shrink != before else ""
        yield f"{kind} at 1/{shape.shrink}{enlarged}", (shape.inputs, shape.inner, shape.outputs, shape.hidden)
        before = shape.shrink
    yield "tail", (a.channels.entries[7],)


def _stage_runs(network: Any, picture: Tensor) -> Iterator[Callable[[], Tensor]]:
    """What each stage of a network does to the picture, in the order of :func:`stages_of`."""
    steps = _resnet_steps(network) if isinstance(network, ResnetGenerator) else _spade_steps(network, picture)
    x = picture
    for step in steps:
        yield functools.partial(step, x)
        x = step(x)


def _resnet_steps(network: ResnetGenerator) -> Iterator[Callable[[Tensor], Tensor]]:
    share, stages = network.architecture.resolution, list(network.stages)
    yield lambda x: stages[0](resized(x, share))
    yield from stages[1:-1]
    yield lambda x: resized(stages[-1](x), 1 / share)


def _spade_steps(network: SpadeGenerator, picture: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    share, before = network.architecture.resolution, SMALLEST[network.architecture.upsampling]
    labels = picture if share == 1 else F.interpolate(picture, scale_factor=share, mode="nearest")
    size = [length // before for length in labels.shape[2:]]
    yield lambda x: network.stages["fc"](
        F.interpolate(x if share == 1 else F.interpolate(x, scale_factor=share, mode="nearest"), size, mode="nearest")
    )
    for shape in network.shapes:
        yield functools.partial(_spade_step, network.stages[shape.name], before / shape.shrink, labels)
        before = shape.shrink
    yield lambda x: resized(network.stages["tail"](x), 1 / share)


def _spade_step(stage: Any, enlarge: float, labels: Tensor, x: Tensor) -> Tensor:
    found: Tensor = stage(x if enlarge == 1 else F.interpolate(x, scale_factor=enlarge, mode="nearest"), labels)
    return found
