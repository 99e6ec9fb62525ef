"""Resumable downloads, checked and unpacked once.

Archives and their unpacked folders lie in ``datasets`` of the cache. A cut download goes on where it stopped, also
after a kill. An archive that already lies there is used and not fetched. ``GANCOMP_MIRROR``, the address of a folder,
replaces everything of an archive's address but the file name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from gancomp_core.data.archives import MARKER, BadArchive, unpack
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write, cache_root, sha256

if TYPE_CHECKING:
    import requests

ATTEMPTS = 4  # in a row without a single new byte
PAUSE_S = 1.0  # before the second attempt; doubled before each further one
TIMEOUT_S = (10.0, 30.0)  # to connect, and between two pieces
PIECE = 2**16  # bytes; a cut connection loses at most one piece


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
class Unpacked:
    """The folder with an archive's content."""

    folder: Path
    digest: str  # SHA-256 of the archive


def unpacked(archive: Archive) -> Unpacked:
    """The folder with an archive's content; fetched and unpacked by the first process that asks, while others wait.

    Raises:
        GancompError: When it cannot be downloaded, written or unpacked, or is another file than its checksum says.
    """
    root = cache_root() / "datasets"
    folder = root / archive.stem
    if found := _finished(folder):
        return found
    with _disk_explained(root):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{archive.file}.lock"):
            return _finished(folder) or _make(archive, root, folder)


def _finished(folder: Path) -> Unpacked | None:
    if not folder.exists():
        return None
    try:
        return Unpacked(folder, json.loads((folder / MARKER).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GancompError(
            f"The folder {folder} was not unpacked by gancomp; move it away, or read it with folder_task."
        ) from error


def _make(archive: Archive, root: Path, folder: Path) -> Unpacked:
    path, record = root / archive.file, root / f"{archive.file}.sha256"
    there = path.exists()
    _fetch(archive, path, record)
    digest = archive.sha256 or sha256(path)
    try:
        unpack(path, folder, {"archive": archive.file, "sha256": digest})
    except BadArchive as error:
        if there:
            raise GancompError(f"{error}; delete it, and the next call fetches it again.") from error
        path.unlink()
        raise GancompError(f"{error}; it was deleted, {_elsewhere(archive.file)}.") from error
    if archive.sha256 is None and not record.exists():
        with atomic_write(record) as temporary:
            temporary.write_text(f"{digest}  {archive.file}\n", encoding="utf-8")
    return Unpacked(folder, digest)


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
    except ValueError as error:  # what pooch raises for a wrong checksum
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
    if (
        mirror.startswith("http:")
        and not archive.sha256
        and not re.match(r"http://(127\.0\.0\.1|localhost)[:/]", mirror)
    ):
        raise GancompError(
            f"'{archive.file}' has no published checksum, so only an encrypted mirror is trusted; set GANCOMP_MIRROR "
            f"to an address that begins with https://, not to '{mirror}'."
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


@dataclass(frozen=True)
class _Note:
    """What is known of the bytes that are here: their address, the size of the whole, and its ETag or date."""

    url: str
    total: int | None = None
    validator: str | None = None


class _Resuming:
    """A downloader for pooch that keeps what it has: the next attempt, or the next process, asks for the rest alone.

    Bytes gather in ``<file>.part``; ``<file>.part.json`` says of which version of the file they are, and the server is
    asked to go on only if it still has that one. (pooch itself begins each attempt at the first byte.)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self.notes = path.with_name(path.name + ".part.json")

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
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

        note, have = self._note(url), self._have()
        goes_on = bool(have and note.total and note.validator)
        headers = {"Accept-Encoding": "identity"}
        if goes_on:
            headers |= {"Range": f"bytes={have}-", "If-Range": str(note.validator)}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == 200:  # the whole file, whatever was asked for
                note = self._begin(url, response)
                self._write(response, 0, note.total)
            elif goes_on and response.status_code == 206 and _is_rest(response, have, note):
                self._write(response, have, note.total)
            else:
                self._refused(url, response)
        if note.total not in (None, self._have()):
            raise _Cut("the connection was cut")

    def _begin(self, url: str, response: requests.Response) -> _Note:
        """Forget what was there; note what is to come."""
        length = response.headers.get("Content-Length", "")
        note = _Note(url, int(length) if length.isdecimal() else None, _validator(response))
        if note.total and note.total > shutil.disk_usage(self.path.parent).free:
            raise OSError(errno.ENOSPC, f"{note.total / 1e6:,.0f} MB do not fit", str(self.path))
        self.part.unlink(missing_ok=True)  # first: a kill must not leave an old part beside new notes
        self.notes.write_text(json.dumps(asdict(note)), encoding="utf-8")
        return note

    def _write(self, response: requests.Response, have: int, total: int | None) -> None:
        from tqdm.auto import tqdm

        # some servers call a .tar.gz a compressed .tar; what is stored must be the file itself
        response.raw.headers.pop("Content-Encoding", None)
        bar = tqdm(desc=self.path.name, initial=have, total=total, unit="B", unit_scale=True)
        with bar, self.part.open("ab" if have else "wb") as file:
            for piece in response.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))

    def _refused(self, url: str, response: requests.Response) -> None:
        status = response.status_code
        if status in (206, 416):  # another part than asked for, or the file is shorter now: begin again
            self.part.unlink(missing_ok=True)
            raise _Cut("the server sends another part than was asked for")
        said = f"the server answers {status} {response.reason}"
        if status >= 500 or status in (408, 429):
            raise _Cut(said)
        raise GancompError(f"{url} could not be downloaded ({said}); {_elsewhere(self.path.name)}.")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _note(self, url: str) -> _Note:
        """What is known of the part, if it is one of this address."""
        try:
            note = _Note(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return _Note(url)
        return note if note.url == url else _Note(url)

    def _whole(self, url: str) -> bool:
        return self.part.exists() and self._note(url).total == self._have()

    def _given_up(self, url: str, error: Exception) -> GancompError:
        return GancompError(
            f"{url} could not be downloaded ({_reason(error)}); check the network and call again, which goes on after "
            f"the {self._have() / 1e6:,.1f} MB that are here, or {_elsewhere(self.path.name)}."
        )


def _is_rest(response: requests.Response, have: int, note: _Note) -> bool:
    """Whether a body is what is missing of the file that the note is about."""
    said = response.headers.get("Content-Range")
    assert note.total is not None
    return said == f"bytes {have}-{note.total - 1}/{note.total}" and _validator(response) in (None, note.validator)


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
