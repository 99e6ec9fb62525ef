"""Work on coming steps by background threads, so that a training, or a GPU, does not wait for pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Generic, TypeVar

T = TypeVar("T")
THREADS = min(8, os.cpu_count() or 1)  # libjpeg, zlib and Pillow's resizing let other threads run
STEPS = 2 * THREADS  # that are worked on, or ready and waiting


class Ahead(Generic[T]):
    """``make(step, rank, world)``, called before it is asked for when steps are asked for one after the other.

    The answer is the same; ``make`` must be a pure function that several threads may call. An error is raised where
    its step is asked for.
    """

    def __init__(self, make: Callable[[int, int, int], T]) -> None:
        self.make = make
        self._coming: dict[tuple[int, int, int], Future[T]] = {}
        self._last = -2

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, thread_name_prefix="pictures")

    def __call__(self, step: int, rank: int, world: int) -> T:
        in_turn, self._last = step == self._last + 1, step
        wanted = [(step + more, rank, world) for more in range(STEPS + 1 if in_turn else 1)]
        for key in self._coming.keys() - set(wanted):
            self._coming.pop(key).cancel()
        for key in wanted[1:]:
            if key not in self._coming:
                self._coming[key] = self._threads.submit(self.make, *key)
        coming = self._coming.pop(wanted[0], None)
        return coming.result() if coming else self.make(*wanted[0])

    def __reduce__(self) -> tuple[type[Ahead[T]], tuple[Callable[[int, int, int], T]]]:
        return Ahead, (self.make,)  # copies begin without threads
