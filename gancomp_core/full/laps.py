"""What a step takes: seconds, memory, and the bytes of its checkpoint. And what makes it faster on a GPU."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import psutil
import torch

from gancomp_core.nets import AgdNetwork, ElasticGenerator
from gancomp_core.train import Callback

if TYPE_CHECKING:
    from gancomp_core.train.loop import Training

WARM_UP = 1  # steps that are not counted: they allocate, and on a GPU they compile


@dataclass
class Laps(Callback):
    """Notes the time of each step, the most memory (of the GPU, or of the process), and how large a checkpoint is."""

    times: list[float] = field(default_factory=list)
    memory: int = 0
    disk: int = 0

    def begin(self, training: Training) -> None:
        """Weights, Adam's two moments, and the average."""
        learned = sum(p.numel() * 4 for network in training.learning.values() for p in network.parameters())
        averaged = (training.game.networks[name] for name in training.game.averaged)
        self.disk += 3 * learned + sum(p.numel() * 4 for network in averaged for p in network.parameters())

    def after_step(self, training: Training) -> None:
        self.lap()

    def lap(self) -> None:
        """A step has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.memory = max(self.memory, torch.cuda.max_memory_allocated())
        else:
            self.memory = max(self.memory, psutil.Process().memory_info().rss)
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """The median step."""
        laps = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        return statistics.median(laps[WARM_UP - 1 :])


@dataclass(frozen=True)
class Compiled(Callback):
    """Compiles the networks of a training when it begins, those with weights for many networks left out.

    Each network drawn from a supernet has layers of other sizes, for which there would be another compilation.
    """

    place: ClassVar[int] = -1
    backend: str = "inductor"

    def begin(self, training: Training) -> None:
        for network in training.game.networks.values():
            if not isinstance(network, ElasticGenerator | AgdNetwork) and "forward" in dir(network):
                network.compile(backend=self.backend)
