"""Super-resolution: a network learns from pairs of a small picture and the large one it was made of."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import nn
from torch.nn import functional as F

from gancomp_core import nets
from gancomp_core.data import Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import RrdbArchitecture, VdsrArchitecture
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import Objective, companions, reconstruction
from gancomp_core.train.pix2pix import PairedScene
from gancomp_core.train.progress import tile


def build(architecture: RrdbArchitecture | VdsrArchitecture, seed: int = 0) -> dict[str, nn.Module]:
    """A freshly initialised network; there is no discriminator."""
    return {"generator": nets.build(architecture, seed)}


def default_objective() -> Objective:
    """L1 alone, as in the pretraining of ESRGAN; there is no critic."""
    return reconstruction()


def preview(scene: PairedScene) -> Image.Image:
    """The first pictures of a step as rows: source (pixels repeated), generated, target."""
    source = F.interpolate(scene.source[:8], size=scene.target.shape[-2:])
    return tile([source, scene.fake[:8], scene.target[:8]])


def players(objective: Objective, lr: float) -> list[Player]:
    """One player, with Adam's usual betas: nobody plays against it."""
    return [Player("generator", ("generator",), objective, lr, (0.9, 0.999))]


def train_super_resolution(
    task: Task,
    architecture: RrdbArchitecture | VdsrArchitecture,
    settings: Settings,
    *,
    objective: Objective | None = None,
    lr: float = 4e-4,
    crop: int = 64,
    **options: Any,
) -> Trained:
    """Train an RRDBNet or a VDSR on random squares of ``crop`` target pixels with L1 (or another ``objective``).

    Further ``options`` go to :func:`gancomp_core.train.loop.train`.
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
    batches = Batches(task.train, settings.batch_size, settings.seed, paired=True, crop=crop, scale=task.scale)
    return train(
        build(architecture, settings.seed) | companions(objective),
        PairedScene,
        players(objective or default_objective(), lr),
        batches,
        settings,
        **{"preview": preview, **options},
    )
