"""A segmenter learns to predict the semantic map of a picture, so that generated pictures can be evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.data import Batch, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import Segmenter, SegmenterArchitecture
from gancomp_core.train.callbacks import Callback, Recalibrate
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, Trained, fit
from gancomp_core.train.objectives import Objective, term
from gancomp_core.train.outputs import Networks
from gancomp_core.train.super_resolution import generator_alone

LEARNING_RATE = 2e-3


class SegmentationOutputs:
    """One step: ``scores`` [N, classes, H, W] of the real pictures, ``classes`` [N, H, W] of their maps."""

    scores: Tensor

    def __init__(self, networks: Networks, batch: Batch) -> None:
        self.scores = networks["generator"](batch.target)
        self.classes = batch.source.argmax(1)


@term()
def cross_entropy(outputs: SegmentationOutputs) -> Tensor:
    """Mean cross-entropy of the scores, over all pixels."""
    return F.cross_entropy(outputs.scores, outputs.classes)


def train_segmenter(
    task: Task,
    architecture: SegmenterArchitecture,
    config: TrainConfig,
    *,
    objective: Objective | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a segmenter on the real pictures of a semantic task.

    It is the network "generator" of the result, whose averaged BatchNorm statistics are measured on 32 training batches
    at the end.

    Args:
        task: A task whose sources are semantic maps.
        architecture: Of the segmenter.
        config: How; the learning rate is 2e-3 by default.
        objective: Cross-entropy by default.
        callbacks: What else happens around the steps.

    Returns:
        The outcome.
    """
    if not task.palette or not task.paired:
        raise GancompError(
            f"A segmenter learns from semantic maps, and the sources of '{task.name}' are none; "
            "choose 'landcover2satellite'."
        )
    ours, theirs = (architecture.in_channels, architecture.classes), (task.target_channels, len(task.palette))
    if ours != theirs:
        raise GancompError(
            f"The task '{task.name}' has pictures of {theirs[0]} channels and maps of {theirs[1]} classes, and this "
            f"segmenter takes {ours[0]} and knows {ours[1]}; give its architecture the task's numbers."
        )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)  # torch's own initialization, which suits BatchNorm and ReLU
        segmenter = Segmenter(architecture)
    game = Game(
        networks={"generator": segmenter},
        outputs=SegmentationOutputs,
        groups=generator_alone(objective or cross_entropy(), config.rate(LEARNING_RATE)),
        callbacks=(Recalibrate("target"),),
    )
    return fit(game, task, config, callbacks)
