"""The search itself: weights and choices learn in turns, each on its own half of the pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Pictures, PictureSet, Task
from gancomp_core.errors import GancompError
from gancomp_core.measure import cost
from gancomp_core.methods.agd.choices import Choices, Controller, MacTable
from gancomp_core.methods.agd.students import (
    TaughtScene,
    batches_of,
    check_pictures_of,
    default_objective,
    taught,
)
from gancomp_core.methods.teacher_pictures import Stacked
from gancomp_core.nets import build
from gancomp_core.nets.agd import AgdArchitecture, AgdNetwork
from gancomp_core.train.loop import Player, Settings, train
from gancomp_core.train.objectives import Objective, companions
from gancomp_core.train.progress import tile


class SearchScene:
    """One step of a search: half of the pictures teach the weights, the other half the choices.

    ``parts`` are the widest, the narrowest and a drawn network (and ``more`` drawn ones); ``chosen`` is a drawn one on
    the other half. Each is computed when its player asks, so that gradients go to that player alone.
    """

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch, more: int = 0, look: bool = True) -> None:
        choices: Any = models["choices"]
        self.models, self.more, self.choices = models, more, choices
        architecture: AgdArchitecture = self.choices.table.architecture
        sources = batch.source.split(architecture.in_channels, dim=1)
        targets = batch.target.chunk(2, dim=1)
        self.halves = [Batch(*pair) for pair in zip(sources, targets, strict=True)]
        if look:
            self.choices.look()

    @cached_property
    def parts(self) -> list[TaughtScene]:
        picks = [self.choices.at(max), self.choices.at(min), *(self.choices.drawn() for _ in range(1 + self.more))]
        return [TaughtScene(self.models, self.halves[0], picked) for picked in picks]

    @cached_property
    def chosen(self) -> TaughtScene:
        return TaughtScene(self.models, self.halves[1], self.choices.drawn())


def for_weights(objective: Objective) -> Objective:
    """An objective of one network as the sum over the networks of a :class:`SearchScene`."""
    return Objective(
        tuple((w, name, functools.partial(_over_parts, function)) for w, name, function in objective.terms)
    )


def for_choices(objective: Objective) -> Objective:
    """An objective of one network, on the drawn one and the other half of the pictures, and the price of its MACs."""
    terms = tuple((w, f"chosen_{name}", functools.partial(_of_chosen, f)) for w, name, f in objective.terms)
    return Objective((*terms, (1.0, "budget", lambda scene: scene.choices.budget().float())))


def _over_parts(function: Callable[[Any], Tensor], scene: SearchScene) -> Tensor:
    return torch.stack([function(part) for part in scene.parts]).sum()


def _of_chosen(function: Callable[[Any], Tensor], scene: SearchScene) -> Tensor:
    return function(scene.chosen)


def preview(scene: SearchScene) -> Image.Image:
    """The first pictures of a step as rows: source, widest, narrowest and drawn network, teacher."""
    part = scene.parts[0]
    sources = F.interpolate(part.source[:12], size=part.fake.shape[-2:])
    return tile([sources, *(each.fake[:12] for each in scene.parts), part.teacher_picture[:12]])


@dataclass(frozen=True)
class Search:
    """What a search found: the network, its MACs, the trained supernet, and how the preferences moved.

    ``architecture`` is :func:`settled` from ``history``, which is that of :meth:`Choices.history`.
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
    settings: Settings,
    controller: Controller,
    *,
    objective: Objective | None = None,
    lr: float = 2e-3,
    choice_lr: float = 2e-2,
    warm_up: float = 0.25,
    crop: int | None = None,
    features: nn.Module | None = None,
    checkpoint: Path | None = None,
    **options: Any,
) -> Search:
    """Search ``space`` for a network within the controller's range of MACs that paints as ``teacher`` does.

    The first share ``warm_up`` of the steps trains the weights alone, with two more drawn networks a step; then weights
    (Adam, ``lr``) and choices (Adam, ``choice_lr``) take turns, each on its own half of the pictures. ``features``
    replaces the network that content and style are read from. Enlarging tasks train on squares of ``crop`` target
    pixels (64). Every stage keeps its own ``checkpoint``, the given path with the stage's name; further ``options`` go
    to :func:`gancomp_core.train.loop.train`. Raises :class:`GancompError` for a range that no network of the space
    reaches, and for pictures of other channels or another scale than the space's.
    """
    table = MacTable(space, *(2 * [task.size // task.scale]))
    check_search(task, space, controller, table)
    warm = round(warm_up * settings.steps)
    choices = Choices(table, controller, settings.steps - warm)
    supernet = build(space, settings.seed)
    objective = objective or default_objective(space.kind)
    models = {"generator": supernet, "choices": choices} | companions(objective)
    models |= {"features": features} if features else {}
    batches = batches_of(task, halves(taught(task, teacher)), settings, crop)
    weights = Player("generator", ("generator",), for_weights(objective), lr)
    chooser = Player("choices", ("choices",), for_choices(objective), choice_lr)
    seconds, parts = 0.0, list[pd.DataFrame]()
    for name, steps, players, scene in (
        ("warm-up", warm, [weights], functools.partial(SearchScene, more=2, look=False)),
        ("search", settings.steps - warm, [weights, chooser], SearchScene),
    ):
        if steps:
            file = checkpoint and checkpoint.with_suffix(f".{name}{checkpoint.suffix}")
            stage = replace(settings, steps=steps)
            given: dict[str, Any] = {"averaged": (), "checkpoint": file, "preview": preview, **options}
            trained = train(models, scene, players, batches, stage, **given)
            seconds, parts = seconds + trained.seconds, [*parts, trained.history.assign(stage=name)]
    history = choices.history()
    found = settled(space, history, controller)
    macs = cost(found, *(2 * [task.size // task.scale])).macs
    losses = pd.concat(parts, ignore_index=True)
    return Search(found, macs, supernet, choices, history, losses, seconds)


def settled(space: AgdArchitecture, history: pd.DataFrame, controller: Controller) -> AgdArchitecture:
    """The network that was preferred at the last look at which it lay within the range, else at the last of all."""
    looks = history.groupby("step").macs.first()
    within = looks[looks.between(controller.low, controller.high)]
    return derived_from(space, history, int((within if len(within) else looks).index[-1]))


def derived_from(space: AgdArchitecture, history: pd.DataFrame, step: int) -> AgdArchitecture:
    """The network of the most probable choices at the look of a ``step``."""
    now = history[history.step == step]
    best = now.loc[now.groupby(["layer", "kind"]).probability.idxmax()].set_index(["layer", "kind"]).choice
    operators = [layer.operators.index(best[layer.name, "operator"]) for layer in space.layers]
    widths = [layer.widths.index(int(best[layer.name, "width"])) for layer in space.layers]
    return space.chosen(operators, widths)


def check_search(task: Task, space: AgdArchitecture, controller: Controller, table: MacTable) -> None:
    """Raise :class:`GancompError` where a task, a space and a range of MACs do not go together."""
    check_pictures_of(task, space)
    if controller.high < table.narrowest or controller.low > table.widest:
        raise GancompError(
            f"No network of this space has {controller.low:,.0f} to {controller.high:,.0f} MACs: they have "
            f"{table.narrowest:,} to {table.widest:,}; choose a range between, or another base width."
        )


def halves(pictures: PictureSet) -> PictureSet:
    """The second half of a set stacked under the first, along the channels, so that one batch holds both."""
    half = len(pictures) // 2
    parts = (torch.arange(half), torch.arange(half, 2 * half))

    def stacked(side: Pictures) -> Stacked:
        return Stacked(*(_Part(side, places) for places in parts))

    return PictureSet(stacked(pictures.sources), stacked(pictures.targets))


class _Part:
    """Some of a set of pictures, by their places."""

    def __init__(self, pictures: Pictures, places: Tensor) -> None:
        self.pictures, self.places = pictures, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, indices: Tensor | slice, /) -> Tensor:
        return self.pictures[self.places[indices]]
