"""What every test shares: a cache of its own, no windows, the same seeds."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib; notebooks executed by tests inherit it

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.hookimpl(tryfirst=True)  # before the command line's -m chooses among the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Kernels and browsers want every core and much memory: their tests run one by one."""
    for item in items:
        if item.get_closest_marker("notebooks") or item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.serial)


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
