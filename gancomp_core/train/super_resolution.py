"""Super-resolution: a network learns from pairs of a small picture and the large one it was made of."""

from __future__ import annotations

from collections.abc import Sequence

from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import RrdbArchitecture, VdsrArchitecture, build
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, OptimizerGroup, Trained, fit
from gancomp_core.train.objectives import Objective, reconstruction
from gancomp_core.train.outputs import PairedOutputs, preview

LEARNING_RATE = 4e-4
#: L1 alone, as in the pretraining of ESRGAN; there is no discriminator.
OBJECTIVE = reconstruction()


def generator_alone(objective: Objective, lr: float) -> tuple[OptimizerGroup, ...]:
    """One group, with Adam's usual betas: there is no discriminator."""
    return (OptimizerGroup("generator", ("generator",), objective, lr, (0.9, 0.999)),)


def train_super_resolution(
    task: Task,
    architecture: RrdbArchitecture | VdsrArchitecture,
    config: TrainConfig,
    *,
    objective: Objective = OBJECTIVE,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train an RRDBNet or a VDSR on random squares with L1 (or another ``objective``).

    Args:
        task: Paired, with targets larger than their sources.
        architecture: Of the task's scale and channels.
        config: How; the learning rate is 4e-4 and the squares have 64 target pixels by default.
        objective: Of the network.
        callbacks: What else happens around the steps.
    """
    if not task.paired or task.scale == 1:
        raise GancompError(
            f"Super-resolution needs a task whose targets are larger than their sources, and '{task.name}' has scale "
            f"{task.scale}; choose 'photos_x4' or 'public:DIV2K'."
        )
    ours = (architecture.scale, architecture.in_channels, architecture.out_channels)
    if ours != (theirs := (task.scale, task.source_channels, task.target_channels)):
        raise GancompError(
            f"The task '{task.name}' enlarges {theirs[0]} times, from {theirs[1]} channels to {theirs[2]}, and this "
            f"architecture {ours[0]} times, from {ours[1]} to {ours[2]}; give the architecture the task's numbers."
        )
    game = Game(
        networks={"generator": build(architecture, config.seed)} | objective.auxiliary_networks(),
        outputs=PairedOutputs,
        groups=generator_alone(objective, config.rate(LEARNING_RATE)),
        preview=preview,
    )
    return fit(game, task, config, callbacks)
