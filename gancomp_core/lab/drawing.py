"""The networks of the drawing page: teachers and students that learned from drawings, for ``data/demo``.

Every stage leaves its weights in the cache folder, and a training that was killed goes on from its checkpoint; the same
call, made again, goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from gancomp_core import zoo
from gancomp_core.compress.stages import PairedScore
from gancomp_core.data import Task, load_task
from gancomp_core.data.drawn import drawn_task
from gancomp_core.files import cache_root
from gancomp_core.methods.architecture_search import Budget, Evaluations, search
from gancomp_core.methods.feature_distillation import DistillationOutputs, distil
from gancomp_core.methods.once_for_all import of_many, only, uniform, warm_start
from gancomp_core.methods.pseudo_pairs import pseudo_pairs
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ElasticGenerator,
    Generator,
    GeneratorArchitecture,
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
RATE = 1e-3  # of students and supernets
BATCH = 4  # of students and supernets
CANDIDATES, SCORED = 60, 48  # networks of a search, and the pictures that each is scored on


@dataclass(frozen=True, kw_only=True)
class Demo:
    """How the networks of one task of the page are made.

    Attributes:
        name: Its name on the page.
        of: The task whose sources are drawn.
        variants: As for :func:`gancomp_core.data.drawn.drawn_task`.
        perceptual: Weight of the perceptual distance beside 50 times L1.
        warp: Whether pictures are turned and scaled a little.
        batch_size: Pictures in a step of the teacher.
        steps: Of teacher, supernet, and each student.
        budgets: The most MACs and parameters of each student.
    """

    name: str
    of: str
    variants: int
    perceptual: float
    warp: bool
    batch_size: int
    steps: tuple[int, int, int]
    budgets: tuple[Budget, ...]

    @property
    def folder(self) -> Path:
        return cache_root() / "demo" / self.name

    @cached_property
    def task(self) -> Task:
        """Drawings and the pictures that belong to them."""
        return drawn_task(load_task(self.of), self.variants)

    @property
    def objective(self) -> Objective:
        found = 50 * reconstruction()
        return found + self.perceptual * perceptual() if self.perceptual else found

    @cached_property
    def teacher(self) -> Generator:
        """The most important channels of the shipped teacher, trained on with drawings, against a discriminator."""
        model: Any = zoo.load(f"{self.of}/teacher")
        network = warm_start(only(replace(model.generator.architecture, channels=TEACHER)), model.generator).extract()
        config = TrainConfig(self.steps[0], self.batch_size, warp=self.warp, discriminator_width=16)

        def train(checkpoint: Checkpoint) -> Trained:
            return distil(
                network.requires_grad_(True), None, self.task, config, objective=gan() + self.objective,
                discriminator=model.models.get("discriminator"), callbacks=[checkpoint],
            )  # fmt: skip

        return cast(Generator, self._made("teacher", network, train))

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
            return fit(of_many(game, uniform(self.space), self.objective), self.taught, config, [checkpoint])

        return cast(ElasticGenerator, self._made("supernet", elastic, train))

    @cached_property
    def front(self) -> tuple[GeneratorArchitecture, ...]:
        """The best network within each budget."""
        score = Evaluations(PairedScore(self.supernet, self.taught, SCORED), cache=self.folder / "scores")
        pixels = (self.task.size, self.task.size)
        return tuple(
            search(self.space, score, budget, pixels=pixels, evaluations=CANDIDATES).best for budget in self.budgets
        )

    @cached_property
    def students(self) -> tuple[Generator, ...]:
        """The networks of the front, each cut from the supernet and trained on."""
        return tuple(self._student(number, architecture) for number, architecture in enumerate(self.front, start=1))

    def _student(self, number: int, architecture: GeneratorArchitecture) -> Generator:
        network = self.supernet.extract(architecture)

        def train(checkpoint: Checkpoint) -> Trained:
            return fit(self._imitation(network), self.taught, self._config(self.steps[2]), [checkpoint])

        log.info("%s, student %d: %s", self.name, number, architecture)
        return cast(Generator, self._made(f"student{number}", network, train))

    def _config(self, steps: int) -> TrainConfig:
        return TrainConfig(steps, BATCH, lr=RATE, warp=self.warp)

    def _imitation(self, network: nn.Module) -> Game:
        """A network learns the pictures of a task, without a discriminator."""
        return Game(
            networks={"generator": network.requires_grad_(True), **self.objective.auxiliary_networks()},
            outputs=DistillationOutputs,
            groups=(OptimizerGroup("generator", ("generator",), self.objective, RATE),),
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


def _budgets(*limits: tuple[float, float]) -> tuple[Budget, ...]:
    return tuple(Budget(macs=macs * 1e6, params=params * 1e3) for macs, params in limits)


DEMOS = {
    each.name: each
    for each in (
        Demo(
            name="shoes", of="edges2shoes", variants=3, perceptual=0, warp=False, batch_size=16,
            steps=(4000, 8000, 3000), budgets=_budgets((12.8, 66), (9.6, 46), (6.4, 28), (4.26, 23), (2.56, 19.5)),
        ),
        Demo(
            name="emoji", of="lines2gloss", variants=8, perceptual=10, warp=True, batch_size=8,
            steps=(1800, 3000, 1200), budgets=_budgets((63.3, 67), (39.5, 40), (26.4, 28), (17.6, 24), (12.7, 19.1)),
        ),
    )
}  # fmt: skip
