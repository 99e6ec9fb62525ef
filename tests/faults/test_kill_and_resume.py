"""Processes that really get killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from train_forever import run  # noqa: E402

from gancomp_core.train.checkpoints import load_state  # noqa: E402

STEPS = 100


def kill_after_first_save(checkpoint: Path, patience: float) -> int:
    """Start a training, kill -9 it a moment after its first checkpoint; returns the step it had reached."""
    process = subprocess.Popen([sys.executable, Path(__file__).with_name("train_forever.py"), checkpoint, str(STEPS)])
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(patience)
    finally:
        process.kill() if sys.platform == "win32" else process.send_signal(signal.SIGKILL)
        process.wait()
    return load_state(checkpoint)["step"]


@pytest.mark.parametrize("patience", [0.0, 0.07, 0.15])
def test_a_training_killed_at_any_moment_resumes_to_the_same_weights_bit_for_bit(tmp_path, patience):
    torch.set_num_threads(1)
    straight = run(None, STEPS)
    checkpoint = tmp_path / "training.ckpt"
    reached = kill_after_first_save(checkpoint, patience)
    assert 0 < reached < STEPS, "the kill came too late to prove anything"
    resumed = run(checkpoint, STEPS)
    for models in ("models", "averaged"):
        for name, model in getattr(straight, models).items():
            for key, tensor in model.state_dict().items():
                assert torch.equal(tensor, getattr(resumed, models)[name].state_dict()[key]), (models, name, key)
    assert resumed.history.equals(straight.history)


def test_stopping_and_going_on_equals_going_straight_through(tmp_path):
    torch.set_num_threads(1)
    checkpoint = tmp_path / "training.ckpt"
    assert run(checkpoint, STEPS, until=15).step == 15
    straight, resumed = run(None, STEPS), run(checkpoint, STEPS)
    assert run(checkpoint, STEPS).threads == resumed.threads == 1
    for key, tensor in straight.models["generator"].state_dict().items():
        assert torch.equal(tensor, resumed.models["generator"].state_dict()[key])
