"""pix2pix: a generator learns from pairs, a conditional PatchGAN keeps its pictures sharp (Isola et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import PatchDiscriminator, ResnetArchitecture, ResnetGenerator, initialise
from gancomp_core.nets.discriminators import strided_layers_for
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import (
    LSGAN,
    GanLoss,
    Objective,
    checked_game,
    companions,
    critic,
    gan,
    perceptual,
    reconstruction,
    scores_of_both,
)
from gancomp_core.train.progress import tile

SMALLEST = 16  # below it, the discriminator's patches have no pixels left


class PairedScene:
    """One step of a paired task: ``source``, ``target`` and ``fake`` are [N, C, H, W] in [-1, 1]."""

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch) -> None:
        self.models, self.source, self.target = models, batch.source, batch.target
        self.fake: Tensor = models["generator"](batch.source)

    @cached_property
    def feature_maps(self) -> list[tuple[Tensor, Tensor]]:
        """Feature maps of ``fake`` and, without gradient, of ``target``, in pairs."""
        features = self.models["features"]
        with torch.no_grad():
            theirs = features(self.target)
        return list(zip(features(self.fake), theirs, strict=True))

    def judge(self, picture: Tensor) -> Tensor:
        """The discriminator's scores of pictures beside their sources."""
        return self.models["discriminator"](torch.cat([self.source, picture], dim=1))

    def judge_both(self) -> tuple[Tensor, Tensor]:
        """Scores of the real targets and of the detached fakes."""
        real, fake = (torch.cat([self.source, picture], dim=1) for picture in (self.target, self.fake.detach()))
        return scores_of_both(self.models["discriminator"], real, fake)


def preview(scene: PairedScene) -> Image.Image:
    """The first pictures of a step as rows: source, generated, target."""
    return tile([scene.source[:12], scene.fake[:12], scene.target[:12]])


def build(task: Task, architecture: ResnetArchitecture, seed: int = 0, critic_width: int = 32) -> dict[str, nn.Module]:
    """A freshly initialised generator and a discriminator that suits the task's picture size."""
    with torch.random.fork_rng():  # PyTorch fills fresh layers with random numbers, which initialise() replaces
        generator = ResnetGenerator(architecture)
    return {"generator": initialise(generator, seed), "discriminator": fresh_critic(task, seed, critic_width)}


def fresh_critic(task: Task, seed: int = 0, width: int = 32, conditional: bool = True) -> PatchDiscriminator:
    """The discriminator that :func:`build` makes: sees source and picture, suits the task's picture size.

    One that is not ``conditional`` sees pictures alone, as that of a CycleGAN does.
    """
    channels = task.target_channels + (task.source_channels if conditional else 0)
    with torch.random.fork_rng():
        discriminator = PatchDiscriminator(channels, width, strided_layers_for(task.size))
    return initialise(discriminator, seed + 1)


def default_objective(loss: GanLoss = LSGAN, perceptual_weight: float = 0.0) -> Objective:
    """The game (LSGAN) + 50 L1, which keeps shapes right and pictures sharp; with a weight also perceptual distance."""
    objective = gan(loss) + 50 * reconstruction()
    return objective + perceptual_weight * perceptual() if perceptual_weight else objective


def players(objective: Objective, lr: float, loss: GanLoss = LSGAN) -> list[Player]:
    """The critic moves first, then the generator, as in the published code; both play the same ``loss``."""
    return [
        Player("discriminator", ("discriminator",), critic(loss), lr),
        Player("generator", ("generator",), objective, lr),
    ]


def train_pix2pix(
    task: Task,
    architecture: ResnetArchitecture,
    settings: Settings,
    *,
    objective: Objective | None = None,
    loss: GanLoss = LSGAN,
    lr: float = 4e-4,
    critic_width: int = 32,
    perceptual_weight: float = 0.0,
    warp: bool = False,
    **options: Any,
) -> Trained:
    """Train a generator of this architecture on a paired task with LSGAN + 50 L1 (or another ``objective``).

    ``loss`` is the game that critic and generator play; the ``gan`` term of an ``objective`` must be of the same.
    ``perceptual_weight`` adds that much of the perceptual distance to the default objective; pictures trained with it
    score better in all measures of the same feature network, which has to be said beside the scores.
    ``warp`` turns and scales pictures a little, against learning a small set by heart (see
    :class:`gancomp_core.data.Batches`). Further ``options`` go to :func:`gancomp_core.train.loop.train`. The picture
    channels of ``architecture`` are those of the task.
    """
    if not task.paired or task.size < SMALLEST or task.scale != 1:
        raise GancompError(
            f"pix2pix needs a paired task with pictures of one size, at least {SMALLEST} pixels, and '{task.name}' is "
            f"{'paired' if task.paired else 'unpaired'} with {task.size // task.scale} pixels made {task.size}; "
            "choose another task or a larger size."
        )
    objective = checked_game(objective, loss) or default_objective(loss, perceptual_weight)
    architecture = replace(architecture, in_channels=task.source_channels, out_channels=task.target_channels)
    return train(
        build(task, architecture, settings.seed, critic_width) | companions(objective),
        PairedScene,
        players(objective, lr, loss),
        Batches(task.train, settings.batch_size, settings.seed, task.paired, warp=warp),
        settings,
        **{"preview": preview, **options},
    )
