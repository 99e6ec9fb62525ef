"""Work shared out among real processes of dask: the same results, whoever dies, behind closed ports."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import dask.distributed
import pandas as pd
import psutil
import pytest
import torch

from factories import negative_task, refused, resnet
from gancomp_core import errors, executors
from gancomp_core.cli import main
from gancomp_core.executors import (
    Cluster,
    Executor,
    InThisProcess,
    Pool,
    chosen,
    cluster_at,
    executor_of,
    local_workers,
)
from gancomp_core.files import data_root
from gancomp_core.lab import PROTOCOLS, Experiment, catalogue, kinds, record_all, recording, results
from gancomp_core.methods.architecture_search import Budget, Evaluations, SupernetScore, search
from gancomp_core.nets import ArchitectureSpace, SearchSpace, build

LOOPBACK = {"127.0.0.1", "::1"}
OF_THE_RUN = ["minutes", "when", "commit"]  # what no two runs share
SPACE = ArchitectureSpace(resnet(), SearchSpace(((8,), *((8, 4),) * 6, (8,))))
#: Where real work is slow: a quick protocol, few pictures, checkpoints at once, and a note of who does what.
QUICK = """
import dataclasses, functools, os
from gancomp_core.data import PictureSet, load_task
from gancomp_core.lab import PROTOCOLS, kinds, recording


def few(pictures):
    return PictureSet(pictures.sources[:24], pictures.targets[:24])


def quickly(train, checkpoint):
    def noted(experiment):
        def note(what):
            with open(os.environ["NOTES"], "a") as file:
                file.write(f"{what} {experiment.key} {os.getpid()}\\n")

        note("begins")
        found = train(experiment)
        note("ends")
        return found

    whole = load_task("edges2shoes")
    task = dataclasses.replace(whole, **{name: few(getattr(whole, name)) for name in ("train", "search", "test")})
    recording.load_task = kinds.load_task = lambda name: task
    recording.Checkpoint = functools.partial(checkpoint, seconds=0.05)
    recording._trained = noted
    quick = {"batch_size": 2, "evaluations": 2, "evaluation_seeds": (0,)}
    PROTOCOLS["edges2shoes"] = dataclasses.replace(PROTOCOLS["edges2shoes"], **quick)


if recording._trained.__name__ != "noted":  # dask reads it twice
    quickly(recording._trained, recording.Checkpoint)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with local_workers(2, threads=1) as started:
        yield started


def threads(_: int) -> tuple[int, int]:
    return torch.get_num_threads(), os.getpid()


# ---- every executor does the same ------------------------------------------------------------------------------------


def test_every_executor_gives_each_result_once_with_its_place(cluster: Cluster) -> None:
    expected = [(place, math.isqrt(number)) for place, number in enumerate(range(0, 200, 10))]
    with ThreadPoolExecutor(2) as threads:
        for executor in (InThisProcess(), Pool(threads), cluster):
            assert sorted(executor.map_unordered(math.isqrt, range(0, 200, 10))) == expected
            assert list(executor.map_unordered(math.isqrt, [])) == []
        assert executor_of(threads) == Pool(threads)
    assert executor_of(cluster) is cluster
    assert isinstance(executor_of(None), InThisProcess)


def test_an_error_of_a_worker_is_the_error_of_the_work(cluster: Cluster) -> None:
    at_least_five = functools.partial(errors.at_least, 5, what="A number", hint="6 is usual")
    with refused("A number is a whole number from 5, not 1; 6 is usual"):
        list(cluster.map_unordered(at_least_five, [1]))
    assert list(cluster.map_unordered(at_least_five, [7])) == [(0, 7)]


def test_workers_keep_to_their_threads(cluster: Cluster) -> None:
    told = [found for _, found in cluster.map_unordered(threads, range(8))]
    assert {count for count, _ in told} == {1}
    assert os.getpid() not in {process for _, process in told}


def the_frontier(executor: Executor | None) -> pd.DataFrame:
    """Of a search by evolution, two generations of it."""
    budget = Budget(macs=0.9 * SPACE.widest.cost(16, 16).macs)
    scores = Evaluations(SupernetScore(build(SPACE, 0), negative_task(), pictures=16), executor, cache=False)
    return search(SPACE, scores, budget, pixels=(16, 16), evaluations=12, seed=1).table


@pytest.fixture(scope="module")
def frontier_of_one_process() -> pd.DataFrame:
    """By two threads, though workers have one: that changes nothing."""
    with torch_threads(2):
        return the_frontier(None)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def test_two_workers_find_the_frontier_of_one_process_to_the_bit(
    cluster: Cluster, frontier_of_one_process: pd.DataFrame
) -> None:
    pd.testing.assert_frame_equal(the_frontier(cluster), frontier_of_one_process, check_exact=True)


# ---- a worker that dies ----------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Killing:
    """A cluster one of whose workers is killed once ``when`` names the number of its process."""

    cluster: Cluster
    when: Callable[[], int | None]
    killed: int | None = None

    def map_unordered(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for found in self.cluster.map_unordered(function, items):
            yield found
            if self.killed is None and (process := self.when()):
                self.killed = process
                psutil.Process(process).kill()


def test_a_worker_killed_half_way_changes_no_frontier(cluster: Cluster, frontier_of_one_process: pd.DataFrame) -> None:
    [(_, (_, worker))] = cluster.map_unordered(threads, [0])
    killing = Killing(cluster, lambda: worker)
    found = the_frontier(killing)
    assert worker == killing.killed
    assert worker not in {process for _, (_, process) in cluster.map_unordered(threads, range(8))}
    pd.testing.assert_frame_equal(found, frontier_of_one_process, check_exact=True)


def test_work_that_kills_every_worker_is_given_up_in_a_sentence(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.client.cluster.scheduler, "allowed_failures", 0)  # 3 are usual, of seconds each
    with refused("Workers died 1 times over the same piece of work, .* run the same command again"):
        list(cluster.map_unordered(os._exit, [1]))
    assert sorted(cluster.map_unordered(math.isqrt, [4, 9])) == [(0, 2), (1, 3)]


# ---- recorded runs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results, cache and notes of the test's own; workers that are started now, and this process, work quickly."""
    (tmp_path / "quick.py").write_text(QUICK)
    (tmp_path / "data").mkdir()
    for name in ("edges2shoes", "features", "zoo"):
        (tmp_path / "data" / name).symlink_to(data_root() / name, target_is_directory=True)
    for variable, name in (("GANCOMP_DATA", "data"), ("GANCOMP_CACHE", "cache"), ("NOTES", "notes")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setitem(PROTOCOLS, "edges2shoes", PROTOCOLS["edges2shoes"])
    for name in ("load_task", "_trained", "Checkpoint"):
        monkeypatch.setattr(recording, name, getattr(recording, name))
    monkeypatch.setattr(kinds, "load_task", kinds.load_task)
    exec(QUICK, {})
    plan = {"kind": "plain", "network": {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}, "steps": 60, "seeds": 4}
    monkeypatch.setitem(catalogue.LIST["runs"], "edges2shoes/tiny", plan)
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as the workers have: with another number of threads a training rounds differently."""
    with torch_threads(1):
        yield


def noted(store: Path) -> list[list[str]]:
    """What is done, the key of the run, the process."""
    path = store / "notes"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def compared() -> pd.DataFrame:
    table = results.rows().sort_values("key", ignore_index=True)
    return table.drop(columns=OF_THE_RUN).sort_index(axis=1)


def alone(store: Path, monkeypatch: pytest.MonkeyPatch, experiments: Sequence[Experiment]) -> pd.DataFrame:
    """The table of one process that nobody killed."""
    (store / "data/results/results.parquet").unlink()
    monkeypatch.setenv("GANCOMP_CACHE", str(store / "fresh"))
    record_all(experiments)
    return compared()


@pytest.mark.usefixtures("one_thread")
def test_a_worker_killed_half_way_through_a_plan_costs_nothing_that_was_finished(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments, recorded = catalogue.planned("edges2shoes/tiny"), {}

    def in_the_middle() -> int | None:
        """A process whose run has a checkpoint and is not done."""
        recorded.update(results.rows().set_index("key")["when"])
        folders = {each.key: each.folder for each in experiments}
        while True:
            begun = {key: int(process) for what, key, process in noted(store) if what == "begins"}
            running = begun.keys() - {key for what, key, _ in noted(store) if what == "ends"}
            kept = [begun[key] for key in running if (folders[key] / "training.ckpt").exists()]
            if kept or not running:
                return kept[0] if kept else None
            time.sleep(0.02)

    with dask.config.set({"distributed.worker.preload": [str(store / "quick.py")]}):
        with local_workers(2, threads=1) as cluster:
            killing = Killing(cluster, in_the_middle)
            record_all(experiments, killing)
    notes = noted(store)
    assert 1 <= len(recorded) < len(experiments)
    assert results.rows().set_index("key")["when"][list(recorded)].to_dict() == recorded
    assert sorted(key for what, key, _ in notes if what == "ends") == sorted(each.key for each in experiments)
    assert len([what for what, *_ in notes if what == "begins"]) == len(experiments) + 1
    assert str(os.getpid()) not in {process for *_, process in notes}
    assert not list((store / "cache").glob("runs/*/row.json"))
    pd.testing.assert_frame_equal(compared(), alone(store, monkeypatch, experiments), check_exact=True)


def test_what_a_worker_had_finished_when_everything_died_is_found_again(store: Path) -> None:
    experiment = catalogue.planned("edges2shoes/tiny")[0].but(steps=4)
    row = recording.make_row(experiment)  # what a worker does; then the process that would have recorded it dies
    assert results.rows().empty
    [recorded] = record_all([experiment])
    assert recorded == row
    assert results.row(experiment.key)["when"] == row["when"]
    assert [what for what, *_ in noted(store)] == ["begins", "ends"]


def test_a_worker_with_other_pictures_or_weights_is_refused(store: Path) -> None:
    one, other = (each.but(steps=4) for each in catalogue.planned("edges2shoes/tiny")[:2])
    with refused("other experiment.*same commit and the same data"):
        results.add(one, results.identity(other))
    assert results.rows().empty


# ---- addresses, and commands -----------------------------------------------------------------------------------------


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """The addresses at which a process and its children listen."""
    family = [process, *process.children(recursive=True)]
    sockets = [each for one in family for each in one.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    return [(each.laddr.ip, each.laddr.port) for each in sockets]


def test_scheduler_workers_and_dashboard_listen_on_loopback_alone(cluster: Cluster) -> None:
    found = listening(psutil.Process())
    scheduler = cluster.client.cluster.scheduler
    assert int(scheduler.port) in {port for _, port in found}
    assert int(scheduler.services["dashboard"].port) in {port for _, port in found}
    assert len(found) >= 4, "two workers listen as well"
    assert {address for address, _ in found} <= LOOPBACK


def test_a_process_without_the_certificate_is_turned_away(cluster: Cluster) -> None:
    address = cluster.client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises((OSError, TypeError)):
        dask.distributed.Client(address.replace("tls", "tcp"), timeout=2)
    stranger = dask.distributed.Security.temporary()
    with pytest.raises(OSError):
        dask.distributed.Client(address, security=stranger, timeout=2)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def commands(store: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers as docs/cluster.md starts them; its address."""
    port, quick = free_port(), ["--preload", str(store / "quick.py")]
    address, started = f"tcp://127.0.0.1:{port}", []
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    for words in (
        ["scheduler", "--port", str(port), *here],
        ["worker", address, "--nworkers", "2", "--nthreads", "1", "--memory-limit", "0", *here, *quick],
    ):
        started.append(subprocess.Popen([sys.executable, "-m", "dask", *words], stderr=subprocess.DEVNULL))
    try:
        for _ in range(1200):  # a busy machine takes its time to load dask
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
                break
            time.sleep(0.1)
        yield address, started
    finally:
        for process in reversed(started):
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait(60)
            for each in psutil.wait_procs(family, timeout=20)[1]:
                each.kill()


@pytest.mark.usefixtures("one_thread")
def test_a_plan_is_done_by_a_cluster_that_is_named_by_its_address(
    store: Path,
    commands: tuple[str, list[subprocess.Popen[bytes]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, processes = commands
    assert main(["runs", "do", "edges2shoes/tiny", "--scheduler", address]) == 0
    assert capsys.readouterr().out.count("plain") == 4
    assert len({process for *_, process in noted(store)}) == 2
    found = [each for process in processes for each in listening(psutil.Process(process.pid))]
    assert {ip for ip, _ in found} <= LOOPBACK
    recorded = compared()
    pd.testing.assert_frame_equal(
        recorded, alone(store, monkeypatch, catalogue.planned("edges2shoes/tiny")), check_exact=True
    )


def test_where_no_scheduler_answers_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "SECONDS", 0.5)
    for address in (f"tcp://127.0.0.1:{free_port()}", "nonsense://"):
        with (
            refused("No dask scheduler answers at .*'dask scheduler --host 127.0.0.1'"),
            cluster_at(address),
        ):
            pass


def test_without_dask_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with refused(r"""'pip install "dask\[distributed\]>=[\d.]+" cryptography' adds it"""), chosen(workers=2):
        pass


def test_numbers_and_choices_out_of_range_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with refused("The number of workers is a whole number from 1, not 0"), chosen(workers=0):
        pass
    with refused("exclude each other"), chosen(2, "tcp://127.0.0.1:8786"):
        pass
    with pytest.raises(SystemExit):
        main(["search", "do", "--all", "--workers", "2", "--scheduler", "tcp://127.0.0.1:8786"])
    assert "not allowed with" in capsys.readouterr().err
    with chosen() as executor:
        assert isinstance(executor, InThisProcess)
