"""Several processes train what one trains: real processes, started as a reader starts them, and killed.

As a script, this file is one of those processes: its first argument says what to do, the second where to write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from factories import (
    DoubleBatches,
    StopAfter,
    Stopped,
    a_task,
    is_one_sentence,
    map_task,
    noise_task,
    random_resnet,
    refused,
    resnet,
    short_config,
    smooth,
    squares_task,
)
from gancomp_core import nets
from gancomp_core.data import PictureSet, Task, to_float, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY
from gancomp_core.methods import agd
from gancomp_core.methods.feature_distillation import distil
from gancomp_core.methods.kernel_alignment import kernel_alignment_kd
from gancomp_core.methods.once_for_all import sandwich, train_supernet
from gancomp_core.methods.pseudo_pairs import distil_unpaired
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, SearchSpace, SpadeArchitecture
from gancomp_core.train import (
    HINGE,
    Checkpoint,
    Evaluate,
    Trained,
    callbacks,
    fit,
    gan,
    gaugan,
    loop,
    lost,
    many_processes,
    reconstruction,
    train_cyclegan,
    train_pix2pix,
    train_segmenter,
)
from gancomp_core.train.checkpoints import load_state
from gancomp_core.train.objectives import content, feature_matching, style

SPADE = SpadeArchitecture(ChannelConfig.parse("8_4_2_2_2_2_4_8"), upsampling="normal", label_channels=3)
SPACE = ArchitectureSpace(resnet(16, 3), SearchSpace(((16, 8),) * 8), depths=(3,), kernels=(3,))
LONGEST = 1200.0  # seconds that a loaded machine may take to start a few processes


class Maps(nn.Module):
    """Feature maps of a fixed random convolution, in place of a large network's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nets.build(lambda: nn.Conv2d(1, 4, 3), 5).requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [F.relu(self.layer(pictures))]


def teacher() -> nn.Module:
    return random_resnet(resnet(16, 3))


def student() -> nn.Module:
    return nets.build(resnet(8, 3), 4)


def photos() -> Task:
    large = to_uint8(smooth(12, 3, 32, 32))
    return a_task(PictureSet(F.avg_pool2d(large.float(), 4).to(torch.uint8), large))


# ---- what the processes do ------------------------------------------------------------------------------------------


def config(steps: int = 4, **changes: Any) -> Any:
    """A batch of four pictures, shared by the processes that there are."""
    return short_config(steps, 4, fabric=many_processes("32-true"), **changes)


def supernet() -> tuple[Trained, list[str]]:
    """The training of a supernet, and which networks were drawn for it."""
    drawn: list[str] = []

    def sampler(rng: Any) -> Any:
        found = list(sandwich(SPACE)(rng))
        drawn.extend(map(str, found))
        return found

    return train_supernet(nets.build(SPACE, 1), teacher(), noise_task(), config(), sampler=sampler), drawn


def gaugan_without_the_end() -> Trained:
    """BatchNorm in training, but not measured again at the end, which takes longer; the segmenter does that."""
    task, how = map_task(8, 16), config(2)
    game = gaugan.game(task, SPADE, how, gan(HINGE) + feature_matching() + reconstruction())
    return fit(dataclasses.replace(game, callbacks=()), task, how)


def agd_search() -> Trained:
    space = nets.super_resolution_supernet(8, 2, 2)
    enlarger = nets.build(nets.RrdbArchitecture(blocks=1, width=8, growth=4), 3)
    found = agd.search(photos(), enlarger, space, config(4, crop=16), agd.Controller(5e5, 9e5))
    models = {"generator": found.supernet, "choices": found.choices}
    return Trained(models, {}, found.losses.drop(columns="stage").fillna(0.0), 0.0, 4, "", "", 1, "")


def imitating(objective: Any) -> Trained:
    task, how = noise_task(fingerprint="noise"), config(lr=1e-4)
    return agd.train_derived(task, student(), how, teacher=teacher(), objective=objective, features=Maps())


METHODS: dict[str, Callable[[], Trained]] = {
    "pix2pix": lambda: train_pix2pix(noise_task(), resnet(), config(warp=True, crop=16)),
    "cyclegan": lambda: train_cyclegan(squares_task(), resnet(), config(6), pool=6),
    "gaugan": gaugan_without_the_end,
    "segmenter": lambda: train_segmenter(map_task(8, 4), nets.SegmenterArchitecture(3, width=4), config(warp=True)),
    "features and adaptors": lambda: distil(student(), teacher(), noise_task(), config()),
    "pseudo pairs": lambda: distil_unpaired(student(), teacher(), squares_task(), config()),
    "supernet": lambda: supernet()[0],
    "AGD search": agd_search,
}  # fmt: skip


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Trainings inside compute in float64, in which the order of a sum hardly shows."""
    ready, pairs = loop._ready, sys.modules["gancomp_core.methods.pseudo_pairs"]
    with (
        mock.patch.object(loop, "Batches", DoubleBatches),
        mock.patch.object(loop, "_ready", lambda network, fabric: ready(network.double(), fabric)),
        mock.patch.object(pairs, "to_float", lambda pictures: to_float(pictures).double()),
    ):
        yield


def outcome(trained: Trained) -> dict[str, Any]:
    """The losses of a training by term, and the sum of squares of every averaged network (buffers included)."""
    sizes = {
        name: sum(float(tensor.double().square().sum()) for tensor in network.state_dict().values())
        for name, network in trained.averaged.items()
    }
    return {**trained.history.to_dict("list"), **sizes}


def all_methods() -> dict[str, Any]:
    """Every method in float64, and one in float32."""
    with in_double():
        found = {name: outcome(method()) for name, method in METHODS.items() if name != "supernet"}
        trained, found["drawn"] = supernet()
        found["supernet"] = outcome(trained)
    found["other weights"] = outcome(distil(resnet(8, 3).network(), teacher(), noise_task(), config()))
    found["in float32"] = outcome(METHODS["pix2pix"]())
    found["content and style"] = outcome(imitating(content() + style()))
    aligned = reconstruction() + kernel_alignment_kd()
    found["kernels"] = outcome(distil(student(), teacher(), noise_task(), config(lr=1e-4), objective=aligned))
    return found


def around_the_steps(folder: Path) -> dict[str, Any]:
    """What is written and measured, and by whom; both halves of trainings that other processes begin or go on with."""
    measured: list[int] = []

    def measure(network: nn.Module) -> float:
        measured.append(1)
        return float(next(network.parameters()).detach().abs().mean())

    watch, kept = Evaluate(measure, every=2), Checkpoint(folder / "watched.ckpt", seconds=1e9)
    with mock.patch.object(callbacks, "save_state", wraps=callbacks.save_state) as saved:
        train_pix2pix(noise_task(), resnet(), config(progress=True), callbacks=[watch, kept])
    found: dict[str, Any] = {"measured": len(measured), "saved": saved.call_count, "curve": list(watch.curve.values())}
    begin(folder / "begun by two.ckpt")
    found["went on"] = outcome(go_on(folder / "begun by one.ckpt"))
    try:
        train_pix2pix(noise_task(), resnet(), short_config(2, 3, fabric=many_processes("32-true")))
    except GancompError as error:
        found["refused"] = str(error)
    return found


def go_on(checkpoint: Path, *others: Any) -> Trained:
    """A CycleGAN of six steps, whose image pools are full after two, from its checkpoint if there is one."""
    with in_double():
        around = [Checkpoint(checkpoint, seconds=0.0), *others]
        return train_cyclegan(squares_task(), resnet(), config(6), pool=6, callbacks=around)


def begin(checkpoint: Path) -> None:
    """The first three steps."""
    with contextlib.suppress(Stopped):
        go_on(checkpoint, StopAfter(3))


def everything(folder: Path) -> dict[str, Any]:
    """All that ends by itself."""
    return {**all_methods(), **around_the_steps(folder)}


def forever(folder: Path) -> dict[str, Any]:
    """A training that saves after every step, until it is killed."""
    lost.SILENCE = float(os.environ.get("SILENCE", lost.SILENCE))
    (folder / f"pid of {os.environ['RANK']}").write_text(str(os.getpid()))
    around = [Checkpoint(folder / "training.ckpt", seconds=0.0)]
    return outcome(train_pix2pix(noise_task(), resnet(), config(1_000_000), callbacks=around))


JOBS = {job.__name__: job for job in (everything, forever)}


# ---- starting them --------------------------------------------------------------------------------------------------


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def start(launcher: list[str], job: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A launcher, or with none a process, that does a job."""
    usual = {
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "USE_LIBUV": "0",
        "GANCOMP_CACHE": str(folder / job),
    }
    return subprocess.Popen(
        [*launcher, __file__, job, str(folder)], cwd=REPOSITORY, text=True,
        env=os.environ | usual | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def torchrun() -> list[str]:
    module = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    return [*module, "--master-addr=127.0.0.1", f"--master-port={free_port()}"]


def fabric_run() -> list[str]:
    command = shutil.which("fabric", path=str(Path(sys.executable).parent))
    assert command, "Lightning Fabric brings this command"
    return [command, "run", "--accelerator=cpu", "--devices=2", "--strategy=ddp", f"--main-port={free_port()}"]


def by_hand(job: str, folder: Path) -> list[subprocess.Popen[str]]:
    """Two processes without a launcher, told who they are by the variables that torchrun sets."""
    same = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [start([sys.executable], job, folder, RANK=rank, LOCAL_RANK=rank, **same) for rank in "01"]


def close(found: Any, wanted: Any, tolerance: float) -> None:
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=tolerance, abs=tolerance), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All methods in this process."""
    with mock.patch.dict(os.environ, GANCOMP_CACHE=str(tmp_path_factory.mktemp("alone"))):
        return all_methods()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes write, and go on with what this one began."""
    begin((folder := tmp_path_factory.mktemp("both")) / "begun by one.ckpt")
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    """What two processes of fabric run saw, each for itself, and what they said together."""
    process = start(fabric_run(), "everything", folder)
    said, _ = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, said
    found = [json.loads((folder / f"everything {rank}.json").read_text()) for rank in (0, 1)]
    return [{**each, "said": said} for each in found]


# ---- the same losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_reach_the_losses_and_weights_of_one(name, alone, both):
    assert both[0][name] == both[1][name]
    close(both[0][name], alone[name], 1e-7)


def test_in_float32_only_the_order_of_sums_differs(alone, both):
    close(both[0]["in float32"], alone["in float32"], 1e-5)


@pytest.mark.parametrize("name", ["content and style", "kernels"])
def test_terms_that_are_no_means_over_pictures_are_those_of_the_whole_batch(name, alone, both):
    close(both[0][name], alone[name], 1e-5)


def test_all_processes_draw_the_same_networks_of_a_supernet(alone, both):
    assert both[0]["drawn"] == both[1]["drawn"] == alone["drawn"]
    assert len(set(alone["drawn"])) > 3


def test_processes_that_begin_with_different_weights_take_those_of_the_first(alone, both):
    assert both[0]["other weights"] == both[1]["other weights"] != alone["other weights"]


def test_alone_the_processes_are_one():
    fabric = many_processes("32-true")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


# ---- what is written, and going on ----------------------------------------------------------------------------------


def test_the_first_process_alone_writes_measures_and_shows(both):
    first, second = both
    assert (first["measured"], first["saved"]) == (2, 2)
    assert (second["measured"], second["saved"]) == (0, 0)
    assert first["curve"] == second["curve"]
    assert first["said"].count("step 4 of 4") == 1, first["said"]


def test_one_process_goes_on_with_what_two_began(folder, both, alone):
    close(outcome(go_on(folder / "begun by two.ckpt")), alone["cyclegan"], 1e-7)


def test_two_processes_go_on_with_what_one_began(both, alone):
    close(both[0]["went on"], alone["cyclegan"], 1e-7)


def test_a_batch_that_cannot_be_shared_is_refused_in_one_sentence(both):
    said = both[0]["refused"]
    assert "A batch of 3 pictures cannot be shared equally by 2 processes" in said
    assert is_one_sentence(said)


# ---- a process that disappears --------------------------------------------------------------------------------------


def saving(folder: Path, *started: subprocess.Popen[str]) -> list[int]:
    """The process ids of both, as soon as they have trained so far that there is a checkpoint."""
    until = time.monotonic() + LONGEST
    while not (folder / "training.csv").exists():
        assert time.monotonic() < until
        assert all(process.poll() is None for process in started), started[0].communicate()[0]
        time.sleep(0.1)
    return [int((folder / f"pid of {rank}").read_text()) for rank in (0, 1)]


def told(survivor: subprocess.Popen[str], folder: Path, who: str) -> str:
    """What the survivor said when it stopped, which must name step, process and checkpoint, which is whole."""
    said, _ = survivor.communicate(timeout=LONGEST)
    assert survivor.returncode != 0
    assert re.search(rf"ProcessLost: At step \d+ process {who} of 0 to 1 disappeared \(.+\), so the", said), said
    assert f"{folder / 'training.ckpt'} holds the last checkpoint" in said
    assert load_state(folder / "training.ckpt")["step"] > 0
    return said


def test_when_one_process_is_killed_the_others_stop_and_say_how_to_go_on(tmp_path):
    launcher = start(torchrun(), "forever", tmp_path)
    os.kill(saving(tmp_path, launcher)[1], getattr(signal, "SIGKILL", signal.SIGTERM))
    assert re.search(r"goes on from it: torchrun --nproc-per-node=2 \S+ forever", told(launcher, tmp_path, "1"))


def test_the_loss_of_the_first_process_where_all_meet_is_noticed_too(tmp_path):
    first, second = by_hand("forever", tmp_path)
    saving(tmp_path, first, second)
    first.kill()
    told(second, tmp_path, "0")
    first.communicate()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows cannot stop a process for a while")
def test_a_process_that_freezes_holds_the_others_up_for_a_while_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SILENCE", "6")
    first, second = by_hand("forever", tmp_path)
    saving(tmp_path, first, second)
    second.send_signal(signal.SIGSTOP)
    try:
        assert "silent for 6 s" in told(first, tmp_path, "1")
    finally:
        second.kill()
        second.communicate()


class Living:
    """The signs of processes that all live."""

    lost = None

    def silent(self, seconds: float) -> list[int]:
        return []


def test_a_training_that_is_told_to_stop_says_how_to_go_on(monkeypatch):
    monkeypatch.setattr(lost, "_signs", Living())
    monkeypatch.setattr(lost, "BEAT", 0.0)
    before = signal.getsignal(signal.SIGTERM)
    with refused("told to stop .SIGTERM. at step 7; run.ckpt holds"), lost.watched(0, 2, lambda: (7, "run.ckpt")):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


if __name__ == "__main__":
    torch.set_num_threads(1)
    job, folder = sys.argv[1], Path(sys.argv[2])
    written = JOBS[job](folder)
    (folder / f"{job} {os.environ['RANK']}.json").write_text(json.dumps(written))
