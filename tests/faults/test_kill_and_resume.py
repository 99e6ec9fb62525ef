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

from gancomp_core.train import Trained  # noqa: E402
from gancomp_core.train.checkpoints import load_state  # noqa: E402

STEPS = {"pix2pix": 100, "cyclegan": 30, "gaugan": 6}
#: What must go on where it stood beside weights: image pools, BatchNorm's statistics, power iterations.
MEMORY = {
    "pix2pix": {},
    "cyclegan": {"pool": "kept", "backward_pool": "kept"},
    "gaugan": {"generator": "stages.up_3.norm_0.norm.running_var", "discriminator": "_u"},
}


@functools.cache
def straight(name: str) -> Trained:
    """The training that nobody disturbs."""
    return run(name, None, STEPS[name])


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
    for models in ("models", "averaged"):
        for name, model in getattr(one, models).items():
            for key, tensor in model.state_dict().items():
                assert torch.equal(tensor, getattr(other, models)[name].state_dict()[key]), (models, name, key)
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
    for model, end in MEMORY[name].items():
        state = straight(name).models[model].state_dict()
        keys = [key for key in state if key.endswith(end)]
        assert keys, f"the {model} has no {end}"
        assert not any(torch.equal(killed["models"][model][key], state[key]) for key in keys)  # it still had to move
    assert_same(straight(name), run(name, checkpoint, STEPS[name]))


def test_stopping_and_going_on_equals_going_straight_through(tmp_path):
    torch.set_num_threads(1)
    checkpoint, steps = tmp_path / "training.ckpt", STEPS["pix2pix"]
    assert run("pix2pix", checkpoint, steps, until=15).step == 15
    resumed = run("pix2pix", checkpoint, steps)
    assert run("pix2pix", checkpoint, steps).threads == resumed.threads == 1
    assert_same(straight("pix2pix"), resumed)
