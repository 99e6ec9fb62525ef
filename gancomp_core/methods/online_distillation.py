"""Online distillation: teachers and student are trained in the same steps, and the student sees the teachers alone.

Ren et al., ICCV 2021 (OMGD, arXiv 2108.06908): a wide and a deep teacher learn from pairs, against a discriminator. In
the same step the student learns from what both make of its sources, without a discriminator and without the targets.
It follows teachers that improve step by step, instead of one that is far ahead from the start. The wide teacher also
shows its features.

Here both teachers play against one discriminator, the paper's has a head for each; and weights of terms belong to the
shipped feature network instead of VGG.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batch, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.feature_distillation import (
    FEATURE_TERMS,
    JUDGE,
    Taps,
    channel_kd,
    companions,
    ssim_kd,
    taps_of,
)
from gancomp_core.nets import Generator
from gancomp_core.train import pix2pix
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, OptimizerGroup, Trained, fit
from gancomp_core.train.objectives import LSGAN, GanLoss, Objective, content, critic, style, total_variation
from gancomp_core.train.outputs import Networks, PairedOutputs
from gancomp_core.train.progress import tile

#: The student's: the published terms, summed over the teachers, and channel means of the wide teacher.
OBJECTIVE = ssim_kd() + content() + 0.1 * style() + 0.01 * total_variation() + 10 * channel_kd()


class Turn(PairedOutputs):
    """A teacher's own turn, in its game for the targets; and its features at some stages."""

    def __init__(self, networks: Networks, name: str, batch: Batch, stages: Sequence[str]) -> None:
        self.networks, self.source, self.target = networks, batch.source, batch.target
        self.fake, self.features = _painted(networks[name], batch.source, stages)


class Lesson(PairedOutputs):
    """What a student learns from one teacher, whose picture is both ``target`` and ``teacher_picture``."""

    def __init__(self, step: OnlineOutputs, teacher: Turn) -> None:
        self.step, self.networks, self.source = step, teacher.networks, teacher.source
        self.fake, self.features = step.fake, step.features
        self.target = self.teacher_picture = teacher.fake.detach()
        self.teacher_features = [each.detach() for each in teacher.features]

    @cached_property
    def feature_maps(self) -> list[tuple[Tensor, Tensor]]:
        """As in other steps; all lessons share those of the student's picture."""
        with torch.no_grad():
            theirs = self.networks["features"](self.target)
        return list(zip(self.step.maps, theirs, strict=True))


class OnlineOutputs:
    """One step of a student and its teachers.

    Attributes:
        wide: The turn of the wide teacher.
        deep: That of the deep one, None without.
        turns: All of them.
        fake: The student's picture.
        features: Its features at its side of the taps.
        lesson: What the student learns from the wide teacher, whose features it compares with.
        lessons: What it learns from each.
    """

    def __init__(self, networks: Networks, batch: Batch, taps: Taps | None = None) -> None:
        self.networks, self.source, self.target = networks, batch.source, batch.target
        ours, theirs = ((), ()) if taps is None else _stages(networks, taps)
        self.wide = Turn(networks, "wide", batch, theirs)
        self.deep = Turn(networks, "deep", batch, ()) if "deep" in networks else None
        self.turns = [turn for turn in (self.wide, self.deep) if turn]
        self.fake, self.features = _painted(networks["generator"], batch.source, ours)
        self.lessons = [Lesson(self, turn) for turn in self.turns]

    @property
    def lesson(self) -> Lesson:
        return self.lessons[0]

    @cached_property
    def maps(self) -> list[Tensor]:
        """The feature maps of the student's picture."""
        found: list[Tensor] = self.networks["features"](self.fake)
        return found


def _stages(networks: Networks, taps: Taps) -> tuple[Sequence[str], Sequence[str]]:
    """The stages of the student and of the wide teacher that are compared."""
    student, wide = (cast(Generator, networks[name]).running for name in ("generator", "wide"))
    return list(taps) or student.taps, list(taps.values()) or wide.taps


def _painted(network: nn.Module, source: Tensor, stages: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
    if not stages:
        return network(source), []
    picture, found = network(source, features=list(stages))
    return picture, [found[name] for name in stages]


def preview(outputs: OnlineOutputs) -> Image.Image:
    """The first pictures of a step as rows: source, the student's, each teacher's, target."""
    painted = [outputs.fake, *(turn.fake for turn in outputs.turns)]
    return tile([pictures[:12] for pictures in (outputs.source, *painted, outputs.target)])


def game(
    student: nn.Module,
    wide: nn.Module,
    deep: nn.Module | None,
    task: Task,
    config: TrainConfig,
    objective: Objective = OBJECTIVE,
    taught: Objective = pix2pix.OBJECTIVE,
) -> Game:
    """The game of :func:`distil_online`: a new discriminator, the teachers in turn, and the student last."""
    if not task.paired:
        raise GancompError(
            f"'{task.name}' has no pairs for the teachers to learn from; take a paired task such as 'edges2shoes'."
        )
    if any(isinstance(term.inner.arguments.get("loss"), GanLoss) for term in objective.terms):
        raise GancompError(
            f"The student's objective '{objective}' plays a game, and an online student has no discriminator; leave "
            "its gan term out."
        )
    teachers = {"wide": wide} if deep is None else {"wide": wide, "deep": deep}
    auxiliary = objective.auxiliary_networks()
    beside = companions(objective, student, wide, auxiliary.get(JUDGE), config.seed + 2)
    discriminator = pix2pix.new_discriminator(task, config.seed, config.discriminator_width)
    rate = config.rate(pix2pix.LEARNING_RATE)
    critics = critic(taught.game(LSGAN)).over("turns", "sum")
    turns = [OptimizerGroup(name, (name,), taught.at(name, f"{name}_"), rate) for name in teachers]
    return Game(
        networks={"generator": student, **teachers, **beside, "discriminator": discriminator} | auxiliary,
        outputs=partial(OnlineOutputs, taps=taps_of(objective)),
        groups=(
            OptimizerGroup("discriminator", ("discriminator",), critics, rate),
            *turns,
            OptimizerGroup("generator", ("generator", *beside), lessons(objective), rate),
        ),
        preview=preview,
    )


def lessons(objective: Objective) -> Objective:
    """A student's objective in a step of several teachers: features of the wide one, the rest summed over all."""
    moved = [
        Objective((term,)).at("lesson") if term.name in FEATURE_TERMS else Objective((term,)).over("lessons", "sum")
        for term in objective.terms
    ]
    return Objective(tuple(term for each in moved for term in each.terms))


def distil_online(
    student: nn.Module,
    wide: nn.Module,
    task: Task,
    config: TrainConfig,
    *,
    deep: nn.Module | None = None,
    objective: Objective = OBJECTIVE,
    taught: Objective = pix2pix.OBJECTIVE,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a student and its teachers (all in place) on a paired task, in the same steps.

    Args:
        student: Any generator. It is "generator" among the trained networks, the teachers are "wide" and "deep".
        wide: A teacher with more channels, whose features are compared too.
        task: With pairs, which the student does not see.
        config: How; the learning rate is 4e-4 by default, for all of them.
        deep: A teacher with more blocks, or None.
        objective: The student's, of terms that compare with a teacher's picture or features. ``target`` means the
            teacher's picture in it.
        taught: The teachers'.
        callbacks: What else happens around the steps.

    Raises:
        GancompError: For a task without pairs, and for a student's objective that plays a game.
    """
    return fit(game(student, wide, deep, task, config, objective, taught), task, config, callbacks)
