"""Train derived networks, and any other for comparison, by distillation alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import nn

from gancomp_core import zoo
from gancomp_core.data import PictureSet, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.agd.choices import MacTable
from gancomp_core.methods.feature_distillation import PICTURE_TERMS, DistillationOutputs, pixel_kd
from gancomp_core.methods.pseudo_pairs import pseudo_pairs
from gancomp_core.methods.teacher_pictures import with_teacher_pictures
from gancomp_core.nets import build
from gancomp_core.nets.agd import SUPER_RESOLUTION, TRANSLATION, AgdArchitecture
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, Trained, batches_of, fit
from gancomp_core.train.objectives import Objective, content, reconstruction, style, total_variation
from gancomp_core.train.super_resolution import generator_alone

LEARNING_RATE = 3e-3


def default_objective(kind: str) -> Objective:
    """Translation: content + style + total variation + L1; super-resolution: L1 to photograph and teacher.

    The published weights belong to VGG's maps; ours were chosen on shoes, with one seed, among a few.
    """
    if kind == SUPER_RESOLUTION:
        return reconstruction() + 0.1 * pixel_kd()
    return content() + 0.1 * style() + 0.01 * total_variation() + 0.5 * reconstruction()


def train_derived(
    task: Task,
    architecture: AgdArchitecture | nn.Module,
    config: TrainConfig,
    *,
    teacher: nn.Module,
    objective: Objective | None = None,
    features: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a derived network from scratch on the pictures of a teacher, without a discriminator.

    Args:
        task: To train on.
        architecture: Derived, or another generator of the library, trained in place: so methods compare by one recipe.
        config: How; the learning rate is 3e-3 by default.
        teacher: Whose pictures are imitated.
        objective: :func:`default_objective` of the kind of task by default.
        features: Replaces the network that content and style are read from.
        callbacks: What else happens around the steps.
    """
    network = architecture if isinstance(architecture, nn.Module) else build(architecture, config.seed)
    objective = objective or default_objective(SUPER_RESOLUTION if task.scale > 1 else TRANSLATION)
    pictures = pictures_with_teacher(task, teacher)
    networks = {"generator": network} | auxiliary(objective, features)
    game = Game(
        networks=networks | teacher_if_asked(objective, pictures, teacher),
        outputs=DistillationOutputs,
        groups=generator_alone(objective, config.rate(LEARNING_RATE)),
    )
    return fit(game, batches_of(task, config, pictures, paired=True), config, callbacks)


def auxiliary(objective: Objective, features: nn.Module | None) -> dict[str, nn.Module]:
    """The auxiliary networks of an objective; ``features`` replaces what content and style are read from."""
    return objective.auxiliary_networks() | ({"features": features} if features else {})


def teacher_if_asked(objective: Objective, pictures: PictureSet, teacher: nn.Module) -> dict[str, nn.Module]:
    """A frozen copy of the teacher, where a term compares with its pictures and they do not come with the batches."""
    if pictures.teacher is not None or not objective.find(*PICTURE_TERMS):
        return {}
    return {"teacher": copy.deepcopy(teacher).eval().requires_grad_(False)}


def pictures_with_teacher(task: Task, teacher: nn.Module) -> PictureSet:
    """Training pictures with what a teacher makes of them, which are the targets where the task has no pairs."""
    if not task.paired:
        return pseudo_pairs(task, teacher).train
    return with_teacher_pictures(teacher, task, visited=len(task.train))


def check_pictures_of(task: Task, architecture: AgdArchitecture) -> None:
    """Raise :class:`GancompError` where the pictures of a task are not those that an architecture is made for."""
    ours = (architecture.scale, architecture.in_channels, architecture.out_channels)
    if ours != (theirs := (task.scale, task.source_channels, task.target_channels)):
        raise GancompError(
            f"'{task.name}' enlarges {theirs[0]} times, from {theirs[1]} channels to {theirs[2]}, and this "
            f"architecture {ours[0]} times, from {ours[1]} to {ours[2]}; give it the task's numbers."
        )


def from_teacher(
    task: Task,
    architecture: AgdArchitecture,
    config: TrainConfig,
    *,
    teacher: str,
    backward: str = "",
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """A derived network under a teacher of the zoo; with ``backward``, also one for the way back of a CycleGAN.

    Args:
        task: The task.
        architecture: A derived network.
        config: How.
        teacher: Name of the model.
        backward: Text of the architecture for the way back (:meth:`AgdArchitecture.parse`), which learns from the
            teacher's backward generator; empty for none.
        callbacks: What else happens around the steps.

    Returns:
        The outcome.
    """
    model = zoo.load(teacher)
    there = train_derived(task, architecture, config, teacher=model.generator, callbacks=callbacks)
    if not backward:
        return there
    way_back = AgdArchitecture.parse(architecture.kind, backward, architecture.out_channels, architecture.in_channels)
    theirs, around = model.models["backward_generator"], [each.for_stage("backward") for each in callbacks]
    back = train_derived(task.reversed(), way_back, config, teacher=theirs, callbacks=around)
    return replace(
        there,
        models={**there.models, "backward_generator": back.models["generator"]},
        averaged={**there.averaged, "backward_generator": back.averaged["generator"]},
        seconds=there.seconds + back.seconds,
    )


def describe(architecture: AgdArchitecture, height: int, width: int) -> pd.DataFrame:
    """A derived network layer by layer: operator, width and share of the MACs; and the tail.

    Args:
        architecture: A derived network.
        height: Height of the input picture.
        width: Its width.

    Returns:
        A row for each layer.

    Raises:
        GancompError: For a supernet.
    """
    if not architecture.derived:
        raise GancompError("A supernet has no single table; derive a network with architecture.chosen(...) first.")
    table = MacTable(architecture, height, width)
    macs = [int(each[0, 0, 0]) for each in table.tables] + [int(table.tail[0])]
    names = [layer.name for layer in architecture.layers] + ["tail"]
    operators = [layer.operators[0] for layer in architecture.layers] + ["conv"]
    channels = [layer.widths[0] for layer in architecture.layers] + [architecture.out_channels]
    found = pd.DataFrame({"layer": names, "operator": operators, "width": channels, "macs": macs})
    return found.assign(share=found.macs / found.macs.sum())


def random_architectures(
    table: MacTable, low: float, high: float, count: int, seed: int = 0, tries: int = 100_000
) -> list[AgdArchitecture]:
    """Random networks whose MACs are in a range: the baseline of a search.

    Args:
        table: MACs of the choices.
        low: The least MACs.
        high: The most MACs.
        count: Number of networks.
        seed: Seed of the draws.
        tries: The most draws.

    Returns:
        The architectures.

    Raises:
        GancompError: When ``tries`` draws find too few.
    """
    rng, found = torch.Generator().manual_seed(seed), []
    layers = table.architecture.layers
    for _ in range(tries):
        operators = [int(torch.randint(len(layer.operators), (), generator=rng)) for layer in layers]
        widths = [int(torch.randint(len(layer.widths), (), generator=rng)) for layer in layers]
        if low <= table.exact(operators, widths) <= high:
            found.append(table.architecture.chosen(operators, widths))
        if len(found) == count:
            return found
    raise GancompError(
        f"Only {len(found)} of {tries:,} networks drawn by chance have {low:,.0f} to {high:,.0f} MACs; the space goes "
        f"from {table.narrowest:,} to {table.widest:,}: widen the range."
    )
