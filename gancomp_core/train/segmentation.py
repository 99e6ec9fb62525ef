"""A segmenter learns to read a semantic map back from a picture, so that generated pictures can be graded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import Segmenter, SegmenterArchitecture
from gancomp_core.train.batch_norm import recalibrate_average
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import Objective


class SegmentationScene:
    """One step: ``scores`` [N, classes, H, W] of the real pictures, ``classes`` [N, H, W] of their maps."""

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch) -> None:
        self.scores: Tensor = models["generator"](batch.target)
        self.classes = batch.source.argmax(1)


def cross_entropy() -> Objective:
    """Mean cross-entropy of the scores, over all pixels."""
    return Objective(((1.0, "cross_entropy", lambda scene: F.cross_entropy(scene.scores, scene.classes)),))


def train_segmenter(
    task: Task,
    architecture: SegmenterArchitecture,
    settings: Settings,
    *,
    objective: Objective | None = None,
    lr: float = 2e-3,
    warp: bool = False,
    **options: Any,
) -> Trained:
    """Train a segmenter on the real pictures of a semantic task, with cross-entropy.

    It is the model "generator" of the result, whose averaged BatchNorm statistics are measured on 32 training batches
    at the end; ``warp`` is that of :class:`gancomp_core.data.Batches`. Further ``options`` go to
    :func:`gancomp_core.train.loop.train`.
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
        torch.manual_seed(settings.seed)  # torch's own initialisation, which suits BatchNorm and ReLU
        models = {"generator": Segmenter(architecture)}
    batches = Batches(task.train, settings.batch_size, settings.seed, paired=True, warp=warp)
    player = Player("segmenter", ("generator",), objective or cross_entropy(), lr, (0.9, 0.999))
    trained = train(
        models,
        SegmentationScene,
        [player],
        batches,
        settings,
        **options,
    )
    return recalibrate_average(trained, batches, "target")
