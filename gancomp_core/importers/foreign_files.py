"""Weight files of other projects: what a file is, by its content, and what it holds. Nothing in it is run."""

from __future__ import annotations

import os
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from gancomp_core.errors import GancompError, shown
from gancomp_core.importers.pickles import Refused, Unreadable, read_pickled

ZIP = b"PK\x03\x04"
MAX_RATIO, RATIO_FROM = 8, 2**26  # unpacked to packed, from so many bytes on; torch.save does not compress
LARGEST_FILE = 2**31  # bytes, unpacked; the published ResNet-9 has 46 million


@dataclass(frozen=True)
class Loaded:
    """What a file holds: state dicts in mappings and lists, in which objects of the file's own are inert."""

    content: object
    format: str
    objects: tuple[str, ...] = ()


def read_foreign(path: Path | str) -> Loaded:
    """What a weight file holds; its name does not matter.

    Args:
        path: A file of ``torch.save`` (of any age since 0.4), a pickle, or safetensors; ``~`` is the home folder.

    Returns:
        The content, the kind of file, and the names of Python objects in it, which were not made.

    Raises:
        GancompError: The file is missing, damaged, malicious, or of another kind; the message names the way out.
    """
    path = Path(os.path.expanduser(path))
    _check_file(path)
    try:
        head = _head(path)
        if what := _something_else(path, head):
            raise GancompError(f"{path} {what}.")
        if _is_safetensors(path, head):
            with safe_open(path, framework="pt") as file:
                return Loaded({name: file.get_tensor(name) for name in file.keys()}, "safetensors")  # noqa: SIM118
        with path.open("rb") as stream:
            return Loaded(*_in_order(read_pickled(stream)))
    except GancompError:
        raise
    except PermissionError as error:
        raise GancompError(f"No permission to read {path}; change its permissions.") from error
    except Refused as error:
        raise GancompError(
            f"{path} was refused and nothing in it was run: it asks Python for '{shown(str(error))}', which no "
            "checkpoint needs; get it as .safetensors from someone you trust."
        ) from error
    except SafetensorError as error:
        raise _unreadable(path, "it is cut off or damaged") from error
    except Unreadable as error:
        raise _unreadable(path, str(error)) from error
    except Exception as error:  # a damaged pickle raises any type: its instructions stop making sense
        raise _unreadable(path, f"it is cut off, damaged or something else ({type(error).__name__})") from error


def _in_order(read: tuple[object, tuple[str, ...], str]) -> tuple[object, str, tuple[str, ...]]:
    content, objects, kind = read
    return content, kind, objects


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise GancompError(f"{path} is a folder; give the path of a weight file in it.")
    if not path.is_file():
        raise GancompError(f"There is no file {path}; check the path.")
    size = path.stat().st_size
    if size == 0:
        raise GancompError(f"{path} is empty; get the file again.")
    if size > LARGEST_FILE:
        raise _too_large(path, size)


def _too_large(path: Path, size: int) -> GancompError:
    return GancompError(
        f"{path} holds {size / 1e9:.1f} GB, and at most {LARGEST_FILE / 1e9:.1f} GB are read; "
        "save the generator's state dict alone."
    )


def _unreadable(path: Path, why: str) -> GancompError:
    return GancompError(f"{path} cannot be read as weights: {why}; get the file again, or save state_dict() alone.")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Eight bytes with the length of a header in JSON, then the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size


OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS; 'git lfs pull' replaces it by the file",
    b"\x89HDF": "is an HDF5 file (Keras); export the network to ONNX and give that to 'gancomp compress'",
    b"\x1f\x8b": "is packed by gzip; unpack it first",
    b"7z\xbc\xaf": "is a 7z archive; unpack it first",
    b"Rar!": "is a RAR archive; unpack it first",
}


def _something_else(path: Path, head: bytes) -> str:
    """What a file is that holds no weights to read, and the way out; empty for all others."""
    for begins, what in OTHERS.items():
        if head.startswith(begins):
            return what
    if head.lstrip().startswith(b"<"):
        return "is a web page, probably the error page of a download; get the file again"
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and 0 < head[1] < 32 and head[2:3] in b'\x12\x1a"(2:B'):
        return "is an ONNX network, not a checkpoint; give it to open_teacher or to 'gancomp compress'"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head) and b"\n." not in head[-3:]:
        if not _is_text_pickle(head):
            return f"is text that begins with {shown(head.decode()[:40])!r}; get the file again"
    if head.startswith(ZIP):
        return _other_archive(path)
    if tarfile.is_tarfile(path):
        return (
            "is a tar file, of torch 0.1 or of something else; if you trust it, load it with torch.load(..., "
            "weights_only=False) and save the state_dict() alone"
        )
    return ""


def _is_text_pickle(head: bytes) -> bool:
    return head[:1] in b"c(}]l" and b"\n" in head and b"<" not in head[:1]


def _other_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        return "cannot be read as weights: the archive is cut off or damaged; get the file again"
    if unpacked > LARGEST_FILE:  # a few kilobytes can unpack to more than the memory holds
        raise _too_large(path, unpacked)
    if unpacked > max(RATIO_FROM, MAX_RATIO * path.stat().st_size):
        return f"unpacks to more than {MAX_RATIO} times its size, which no weights do; get the file again"
    if any(name.endswith("constants.pkl") for name in names):
        return (
            "is a TorchScript program, not weights; if you trust it, save torch.jit.load(path).state_dict() and import "
            "that"
        )
    if not any(name.endswith("data.pkl") for name in names):
        few = ", ".join(shown(name) for name in names[:3])
        return f"is an archive of other files ({few}); unpack it and give the weight file in it"
    return ""
