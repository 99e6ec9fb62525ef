"""GauGAN: a semantic map becomes a picture through SPADE layers (Park et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import MultiScaleDiscriminator, SpadeArchitecture, SpadeGenerator, initialise
from gancomp_core.train.batch_norm import recalibrate_average
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import (
    HINGE,
    GanLoss,
    Objective,
    checked_game,
    companions,
    critic,
    feature_matching,
    gan,
    perceptual,
)
from gancomp_core.train.progress import paint, tile


class SemanticScene:
    """One step of a semantic task, as in pix2pix, but the discriminator has several scales and shows its features."""

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch) -> None:
        self.models, self.source, self.target = models, batch.source, batch.target
        self.fake: Tensor = models["generator"](batch.source)

    def judge(self, picture: Tensor) -> list[Tensor]:
        """Scores of the generated pictures beside their maps, one tensor a scale."""
        assert picture is self.fake  # their scores come with the features, from one pass
        return [scores.chunk(2)[0] for scores, _ in self._view]

    def judge_both(self) -> tuple[list[Tensor], list[Tensor]]:
        """Scores of the real targets and of the detached fakes, one tensor a scale each, from one pass."""
        pairs = [torch.cat([self.source, picture], dim=1) for picture in (self.target, self.fake.detach())]
        real, fake = zip(*(scores.chunk(2) for scores in self.models["discriminator"](torch.cat(pairs))), strict=True)
        return list(real), list(fake)

    @property
    def critic_features(self) -> list[tuple[Tensor, Tensor]]:
        """The discriminator's feature maps of fake and real pictures, over all layers and scales."""
        both = [features.chunk(2) for _, of_scale in self._view for features in of_scale]
        return [(fake, real.detach()) for fake, real in both]

    @cached_property
    def _view(self) -> list[tuple[Tensor, list[Tensor]]]:
        """Scores and features of fakes and reals; first asked for by the generator, after the critic has moved."""
        pairs = [torch.cat([self.source, picture], dim=1) for picture in (self.fake, self.target)]
        return self.models["discriminator"](torch.cat(pairs), features=True)


def default_objective(loss: GanLoss = HINGE) -> Objective:
    """The game (hinge) + 10 feature matching + 10 perceptual distance: published weights, here of means over layers."""
    return gan(loss) + 10 * feature_matching() + 10 * perceptual()


def players(objective: Objective, lr: float, loss: GanLoss = HINGE) -> list[Player]:
    """Two time scales (TTUR, Heusel et al. 2017): the critic learns at twice ``lr``, the generator at half."""
    return [
        Player("discriminator", ("discriminator",), critic(loss), 2 * lr, (0.0, 0.9)),
        Player("generator", ("generator",), objective, lr / 2, (0.0, 0.9)),
    ]


def build(task: Task, architecture: SpadeArchitecture, seed: int = 0, critic_width: int = 32) -> dict[str, nn.Module]:
    """A freshly initialised SPADE generator and a discriminator of two scales."""
    with torch.random.fork_rng():  # PyTorch fills fresh layers with random numbers, which initialise() replaces
        generator = SpadeGenerator(architecture)
        discriminator = MultiScaleDiscriminator(task.source_channels + task.target_channels, critic_width)
    return {"generator": initialise(generator, seed), "discriminator": initialise(discriminator, seed + 1)}


def train_gaugan(
    task: Task,
    architecture: SpadeArchitecture,
    settings: Settings,
    *,
    objective: Objective | None = None,
    loss: GanLoss = HINGE,
    lr: float = 2e-4,
    critic_width: int = 32,
    **options: Any,
) -> Trained:
    """Train a SPADE generator on a semantic task with hinge + 10 feature matching + 10 perceptual distance.

    The averaged generator's BatchNorm statistics are measured on 32 training batches at the end. Further ``options``
    go to :func:`gancomp_core.train.loop.train`.
    """
    if not task.palette or not task.paired:
        raise GancompError(
            f"GauGAN paints from semantic maps in pairs with their pictures, which '{task.name}' does not have; "
            "choose 'landcover2satellite'."
        )
    ours = (architecture.label_channels, architecture.out_channels)
    if ours != (theirs := (task.source_channels, task.target_channels)):
        raise GancompError(
            f"The task '{task.name}' has maps of {theirs[0]} channels and pictures of {theirs[1]}, and this "
            f"architecture {ours[0]} and {ours[1]}; give it the task's numbers."
        )
    batches = Batches(task.train, settings.batch_size, settings.seed, paired=True)

    def preview(scene: SemanticScene) -> Image.Image:
        return tile([paint(scene.source[:12], task.palette), scene.fake[:12], scene.target[:12]])

    objective = checked_game(objective, loss) or default_objective(loss)
    trained = train(
        build(task, architecture, settings.seed, critic_width) | companions(objective),
        SemanticScene,
        players(objective, lr, loss),
        batches,
        settings,
        **{"preview": preview, **options},
    )
    return recalibrate_average(trained, batches, "source")
