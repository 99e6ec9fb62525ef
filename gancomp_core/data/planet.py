"""Tiles of the planet, cut when loading: land cover to satellite, and summer to winter.

Three maps of the whole Earth are in ``data/planet``, all in plate carree (a column is a meridian, a row a parallel) and
aligned with each other. Splits are bands of longitude with at least a tile's width between them, so no pixel is in two
splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import damage_explained, fingerprint, read_manifest, verified
from gancomp_core.data.tasks import Task
from gancomp_core.files import Json

TILE = 64  # pixels of height and width
TILING = 1  # raise it when tiles are cut otherwise: it is part of the fingerprints
GAMMA = 0.6  # satellite pictures are dark: this lifts forests out of the black and leaves ice white
SHARE = 0.02  # a class counts as present from this share of a tile on
CLASSES_PER_TILE = 3
MOST_CLASSES = 17  # the class map has fewer
LAND = 0.3  # least share of a tile that is no water
COVER, SUMMER, WINTER = "landcover.png", "bmng.jpg", "earth-blue-marble.jpg"


class OneHot:
    """Semantic maps, stored as class numbers and returned with one channel per class: 255 where it is, 0 elsewhere.

    Indexing gives uint8 [N, classes, H, W].

    Args:
        maps: uint8 [N, H, W] with values below ``classes``.
        classes: Number of classes.
    """

    def __init__(self, maps: Tensor, classes: int) -> None:
        self.maps, self.classes = maps, classes

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, indices: Tensor | slice, /) -> Tensor:
        numbers = torch.arange(self.classes, dtype=torch.uint8)[:, None, None]
        return (self.maps[indices][:, None] == numbers).to(torch.uint8) * 255


@dataclass(frozen=True)
class Bands:
    """Columns of a map for one split: ``width`` pixels from ``first`` on, and again every ``period``.

    Tiles start every ``stride`` pixels, so they overlap when it is less than :data:`TILE`.
    """

    first: int
    width: int
    stride: int = TILE
    period: int = 1800

    def columns(self, map_width: int) -> list[int]:
        """Left edges of the tiles that lie entirely in a band and on the map."""
        starts = range(self.first, map_width, self.period)
        columns = [x for start in starts for x in range(start, start + self.width - TILE + 1, self.stride)]
        return [x for x in columns if x + TILE <= map_width]


# 5400 x 2700 pixels; each split has three bands, a third of the globe apart, so that it sees most kinds of land;
# between bands of different splits lie 64 pixels (4.3 degrees) or more
COVER_BANDS = {"train": Bands(92, 960, stride=24), "search": Bands(1116, 192), "test": Bands(1372, 448)}
COVER_ROWS = (96, 2250)  # from 83.6 N, the end of the land, to 60 S: no Antarctica

# 4096 x 2048 pixels; the training sides are neighbors, the pairs for scoring lie apart
SEASON_BANDS = {
    "train sources": Bands(1152, 352, stride=16, period=1364),
    "train targets": Bands(140, 352, stride=16, period=1364),
    "search": Bands(556, 128, period=1364),
    "test": Bands(748, 320, period=1364),
}
SEASON_SIZE = (4096, 2048)
SEASON_ROWS = (73, 682)  # from 83.6 N to 30 N
SNOW_FREE = 0.3  # least share of a tile that is neither water nor eternal ice: the rest looks alike all year

Spots = list[tuple[int, int]]


def landcover2satellite(root: Path) -> Task:
    """Land cover to satellite picture: 64 px, ten classes to RGB, paired.

    A tile covers 4.3 degrees; it has at least 30 % land and three classes. Training tiles overlap, others do not.
    """
    folder = root / "planet"
    manifest = read_manifest(folder)
    names, palette = _classes(manifest, folder)
    cover, photo = _cover(folder, manifest), _brightened(folder, manifest, SUMMER)
    parts = {}
    for split, bands in COVER_BANDS.items():
        spots = [(y, x) for y, x in _spots(bands, COVER_ROWS, cover.shape[1]) if _varied(_shares(cover, y, x))]
        parts[split] = PictureSet(OneHot(_cut(cover, spots), len(names)), _cut(photo, spots))
    tiling = [TILING, TILE, GAMMA, SHARE, CLASSES_PER_TILE, LAND, _plain(COVER_BANDS), COVER_ROWS]
    mark = fingerprint("landcover2satellite", _checksums(manifest, COVER, SUMMER), tiling)
    train, search, test = (parts[name] for name in ("train", "search", "test"))
    return Task(
        "landcover2satellite", True, TILE, len(names), 3, train, search, test, mark, class_names=names, palette=palette
    )


def summer2winter(root: Path) -> Task:
    """Green season to a snowy one, north of 30 N: 64 px, RGB, unpaired, with hidden pairs in ``search`` and ``test``.

    A tile covers 5.6 degrees. No place is on both training sides.
    """
    folder = root / "planet"
    manifest = read_manifest(folder)
    summer, winter = (_brightened(folder, manifest, name, SEASON_SIZE) for name in (SUMMER, WINTER))
    # nearest, for class numbers cannot be averaged
    cover = np.array(Image.fromarray(_cover(folder, manifest)).resize(SEASON_SIZE, Image.Resampling.NEAREST))
    ice = _classes(manifest, folder)[0].index("snow and ice")
    spots = {
        name: [(y, x) for y, x in _spots(bands, SEASON_ROWS, cover.shape[1]) if _changing(_shares(cover, y, x), ice)]
        for name, bands in SEASON_BANDS.items()
    }
    train = PictureSet(_cut(summer, spots["train sources"]), _cut(winter, spots["train targets"]))
    search, test = (PictureSet(_cut(summer, spots[name]), _cut(winter, spots[name])) for name in ("search", "test"))
    tiling = [TILING, TILE, GAMMA, SNOW_FREE, _plain(SEASON_BANDS), SEASON_SIZE, SEASON_ROWS]
    mark = fingerprint("summer2winter", _checksums(manifest, COVER, SUMMER, WINTER), tiling)
    return Task("summer2winter", False, TILE, 3, 3, train, search, test, mark, hidden_pairs=True)


def _classes(manifest: Json, folder: Path) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Names and colors of the land-cover classes; class 0 is water."""
    with damage_explained(folder / "manifest.json"):
        classes = manifest["classes"]
        names = tuple(str(entry["name"]) for entry in classes)
        palette = tuple((int(red), int(green), int(blue)) for red, green, blue in (e["colour"] for e in classes))
        names.index("snow and ice")
    return names, palette


def _checksums(manifest: Json, *names: str) -> dict[str, str]:
    """What determines the maps, for a fingerprint.

    For the photos it is the SHA-256 of the files, because JPEG decoders may differ by a level; for the class map that
    of its pixels, so that a better-packed PNG does not invalidate recorded runs.
    """
    return {name: (manifest["pixels"] if name == COVER else manifest["outputs"])[name] for name in names}


def _checked(folder: Path, manifest: Json, name: str) -> Path:
    with damage_explained(folder / "manifest.json"):
        _checksums(manifest, name)
    return verified(folder, manifest, name)


def _cover(folder: Path, manifest: Json) -> np.ndarray:
    """Class numbers of the whole planet, uint8 [2700, 5400]."""
    path = _checked(folder, manifest, COVER)
    with damage_explained(path), Image.open(path) as picture:
        return np.array(picture)  # a palette picture: its values are the class numbers


def _brightened(folder: Path, manifest: Json, name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """A photo of the planet, uint8 [height, width, 3], with gamma :data:`GAMMA`; ``size`` is (width, height)."""
    curve = [round(255 * (value / 255) ** GAMMA) for value in range(256)]
    path = _checked(folder, manifest, name)
    with damage_explained(path), Image.open(path) as picture:
        photo = picture.convert("RGB")
    if size is not None and photo.size != size:
        photo = photo.resize(size, Image.Resampling.BICUBIC)
    return np.array(photo.point(curve * 3))


def _spots(bands: Bands, rows: tuple[int, int], map_width: int) -> Spots:
    """Upper left corners (row, column) of all tiles of some bands, from north to south."""
    tops = range(rows[0], rows[1] - TILE + 1, bands.stride)
    return [(y, x) for y in tops for x in bands.columns(map_width)]


def _shares(cover: np.ndarray, y: int, x: int) -> np.ndarray:
    """Share of each class in a tile, in [0, 1]."""
    return np.bincount(cover[y : y + TILE, x : x + TILE].ravel(), minlength=MOST_CLASSES) / TILE**2


def _varied(shares: np.ndarray) -> bool:
    return bool(1 - shares[0] >= LAND and (shares >= SHARE).sum() >= CLASSES_PER_TILE)


def _changing(shares: np.ndarray, ice: int) -> bool:
    return bool(1 - shares[0] - shares[ice] >= SNOW_FREE)


def _cut(planet: np.ndarray, spots: Sequence[tuple[int, int]]) -> Tensor:
    """The tiles at ``spots``: uint8 N x 64 x 64 of class numbers, N x 3 x 64 x 64 of a photo."""
    tiles = torch.from_numpy(np.stack([planet[y : y + TILE, x : x + TILE] for y, x in spots]))
    return tiles.permute(0, 3, 1, 2).contiguous() if tiles.dim() == 4 else tiles


def _plain(bands: dict[str, Bands]) -> dict[str, list[int]]:
    return {name: [each.first, each.width, each.stride, each.period] for name, each in bands.items()}
