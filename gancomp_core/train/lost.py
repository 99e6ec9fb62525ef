"""A process of a training that disappears: how the others notice, and what they say before they stop.

A process that dies closes its connections, so the next exchange fails at once. One that freezes, or whose machine loses
power, says nothing; so every process gives a sign of life each second in the store that they all met in, and stops when
another has given none for :data:`SILENCE` seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from gancomp_core.errors import GancompError

BEAT = 1.0  # seconds between two signs of life
SILENCE = 45.0  # seconds without any after which a process counts as lost


class ProcessLost(GancompError):
    """The processes of a training can no longer reach each other, because some have disappeared.

    Attributes:
        ranks: Which, as far as known.
        step: The step that could not be finished.
        checkpoint: Path of the last checkpoint, or None.
    """

    def __init__(self, ranks: list[int], count: int, step: int, checkpoint: object = None, cause: str = "") -> None:
        self.ranks, self.step, self.checkpoint = ranks, step, checkpoint
        who = f"process{'es' if len(ranks) > 1 else ''} {' and '.join(map(str, ranks))} of 0 to {count - 1} disappeared"
        what = who if ranks else "the processes lost contact"
        super().__init__(f"At step {step} {what} ({cause}), so the training stopped; {_way_out(count, checkpoint)}.")


class Stopped(GancompError):
    """The training was told to stop from outside, by SIGTERM."""

    def __init__(self, count: int, step: int, checkpoint: object = None) -> None:
        super().__init__(f"The training was told to stop (SIGTERM) at step {step}; {_way_out(count, checkpoint)}.")


def _way_out(count: int, checkpoint: object) -> str:
    if not checkpoint:
        return f"no checkpoint was written, so start it again: {_command(count)}"
    return f"{checkpoint} holds the last checkpoint, and any number of processes goes on from it: {_command(count)}"


def _command(count: int) -> str:
    """What was typed to start this process, as far as it can be known."""
    script, local = shlex.join(sys.argv), os.environ.get("LOCAL_WORLD_SIZE", str(count))
    if "LT_CLI_USED" in os.environ:
        return f"fabric run --strategy=ddp --devices={local} {script}"
    if dist.is_torchelastic_launched():
        return f"torchrun --nproc-per-node={local} {script}"
    return f"{script}, in {count} processes"


class Disconnected(Exception):
    """An exchange with other processes failed, or the launcher asked this one to stop."""


@contextlib.contextmanager
def exchanging() -> Iterator[None]:
    """What torch raises inside is :class:`Disconnected`."""
    try:
        yield
    except RuntimeError as error:
        raise Disconnected(str(error).splitlines()[0]) from error


class SignsOfLife:
    """Those that this process gives, and those of the others; from the first training of several on to the end."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count
        self.lost: Callable[[list[int]], GancompError] | None = None  # while a training runs: what to say then
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # a connection of its own: that of the process group may be waiting for something
        libuv = os.environ.get("USE_LIBUV", "1") == "1"  # torch for Windows may lack it
        store = dist.TCPStore(  # type: ignore[attr-defined]
            address, port, is_master=False, timeout=timedelta(seconds=10), use_libuv=libuv
        )
        self.store = dist.PrefixStore("gancomp", store)  # type: ignore[attr-defined]
        self.seen: dict[int, tuple[bytes, float]] = {}
        self._give()
        dist.barrier()  # from here on all have given one
        self._look()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True, name="signs of life")
        self.thread.start()
        atexit.register(self._end)

    def _end(self) -> None:
        """A thread that is in torch while Python ends would abort the process."""
        self.ended.set()
        self.thread.join(timeout=15)

    def _give(self) -> None:
        self.store.set(str(self.rank), str(time.time_ns()))

    def _look(self) -> None:
        others = [rank for rank in range(self.count) if rank != self.rank]
        for rank, sign in zip(others, self.store.multi_get([str(rank) for rank in others]), strict=True):
            if rank not in self.seen or self.seen[rank][0] != sign:
                self.seen[rank] = sign, time.monotonic()
        self.looked = time.monotonic()

    def silent(self, seconds: float) -> list[int]:
        """Who has given no sign for so long; where the store is gone, the first process, which kept it."""
        now = time.monotonic()
        if now - self.looked > seconds:
            return [0]
        return [rank for rank, (_, when) in self.seen.items() if now - when > seconds]

    def _live(self) -> None:
        while not self.ended.wait(BEAT):
            with contextlib.suppress(RuntimeError):  # the store is gone
                self._give()
                self._look()
            quiet, lost = self.silent(SILENCE), self.lost
            if quiet and lost is not None:  # the main thread may wait for them in torch, where nothing can stop it
                print(f"\nProcessLost: {lost(quiet)}", file=sys.stderr, flush=True)
                os._exit(1)


_signs: SignsOfLife | None = None


@contextlib.contextmanager
def watched(rank: int, count: int, training: Callable[[], tuple[int, object]]) -> Iterator[None]:
    """Around a training of several processes: who is lost is named, with ``training()``: its step and checkpoint.

    Raises:
        ProcessLost: Where an exchange failed.
        Stopped: Where this process was told to stop although all others live.
    """
    global _signs
    if count == 1:
        yield
        return
    with _told_to_stop() as told:
        try:
            with exchanging():
                _signs = signs = _signs or SignsOfLife(rank, count)
            signs.lost = lambda ranks: ProcessLost(ranks, count, *training(), f"silent for {SILENCE:.0f} s")
            yield
        except Disconnected as error:
            told.listens = False  # what happened is being looked into
            quiet = _missing()
            if isinstance(error, _Terminated) and not quiet:
                raise Stopped(count, *training()) from None
            raise ProcessLost(quiet, count, *training(), str(error)) from error
        finally:
            if _signs:
                _signs.lost = None


def _missing() -> list[int]:
    """Who gives no signs any more, a few beats after something went wrong."""
    if _signs is None:
        return []
    time.sleep(4 * BEAT)
    return _signs.silent(3 * BEAT)


class _Terminated(Disconnected): ...


class _Told:
    """A handler of SIGTERM, which a launcher sends to the others when one process has died."""

    listens = True

    def __call__(self, number: int, frame: Any) -> None:
        if self.listens:
            self.listens = False
            raise _Terminated("the launcher stopped the others")


@contextlib.contextmanager
def _told_to_stop() -> Iterator[_Told]:
    """Within, SIGTERM raises :class:`Disconnected`."""
    told = _Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, told)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
