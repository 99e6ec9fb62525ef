"""Two ways to do the same work, timed in turn (A B, B A, A B ...), so that a machine that slows down slows both."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

Block = Callable[[], float]
"""Does a piece of work and returns the seconds it took for each item."""


@dataclass(frozen=True)
class Budget:
    """How long to measure: ``rounds`` blocks of about ``seconds`` a side; ``pictures`` in each set of the distance."""

    rounds: int
    seconds: float
    pictures: int


FULL = Budget(rounds=7, seconds=1.0, pictures=1000)
QUICK = Budget(rounds=3, seconds=0.2, pictures=100)


def duration(seconds: Sequence[float]) -> str:
    """Median and range in microseconds, milliseconds or seconds, whichever suits the median."""
    middle = statistics.median(seconds)
    factor, unit = next(
        scale for scale in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if middle * scale[0] >= 1 or scale[0] == 1e6
    )
    return _spread([factor * each for each in seconds], unit)


def pictures_a_second(seconds: Sequence[float]) -> str:
    """Median and range as pictures a second."""
    return _spread([1 / each for each in seconds], "pictures/s")


@dataclass(frozen=True)
class Comparison:
    """Seconds an item of both sides, one value a round; values of the same round were measured next to each other."""

    what: str
    show: Callable[[Sequence[float]], str]
    threads: int
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as fast ours was, in each round."""
        return tuple(plain / own for own, plain in zip(self.ours, self.theirs, strict=True))

    def cells(self) -> tuple[str, ...]:
        """A row of the table: what, threads, ours, plain, ratio; medians, with the smallest and largest in brackets."""
        return self.what, str(self.threads), self.show(self.ours), self.show(self.theirs), _spread(self.ratios, "x")


def compare(
    what: str, ours: Block, theirs: Block, rounds: int, show: Callable[[Sequence[float]], str] = duration
) -> Comparison:
    """Run both blocks ``rounds`` times by turns, after one round of warm-up that does not count."""
    ours(), theirs()
    found: dict[Block, list[float]] = {ours: [], theirs: []}
    for turn in range(rounds):
        for block in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
            found[block].append(block())
    return Comparison(what, show, torch.get_num_threads(), tuple(found[ours]), tuple(found[theirs]))


def repeated(work: Callable[[], object], seconds: float, items: int = 1) -> Block:
    """A block that calls ``work`` as often as fits into ``seconds`` (at least once); each call does ``items`` items."""
    # two trials, for the first call may be the one that fills caches
    calls = max(1, int(seconds / min(_timed(work), _timed(work)))) if seconds else 1

    def block() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            work()
        return (time.perf_counter() - started) / (calls * items)

    return block


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return max(time.perf_counter() - started, 1e-9)


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch limited to so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def thread_counts() -> list[int]:
    """One thread, and all that PyTorch would use here."""
    return sorted({1, torch.get_num_threads()})


def _spread(values: Sequence[float], unit: str) -> str:
    low, middle, high = (_short(each) for each in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit} ({low}-{high})" if len(values) > 1 else f"{middle} {unit}"


def _short(value: float) -> str:
    """Three digits, and no scientific notation: 12,300  123  12.3  0.0123."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:#.3g}".rstrip(".")
