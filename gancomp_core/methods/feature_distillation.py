"""Intermediate-feature distillation: a student imitates what its teacher computes on the way to the picture.

Li et al., CVPR 2020 (arXiv 2003.08936): at a few stages, the *taps*, a 1x1 convolution (the *adaptor*) maps the
student's features to as many channels as the teacher's have, and the objective adds their mean squared distance. The
paper's formula maps the teacher's features, its code the student's; so do we.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Batch, Batches, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.teacher_pictures import beside_targets
from gancomp_core.nets import Architecture, Generator
from gancomp_core.nets import build as build_network
from gancomp_core.train.loop import Player, Settings, Trained, train
from gancomp_core.train.objectives import LSGAN, GanLoss, Objective, checked_game, companions
from gancomp_core.train.objectives import critic as critic_term
from gancomp_core.train.pix2pix import PairedScene, fresh_critic, preview
from gancomp_core.train.pix2pix import default_objective as pix2pix_objective

#: Terms that compare pictures; without features to compare, the teacher's pictures are painted once and kept.
PICTURE_TERMS = ("pixel_kd", "logit_kd", "wavelet_kd")


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


def tap_channels(architecture: Architecture, taps: Sequence[str] | None = None) -> list[int]:
    """How many channels the features at these stages of a generator have (None: at its own taps)."""
    widths = architecture.stage_channels
    try:
        return [widths[tap] for tap in (architecture.taps if taps is None else taps)]
    except KeyError as error:
        raise GancompError(
            f"Features cannot be tapped at '{error.args[0]}'; this generator has the stages {', '.join(widths)}."
        ) from error


class DistilledScene(PairedScene):
    """One step of a paired task with a teacher: as in pix2pix, and the features of both networks at their taps.

    ``taps`` names stages of the student and the stage of the teacher that each is compared with (None: the
    architecture's own, which end the downsampling and every third of the blocks). Targets with the teacher's pictures
    stacked under them (:func:`beside_targets`) spare the teacher the work.
    """

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch, taps: Mapping[str, str] | None = None) -> None:
        self.models, self.source, self.taps = models, batch.source, taps
        generator = cast(Generator, models["generator"])
        names = list(taps) if taps else list(generator.running.taps)
        self.fake, found = generator(batch.source, features=names)
        self.target, *self.painted = batch.target.split(self.fake.shape[1], dim=1)
        self.features: list[Tensor] = [found[name] for name in names]

    @cached_property
    def taught(self) -> tuple[Tensor, list[Tensor]]:
        """The teacher's picture and its features, computed when a term first asks for them."""
        return teacher_answer(self.models["teacher"], self.source, list(self.taps.values()) if self.taps else None)

    @property
    def teacher_picture(self) -> Tensor:
        return self.painted[0] if self.painted else self.taught[0]

    @property
    def teacher_features(self) -> list[Tensor]:
        return self.taught[1]


@torch.no_grad()
def teacher_answer(teacher: Any, source: Tensor, taps: Sequence[str] | None = None) -> tuple[Tensor, list[Tensor]]:
    """The teacher's picture and its features at stages (None: at its own taps), without gradient."""
    names = teacher.architecture.taps if taps is None else taps
    picture, found = teacher(source, features=names)
    return picture, [found[name] for name in names]


def feature_kd() -> Objective:
    """Sum over the taps of the mean squared distance between adapted student and teacher features.

    Features of a student that works at a lower resolution are enlarged to the teacher's.
    """

    def term(scene: Any) -> Tensor:
        pairs = zip(scene.models["adaptors"](scene.features), scene.teacher_features, strict=True)
        return torch.stack([F.mse_loss(_as_large_as(theirs, ours), theirs) for ours, theirs in pairs]).sum()

    return Objective(((1.0, "feature_kd", term),))


def pixel_kd() -> Objective:
    """Mean absolute error between the student's and the teacher's picture."""
    return Objective(((1.0, "pixel_kd", lambda scene: F.l1_loss(scene.fake, scene.teacher_picture)),))


def logit_kd(temperature: float = 1.0) -> Objective:
    """Distillation as classifiers know it, for comparison: pictures taken for logits (Hinton et al., arXiv 1503.02531).

    The pixels of each channel become a distribution by a softmax at this ``temperature``; the term is the KL divergence
    of the student's from the teacher's, times the squared temperature, averaged over pictures and channels. It says
    nothing about brightness, which a softmax cannot see: expect it to fail.
    """

    def term(scene: Any) -> Tensor:
        ours, theirs = (
            F.log_softmax(picture.float().flatten(2) / temperature, dim=-1)
            for picture in (scene.fake, scene.teacher_picture)
        )
        return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1).mean()

    if temperature <= 0:
        raise GancompError(f"A temperature is above 0, not {temperature:g}; 1 leaves the pictures as they are.")
    return Objective(((1.0, "logit_kd", term),))


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
    taps: Mapping[str, str] | None = None,
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
    if teacher is None and _asks_for(objective, "feature_kd", *PICTURE_TERMS):
        raise GancompError(f"The objective '{objective}' compares with a teacher, and there is none; pass one.")
    models = {"generator": student}
    if teacher is not None:
        models["teacher"] = copy.deepcopy(teacher).eval().requires_grad_(False)
    if _asks_for(objective, "feature_kd"):
        widest = getattr(student, "space", student.architecture)
        ours, theirs = (list(taps), list(taps.values())) if taps else (None, None)
        channels = tap_channels(getattr(widest, "widest", widest), ours), tap_channels(teacher.architecture, theirs)
        models["adaptors"] = build_network(lambda: Adaptors(*channels), seed + 2)
    models["discriminator"] = copy.deepcopy(critic or fresh_critic(task, seed, critic_width)).requires_grad_(True)
    return models | companions(objective)


def players(objective: Objective, critics: Objective, lr: float) -> list[Player]:
    """The critic moves first; then the student and, where features are compared, its adaptors."""
    owned = ("generator", "adaptors") if _asks_for(objective, "feature_kd") else ("generator",)
    return [
        Player("discriminator", ("discriminator",), critics, lr),
        Player("generator", owned, objective, lr),
    ]


def _asks_for(objective: Objective, *terms: str) -> bool:
    return any(name in terms for _, name, _ in objective.terms)


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
    taps: Mapping[str, str] | None = None,
    scene: Callable[..., Any] = DistilledScene,
    over: Callable[[Objective], Objective] = lambda objective: objective,
    **options: Any,
) -> Trained:
    """Train ``student`` (in place) on a paired task under a teacher.

    ``objective`` (default: the game + 50 L1 + feature distillation) may hold any term of the library; ``critic`` is a
    trained discriminator to go on from, such as the one that came with the teacher (default: a fresh one of
    ``critic_width``); ``taps`` names the stages whose features are compared (:class:`DistilledScene`);
    ``perceptual_weight`` and ``warp`` are those of :func:`gancomp_core.train.pix2pix.train_pix2pix`.
    A student that is several networks brings its own ``scene``, and ``over`` turns the objective of one network into
    that of all. Further ``options`` go to :func:`gancomp_core.train.loop.train`. Raises :class:`GancompError` for a
    task without pairs.
    """
    objective = checked_game(objective, loss) or default_objective(loss, perceptual_weight)
    models, pictures = build(student, teacher, task, objective, settings.seed, critic, critic_width, taps), task.train
    if scene is DistilledScene and _asks_for(objective, *PICTURE_TERMS) and not _asks_for(objective, "feature_kd"):
        pictures = beside_targets(models["teacher"], task, visited=settings.steps * settings.batch_size)
    return train(
        models,
        functools.partial(scene, taps=taps) if taps else scene,
        players(over(objective), over(critic_term(loss)), lr),
        Batches(pictures, settings.batch_size, settings.seed, task.paired, warp=warp),
        settings,
        **{"preview": preview, **options},
    )
