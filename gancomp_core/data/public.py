"""The full-size public sets of the papers: fetched over the network, checked, unpacked safely, read as tasks.

:mod:`gancomp_core.data.downloads` fetches them, :mod:`gancomp_core.data.archives` unpacks them.

The CycleGAN and DIV2K checksums are those that TensorFlow Datasets publishes; for the rest none is published, so the
one of the first download that unpacks is stored next to the archive, and every later download must have it too.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancomp_core.data.downloads import Archive, Unpacked, unpacked
from gancomp_core.data.folders import folder_task
from gancomp_core.data.photos import Photo
from gancomp_core.data.picture_files import FORMATS, MAX_PIXELS, pictures_in
from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import fingerprint
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError

PREFIX = "public:"
SCALE = 4  # of every super-resolution set here
SMALLEST = 32  # pixels; below it a small picture has nothing left

_CYCLEGAN = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/"
_PIX2PIX = "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets/"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_EDSR = "https://cv.snu.ac.kr/research/EDSR/"


@dataclass(frozen=True)
class _PublicSet:
    archives: tuple[Archive, ...]
    build: Callable[[str, Sequence[Unpacked], int], Task]
    size: int
    scale: int = 1


# --- the sets ---------------------------------------------------------------------------------------------------------


def public_names() -> list[str]:
    """Names of the public sets, as :func:`public_task` takes them."""
    return sorted((PREFIX + name for name in _SETS), key=str.casefold)


def public_task(name: str, size: int | None = None) -> Task:
    """A public set as a task; the first call fetches and unpacks it, which may take gigabytes and hours.

    ``size``: height and width of the targets in pixels, a multiple of 4 from 32 on; None takes 256, or tiles of 192 in
    super-resolution. What each set holds and which way it goes stands in ``data/README.md``. ``search`` is ``val``
    where a set has ``val`` and ``test``, and a tenth of the training pictures elsewhere; with ``val`` alone that is
    ``test``. The benchmarks Set5, Set14, BSD100 and Urban100 have nothing but ``test``.

    Raises :class:`GancompError` for an unknown name, an address that cannot be reached, a wrong checksum, and an
    archive that is damaged or tries to write outside its folder.
    """
    chosen = _known(name)
    size = chosen.size if size is None else size
    if size < SMALLEST or size % 4:
        raise GancompError(f"The size {size} is not possible; it must be a multiple of 4 and at least {SMALLEST}.")
    found = [unpacked(archive) for archive in chosen.archives]
    return chosen.build(name.removeprefix(PREFIX), found, size)


def public_photos(name: str) -> Iterator[Photo]:
    """The whole test photos of a super-resolution set, one at a time; see :func:`gancomp_core.data.whole_photos`.

    The target is cut to exactly 4 times the source, as the literature does. Its PSNR are of whole photos:
    the tiles of :func:`public_task` give other numbers. Raises :class:`GancompError` as :func:`public_task` does.
    """
    if _known(name).scale == 1:
        sets = _listing(scale=SCALE)
        raise GancompError(f"The set '{name}' has no small and large photos; those that have are: {sets}.")
    test = public_task(name).test.targets
    assert isinstance(test, Tiles)
    for photo in test.photos:
        height, width = photo.height // SCALE, photo.width // SCALE
        small, large = _pixels(photo.small)[:height, :width], _pixels(photo.large)[: photo.height, : photo.width]
        yield Photo(photo.large.stem, _nchw([small]), _nchw([large]))


def _known(name: str) -> _PublicSet:
    key = name.removeprefix(PREFIX)
    if key not in _SETS:
        raise GancompError(f"There is no public set '{name}'; those there are: {_listing()}.")
    return _SETS[key]


def _listing(scale: int | None = None) -> str:
    return ", ".join(f"'{name}'" for name in public_names() if scale in (None, _known(name).scale))


def _translation(name: str, unpacked: Sequence[Unpacked], size: int, reverse: bool) -> Task:
    task = folder_task(_inner(unpacked[0].folder, "train"), size=size, reverse=reverse)
    return replace(task, name=PREFIX + name)


def _div2k(name: str, unpacked: Sequence[Unpacked], size: int) -> Task:
    folders = [_inner(part.folder) for part in unpacked]
    photos = _photos(folders[0], folders[1])
    train = [photo for index, photo in enumerate(photos) if index % 10 != 9]
    return _tile_task(name, unpacked, size, train, photos[9::10], _photos(folders[2], folders[3]))


def _benchmark(name: str, unpacked: Sequence[Unpacked], size: int, folder: str) -> Task:
    root = _inner(unpacked[0].folder, folder) / folder
    return _tile_task(name, unpacked, size, [], [], _photos(root / "HR", root / "LR_bicubic" / f"X{SCALE}"))


def _inner(folder: Path, wanted: str = "") -> Path:
    """The folder that holds ``wanted``, or else something to choose from: archives wrap it into one or two more."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        if len(entries) != 1 or not entries[0].is_dir() or entries[0].name == wanted:
            return folder
        folder = entries[0]


_TILE = 192
_TO_B = functools.partial(_translation, reverse=False)
_TO_A = functools.partial(_translation, reverse=True)  # photos stand left, labels right; the papers paint photos

#: Published by TensorFlow Datasets, by file.
_SHA256 = {
    "horse2zebra.zip": "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1",
    "summer2winter_yosemite.zip": "167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
    "DIV2K_train_HR.zip": "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
    "DIV2K_train_LR_bicubic_X4.zip": "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a",
    "DIV2K_valid_HR.zip": "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
    "DIV2K_valid_LR_bicubic_X4.zip": "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553",
}
_DIV2K_FILES = [name for name in _SHA256 if name.startswith("DIV2K")]  # in the order in which the task is built of them


def _archives(base: str | None, *names: str) -> tuple[Archive, ...]:
    return tuple(Archive(name, base, _SHA256.get(name)) for name in names)


_SETS = {
    "horse2zebra": _PublicSet(_archives(_CYCLEGAN, "horse2zebra.zip"), _TO_B, 256),
    "summer2winter_yosemite": _PublicSet(_archives(_CYCLEGAN, "summer2winter_yosemite.zip"), _TO_B, 256),
    "edges2shoes": _PublicSet(_archives(_PIX2PIX, "edges2shoes.tar.gz"), _TO_B, 256),
    "maps": _PublicSet(_archives(_PIX2PIX, "maps.tar.gz"), _TO_A, 256),
    "facades": _PublicSet(_archives(_PIX2PIX, "facades.tar.gz"), _TO_A, 256),
    # the authors of pix2pix no longer give it away: the licence wants everybody to register with Cityscapes
    "cityscapes": _PublicSet(_archives(None, "cityscapes.tar.gz"), _TO_A, 256),
    "DIV2K": _PublicSet(_archives(_DIV2K, *_DIV2K_FILES), _div2k, _TILE, SCALE),
}
for _name, _folder in {"Set5": "Set5", "Set14": "Set14", "BSD100": "B100", "Urban100": "Urban100"}.items():
    # the four benchmarks come in one file, by the authors of EDSR
    _build = functools.partial(_benchmark, folder=_folder)
    _SETS[_name] = _PublicSet(_archives(_EDSR, "benchmark.tar"), _build, _TILE, SCALE)


# --- tiles of photos --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """A photo, large and ``SCALE`` times smaller; ``height`` and ``width`` of what both show, in large pixels."""

    large: Path
    small: Path
    height: int
    width: int


class Tiles:
    """Squares without overlap out of photos of any size: uint8 N x 3 x size x size, photo by photo, row by row.

    The grid sits in the middle of each photo. Photos are decoded when a tile of theirs is asked for; the last few
    stay in memory, so that walking through the tiles decodes each photo once, and jumping about may decode one a tile.
    """

    def __init__(self, photos: Sequence[_Pair], size: int, small: bool) -> None:
        self.photos, self.size, self.small = tuple(photos), size, small
        self._places = [(photo, *corner) for photo in photos for corner in _corners(photo, size)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        factor = SCALE if self.small else 1
        side, tiles = self.size // factor, []
        for index in indices.tolist():
            photo, top, left = self._places[index]
            pixels = _pixels(photo.small if self.small else photo.large)
            tiles.append(pixels[top // factor :, left // factor :][:side, :side])
        return _nchw(tiles) if tiles else torch.empty(0, 3, side, side, dtype=torch.uint8)


def _corners(photo: _Pair, size: int) -> list[tuple[int, int]]:
    tops, lefts = (
        [(n % size) // 2 // SCALE * SCALE + size * i for i in range(n // size)] for n in (photo.height, photo.width)
    )
    return [(top, left) for top in tops for left in lefts]


def _tile_task(
    name: str,
    unpacked: Sequence[Unpacked],
    size: int,
    train: Sequence[_Pair],
    search: Sequence[_Pair],
    test: Sequence[_Pair],
) -> Task:
    for photo in (*train, *search, *test):
        if min(photo.height, photo.width) < size:
            raise GancompError(
                f"{photo.large} is {photo.width}x{photo.height}, too small for a tile of {size}; pass a smaller size."
            )
    parts = (train, search, test)
    sets = [PictureSet(Tiles(part, size, small=True), Tiles(part, size, small=False)) for part in parts]
    mark = fingerprint("public tiles, version 1", name, size, SCALE, [part.digest for part in unpacked])
    return Task(PREFIX + name, True, size, 3, 3, sets[0], sets[1], sets[2], mark, scale=SCALE)


def _photos(large: Path, small: Path) -> list[_Pair]:
    """Pairs of the folders HR and LR by name: "0801.png" and "0801x4.png", or the same name twice."""
    partners = {path.stem.removesuffix(f"x{SCALE}"): path for path in _files(small)}
    photos = []
    for path in _files(large):
        if path.stem not in partners:
            raise GancompError(f"{path} has no partner; {small} must hold '{path.stem}x{SCALE}{path.suffix}'.")
        partner = partners[path.stem]
        (width, height), (small_width, small_height) = _size(path), _size(partner)
        # small ones are rounded up or down; what both show is what counts
        if abs(width - SCALE * small_width) >= SCALE or abs(height - SCALE * small_height) >= SCALE:
            raise GancompError(
                f"{path} is {width}x{height} and {partner} is {small_width}x{small_height}; the first must be {SCALE} "
                "times as large, so get the archives again."
            )
        shown = (SCALE * min(height // SCALE, small_height), SCALE * min(width // SCALE, small_width))
        photos.append(_Pair(path, partner, *shown))
    return photos


def _files(folder: Path) -> list[Path]:
    found = pictures_in(folder) if folder.is_dir() else []
    if not found:
        raise GancompError(
            f"The folder {folder} holds no pictures, so the archive is not the expected one; get another."
        )
    return found


def _size(path: Path) -> tuple[int, int]:
    with _opened(path) as picture:
        return picture.size


@functools.lru_cache(maxsize=64)  # 32 pairs of DIV2K are about 280 MB
def _pixels(path: Path) -> np.ndarray:
    """A whole photo, uint8 height x width x 3."""
    with _opened(path) as picture:
        return np.array(picture.convert("RGB"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"more than {MAX_PIXELS // 10**6} megapixels")
            yield picture
    except Exception as error:  # Pillow's decoders raise anything for damaged bytes
        raise GancompError(f"{path} cannot be read ({error}); delete its folder, and it is unpacked again.") from error


def _nchw(pictures: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
