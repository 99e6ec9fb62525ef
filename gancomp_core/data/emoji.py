"""Emoji in three styles, in color: black lines, flat color, and glossy."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import features
from torch import Tensor

from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import damage_explained, fingerprint, read_manifest, read_sheet, verified
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError, one_of

SIZES = (64, 128)
_SIDES = {"flat2gloss": ("flat", "gloss"), "lines2gloss": ("lines", "gloss")}
_CHANNELS = {"lines": 1, "flat": 3, "gloss": 3}


def flat2gloss_unpaired(root: Path) -> Task:
    """The emoji of ``flat2gloss`` without their pairs: flat ones of half the families, glossy ones of the other half.

    No family is on both sides of ``train``; ``search`` and ``test`` keep their pairs for scoring.
    """
    task = emoji_task(root, "flat2gloss")
    families = [row["family"] for row in _rows(root / "emoji") if row["split"] == "train"]
    mine = torch.tensor([_in_first_half(family) for family in families])
    return task.unpaired(mine, ~mine)


def emoji_task(root: Path, name: str, size: int = 64) -> Task:
    """The task ``flat2gloss`` or ``lines2gloss`` from the folder ``data``.

    At 64 pixels, each pixel is the rounded mean of a 2 x 2 square of the 128 px picture. Near-duplicates (a profession
    as man, woman and person, the hearts, the clocks) form families, and no family is in two splits.

    Args:
        root: The folder ``data``.
        name: "flat2gloss" or "lines2gloss".
        size: Height and width in pixels, 64 or 128.

    Returns:
        The task.

    Raises:
        GancompError: For another name or size, for a missing or damaged file, and where Pillow cannot read WebP.
    """
    one_of(name, sorted(_SIDES), "emoji task")
    if size not in SIZES:
        raise GancompError(f"The emoji come in 64 and 128 pixels, not in {size}; pass size=64 or size=128.")
    folder = root / "emoji"
    manifest, rows = read_manifest(folder), _rows(folder)
    with damage_explained(folder / "manifest.json"):
        pixels = {side: str(manifest["pixels"][side]) for side in _SIDES[name]}
        count = int(manifest["count"])
    with damage_explained(folder / "names.json"):
        splits = torch.tensor([("train", "search", "test").index(row["split"]) for row in rows])
    source, target = (_pictures(folder, side, count, size) for side in _SIDES[name])
    train, search, test = (PictureSet(source[splits == part], target[splits == part]) for part in range(3))
    mark = fingerprint(name, size, splits.tolist(), pixels)
    title = name if size == 64 else f"{name}_{size}"
    return Task(title, True, size, source.shape[1], target.shape[1], train, search, test, mark)


def _rows(folder: Path) -> list[dict[str, str]]:
    """Codepoint, name, family and split of each emoji, in the order of the sheets."""
    path = folder / "names.json"
    verified(folder, read_manifest(folder), path.name)
    with damage_explained(path):
        rows: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _pictures(folder: Path, side: str, count: int, size: int) -> Tensor:
    """All emoji in one style: uint8 [count, channels, size, size]."""
    if not features.check("webp"):
        raise GancompError("This Pillow cannot read WebP pictures; `pip install --force-reinstall pillow` mends that.")
    sheet = verified(folder, read_manifest(folder), f"{side}.webp")
    pictures = read_sheet(sheet, 128, "L" if _CHANNELS[side] == 1 else "RGB")[:count]
    return pictures.contiguous() if size == 128 else halved(pictures)


def halved(pictures: Tensor) -> Tensor:
    """Half as high and wide: the mean of each 2 x 2 square, rounded (halves up); uint8 [N, C, H, W]."""
    count, channels, height, width = pictures.shape
    squares = pictures.view(count, channels, height // 2, 2, width // 2, 2)
    return ((squares.sum((3, 5), dtype=torch.int16) + 2) // 4).to(torch.uint8)


def _in_first_half(family: str) -> bool:
    return int(fingerprint("flat2gloss_unpaired", family), 16) % 2 == 0
