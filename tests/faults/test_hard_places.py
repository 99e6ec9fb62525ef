"""Disks that are full, folders that may not be written to, no network, clocks that jump."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from factories import (
    StopAfter,
    Stopped,
    assert_same_weights,
    is_one_sentence,
    noise_task,
    random_resnet,
    resnet,
    short_config,
)
from gancomp_core import files, verbs, zoo
from gancomp_core.course import prediction_file, run
from gancomp_core.data import archives, downloads, folder_task
from gancomp_core.data.public import public_task
from gancomp_core.errors import GancompError
from gancomp_core.lab import Experiment, results
from gancomp_core.lab.experiment import kind
from gancomp_core.methods.architecture_search.scores import Evaluations
from gancomp_core.tensor_cache import cached
from gancomp_core.train import Callback, Checkpoint, Trained, pix2pix, save_weights

FULL = 64 * 1024  # bytes of the disk; nothing below fits
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
kind("placed")(lambda experiment, *, size: None)


class Score:
    """Costs nothing; has a key, so that it is kept."""

    key = "a score"

    def __call__(self, architecture: object) -> float:
        return 1.0


def _row(folder: Path) -> None:
    results.once(
        Experiment(name="n", kind="placed", task="t", spec={"size": 1}), lambda: {"value": os.urandom(200_000).hex()}
    )


def _training(folder: Path) -> None:
    pix2pix.train_pix2pix(noise_task(), resnet(), short_config(2), callbacks=[Checkpoint(folder / "training.ckpt")])


def _predictions(folder: Path) -> None:
    with prediction_file.update() as known:
        known["a"] = prediction_file.Prediction("a", "x" * 200_000)


def _evaluations(folder: Path) -> None:
    Evaluations(Score())([resnet(width, blocks) for width in range(8, 1024, 8) for blocks in range(1, 7)])


#: Whatever writes, by the files that it would leave.
WRITERS: dict[str, Callable[[Path], object]] = {
    "weights": lambda folder: save_weights(random_resnet(), folder / "weights.safetensors"),
    "training": _training,
    "int8": lambda folder: verbs.export_int8(random_resnet(resnet(16)), noise_task(), folder / "int8.onnx"),
    "row": _row,
    "predictions": _predictions,
    "evaluations": _evaluations,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that others may enter, and in which everything is written."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        place = Path(name) / "place"
        (place / "results").mkdir(parents=True)
        monkeypatch.setenv("GANCOMP_DATA", str(place))
        monkeypatch.setenv("GANCOMP_CACHE", str(place))
        monkeypatch.setenv("GANCOMP_PREDICTIONS", str(place / "predictions.json"))
        yield place


@contextlib.contextmanager
def a_small_disk(place: Path) -> Iterator[None]:
    """A disk of a few kilobytes in place of a folder; skips where the system lets nobody have one."""
    asked = ["mount", "-t", "tmpfs", "-o", f"size={FULL}", "tmpfs", str(place)]
    try:
        subprocess.run(asked, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk can be mounted by root on Linux alone ({error})")
    try:
        (place / "results").mkdir()
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Root may write everywhere."""
    if ROOT:
        os.seteuid(65534)
    try:
        yield
    finally:
        if ROOT:
            os.seteuid(0)


def told(write: Callable[[Path], object], place: Path) -> str:
    with pytest.raises(GancompError) as caught:
        write(place)
    assert is_one_sentence(str(caught.value)), str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_and_no_half_file_stays(here, name):
    with a_small_disk(here):
        said = told(WRITERS[name], here)
        assert "full" in said or "free some space" in said
        left = [path for path in here.rglob("*") if path.is_file() and path.suffix not in (".lock", ".jsonl")]
        assert [path.name for path in left if path.stat().st_size] == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
@pytest.mark.parametrize("name", [name for name in WRITERS if name != "int8"])  # which takes seconds
def test_a_folder_that_may_not_be_written_to_is_told(here, name):
    for folder in (here, here / "results"):
        folder.chmod(0o555)
    with somebody_else():
        assert "ermission" in told(WRITERS[name], here)
    assert sorted(path.name for path in here.rglob("*")) == ["results"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_cache_that_cannot_be_written_costs_time_and_no_result(here, caplog):
    here.chmod(0o555)
    with somebody_else():
        assert cached("features", ("a",), lambda: torch.ones(2)).tolist() == [1, 1]
    assert "computed again each time" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_notebooks_whose_folder_may_not_be_made_do_not_begin(here):
    here.chmod(0o555)
    with somebody_else():
        assert "--out" in told(lambda folder: run.run_notebooks([], out=folder / "out"), here)


def test_an_archive_that_does_not_fit_is_told_and_kept_for_a_larger_disk(here):
    with a_small_disk(here):
        archive = here / "datasets" / "set.zip"
        archive.parent.mkdir()
        with archives.zipfile.ZipFile(archive, "w", archives.zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a", bytes(10 * FULL))
        asked = downloads.Archive("set.zip", None, files.sha256(archive))
        assert "free some space" in told(lambda _: downloads.unpacked(asked), here)
        assert sorted(path.name for path in archive.parent.iterdir()) == ["set.zip", "set.zip.lock"]


# ---- no network ------------------------------------------------------------------------------------------------------


def _without_network(work: Callable[[], str], to: multiprocessing.Queue[str]) -> None:
    """What work says in a process that no network can be reached from."""
    new_user, new_network = 0x10000000, 0x40000000
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(new_network) and unshare(new_user | new_network):
        to.put("no namespace")
        return
    try:
        to.put(work())
    except GancompError as error:
        to.put(f"{error}")
    except BaseException as error:
        to.put(f"raw {error!r}")


def _download() -> str:
    downloads.PAUSE_S = 0.0
    return public_task("horse2zebra").name


def _shipped() -> str:
    return zoo.load("edges2shoes/small_student").name


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes the network from one process")
@pytest.mark.parametrize(
    ("work", "said"), [(_download, "the server cannot be reached"), (_shipped, "edges2shoes/small_student")]
)
def test_without_a_network_downloads_are_explained_and_all_else_works(work, said):
    start = multiprocessing.get_context("fork")
    answer: multiprocessing.Queue[str] = start.Queue()
    process = start.Process(target=_without_network, args=(work, answer))
    process.start()
    found = answer.get(timeout=120)
    process.join()
    if found == "no namespace":
        pytest.skip("this system lets nobody be without a network")
    assert said in found
    assert is_one_sentence(found) or work is _shipped


# ---- clocks that jump ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [0, 4_000_000_000])
def test_a_table_that_was_written_is_read_again_whatever_its_time_is(here, when):
    """Same time and, if need be, same size: a clock that was set back must not hide another process's rows."""
    for number in range(4):
        asked = Experiment(name="n", kind="placed", task="t", spec={"size": number})
        results.once(asked, lambda: {"value": 1.0})
        os.utime(results.path(), (when, when))
        assert len(results.rows()) == number + 1
        assert results.row(asked.key) is not None


def test_pictures_are_known_by_content_and_not_by_time(tmp_path):
    from PIL import Image

    for number in range(4):
        Image.new("RGB", (32, 16), (number, 0, 0)).save(tmp_path / f"{number}.png")
    before = folder_task(tmp_path).fingerprint
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    assert folder_task(tmp_path).fingerprint == before
    Image.new("RGB", (32, 16), (9, 0, 0)).save(tmp_path / "0.png")
    os.utime(tmp_path / "0.png", (0, 0))
    assert folder_task(tmp_path).fingerprint != before


def test_a_checkpoint_of_the_future_goes_on(tmp_path):
    path = tmp_path / "training.ckpt"

    def train(*more: Callback) -> Trained:
        return pix2pix.train_pix2pix(noise_task(), resnet(), short_config(3), callbacks=[Checkpoint(path, 0.0), *more])

    with pytest.raises(Stopped):
        train(StopAfter(2))
    os.utime(path, (4_000_000_000, 4_000_000_000))
    again = train(StopAfter(1))  # a step that was done before
    path.unlink()
    assert_same_weights(again, train())
