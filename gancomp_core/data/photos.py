"""Photos four times larger: the super-resolution task, in tiles for training and in whole pictures for its table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import damage_explained, fingerprint, read_manifest, read_sheet, verify
from gancomp_core.data.tasks import Task
from gancomp_core.files import Json, data_root


@dataclass(frozen=True)
class Photo:
    """A whole test picture.

    Attributes:
        name: Its name.
        source: uint8 [1, 3, h, w].
        target: uint8 [1, 3, 4h, 4w].
    """

    name: str
    source: Tensor
    target: Tensor


def photos_x4(root: Path) -> Task:
    """Photos four times larger: color, 48 px sources and 192 px targets, paired.

    A source is its target reduced by :func:`shrink`. Tiles of one photo are all in one split; ``labels`` hold the photo
    of each tile, ``label_names`` the names of the photos. Raises :class:`GancompError` for a missing or damaged file.
    """
    folder = root / "photos"
    manifest, photos = _verified(folder)
    with damage_explained(folder / "manifest.json"):
        size, scale = int(manifest["size"]), int(manifest["scale"])
        mark = fingerprint(
            "photos_x4", size, scale, [[p["name"], p["split"], p["pixels"], p.get("tiles")] for p in photos]
        )
    tiles = [_tiles(folder, photo, size) for photo in photos]
    train, search, test = (_split(photos, tiles, name, scale) for name in ("train", "search", "test"))
    names = tuple(photo["name"] for photo in photos)
    return Task("photos_x4", True, size, 3, 3, train, search, test, mark, names, scale=scale)


def whole_photos(root: Path | None = None) -> list[Photo]:
    """The whole test pictures, of various sizes, for a table with one row per picture.

    Args:
        root: The folder of shipped pictures; None takes :func:`~gancomp_core.files.data_root`.

    Returns:
        The photos.

    Raises:
        GancompError: For a missing or damaged file.
    """
    return _whole((data_root() if root is None else root) / "photos")


def more_photos(root: Path | None = None) -> list[Photo]:
    """14 more whole test pictures, which belong to no task: with :func:`whole_photos` there are 20.

    Args:
        root: As for :func:`whole_photos`.

    Returns:
        The photos.

    Raises:
        GancompError: For a missing or damaged file.
    """
    return _whole((data_root() if root is None else root) / "photos_more")


def _whole(folder: Path) -> list[Photo]:
    """The whole test pictures of a folder."""
    manifest, photos = _verified(folder, split="test")
    with damage_explained(folder / "manifest.json"):
        scale, names = int(manifest["scale"]), [photo["name"] for photo in photos]
    targets = [_read(folder / photo["file"]) for photo in photos]
    return [Photo(name, shrink(target, scale), target) for name, target in zip(names, targets, strict=True)]


def shrink(pictures: Tensor, scale: int) -> Tensor:
    """Pictures ``scale`` times smaller, by bicubic interpolation with antialiasing: the convention of the field.

    Pillow computes it in integers, so the pixels are the same on every machine.

    Args:
        pictures: uint8 [N, 3, h, w].
        scale: How many times smaller.

    Returns:
        uint8 [N, 3, h / scale, w / scale].
    """
    width, height = pictures.shape[-1] // scale, pictures.shape[-2] // scale
    pixels = pictures.permute(0, 2, 3, 1).contiguous().numpy()
    small = [Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC) for p in pixels]
    return torch.from_numpy(np.stack([np.asarray(p) for p in small])).permute(0, 3, 1, 2).contiguous()


def _verified(folder: Path, split: str | None = None) -> tuple[Json, list[Json]]:
    """The manifest, and its records of all photos or those of a split, whose files have their checksums."""
    manifest = read_manifest(folder)
    with damage_explained(folder / "manifest.json"):
        photos = [photo for photo in manifest["photos"] if split in (None, photo["split"])]
        expected = [(photo["file"], photo["sha256"]) for photo in photos]
    for file, checksum in expected:
        verify(folder / file, checksum)
    return manifest, photos


def _tiles(folder: Path, photo: Json, size: int) -> Tensor:
    """The tiles of one photo: uint8 [N, 3, size, size]."""
    if photo["split"] == "test":
        return _cut(_read(folder / photo["file"]), size)
    return read_sheet(folder / photo["file"], size, "RGB")[photo["tiles"]]  # the others are blurred


def _read(path: Path) -> Tensor:
    with damage_explained(path), Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture.convert("RGB")))
    return pixels.permute(2, 0, 1)[None].contiguous()


def _cut(picture: Tensor, size: int) -> Tensor:
    """The squares of ``size`` pixels that fit into a picture next to each other, centered, row by row."""
    rows, columns = picture.shape[-2] // size, picture.shape[-1] // size
    top, left = (picture.shape[-2] - rows * size) // 2, (picture.shape[-1] - columns * size) // 2
    inner = picture[0, :, top : top + rows * size, left : left + columns * size]
    return inner.reshape(3, rows, size, columns, size).permute(1, 3, 0, 2, 4).reshape(-1, 3, size, size)


def _split(photos: list[Json], tiles: list[Tensor], name: str, scale: int) -> PictureSet:
    chosen = [index for index, photo in enumerate(photos) if photo["split"] == name]
    targets = torch.cat([tiles[index] for index in chosen])
    labels = torch.cat([torch.full((len(tiles[index]),), index) for index in chosen])
    return PictureSet(shrink(targets, scale), targets, labels)
