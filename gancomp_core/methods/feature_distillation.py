"""Intermediate-feature distillation: a student imitates what its teacher computes on the way to the picture.

Li et al., CVPR 2020 (arXiv 2003.08936): at a few stages, the *taps*, a 1x1 convolution (the *adaptor*) maps the
student's features to as many channels as the teacher's have, and the objective adds their mean squared distance. The
paper's formula maps the teacher's features, its code the student's; so do we.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.nets import GeneratorArchitecture, initialise
from gancomp_core.nets.resnet import ResnetArchitecture
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import LSGAN, GanLoss, Objective, checked_game, companions
from gancomp_core.train.objectives import critic as critic_term
from gancomp_core.train.pix2pix import PairedScene, fresh_critic, preview
from gancomp_core.train.pix2pix import default_objective as pix2pix_objective


class Adaptors(nn.Module):
    """A 1x1 convolution for each tap, from the student's channels to the teacher's.

    Features of fewer channels than planned go through the leading weights, so that all networks of an elastic student
    share their adaptors. ``student`` and ``teacher`` are channels by tap, in order.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]) -> None:
        super().__init__()
        if len(student) != len(teacher):
            raise GancompError(
                f"The student has {len(student)} taps and the teacher {len(teacher)}; give both at least 3 blocks."
            )
        self.layers = nn.ModuleList(nn.Conv2d(ours, theirs, 1) for ours, theirs in zip(student, teacher, strict=True))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features [N, up to student channels, H, W] of each tap as [N, teacher channels, H, W]."""
        layers: Any = self.layers
        return [
            F.conv2d(feature, layer.weight[:, : feature.shape[1]], layer.bias)
            for feature, layer in zip(features, layers, strict=True)
        ]


def tap_channels(architecture: GeneratorArchitecture) -> list[int]:
    """How many channels the features at each tap of a generator have."""
    if isinstance(architecture, ResnetArchitecture):
        return [architecture.channels.ends[2]] * len(architecture.taps)
    widths = {shape.name: shape.outputs for shape in architecture.blocks}
    return [widths[tap] for tap in architecture.taps]


class DistilledScene(PairedScene):
    """One step of a paired task with a teacher: as in pix2pix, and the features of both networks at their taps."""

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch) -> None:
        self.models, self.source, self.target = models, batch.source, batch.target
        generator: Any = models["generator"]
        taps = running_architecture(generator).taps
        self.fake, found = generator(batch.source, features=taps)
        self.features: list[Tensor] = [found[tap] for tap in taps]

    @cached_property
    def teacher_features(self) -> list[Tensor]:
        """Computed when a term first asks for them."""
        return teacher_features(self.models["teacher"], self.source)


@torch.no_grad()
def teacher_features(teacher: Any, source: Tensor) -> list[Tensor]:
    """The teacher's features at its taps, without gradient."""
    _, found = teacher(source, features=teacher.architecture.taps)
    return [found[tap] for tap in teacher.architecture.taps]


def running_architecture(generator: Any) -> GeneratorArchitecture:
    """Of a generator its own architecture, of an elastic one that of the active network."""
    found: GeneratorArchitecture = getattr(generator, "active", None) or generator.architecture
    return found


def feature_kd() -> Objective:
    """Sum over the taps of the mean squared distance between adapted student and teacher features.

    Features of a student that works at a lower resolution are enlarged to the teacher's.
    """

    def term(scene: Any) -> Tensor:
        pairs = zip(scene.models["adaptors"](scene.features), scene.teacher_features, strict=True)
        return torch.stack([F.mse_loss(_as_large_as(theirs, ours), theirs) for ours, theirs in pairs]).sum()

    return Objective(((1.0, "feature_kd", term),))


def _as_large_as(theirs: Tensor, ours: Tensor) -> Tensor:
    if ours.shape == theirs.shape:
        return ours
    return F.interpolate(ours, size=theirs.shape[2:], mode="bilinear")


def default_objective(loss: GanLoss = LSGAN, perceptual_weight: float = 0.0, distill: float = 0.5) -> Objective:
    """That of pix2pix + feature distillation, a hundredth of L1's weight as published for shoes."""
    return pix2pix_objective(loss, perceptual_weight) + distill * feature_kd()


def build(
    student: Any,
    teacher: Any,
    task: Task,
    objective: Objective,
    seed: int = 0,
    critic: nn.Module | None = None,
    critic_width: int = 32,
) -> dict[str, nn.Module]:
    """The networks of a distillation: the student itself, the frozen teacher, adaptors if asked for, and a critic.

    ``teacher`` may be None where the objective asks for nothing of it. ``critic`` is a trained discriminator, of which
    a copy goes on learning; without one a fresh one begins. Raises :class:`GancompError` for a task without pairs.
    """
    if not task.paired:
        raise GancompError(
            f"'{task.name}' has no pairs to distil with; make pseudo pairs from the teacher's pictures first, or take "
            "a paired task such as 'edges2shoes'."
        )
    models = {"generator": student}
    if teacher is not None:
        models["teacher"] = copy.deepcopy(teacher).eval().requires_grad_(False)
    with torch.random.fork_rng():  # PyTorch fills fresh layers with random numbers, which initialise() replaces
        if _asks_for_features(objective):
            widest = getattr(student, "space", student.architecture)
            channels = (tap_channels(getattr(widest, "widest", widest)), tap_channels(teacher.architecture))
            models["adaptors"] = initialise(Adaptors(*channels), seed + 2)
    models["discriminator"] = copy.deepcopy(critic or fresh_critic(task, seed, critic_width)).requires_grad_(True)
    return models | companions(objective)


def players(objective: Objective, critics: Objective, lr: float) -> list[Player]:
    """The critic moves first; then the student and, where features are compared, its adaptors."""
    owned = ("generator", "adaptors") if _asks_for_features(objective) else ("generator",)
    return [
        Player("discriminator", ("discriminator",), critics, lr),
        Player("generator", owned, objective, lr),
    ]


def _asks_for_features(objective: Objective) -> bool:
    return "feature_kd" in [name for _, name, _ in objective.terms]


def distil(
    student: nn.Module,
    teacher: nn.Module | None,
    task: Task,
    settings: Settings,
    *,
    objective: Objective | None = None,
    loss: GanLoss = LSGAN,
    lr: float = 4e-4,
    critic: nn.Module | None = None,
    critic_width: int = 32,
    perceptual_weight: float = 0.0,
    warp: bool = False,
    scene: Callable[[Mapping[str, nn.Module], Batch], Any] = DistilledScene,
    over: Callable[[Objective], Objective] = lambda objective: objective,
    **options: Any,
) -> Trained:
    """Train ``student`` (in place) on a paired task under a teacher.

    ``objective`` (default: the game + 50 L1 + feature distillation) may hold any term of the library; ``critic`` is a
    trained discriminator to go on from, such as the one that came with the teacher (default: a fresh one of
    ``critic_width``); ``perceptual_weight`` and ``warp`` are those of :func:`gancomp_core.train.pix2pix.train_pix2pix`.
    A student that is several networks brings its own ``scene``, and ``over`` turns the objective of one network into
    that of all. Further ``options`` go to :func:`gancomp_core.train.loop.train`. Raises :class:`GancompError` for a
    task without pairs.
    """
    objective = checked_game(objective, loss) or default_objective(loss, perceptual_weight)
    return train(
        build(student, teacher, task, objective, settings.seed, critic, critic_width),
        scene,
        players(over(objective), over(critic_term(loss)), lr),
        Batches(task.train, settings.batch_size, settings.seed, task.paired, warp=warp),
        settings,
        **{"preview": preview, **options},
    )
