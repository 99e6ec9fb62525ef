"""The papers' own trainings, as data: ``plans.yml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gancomp_core.data import Task
from gancomp_core.errors import GancompError, one_of
from gancomp_core.files import Json
from gancomp_core.methods.feature_distillation import feature_kd
from gancomp_core.methods.wavelet_distillation import wavelet_kd
from gancomp_core.nets import Architecture, ArchitectureSpace, search_space
from gancomp_core.train import HINGE, LSGAN, gan, reconstruction
from gancomp_core.train.objectives import Objective

GAMES = {"lsgan": LSGAN, "hinge": HINGE}
TERMS = {"reconstruction": reconstruction, "feature_kd": feature_kd, "wavelet_kd": wavelet_kd}


@dataclass(frozen=True)
class Decay:
    """The learning-rate factor of the papers: 1 for ``constant`` epochs, then down to 0 in ``falling`` ones."""

    constant: int
    falling: int

    def __call__(self, step: int, steps: int) -> float:
        return min(1.0, (1 - step / steps) * (self.constant + self.falling) / self.falling) if self.falling else 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training at a paper's size.

    Attributes:
        name: Its name.
        about: What it makes.
        source: The setting of the paper that it follows, and what is not the paper's.
        method: Which of :data:`gancomp_core.full.methods.METHODS` carries it out.
        network: The generator as plain values; of a supernet, what all its networks have in common.
        batch_size: Pictures a step.
        published: Figures of the paper's own run.
        epochs: At the full learning rate, and while it falls.
        paired: Whether the pictures come in pairs.
        teacher: The plan whose networks it begins with.
        critic: "new", or "teacher" for a copy of the teacher's discriminator.
        critic_width: Channels of the discriminator's first layer.
        game: "lsgan" or "hinge".
        terms: What is added to the game, by weight.
        space: Name of the search space.
        lr: Learning rate.
        choice_lr: Of the choices of a search by gradient descent.
    """

    name: str
    about: str
    source: str
    method: str
    network: Json
    batch_size: int
    published: Json
    epochs: tuple[int, int] = (1, 0)
    paired: bool = True
    teacher: str = ""
    critic: str = "new"
    critic_width: int = 64
    game: str = "lsgan"
    terms: Mapping[str, float] = field(default_factory=dict)
    space: str = ""
    lr: float = 2e-4
    choice_lr: float = 3e-4

    def architecture(self, task: Task | None = None) -> Any:
        """The generator, with the channels of a task."""
        ours: dict[str, int] = {}
        if task is not None:
            sources = "label_channels" if self.network["family"] == "spade" else "in_channels"
            ours = {sources: task.source_channels, "out_channels": task.target_channels}
        return Architecture.from_dict({**self.network, **ours})

    def search_space(self, task: Task | None = None) -> ArchitectureSpace:
        """The networks that a supernet holds."""
        return ArchitectureSpace(self.architecture(task), search_space(self.space))

    @property
    def objective(self) -> Objective:
        """The generator's, of pix2pix and of students."""
        parts = (weight * TERMS[name]() for name, weight in self.terms.items())
        return sum(parts, start=gan(GAMES[self.game]))

    @property
    def schedule(self) -> Decay:
        return Decay(*self.epochs)

    def steps(self, pictures: int) -> int:
        """Steps of all epochs, with so many pictures in an epoch (half of them in one of AGD, which halves the set)."""
        visited = sum(self.epochs) * (pictures // 2 if self.method == "agd" else pictures)
        return max(1, visited // self.batch_size)


@functools.cache
def plans() -> dict[str, Plan]:
    """All plans by name."""
    text = Path(__file__).with_name("plans.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return {
        name: Plan(name=name, **values | ({"epochs": tuple(values["epochs"])} if "epochs" in values else {}))
        for name, values in found.items()
    }


def plan_of(name: str) -> Plan:
    """The plan of that name; raises :class:`GancompError` for any other."""
    return plans()[one_of(name, plans(), "plan of full size")]


def check_pairs(plan: Plan, task: Task) -> None:
    """Raise :class:`GancompError` for a plan that needs pairs, and pictures that have none."""
    if plan.paired and not task.paired:
        raise GancompError(
            f"The plan '{plan.name}' needs pairs, and '{task.name}' has none; choose a plan for unpaired pictures, "
            f"such as {', '.join(name for name, each in plans().items() if not each.paired)}."
        )
