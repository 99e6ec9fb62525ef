"""What choosing costs: a step of an AGD search, against a step of the fixed widest network by the same recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.side_by_side import Budget, Comparison, compare, pictures_a_second, thread_counts, torch_threads
from gancomp_core.data import Task, load_task
from gancomp_core.lab import agd_search_of
from gancomp_core.methods import agd
from gancomp_core.nets import AgdArchitecture
from gancomp_core.train import TrainConfig
from gancomp_core.zoo import load

HEADER = ("what", "threads", "search", "fixed widest network", "times as fast")
BATCH_SIZE = 8
SHOES = "edges2shoes_unpaired"


def run(budget: Budget) -> Iterator[Comparison]:
    """Pictures a second of the search that the course records, and of its widest network."""
    for threads in thread_counts():
        with torch_threads(threads):
            yield _compare(budget)


def _compare(budget: Budget) -> Comparison:
    task, teacher = load_task(SHOES), load(f"{SHOES}/teacher").generator
    agd.pictures_with_teacher(task, teacher)  # paints the teacher's pictures, once and not in a step
    steps = max(4, int(4 * budget.seconds))

    def search() -> float:
        chosen, config = agd_search_of(SHOES), TrainConfig(steps, BATCH_SIZE, progress=False)
        found = agd.search(task, teacher, chosen.space, config, replace(chosen.controller, warm_up=0.0))
        return found.seconds / (steps * BATCH_SIZE)

    def fixed() -> float:
        config = TrainConfig(2 * steps, BATCH_SIZE, progress=False)
        trained = agd.train_derived(task, widest(task), config, teacher=teacher)
        return trained.seconds / (2 * steps * BATCH_SIZE)

    return compare("edges2shoes_unpaired, 32 px, batch 8", search, fixed, budget.rounds, pictures_a_second)


def widest(task: Task) -> AgdArchitecture:
    """The costliest network of the search's space."""
    space = agd_search_of(SHOES).space
    table = agd.MacTable(space, task.size, task.size)
    dearest = [int(each[:, -1, -1].argmax()) for each in table.tables]
    return space.chosen(dearest, [len(layer.widths) - 1 for layer in space.layers])
