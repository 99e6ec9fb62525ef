"""pix2pix: a generator learns from pairs, a conditional PatchGAN keeps its pictures sharp (Isola et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import PatchDiscriminator, ResnetArchitecture, build
from gancomp_core.nets.discriminators import strided_layers_for
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, OptimizerGroup, Trained, fit
from gancomp_core.train.objectives import LSGAN, Objective, critic, gan, reconstruction
from gancomp_core.train.outputs import PairedOutputs, preview

SMALLEST = 16  # below it, the discriminator's patches have no pixels left
LEARNING_RATE = 4e-4
#: L1 keeps shapes right, the game keeps pictures sharp.
OBJECTIVE = gan() + 50 * reconstruction()


def new_discriminator(task: Task, seed: int = 0, width: int = 32, conditional: bool = True) -> PatchDiscriminator:
    """A discriminator with random weights for the task's picture size.

    Args:
        task: The task.
        seed: Seed of the weights.
        width: Channels of the first layer.
        conditional: Whether it gets source and picture; one that is not conditional gets pictures alone, like a
            CycleGAN's.

    Returns:
        The discriminator.
    """
    channels = task.target_channels + (task.source_channels if conditional else 0)
    return build(lambda: PatchDiscriminator(channels, width, strided_layers_for(task.size)), seed + 1)


def adversarial_groups(
    objective: Objective, lr: float, networks: tuple[str, ...] = ("generator",)
) -> tuple[OptimizerGroup, ...]:
    """Optimizer groups of discriminator and generator, in this order, as in the published code.

    Args:
        objective: The generator's, whose game the discriminator plays.
        lr: Learning rate of both.
        networks: Networks that are trained with the generator.

    Returns:
        The groups.
    """
    return (
        OptimizerGroup("discriminator", ("discriminator",), critic(objective.game(LSGAN)), lr),
        OptimizerGroup("generator", networks, objective, lr),
    )


def game(task: Task, architecture: ResnetArchitecture, config: TrainConfig, objective: Objective = OBJECTIVE) -> Game:
    """The game of :func:`train_pix2pix`: a new generator, with the task's channels, and a new discriminator."""
    if not task.paired or task.size < SMALLEST or task.scale != 1:
        raise GancompError(
            f"pix2pix needs a paired task with pictures of one size, at least {SMALLEST} pixels, and '{task.name}' is "
            f"{'paired' if task.paired else 'unpaired'} with {task.size // task.scale} pixels made {task.size}; "
            "choose another task or a larger size."
        )
    architecture = replace(architecture, in_channels=task.source_channels, out_channels=task.target_channels)
    networks = {
        "generator": build(architecture, config.seed),
        "discriminator": new_discriminator(task, config.seed, config.discriminator_width),
    }
    return Game(
        networks=networks | objective.auxiliary_networks(),
        outputs=PairedOutputs,
        groups=adversarial_groups(objective, config.rate(LEARNING_RATE)),
        preview=preview,
    )


def train_pix2pix(
    task: Task,
    architecture: ResnetArchitecture,
    config: TrainConfig,
    *,
    objective: Objective = OBJECTIVE,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a generator of this architecture on a paired task with LSGAN + 50 L1 (or another ``objective``).

    The discriminator plays the game of the objective's ``gan`` term. Pictures trained with a ``perceptual`` term score
    better in all measures of the same feature network, which has to be said with the scores.

    Args:
        task: Paired, of at least 16 pixels; the picture channels of ``architecture`` become those of the task.
        architecture: Of the generator.
        config: How; the learning rate is 4e-4 by default.
        objective: Of the generator.
        callbacks: What else happens around the steps.
    """
    return fit(game(task, architecture, config, objective), task, config, callbacks)
