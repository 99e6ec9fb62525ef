"""The models of the zoo in the list of experiments: how each is trained, and what of it is shipped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gancomp_core.files import Json
from gancomp_core.lab.catalogue import LIST, names, planned
from gancomp_core.lab.experiment import TRAINING, Experiment
from gancomp_core.lab.kinds import space_of
from gancomp_core.lab.networks import architecture_of
from gancomp_core.nets import Architecture


@dataclass(frozen=True)
class Model:
    """How one model of the zoo is trained.

    ``summary`` says in a sentence what it is for, ``pictures`` whose pictures it learned from; ``ships`` names the
    trained networks that are shipped.
    """

    experiment: Experiment
    summary: str
    pictures: str
    ships: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def task(self) -> str:
        return self.experiment.task

    @property
    def architecture(self) -> Architecture:
        """What is trained: a network, or the space of an elastic one."""
        space: Any = self.experiment["space"]
        network: Any = self.experiment["network"]
        return space_of(space) if space else architecture_of(network)

    @property
    def options(self) -> Json:
        """The entries of its specification that are not at a default, without architecture, steps and batch."""
        left_out = ("network", "space", "steps", "batch_size", "precision")
        options = {name: value for name, value in self.experiment.spec.items() if name not in left_out}
        if isinstance(backward := options.get("backward"), dict):
            options["backward"] = backward["layers"]
        return options

    @property
    def settings(self) -> Json:
        """What the card calls settings: steps, batch, seed and options."""
        given = self.experiment
        about = {"steps": given.steps, "batch_size": given.batch_size, "seed": given.seed, **self.options}
        return about if given["precision"] == TRAINING["precision"] else {**about, "precision": given["precision"]}

    @property
    def asked(self) -> Json:
        """What the list asks for, as a card would say it."""
        asked = {"task": self.task, "architecture": self.architecture.as_dict(), "settings": self.settings}
        plain: Json = json.loads(json.dumps(asked))  # lists for tuples, as in a card
        return plain


def models() -> list[str]:
    """The names of all models."""
    return names("models")


def model_of(name: str) -> Model:
    """A model by its name; raises :class:`GancompError` with the names."""
    (experiment,) = planned(name, "models")
    about = LIST["models"][name]
    return Model(experiment, about["summary"], about["pictures"], tuple(about["ships"]))
