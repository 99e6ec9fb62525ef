"""Pseudo pairs: the teacher's pictures replace the targets that an unpaired task does not have.

Li et al., CVPR 2020 (arXiv 2003.08936): a student of a CycleGAN does not need the cycle. Its teacher's picture of a
source is a target for it, so unpaired training becomes paired; the discriminator still compares with real pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from gancomp_core.data import Batch, Pictures, PictureSet, Task, to_float
from gancomp_core.methods.feature_distillation import OBJECTIVE, DistillationOutputs, Taps, game, taps_of
from gancomp_core.methods.teacher_pictures import taught_by, teacher_pictures
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Trained, fit
from gancomp_core.train.objectives import Objective
from gancomp_core.train.outputs import Networks, scores_of_both
from gancomp_core.train.pix2pix import new_discriminator
from gancomp_core.train.processes import share, together


def pseudo_pairs(task: Task, teacher: nn.Module) -> Task:
    """The same task, paired: source i of every split belongs to the teacher's picture of it.

    Use it for training, and for scores against the teacher's pictures; the task itself scores against real ones, and in
    hidden pairs where it has them. The pictures (uint8) are computed once and cached by the weights of the teacher and
    the pictures of the task.

    Args:
        task: An unpaired task.
        teacher: Its trained generator.

    Returns:
        The paired task.

    Raises:
        GancompError: For a teacher whose pictures are not of the task's size and channels.
    """

    def paired(name: str) -> PictureSet:
        split, painted = getattr(task, name), teacher_pictures(teacher, task, name)
        return PictureSet(split.sources, painted, split.labels, teacher=painted)

    return replace(
        task,
        name=f"{task.name}, pseudo pairs",
        fingerprint=taught_by(teacher, task),
        paired=True,
        hidden_pairs=False,
        train=paired("train"),
        search=paired("search"),
        test=paired("test"),
    )


@dataclass(frozen=True)
class RealPictures:
    """The pictures of the other side of an unpaired task, uint8, for random draws."""

    pictures: Pictures = field(repr=False)
    fingerprint: str

    def draw(self, count: int) -> Tensor:
        """``count`` of them, float in [-1, 1]; several processes draw together, each its own part."""
        return to_float(self.pictures[share(torch.randint(len(self.pictures), (together().count * count,)))])


class PseudoPairOutputs(DistillationOutputs):
    """One step on pseudo pairs: ``target`` is the teacher's picture, the discriminator compares ``fake`` with ``real``.

    The discriminator gets pictures without their sources, like a CycleGAN's; as many ``real`` ones as the batch has are
    drawn at random.
    """

    def __init__(self, networks: Networks, batch: Batch, real: RealPictures, taps: Taps | None = None) -> None:
        super().__init__(networks, batch, taps)
        self.real = real.draw(len(batch)).to(batch.target.device)

    def discriminate(self, picture: Tensor) -> Tensor:
        """The discriminator's scores of pictures."""
        scores: Tensor = self.networks["discriminator"](picture)
        return scores

    def discriminate_both(self) -> tuple[Tensor, Tensor]:
        """Scores of real pictures and of the detached fakes."""
        return scores_of_both(self.networks["discriminator"], self.real, self.fake.detach())


def distil_unpaired(
    student: nn.Module,
    teacher: nn.Module,
    task: Task,
    config: TrainConfig,
    *,
    objective: Objective = OBJECTIVE,
    discriminator: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a student (in place) on the pseudo pairs of an unpaired task.

    Args:
        student: Any generator.
        teacher: The trained generator of the task; not changed.
        task: An unpaired task.
        config: How.
        objective: As for :func:`gancomp_core.methods.feature_distillation.distil`.
        discriminator: The CycleGAN's trained one of the target side, of which a copy is trained further (None: a new
            one).
        callbacks: What else happens around the steps.

    Returns:
        The outcome.

    Raises:
        GancompError: As :func:`pseudo_pairs` and :func:`gancomp_core.methods.feature_distillation.distil` do.
    """
    begun = discriminator or new_discriminator(task, config.seed, config.discriminator_width, conditional=False)
    paired = pseudo_pairs(task, teacher)
    real = RealPictures(task.train.targets, task.fingerprint)
    prepared = replace(
        game(student, teacher, paired, config, objective, begun),
        outputs=partial(PseudoPairOutputs, real=real, taps=taps_of(objective)),
    )
    return fit(prepared, paired, config, callbacks)
