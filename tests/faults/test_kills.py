"""A sample of what ``make kills`` does: real work that is killed, and several processes that do the same at once."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


CHEAP = ["data build", "table, answers"]


@pytest.mark.parametrize("how", [["10", *CHEAP, "training", "quantization"], ["0", *CHEAP, "--together", "4"]])
def test_whatever_is_killed_or_done_twice_at_once_ends_as_if_nothing_had_happened(how):
    done = subprocess.run([sys.executable, KILLS, *how], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
