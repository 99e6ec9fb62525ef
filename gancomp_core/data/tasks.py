"""The catalogue of shipped tasks, and what a task is."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancomp_core.data.pictures import PictureSet
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root, sha256


@dataclass(frozen=True)
class Task:
    """Pictures to translate: from ``source`` to ``target``.

    ``train`` is for weights, ``search`` for choosing among networks, ``test`` for the numbers one reports; no picture
    is in two of them. ``size`` is height and width in pixels. ``fingerprint`` is a SHA-256 over whatever determines
    the pictures: two tasks with the same one hold the same pictures. ``label_names[i]`` names class i of ``labels``.
    """

    name: str
    paired: bool
    size: int
    source_channels: int
    target_channels: int
    train: PictureSet
    search: PictureSet
    test: PictureSet
    fingerprint: str
    label_names: tuple[str, ...] = ()


def task_names() -> list[str]:
    """Names that :func:`load_task` knows."""
    return sorted(_TASKS)


def load_task(name: str) -> Task:
    """A shipped task, ready to train on; read and verified once per process.

    Raises :class:`GancompError` for an unknown name, and for a missing or damaged file.
    """
    if name not in _TASKS:
        if name.startswith("public:"):
            raise GancompError(f"The public set '{name}' is not available; the shipped tasks are: {_listing()}.")
        raise GancompError(
            f"There is no task '{name}'; the shipped ones are: {_listing()}, and folder_task(path) reads your own."
        )
    return _load(name, data_root())


def _listing() -> str:
    return ", ".join(f"'{name}'" for name in task_names())


@functools.cache
def _load(name: str, root: Path) -> Task:
    return _TASKS[name](root / name)


def _edges2shoes(folder: Path) -> Task:
    """Edges to shoes: 32 px, grey on both sides, paired, 16,500 train / 1,500 search / 3,000 test."""
    manifest = _manifest(folder)
    with _damage_explained(folder / "manifest.json"):
        splits, size, outputs = manifest["splits"], manifest["size"], manifest["outputs"]
        pixels, classes = manifest["pixels"], tuple(manifest["classes"])
        counts = [splits[name] for name in ("train", "search", "test")]
    for file, expected in outputs.items():
        _verify(folder / file, expected)
    edges, photos = (_read_sheet(folder / file, size).split(counts) for file in ("edges.png", "photos.png"))
    labels = torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False)).long().split(counts)
    train, search, test = (PictureSet(*parts) for parts in zip(edges, photos, labels, strict=True))
    # pixels, not files: a better-packed sheet of the same pictures must not invalidate recorded runs
    fingerprint = hashlib.sha256(json.dumps(["edges2shoes", counts, size, pixels], sort_keys=True).encode()).hexdigest()
    return Task("edges2shoes", True, size, 1, 1, train, search, test, fingerprint, classes)


def _read_sheet(path: Path, size: int) -> Tensor:
    """uint8 N x 1 x size x size of a contact sheet, row by row."""
    with Image.open(path) as sheet:
        pixels = torch.from_numpy(np.array(sheet.convert("L")))
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    grid = pixels.view(rows, size, columns, size).transpose(1, 2)
    return grid.reshape(rows * columns, 1, size, size)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    with _damage_explained(path):
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _verify(path: Path, expected: str) -> None:
    with _damage_explained(path):
        if sha256(path) != expected:
            raise ValueError("its checksum is wrong")


@contextlib.contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a shipped file becomes one sentence: the file, what is wrong, how to restore it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        missing, unreadable = isinstance(error, FileNotFoundError), isinstance(error, PermissionError)
        state = "missing" if missing else "not readable" if unreadable else "damaged"
        raise GancompError(
            f"The shipped file {path} is {state}; `git checkout -- data/{path.parent.name}/{path.name}`, "
            "run in the gancomp checkout, restores it."
        ) from error


_TASKS: dict[str, Callable[[Path], Task]] = {"edges2shoes": _edges2shoes}
