"""CycleGAN: two generators learn to translate there and back without a single pair (Zhu et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import PatchDiscriminator, ResnetArchitecture, ResnetGenerator, initialise
from gancomp_core.nets.discriminators import strided_layers_for
from gancomp_core.nets.values import check_whole
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import (
    LSGAN,
    GanLoss,
    Objective,
    checked_game,
    companions,
    critic,
    gan,
    scores_of_both,
)
from gancomp_core.train.pix2pix import SMALLEST
from gancomp_core.train.progress import tile

#: The four networks of the game; "generator" goes from source to target, "backward_generator" returns.
GENERATORS = ("generator", "backward_generator")
CRITICS = ("discriminator", "backward_discriminator")


class ImagePool(nn.Module):
    """Shows a critic fakes of earlier steps too, so that it does not forget old mistakes (Shrivastava et al. 2017).

    Maps fakes [N, C, H, W] to as many: each is, with probability 1/2, exchanged for one of the ``size`` fakes kept.
    What is kept are buffers, so that a checkpoint holds them.
    """

    kept: Tensor
    filled: Tensor

    def __init__(self, size: int, channels: int, pixels: int) -> None:
        super().__init__()
        check_whole("The number of pictures in an image pool", size, 1, 65536, "50 as published")
        self.register_buffer("kept", torch.zeros(size, channels, pixels, pixels))
        self.register_buffer("filled", torch.tensor(0))

    @torch.no_grad()
    def forward(self, fakes: Tensor) -> Tensor:
        shown = fakes.clone()
        for i, fake in enumerate(fakes):
            if self.filled < len(self.kept):
                self.kept[int(self.filled)] = fake
                self.filled += 1
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(len(self.kept), ()))
                shown[i] = self.kept[place]
                self.kept[place] = fake
        return shown


class Direction:
    """One of the two ways of a step: ``source`` is translated to ``fake``, which ``target`` (no pair) is compared with.

    ``cycled`` is the way there and back again, ``same`` what the generator makes of a picture that already is a target.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, pool: nn.Module, source: Tensor, target: Tensor):
        self.discriminator, self.pool, self.source, self.target = discriminator, pool, source, target
        self.cycled: Tensor  # filled in by the scene, which knows the way back
        # one pass for both: InstanceNorm treats each picture by itself, so batching changes nothing
        self.fake: Tensor
        self.same: Tensor | None = None
        if source.shape == target.shape:
            self.fake, self.same = generator(torch.cat([source, target])).chunk(2)
        else:
            self.fake = generator(source)

    def judge(self, picture: Tensor) -> Tensor:
        """The discriminator's scores of pictures."""
        return self.discriminator(picture)

    def judge_both(self) -> tuple[Tensor, Tensor]:
        """Scores of real targets, and of fakes by way of the pool."""
        return scores_of_both(self.discriminator, self.target, self.pool(self.fake.detach()))


class UnpairedScene:
    """One step of an unpaired task: two :class:`Direction` objects, ``forward`` and ``backward``."""

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch) -> None:
        self.models = models
        there, back = (models[name] for name in GENERATORS)
        self.forward = Direction(there, models["discriminator"], models["pool"], batch.source, batch.target)
        self.backward = Direction(
            back, models["backward_discriminator"], models["backward_pool"], batch.target, batch.source
        )
        self.forward.cycled, self.backward.cycled = back(self.forward.fake), there(self.backward.fake)
        self.directions = (self.forward, self.backward)


def along(direction: str, objective: Objective) -> Objective:
    """An objective of one :class:`Direction` ("forward" or "backward") as one of the whole scene."""
    return Objective(
        tuple(
            (weight, f"{direction}_{name}", partial(_one_way, direction, function))
            for weight, name, function in objective.terms
        )
    )


def _one_way(direction: str, function: Callable[[Any], Tensor], scene: UnpairedScene) -> Tensor:
    return function(getattr(scene, direction))


def cycle() -> Objective:
    """Mean absolute error between a picture and its way there and back, summed over both directions."""

    def term(scene: Any) -> Tensor:
        return sum((F.l1_loss(way.cycled, way.source) for way in scene.directions), start=torch.zeros(()))

    return Objective(((1.0, "cycle", term),))


def identity() -> Objective:
    """Mean absolute change of pictures that need none, summed over both directions; both sides of equal channels."""

    def term(scene: Any) -> Tensor:
        if any(way.same is None for way in scene.directions):
            raise GancompError(
                "The term 'identity' needs sides with the same number of channels, and here one has "
                f"{scene.forward.source.shape[1]} and the other {scene.forward.target.shape[1]}; leave the term out."
            )
        return sum((F.l1_loss(way.same, way.target) for way in scene.directions), start=torch.zeros(()))

    return Objective(((1.0, "identity", term),))


def perceptual_return() -> Objective:
    """Mean perceptual distance of what should have come back unchanged: pictures of the cycle and of the identity.

    The same promises as ``cycle`` and ``identity``, read by the feature network instead of pixel by pixel.
    """

    def term(scene: Any) -> Tensor:
        found = [(way.cycled, way.source) for way in scene.directions]
        found += [(way.same, way.target) for way in scene.directions if way.same is not None]
        if len({picture.shape for picture, _ in found}) > 1:
            return torch.stack([scene.models["perceptual"](*pair).mean() for pair in found]).mean()
        returned, originals = (torch.cat(side) for side in zip(*found, strict=True))
        return scene.models["perceptual"](returned, originals).mean()

    return Objective(((1.0, "perceptual", term),))


def default_objective(task: Task, loss: GanLoss = LSGAN, perceptual_weight: float = 0.0) -> Objective:
    """The game (LSGAN) both ways + 10 cycle + 5 identity, as published; no identity where channels differ.

    With a weight also the perceptual distance of what returns.
    """
    objective = along("forward", gan(loss)) + along("backward", gan(loss)) + 10 * cycle()
    if task.source_channels == task.target_channels:
        objective += 5 * identity()
    return objective + perceptual_weight * perceptual_return() if perceptual_weight else objective


def preview(scene: UnpairedScene) -> Image.Image:
    """The first pictures of a step as rows: source, fake and cycled of both ways."""
    ways = scene.directions
    return tile([row[:12] for way in ways for row in (way.source, way.fake, way.cycled)])


def build(
    task: Task, architecture: ResnetArchitecture, seed: int = 0, critic_width: int = 32, pool: int = 50
) -> dict[str, nn.Module]:
    """Two freshly initialised generators, two discriminators that suit the picture size, two image pools."""
    strided, sides = strided_layers_for(task.size), (task.source_channels, task.target_channels)
    with torch.random.fork_rng():  # PyTorch fills fresh layers with random numbers, which initialise() replaces
        models: dict[str, nn.Module] = {}
        for generator, discriminator, (source, target) in zip(GENERATORS, CRITICS, (sides, sides[::-1]), strict=True):
            models[generator] = ResnetGenerator(replace(architecture, in_channels=source, out_channels=target))
            models[discriminator] = PatchDiscriminator(target, critic_width, strided)
        for offset, model in enumerate(models.values()):
            initialise(model, seed + offset)
    models["pool"] = ImagePool(pool, task.target_channels, task.size)
    models["backward_pool"] = ImagePool(pool, task.source_channels, task.size)
    return models


def players(objective: Objective, lr: float, loss: GanLoss = LSGAN) -> list[Player]:
    """Both critics move, each on its own pictures, then both generators together."""
    return [
        Player("discriminator", ("discriminator",), along("forward", critic(loss)), lr),
        Player("backward_discriminator", ("backward_discriminator",), along("backward", critic(loss)), lr),
        Player("generators", GENERATORS, objective, lr),
    ]


def train_cyclegan(
    task: Task,
    architecture: ResnetArchitecture,
    settings: Settings,
    *,
    objective: Objective | None = None,
    loss: GanLoss = LSGAN,
    lr: float = 3e-4,
    critic_width: int = 32,
    pool: int = 50,
    perceptual_weight: float = 0.0,
    warp: bool = False,
    **options: Any,
) -> Trained:
    """Train two generators of this architecture, there and back, on an unpaired task.

    The objective is LSGAN + 10 cycle + 5 identity, or another one, whose ``gan`` terms must be of the ``loss`` that the
    critics play; ``perceptual_weight`` adds that much of the perceptual distance of what returns, which flatters all
    measures in the same features. The critics see fakes through an image pool of ``pool`` pictures, ``warp`` is that of
    :class:`gancomp_core.data.Batches`. A paired task serves as well: its pairs
    are ignored, each side is drawn by itself. Further ``options`` go to :func:`gancomp_core.train.loop.train`.
    """
    if task.palette or task.scale != 1 or task.size < SMALLEST:
        raise GancompError(
            f"CycleGAN needs a task with pictures of equal size and at least {SMALLEST} pixels on both sides, and "
            f"'{task.name}' has none; choose an unpaired task such as 'edges2shoes_unpaired'."
        )
    objective = checked_game(objective, loss) or default_objective(task, loss, perceptual_weight)
    return train(
        build(task, architecture, settings.seed, critic_width, pool) | companions(objective),
        UnpairedScene,
        players(objective, lr, loss),
        Batches(task.train, settings.batch_size, settings.seed, paired=False, warp=warp),
        settings,
        averaged=GENERATORS,
        **{"preview": preview, **options},
    )
