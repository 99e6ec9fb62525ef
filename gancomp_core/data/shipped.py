"""Shipped files: manifests, checksums, contact sheets, and one clear sentence when something is wrong with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancomp_core.errors import GancompError
from gancomp_core.files import Json, sha256


def read_manifest(folder: Path) -> Json:
    """The plain values of ``manifest.json`` in a folder of ``data``."""
    path = folder / "manifest.json"
    with damage_explained(path):
        manifest: Json = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("it is not a JSON object")
    return manifest


def verify(path: Path, expected: str) -> None:
    """Check that a file has this SHA-256.

    Raises:
        GancompError: When it is missing or another file.
    """
    with damage_explained(path):
        if sha256(path) != expected:
            raise ValueError("its checksum is wrong")


def verified(folder: Path, manifest: Json, name: str) -> Path:
    """The path of a file whose SHA-256 is the one that the manifest of its folder states under "outputs"."""
    with damage_explained(folder / "manifest.json"):
        expected = str(manifest["outputs"][name])
    verify(folder / name, expected)
    return folder / name


def read_sheet(path: Path, size: int, mode: str = "L") -> Tensor:
    """The pictures of a contact sheet, row by row.

    Args:
        path: The sheet.
        size: Height and width of a picture, in pixels.
        mode: "L" for gray, "RGB" for color.

    Returns:
        uint8 [N, 1 or 3, size, size].

    Raises:
        GancompError: When the file is missing or damaged.
    """
    with damage_explained(path), Image.open(path) as sheet:
        pixels = torch.from_numpy(np.array(sheet.convert(mode)))
    pixels = pixels.view(*pixels.shape[:2], -1)
    rows, columns, channels = pixels.shape[0] // size, pixels.shape[1] // size, pixels.shape[2]
    grid = pixels.view(rows, size, columns, size, channels).permute(0, 2, 4, 1, 3)
    return grid.reshape(rows * columns, channels, size, size)


def fingerprint(*parts: object) -> str:
    """SHA-256 of plain values: what determines the pictures of a task."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turn any error about a shipped file into one sentence: the file, what is wrong, how to restore it."""
    try:
        yield
    except GancompError:
        raise
    except (OSError, ValueError, KeyError, TypeError, Image.DecompressionBombError) as error:
        missing, unreadable = isinstance(error, FileNotFoundError), isinstance(error, PermissionError)
        state = "missing" if missing else "not readable" if unreadable else "damaged"
        raise GancompError(
            f"The shipped file {path} is {state}; `git checkout -- data/{path.parent.name}/{path.name}`, "
            "run in the gancomp checkout, restores it."
        ) from error
