"""Where long work is done: in this process, in processes of this machine, or by the workers of a dask cluster.

Work that consists of parts which do not need each other (the networks of a generation, the runs of a plan) asks an
:class:`Executor` to do all of them. Every executor gives the same results; they differ in where, and how many at once.
A worker that dies costs the parts it was working on: they are done again elsewhere.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gancomp_core.errors import GancompError, at_least, shown

Item = TypeVar("Item")
Result = TypeVar("Result")

LOOPBACK = "127.0.0.1"
SECONDS = 30  # to wait for the answer of a scheduler
#: How libraries are told the number of their threads before they are loaded.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

log = logging.getLogger("gancomp")


class Executor(Protocol):
    """Applies a function to many items."""

    def map_unordered(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """The place of an item, counted from 0, and its result, in the order in which results become known.

        Args:
            function: What is done to an item. Other processes get it, the items and the results as pickles, and an item
                whose worker died may be done a second time.
            items: The items.

        Yields:
            Place and result, each item once.

        Raises:
            GancompError: When workers died again and again over one item.
            Exception: The first error of ``function``; items that were not begun are left.
        """
        ...


class InThisProcess:
    """One item after the other, here."""

    def map_unordered(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """See :class:`Executor`; the order is that of the items."""
        for place, item in enumerate(items):
            yield place, function(item)


@dataclass(frozen=True)
class Pool:
    """Threads or processes of the standard library, which end with the first process that dies."""

    pool: futures.Executor

    def map_unordered(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """See :class:`Executor`."""
        places = {self.pool.submit(function, item): place for place, item in enumerate(items)}
        try:
            for done in futures.as_completed(places):
                yield places[done], done.result()
        finally:
            for future in places:
                future.cancel()


@dataclass(frozen=True)
class Cluster:
    """The workers of a dask cluster, by a ``dask.distributed.Client`` that is connected to it."""

    client: Any

    def map_unordered(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """See :class:`Executor`. The function travels to each worker once, and results come back as they are made."""
        dask = _dask()
        with _large_graphs():
            held = self.client.submit(_itself, function, pure=False)  # a task and not scattered: survives every worker
        waiting = self.client.map(_applied, items, function=held, pure=False)
        places = {future.key: place for place, future in enumerate(waiting)}
        try:
            for done, result in dask.as_completed(waiting, with_results=True):
                yield places[done.key], result
                done.release()
        except dask.KilledWorker as error:
            raise GancompError(
                f"Workers died {error.allowed_failures + 1} times over the same piece of work, the last at "
                f"{error.last_worker.address}; look for the reason in its log (often memory: use fewer workers), then "
                "run the same command again, which keeps what is finished."
            ) from error
        finally:
            self.client.cancel([held, *waiting])


def executor_of(given: Executor | futures.Executor | None) -> Executor:
    """What does the work: this process for None, and an executor of ``concurrent.futures`` in its :class:`Pool`."""
    if given is None:
        return InThisProcess()
    return Pool(given) if isinstance(given, futures.Executor) else given


@contextlib.contextmanager
def local_workers(workers: int = 2, threads: int | None = None) -> Iterator[Cluster]:
    """A cluster of processes on this machine; it ends with the block, and a worker that dies is replaced.

    Its ports are those of this machine alone, and answer nothing but this cluster's own certificate.

    Args:
        workers: Number of processes.
        threads: Threads of each; None shares the cores out among them.

    Yields:
        The executor.

    Raises:
        GancompError: Without dask, and for numbers below 1.
    """
    at_least(1, workers, "The number of workers", "one for each core is usual")
    each = at_least(1, threads or max(1, cores() // workers), "The number of threads", "None shares the cores out")
    dask = _dask()
    how: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": 1,  # one piece of work at a time; `each` counts those that compute
        "host": LOOPBACK,
        "protocol": "tls://",
        "security": _own_certificate(dask),
        "dashboard_address": f"{LOOPBACK}:0",
        "worker_dashboard_address": f"{LOOPBACK}:0",
        "memory_limit": 0,  # dask would end workers that it thinks too large
        "silence_logs": logging.ERROR,
    }
    with _environment(each), dask.LocalCluster(**how) as cluster, dask.Client(cluster) as client:
        log.info("%d workers of %d threads; dashboard at %s", workers, each, client.dashboard_link)
        yield Cluster(client)


@contextlib.contextmanager
def cluster_at(scheduler: str) -> Iterator[Cluster]:
    """The workers that are, or will be, connected to a dask scheduler; they stay when the block ends.

    Args:
        scheduler: Its address, such as ``tcp://host:8786``, or ``tls://host:8786`` with certificates in dask's
            configuration.

    Yields:
        The executor.

    Raises:
        GancompError: Without dask, and where no scheduler answers.
    """
    dask = _dask()
    try:
        client = dask.Client(scheduler, timeout=SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise GancompError(
            f"No dask scheduler answers at '{shown(scheduler)}'; 'dask scheduler --host 127.0.0.1' starts one and "
            "prints its address."
        ) from error
    with client:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        log.info("%d workers at %s%s", workers, scheduler, "" if workers else ": the work waits for the first")
        yield Cluster(client)


@contextlib.contextmanager
def chosen(workers: int | None = None, scheduler: str | None = None) -> Iterator[Executor]:
    """The executor that a user chose by a number of local workers or by the address of a scheduler; else this process.

    Raises:
        GancompError: As for :func:`local_workers` and :func:`cluster_at`, and for both at once.
    """
    if workers is not None and scheduler is not None:
        raise GancompError("Workers of this machine and a scheduler exclude each other; choose one of them.")
    if scheduler is not None:
        with cluster_at(scheduler) as cluster:
            yield cluster
    elif workers is not None:
        with local_workers(workers) as cluster:
            yield cluster
    else:
        yield InThisProcess()


def _itself(function: Callable[[Item], Result]) -> Callable[[Item], Result]:
    return function


def _applied(item: Item, function: Callable[[Item], Result]) -> Result:
    return function(item)


def _dask() -> Any:
    try:
        return importlib.import_module("dask.distributed")
    except ImportError as error:
        raise _missing() from error


def _own_certificate(dask: Any) -> Any:
    """A key for these processes alone, in memory: the ports of a machine are open to all of its users."""
    try:
        return dask.Security.temporary()
    except ImportError as error:
        raise _missing() from error


def _missing() -> GancompError:
    return GancompError(
        "Workers are processes of dask, of which something is not installed here; "
        "'pip install \"dask[distributed]>=2025.1\" cryptography' adds it."
    )


def _large_graphs() -> Any:
    """dask warns of functions as large as a supernet; sent once, they are what is wanted."""
    return importlib.import_module("dask").config.set({"distributed.admin.large-graph-warning-threshold": "4GiB"})


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What workers that start in the block, also those that replace others, are told of their number of threads.

    dask hands these variables on, and writes them into the environment of this process, too.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
