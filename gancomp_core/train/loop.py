"""The one training loop: picture -> batch -> outputs -> objective -> step -> weights.

It knows neither networks nor losses. A :class:`Game` says what is trained: networks, what a step computes from them
and a batch (its *outputs*), and who learns from that (*optimizer groups*: a generator with its objective, a
discriminator with its own). All else around the steps are callbacks. Everything random in a step depends on (seed,
step) alone, so a run killed at any moment resumes from its checkpoint to the same weights, bit for bit, on the same
machine with the same number of threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, PictureSet, Task
from gancomp_core.errors import GancompError, TrainingDiverged
from gancomp_core.train.callbacks import Callback, MovingAverage, Preview, ShowProgress, State, ordered
from gancomp_core.train.config import TrainConfig, default_device
from gancomp_core.train.identity import describe, digest
from gancomp_core.train.lost import watched
from gancomp_core.train.objectives import Objective
from gancomp_core.train.outputs import Networks
from gancomp_core.train.processes import (
    average_gradients,
    batch_norms_joined,
    check_same_step,
    joined,
    many_processes,
    mean_of_all,
    start_alike,
)

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # silence its start-up log
EXPLODED = 1e5  # how many times its first value (or 1, where that is less) a term may become
CROP = 64  # target pixels that super-resolution trains on, unless the configuration says otherwise


class BatchSource(Protocol):
    """Batches by step, such as :class:`gancomp_core.data.Batches`."""

    batch_size: int
    seed: int

    def at(self, step: int, rank: int = 0, world: int = 1) -> Batch: ...

    def identity(self) -> str: ...


@dataclass(frozen=True)
class OptimizerGroup:
    """The networks (by name) that one Adam optimizer moves, and the objective it minimizes."""

    name: str
    networks: tuple[str, ...]
    objective: Objective
    lr: float
    betas: tuple[float, float] = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class Game:
    """What is trained.

    Args:
        networks: By name; those of no group are frozen.
        outputs: From the networks and a batch to what the objectives of all groups read.
        groups: Move one after the other in every step; the last one is the generator's.
        averaged: Names of the networks whose moving average is kept.
        preview: From the outputs to the live picture in a notebook.
        callbacks: What the method itself needs around the steps.
    """

    networks: Networks
    outputs: Callable[[Networks, Batch], Any]
    groups: tuple[OptimizerGroup, ...]
    averaged: tuple[str, ...] = ("generator",)
    preview: Preview | None = None
    callbacks: tuple[Callback, ...] = ()

    def __post_init__(self) -> None:
        names = [term.name for group in self.groups for term in group.objective.terms]
        if len(set(names)) < len(names):
            raise GancompError(f"Two groups have a term of one name among {', '.join(names)}; give each its own.")


@dataclass
class Trained:
    """The outcome of a training.

    Attributes:
        models: Networks by name, with their last weights.
        averaged: The exponential moving averages of those that have one.
        history: A table of losses.
        seconds: Training time, over all resumed parts.
        step: Number of steps done.
        precision: Precision of the (last) training.
        device: Its device.
        threads: Its number of threads.
        objective: What the last group (the generator) minimized.
    """

    models: dict[str, nn.Module]
    averaged: dict[str, nn.Module]
    history: pd.DataFrame
    seconds: float
    step: int
    precision: str
    device: str
    threads: int
    objective: str


@dataclass
class Training:
    """A training in progress: what callbacks see.

    ``networks`` and ``optimizers`` are those of the game, on their devices. ``step`` counts the steps done,
    ``outputs`` and ``values`` (of every term) belong to the last one. ``last_good`` is the file of the last checkpoint;
    ``save_now`` asks for another one, because much work was done.
    """

    game: Game
    batches: BatchSource
    config: TrainConfig
    fabric: Fabric
    callbacks: tuple[Callback, ...]
    networks: dict[str, nn.Module] = field(init=False)
    optimizers: dict[str, Any] = field(init=False)
    step: int = 0
    threads: int = 0
    outputs: Any = None
    values: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    last_good: Path | None = None
    save_now: bool = False
    identity: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        learning = {name for group in self.game.groups for name in group.networks}
        for name, network in self.game.networks.items():
            network.train(name in learning)
        self.networks = {name: _ready(network, self.fabric) for name, network in self.game.networks.items()}
        self.learning = {name: network for name, network in self.networks.items() if name in learning}
        self.optimizers = {group.name: self._optimizer(group) for group in self.game.groups}

    def _optimizer(self, group: OptimizerGroup) -> Any:
        parameters = [p for name in group.networks for p in self.networks[name].parameters()]
        return self.fabric.setup_optimizers(torch.optim.Adam(parameters, group.lr, group.betas, fused=True))

    @property
    def averaged(self) -> dict[str, nn.Module]:
        """The moving averages by name."""
        return next(each.networks for each in self.callbacks if isinstance(each, MovingAverage))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count as training."""
        self._count_time()
        yield
        self._since = time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now

    def carry_out(self) -> None:
        """The callbacks' beginning, all steps that are left, and the callbacks' end."""
        start_alike(self.networks.values())
        with contextlib.ExitStack() as left:
            for callback in self.callbacks:
                left.callback(callback.close)
                callback.begin(self)
            check_same_step(self.step)
            with batch_norms_joined(self.networks.values()):
                self.run()
            for callback in self.callbacks:
                callback.end(self)

    def run(self) -> None:
        """All steps that are left."""
        record_every = max(1, self.config.steps // 200)
        self._since = time.monotonic()
        if self.step < self.config.steps:
            self.threads = torch.get_num_threads()
        while self.step < self.config.steps:
            for callback in self.callbacks:
                callback.before_step(self)
            torch.manual_seed(self.config.seed * 1_000_003 + self.step)
            batch = self.batches.at(self.step, self.fabric.global_rank, self.fabric.world_size)
            self.outputs = self.game.outputs(self.networks, batch.to(self.fabric.device))
            self.values = self._play()
            self._check_values()
            self.step += 1
            if (self.step - 1) % record_every == 0 or self.step == self.config.steps:
                self.history.append({"step": self.step - 1, **self.values})
            for callback in self.callbacks:
                callback.after_step(self)
        self._count_time()

    def _play(self) -> dict[str, float]:
        """Every group evaluates its objective and moves once; returns the value of every term."""
        values: dict[str, Tensor] = {}
        factor = self.config.schedule(self.step, self.config.steps)
        for group in self.game.groups:
            optimizer = self.optimizers[group.name]
            for parameters in optimizer.param_groups:
                parameters["lr"] = group.lr * factor
            others = [network for name, network in self.learning.items() if name not in group.networks]
            with _frozen(others):  # the critic's weights need no gradient while the generator learns from it
                total, parts = group.objective(self.outputs)
                optimizer.zero_grad(set_to_none=True)
                self.fabric.backward(total)
            average_gradients(p for name in group.networks for p in self.networks[name].parameters())
            optimizer.step()
            values |= {name: value.detach() for name, value in parts.items()}
        return self._of_all(values)

    def _of_all(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Every term over the whole batch; where one process wants a checkpoint, all of them make it together."""
        numbers = torch.stack(list(values.values()))
        if self.fabric.world_size > 1:
            *found, wanted = mean_of_all(torch.cat([numbers, numbers.new_tensor([self.save_now])])).tolist()
            self.save_now = wanted > 0
        else:
            found = numbers.tolist()
        return dict(zip(values, found, strict=True))

    def _check_values(self) -> None:
        """Raise where a term is no number any more, or out of all proportion to its first value."""
        first = self.history[0] if self.history else self.values
        for name, value in self.values.items():
            if not math.isfinite(value) or abs(value) > EXPLODED * max(1.0, abs(first[name])):
                raise TrainingDiverged(self.step, name, value, self.last_good)

    def identify(self) -> dict[str, str]:
        """What a checkpoint must agree with to be continued, part by part: everything but weights that are learned."""
        game, first = self.game, self.batches.at(0)
        shapes = [[name, key, list(value.shape)] for name, network in self.learning.items()
                  for key, value in network.state_dict().items()]  # fmt: skip
        parts = {f"frozen {n}": digest(m) for n, m in self.networks.items() if n not in self.learning}
        parts |= {"learning networks": _short(shapes), "pictures": _short([self.batches, first])}
        for group in game.groups:
            how = f"{group.objective}, lr {group.lr:g}, betas {group.betas}"
            parts[f"objective of {group.name}"] = f"{how} ({_short(group)})"
        parts |= {"configuration": repr(self.config), "schedule": describe(self.config.schedule)}
        return parts | {"outputs": describe(game.outputs), "callbacks": describe([*map(describe, game.callbacks)])}

    def state_dict(self) -> State:
        """All that a checkpoint holds; frozen networks are not."""
        self._count_time()
        held = {callback.name: callback.state_dict() for callback in self.callbacks}
        return {
            "networks": {name: network.state_dict() for name, network in self.learning.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "callbacks": {name: state for name, state in held.items() if state},
            **{name: getattr(self, name) for name in ("step", "seconds", "threads", "history")},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from there; a callback that the checkpoint knows nothing of begins empty."""
        for name, network in self.learning.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for callback in self.callbacks:
            if callback.name in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.name])
        for name in ("step", "seconds", "threads", "history"):
            setattr(self, name, state[name])


def fit(game: Game, data: BatchSource | Task, config: TrainConfig, callbacks: Sequence[Callback] = ()) -> Trained:
    """Train the networks of a game (in place) for ``config.steps`` steps.

    Args:
        game: What is trained.
        data: Batches, or a task whose training pictures are taken (:func:`batches_of`).
        config: How.
        callbacks: What else happens around the steps, such as :class:`Checkpoint` or :class:`Evaluate`.

    Raises:
        TrainingDiverged: When a loss or a weight stops being finite, or a term grows out of all proportion.
        GancompError: When the checkpoint belongs to another training, when two terms share a name, and when batches
            and configuration disagree.
    """
    batches = batches_of(data, config) if isinstance(data, Task) else data
    if (batches.batch_size, batches.seed) != (config.batch_size, config.seed):
        raise GancompError(
            f"The batches have size {batches.batch_size} and seed {batches.seed}, the configuration "
            f"{config.batch_size} and {config.seed}; make both from the same configuration."
        )
    average = MovingAverage(game.averaged, config.ema)
    asked = config.progress and not any(isinstance(each, ShowProgress) for each in callbacks)
    shown = (ShowProgress(),) if asked else ()
    every = ordered((average, *game.callbacks, *callbacks, *shown))
    fabric = config.fabric or many_processes(config.precision)
    with joined(fabric), torch.random.fork_rng():
        training = Training(game, batches, config, fabric, every)
        with watched(fabric.global_rank, fabric.world_size, lambda: (training.step, training.last_good)):
            training.carry_out()
    return Trained(
        models={name: getattr(each, "module", each).eval() for name, each in training.networks.items()},
        averaged=average.networks,
        history=pd.DataFrame(training.history),
        seconds=training.seconds,
        step=training.step,
        precision=str(training.fabric._precision.precision),  # Fabric has no public name for what it was given
        device=training.fabric.device.type,
        threads=training.threads,
        objective=str(game.groups[-1].objective),
    )


def batches_of(
    task: Task, config: TrainConfig, pictures: PictureSet | None = None, paired: bool | None = None
) -> Batches:
    """The batches of a task's training pictures, in pairs where the task has them.

    A task that enlarges is trained on squares of ``config.crop`` target pixels, 64 by default.

    Args:
        task: The task.
        config: Batch size, seed, crop and warp.
        pictures: Other pictures than the training split.
        paired: Whether source and target belong together; None as in the task.

    Returns:
        The batches.
    """
    crop = config.crop or (CROP if task.scale > 1 else None)
    paired = task.paired if paired is None else paired
    return Batches(
        pictures or task.train,
        config.batch_size,
        config.seed,
        paired,
        crop=crop,
        scale=task.scale,
        warp=config.warp,
        device=config.fabric.device if config.fabric else default_device(),
    )


def _ready(network: nn.Module, fabric: Fabric) -> nn.Module:
    """The network on its device, in its precision; processes average gradients themselves, so DDP does not wrap it."""
    if fabric.world_size == 1:
        return fabric.setup_module(network)
    return _FabricModule(fabric.to_device(fabric.strategy.precision.convert_module(network)), fabric.strategy)


@contextlib.contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


def _short(value: object) -> str:
    return hashlib.sha256(describe(value).encode()).hexdigest()[:8]
