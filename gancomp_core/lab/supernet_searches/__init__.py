"""Searches that the course tells of, done once and kept as tables.

    gancomp search list
    gancomp search do  # all of them
    gancomp search do "edges2shoes/small space"

Scores are those of sub-networks straight out of a supernet of the zoo. The tables lie in ``data/results/searches``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from gancomp_core import files, zoo
from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.measure import cost
from gancomp_core.methods.architecture_search.budget import Budget
from gancomp_core.methods.architecture_search.frontier import Frontier
from gancomp_core.methods.architecture_search.running import search
from gancomp_core.methods.architecture_search.scores import SupernetScore
from gancomp_core.nets import ArchitectureSpace, SearchSpace


@dataclass(frozen=True)
class RecordedSearch:
    """A search in the part of a supernet's space that ``part`` takes of it, for a teacher's MACs by ``cheaper``."""

    supernet: str
    part: Callable[[ArchitectureSpace], ArchitectureSpace]
    strategy: str
    evaluations: int | None = None
    cheaper: float = 1
    seed: int = 0

    @property
    def space(self) -> ArchitectureSpace:
        return self.part(_space(self.supernet, zoo.card(self.supernet)["files"]["generator.safetensors"]))

    @property
    def task(self) -> Task:
        return load_task(zoo.card(self.supernet)["task"])

    @property
    def pixels(self) -> tuple[int, int]:
        return self.task.size, self.task.size

    @property
    def budget(self) -> Budget:
        teacher: Any = zoo.load(zoo.card(self.supernet)["settings"]["teacher"]).generator
        return Budget(macs=cost(teacher, *self.pixels).macs / self.cheaper)


@lru_cache
def _space(supernet: str, digest: str) -> ArchitectureSpace:
    """A supernet's space; unpacking one takes a tenth of a second. ``digest`` tells other weights of that name."""
    generator: Any = zoo.load(supernet).generator
    space: ArchitectureSpace = generator.space
    return space


def _small(space: ArchitectureSpace) -> ArchitectureSpace:
    two = (16, 8)
    return replace(
        space, channels=SearchSpace(((16,), two, (16, 12, 8), two, two, two, two, two)), depths=(3, 6), separable=()
    )


def _dense(space: ArchitectureSpace) -> ArchitectureSpace:
    return replace(space, separable=())


def _whole(space: ArchitectureSpace) -> ArchitectureSpace:
    return space


#: The budgets of the course: the teacher's MACs by these.
CHEAPER = {"edges2shoes": (6, 9, 13, 20, 30), "flat2gloss": (4, 8, 12)}
SEARCHES = {
    "edges2shoes/small space": RecordedSearch("edges2shoes/supernet", _small, "brute force"),
    "edges2shoes/both kinds": RecordedSearch("edges2shoes/supernet", _whole, "random", 300),
} | {
    f"{task}/{times} times cheaper": RecordedSearch(f"{task}/supernet", _dense, "evolution", 50, times)
    for task, budgets in CHEAPER.items()
    for times in budgets
}


def recorded(name: str) -> Frontier[Any]:
    """A search that was done, by its name; raises :class:`GancompError` naming the command where it was not."""
    chosen, path = _chosen(name), _path(name)
    if not path.exists():
        raise GancompError(f"The search '{name}' is not recorded; 'gancomp search do \"{name}\"' does it.")
    return Frontier.from_csv(path, chosen.space)


def do(name: str) -> Frontier[Any]:
    """Do a search and record it; evaluations that a killed one had made are kept in the cache folder."""
    chosen = _chosen(name)
    supernet: Any = zoo.load(chosen.supernet).generator
    how: dict[str, Any] = {"pixels": chosen.pixels, "evaluations": chosen.evaluations, "seed": chosen.seed}
    found = search(chosen.space, SupernetScore(supernet, chosen.task), chosen.budget, chosen.strategy, **how)
    _path(name).parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(_path(name))
    return found


def _chosen(name: str) -> RecordedSearch:
    if name not in SEARCHES:
        raise GancompError(f"There is no search '{name}'; choose one of {', '.join(SEARCHES)}.")
    return SEARCHES[name]


def _path(name: str) -> Path:
    return files.data_root() / "results" / "searches" / f"{name.replace('/', '-').replace(' ', '_')}.csv"
