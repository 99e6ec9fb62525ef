"""The networks and starting drawings of the pad, from ``data/demo``."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancomp_core import files
from gancomp_core.data.shipped import damage_explained, read_manifest, verify
from gancomp_core.errors import one_of
from gancomp_core.files import Json


def demo_folder() -> Path:
    """Where networks, drawings and their manifest lie."""
    return files.data_root() / "demo"


def demo_tasks() -> list[Json]:
    """The tasks of the demo's manifest: name, title, size, networks and starting drawings.

    Raises:
        GancompError: When the manifest is missing or damaged.
    """
    folder = demo_folder()
    manifest = read_manifest(folder)
    with damage_explained(folder / "manifest.json"):
        tasks: list[Json] = [{**task, "networks": list(task["networks"])} for task in manifest["tasks"]]
    return tasks


def demo_task(name: str) -> Json:
    """One of :func:`demo_tasks` by its name; raises :class:`GancompError` for an unknown one."""
    tasks = {str(task["name"]): task for task in demo_tasks()}
    one_of(name, list(tasks), "task of the drawing pad")
    return tasks[name]


def network_file(facts: Json) -> Path:
    """The path of a network of the demo, after a look at its checksum."""
    path = demo_folder() / str(facts["file"])
    verify(path, str(facts["sha256"]))
    return path


def lines(path: Path) -> NDArray[np.uint8]:
    """A drawing as uint8 [H, W], 1 where a line is and 0 where paper is."""
    with damage_explained(path), Image.open(path) as picture:
        return (np.asarray(picture.convert("L")) < 128).astype(np.uint8)


def packed(drawing: NDArray[np.uint8]) -> str:
    """A drawing as bits, eight to a byte, in base64: what the JavaScript unpacks."""
    return base64.b64encode(np.packbits(drawing.ravel()).tobytes()).decode()


def starting_drawings(task: Json) -> list[Json]:
    """Title and packed pixels of each starting drawing of a task; the pad begins with the first."""
    folder = demo_folder()
    return [{"title": each["title"], "pixels": packed(lines(folder / each["file"]))} for each in task["examples"]]


def unpacked(bits: str, count: int) -> NDArray[np.uint8]:
    """The ``count`` pixels that :func:`packed` wrote, in a row."""
    return np.unpackbits(np.frombuffer(base64.b64decode(bits), np.uint8), count=count)
