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
from gancomp_core.measure import ssim
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
PICTURE_TERMS = ("pixel_kd", "logit_kd", "wavelet_kd", "patch_relation_kd", "discriminator_kd", "ssim_kd")
#: Terms that compare features, all at the same taps; the adapted ones in the teacher's channels.
ADAPTED_TERMS = ("feature_kd", "channel_kd")
FEATURE_TERMS = (*ADAPTED_TERMS, "kernel_alignment_kd", "cooperated_kd")
#: The name under which terms find the frozen discriminator in whose space they compare.
JUDGE = "teacher_discriminator"
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


@term()
def ssim_kd(outputs: DistillationOutputs) -> Tensor:
    """1 minus the structural similarity (:func:`gancomp_core.measure.ssim`) of the student's and teacher's picture."""
    with torch.autocast(outputs.fake.device.type, enabled=False):
        return 1 - ssim(outputs.fake, outputs.teacher_picture).mean()


@term()
def channel_kd(outputs: DistillationOutputs, taps: Taps | None = None) -> Tensor:
    """Sum over the taps of the mean squared difference of channel means: how strong a feature is, and not where.

    Means are taken over positions, of the adapted features of the student and of the teacher's (Ren et al., ICCV 2021,
    arXiv 2108.06908; their adaptors have a BatchNorm and a ReLU behind the convolution). ``taps`` is that of
    :func:`feature_kd`.
    """
    adapted = outputs.networks["adaptors"](outputs.features)
    pairs = zip(adapted, outputs.teacher_features, strict=True)
    return torch.stack([F.mse_loss(ours.mean((2, 3)), theirs.mean((2, 3))) for ours, theirs in pairs]).sum()


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
    """The taps at which an objective compares features, as :class:`DistillationOutputs` takes them.

    Raises:
        GancompError: For terms with different taps.
    """
    terms = [term.inner for term in objective.terms if term.inner.name in FEATURE_TERMS]
    found: list[Any] = [term.arguments["taps"] or {} for term in terms]
    if any(taps != found[0] for taps in found):
        names = " and ".join(term.name for term in terms)
        raise GancompError(f"The terms {names} compare features at different taps; give all of them the same.")
    return found[0] if found else None


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
    if teacher is None and objective.find(*FEATURE_TERMS, *PICTURE_TERMS):
        raise GancompError(f"The objective '{objective}' compares with a teacher, and there is none; pass one.")
    if teacher is not None:
        networks["teacher"] = copy.deepcopy(teacher).eval().requires_grad_(False)
    auxiliary = objective.auxiliary_networks()
    beside = companions(objective, student, teacher, auxiliary.get(JUDGE), config.seed + 2)
    networks |= beside
    begun = discriminator or new_discriminator(task, config.seed, config.discriminator_width)
    networks["discriminator"] = copy.deepcopy(begun).requires_grad_(True)
    return Game(
        networks=networks | auxiliary,
        outputs=partial(DistillationOutputs, taps=taps),
        groups=adversarial_groups(objective, config.rate(pix2pix.LEARNING_RATE), ("generator", *beside)),
        preview=preview,
    )


def companions(objective: Objective, student: Any, teacher: Any, judge: Any, seed: int) -> dict[str, nn.Module]:
    """The networks that learn beside a student because terms compare features.

    Args:
        objective: With or without such terms.
        student: A generator, elastic or not.
        teacher: A generator.
        judge: The discriminator of :func:`gancomp_core.methods.discriminator_distillation.cooperated_kd`, or None.
        seed: Of their weights.

    Returns:
        "adaptors" from the student's to the teacher's channels, and "student_connectors" and "teacher_connectors" to
        the channels of the judge, each where a term asks for them.
    """
    taps, found = taps_of(objective), dict[str, nn.Module]()
    if taps is None:
        return found
    space = getattr(student, "space", student.architecture)
    ours = tap_channels(getattr(space, "widest", space), list(taps) or None)
    theirs = tap_channels(teacher.architecture, list(taps.values()) or None)
    if objective.find(*ADAPTED_TERMS):
        found["adaptors"] = build(lambda: Adaptors(ours, theirs), seed)
    if objective.find("cooperated_kd"):
        shown = [judge.in_channels] * len(ours)
        found["student_connectors"] = build(lambda: Adaptors(ours, shown), seed + 1)
        found["teacher_connectors"] = build(lambda: Adaptors(theirs, shown), seed + 2)
    return found


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
