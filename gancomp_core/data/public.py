"""The full-size public sets of the papers: fetched over the network, checked, unpacked safely, read as tasks.

Archives and their unpacked folders lie in ``datasets`` of the cache. A cut download goes on where it stopped, also
after a kill. An archive that already lies there is used and not fetched. ``GANCOMP_MIRROR``, the address of a folder,
replaces everything of an archive's address but the file name.

The CycleGAN and DIV2K checksums are those that TensorFlow Datasets publishes; for the rest none is published, so the
one of the first download that unpacks is kept beside the archive and every later download must have it too.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import re
import shutil
import stat
import struct
import tarfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from gancomp_core.data.folders import FORMATS, MAX_PIXELS, SUFFIXES, folder_task
from gancomp_core.data.photos import Photo
from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import fingerprint
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write, cache_root, sha256

if TYPE_CHECKING:
    import requests

PREFIX = "public:"
SCALE = 4  # of every super-resolution set here
ATTEMPTS = 4  # in a row without a single new byte
PAUSE_S = 1.0  # before the second attempt; doubled before each further one
TIMEOUT_S = (10.0, 30.0)  # to connect, and between two pieces
SMALLEST = 32  # pixels; below it a small picture has nothing left
PIECE = 2**16  # a cut connection loses at most so many bytes
MAX_UNPACKED = 30 * 10**9  # bytes; DIV2K has 4e9
MAX_RATIO = 100  # unpacked to packed; pictures are compressed already and stay below 10
RATIO_FROM = 100 * 10**6  # unpacked bytes below which the ratio does no harm
MAX_MEMBERS = 1_000_000
MARKER = ".gancomp.json"  # lies in a folder that was unpacked to the end

_CYCLEGAN = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/"
_PIX2PIX = "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets/"
_DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
_EDSR = "https://cv.snu.ac.kr/research/EDSR/"


@dataclass(frozen=True)
class Archive:
    """A file of a public set: its name, the address of its folder (None: not given away freely) and its SHA-256."""

    file: str
    base: str | None
    sha256: str | None = None

    @property
    def stem(self) -> str:
        """The name without ``.zip``, ``.tar`` or ``.tar.gz``."""
        return re.sub(r"(\.tar)?\.\w+$", "", self.file)


@dataclass(frozen=True)
class _Unpacked:
    folder: Path
    digest: str  # SHA-256 of the archive


@dataclass(frozen=True)
class _PublicSet:
    archives: tuple[Archive, ...]
    build: Callable[[str, Sequence[_Unpacked], int], Task]
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
    unpacked = [_unpacked(archive) for archive in chosen.archives]
    return chosen.build(name.removeprefix(PREFIX), unpacked, size)


def public_photos(name: str) -> Iterator[Photo]:
    """The whole test photos of a super-resolution set, one at a time, as :func:`~gancomp_core.data.photos.test_photos`.

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


def _translation(name: str, unpacked: Sequence[_Unpacked], size: int, reverse: bool) -> Task:
    task = folder_task(_inner(unpacked[0].folder, "train"), size=size, reverse=reverse)
    return replace(task, name=PREFIX + name)


def _div2k(name: str, unpacked: Sequence[_Unpacked], size: int) -> Task:
    folders = [_inner(part.folder) for part in unpacked]
    photos = _photos(folders[0], folders[1])
    train = [photo for index, photo in enumerate(photos) if index % 10 != 9]
    return _tile_task(name, unpacked, size, train, photos[9::10], _photos(folders[2], folders[3]))


def _benchmark(name: str, unpacked: Sequence[_Unpacked], size: int, folder: str) -> Task:
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
_PHOTOS = Archive("benchmark.tar", _EDSR)  # the four benchmarks in one file, by the authors of EDSR

_SETS = {
    "horse2zebra": _PublicSet(
        (Archive("horse2zebra.zip", _CYCLEGAN, "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1"),),
        _TO_B,
        256,
    ),
    "summer2winter_yosemite": _PublicSet(
        (
            Archive(
                "summer2winter_yosemite.zip",
                _CYCLEGAN,
                "167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
            ),
        ),
        _TO_B,
        256,
    ),
    "edges2shoes": _PublicSet((Archive("edges2shoes.tar.gz", _PIX2PIX),), _TO_B, 256),
    "maps": _PublicSet((Archive("maps.tar.gz", _PIX2PIX),), _TO_A, 256),
    "facades": _PublicSet((Archive("facades.tar.gz", _PIX2PIX),), _TO_A, 256),
    # the authors of pix2pix no longer give it away: the licence wants everybody to register with Cityscapes
    "cityscapes": _PublicSet((Archive("cityscapes.tar.gz", None),), _TO_A, 256),
    "DIV2K": _PublicSet(
        (
            Archive("DIV2K_train_HR.zip", _DIV2K, "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335"),
            Archive(
                "DIV2K_train_LR_bicubic_X4.zip",
                _DIV2K,
                "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a",
            ),
            Archive("DIV2K_valid_HR.zip", _DIV2K, "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
            Archive(
                "DIV2K_valid_LR_bicubic_X4.zip",
                _DIV2K,
                "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553",
            ),
        ),
        _div2k,
        _TILE,
        SCALE,
    ),
    "Set5": _PublicSet((_PHOTOS,), functools.partial(_benchmark, folder="Set5"), _TILE, SCALE),
    "Set14": _PublicSet((_PHOTOS,), functools.partial(_benchmark, folder="Set14"), _TILE, SCALE),
    "BSD100": _PublicSet((_PHOTOS,), functools.partial(_benchmark, folder="B100"), _TILE, SCALE),
    "Urban100": _PublicSet((_PHOTOS,), functools.partial(_benchmark, folder="Urban100"), _TILE, SCALE),
}


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
    unpacked: Sequence[_Unpacked],
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
    found = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not found:
        raise GancompError(
            f"The folder {folder} holds no pictures, so the archive is not the expected one; get another."
        )
    return sorted(found, key=lambda path: path.name)


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


# --- fetching ---------------------------------------------------------------------------------------------------------


def _unpacked(archive: Archive) -> _Unpacked:
    """The folder with an archive's content; fetched and unpacked by the first process that asks, while others wait."""
    root = cache_root() / "datasets"
    folder = root / archive.stem
    if found := _finished(folder):
        return found
    with _disk_explained(root):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{archive.file}.lock"):
            return _finished(folder) or _make(archive, root, folder)


def _finished(folder: Path) -> _Unpacked | None:
    if not folder.exists():
        return None
    try:
        return _Unpacked(folder, json.loads((folder / MARKER).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GancompError(
            f"The folder {folder} was not unpacked by gancomp; move it away, or read it with folder_task."
        ) from error


def _make(archive: Archive, root: Path, folder: Path) -> _Unpacked:
    path, record = root / archive.file, root / f"{archive.file}.sha256"
    there = path.exists()
    _fetch(archive, path, record)
    digest = archive.sha256 or sha256(path)
    try:
        unpack(path, folder, {"archive": archive.file, "sha256": digest})
    except _BadArchive as error:
        if there:
            raise GancompError(f"{error}; delete it, and the next call fetches it again.") from error
        path.unlink()
        raise GancompError(f"{error}; it was deleted, {_elsewhere(archive.file)}.") from error
    if archive.sha256 is None and not record.exists():
        with atomic_write(record) as temporary:
            temporary.write_text(f"{digest}  {archive.file}\n", encoding="utf-8")
    return _Unpacked(folder, digest)


def _fetch(archive: Archive, path: Path, record: Path) -> None:
    """Bring the archive to ``path``, unless it lies there with the right checksum."""
    import pooch  # here and not above: only who downloads waits for these imports

    recorded = archive.sha256 is None and record.exists()
    known = record.read_text(encoding="utf-8").split()[0] if recorded else archive.sha256
    if path.exists() and known is None:
        return
    if path.exists() and sha256(path) == known:
        return
    address = _address(archive, path)
    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.WARNING)  # it would advise to write the checksum into the source
    try:
        pooch.retrieve(address, known, path.name, path.parent, downloader=_Resuming(path))
    except GancompError:
        raise
    except ValueError as error:  # how pooch tells a wrong checksum
        hint = f"or delete {record} if you trust the new file" if recorded else _elsewhere(archive.file)
        raise GancompError(
            f"{address} sends another file than expected (its SHA-256 is not {known}); it was deleted, {hint}."
        ) from error
    finally:
        log.setLevel(level)


def _address(archive: Archive, path: Path) -> str:
    mirror = os.environ.get("GANCOMP_MIRROR", "").strip()
    if mirror and not re.match(r"https?://[^/]", mirror):
        raise GancompError(
            f"GANCOMP_MIRROR is '{mirror}'; it must be the address of a folder, for example https://example.org/sets."
        )
    if not mirror and archive.base is None:
        raise GancompError(
            f"'{archive.file}' is not given away freely: register with the set's authors, then put the file to {path} "
            "or set GANCOMP_MIRROR to the address of a folder that holds it."
        )
    return f"{(mirror or archive.base or '').rstrip('/')}/{archive.file}"


def _elsewhere(file: str) -> str:
    return f"set GANCOMP_MIRROR to the address of another folder that holds {file}"


@contextlib.contextmanager
def _disk_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way_out = "free some space and call again, or set GANCOMP_CACHE to a folder on a larger disk"
        else:
            way_out = "set GANCOMP_CACHE to a folder that you can write to"
        raise GancompError(f"{error.filename or path} could not be written ({error.strerror}); {way_out}.") from error


class _Cut(Exception):
    """An attempt ended early; the next one may go on."""


class _Resuming:
    """A downloader for pooch that keeps what it has: the next attempt, or the next process, asks for the rest alone.

    Bytes gather in ``<file>.part``; ``<file>.part.json`` says of which version of the file they are (its ETag or
    date), and the server is asked to go on only if it still has that one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.notes = path.with_name(path.name + ".part.json")

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch ``url`` into ``output_file``; raises :class:`GancompError` after ``ATTEMPTS`` that brought nothing."""
        import requests

        failures = 0
        while not self._whole(url):
            before = self._have()
            try:
                self._attempt(url)
                break
            except (requests.RequestException, _Cut) as error:
                failures = 1 if self._have() > before else failures + 1
                if failures >= ATTEMPTS:
                    raise self._given_up(url, error) from error
                time.sleep(PAUSE_S * 2 ** (failures - 1))
        os.replace(self.part, output_file)
        self.notes.unlink(missing_ok=True)

    def _attempt(self, url: str) -> None:
        import requests

        headers = {"Accept-Encoding": "identity"}
        have, validator = self._have(), self._note(url).get("validator")
        if have and validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            continued = self._continues(response, url)
            if not continued:
                self._begin(url, response)
            self._write(response, append=continued)
        total = self._note(url).get("total")
        if total is not None and self._have() != total:
            raise _Cut("the connection was cut")

    def _continues(self, response: requests.Response, url: str) -> bool:
        """Whether the body is the missing rest (True) or the whole file (False); neither is an error."""
        status, note = response.status_code, self._note(url)
        if status == 200:
            return False
        if status == 206:
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
            first, last, total = (int(text) for text in match.groups()) if match else (-1, -1, -1)
            same = _validator(response) in (None, note.get("validator")) and note.get("total") in (None, total)
            if first == self._have() and last == total - 1 and same:
                return True
        if status in (206, 416):  # another part than asked for, or the file is shorter now: start anew
            self.part.unlink(missing_ok=True)
            raise _Cut("the server sends another part than was asked for")
        said = f"the server answers {status} {response.reason}"
        if status >= 500 or status in (408, 429):
            raise _Cut(said)
        raise GancompError(f"{url} could not be downloaded ({said}); {_elsewhere(self.path.name)}.")

    def _begin(self, url: str, response: requests.Response) -> None:
        """Forget what was there; note what is to come."""
        total = _length(response)
        if total is not None and total > shutil.disk_usage(self.path.parent).free:
            raise OSError(errno.ENOSPC, f"{total / 1e6:,.0f} MB do not fit", str(self.path))
        self.part.unlink(missing_ok=True)  # first: a kill must not leave an old part beside new notes
        note = {"url": url, "total": total, "validator": _validator(response)}
        self.notes.write_text(json.dumps(note), encoding="utf-8")

    def _write(self, response: requests.Response, append: bool) -> None:
        from tqdm.auto import tqdm

        # some servers call a .tar.gz a compressed .tar; what is stored must be the file itself
        response.raw.headers.pop("Content-Encoding", None)
        length = _length(response)
        done = self._have() if append else 0
        bar = tqdm(
            desc=self.path.name, initial=done, total=done + length if length else None, unit="B", unit_scale=True
        )
        with bar, self.part.open("ab" if append else "wb") as file:
            for piece in response.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _note(self, url: str) -> dict[str, Any]:
        """What is known of the part, if it is one of this address."""
        try:
            note = json.loads(self.notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) and note.get("url") == url else {}

    def _whole(self, url: str) -> bool:
        return self.part.exists() and self._note(url).get("total") == self._have()

    def _given_up(self, url: str, error: Exception) -> GancompError:
        return GancompError(
            f"{url} could not be downloaded ({_reason(error)}); check the network and call again, which goes on after "
            f"the {self._have() / 1e6:,.1f} MB that are here, or {_elsewhere(self.path.name)}."
        )


def _length(response: requests.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _validator(response: requests.Response) -> str | None:
    """What identifies a version of a file to the byte: a strong ETag, else its date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _reason(error: Exception) -> str:
    """A few words; the originals of requests run over several lines."""
    import requests

    kinds = (
        (requests.exceptions.SSLError, "its certificate cannot be verified"),
        (requests.exceptions.Timeout, f"no answer within {TIMEOUT_S[1]:g} s"),
        (requests.exceptions.ConnectionError, "the server cannot be reached"),
        (requests.exceptions.ChunkedEncodingError, "the connection was cut"),
    )
    return next((words for kind, words in kinds if isinstance(error, kind)), str(error))


# --- unpacking --------------------------------------------------------------------------------------------------------


class _BadArchive(Exception):
    """An archive that is damaged, or that no honest packer makes; the text lacks its full stop."""


def unpack(archive: Path, folder: Path, marker: dict[str, str]) -> None:
    """Unpack a ``.zip``, ``.tar`` or ``.tar.gz`` into a new ``folder``: all of it, or nothing.

    Nothing but plain files and folders below ``folder`` is ever made; ``marker`` goes into a file of it. Whoever is
    killed half-way leaves a folder of another name, which the next call removes.
    """
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        budget = _Unpacking(archive, temporary)
        with _damage_explained(archive):
            (_unzip if archive.suffix.lower() == ".zip" else _untar)(budget)
        (temporary / MARKER).write_text(json.dumps(marker), encoding="utf-8")
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _damage_explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error) as error:
        raise _BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error
    except (EOFError, ValueError, RuntimeError) as error:  # RuntimeError: packed in a way that Python does not know
        raise _BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise _BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error


class _Unpacking:
    """Where members may go, and how much they may be."""

    def __init__(self, archive: Path, root: Path) -> None:
        self.archive, self.root = archive, root
        self.left = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * archive.stat().st_size))
        self._seen: dict[str, tuple[str, bool]] = {}

    def refuse(self, name: str, why: str) -> _BadArchive:
        return _BadArchive(f"The archive {self.archive} is refused, because its member {name!r} {why}")

    def place(self, name: str, is_file: bool) -> Path:
        """The path for a member; refuses names that leave the folder on any system, and names that meet another."""
        parts = PurePosixPath(name).parts
        if "\\" in name or ":" in name or any(ord(letter) < 32 for letter in name):
            raise self.refuse(name, "has a backslash, a colon or a control character in its name")
        if name.startswith("/") or ".." in parts or (is_file and not parts):
            raise self.refuse(name, "leads out of the folder")
        if len(self._seen) >= MAX_MEMBERS:
            raise self.refuse(name, f"is one of more than {MAX_MEMBERS:,}")
        for depth in range(1, len(parts) + 1):
            self._claim(name, "/".join(parts[:depth]), is_file and depth == len(parts))
        return self.root.joinpath(*parts)

    def _claim(self, name: str, path: str, is_file: bool) -> None:
        # what is one file for Windows or macOS must not be two here
        key = unicodedata.normalize("NFC", path).casefold()
        if key == MARKER or any(part.rstrip(" .") != part for part in path.split("/")):
            raise self.refuse(name, "has a name that is not allowed")
        spelling, taken = self._seen.setdefault(key, (path, False))
        if spelling != path or taken or (is_file and (self.root / path).exists()):
            raise self.refuse(name, f"stands in the way of {spelling!r}" if spelling != path else "is there twice")
        if is_file:
            self._seen[key] = path, True

    def write(self, name: str, target: Path, source: IO[bytes]) -> None:
        """Copy a member; counts what comes out, whatever the archive promises."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while piece := source.read(PIECE):
                self.spend(name, len(piece))
                file.write(piece)

    def spend(self, name: str, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise self.refuse(
                name,
                f"makes it unpack to more than {MAX_UNPACKED / 1e9:g} GB or {MAX_RATIO} times its size",
            )


def _unzip(target: _Unpacking) -> None:
    with zipfile.ZipFile(target.archive) as archive:
        for member in archive.infolist():
            name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise target.refuse(name, "is a link or a device")
            if member.flag_bits & 1:
                raise target.refuse(name, "is encrypted")
            is_file = not name.endswith("/") and kind != stat.S_IFDIR
            path = target.place(name, is_file)
            if is_file:
                with archive.open(member) as source:
                    target.write(name, path, source)
            else:
                path.mkdir(parents=True, exist_ok=True)


def _untar(target: _Unpacking) -> None:
    with tarfile.open(target.archive, "r:gz" if target.archive.suffix == ".gz" else "r:") as archive:
        for member in archive:
            if not (member.isreg() or member.isdir()):
                raise target.refuse(member.name, "is a link or a device")
            path = target.place(member.name, member.isreg())
            _ask_python(member, target)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif source := archive.extractfile(member):
                target.write(member.name, path, source)
        _check_end(archive, target)


def _ask_python(member: tarfile.TarInfo, target: _Unpacking) -> None:
    """Python's own opinion besides ours, where it has one: the first releases of 3.11 have not."""
    if hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(member, str(target.root))
        except tarfile.FilterError as error:
            raise target.refuse(member.name, f"is not safe ({error})") from error


def _check_end(archive: tarfile.TarFile, target: _Unpacking) -> None:
    """tarfile takes a file that was cut between two members for a whole one; a whole one ends with zeros."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    last = archive.fileobj.read(tarfile.BLOCKSIZE)
    if len(last) < tarfile.BLOCKSIZE or any(last):
        raise EOFError("its end is missing")
    while piece := archive.fileobj.read(PIECE):  # to the end, where gzip keeps its checksum
        target.spend("padding", len(piece))
