"""Weight files of other projects, read without running anything in them.

A ``.pth`` file is a Python pickle, and unpickling can run any program. Here it is read by torch's restricted unpickler
(``weights_only=True``), which knows tensors and plain values; anything else that a file asks for is refused and named.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gancomp_core.errors import GancompError, shown
from gancomp_core.importers.assumptions import Assumptions, Imported
from gancomp_core.importers.checkpoint_formats import another_network, tensors_of
from gancomp_core.importers.layouts import LAYOUTS

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
ZIP = b"PK\x03\x04"
NOTHING = Assumptions()
LARGEST_FILE = 2**31  # bytes, unpacked; the published ResNet-9 has 46 million


def import_checkpoint(
    path: Path | str, *, part: str | None = None, assume: Assumptions = NOTHING, quiet: bool = False
) -> nn.Module:
    """A public generator checkpoint as a network: CycleGAN and pix2pix ResNets, and GAN Compression's.

    The architecture (width, blocks, separable or not, affine norms or not, channels of the pictures) is derived from
    the tensors.

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.
        part: Which network of the file, such as "netG_A2B", where it holds several.
        assume: What no tensor shows and you know, such as ``Assumptions(padding="replicate")``.
        quiet: Do not print how the file was read.

    Returns:
        The network in eval mode, without gradients, on the CPU, in float32, for pictures in [-1, 1]; ``.imported`` says
        how the file was read, and ``.architecture`` describes the network where it is one of ours.

    Raises:
        GancompError: For a file that is missing, damaged or malicious (nothing in it is run), or holds another network.
    """
    loaded = read_foreign(path)
    tensors = tidied(loaded, part, str(path))
    layout = next((layout for layout in LAYOUTS if layout.fits(tensors)), None)
    if layout is None:
        raise another_network(loaded, str(path))
    built = layout.build(tensors, assume, str(path))
    network = built.network.eval().requires_grad_(False)
    network.imported = Imported("a weight file", built.layout, part, built.assumed, built.skipped)  # type: ignore[assignment]
    if not quiet:
        print(network.imported)
    return network


def tidied(tensors: dict[str, Tensor], part: str | None, source: str) -> dict[str, Tensor]:
    """The tensors of one part, without the components that all of their names begin with."""
    if part is not None:
        tensors = {name: value for name, value in tensors.items() if name.startswith(f"{part}.")}
        if not tensors:
            raise GancompError(f"{source} holds no part '{shown(part)}'; leave part out to see what it holds.")
    while len({name.partition(".")[0] for name in tensors}) == 1 and all("." in name for name in tensors):
        tensors = {name.partition(".")[2]: value for name, value in tensors.items()}
    return tensors


def read_foreign(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a weight file, floating-point ones as float32; ``{"state_dict": ...}`` and the like are opened.

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file.

    Returns:
        Tensors by name.

    Raises:
        GancompError: As :func:`import_checkpoint` does.
    """
    path = Path(path)
    _check_file(path)
    loaded = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickled(path)
    return tensors_of(loaded, str(path))


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise GancompError(f"{path} is a folder; give the path of a weight file in it ({', '.join(SUFFIXES)}).")
    if not path.is_file():
        raise GancompError(f"There is no file {path}; check the path.")
    if path.suffix.lower() not in SUFFIXES:
        raise GancompError(f"{path} is not named like a weight file; its name must end in {', '.join(SUFFIXES)}.")
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


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except PermissionError as error:
        raise _no_permission(path) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, "safetensors weights", error) from error


def _read_pickled(path: Path) -> object:
    try:
        _check_unpacked_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except GancompError:
        raise
    except PermissionError as error:
        raise _no_permission(path) from error
    except Exception as error:  # torch raises a different type for every kind of damage
        wanted = [] if "TorchScript" in str(error) else _wanted_by(path, str(error))
        if wanted:
            raise GancompError(
                f"{path} was refused and nothing in it was run: it asks Python for {', '.join(wanted)}, and a "
                "checkpoint may hold only tensors and plain values; get it as .safetensors, or have whoever made it "
                "save generator.state_dict() alone."
            ) from error
        raise _unreadable(path, "a file of torch.save", error) from error


def _check_unpacked_size(path: Path) -> None:
    """A few kilobytes of zip can unpack to more than the memory holds."""
    if _head(path).startswith(ZIP):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > LARGEST_FILE:
            raise _too_large(path, unpacked)


def _no_permission(path: Path) -> GancompError:
    return GancompError(f"No permission to read {path}; change its permissions.")


def _unreadable(path: Path, expected: str, error: Exception) -> GancompError:
    return GancompError(f"{path} cannot be read as {expected}: {_guess(path, error)}; get the file again.")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _guess(path: Path, error: Exception) -> str:
    """What the file is instead, judging by its first bytes."""
    head = _head(path)
    if head.lstrip().startswith(b"<"):
        return "it is a web page, probably the error page of a download"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, which 'git lfs pull' replaces by the file"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return f"it is text that begins with {head.decode()[:40]!r}"
    if "TorchScript" in str(error):
        return "it is a TorchScript program, not weights"
    if head.startswith(b"PK"):
        return "the archive is cut off or damaged"
    return f"it is cut off, damaged or something else ({type(error).__name__})"


# --- naming what a refused pickle asked for


def _wanted_by(path: Path, message: str) -> list[str]:
    """The Python objects, at most four, that a refused file asks for: first what torch met first, then the others."""
    met = [match[1].rstrip(".") for match in [re.search(r"GLOBAL ([\w.]+)", message)] if match]
    try:
        listed = [name for pickled in _pickles(path) for name in _globals(pickled)]
    except Exception:  # a damaged archive; torch's own message is all there is
        listed = []
    foreign = [name for name in listed if name.split(".")[0] not in ("torch", "collections")]
    return [f"'{name}'" for name in dict.fromkeys([*met, *foreign])][:4]


def _pickles(path: Path) -> list[bytes]:
    """The pickled bytes of a file: an archive's ``data.pkl``, or the beginning of the file itself."""
    limit, head = 2**24, _head(path)
    if head.startswith(ZIP):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".pkl")][:4]
            return [archive.open(name).read(limit) for name in names]
    if head.lstrip().startswith(b"<"):  # a web page has words that look like instructions
        return []
    with path.open("rb") as file:
        return [file.read(limit)]


def _globals(pickled: bytes) -> list[str]:
    """Objects named in consecutive pickles, read from their instructions without executing them."""
    found, stream = [], io.BytesIO(pickled)
    try:
        while stream.tell() < len(pickled):
            last, memo = ["", ""], dict[int, str]()
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    found.append(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    found.append(".".join(last))
                elif isinstance(argument, str):
                    last = [last[1], argument]
                elif opcode.name == "MEMOIZE":
                    memo[len(memo)] = last[1]
                elif opcode.name in ("BINGET", "LONG_BINGET"):
                    last = [last[1], memo.get(int(str(argument)), "")]
    except Exception:  # the bytes end, or stop being a pickle; what was found before counts
        pass
    return [name for name in found if re.fullmatch(r"[\w.]+", name)]
