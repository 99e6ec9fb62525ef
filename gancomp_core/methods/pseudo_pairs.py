"""Pseudo pairs: the teacher's pictures stand in for the targets that an unpaired task does not have.

Li et al., CVPR 2020 (arXiv 2003.08936): a student of a CycleGAN need not play the cycle game. What its teacher makes
of a source is a target for it, so unpaired training becomes paired; the critic still compares with real pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gancomp_core.data import Batch, Pictures, PictureSet, Task, to_float
from gancomp_core.methods.feature_distillation import DistilledScene, distil
from gancomp_core.methods.teacher_pictures import taught_by, teacher_pictures
from gancomp_core.train.loop import Settings, Trained
from gancomp_core.train.objectives import scores_of_both
from gancomp_core.train.pix2pix import fresh_critic


def pseudo_pairs(task: Task, teacher: nn.Module) -> Task:
    """The same task, paired: source i of every split belongs to what the teacher makes of it.

    Use it to train on, and to score against the teacher's pictures; the task itself scores against real ones, and in
    hidden pairs where it has them. The pictures (uint8) are made once and kept in the cache folder under the weights of
    the teacher and the pictures of the task. Raises :class:`GancompError` for a teacher whose pictures are not of the
    task's size and channels.
    """
    train, search, test = (
        PictureSet(getattr(task, name).sources, teacher_pictures(teacher, task, name), getattr(task, name).labels)
        for name in ("train", "search", "test")
    )
    taught = replace(task, name=f"{task.name} taught", fingerprint=taught_by(teacher, task))
    return replace(taught, paired=True, hidden_pairs=False, train=train, search=search, test=test)


class TaughtScene(DistilledScene):
    """One step on pseudo pairs: ``target`` is the teacher's picture, the critic compares ``fake`` with ``real`` ones.

    The critic sees pictures without their sources, as that of a CycleGAN does. ``real`` holds the pictures of the other
    side, uint8; as many as the batch has are drawn by chance.
    """

    def __init__(
        self, models: Mapping[str, nn.Module], batch: Batch, real: Pictures, taps: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(models, batch, taps)
        self.real = to_float(real[torch.randint(len(real), (len(batch),))]).to(batch.target.device)

    @property
    def teacher_picture(self) -> Tensor:
        return self.target

    def judge(self, picture: Tensor) -> Tensor:
        """The discriminator's scores of pictures."""
        return self.models["discriminator"](picture)

    def judge_both(self) -> tuple[Tensor, Tensor]:
        """Scores of real pictures and of the detached fakes."""
        return scores_of_both(self.models["discriminator"], self.real, self.fake.detach())


def distil_unpaired(
    student: nn.Module,
    teacher: nn.Module,
    task: Task,
    settings: Settings,
    *,
    critic: nn.Module | None = None,
    critic_width: int = 32,
    **options: Any,
) -> Trained:
    """Train ``student`` (in place) on the pseudo pairs of an unpaired task.

    ``critic`` is the CycleGAN's trained discriminator of the target side, of which a copy goes on learning (None: a
    fresh one of ``critic_width``). ``options`` are those of :func:`gancomp_core.methods.feature_distillation.distil`;
    pictures are not warped.
    """
    begun = critic or fresh_critic(task, settings.seed, critic_width, conditional=False)
    scene = partial(TaughtScene, real=task.train.targets)
    return distil(student, teacher, pseudo_pairs(task, teacher), settings, critic=begun, scene=scene, **options)
