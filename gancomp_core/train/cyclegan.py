"""CycleGAN: two generators learn to translate there and back without a single pair (Zhu et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Task
from gancomp_core.errors import GancompError
from gancomp_core.measure import PerceptualDistance
from gancomp_core.nets import PatchDiscriminator, ResnetArchitecture, build
from gancomp_core.nets.discriminators import strided_layers_for
from gancomp_core.nets.values import check_whole
from gancomp_core.train.callbacks import Callback, State
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, OptimizerGroup, Trained, batches_of, fit
from gancomp_core.train.objectives import LSGAN, Objective, critic, gan, term
from gancomp_core.train.outputs import Networks, scores_of_both
from gancomp_core.train.pix2pix import SMALLEST
from gancomp_core.train.processes import share, whole
from gancomp_core.train.progress import tile

#: The four networks of the game; "generator" goes from source to target, "backward_generator" returns.
GENERATORS = ("generator", "backward_generator")
LEARNING_RATE = 3e-4


@dataclass
class ImagePool(Callback):
    """Shows a discriminator earlier fakes too, so that it does not forget old mistakes (Shrivastava et al. 2017).

    Maps fakes [N, C, H, W] to as many: each is, with probability 1/2, exchanged for one of the ``size`` fakes that it
    holds. Checkpoints keep them under ``label``. Several processes hold the same pictures, those of whole batches.
    """

    size: int
    label: str = "pool"
    held: list[Tensor] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        check_whole("The number of pictures in an image pool", self.size, 1, 65536, "50 as published")

    @torch.no_grad()
    def __call__(self, fakes: Tensor) -> Tensor:
        fakes = whole(fakes)
        shown = fakes.clone()
        for i, fake in enumerate(fakes):
            if len(self.held) < self.size:
                self.held.append(fake.clone())
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(self.size, ()))
                shown[i] = self.held[place]
                self.held[place] = fake.clone()
        return share(shown)

    @property
    def name(self) -> str:
        return self.label

    def state_dict(self) -> State:
        return {"held": self.held}

    def load_state_dict(self, state: State) -> None:
        self.held = state["held"]


class Direction:
    """One direction of a step: ``source`` is translated to ``fake``, to be compared with ``target`` (no pair).

    ``cycled`` is the picture after both directions, ``same`` the generator's picture of one that already is a target.
    """

    fake: Tensor
    same: Tensor | None = None
    cycled: Tensor  # filled in by UnpairedOutputs, which knows the way back

    def __init__(self, networks: Networks, prefix: str, pool: ImagePool, source: Tensor, target: Tensor) -> None:
        self.discriminator, self.pool = networks[f"{prefix}discriminator"], pool
        self.source, self.target = source, target
        generator = networks[f"{prefix}generator"]
        if source.shape == target.shape:
            # one pass for both: InstanceNorm treats each picture by itself, so batching changes nothing
            self.fake, self.same = generator(torch.cat([source, target])).chunk(2)
        else:
            self.fake = generator(source)

    def discriminate(self, picture: Tensor) -> Tensor:
        """The discriminator's scores of pictures."""
        scores: Tensor = self.discriminator(picture)
        return scores

    def discriminate_both(self) -> tuple[Tensor, Tensor]:
        """Scores of real targets, and of fakes by way of the pool."""
        return scores_of_both(self.discriminator, self.target, self.pool(self.fake.detach()))


class UnpairedOutputs:
    """One step of an unpaired task: two :class:`Direction` objects, ``forward`` and ``backward``."""

    def __init__(self, networks: Networks, batch: Batch, pools: tuple[ImagePool, ImagePool]) -> None:
        self.networks = networks
        self.forward = Direction(networks, "", pools[0], batch.source, batch.target)
        self.backward = Direction(networks, "backward_", pools[1], batch.target, batch.source)
        there, back = (networks[name] for name in GENERATORS)
        self.forward.cycled, self.backward.cycled = back(self.forward.fake), there(self.backward.fake)
        self.directions = (self.forward, self.backward)


@term()
def cycle(outputs: UnpairedOutputs) -> Tensor:
    """Mean absolute error between a picture and its way there and back, summed over both directions."""
    return sum((F.l1_loss(way.cycled, way.source) for way in outputs.directions), start=torch.zeros(()))


@term()
def identity(outputs: UnpairedOutputs) -> Tensor:
    """Mean absolute change of pictures that need none, summed over both directions; both sides of equal channels."""
    total = torch.zeros(())
    for way in outputs.directions:
        if way.same is None:
            ours, theirs = outputs.forward.source.shape[1], outputs.forward.target.shape[1]
            raise GancompError(
                "The term 'identity' needs sides with the same number of channels, and here one has "
                f"{ours} and the other {theirs}; leave the term out."
            )
        total = total + F.l1_loss(way.same, way.target)
    return total


@term("perceptual", auxiliary={"perceptual": PerceptualDistance})
def perceptual_return(outputs: UnpairedOutputs) -> Tensor:
    """Mean perceptual distance of what should have come back unchanged: pictures of the cycle and of the identity.

    The same promises as ``cycle`` and ``identity``, read by the feature network instead of pixel by pixel.
    """
    distance = outputs.networks["perceptual"]
    found = [(way.cycled, way.source) for way in outputs.directions]
    found += [(way.same, way.target) for way in outputs.directions if way.same is not None]
    if len({picture.shape for picture, _ in found}) > 1:
        return torch.stack([distance(*pair).mean() for pair in found]).mean()
    returned, originals = (torch.cat(side) for side in zip(*found, strict=True))
    together: Tensor = distance(returned, originals)
    return together.mean()


def objective_of(task: Task) -> Objective:
    """LSGAN both ways + 10 cycle + 5 identity, as published; no identity where the sides' channels differ."""
    objective = gan().at("forward", "forward_") + gan().at("backward", "backward_") + 10 * cycle()
    return objective + 5 * identity() if task.source_channels == task.target_channels else objective


def preview(outputs: UnpairedOutputs) -> Image.Image:
    """The first pictures of a step as rows: source, fake and cycled of both ways."""
    return tile([row[:12] for way in outputs.directions for row in (way.source, way.fake, way.cycled)])


def new_networks(task: Task, architecture: ResnetArchitecture, seed: int = 0, width: int = 32) -> dict[str, nn.Module]:
    """Two generators and two discriminators for the task's picture size, with random weights.

    Args:
        task: The task.
        architecture: Of both generators.
        seed: Seed of the weights.
        width: Channels of the first layer of the discriminators.

    Returns:
        Networks by name.
    """
    strided, sides = strided_layers_for(task.size), (task.source_channels, task.target_channels)

    def generator(source: int, target: int, offset: int) -> nn.Module:
        return build(replace(architecture, in_channels=source, out_channels=target), seed + offset)

    def discriminator(channels: int, offset: int) -> nn.Module:
        return build(lambda: PatchDiscriminator(channels, width, strided), seed + offset)

    return {
        "generator": generator(*sides, 0),
        "discriminator": discriminator(sides[1], 1),
        "backward_generator": generator(*sides[::-1], 2),
        "backward_discriminator": discriminator(sides[0], 3),
    }


def game(
    task: Task,
    architecture: ResnetArchitecture,
    config: TrainConfig,
    objective: Objective | None = None,
    pool: int = 50,
) -> Game:
    """The game of :func:`train_cyclegan`: both discriminators, each on its own pictures, then both generators."""
    if task.palette or task.scale != 1 or task.size < SMALLEST:
        raise GancompError(
            f"CycleGAN needs a task with pictures of equal size and at least {SMALLEST} pixels on both sides, and "
            f"'{task.name}' has none; choose an unpaired task such as 'edges2shoes_unpaired'."
        )
    objective = objective or objective_of(task)
    networks = new_networks(task, architecture, config.seed, config.discriminator_width)
    pools = (ImagePool(pool), ImagePool(pool, "backward pool"))
    lr, learned = config.rate(LEARNING_RATE), critic(objective.game(LSGAN))
    return Game(
        networks=networks | objective.auxiliary_networks(),
        outputs=partial(UnpairedOutputs, pools=pools),
        groups=(
            OptimizerGroup("discriminator", ("discriminator",), learned.at("forward", "forward_"), lr),
            OptimizerGroup(
                "backward_discriminator", ("backward_discriminator",), learned.at("backward", "backward_"), lr
            ),
            OptimizerGroup("generators", GENERATORS, objective, lr),
        ),
        averaged=GENERATORS,
        preview=preview,
        callbacks=pools,
    )


def train_cyclegan(
    task: Task,
    architecture: ResnetArchitecture,
    config: TrainConfig,
    *,
    objective: Objective | None = None,
    pool: int = 50,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train two generators of this architecture, there and back, on an unpaired task.

    A paired task serves as well: its pairs are ignored, each side is drawn by itself.

    Args:
        task: Of two sides of pictures of one size.
        architecture: Of both generators.
        config: How; the learning rate is 3e-4 by default.
        objective: Of both generators together (default: :func:`objective_of` the task); the discriminators play the
            game of its ``gan`` terms. :func:`perceptual_return` flatters all measures in the same features.
        pool: How many earlier fakes each discriminator is shown.
        callbacks: What else happens around the steps.
    """
    batches = batches_of(task, config, paired=False)
    return fit(game(task, architecture, config, objective, pool), batches, config, callbacks)
