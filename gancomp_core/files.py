"""Paths, checksums and atomic file writes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from gancomp_core.errors import GancompError

Json = dict[str, Any]  # an object of JSON: whoever reads it checks what it needs of it
REPOSITORY = Path(__file__).resolve().parent.parent
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # folders may be shared by several


def path_from_environment(variable: str) -> Path | None:
    """The path that an environment variable names, ``~`` expanded; None when it is unset or empty."""
    named = os.environ.get(variable, "").strip()
    return Path(os.path.expanduser(named)) if named else None  # not Path.expanduser: it raises for unknown users


def data_root() -> Path:
    """The folder of shipped pictures, weights and results: ``GANCOMP_DATA``, else ``data/`` of the checkout."""
    root = path_from_environment("GANCOMP_DATA") or REPOSITORY / "data"
    if not os.path.isdir(root):  # not Path.is_dir: it raises for names that are too long
        raise GancompError(
            f"The data folder {root} does not exist; set GANCOMP_DATA to the 'data' folder of a gancomp checkout."
        )
    return root


def cache_root() -> Path:
    """The folder for files that can be made again: ``GANCOMP_CACHE``, else ``.cache/`` of the checkout."""
    return path_from_environment("GANCOMP_CACHE") or REPOSITORY / ".cache"


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it over ``path`` when the block ends without an error.

    A kill at any moment leaves either the old file or the new one, never half a file. It may leave the temporary file,
    which the next write of the same path removes.

    Raises:
        GancompError: When the folder cannot be written to or the disk is full; nothing is left behind then.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent, begins := f".{path.name}.{_MACHINE}-")
        handle, name = tempfile.mkstemp(prefix=f"{begins}{os.getpid()}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _explained(error, path) from error
    except RecursionError as error:  # of pathlib, for a thousand folders
        raise _explained(OSError(errno.ENAMETOOLONG, "too many folders"), path) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(_mode(path))  # mkstemp makes it private
        os.replace(temporary, path)
    except Exception as error:
        if isinstance(error, OSError) or _means_full_disk(error, path):
            raise _explained(error, path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder, removed when the block ends; those of killed processes are removed on the way in."""
    _sweep(Path(tempfile.gettempdir()), begins := f"gancomp-{_MACHINE}-")
    with tempfile.TemporaryDirectory(prefix=f"{begins}{os.getpid()}.") as folder:
        yield Path(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time is in the block, the others wait; a lock ends with its process, however that ends.

    Args:
        path: The file of the lock, which stays.

    Raises:
        GancompError: When it cannot be written.
    """
    held = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except OSError as error:
        raise _explained(error, path) from error
    try:
        yield
    finally:
        held.release()


def _sweep(folder: Path, begins: str) -> None:
    """Remove what begins so, goes on with the number of a process of this machine, and outlived that process."""
    with contextlib.suppress(OSError):
        for entry in [entry for entry in os.scandir(folder) if entry.name.startswith(begins)]:
            number = entry.name.removeprefix(begins).partition(".")[0]
            if number.isdecimal() and not _runs(int(number)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _runs(process: int) -> bool:
    import psutil  # here and not above: few need it

    return bool(psutil.pid_exists(process))


def write_between(path: Path, begins: str, ends: str, text: str) -> None:
    """Put ``text`` between two marks that a text file has; raises :class:`GancompError` where it lacks them."""
    before, mark, rest = path.read_text(encoding="utf-8").partition(begins)
    _, end, after = rest.partition(ends)
    if not mark or not end:
        raise GancompError(f"{path} has no place for the table; put {begins} and {ends} into it.")
    with atomic_write(path) as temporary:
        temporary.write_text(f"{before}{mark}\n{text}{end}{after}", encoding="utf-8", newline="\n")


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or what the user's umask grants a new one."""
    if path.exists():
        return path.stat().st_mode & 0o777
    umask = os.umask(0o022)
    os.umask(umask)
    return 0o666 & ~umask


def _means_full_disk(error: BaseException, path: Path) -> bool:
    """Whether an error, or one behind it, says that the disk is full, or the disk says so itself.

    Libraries wrap the system's error in their own, and torch's C++ writer loses it altogether.
    """
    link: BaseException | None = error
    while link is not None:
        if getattr(link, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "(os error 28)" in str(link):
            return True
        link = link.__cause__ or link.__context__
    return isinstance(error, RuntimeError) and shutil.disk_usage(path.parent).free < 1_000_000


def _explained(error: Exception, path: Path) -> GancompError:
    if not isinstance(error, OSError) or _means_full_disk(error, path):
        return GancompError(
            f"The disk is full: {path} was not written, and what stood there before is untouched; "
            "free some space and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return GancompError(f"No permission to write {path}; choose a folder you own or change its permissions.")
    return GancompError(f"{path} could not be written ({error.strerror}); what stood there before is untouched.")
