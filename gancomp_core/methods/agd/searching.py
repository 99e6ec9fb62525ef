"""The search itself: weights and choices learn in turns, each on its own half of the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Pictures, PictureSet, Task
from gancomp_core.errors import GancompError
from gancomp_core.measure import cost
from gancomp_core.methods.agd.choices import Choices, Controller, MacTable, PriceControl
from gancomp_core.methods.agd.students import (
    auxiliary,
    check_pictures_of,
    default_objective,
    pictures_with_teacher,
    teacher_if_asked,
)
from gancomp_core.methods.feature_distillation import DistillationOutputs
from gancomp_core.nets import build
from gancomp_core.nets.agd import AgdArchitecture, AgdNetwork, Picked
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, OptimizerGroup, batches_of, fit
from gancomp_core.train.objectives import Objective, term
from gancomp_core.train.outputs import Networks
from gancomp_core.train.progress import tile

LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class HalvedBatch(Batch):
    """A batch for the weights, and another one of equally many pictures, ``held_out``, for the choices."""

    held_out: Batch | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> HalvedBatch:
        mapped = super().map(function)
        other = None if self.held_out is None else self.held_out.map(function)
        return HalvedBatch(mapped.source, mapped.target, mapped.teacher, other)


class HalvedBatches:
    """Batches of the first half of a picture set, each with one of the second half, chosen by the same draws."""

    def __init__(self, task: Task, pictures: PictureSet, config: TrainConfig) -> None:
        half, self.batch_size, self.seed = len(pictures) // 2, config.batch_size, config.seed
        self.first, self.second = (
            batches_of(task, config, _part(pictures, torch.arange(start, start + half)), paired=True)
            for start in (0, half)
        )

    def at(self, step: int, rank: int = 0, world: int = 1) -> HalvedBatch:
        """Both batches of a step."""
        first, second = (batches.at(step, rank, world) for batches in (self.first, self.second))
        return HalvedBatch(first.source, first.target, first.teacher, second)

    def identity(self) -> str:
        """What determines the batches besides the pictures themselves."""
        return f"both halves: {self.first.identity()}"


def _part(pictures: PictureSet, places: Tensor) -> PictureSet:
    teacher = None if pictures.teacher is None else _Part(pictures.teacher, places)
    targets = teacher if teacher and pictures.teacher is pictures.targets else _Part(pictures.targets, places)
    return PictureSet(_Part(pictures.sources, places), targets, teacher=teacher)


class _Part:
    """Some of a set of pictures, by their places."""

    def __init__(self, pictures: Pictures, places: Tensor) -> None:
        self.pictures, self.places = pictures, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, indices: Tensor | slice, /) -> Tensor:
        return self.pictures[self.places[indices]]


class SearchOutputs:
    """One step of a search: one half of the pictures is for the weights, the other half for the choices.

    ``parts`` are the widest, the narrowest and a drawn network (and ``more`` drawn ones); ``chosen`` is a drawn one on
    the other half. Each is computed when its objective asks, so that gradients go to that group alone.
    """

    def __init__(self, networks: Networks, batch: HalvedBatch, control: PriceControl, more: int = 0) -> None:
        self.networks, self.batch, self.control, self.more = networks, batch, control, more
        self.choices: Any = networks["choices"]

    @cached_property
    def parts(self) -> list[DistillationOutputs]:
        drawn = (self.choices.drawn() for _ in range(1 + self.more))
        return [self._of(picked, self.batch) for picked in (self.choices.at(max), self.choices.at(min), *drawn)]

    @cached_property
    def chosen(self) -> DistillationOutputs:
        assert self.batch.held_out is not None
        return self._of(self.choices.drawn(), self.batch.held_out)

    def _of(self, picked: Sequence[Picked], batch: Batch) -> DistillationOutputs:
        generator: Any = partial(self.networks["generator"], picked=picked)
        return DistillationOutputs({**self.networks, "generator": generator}, batch)


@term()
def budget(outputs: SearchOutputs) -> Tensor:
    """The penalty on expected MACs."""
    return outputs.control.penalty()


def preview(outputs: SearchOutputs) -> Image.Image:
    """The first pictures of a step as rows: source, widest, narrowest and drawn network, teacher."""
    part = outputs.parts[0]
    sources = F.interpolate(part.source[:12], size=part.fake.shape[-2:])
    return tile([sources, *(each.fake[:12] for each in outputs.parts), part.teacher_picture[:12]])


@dataclass(frozen=True)
class Search:
    """What a search found: the network, its MACs, the trained supernet, and how the preferences moved.

    ``architecture`` is :func:`settled` from ``history``, which is that of :meth:`PriceControl.history`.
    """

    architecture: AgdArchitecture
    macs: int
    supernet: AgdNetwork
    choices: Choices
    history: pd.DataFrame
    losses: pd.DataFrame
    seconds: float


def search(
    task: Task,
    teacher: nn.Module,
    space: AgdArchitecture,
    config: TrainConfig,
    controller: Controller,
    *,
    objective: Objective | None = None,
    features: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
) -> Search:
    """Search ``space`` for a network within the controller's range of MACs that paints as ``teacher`` does.

    First the weights train alone, with two more drawn networks a step; then weights and choices take turns, each on
    its own half of the pictures. Every stage keeps its own checkpoint, the given path with the stage's name.

    Args:
        task: To train on.
        teacher: Whose pictures are imitated.
        space: A supernet's architecture.
        config: How; the weights' learning rate is 2e-3 by default.
        controller: Range of MACs, their price, and how choices learn.
        objective: Of one network (default: :func:`default_objective` of the space's kind).
        features: Replaces the network that content and style are read from.
        callbacks: What else happens around the steps.

    Raises:
        GancompError: For a range that no network of the space reaches, and for pictures of other channels or another
            scale than the space's.
    """
    pixels = task.size // task.scale
    table = MacTable(space, pixels, pixels)
    check_search(task, space, controller, table)
    objective = objective or default_objective(space.kind)
    warm = round(controller.warm_up * config.steps)
    choices, supernet = Choices(table), build(space, config.seed)
    control = PriceControl(choices, controller, config.steps - warm)
    pictures = pictures_with_teacher(task, teacher)
    networks = {"generator": supernet, "choices": choices} | auxiliary(objective, features)
    networks |= teacher_if_asked(objective, pictures, teacher)
    lr, chosen = config.rate(LEARNING_RATE), objective.at("chosen", "chosen_") + budget()
    weights = OptimizerGroup("generator", ("generator",), objective.over("parts", "sum"), lr)
    chooser = OptimizerGroup("choices", ("choices",), chosen, controller.choice_lr)
    stages = {
        "warm-up": (warm, Game(networks=networks, outputs=partial(SearchOutputs, control=control, more=2),
                               groups=(weights,), averaged=(), preview=preview)),
        "search": (config.steps - warm, Game(networks=networks, outputs=partial(SearchOutputs, control=control),
                                             groups=(weights, chooser), averaged=(), preview=preview,
                                             callbacks=(control,))),
    }  # fmt: skip
    seconds, parts = 0.0, list[pd.DataFrame]()
    for name, (steps, game) in stages.items():
        if steps:
            around = [callback.for_stage(name) for callback in callbacks]
            trained = fit(game, HalvedBatches(task, pictures, config), replace(config, steps=steps), around)
            seconds, parts = seconds + trained.seconds, [*parts, trained.history.assign(stage=name)]
    history = control.history()
    found = settled(space, history, controller)
    macs, losses = cost(found, pixels, pixels).macs, pd.concat(parts, ignore_index=True)
    return Search(found, macs, supernet, choices, history, losses, seconds)


def settled(space: AgdArchitecture, history: pd.DataFrame, controller: Controller) -> AgdArchitecture:
    """The network that was preferred at the last update at which it was within the range, else at the last update.

    Args:
        space: The space of the search.
        history: As :meth:`PriceControl.history` gives it.
        controller: The range of MACs.

    Returns:
        The architecture.
    """
    macs = history.groupby("step").macs.first()
    within = macs[macs.between(controller.low, controller.high)]
    return derived_from(space, history, int((within if len(within) else macs).index[-1]))


def derived_from(space: AgdArchitecture, history: pd.DataFrame, step: int) -> AgdArchitecture:
    """The network of the most probable choices at the update of a ``step``."""
    now = history[history.step == step]
    best = now.loc[now.groupby(["layer", "kind"]).probability.idxmax()].set_index(["layer", "kind"]).choice
    operators = [layer.operators.index(best[layer.name, "operator"]) for layer in space.layers]
    widths = [layer.widths.index(int(best[layer.name, "width"])) for layer in space.layers]
    return space.chosen(operators, widths)


def check_search(task: Task, space: AgdArchitecture, controller: Controller, table: MacTable) -> None:
    """Check that a task, a space and a range of MACs fit together.

    Raises:
        GancompError: Where they do not.
    """
    check_pictures_of(task, space)
    if controller.high < table.narrowest or controller.low > table.widest:
        raise GancompError(
            f"No network of this space has {controller.low:,.0f} to {controller.high:,.0f} MACs: they have "
            f"{table.narrowest:,} to {table.widest:,}; choose a range between, or another base width."
        )
