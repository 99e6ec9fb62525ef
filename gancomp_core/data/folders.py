"""A folder of your own pictures as a task.

Three layouts are known (see :data:`LAYOUTS`). Every file is read once when the task is made, to check and to
fingerprint it; pictures are decoded when first asked for, and kept as uint8 while they fit into memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from gancomp_core.data import picture_files
from gancomp_core.data.picture_files import LazyPictures
from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError, shown

LAYOUTS = """
    "AB": source left, target right      "paired": same names twice      "unpaired"
    folder/                              folder/                         folder/
      [train/] 001.jpg                     [train/] source/ 001.png        trainA/ horse1.jpg
               002.jpg                              target/ 001.png        trainB/ zebra1.jpg
      [val/]   ...                         [val/]   ...                    [valA/ valB/]
      [test/]  ...                         [test/]  ...                    [testA/ testB/]
    (what stands in [brackets] may be left out)"""
KEPT_BYTES = 512 * 2**20  # decoded pictures kept in memory, over all splits and both sides
STRIDE = 4  # the generators halve the picture twice
SMALLEST = 8  # below it nothing is left for the generators to pad
LARGEST = 4096  # pixels; one batch of larger pictures fills the memory
#: Files that hold pictures, or may, and that are not read.
OTHER_SUFFIXES = ".avif .cr2 .dng .exr .heic .heif .jfif .jp2 .jpe .jxl .nef .pbm .pgm .pnm .ppm .psd .raw .svg .tga"
SPLITS = ("train", "search", "test")

_Side = Sequence["_Part"]
_Sides = tuple[_Side, _Side]
log = logging.getLogger("gancomp")


@dataclass(frozen=True, slots=True)
class _Part:
    """A picture, or half of one: where it lies and how big it is, upright, in pixels."""

    path: Path
    digest: str  # SHA-256 of the file
    width: int
    height: int
    half: int | None = None  # 0 left, 1 right


def folder_task(
    path: Path | str,
    *,
    size: int | None = None,
    layout: str | None = None,
    channels: int | tuple[int, int] = 3,
    seed: int = 0,
    reverse: bool = False,
) -> Task:
    """Your own pictures as a task, from a folder in one of the layouts "AB", "paired" or "unpaired".

    Transparency is laid on white; 16-bit gray is scaled to 8 bit; EXIF orientation is applied.

    Splits come from the sub-folders ``train``, ``val`` (used as ``search``) and ``test``. With ``val`` alone, it is
    ``test``. What is missing is taken from ``train``: a tenth each, chosen by a hash of ``seed`` and the file's name,
    so a picture stays where it is when others are added (but in folders so small that a tenth is no picture: those
    give one). Warnings name what is left out, because it ends in another way, is in a sub-folder or is a later picture
    of an animation, and pictures that two sub-folders hold.

    Args:
        path: The folder; ``~`` is expanded.
        size: Height and width in pixels, a multiple of 4 from 8 to 4096; pictures are resized to it by their shorter
            side and cropped in the middle. None keeps them as they are, if all are equal squares.
        layout: One of those in :data:`LAYOUTS`; None finds out.
        channels: 1 (gray) or 3 (RGB), or a pair (source, target).
        seed: Of the choice of pictures for splits that are missing.
        reverse: Swaps source and target.

    Raises:
        GancompError: Naming the file or folder that cannot be used.
    """
    if not isinstance(path, str | Path):
        raise GancompError(f"The folder is {path!r}; give its path as a text.")
    root = Path(os.path.expanduser(path))
    pair = _checked_channels(channels)
    _check_size(size)
    layout = layout or _detect(root)
    if not isinstance(layout, str) or layout not in _READERS:
        raise GancompError(f"There is no layout {layout!r}; the known ones are:", LAYOUTS)
    scan = _Scan()
    found = _READERS[layout](root, scan)
    _check_apart(found, paired=layout != "unpaired")
    splits = _complete(found, root, seed, paired=layout != "unpaired")
    if reverse:
        splits = {name: (target, source) for name, (source, target) in splits.items()}
    final = size or _common_size(part for sides in splits.values() for side in sides for part in side)
    left, sets = KEPT_BYTES, {}
    for name, sides in splits.items():
        pictures = []
        for side, deep in zip(sides, pair, strict=True):
            kept = min(len(side), left // (deep * final**2))
            left -= kept * deep * final**2
            pictures.append(_lazy(side, final, deep, kept))
        sets[name] = PictureSet(pictures[0], pictures[1])
    recipe = ["folder, version 1", layout, final, size, pair, reverse, scan.digests, _names(root, splits)]
    fingerprint = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    train, search, test = (sets[name] for name in SPLITS)
    return Task(root.resolve().name, layout != "unpaired", final, *pair, train, search, test, fingerprint)


def _lazy(side: _Side, size: int, channels: int, kept: int) -> LazyPictures:
    def make(index: int) -> Tensor:
        part = side[index]
        return picture_files.decode(part.path, size, channels, part.half, part.digest)

    return LazyPictures(len(side), (channels, size, size), make, kept)


# --- all files --------------------------------------------------------------------------------------------------------


class _Scan:
    """Reads each file once: its digest for the fingerprint, its upright size for the checks."""

    def __init__(self) -> None:
        self.digests: list[str] = []
        self.animated: list[Path] = []

    def pictures(self, folder: Path) -> list[_Part]:
        """The pictures of a folder in the order of their names; an empty folder is an error."""
        files = picture_files.pictures_in(folder)
        if not files:
            raise GancompError(
                f"The folder {folder} holds no pictures; pictures end in {', '.join(picture_files.SUFFIXES)}."
            )
        others = [
            entry
            for entry in picture_files.entries(folder)
            if not entry.name.startswith(".")
            and (entry.suffix.lower() in OTHER_SUFFIXES.split() or picture_files.is_folder(entry))
        ]
        read = f"files of that folder that end in {', '.join(picture_files.SUFFIXES)} are read"
        _warn(others, f"in {folder} were left out", read)
        self.animated.clear()
        parts = [self.part(file) for file in files]
        _warn(self.animated, "hold several pictures each, of which the first was read", "save the others as files")
        return parts

    def part(self, path: Path) -> _Part:
        data = picture_files.read(path)
        self.digests.append(hashlib.sha256(data).hexdigest())
        picture = picture_files.opened(data, path)
        part = _Part(path, self.digests[-1], *picture_files.upright_size(picture))
        with contextlib.suppress(Exception):  # Pillow raises anything for damaged bytes; decoding names them
            self.animated += [path] if getattr(picture, "is_animated", False) else []
        return part


def _warn(paths: Sequence[Path], what: str, why: str) -> None:
    """A warning about some files, where there are any, that names one of them."""
    if paths:
        log.warning("%d entries (such as %s) %s: %s.", len(paths), shown(paths[0].name), what, why)


def _folders(folder: Path) -> set[str]:
    return {entry.name for entry in picture_files.entries(folder) if picture_files.is_folder(entry)}


def _detect(root: Path) -> str:
    """The layout a folder is in. "AB" is only guessed for pictures twice as wide as high: others are no two squares."""
    folders = _folders(root)
    inner = root / "train" if "train" in folders else root
    if {"trainA", "trainB"} <= folders:
        return "unpaired"
    if {"source", "target"} <= _folders(inner):
        return "paired"
    files = picture_files.pictures_in(inner)
    if not files and not folders:
        raise GancompError(f"The folder {root} holds no pictures; the known layouts are:", LAYOUTS)
    if files:
        first = _Scan().part(files[0])
        if first.width == 2 * first.height:
            return "AB"
    raise GancompError(f"The folder {root} is in none of the known layouts, which are:", LAYOUTS)


def _split_folders(root: Path) -> dict[str, Path]:
    present = [name for name in ("train", "val", "test") if name in _folders(root)]
    return {name: root / name for name in present} if "train" in present else {"train": root}


def _read_ab(root: Path, scan: _Scan) -> dict[str, _Sides]:
    return {name: _halves(scan.pictures(folder)) for name, folder in _split_folders(root).items()}


def _halves(parts: list[_Part]) -> _Sides:
    for part in parts:
        if part.width % 2:
            raise GancompError(
                f"{part.path} is {part.width} pixels wide, an odd number, and cannot be two pictures side by side."
            )
    odd = [part.path for part in parts if part.width != 2 * part.height]
    if len(odd) < len(parts):
        _warn(odd, "are not twice as wide as high, as others are", "each was taken as two pictures side by side")
    left, right = ([replace(part, width=part.width // 2, half=half) for part in parts] for half in (0, 1))
    return left, right


def _read_paired(root: Path, scan: _Scan) -> dict[str, _Sides]:
    return {name: _pairs(folder, scan) for name, folder in _split_folders(root).items()}


def _pairs(folder: Path, scan: _Scan) -> _Sides:
    """Both sides in the same order, matched by file name without its ending."""
    sides = [_by_stem(scan.pictures(folder / side)) for side in ("source", "target")]
    for stem in sorted(sides[0].keys() ^ sides[1].keys()):
        lonely, other = (sides[0], "target") if stem in sides[0] else (sides[1], "source")
        raise GancompError(
            f"{lonely[stem].path} has no partner; {folder / other} must hold a picture named '{stem}' too."
        )
    for stem, source in sides[0].items():
        target = sides[1][stem]
        # cropping would cut away different things; a pixel of rounding is allowed
        if abs(source.width * target.height - target.width * source.height) > max(source.width, target.width):
            raise GancompError(
                f"{source.path} is {source.width}x{source.height} and {target.path} is {target.width}x{target.height}; "
                "the two pictures of a pair must have the same proportions."
            )
    return list(sides[0].values()), [sides[1][stem] for stem in sides[0]]


def _by_stem(parts: list[_Part]) -> dict[str, _Part]:
    found: dict[str, _Part] = {}
    for part in parts:
        stem = unicodedata.normalize("NFC", part.path.stem)  # macOS writes é as two letters
        if stem in found:
            raise GancompError(
                f"{found[stem].path} and {part.path.name} share a name, so their partner is unclear; "
                "rename or remove one."
            )
        found[stem] = part
    return found


def _read_unpaired(root: Path, scan: _Scan) -> dict[str, _Sides]:
    folders = _folders(root)
    splits: dict[str, _Sides] = {}
    for name in ("train", "val", "test"):
        present = {f"{name}A", f"{name}B"} & folders
        if present or name == "train":  # one side alone is an error that names the missing one
            splits[name] = scan.pictures(root / f"{name}A"), scan.pictures(root / f"{name}B")
    return splits


_READERS: dict[str, Callable[[Path, _Scan], dict[str, _Sides]]] = {
    "AB": _read_ab,
    "paired": _read_paired,
    "unpaired": _read_unpaired,
}


# --- splits and checks ------------------------------------------------------------------------------------------------


def _check_apart(found: dict[str, _Sides], paired: bool) -> None:
    """Warn of a picture, or pair of pictures, that two sub-folders hold, as some published sets do."""
    seen: dict[object, str] = {}
    doubled = []
    for name, sides in found.items():
        for parts in zip(*sides, strict=True) if paired else ((part,) for side in sides for part in side):
            if seen.setdefault(tuple(each.digest for each in parts), name) != name:
                doubled.append(parts[0].path)
    _warn(doubled, f"are in two of the folders {', '.join(found)}", "scores on what was trained on say little")


def _complete(found: dict[str, _Sides], root: Path, seed: int, paired: bool) -> dict[str, _Sides]:
    """Train, search and test from the sub-folders there were."""
    splits = dict(found)
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    if "val" in splits:
        splits["search"] = splits.pop("val")
    missing = [name for name in ("test", "search") if name not in splits]
    sides = splits["train"]
    if paired:
        order = _divide([part.path.stem for part in sides[0]], missing, seed, root)
        orders = [order, order]
    else:
        orders = [_divide([part.path.stem for part in side], missing, seed, root) for side in sides]
    for name in ("train", *missing):
        first, second = ([side[i] for i in order[name]] for side, order in zip(sides, orders, strict=True))
        splits[name] = first, second
    return {name: splits[name] for name in SPLITS}


def _divide(stems: list[str], missing: list[str], seed: int, root: Path) -> dict[str, list[int]]:
    """Indices of the pictures for each of ``missing`` (a tenth, at least one) and for "train" (the rest)."""
    if len(stems) <= len(missing):
        raise GancompError(
            f"The folder {root} holds {len(stems)} pictures to train on; {len(missing) + 1} or more are needed, "
            f"because {' and '.join(missing)} are taken from them."
        )
    places = [_place(stem, seed) for stem in stems]
    order = sorted(range(len(stems)), key=lambda index: (places[index], stems[index]))
    result, start = {}, 0
    for number, name in enumerate(missing, start=1):
        end = max(start + 1, sum(place < number / 10 for place in places))
        end = min(end, len(stems) - 1 - len(missing) + number)  # leave one for each that follows
        result[name], start = sorted(order[start:end]), end
    return {**result, "train": sorted(order[start:])}


def _place(stem: str, seed: int) -> float:
    """A number in [0, 1) that looks random and depends on the name, which may be no UTF-8, and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{stem}".encode(errors="surrogateescape")).digest()[:6], "big") / 2**48


def _checked_channels(channels: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(channels) if isinstance(channels, tuple | list) else (channels, channels)
    if len(pair) != 2 or not all(type(number) is int and number in (1, 3) for number in pair):
        raise GancompError(f"channels is {channels!r}; it must be 1 (gray), 3 (RGB) or a pair of these, as in (1, 3).")
    return pair[0], pair[1]


def _check_size(size: int | None) -> None:
    if size is not None and (type(size) is not int or not SMALLEST <= size <= LARGEST or size % STRIDE):
        raise GancompError(
            f"The size {size!r} is not possible; it must be a multiple of {STRIDE} from {SMALLEST} to {LARGEST}, "
            "for example 64."
        )


def _common_size(parts: Iterable[_Part]) -> int:
    """The size that all pictures share, if they are equal squares the generators can take."""
    everything = list(parts)
    first = everything[0]
    for part in everything:
        if (part.width, part.height) != (first.width, first.height):
            raise GancompError(
                f"The pictures differ in size: {first.path} is {first.width}x{first.height}, {part.path} is "
                f"{part.width}x{part.height}; pass size=, for example size={_nearby(first)}, to make them alike."
            )
    if first.width != first.height or first.width % STRIDE or first.width < SMALLEST:
        what = "each half of " if first.half is not None else ""
        raise GancompError(
            f"{what}{first.path} is {first.width}x{first.height}; it must be square with sides that are a multiple of "
            f"{STRIDE} and at least {SMALLEST}, or pass size=, for example size={_nearby(first)}, to resize and crop."
        )
    return first.width


def _nearby(part: _Part) -> int:
    return max(SMALLEST, min(part.width, part.height) // STRIDE * STRIDE)


def _names(root: Path, splits: dict[str, _Sides]) -> list[list[list[str]]]:
    return [[[part.path.relative_to(root).as_posix() for part in side] for side in splits[name]] for name in SPLITS]
