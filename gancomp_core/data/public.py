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
from gancomp_core.data.picture_files import FORMATS, MAX_PIXELS, LazyPictures, pictures_in
from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import fingerprint
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError

PREFIX = "public:"
SCALE = 4  # of every super-resolution set here
TILE = 192  # pixels; height and width of the large tiles
SMALLEST = 32  # pixels; below it a small picture has nothing left

_CYCLEGAN = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/"
_PIX2PIX = "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets/"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_EDSR = "https://cv.snu.ac.kr/research/EDSR/"


_Photos = dict[str, list["_Pair"]]  # by split


@dataclass(frozen=True)
class _PublicSet:
    """A set of pictures to translate, or of ``photos`` to enlarge, which a function finds in unpacked archives."""

    archives: tuple[Archive, ...]
    reverse: bool = False
    photos: Callable[[Sequence[Unpacked]], _Photos] | None = None


# --- the sets ---------------------------------------------------------------------------------------------------------


def public_names() -> list[str]:
    """Names of the public sets, as :func:`public_task` takes them."""
    return sorted((PREFIX + name for name in _SETS), key=str.casefold)


def public_task(name: str, size: int | None = None) -> Task:
    """A public set as a task; the first call downloads and unpacks it, which may take gigabytes and hours.

    What each set contains and its direction is described in ``data/README.md``. ``search`` is ``val`` where a set has
    ``val`` and ``test``, and a tenth of the training pictures elsewhere; with ``val`` alone, that is ``test``. The
    benchmarks Set5, Set14, BSD100 and Urban100 have only ``test``.

    Args:
        name: "public:..." as in :func:`public_names`.
        size: Height and width of the targets in pixels, a multiple of 4 from 32 on; None takes 256, or tiles of 192 in
            super-resolution.

    Returns:
        The task.

    Raises:
        GancompError: For an unknown name, an address that cannot be reached, a wrong checksum, and an archive that is
            damaged or tries to write outside its folder.
    """
    chosen = _known(name)
    size = size if size is not None else 256 if chosen.photos is None else TILE
    if size < SMALLEST or size % 4:
        raise GancompError(f"The size {size} is not possible; it must be a multiple of 4 and at least {SMALLEST}.")
    found, name = [unpacked(archive) for archive in chosen.archives], name.removeprefix(PREFIX)
    if chosen.photos is not None:
        return _tile_task(name, found, size, chosen.photos(found))
    task = folder_task(_inner(found[0].folder, "train"), size=size, reverse=chosen.reverse)
    return replace(task, name=PREFIX + name)


def public_photos(name: str) -> Iterator[Photo]:
    """The whole test photos of a super-resolution set, one at a time; see :func:`gancomp_core.data.whole_photos`.

    The target is cut to exactly 4 times the source, as in the literature, whose PSNR values are of whole photos: the
    tiles of :func:`public_task` give other numbers.

    Args:
        name: "public:..." as in :func:`public_names`.

    Yields:
        The photos.

    Raises:
        GancompError: As :func:`public_task` does.
    """
    chosen = _known(name)
    if chosen.photos is None:
        sets = ", ".join(f"'{each}'" for each in public_names() if _known(each).photos)
        raise GancompError(f"The set '{name}' has no small and large photos; those that have are: {sets}.")
    for photo in chosen.photos([unpacked(archive) for archive in chosen.archives])["test"]:
        height, width = photo.height // SCALE, photo.width // SCALE
        small, large = _pixels(photo.small)[:height, :width], _pixels(photo.large)[: photo.height, : photo.width]
        yield Photo(photo.large.stem, _chw(small)[None], _chw(large)[None])


def _known(name: str) -> _PublicSet:
    key = name.removeprefix(PREFIX)
    if key not in _SETS:
        raise GancompError(f"There is no public set '{name}'; those there are: {', '.join(map(repr, public_names()))}.")
    return _SETS[key]


def _div2k(unpacked: Sequence[Unpacked]) -> _Photos:
    folders = [_inner(part.folder) for part in unpacked]
    photos = _photos(folders[0], folders[1])
    train = [photo for index, photo in enumerate(photos) if index % 10 != 9]
    return {"train": train, "search": photos[9::10], "test": _photos(folders[2], folders[3])}


def _benchmark(unpacked: Sequence[Unpacked], folder: str) -> _Photos:
    root = _inner(unpacked[0].folder, folder) / folder
    return {"train": [], "search": [], "test": _photos(root / "HR", root / "LR_bicubic" / f"X{SCALE}")}


def _inner(folder: Path, wanted: str = "") -> Path:
    """The folder that holds ``wanted``, or else something to choose from: archives wrap it into one or two more."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        if len(entries) != 1 or not entries[0].is_dir() or entries[0].name == wanted:
            return folder
        folder = entries[0]


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
    "horse2zebra": _PublicSet(_archives(_CYCLEGAN, "horse2zebra.zip")),
    "summer2winter_yosemite": _PublicSet(_archives(_CYCLEGAN, "summer2winter_yosemite.zip")),
    "edges2shoes": _PublicSet(_archives(_PIX2PIX, "edges2shoes.tar.gz")),
    # photos stand left, labels right; the papers paint photos
    "maps": _PublicSet(_archives(_PIX2PIX, "maps.tar.gz"), reverse=True),
    "facades": _PublicSet(_archives(_PIX2PIX, "facades.tar.gz"), reverse=True),
    # the authors of pix2pix no longer give it away: the licence wants everybody to register with Cityscapes
    "cityscapes": _PublicSet(_archives(None, "cityscapes.tar.gz"), reverse=True),
    "DIV2K": _PublicSet(_archives(_DIV2K, *_DIV2K_FILES), photos=_div2k),
}
for _name, _folder in {"Set5": "Set5", "Set14": "Set14", "BSD100": "B100", "Urban100": "Urban100"}.items():
    # the four benchmarks come in one file, by the authors of EDSR
    _find = functools.partial(_benchmark, folder=_folder)
    _SETS[_name] = _PublicSet(_archives(_EDSR, "benchmark.tar"), photos=_find)


# --- tiles of photos --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """A photo, large and ``SCALE`` times smaller; ``height`` and ``width`` of what both show, in large pixels."""

    large: Path
    small: Path
    height: int
    width: int


def _tiles(photos: Sequence[_Pair], size: int, small: bool) -> LazyPictures:
    """Squares without overlap out of photos of any size: uint8 N x 3 x size x size, photo by photo, row by row.

    The grid sits in the middle of each photo. Photos are decoded when a tile of theirs is asked for; the last few
    stay in memory, so that walking through the tiles decodes each photo once, and jumping about may decode one a tile.
    """
    places = [(photo, *corner) for photo in photos for corner in _corners(photo, size)]
    factor = SCALE if small else 1
    side = size // factor

    def make(index: int) -> Tensor:
        photo, top, left = places[index]
        pixels = _pixels(photo.small if small else photo.large)
        return _chw(pixels[top // factor :, left // factor :][:side, :side])

    return LazyPictures(len(places), (3, side, side), make)


def _corners(photo: _Pair, size: int) -> list[tuple[int, int]]:
    tops, lefts = (
        [(n % size) // 2 // SCALE * SCALE + size * i for i in range(n // size)] for n in (photo.height, photo.width)
    )
    return [(top, left) for top in tops for left in lefts]


def _tile_task(name: str, unpacked: Sequence[Unpacked], size: int, photos: _Photos) -> Task:
    for photo in (*photos["train"], *photos["search"], *photos["test"]):
        if min(photo.height, photo.width) < size:
            raise GancompError(
                f"{photo.large} is {photo.width}x{photo.height}, too small for a tile of {size}; pass a smaller size."
            )
    sets = {split: PictureSet(_tiles(part, size, True), _tiles(part, size, False)) for split, part in photos.items()}
    mark = fingerprint("public tiles, version 1", name, size, SCALE, [part.digest for part in unpacked])
    train, search, test = sets["train"], sets["search"], sets["test"]
    return Task(PREFIX + name, True, size, 3, 3, train, search, test, mark, scale=SCALE)


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


def _chw(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
