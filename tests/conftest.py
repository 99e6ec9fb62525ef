"""What every test shares: a cache of its own, no windows, the same seeds."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib; notebooks executed by tests inherit it

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker for each core, as many as fit into memory: a test takes up to 2 GB, a kernel or a browser up to 4."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    each = 4e9 if config.getoption("markexpr").startswith("notebooks") else 2e9
    return max(1, min(cores, 8, int(psutil.virtual_memory().available / each)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How fast pictures followed their controls in the browser: told, not judged, for tests keep every core busy."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    if told := {str(value) for report in reports for name, value in report.user_properties if name == "redraws"}:
        terminalreporter.section("redraws in the browser")
        terminalreporter.line("\n".join(sorted(told)))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests run in."""
    return REPOSITORY


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tests neither read nor spoil what the reader has trained: GANCOMP_CACHE points to a folder of this run."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANCOMP_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def same_seeds() -> None:
    """A test draws the same random numbers alone, in any order and in any worker."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (libraries still draw from the global state)
    torch.manual_seed(0)
