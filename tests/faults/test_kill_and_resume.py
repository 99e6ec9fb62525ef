"""Processes that really get killed."""

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from train_forever import run  # noqa: E402

from factories import StopAfter, Stopped, assert_same_weights  # noqa: E402
from gancomp_core.train import Game, Trained  # noqa: E402
from gancomp_core.train.checkpoints import load_state  # noqa: E402

STEPS = {"pix2pix": 100, "cyclegan": 30, "gaugan": 6}
#: What must go on where it stood besides weights: image pools, BatchNorm's statistics, power iterations.
MEMORY = {
    "pix2pix": {},
    "cyclegan": {"pool": "held", "backward pool": "held"},
    "gaugan": {"generator": "stages.up_3.norm_0.norm.running_var", "discriminator": "_u"},
}


@functools.cache
def straight(name: str) -> tuple[Trained, Game]:
    """The training that nothing disturbs, and what it trained."""
    return run(name, None, STEPS[name])


def found(networks: dict, pools: dict, owner: str, end: str) -> list[torch.Tensor]:
    """Tensors of an image pool, or those of a network whose names end so."""
    state = pools.get(owner) or networks[owner]
    return state[end] if owner in pools else [tensor for key, tensor in state.items() if key.endswith(end)]


def at_the_end(trained: Trained, game: Game) -> tuple[dict, dict]:
    """The states of networks and of the game's callbacks."""
    networks = {name: network.state_dict() for name, network in trained.models.items()}
    return networks, {callback.name: callback.state_dict() for callback in game.callbacks}


def kill_after_first_save(name: str, checkpoint: Path, patience: float) -> None:
    """Start a training, kill -9 it ``patience`` seconds after its first checkpoint."""
    script = Path(__file__).with_name("train_forever.py")
    process = subprocess.Popen([sys.executable, script, name, checkpoint, str(STEPS[name])])
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(patience)
    finally:
        process.kill() if sys.platform == "win32" else process.send_signal(signal.SIGKILL)
        process.wait()


def assert_same(one: Trained, other: Trained) -> None:
    assert_same_weights(one, other)
    assert one.history.equals(other.history)


@pytest.mark.parametrize(
    ("name", "patience"),
    [("pix2pix", 0.0), ("pix2pix", 0.07), ("pix2pix", 0.15), ("cyclegan", 0.1), ("gaugan", 0.1)],
)
def test_a_training_killed_at_any_moment_resumes_to_the_same_weights_bit_for_bit(tmp_path, name, patience):
    torch.set_num_threads(1)
    checkpoint = tmp_path / "training.ckpt"
    kill_after_first_save(name, checkpoint, patience)
    killed = load_state(checkpoint)
    assert 0 < killed["step"] < STEPS[name], "the kill came too late to prove anything"
    last = at_the_end(*straight(name))
    for owner, end in MEMORY[name].items():
        then, now = (found(*states, owner, end) for states in ((killed["networks"], killed["callbacks"]), last))
        assert len(then) == len(now) > 0, f"the {owner} has no {end}"
        assert not any(torch.equal(one, other) for one, other in zip(then, now, strict=True))  # it still had to move
    resumed = run(name, checkpoint, STEPS[name])
    assert_same(straight(name)[0], resumed[0])
    for owner, end in MEMORY[name].items():
        again = found(*at_the_end(*resumed), owner, end)
        assert all(torch.equal(one, other) for one, other in zip(again, found(*last, owner, end), strict=True))


def test_stopping_and_going_on_equals_going_straight_through(tmp_path):
    torch.set_num_threads(1)
    checkpoint, steps = tmp_path / "training.ckpt", STEPS["pix2pix"]
    with pytest.raises(Stopped):
        run("pix2pix", checkpoint, steps, StopAfter(15))
    assert load_state(checkpoint)["step"] == 15
    resumed, _ = run("pix2pix", checkpoint, steps)
    assert run("pix2pix", checkpoint, steps)[0].threads == resumed.threads == 1
    assert_same_weights(straight("pix2pix")[0], resumed)
