"""GauGAN: a semantic map becomes a picture through SPADE layers (Park et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PIL import Image

from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import MultiScaleDiscriminator, SpadeArchitecture, build
from gancomp_core.train.callbacks import Callback, Recalibrate
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, OptimizerGroup, Trained, fit
from gancomp_core.train.objectives import HINGE, Objective, critic, feature_matching, gan, perceptual
from gancomp_core.train.outputs import SemanticOutputs
from gancomp_core.train.progress import paint, tile

LEARNING_RATE = 2e-4
#: Published weights, here of means over layers.
OBJECTIVE = gan(HINGE) + 10 * feature_matching() + 10 * perceptual()


def game(task: Task, architecture: SpadeArchitecture, config: TrainConfig, objective: Objective = OBJECTIVE) -> Game:
    """The game of :func:`train_gaugan`: a new SPADE generator and a new discriminator of two scales.

    Two time scales (TTUR, Heusel et al. 2017): the discriminator learns at twice the rate, the generator at half.
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
    width = config.discriminator_width
    networks = {
        "generator": build(architecture, config.seed),
        "discriminator": build(lambda: MultiScaleDiscriminator(sum(theirs), width), config.seed + 1),
    }
    lr, betas = config.rate(LEARNING_RATE), (0.0, 0.9)
    return Game(
        networks=networks | objective.auxiliary_networks(),
        outputs=SemanticOutputs,
        groups=(
            OptimizerGroup("discriminator", ("discriminator",), critic(objective.game(HINGE)), 2 * lr, betas),
            OptimizerGroup("generator", ("generator",), objective, lr / 2, betas),
        ),
        preview=partial(_preview, task.palette),
        callbacks=(Recalibrate("source"),),
    )


def _preview(palette: Sequence[tuple[int, int, int]], outputs: SemanticOutputs) -> Image.Image:
    return tile([paint(outputs.source[:12], palette), outputs.fake[:12], outputs.target[:12]])


def train_gaugan(
    task: Task,
    architecture: SpadeArchitecture,
    config: TrainConfig,
    *,
    objective: Objective = OBJECTIVE,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a SPADE generator on a semantic task.

    The averaged generator's BatchNorm statistics are measured on 32 training batches at the end.

    Args:
        task: A task whose sources are semantic maps.
        architecture: Of the generator.
        config: How; the learning rate is 2e-4 by default.
        objective: Hinge + 10 feature matching + 10 perceptual distance by default.
        callbacks: What else happens around the steps.

    Returns:
        The outcome.
    """
    return fit(game(task, architecture, config, objective), task, config, callbacks)
