"""What the benchmark compares: for each task its teacher and every method that applies, as queries over experiments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.lab import added, results
from gancomp_core.lab.catalogue import LIST, SIZES, Query, names, planned, whole
from gancomp_core.lab.experiment import Experiment, key_of
from gancomp_core.lab.networks import values_of
from gancomp_core.lab.recording import architecture, steps_of
from gancomp_core.nets import Architecture

TEACHER = "teacher"
COMBINED = "searched, fine-tuned by high bands"
BEGUN = "begun with the teacher's channels"
TASKS = tuple(LIST["benchmark"])
#: For each task the row with the fewest multiplications that learned from its teacher.
HEADLINES: dict[str, str] = LIST["headlines"]


@dataclass(frozen=True)
class Row:
    """A row of the benchmark: experiments that differ in their seed, or one model of the zoo.

    As many of them are scored in int8 as ``int8`` says.
    """

    task: str
    label: str
    experiments: tuple[Experiment, ...]
    int8: int = 3

    @property
    def shipped(self) -> bool:
        """Whether it is a model of the zoo, or cut from one."""
        return self.experiments[0].kind == "shipped"

    @cached_property
    def architecture(self) -> Architecture:
        """That of all its networks."""
        return architecture(self.experiments[0])

    @cached_property
    def network(self) -> str:
        """What a time depends on, the machine aside: the architecture and the size of the picture, as a key."""
        return key_of([values_of(self.architecture), SIZES[self.task]])

    @property
    def steps(self) -> int:
        """Of the training that ended in these weights."""
        return steps_of(self.experiments[0])


def rows(task: str) -> list[Row]:
    """The rows of a task, the teacher first; raises :class:`GancompError` with the list of tasks."""
    if task not in TASKS:
        raise GancompError(f"The benchmark has no task '{task}'; choose one of {', '.join(TASKS)}.")
    return list(_rows(task, (results.state(), added.state())))


@lru_cache
def _rows(task: str, state: object) -> tuple[Row, ...]:
    shipped = (_row(task, label, dict(query)) for label, query in LIST["benchmark"][task].items())
    return (*shipped, *(Row(task, each.name, each.experiments) for each in added.methods(task)))


def _row(task: str, label: str, query: Json) -> Row:
    int8 = query.pop("int8", 3)
    if "model" in query:
        of = [Experiment(name=label, kind="shipped", task=task, spec=whole(query, task))]
    else:
        of = Query(query.pop("runs"), query).experiments()
    return Row(task, label, tuple(of), int8)


def row(task: str, label: str) -> Row:
    """A row by its label; raises :class:`GancompError` with the labels."""
    found = {each.label: each for each in rows(task)}
    if label not in found:
        raise GancompError(f"The benchmark of {task} has no row '{label}'; choose one of {', '.join(found)}.")
    return found[label]


def member(key: str) -> Experiment:
    """The experiment of this key among those of the benchmark and the rivals; :class:`GancompError` without one."""
    rivals = (experiment for name in names("rivals") for experiment in planned(name, "rivals"))
    for experiment in (*(found for task in TASKS for each in rows(task) for found in each.experiments), *rivals):
        if experiment.key == key:
            return experiment
    raise GancompError(f"No network of the benchmark has the key {key[:16]}; 'gancomp benchmark list' shows its rows.")
