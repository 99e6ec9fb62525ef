"""Intermediate-feature distillation: a student imitates features that its teacher computes on the way to the picture.

Li et al., CVPR 2020 (arXiv 2003.08936): at a few stages, the *taps*, a 1x1 convolution (the *adaptor*) maps the
student's features to as many channels as the teacher's have, and the objective adds their mean squared distance. The
paper's formula maps the teacher's features, its code the student's, and so do we.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Batch, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.teacher_pictures import with_teacher_pictures
from gancomp_core.nets import Architecture, Generator, build
from gancomp_core.train import pix2pix
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, Trained, batches_of, fit
from gancomp_core.train.objectives import Objective, term
from gancomp_core.train.outputs import Networks, PairedOutputs, preview
from gancomp_core.train.pix2pix import adversarial_groups, new_discriminator

#: Terms that compare pictures; without features to compare, the teacher's pictures are painted once and kept.
PICTURE_TERMS = ("pixel_kd", "logit_kd", "wavelet_kd")
Taps = Mapping[str, str]


class Adaptors(nn.Module):
    """A 1x1 convolution for each tap, from the student's channels to the teacher's.

    Features of fewer channels than planned use the leading weights, so that all networks of an elastic student share
    their adaptors. ``student`` and ``teacher`` are channels by tap, in order.
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
        return [
            F.conv2d(feature, layer.get_parameter("weight")[:, : feature.shape[1]], layer.get_parameter("bias"))
            for feature, layer in zip(features, self.layers, strict=True)
        ]


def tap_channels(architecture: Architecture, taps: Sequence[str] | None = None) -> list[int]:
    """Channels of the features at these stages of a generator (None: at its own taps)."""
    widths = architecture.stage_channels
    try:
        return [widths[tap] for tap in (architecture.taps if taps is None else taps)]
    except KeyError as error:
        raise GancompError(
            f"Features cannot be tapped at '{error.args[0]}'; this generator has the stages {', '.join(widths)}."
        ) from error


class TeacherAnswer:
    """What the teacher makes of the sources of a batch, computed when a term first asks, without gradient.

    ``taps`` is that of :class:`DistillationOutputs`. The picture of a batch that brings it is not computed again.
    """

    def __init__(self, networks: Networks, batch: Batch, taps: Taps | None = None) -> None:
        self.networks, self.batch, self.taps = networks, batch, taps

    @property
    def picture(self) -> Tensor:
        return self._found[0] if self.batch.teacher is None else self.batch.teacher

    @property
    def features(self) -> list[Tensor]:
        return self._found[1]

    @cached_property
    @torch.no_grad()
    def _found(self) -> tuple[Tensor, list[Tensor]]:
        teacher = cast(Generator, self.networks["teacher"])
        if self.taps is None:
            return teacher(self.batch.source), []
        names = list(self.taps.values()) or list(teacher.architecture.taps)
        picture, found = teacher(self.batch.source, features=names)
        return picture, [found[name] for name in names]


class DistillationOutputs(PairedOutputs):
    """One step of a paired task with a teacher: as in pix2pix, and the features of both networks at their taps.

    Args:
        networks: With a "generator", and a "teacher" where the batch brings no pictures of one.
        batch: Sources and targets.
        taps: Stages of the student, and the stage of the teacher that each is compared with. Empty: the
            architecture's own, which end the downsampling and every third of the blocks. None: no features at all.
        answer: That of the teacher where several students share it.
    """

    def __init__(
        self, networks: Networks, batch: Batch, taps: Taps | None = None, answer: TeacherAnswer | None = None
    ) -> None:
        self.networks, self.source, self.target = networks, batch.source, batch.target
        self.teacher = answer or TeacherAnswer(networks, batch, taps)
        generator, self.features = cast(Generator, networks["generator"]), list[Tensor]()
        if taps is None:
            self.fake = generator(batch.source)
        else:
            names = list(taps) or list(generator.running.taps)
            self.fake, found = generator(batch.source, features=names)
            self.features = [found[name] for name in names]

    @property
    def teacher_picture(self) -> Tensor:
        return self.teacher.picture

    @property
    def teacher_features(self) -> list[Tensor]:
        return self.teacher.features


@term()
def feature_kd(outputs: DistillationOutputs, taps: Taps | None = None) -> Tensor:
    """Sum over the taps of the mean squared distance between adapted student and teacher features.

    ``taps`` names stages of the student and the stage of the teacher that each is compared with (default: the
    architectures' own). Features of a student that works at a lower resolution are enlarged to the teacher's.
    """
    adapted = outputs.networks["adaptors"](outputs.features)
    pairs = zip(adapted, outputs.teacher_features, strict=True)
    return torch.stack([F.mse_loss(_as_large_as(theirs, ours), theirs) for ours, theirs in pairs]).sum()


@term()
def pixel_kd(outputs: DistillationOutputs) -> Tensor:
    """Mean absolute error between the student's and the teacher's picture."""
    return F.l1_loss(outputs.fake, outputs.teacher_picture)


def _check_temperature(temperature: float) -> None:
    if temperature <= 0:
        raise GancompError(f"A temperature is above 0, not {temperature:g}; 1 leaves the pictures as they are.")


@term(check=_check_temperature)
def logit_kd(outputs: DistillationOutputs, temperature: float = 1.0) -> Tensor:
    """Distillation as for classifiers, for comparison: pictures are taken as logits (Hinton et al., arXiv 1503.02531).

    The pixels of each channel become a distribution by a softmax at this ``temperature``; the term is the KL divergence
    of the student's from the teacher's, times the squared temperature, averaged over pictures and channels. It ignores
    brightness, which a softmax cannot see: expect it to fail.
    """
    ours, theirs = (
        F.log_softmax(picture.float().flatten(2) / temperature, dim=-1)
        for picture in (outputs.fake, outputs.teacher_picture)
    )
    return temperature**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1).mean()


def _as_large_as(theirs: Tensor, ours: Tensor) -> Tensor:
    if ours.shape == theirs.shape:
        return ours
    return F.interpolate(ours, size=theirs.shape[2:], mode="bilinear")


#: Feature distillation at a hundredth of L1's weight, as published for shoes.
OBJECTIVE = pix2pix.OBJECTIVE + 0.5 * feature_kd()


def taps_of(objective: Objective) -> Taps | None:
    """The taps at which an objective compares features, as :class:`DistillationOutputs` takes them."""
    found = objective.find("feature_kd")
    if found is None:
        return None
    taps: Any = found.arguments["taps"]
    return taps or {}


def game(
    student: nn.Module,
    teacher: nn.Module | None,
    task: Task,
    config: TrainConfig,
    objective: Objective = OBJECTIVE,
    discriminator: nn.Module | None = None,
) -> Game:
    """The game of :func:`distil`: the student itself, adaptors where features are compared, and a discriminator."""
    if not task.paired:
        raise GancompError(
            f"'{task.name}' has no pairs to distil with; make pseudo pairs from the teacher's pictures first, or take "
            "a paired task such as 'edges2shoes'."
        )
    taps, networks = taps_of(objective), {"generator": student}
    if teacher is None and objective.find("feature_kd", *PICTURE_TERMS):
        raise GancompError(f"The objective '{objective}' compares with a teacher, and there is none; pass one.")
    if teacher is not None:
        networks["teacher"] = copy.deepcopy(teacher).eval().requires_grad_(False)
    if taps is not None:
        networks["adaptors"] = _adaptors(student, teacher, taps, config.seed + 2)
    learning = ("generator",) if taps is None else ("generator", "adaptors")
    begun = discriminator or new_discriminator(task, config.seed, config.discriminator_width)
    networks["discriminator"] = copy.deepcopy(begun).requires_grad_(True)
    return Game(
        networks=networks | objective.auxiliary_networks(),
        outputs=partial(DistillationOutputs, taps=taps),
        groups=adversarial_groups(objective, config.rate(pix2pix.LEARNING_RATE), learning),
        preview=preview,
    )


def _adaptors(student: Any, teacher: Any, taps: Taps, seed: int) -> Adaptors:
    space = getattr(student, "space", student.architecture)
    ours = tap_channels(getattr(space, "widest", space), list(taps) or None)
    theirs = tap_channels(teacher.architecture, list(taps.values()) or None)
    return build(lambda: Adaptors(ours, theirs), seed)


def distil(
    student: nn.Module,
    teacher: nn.Module | None,
    task: Task,
    config: TrainConfig,
    *,
    objective: Objective = OBJECTIVE,
    discriminator: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train ``student`` (in place) on a paired task under a teacher.

    Args:
        student: Any generator.
        teacher: Stays as it is; None where the objective asks for nothing of it.
        task: With pairs.
        config: How; the learning rate is 4e-4 by default.
        objective: May hold any term of the library; the discriminator plays the game of its ``gan`` term.
        discriminator: A trained one, of which a copy goes on learning, such as the one that came with the teacher
            (default: a new one).
        callbacks: What else happens around the steps.

    Raises:
        GancompError: For a task without pairs, and for an objective that needs a teacher where there is none.
    """
    prepared, pictures = game(student, teacher, task, config, objective, discriminator), task.train
    if teacher is not None and objective.find(*PICTURE_TERMS) and taps_of(objective) is None:
        pictures = with_teacher_pictures(teacher, task, visited=config.steps * config.batch_size)
    return fit(prepared, batches_of(task, config, pictures), config, callbacks)
