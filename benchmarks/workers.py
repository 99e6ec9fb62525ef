"""Work shared out among processes: two workers against one, each with one thread, on the same parts."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from unittest import mock

from benchmarks.side_by_side import Budget, Comparison, compare, torch_threads
from benchmarks.supernets import shoes_space
from gancomp_core import zoo
from gancomp_core.data import load_task
from gancomp_core.executors import Executor, local_workers
from gancomp_core.files import scratch
from gancomp_core.lab import Experiment, planned
from gancomp_core.lab.recording import make_row
from gancomp_core.methods.architecture_search import Evaluations, SupernetScore
from gancomp_core.methods.once_for_all import warm_start

HEADER = ("what", "threads of a worker", "two workers", "one worker", "times as fast")
ROUNDS = 3  # of a minute and more


def run(budget: Budget) -> Iterator[Comparison]:
    """Both clusters are up during all rounds, and everything is loaded in the first one, which does not count."""
    with scratch() as folder, mock.patch.dict(os.environ, GANCOMP_CACHE=str(folder)):
        with torch_threads(1), local_workers(2, threads=1) as two, local_workers(1, threads=1) as one:
            yield from compared(two, one, budget)


def compared(two: Executor, one: Executor, budget: Budget, steps: int = 300) -> Iterator[Comparison]:
    """Scores of networks and recorded runs, by each executor."""
    networks, pictures, rounds = max(2, budget.pictures // 100), budget.pictures // 2, min(budget.rounds, ROUNDS)
    sides = _scoring(two, networks, pictures), _scoring(one, networks, pictures)
    yield compare(f"the scores of {networks} networks, {pictures} pictures each", *sides, rounds)
    runs = max(2, budget.pictures // 250)
    seeds = itertools.count(1000)
    trainings = _training(two, runs, steps, seeds), _training(one, runs, steps, seeds)
    yield compare(f"{runs} runs of {steps} steps, with their scores", *trainings, rounds)


def _scoring(executor: Executor, count: int, pictures: int) -> Callable[[], float]:
    """Evaluates the same networks of the supernet of edges2shoes again and again: seconds a network."""
    space, task = shoes_space(), load_task("edges2shoes")
    score = SupernetScore(warm_start(space, zoo.load("edges2shoes/teacher").generator), task, pictures)
    networks = [space.sample(random.Random(number)) for number in range(count)]

    def block() -> float:
        began = time.perf_counter()
        Evaluations(score, executor, cache=False)(networks)
        return (time.perf_counter() - began) / count

    return block


def _training(executor: Executor, count: int, steps: int, seeds: Iterator[int]) -> Callable[[], float]:
    """Does runs with new seeds, which no block did before: seconds a run."""
    plain = planned("edges2shoes/plain")[0].but(steps=steps)

    def block() -> float:
        experiments = [_seeded(plain, next(seeds)) for _ in range(count)]
        began = time.perf_counter()
        for _ in executor.map_unordered(make_row, experiments):
            pass
        return (time.perf_counter() - began) / count

    return block


def _seeded(experiment: Experiment, seed: int) -> Experiment:
    about = {name: getattr(experiment, name) for name in ("name", "kind", "task", "spec")}
    return Experiment(**about, seed=seed)
