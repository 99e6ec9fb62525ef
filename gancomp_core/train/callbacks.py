"""What happens around the steps of a training: averages, checkpoints, progress, evaluations."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.errors import GancompError, TrainingDiverged
from gancomp_core.files import atomic_write
from gancomp_core.train.batch_norm import recalibrate
from gancomp_core.train.checkpoints import load_state, save_state
from gancomp_core.train.processes import number_of_first, wait_for_all
from gancomp_core.train.progress import Progress

if TYPE_CHECKING:
    from gancomp_core.train.loop import Training

State = dict[str, Any]
Preview = Callable[[Any], Image.Image]


class Callback:
    """Something that happens around the steps of a training; override what is needed.

    What ``state_dict`` returns (tensors and plain values) is kept in checkpoints under ``name`` and given back to
    ``load_state_dict`` after ``begin``. Callbacks of a smaller ``place`` come first at every hook.
    """

    place: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """What a checkpoint keeps the state under; two callbacks of a training need two names."""
        return type(self).__name__

    def for_stage(self, stage: str) -> Callback:
        """The callback for one stage of a method that trains in several."""
        return self

    def begin(self, training: Training) -> None:
        """Before the first step, and before the state of a checkpoint is loaded."""

    def before_step(self, training: Training) -> None:
        """Before ``training.step``, the number of steps done, becomes one more."""

    def after_step(self, training: Training) -> None:
        """After a step: ``training.step`` counts it, ``outputs`` and ``values`` are its own."""

    def end(self, training: Training) -> None:
        """After the last step, also where a checkpoint had it already."""

    def close(self) -> None:
        """When the training is left, by an error too."""

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None: ...


class MovingAverage(Callback):
    """Exponential moving averages of networks, in ``networks``: what a training is for."""

    def __init__(self, names: tuple[str, ...], decay: float) -> None:
        self.names, self.decay = names, decay
        self.networks: dict[str, nn.Module] = {}

    def begin(self, training: Training) -> None:
        for name in self.names:
            average = copy.deepcopy(training.game.networks[name]).eval().requires_grad_(False)
            self.networks[name] = training.fabric.to_device(average)

    @torch.no_grad()
    def after_step(self, training: Training) -> None:
        """Move the averages; the decay warms up, so that early averages do not remember the random start."""
        share = 1.0 - min(self.decay, training.step / (9 + training.step))
        for name, average in self.networks.items():
            ours: list[Tensor] = list(average.parameters())
            theirs: list[Tensor] = [p.detach() for p in training.networks[name].parameters()]
            torch._foreach_lerp_(ours, theirs, share)
            for buffer, current in zip(average.buffers(), training.networks[name].buffers(), strict=True):
                buffer.copy_(current)

    def state_dict(self) -> State:
        return {name: network.state_dict() for name, network in self.networks.items()}

    def load_state_dict(self, state: State) -> None:
        for name, network in self.networks.items():
            network.load_state_dict(state[name])


@dataclass
class Checkpoint(Callback):
    """Saves the training to a file about every ``seconds`` and at the end, and continues from it when it exists.

    The losses are written next to it as CSV. Frozen networks are not in the file: their content is part of the
    training's identity, which the file must agree with.

    Raises:
        GancompError: When the file belongs to another training, naming what differs.
        TrainingDiverged: When weights are no longer finite; they are not written.
    """

    place: ClassVar[int] = 1

    path: Path | str
    seconds: float = 30.0
    saved: float = field(default=0.0, init=False, repr=False)

    def for_stage(self, stage: str) -> Checkpoint:
        """In a file of its own, the path with the stage's name."""
        path = Path(self.path)
        return replace(self, path=path.with_suffix(f".{stage}{path.suffix}"))

    def begin(self, training: Training) -> None:
        self.saved, path = time.monotonic(), Path(self.path)
        training.identity = identity = training.identify()
        if not path.exists():
            return
        training.last_good = path
        saved = load_state(path)
        found = saved.get("identity") if isinstance(saved, dict) else None
        if not isinstance(found, dict):
            raise GancompError(f"The checkpoint {path} holds no training that can be continued; delete it.")
        differing = [part for part in {**found, **identity} if found.get(part) != identity.get(part)]
        if differing:
            part = differing[0]
            raise GancompError(
                f"The checkpoint {path} belongs to another training: its {part} is '{found.get(part, 'absent')}', "
                f"and here '{identity.get(part, 'absent')}'; delete it or choose another checkpoint path."
            )
        training.load_state_dict(saved)

    def before_step(self, training: Training) -> None:
        """Ask in time: the processes of a training, whose clocks differ, agree with the values of the step."""
        if time.monotonic() - self.saved >= self.seconds:
            training.save_now = True

    def after_step(self, training: Training) -> None:
        if training.step < training.config.steps and not training.save_now:
            return
        for name, network in training.learning.items():
            if not all(torch.isfinite(p).all() for p in network.parameters()):
                raise TrainingDiverged(training.step, f"weights of {name}", math.nan, training.last_good)
        if training.fabric.is_global_zero:
            save_state({"identity": training.identity, **training.state_dict()}, self.path)
            with atomic_write(Path(self.path).with_suffix(".csv")) as temporary:
                pd.DataFrame(training.history).to_csv(temporary, index=False)
        wait_for_all()  # no process goes on before it is written
        training.last_good, training.save_now, self.saved = Path(self.path), False, time.monotonic()


class ShowProgress(Callback):
    """A bar and a live picture in a notebook, lines elsewhere; the first process alone shows them.

    ``preview`` makes the picture of a step's outputs (default: the game's own).
    """

    place = 2

    def __init__(self, preview: Preview | None = None) -> None:
        self.preview = preview
        self.shown: Progress | None = None

    def before_step(self, training: Training) -> None:
        if self.shown is None and training.fabric.is_global_zero:
            self.shown = Progress(training.step, training.config.steps)

    def after_step(self, training: Training) -> None:
        if self.shown:
            preview, outputs = self.preview or training.game.preview, training.outputs
            picture = (lambda: preview(outputs)) if preview else None
            self.shown.update(training.step, training.values, picture)

    def close(self) -> None:
        if self.shown:
            self.shown.close()


@dataclass
class Evaluate(Callback):
    """Measures the averaged generator every so many steps and at the end, and keeps the weights of the best.

    Args:
        measure: From a network to a number; less is better.
        every: Steps between measurements, which the first process makes; their time does not count as training.
        network: Which of the averaged networks.

    ``curve`` is the number by step, ``best`` the weights of the smallest one; checkpoints keep both.
    """

    measure: Callable[[nn.Module], float]
    every: int
    network: str = "generator"
    curve: dict[int, float] = field(default_factory=dict, repr=False)
    best: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def best_step(self) -> int:
        """The step of the smallest number; the first of equals."""
        return min(self.curve, key=lambda step: self.curve[step])

    def after_step(self, training: Training) -> None:
        if training.step % self.every and training.step < training.config.steps:
            return
        network = training.averaged[self.network]
        with training.paused(), torch.random.fork_rng():
            found = float(self.measure(network)) if training.fabric.is_global_zero else math.nan
            self.curve[training.step] = number_of_first(found)
        training.save_now = True
        if self.best_step == training.step:
            self.best = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def state_dict(self) -> State:
        return {"curve": self.curve, "best": self.best}

    def load_state_dict(self, state: State) -> None:
        self.curve, self.best = state["curve"], state["best"]


@dataclass(frozen=True)
class Recalibrate(Callback):
    """Measures the BatchNorm statistics of the averaged generator at the end, on the first training batches.

    ``side`` ("source" or "target") is what the network takes.
    """

    side: str
    batches: int = 32

    def end(self, training: Training) -> None:
        generator = training.averaged["generator"]
        device = next(generator.parameters()).device
        some = (training.batches.at(step) for step in range(self.batches))
        recalibrate(generator, (getattr(batch, self.side).to(device) for batch in some))


def ordered(callbacks: tuple[Callback, ...]) -> tuple[Callback, ...]:
    """Callbacks by their place.

    Raises:
        GancompError: For two that would keep their state under one name.
    """
    names = [callback.name for callback in callbacks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise GancompError(f"A training has two callbacks named '{twice}'; give each its own name, or leave one out.")
    return tuple(sorted(callbacks, key=lambda callback: callback.place))
