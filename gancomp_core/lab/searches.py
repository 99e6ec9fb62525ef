"""Searches that were done once: of the networks in a supernet, by AGD's gradients, and at random.

Scores of sub-networks are those straight out of a supernet of the zoo. A search leaves an artifact with its row: the
frontier of the networks it evaluated, or the history of what AGD preferred. The row holds the best network, ``found``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from gancomp_core import files, zoo
from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.executors import Executor
from gancomp_core.files import Json
from gancomp_core.lab import results
from gancomp_core.lab.catalogue import planned
from gancomp_core.lab.experiment import JSON, Experiment, canonical, kind
from gancomp_core.lab.kinds import space_of
from gancomp_core.lab.networks import values_of
from gancomp_core.measure import cost, set_distance
from gancomp_core.methods import agd
from gancomp_core.methods.architecture_search import Budget, Evaluations, Frontier, SupernetScore, search
from gancomp_core.nets import (
    AgdArchitecture,
    ArchitectureSpace,
    super_resolution_supernet,
    translation_supernet,
)
from gancomp_core.train import Checkpoint, TrainConfig


@kind("search", spreads=True)
def supernet_search(
    experiment: Experiment,
    executor: Executor,
    *,
    supernet: str,
    strategy: str,
    part: Json | None = None,
    evaluations: int | None = None,
    cheaper: float = 1,
) -> Mapping[str, JSON]:
    """A search in a supernet of the zoo. Evaluations that a killed search had made are in the cache folder.

    Args:
        experiment: The experiment.
        executor: Evaluates the networks.
        supernet: Name of the supernet's model.
        strategy: As for :func:`gancomp_core.methods.architecture_search.search`.
        part: Replaces choices of the supernet's space.
        evaluations: The most networks that are evaluated.
        cheaper: The budget is the teacher's MACs divided by this.

    Returns:
        The values of its row.
    """
    chosen = SupernetSearch(experiment)
    network: Any = zoo.load(supernet).generator
    how: Json = {"pixels": chosen.pixels, "evaluations": evaluations, "seed": experiment.seed}
    scores = Evaluations(SupernetScore(network, chosen.task), executor)
    found = search(chosen.space, scores, chosen.budget, strategy, **how)
    found.to_csv(results.artifact(experiment, ".csv"))
    best = found.best_row
    return {
        "found": canonical(values_of(found.best)),
        "evaluated": len(found),
        **{name: best[name].item() for name in ("macs", "params", "score")},
    }


@dataclass(frozen=True)
class SupernetSearch:
    """What a search in a supernet is asked: in which space, for which budget, on which pictures."""

    experiment: Experiment

    @property
    def supernet(self) -> str:
        """The name of the supernet in the zoo."""
        return str(self.experiment["supernet"])

    @property
    def task(self) -> Task:
        return load_task(self.experiment.task)

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        side = zoo.card(self.supernet)["cost"]["pixels"]
        return side, side

    @property
    def space(self) -> ArchitectureSpace:
        """The part of the supernet's space that is searched."""
        part: Any = self.experiment["part"] or {}
        return space_of({**zoo.card(self.supernet)["architecture"], **part})

    @property
    def budget(self) -> Budget:
        """The MACs of the supernet's teacher by how many times cheaper the network is to be."""
        teacher = zoo.card(self.supernet)["settings"]["teacher"]
        return Budget(macs=zoo.card(teacher)["cost"]["macs"] / self.experiment["cheaper"])

    def frontier(self) -> Frontier[Any]:
        """The networks that it evaluated; raises :class:`GancompError` naming the command where it was not done."""
        path = results.artifact(self.experiment, ".csv")
        if not path.exists():
            name = self.experiment.name
            raise GancompError(f"The search '{name}' is not recorded; 'gancomp search do \"{name}\"' does it.")
        return Frontier.from_csv(path, self.space)


def supernet_search_of(name: str) -> SupernetSearch:
    """A search in a supernet by its name in the list of experiments."""
    return SupernetSearch(planned(name, "searches")[0])


def frontier(name: str) -> Frontier[Any]:
    """The frontier of a recorded search in a supernet, by its name; see :meth:`SupernetSearch.frontier`."""
    return supernet_search_of(name).frontier()


@kind("AGD search")
def agd_search(
    experiment: Experiment,
    *,
    teacher: str,
    base: int,
    cells: int,
    low: float,
    high: float,
    steps: int,
    batch_size: int,
    penalty: float = 0.05,
    on_operators: float = 0.25,
    back: bool = False,
    networks: int = 0,
) -> Mapping[str, JSON]:
    """AGD's search under a teacher of the zoo. What was done before a kill is in the cache folder.

    Args:
        experiment: The experiment.
        teacher: Name of the teacher's model.
        base: Width of the supernet.
        cells: Its number of cells.
        low: The least MACs.
        high: The most MACs.
        steps: Steps of the search.
        batch_size: Pictures in a step.
        penalty: As in :class:`gancomp_core.methods.agd.Controller`.
        on_operators: Likewise.
        back: Whether to search for the way back of a CycleGAN.
        networks: Instead of searching, train and score this many random networks of the same range: what the search has
            to beat.

    Returns:
        The values of its row.
    """
    chosen = AgdSearch(experiment)
    experiment.folder.mkdir(parents=True, exist_ok=True)
    minutes = chosen.try_at_random(networks) if networks else chosen.descend()
    found = chosen.architecture
    return {"found": canonical(values_of(found)), "macs": chosen.macs(found), "minutes": minutes}


@dataclass(frozen=True)
class AgdSearch:
    """What a search of AGD is asked, and what came of it."""

    experiment: Experiment

    @property
    def task(self) -> Task:
        there = load_task(self.experiment.task)
        return there.reversed() if self.experiment["back"] else there

    @property
    def teacher(self) -> nn.Module:
        models = zoo.load(str(self.experiment["teacher"])).models
        return models["backward_generator" if self.experiment["back"] else "generator"]

    @property
    def side(self) -> int:
        """Height and width of the pictures that go in."""
        return self.task.size // self.task.scale

    @property
    def space(self) -> AgdArchitecture:
        """The supernet that is searched."""
        task, base, cells = self.task, self.experiment.whole("base"), self.experiment.whole("cells")
        if task.scale > 1:
            return super_resolution_supernet(base, cells, channels=task.source_channels)
        return translation_supernet(base, cells, task.source_channels, task.target_channels)

    @property
    def controller(self) -> agd.Controller:
        low, high, penalty, on_operators = (
            float(self.experiment[name])  # type: ignore[arg-type]
            for name in ("low", "high", "penalty", "on_operators")
        )
        return agd.Controller(low, high, penalty, on_operators)

    @property
    def config(self) -> TrainConfig:
        return TrainConfig(self.experiment.steps, self.experiment.batch_size, self.experiment.seed)

    def macs(self, network: AgdArchitecture) -> int:
        """What a network multiplies for one picture."""
        return cost(network, self.side, self.side).macs

    def descend(self) -> float:
        """Search by gradients and write the history; the minutes that it took."""
        given = (self.task, self.teacher, self.space, self.config, self.controller)
        found = agd.search(*given, callbacks=[Checkpoint(self.experiment.folder / "search.ckpt")])
        history = found.history.astype({"probability": "float32", "price": "float32"})
        with files.atomic_write(self.path) as temporary:
            history.to_parquet(temporary, index=False, compression="zstd")
        return round(found.seconds / 60, 1)

    def try_at_random(self, networks: int) -> float:
        """Train and score networks drawn at random, and write them; the minutes that it took."""
        kept, bounds = self.experiment.folder / "tried.csv", self.controller
        table = agd.MacTable(self.space, self.side, self.side)
        tried = pd.read_csv(kept) if kept.exists() else pd.DataFrame(columns=["network", "macs", "minutes", "distance"])
        for network in agd.random_architectures(table, bounds.low, bounds.high, networks):
            if str(network) in set(tried.network):
                continue
            trained = agd.train_derived(self.task, network, self.config, teacher=self.teacher)
            distance = set_distance(trained.averaged["generator"], self.task, split="search")
            tried.loc[len(tried)] = [str(network), self.macs(network), trained.seconds / 60, distance]
            for path in (kept, self.path) if len(tried) == networks else (kept,):
                with files.atomic_write(path) as temporary:
                    tried.to_csv(temporary, index=False)
        return float(tried.minutes.sum())

    @property
    def path(self) -> Path:
        """Of the artifact."""
        return results.artifact(self.experiment, ".csv" if self.experiment["networks"] else ".parquet")

    @cached_property
    def history(self) -> pd.DataFrame:
        """What was preferred at each step, as :meth:`gancomp_core.methods.agd.PriceControl.history` says it.

        Of a search at random a row for each network: ``network``, ``macs``, ``minutes``, and the ``distance`` on the
        search split.
        """
        try:
            file = io.BytesIO(self.path.read_bytes())
            return pd.read_csv(file) if self.experiment["networks"] else pd.read_parquet(file)
        except (OSError, ValueError) as error:
            name = self.experiment.name
            raise GancompError(
                f"The search '{name}' is not recorded, or {self.path} is damaged; 'gancomp agd do \"{name}\"' does it."
            ) from error

    @property
    def row(self) -> Json:
        """Its row in the table of results: "minutes", "machine" and so on."""
        return results.row(self.experiment.key) or {}

    @cached_property
    def architecture(self) -> AgdArchitecture:
        """The network that it found."""
        history, space = self.history, self.space
        if not self.experiment["networks"]:
            return agd.settled(space, history, self.controller)
        best = history.network[history.distance.idxmin()]
        return AgdArchitecture.parse(space.kind, best, space.in_channels, space.out_channels)


def agd_searches_of(name: str) -> list[AgdSearch]:
    """The searches of AGD by their name in the list of experiments, one a seed."""
    return [AgdSearch(each) for each in planned(name, "agd")]


def agd_search_of(name: str) -> AgdSearch:
    """A search of AGD by its name in the list of experiments; the first, where it has several seeds."""
    return agd_searches_of(name)[0]
