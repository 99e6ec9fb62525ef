"""What learns from a teacher without a discriminator: derived networks, and any other that is to be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from gancomp_core import zoo
from gancomp_core.data import Batch, Batches, PictureSet, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.agd.choices import MacTable
from gancomp_core.methods.feature_distillation import pixel_kd
from gancomp_core.methods.pseudo_pairs import pseudo_pairs
from gancomp_core.methods.teacher_pictures import beside_targets
from gancomp_core.nets import build
from gancomp_core.nets.agd import SUPER_RESOLUTION, TRANSLATION, AgdArchitecture, Picked
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import (
    Objective,
    companions,
    content,
    reconstruction,
    style,
    total_variation,
)
from gancomp_core.train.pix2pix import PairedScene


class TaughtScene(PairedScene):
    """One step with pictures of a teacher, ``teacher_picture``, stacked under the targets where it is paired.

    Without pairs the targets are the teacher's pictures themselves.
    """

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch, picked: Sequence[Picked] | None = None) -> None:
        self.models, self.source = models, batch.source
        generator: Any = models["generator"]
        self.target, *painted = batch.target.split(generator.architecture.out_channels, dim=1)
        self.teacher_picture = painted[0] if painted else self.target
        how = {} if picked is None else {"picked": picked}
        self.fake = generator(batch.source, **how)


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
    settings: Settings,
    *,
    teacher: nn.Module,
    objective: Objective | None = None,
    lr: float = 3e-3,
    crop: int | None = None,
    features: nn.Module | None = None,
    **options: Any,
) -> Trained:
    """Train a derived network from scratch on the pictures of a teacher, without a discriminator.

    ``architecture`` may also be another generator of the library, trained in place: so methods compare by one recipe.
    ``options`` go to :func:`gancomp_core.train.loop.train`; the others are those of :func:`search`.
    """
    network = architecture if isinstance(architecture, nn.Module) else build(architecture, settings.seed)
    objective = objective or default_objective(SUPER_RESOLUTION if task.scale > 1 else TRANSLATION)
    models = {"generator": network} | companions(objective) | ({"features": features} if features else {})
    batches = batches_of(task, taught(task, teacher), settings, crop)
    player = Player("generator", ("generator",), objective, lr, (0.9, 0.999))
    return train(models, TaughtScene, [player], batches, settings, **options)


def taught(task: Task, teacher: nn.Module) -> PictureSet:
    """Training pictures with what a teacher makes of them: as targets, or under them where the task is paired."""
    if not task.paired:
        return pseudo_pairs(task, teacher).train
    return beside_targets(teacher, task, visited=len(task.train))


def check_pictures_of(task: Task, architecture: AgdArchitecture) -> None:
    """Raise :class:`GancompError` where the pictures of a task are not those that an architecture is made for."""
    ours = (architecture.scale, architecture.in_channels, architecture.out_channels)
    if ours != (theirs := (task.scale, task.source_channels, task.target_channels)):
        raise GancompError(
            f"'{task.name}' enlarges {theirs[0]} times, from {theirs[1]} channels to {theirs[2]}, and this "
            f"architecture {ours[0]} times, from {ours[1]} to {ours[2]}; give it the task's numbers."
        )


def batches_of(task: Task, pictures: PictureSet, settings: Settings, crop: int | None) -> Batches:
    """Batches of a task's pictures, where it enlarges in squares of ``crop`` target pixels (64)."""
    side = (crop or 64) if task.scale > 1 else None
    return Batches(pictures, settings.batch_size, settings.seed, paired=True, crop=side, scale=task.scale)


def from_teacher(
    task: Task, architecture: AgdArchitecture, settings: Settings, *, teacher: str, backward: str = "", **options: Any
) -> Trained:
    """A derived network under a teacher of the zoo; with ``backward``, also one for the way back of a CycleGAN.

    ``backward`` is the text of that network's architecture (:meth:`AgdArchitecture.parse`); it learns from the
    teacher's backward generator by the same ``options``, which are those of :func:`train_derived`.
    """
    model = zoo.load(teacher)
    there = train_derived(task, architecture, settings, teacher=model.generator, **options)
    if not backward:
        return there
    way_back = AgdArchitecture.parse(architecture.kind, backward, architecture.out_channels, architecture.in_channels)
    kept = options.pop("checkpoint", None)
    again = kept and Path(kept).with_suffix(".backward.ckpt")
    back = train_derived(
        task.reversed(), way_back, settings, teacher=model.models["backward_generator"], checkpoint=again, **options
    )
    both: dict[str, Any] = {
        part: {**getattr(there, part), "backward_generator": getattr(back, part)["generator"]}
        for part in ("models", "averaged")
    }
    return replace(there, **both, seconds=there.seconds + back.seconds)


def describe(architecture: AgdArchitecture, height: int, width: int) -> pd.DataFrame:
    """A derived network layer by layer: operator, width, what share of the MACs it has; and the tail.

    ``height`` and ``width`` are those of the picture that goes in. Raises :class:`GancompError` for a supernet.
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
    """Networks drawn by chance whose MACs lie in a range: what a search has to beat.

    Raises :class:`GancompError` when ``tries`` draws find too few.
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
