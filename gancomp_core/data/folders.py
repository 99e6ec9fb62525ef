"""A folder of your own pictures as a task.

Three layouts are known (see :data:`LAYOUTS`). Every file is read once when the task is made, to check and to
fingerprint it; pictures are decoded when first asked for, and kept as uint8 while they fit into memory. What is known
about a file takes a few hundred bytes, so a folder may hold millions of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
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

log = logging.getLogger("gancomp")


@dataclass(frozen=True, slots=True)
class _Part:
    """A picture, or half of one: where it lies and how big it is, upright, in pixels."""

    path: Path
    digest: str  # SHA-256 of the file
    width: int
    height: int
    half: int | None = None  # 0 left, 1 right


@dataclass(frozen=True)
class _Side(Sequence[_Part]):
    """Pictures of one folder: columns instead of a million objects, from which a :class:`_Part` is made when asked for.

    ``digests`` is uint8 [N, 32], ``sizes`` int32 [N, 2], width and height of the pictures (of half of them where
    ``half`` says which), and ``names`` belong to the N files; ``places`` says which of them, in which order.
    """

    folder: Path
    names: list[str]
    digests: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    places: NDArray[np.int64]
    half: int | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> _Part:  # type: ignore[override]  # slices are take()
        place = self.places[index]
        width, height = self.sizes[place].tolist()
        return _Part(self.folder / self.names[place], self.digests[place].tobytes().hex(), width, height, self.half)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> _Side:
        """The pictures at these indices."""
        return replace(self, places=self.places[np.asarray(indices, dtype=np.int64)])

    @property
    def own_names(self) -> Iterator[str]:
        """The names of the files in order."""
        return (self.names[place] for place in self.places)

    @property
    def stems(self) -> list[str]:
        """The names without their endings."""
        return [_stem(name) for name in self.own_names]

    @property
    def own_sizes(self) -> NDArray[np.int32]:
        """Width and height of each picture: [N, 2]."""
        return self.sizes[self.places]

    @property
    def own_digests(self) -> NDArray[np.uint8]:
        """The digest of each picture's file: [N, 32]."""
        return self.digests[self.places]


_Sides = tuple[_Side, _Side]


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
    if not isinstance(seed, int):
        raise GancompError(f"seed is a whole number, not {shown(repr(seed))}; leave it out for 0.")
    scan = _Scan()
    found = _READERS[layout](root, scan)
    _check_apart(found, paired=layout != "unpaired")
    splits = _complete(found, root, seed, paired=layout != "unpaired")
    if reverse:
        splits = {name: (target, source) for name, (source, target) in splits.items()}
    final = size or _common_size([side for sides in splits.values() for side in sides])
    left, sets = KEPT_BYTES, {}
    for name, sides in splits.items():
        pictures = []
        for side, deep in zip(sides, pair, strict=True):
            kept = min(len(side), left // (deep * final**2))
            left -= kept * deep * final**2
            pictures.append(_lazy(side, final, deep, kept))
        sets[name] = PictureSet(pictures[0], pictures[1])
    fingerprint = _fingerprint([layout, final, size, pair, reverse], scan.digests, _names(root, splits))
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
        self.digests: list[NDArray[np.uint8]] = []
        self.animated: list[str] = []

    def pictures(self, folder: Path) -> _Side:
        """The pictures of a folder in the order of their names; an empty folder is an error."""
        files, others = picture_files.names_in(folder, OTHER_SUFFIXES.split())
        if not files:
            raise GancompError(
                f"The folder {folder} holds no pictures; pictures end in {', '.join(picture_files.SUFFIXES)}."
            )
        read = f"files of that folder that end in {', '.join(picture_files.SUFFIXES)} are read"
        _warn(others, f"in {folder} were left out", read)
        self.animated.clear()
        digests, sizes = np.empty((len(files), 32), np.uint8), np.empty((len(files), 2), np.int32)
        for place, name in enumerate(files):
            digests[place], sizes[place] = self.file(folder / name)
        _warn(self.animated, "hold several pictures each, of which the first was read", "save the others as files")
        self.digests.append(digests)
        return _Side(folder, files, digests, sizes, np.arange(len(files)))

    def file(self, path: Path) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """Digest and upright size of a file."""
        data = picture_files.read(path)
        picture = picture_files.opened(data, path)
        with contextlib.suppress(Exception):  # Pillow raises anything for damaged bytes; decoding names them
            self.animated += [path.name] if getattr(picture, "is_animated", False) else []
        digest = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
        return digest, picture_files.upright_size(picture)


def _warn(names: Sequence[str], what: str, why: str) -> None:
    """A warning about some files, where there are any, that names one of them."""
    if names:
        log.warning("%d entries (such as %s) %s: %s.", len(names), shown(names[0]), what, why)


def _detect(root: Path) -> str:
    """The layout a folder is in. "AB" is only guessed for pictures twice as wide as high: others are no two squares."""
    folders = picture_files.folders_in(root)
    inner = root / "train" if "train" in folders else root
    if {"trainA", "trainB"} <= folders:
        return "unpaired"
    if {"source", "target"} <= picture_files.folders_in(inner):
        return "paired"
    files = picture_files.names_in(inner)[0]
    if not files and not folders:
        raise GancompError(f"The folder {root} holds no pictures; the known layouts are:", LAYOUTS)
    if files:
        width, height = _Scan().file(inner / files[0])[1]
        if width == 2 * height:
            return "AB"
    raise GancompError(f"The folder {root} is in none of the known layouts, which are:", LAYOUTS)


def _split_folders(root: Path) -> dict[str, Path]:
    folders = picture_files.folders_in(root)
    present = [name for name in ("train", "val", "test") if name in folders]
    return {name: root / name for name in present} if "train" in present else {"train": root}


def _read_ab(root: Path, scan: _Scan) -> dict[str, _Sides]:
    return {name: _halves(scan.pictures(folder)) for name, folder in _split_folders(root).items()}


def _halves(whole: _Side) -> _Sides:
    widths, heights = whole.sizes.T
    if len(uneven := np.flatnonzero(widths % 2)):
        part = whole[int(uneven[0])]
        raise GancompError(
            f"{part.path} is {part.width} pixels wide, an odd number, and cannot be two pictures side by side."
        )
    odd = [whole.names[place] for place in np.flatnonzero(widths != 2 * heights)]
    if len(odd) < len(whole):
        _warn(odd, "are not twice as wide as high, as others are", "each was taken as two pictures side by side")
    sizes = whole.sizes // np.array([2, 1], np.int32)
    return replace(whole, sizes=sizes, half=0), replace(whole, sizes=sizes, half=1)


def _read_paired(root: Path, scan: _Scan) -> dict[str, _Sides]:
    return {name: _pairs(folder, scan) for name, folder in _split_folders(root).items()}


def _pairs(folder: Path, scan: _Scan) -> _Sides:
    """Both sides in the same order, matched by file name without its ending."""
    sides = [scan.pictures(folder / side) for side in ("source", "target")]
    stems = [_by_stem(side) for side in sides]
    for stem in sorted(stems[0].keys() ^ stems[1].keys()):
        which, other = (0, "target") if stem in stems[0] else (1, "source")
        raise GancompError(
            f"{sides[which][stems[which][stem]].path} has no partner; {folder / other} must hold a picture named "
            f"'{stem}' too."
        )
    matched = sides[0], sides[1].take([stems[1][stem] for stem in stems[0]])
    (w, h), (other_w, other_h) = (side.own_sizes.T.astype(np.int64) for side in matched)
    # cropping would cut away different things; a pixel of rounding is allowed
    for place in np.flatnonzero(abs(w * other_h - other_w * h) > np.maximum(w, other_w)):
        source, target = (side[int(place)] for side in matched)
        raise GancompError(
            f"{source.path} is {source.width}x{source.height} and {target.path} is {target.width}x{target.height}; "
            "the two pictures of a pair must have the same proportions."
        )
    return matched


def _by_stem(side: _Side) -> dict[str, int]:
    """The place of each picture by its name without ending."""
    found: dict[str, int] = {}
    for place, name in enumerate(side.names):
        stem = unicodedata.normalize("NFC", _stem(name))  # macOS writes é as two letters
        if stem in found:
            raise GancompError(
                f"{side[found[stem]].path} and {name} share a name, so their partner is unclear; rename or remove one."
            )
        found[stem] = place
    return found


def _stem(name: str) -> str:
    """As ``Path(name).stem``, without an object for each of a million names."""
    return name[: name.rindex(".")]


def _read_unpaired(root: Path, scan: _Scan) -> dict[str, _Sides]:
    folders = picture_files.folders_in(root)
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
    doubled, seen = list[str](), np.empty(0, dtype="V64" if paired else "V32")
    for sides in found.values() if len(found) > 1 else ():
        first = len(sides[0])  # of unpaired sides, one may hold more pictures than the other
        digests = [side.own_digests for side in sides]
        rows = np.hstack(digests) if paired else np.vstack(digests)
        marks = np.ascontiguousarray(rows).view(seen.dtype)[:, 0]
        again = np.flatnonzero(np.isin(marks, seen))
        doubled += [(sides[0][i] if i < first else sides[1][i - first]).path.name for i in again.tolist()]
        seen = np.concatenate([seen, marks])
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
        order = _divide(sides[0].stems, missing, seed, root)
        orders = [order, order]
    else:
        orders = [_divide(side.stems, missing, seed, root) for side in sides]
    for name in ("train", *missing):
        first, second = (side.take(order[name]) for side, order in zip(sides, orders, strict=True))
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


def _common_size(sides: Sequence[_Side]) -> int:
    """The size that all pictures share, if they are equal squares the generators can take."""
    first = sides[0][0]
    for side in sides:
        for place in np.flatnonzero((side.own_sizes != (first.width, first.height)).any(axis=1)):
            part = side[int(place)]
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


def _names(root: Path, splits: dict[str, _Sides]) -> Iterator[list[Iterator[str]]]:
    """For each split and side the names of the pictures, from the root on."""
    for name in SPLITS:
        yield [_below(root, side) for side in splits[name]]


def _below(root: Path, side: _Side) -> Iterator[str]:
    inner = side.folder.relative_to(root).as_posix()
    return (name if inner == "." else f"{inner}/{name}" for name in side.own_names)


def _fingerprint(about: list[object], digests: list[NDArray[np.uint8]], names: Iterable[list[Iterator[str]]]) -> str:
    """SHA-256 of all this as JSON, written in pieces: for a million files it would be hundreds of megabytes."""
    found = hashlib.sha256(json.dumps(["folder, version 1", *about])[:-1].encode())

    def listed(texts: Iterable[str]) -> None:
        found.update(b"[")
        for place, text in enumerate(texts):
            found.update(f"{', ' if place else ''}{json.dumps(text)}".encode())
        found.update(b"]")

    found.update(b", ")
    listed(digest.tobytes().hex() for part in digests for digest in part)
    found.update(b", [")
    for place, sides in enumerate(names):
        found.update(b", [" if place else b"[")
        for index, side in enumerate(sides):
            found.update(b", " if index else b"")
            listed(side)
        found.update(b"]")
    found.update(b"]]")
    return found.hexdigest()
