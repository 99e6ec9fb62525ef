"""How fast every recipe of the zoo trains: in float32, and in bfloat16 where the CPU computes in it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lightning_fabric import Fabric

from benchmarks.side_by_side import (
    Block,
    Budget,
    Comparison,
    compare,
    pictures_a_second,
    thread_counts,
    torch_threads,
)
from gancomp_core.data import load_task
from gancomp_core.lab.experiment import Experiment
from gancomp_core.lab.kinds import Job
from gancomp_core.lab.shipped_models import model_of, models
from gancomp_core.train import fastest_precision, linear_decay

HEADER = ("model", "threads", "fp32", "bf16", "times as fast", "steps", "fp32, all steps", "bf16, all steps")
ROUNDS = 5  # at most: there are ten recipes, and a round of the slowest takes many seconds
WARM_UP = 2  # steps at the start of a block that do not count: they allocate memory and fill caches
LEAST = 2  # steps a block measures, however slow they are


@dataclass(frozen=True)
class Speed:
    """Seconds a training picture of one recipe, one value a round; ``bf16`` is empty where the CPU lacks it."""

    name: str
    steps: int
    batch_size: int
    threads: int
    fp32: tuple[float, ...]
    bf16: tuple[float, ...]

    def cells(self) -> tuple[str, ...]:
        """A row of the table, as in ``HEADER``; the last two say how long the whole recipe would take."""
        ratio = bf16 = "-"
        if self.bf16:
            compared = Comparison(self.name, pictures_a_second, self.threads, self.bf16, self.fp32)
            *_, bf16, _, ratio = compared.cells()
        work = f"{self.steps:,} x {self.batch_size}"
        speeds = pictures_a_second(self.fp32), bf16, ratio
        return self.name, str(self.threads), *speeds, work, self._whole(self.fp32), self._whole(self.bf16)

    def _whole(self, seconds: tuple[float, ...]) -> str:
        if not seconds:
            return "-"
        return f"{self.steps * self.batch_size * statistics.median(seconds) / 60:.0f} min"


class Enough(Exception):
    """The block has lasted long enough."""


class Stopwatch:
    """A learning-rate schedule that notes when it is asked, once a step, and ends the training after ``seconds``.

    It raises :class:`Enough`: so a block lasts as long on a slow machine as on a fast one, and what a recipe does
    after its last step (GauGAN measures its BatchNorm statistics anew) takes no time from the benchmark.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds, self.clock = seconds, clock
        self.times: list[float] = []

    def __call__(self, step: int, steps: int) -> float:
        self.times.append(self.clock())
        measured = self.times[WARM_UP:]
        if len(measured) > LEAST and measured[-1] - measured[0] >= self.seconds:
            raise Enough
        return linear_decay(step, steps)

    @property
    def seconds_a_step(self) -> float:
        """Mean over the steps after the warm-up."""
        measured = self.times[WARM_UP:]
        return (measured[-1] - measured[0]) / (len(measured) - 1)


def run(budget: Budget, all_threads: bool = False) -> Iterator[Speed]:
    """Every recipe on one thread, as the zoo trains them, and with ``all_threads`` also on all that PyTorch uses."""
    for name, recipe in recipes().items():
        load_task(recipe.task)  # reading its pictures takes no time from the benchmark
        for threads in thread_counts() if all_threads else [1]:
            with torch_threads(threads):
                yield _speed(name, recipe, threads, budget)


def recipes() -> dict[str, Experiment]:
    """How each model of the zoo is trained."""
    return {name: model_of(name).experiment for name in models()}


def _speed(name: str, recipe: Experiment, threads: int, budget: Budget) -> Speed:
    rounds = min(budget.rounds, ROUNDS)
    fp32 = _block(recipe, "32-true", budget.seconds)
    if fastest_precision("cpu") == "bf16-mixed":
        found = compare(name, _block(recipe, "bf16-mixed", budget.seconds), fp32, rounds)
        seconds = found.theirs, found.ours
    else:
        fp32()  # the first round does not count, as in compare()
        seconds = tuple(fp32() for _ in range(rounds)), ()
    return Speed(name, recipe.steps, recipe.batch_size, threads, *seconds)


def _block(recipe: Experiment, precision: str, seconds: float) -> Block:
    """Trains fresh networks for about ``seconds`` on the CPU and returns the seconds a picture, whole steps counted."""
    chosen = recipe.but(precision=precision)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]

    def block() -> float:
        watch = Stopwatch(seconds)
        try:
            Job(chosen, changes={"schedule": watch, "fabric": fabric, "progress": False}).train()
        except Enough:
            pass
        return watch.seconds_a_step / recipe.batch_size

    return block
