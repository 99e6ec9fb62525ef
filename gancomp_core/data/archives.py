"""Unpacking archives that somebody else made: all of it or nothing, and never a byte outside the folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

PIECE = 2**16  # bytes read at once
MAX_UNPACKED = 30 * 10**9  # bytes; DIV2K has 4e9
MAX_RATIO = 100  # unpacked to packed; pictures are compressed already and stay below 10
RATIO_FROM = 100 * 10**6  # unpacked bytes below which the ratio does no harm
MAX_MEMBERS = 1_000_000
MARKER = ".gancomp.json"  # lies in a folder that was unpacked to the end


class BadArchive(Exception):
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
        raise BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error
    except (EOFError, ValueError, RuntimeError) as error:  # RuntimeError: packed in a way that Python does not know
        raise BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise BadArchive(f"The archive {archive} is damaged or cut off ({error})") from error


class _Unpacking:
    """Where members may go, and how much they may be."""

    def __init__(self, archive: Path, root: Path) -> None:
        self.archive, self.root = archive, root
        self.left = min(MAX_UNPACKED, max(RATIO_FROM, MAX_RATIO * archive.stat().st_size))
        self._seen: dict[str, tuple[str, bool]] = {}

    def refuse(self, name: str, why: str) -> BadArchive:
        return BadArchive(f"The archive {self.archive} is refused, because its member {name!r} {why}")

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
