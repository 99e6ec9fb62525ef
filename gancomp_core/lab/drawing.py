"""The networks of the drawing page: teachers and students that learned from drawings, for ``data/demo``.

Every stage leaves its weights in the cache folder, and a training that was killed goes on from its checkpoint; the same
call, made again, goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from gancomp_core import zoo
from gancomp_core.data import Task, load_task
from gancomp_core.data.drawn import drawn_task
from gancomp_core.files import cache_root
from gancomp_core.methods.feature_distillation import DistillationOutputs, distil
from gancomp_core.methods.once_for_all import of_many, only, uniform, warm_start
from gancomp_core.methods.pseudo_pairs import pseudo_pairs
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ElasticGenerator,
    Generator,
    SearchSpace,
)
from gancomp_core.train import (
    Checkpoint,
    Game,
    Objective,
    OptimizerGroup,
    TrainConfig,
    Trained,
    fit,
    gan,
    load_weights,
    perceptual,
    read_about,
    reconstruction,
    save_weights,
)

log = logging.getLogger("gancomp")

TEACHER = ChannelConfig.uniform(24)
#: What students may be: separable blocks, whose weights take little room, and ends as wide as the teacher's.
CHANNELS = SearchSpace(((24, 16, 8),) * 2 + ((16, 12, 8),) + ((16, 12, 8, 4),) * 3 + ((24, 16, 8),) * 2)
DEPTHS = (3, 6)
#: What supernets minimize, and students of tasks without color: targets are the teacher's pictures.
IMITATION = 50 * reconstruction()
#: With the shipped teacher's discriminator. By eye, pixels alone leave a small network's lines fainter.
SHARP = gan() + IMITATION + 5 * perceptual()
RATE = 1e-3  # of students and supernets
BATCH = 4  # of students and supernets
#: Students by name, with their steps. A search of 16 candidates for each budget, scored on 32 search pictures, found
#: them; the first and the fourth of the emoji were chosen for their costs. The build repeats the trainings alone.
SHOES = {
    "24_16_8_8_4_16_24_16 depth=6": 2000,
    "8_24_8_8_8_12_8_16 depth=6": 2000,
    "24_8_8_4_16_12_8_16 depth=3": 2000,
    "16_8_8_8_4_8_8_16 depth=3": 2000,
    "8_8_8_8_4_8_8_8 depth=3": 2000,
}
EMOJI = {
    "24_16_16_8_12_16_16_24 depth=3": 3000,
    "24_8_8_8_8_16_16_16 depth=6": 1500,
    "8_8_8_8_12_16_8_16 depth=3": 1500,
    "16_8_8_4_4_8_8_8 depth=3": 1500,
    "8_8_8_4_4_8_8_8 depth=3": 1500,
}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """How the networks of one task of the page are made.

    Attributes:
        name: Its name on the page.
        of: The task whose sources are drawn.
        variants: As for :func:`gancomp_core.data.drawn.drawn_task`.
        perceptual: Weight of the perceptual distance for the teacher, beside its game and 50 times L1.
        warp: Whether pictures are turned and scaled a little.
        batch_size: Pictures in a step of the teacher.
        steps: Of teacher and supernet.
        students_minimize: Their objective.
        choices: Students, as :meth:`gancomp_core.nets.space.Space.name` calls them, and the steps of each.
    """

    name: str
    of: str
    variants: int
    perceptual: float
    warp: bool
    batch_size: int
    steps: tuple[int, int]
    students_minimize: Objective
    choices: Mapping[str, int]

    @property
    def folder(self) -> Path:
        return cache_root() / "demo" / self.name

    @cached_property
    def task(self) -> Task:
        """Drawings and the pictures that belong to them."""
        return drawn_task(load_task(self.of), self.variants)

    @cached_property
    def teacher(self) -> Generator:
        """The most important channels of the shipped teacher, trained on with drawings, against a discriminator."""
        model: Any = zoo.load(f"{self.of}/teacher")
        network = warm_start(only(replace(model.generator.architecture, channels=TEACHER)), model.generator).extract()
        config = TrainConfig(self.steps[0], self.batch_size, warp=self.warp, discriminator_width=16)
        objective = gan() + 50 * reconstruction()
        if self.perceptual:
            objective += self.perceptual * perceptual()

        def train(checkpoint: Checkpoint) -> Trained:
            return distil(
                network.requires_grad_(True), None, self.task, config, objective=objective,
                discriminator=self._discriminator, callbacks=[checkpoint],
            )  # fmt: skip

        return cast(Generator, self._made("teacher", network, train))

    @property
    def _discriminator(self) -> nn.Module | None:
        """That of the shipped teacher, where there is one."""
        return zoo.load(f"{self.of}/teacher").models.get("discriminator")

    @cached_property
    def taught(self) -> Task:
        """Drawings and the teacher's pictures of them."""
        return pseudo_pairs(self.task, self.teacher)

    @cached_property
    def space(self) -> ArchitectureSpace:
        """What students may be."""
        widest: Any = self.teacher.architecture
        return ArchitectureSpace(widest, CHANNELS, depths=DEPTHS, separable=(True,))

    @cached_property
    def supernet(self) -> ElasticGenerator:
        """All networks of the space in shared weights, begun with the teacher's channels."""
        elastic = warm_start(replace(self.space, separable=(False, True)), self.teacher)  # dense ones are the teacher's

        def train(checkpoint: Checkpoint) -> Trained:
            game, config = self._imitation(elastic), self._config(self.steps[1])
            return fit(of_many(game, uniform(self.space), IMITATION), self.taught, config, [checkpoint])

        return cast(ElasticGenerator, self._made("supernet", elastic, train))

    @cached_property
    def students(self) -> tuple[Generator, ...]:
        """Networks cut from the supernet and trained on, the largest first."""
        return tuple(self._student(number) for number in range(1, 1 + len(self.choices)))

    def _student(self, number: int) -> Generator:
        name, steps = list(self.choices.items())[number - 1]
        network = self.supernet.extract(self.space.named(name))

        def train(checkpoint: Checkpoint) -> Trained:
            return distil(
                network.requires_grad_(True), None, self.taught, self._config(steps), objective=self.students_minimize,
                discriminator=self._discriminator, callbacks=[checkpoint],
            )  # fmt: skip

        log.info("%s, student %d: %s", self.name, number, name)
        return cast(Generator, self._made(f"student{number}", network, train))

    def _config(self, steps: int) -> TrainConfig:
        return TrainConfig(steps, BATCH, lr=RATE, warp=self.warp, discriminator_width=16)

    def _imitation(self, network: nn.Module) -> Game:
        """A network learns the pictures of a task, without a discriminator."""
        return Game(
            networks={"generator": network.requires_grad_(True)},
            outputs=DistillationOutputs,
            groups=(OptimizerGroup("generator", ("generator",), IMITATION, RATE),),
        )

    def _made(self, stage: str, network: nn.Module, train: Callable[[Checkpoint], Trained]) -> nn.Module:
        """The network with the weights of a stage, trained unless they are there; ``minutes`` are in the file."""
        path = self.folder / f"{stage}.safetensors"
        if not path.exists():
            log.info("%s: %s", self.name, stage)
            trained = train(Checkpoint(path.with_suffix(".ckpt")))
            save_weights(trained.averaged["generator"], path, {"minutes": trained.seconds / 60})
        return load_weights(network, path).eval().requires_grad_(False)

    def minutes(self, stage: str) -> float:
        """How long a stage was trained."""
        return float(read_about(self.folder / f"{stage}.safetensors")["minutes"])


DEMOS = {
    each.name: each
    for each in (
        Demo(
            name="shoes", of="edges2shoes", variants=3, perceptual=0, warp=False, batch_size=16,
            steps=(4000, 4000), students_minimize=IMITATION,
            choices=SHOES,
        ),
        Demo(
            name="emoji", of="lines2gloss", variants=8, perceptual=10, warp=True, batch_size=8,
            steps=(1800, 8000), students_minimize=SHARP,
            choices=EMOJI,
        ),
    )
}  # fmt: skip
