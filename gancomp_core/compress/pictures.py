"""A folder of pictures for a teacher: found, divided, painted once to disk, and read from there as a task."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancomp_core.data import PictureSet, Task, picture_files, to_float, to_uint8
from gancomp_core.errors import GancompError, shown
from gancomp_core.files import atomic_write

SPLITS = ("train", "search", "test")
#: Shares of the pictures that are kept for choosing and for the reported numbers, and the most that is useful.
HELD = {"test": (0.2, 256), "search": (0.1, 64)}
FEWEST = 8
ARRAYS = (".npy", ".npz")
ENOUGH = 64  # pictures to train on, where the teacher turns out slow
BATCH = 8  # pictures that are painted at once


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What was found in a folder of pictures.

    Attributes:
        folder: The folder.
        identity: Changes with the names and the sizes of the files.
        readable: Number of files that can be used.
        unreadable: The others: name and reason.
        folders: Number of sub-folders with pictures.
        smallest: Least height and width in pixels.
        largest: Greatest height and width.
        typical: The median of the shorter sides.
    """

    folder: str
    identity: str
    readable: int
    unreadable: tuple[str, ...] = ()
    folders: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    typical: int = 0

    def __str__(self) -> str:
        (low, left), (high, right) = self.smallest, self.largest
        sizes = f"{high} x {right} pixels" if self.smallest == self.largest else f"{low} x {left} to {high} x {right}"
        inside = f", {self.folders} sub-folders among them" if self.folders else ""
        lost = f", {len(self.unreadable)} unreadable ({'; '.join(self.unreadable[:3])})" if self.unreadable else ""
        return f"{self.readable:,} pictures in {self.folder}{inside}, {sizes}{lost}"


@dataclass(frozen=True)
class PictureFolder:
    """The usable files of a folder in the order of a hash of their names, and what is to be said about them."""

    files: tuple[Path, ...]
    facts: PictureFacts
    channels: int

    def read(self, path: Path, canvas: tuple[int, int]) -> Tensor:
        """One file as uint8 [channels, height, width], resized and cropped in the middle (arrays: cropped alone).

        Raises:
            GancompError: For a file that cannot be used, naming it.
        """
        if self.channels in (1, 3):
            return picture_files.decode(path, canvas, self.channels)
        array = _array(path, self.channels)
        if any(side < wanted for side, wanted in zip(array.shape[1:], canvas, strict=True)):
            raise GancompError(f"{path} is smaller than {canvas[0]} x {canvas[1]}; take a smaller --size.")
        made = torch.from_numpy(np.array(middle(array, canvas)))
        return made if made.dtype == torch.uint8 else to_uint8(made.float())


def scan(folder: Path | str, channels: int) -> PictureFolder:
    """Find the pictures of a folder and its sub-folders, whatever their sizes and formats.

    Args:
        folder: The folder; ``~`` is expanded.
        channels: That the teacher takes: 1 (gray) and 3 (color) come from pictures, other numbers from ``.npy`` and
            ``.npz`` arrays [channels, height, width], uint8 or floats in [-1, 1].

    Raises:
        GancompError: For a folder with fewer than 8 usable files.
    """
    root = Path(os.path.expanduser(folder))
    picture_files.folders_in(root)  # refuses what is no folder
    suffixes = picture_files.SUFFIXES if channels in (1, 3) else ARRAYS
    sizes: dict[Path, tuple[int, int]] = {}
    unreadable, stamps, places = [], [], Counter[Path]()
    for path in _files(root, suffixes):
        name = path.relative_to(root).as_posix()
        try:
            sizes[path] = _size(path) if channels in (1, 3) else tuple(_array(path, channels).shape[1:])
            stamps.append([name, path.stat().st_size])
            places[path.parent] += 1
        except (GancompError, OSError) as error:
            unreadable.append(f"{shown(name)}: {str(error).removeprefix(f'{path} ')}")
    if len(sizes) < FEWEST:
        kinds = ", ".join(suffixes)
        bad = f" and {len(unreadable)} unreadable, the first being {unreadable[0]}" if unreadable else ""
        raise GancompError(
            f"{root} holds {len(sizes)} usable files ending in {kinds}{bad}; a compression needs {FEWEST} or more, "
            "and some hundred to become good."
        )
    heights, widths = zip(*sizes.values(), strict=True)
    facts = PictureFacts(
        folder=str(root.resolve()),
        identity=hashlib.sha256(json.dumps(stamps).encode(errors="surrogateescape")).hexdigest()[:16],
        readable=len(sizes),
        unreadable=tuple(unreadable),
        folders=len(places) - (root in places),
        smallest=(min(heights), min(widths)),
        largest=(max(heights), max(widths)),
        typical=int(np.median([min(size) for size in sizes.values()])),
    )
    return PictureFolder(tuple(sorted(sizes, key=lambda path: _place(path.relative_to(root)))), facts, channels)


def probe(folder: Path | str) -> Tensor | None:
    """A few of a folder's pictures in color, float32 [N, 3, 256, 256] in [-1, 1]; None where it has no pictures."""
    found: list[Tensor] = []
    for path in _files(Path(os.path.expanduser(folder)), picture_files.SUFFIXES):
        with contextlib.suppress(GancompError):  # named where the folder is looked at as a whole
            found.append(picture_files.decode(path, 256, 3))
        if len(found) == 4:
            break
    return to_float(torch.stack(found)) if found else None


def _files(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):  # names with a dot in front are what file managers leave behind
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield Path(folder, name)


def _place(name: Path) -> bytes:
    return hashlib.sha256(name.as_posix().encode(errors="surrogateescape")).digest()


def _size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, upright, from its header alone."""
    if path.stat().st_size > picture_files.MAX_BYTES or not path.is_file():
        raise GancompError("is no file, or one that is too large")
    try:
        with Image.open(path, formats=picture_files.FORMATS) as picture:
            width, height = picture_files.upright_size(picture)
    except Exception as error:  # Pillow's readers raise anything for damaged bytes
        raise GancompError("is no picture, or one that Pillow cannot read") from error
    if not 0 < width * height <= picture_files.MAX_PIXELS:
        raise GancompError(f"has more than {picture_files.MAX_PIXELS // 10**6} megapixels")
    return height, width


def _array(path: Path, channels: int) -> np.ndarray[Any, Any]:
    """An array of a file, not read yet where it is an ``.npy`` file; nothing is unpickled."""
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        array = held if isinstance(held, np.ndarray) else held[held.files[0]]
    except (OSError, ValueError, IndexError, EOFError, KeyError) as error:
        raise GancompError(f"{path} is no array that can be read without unpickling") from error
    floats = array.dtype in (np.float16, np.float32, np.float64)
    if array.ndim != 3 or array.shape[0] != channels or not (floats or array.dtype == np.uint8):
        raise GancompError(f"{path} is no uint8 or float array [{channels}, height, width]")
    return array


def middle(pictures: Any, size: tuple[int, int], grid: int = 1) -> Any:
    """The middle of pictures [..., H, W], arrays or tensors, on a grid of so many pixels."""
    sides = zip(pictures.shape[-2:], size, strict=True)
    top, left = ((whole - part) // (2 * grid) * grid for whole, part in sides)
    return pictures[..., top : top + size[0], left : left + size[1]]


def middles(sources: Tensor, painted: Tensor, size: int, made: int) -> tuple[Tensor, Tensor]:
    """The same middle of pictures and of what a teacher makes of them, ``size`` and ``made`` pixels high and wide."""
    given = middle(sources, (size, size), max(1, size // made))
    return given, middle(painted, (made, made), max(1, made // size))


def visible(pictures: Tensor) -> Tensor:
    """Pictures [N, C, H, W] of any channels as gray or color: three of them, or one where there are fewer."""
    return pictures[:, : 3 if pictures.shape[1] >= 3 else 1]


def divided(count: int) -> dict[str, int]:
    """How many of ``count`` pictures each split gets; at least two to choose by and two to report."""
    held = {name: min(max(2, round(share * count)), most) for name, (share, most) in HELD.items()}
    return {"train": count - sum(held.values()), "search": held["search"], "test": held["test"]}


# --- painted once, read from disk -------------------------------------------------------------------------------------


class DiskPictures:
    """uint8 pictures in an ``.npy`` file, read when asked for; see :class:`gancomp_core.data.Pictures`."""

    def __init__(self, path: Path, count: int) -> None:
        self._array = np.load(path, mmap_mode="r", allow_pickle=False)[:count]

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        chosen = indices if isinstance(indices, slice) else indices.numpy()
        return torch.from_numpy(np.array(self._array[chosen]))


class Painting:
    """Sources and the teacher's pictures of them in a folder, continued where a kill ended it.

    Args:
        folder: Where the arrays and the counter go.
        key: What the pictures depend on; a folder that was begun with another key is refused.
        splits: How many pictures each split shall have.
        shapes: (C, H, W) of sources and of targets, as they are kept.
    """

    def __init__(
        self, folder: Path, key: str, splits: Mapping[str, int], shapes: tuple[tuple[int, int, int], ...]
    ) -> None:
        self.folder, self.key, self.splits, self.shapes = folder, key, splits, shapes
        self.counter = folder / "painted.json"
        #: The next file of the folder, how many pictures each split has, and the files that could not be decoded.
        self.state: dict[str, Any] = {
            "key": key,
            "next": 0,
            "done": dict.fromkeys(SPLITS, 0),
            "skipped": [],
            "spent": 0.0,
            "complete": False,
        }
        if self.counter.exists():
            self.state = json.loads(self.counter.read_text(encoding="utf-8"))
            if self.state["key"] != key:
                raise GancompError(f"{folder} holds pictures of another plan; delete it, or choose another --out.")

    @property
    def done(self) -> int:
        """Pictures that are on disk."""
        return sum(self.state["done"].values())

    @property
    def complete(self) -> bool:
        """Whether nothing is left to paint."""
        return bool(self.state["complete"])

    def run(
        self,
        found: PictureFolder,
        canvas: tuple[int, int],
        paint: Callable[[Tensor], Tensor],
        seconds: float,
        tell: Callable[[int], None],
    ) -> None:
        """Paint what is missing: first for the splits that are kept back, then for training, which may get fewer.

        Args:
            found: The folder; files that cannot be decoded are skipped.
            canvas: Height and width that the teacher gets.
            paint: From float sources in [-1, 1] to the teacher's pictures.
            seconds: After which training has to do with the pictures that there are, if they are ENOUGH.
            tell: Gets the number of pictures that are done.

        Raises:
            GancompError: Where too many files cannot be decoded.
        """
        arrays = {(split, side): self._open(split, side) for split in SPLITS for side in (0, 1)}
        for split in reversed(SPLITS):
            while not self._late(seconds) and (given := self._next(found, canvas, split)):
                began = time.monotonic()
                sources, start = torch.stack(given), self.state["done"][split]
                sizes = (shape[2] for shape in self.shapes)
                for side, pictures in enumerate(middles(sources, to_uint8(paint(to_float(sources))), *sizes)):
                    held = arrays[split, side]
                    held[start : start + len(given)] = pictures.numpy()
                    held.flush()
                self.state["done"][split] += len(given)
                self.state["spent"] += time.monotonic() - began
                self._write()
                tell(self.done)
        if self.state["done"]["train"] < 2:
            raise GancompError(
                f"Of the pictures, {len(self.state['skipped'])} cannot be decoded, the first being "
                f"{self.state['skipped'][0].rstrip('.')}, and too few are left; replace them."
            )
        self.state["complete"] = True
        self._write()

    def _late(self, seconds: float) -> bool:
        return bool(self.state["spent"] > seconds and self.state["done"]["train"] >= ENOUGH)

    def _next(self, found: PictureFolder, canvas: tuple[int, int], split: str) -> list[Tensor]:
        """The next sources of a split that can be decoded."""
        sources, missing = list[Tensor](), self.splits[split] - self.state["done"][split]
        while len(sources) < min(BATCH, missing) and self.state["next"] < len(found.files):
            try:
                sources.append(found.read(found.files[self.state["next"]], canvas))
            except GancompError as error:
                self.state["skipped"].append(str(error))
            self.state["next"] += 1
        return sources

    def _open(self, split: str, side: int) -> np.memmap[Any, Any]:
        path, shape = self.path(split, side), (self.splits[split], *self.shapes[side])
        if path.exists() and self.state["done"][split]:
            return np.lib.format.open_memmap(path, mode="r+")
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def _write(self) -> None:
        with atomic_write(self.counter) as temporary:
            temporary.write_text(json.dumps(self.state), encoding="utf-8")

    def path(self, split: str, side: int) -> Path:
        """The array of one side (0: sources, 1: targets) of a split."""
        return self.folder / f"{split}-{('sources', 'targets')[side]}.npy"

    def task(self, name: str) -> Task:
        """The painted pictures as a task: every source's target is the teacher's picture of it."""
        sets = {}
        for split in SPLITS:
            sources, painted = (DiskPictures(self.path(split, side), self.state["done"][split]) for side in (0, 1))
            sets[split] = PictureSet(sources, painted, teacher=painted)
        mark = hashlib.sha256(json.dumps([self.key, self.state["done"], self.state["skipped"]]).encode()).hexdigest()
        (ours, _, given), (theirs, _, size) = self.shapes
        scale = max(1, size // given)  # where pictures shrink, whole ones are trained on, and it does not matter
        return Task(name, True, size, ours, theirs, sets["train"], sets["search"], sets["test"], mark, scale=scale)
