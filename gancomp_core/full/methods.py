"""What each method does with a plan; all of them train by the one loop of the library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from torch import nn

from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.full.laps import Laps
from gancomp_core.full.plans import Plan
from gancomp_core.measure import cost
from gancomp_core.methods.agd import Controller
from gancomp_core.methods.agd import search as agd_search
from gancomp_core.methods.architecture_search import Budget, Evaluations, SupernetScore
from gancomp_core.methods.architecture_search import search as search_networks
from gancomp_core.methods.architecture_search.candidates import Candidates
from gancomp_core.methods.feature_distillation import distil
from gancomp_core.methods.once_for_all import train_supernet, warm_start
from gancomp_core.methods.pseudo_pairs import distil_unpaired
from gancomp_core.nets import ElasticGenerator, build, translation_supernet
from gancomp_core.train import Callback, TrainConfig, Trained, train_cyclegan, train_gaugan, train_pix2pix

Networks = dict[str, nn.Module]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """All that a method needs: plan, pictures, configuration, the teacher's networks, and what happens at each step."""

    plan: Plan
    task: Task
    config: TrainConfig
    teacher: Networks
    callbacks: tuple[Callback, ...] = ()


@dataclass(frozen=True)
class Done:
    """The networks that a method made, and a table of how it went."""

    networks: Networks
    table: pd.DataFrame


def _trained(trained: Trained) -> Done:
    learned = {name: network for name, network in trained.models.items() if "discriminator" in name}
    return Done({**trained.averaged, **learned}, trained.history)


def _pix2pix(given: Setting) -> Done:
    plan, callbacks = given.plan, given.callbacks
    network = plan.architecture(given.task)
    return _trained(train_pix2pix(given.task, network, given.config, objective=plan.objective, callbacks=callbacks))


def _cyclegan(given: Setting) -> Done:
    network = given.plan.architecture(given.task)
    return _trained(train_cyclegan(given.task, network, given.config, callbacks=given.callbacks))


def _gaugan(given: Setting) -> Done:
    network = given.plan.architecture(given.task)
    return _trained(train_gaugan(given.task, network, given.config, callbacks=given.callbacks))


def _distil(given: Setting) -> Done:
    train = distil if given.plan.paired else distil_unpaired
    student = build(given.plan.architecture(given.task), given.config.seed)
    return _trained(
        train(
            student,
            given.teacher["generator"],
            given.task,
            given.config,
            objective=given.plan.objective,
            discriminator=given.teacher["discriminator"] if given.plan.critic == "teacher" else None,
            callbacks=given.callbacks,
        )
    )


def _supernet(given: Setting) -> Done:
    teacher = given.teacher["generator"]
    return _trained(
        train_supernet(
            warm_start(given.plan.search_space(given.task), teacher),
            teacher,
            given.task,
            given.config,
            objective=given.plan.objective,
            discriminator=given.teacher["discriminator"],
            callbacks=given.callbacks,
        )
    )


def _agd(given: Setting) -> Done:
    task, teacher = given.task, given.teacher["generator"]
    macs = cost(cast(Any, teacher).architecture, task.size, task.size).macs
    controller = Controller(macs / 10, macs / 8, choice_lr=given.plan.choice_lr, warm_up=0.5)
    space = translation_supernet(in_channels=task.source_channels, out_channels=task.target_channels)
    found = agd_search(task, teacher, space, given.config, controller, callbacks=given.callbacks)
    return Done({"supernet": found.supernet, "generator": build(found.architecture)}, found.history)


def _budget(plan: Plan, task: Task) -> Budget:
    """The cost of the published network, at the task's size."""
    return Budget(macs=cost(plan.architecture(task), task.size, task.size).macs)


def admitted(plan: Plan, task: Task) -> int:
    """How many networks of a search's space its budget admits."""
    size, rng = (task.size, task.size), np.random.default_rng(0)
    return len(Candidates(plan.search_space(task), _budget(plan, task), size, None, rng))


def _search(given: Setting) -> Done:
    """Scores every admitted network, or as many as the configuration has steps; stored scores are not made again."""
    elastic = cast(ElasticGenerator, given.teacher["generator"])
    evaluations = Evaluations(SupernetScore(elastic, given.task))
    laps = [each for each in given.callbacks if isinstance(each, Laps)]

    def ends(count: int) -> bool:
        for each in laps:
            each.lap()
        return count >= given.config.steps

    size, budget = (given.task.size, given.task.size), _budget(given.plan, given.task)
    how: dict[str, Any] = {"pixels": size, "seed": given.config.seed, "ends": ends}
    frontier = search_networks(elastic.space, evaluations, budget, "brute force", **how)
    if not len(frontier):
        raise GancompError("No network was evaluated; give the search one step or more.")
    return Done({"generator": elastic.extract(frontier.best)}, frontier.table)


METHODS: dict[str, Callable[[Setting], Done]] = {
    "pix2pix": _pix2pix,
    "cyclegan": _cyclegan,
    "gaugan": _gaugan,
    "distil": _distil,
    "supernet": _supernet,
    "search": _search,
    "agd": _agd,
}
