"""Unpacking foreign archives: all of it or nothing, and never a byte outside the folder."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import lzma
import os
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

PIECE = 2**16  # bytes read at once
LARGEST_READ = 2**20  # bytes; tarfile reads a header in one piece, whatever size it claims
MAX_UNPACKED = 30 * 10**9  # bytes; DIV2K has 4e9
MAX_RATIO = 100  # unpacked to packed; pictures are compressed already and stay below 10
RATIO_FROM = 100 * 10**6  # unpacked bytes below which the ratio does no harm
MAX_MEMBERS = 1_000_000
MARKER = ".gancomp.json"  # lies in a folder that was unpacked to the end
FORMAT_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error)
# RuntimeError: packed in a way that Python does not know
DAMAGE = (*FORMAT_ERRORS, EOFError, ValueError, RuntimeError, OSError)
OF_THE_ARCHIVE = (None, errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ)  # errors of the system that no disk causes


class BadArchive(Exception):
    """Damaged or malicious archive; the message lacks its full stop."""


def unpack(archive: Path, folder: Path, marker: dict[str, str]) -> None:
    """Unpack a ``.zip``, ``.tar`` or ``.tar.gz`` into a new ``folder``: all of it, or nothing.

    Nothing but plain files and folders below ``folder`` is ever made. A kill half-way leaves a folder of another name,
    which the next call removes.

    Args:
        archive: The file; its suffix says of which kind it is.
        folder: Where its content goes; must not be there yet.
        marker: What is written into the file ``MARKER`` of the folder.

    Raises:
        BadArchive: For an archive that is damaged, or that has members no honest packer makes.
        OSError: When the disk is full or the folder cannot be written to.
    """
    temporary = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    with contextlib.suppress(OSError):
        temporary.unlink()  # a link or a file that stands in the way; never what a link leads to
    try:
        temporary.mkdir(parents=True)
        with _damage_explained(archive):
            target = _Target(archive, temporary)
            members = _zipped if archive.suffix.lower() == ".zip" else _tarred
            for member in members(archive, target):
                target.write(member)
        (temporary / MARKER).write_text(json.dumps(marker), encoding="utf-8")
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _damage_explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_ARCHIVE:
            raise
        raise BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class _Member:
    """A file, or a folder where there is no ``content``; ``wrong`` says why it is refused."""

    name: str
    content: _Readable | None
    wrong: str


def _zipped(archive: Path, target: _Target) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            wrong = "is encrypted" if info.flag_bits & 1 else ""
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                wrong = "is a link or a device"
            is_file = not info.orig_filename.endswith("/") and kind != stat.S_IFDIR and not wrong
            yield _Member(info.orig_filename, _Counted(opened.open(info), target) if is_file else None, wrong)


def _tarred(archive: Path, target: _Target) -> Iterator[_Member]:
    with (gzip.open if archive.suffix == ".gz" else open)(archive, "rb") as file:
        counted = _Counted(file, target)
        with tarfile.open(fileobj=counted, mode="r:") as opened:  # type: ignore[call-overload]
            for info in opened:
                wrong = "" if info.isreg() or info.isdir() else "is a link or a device"
                yield _Member(info.name, opened.extractfile(info) if info.isreg() else None, wrong)
            _check_end(counted, opened.offset)


def _check_end(file: _Counted, offset: int) -> None:
    """tarfile takes a file that was cut between two members for a whole one; a whole one ends with zeros."""
    file.seek(offset)
    last = file.read(tarfile.BLOCKSIZE)
    if len(last) < tarfile.BLOCKSIZE or any(last):
        raise EOFError("its end is missing")
    while file.read(PIECE):  # to the end, where gzip keeps its checksum
        pass


class _Counted:
    """An opened file of which no more is read than the target has left to spend."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, target: _Target) -> None:
        self._file, self._target = file, target
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int) -> bytes:
        if size > LARGEST_READ:  # of tarfile, for a header
            raise ValueError(f"a header of more than {LARGEST_READ / 1e6:.0f} MB")
        piece = self._file.read(size)
        self._target.spend(len(piece))
        return piece


class _Target:
    """Where members may go, and how much they may be."""

    def __init__(self, archive: Path, root: Path) -> None:
        self.archive, self.root = archive, root
        self.left = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * archive.stat().st_size))
        self._name = ""  # of the member that is read
        self._seen: dict[str, tuple[str, bool]] = {}

    def write(self, member: _Member) -> None:
        """Make a file or folder; counts what comes out, whatever the archive promises."""
        self._name = member.name
        if member.wrong:
            raise self.refusal(member.wrong)
        path = self._place(member.name, is_file=member.content is not None)
        if member.content is None:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(member.content) as source, path.open("xb") as file:
            while piece := source.read(PIECE):
                file.write(piece)

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise self.refusal(f"makes it unpack to more than {MAX_UNPACKED / 1e9:g} GB or {MAX_RATIO} times its size")

    def refusal(self, why: str) -> BadArchive:
        return BadArchive(f"The archive {self.archive} is refused, because its member {self._name!r} {why}")

    def _place(self, name: str, is_file: bool) -> Path:
        """The path for a member; refuses names that leave the folder on any system, and names that meet another."""
        parts = PurePosixPath(name).parts
        if "\\" in name or ":" in name or any(ord(letter) < 32 for letter in name):
            raise self.refusal("has a backslash, a colon or a control character in its name")
        if name.startswith("/") or ".." in parts or (is_file and not parts):
            raise self.refusal("leads out of the folder")
        if len(self._seen) >= MAX_MEMBERS:
            raise self.refusal(f"is one of more than {MAX_MEMBERS:,}")
        for depth in range(1, len(parts) + 1):
            self._claim("/".join(parts[:depth]), is_file and depth == len(parts))
        return self.root.joinpath(*parts)

    def _claim(self, path: str, is_file: bool) -> None:
        # what is one file for Windows or macOS must not be two here
        key = unicodedata.normalize("NFC", path).casefold()
        if key == MARKER or any(part.rstrip(" .") != part for part in path.split("/")):
            raise self.refusal("has a name that is not allowed")
        spelling, taken = self._seen.setdefault(key, (path, False))
        if spelling != path or taken or (is_file and (self.root / path).exists()):
            raise self.refusal(f"stands in the way of {spelling!r}" if spelling != path else "is there twice")
        if is_file:
            self._seen[key] = path, True
