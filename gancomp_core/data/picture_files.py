"""Foreign picture files: finding them, opening them without decoding, decoding them as uint8 tensors."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin
from torch import Tensor

from gancomp_core.errors import GancompError, explaining, shown

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # by content, not by name: EPS would start Ghostscript
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_BYTES = 2**30  # of a file; 80 megapixels in 16 bits, uncompressed, stay below half of it
MAX_PIXELS = 80_000_000  # a small file can unpack to a picture that fills the memory; photos stay far below this
_REPLACE = "replace it or take it out of the folder"


class LazyPictures:
    """Pictures that are made when asked for: uint8 N x C x H x W, as :class:`gancomp_core.data.pictures.Pictures`.

    Args:
        count: N.
        shape: (C, H, W).
        make: The picture at an index from 0 on, uint8 of this shape.
        kept: How many of them, from the first on, stay in memory once they are made.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], make: Callable[[int], Tensor], kept: int = 0) -> None:
        self._count, self._shape, self._make = count, shape, make
        # one block, of which the system hands out what is written to: a million small tensors would take gigabytes
        self._kept, self._decoded = np.empty((min(kept, count), *shape), np.uint8), bytearray(count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]
        found = np.empty((len(indices), *self._shape), np.uint8)  # by numpy: torch would start threads within a thread
        for place, index in enumerate(indices.tolist()):
            self._put(found[place], range(len(self))[index])  # negative ones count from the end
        return torch.from_numpy(found)

    def _put(self, place: NDArray[np.uint8], index: int) -> None:
        if index >= len(self._kept):
            place[:] = self._make(index).numpy()
            return
        if not self._decoded[index]:
            self._kept[index] = self._make(index).numpy()
            self._decoded[index] = True  # last, for other threads that ask for it
        place[:] = self._kept[index]


def folders_in(folder: Path) -> set[str]:
    """The names of the folders in a folder."""
    return {name for name, inner in _listed(folder) if inner}


def _listed(folder: Path) -> list[tuple[str, bool]]:
    """What lies in a folder, by name, and whether it is a folder itself.

    Raises:
        GancompError: Where that cannot be found out.
    """
    try:
        with os.scandir(folder) as found:  # which, unlike Path, seldom asks the disk about each file
            return [(entry.name, _is_folder(entry)) for entry in found]
    except GancompError:
        raise
    except FileNotFoundError as error:
        raise GancompError(f"The folder {folder} does not exist.") from error
    except NotADirectoryError as error:
        raise GancompError(f"{folder} is a file; name the folder that holds the pictures.") from error
    except PermissionError as error:
        raise GancompError(f"No permission to list the folder {folder}; change its permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero in it
        raise GancompError(f"The folder '{shown(str(folder))}' cannot be listed; check its name.") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError as error:
        raise GancompError(
            f"No permission to look into the folder {Path(entry.path).parent}; change its permissions."
        ) from error
    except OSError:  # a link in a circle, say, which is no folder to Path either
        return False


def names_in(folder: Path, others: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The names of the files of a folder that are pictures by their names, in order.

    Names with a dot in front, which file managers leave behind, are passed over.

    Args:
        folder: The folder.
        others: Further endings, in lower case.

    Returns:
        Names of pictures; names of folders, and of files with those ``others`` endings.
    """
    names, left_out = list[str](), list[str]()
    for name, inner in _listed(folder):
        suffix = os.path.splitext(name)[1].lower()
        if not name.startswith("."):
            if suffix in SUFFIXES and not inner:
                names.append(name)
            elif inner or suffix in others:
                left_out.append(name)
    return sorted(names), sorted(left_out)


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder that are pictures by their names, in the order of these."""
    return [folder / name for name in names_in(folder)[0]]


def decode(
    path: Path, size: int | tuple[int, int], channels: int, half: int | None = None, digest: str | None = None
) -> Tensor:
    """One file as uint8 [channels, height, width]: upright, on white, resized until it covers that, center cropped.

    Args:
        path: The picture.
        size: Height and width of the result in pixels, one number where they are equal.
        channels: 1 (gray) or 3 (RGB).
        half: 0 or 1 takes the left or right half of the picture.
        digest: SHA-256 that the file must have, in hexadecimal.

    Raises:
        GancompError: Naming the file, if it cannot be decoded or is another one.
    """
    height, width = (size, size) if isinstance(size, int) else size
    data = read(path)
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise GancompError(f"{path} has changed since its task was made; make the task again.")
    picture = opened(data, path)
    with explaining(
        lambda error: f"{path} is damaged or cut off ({error}); {_REPLACE}.",
        Exception,  # Pillow's decoders raise anything for damaged bytes
    ):
        upright = picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture)
        picture = _on_white(_eight_bit(upright, path)).convert("L" if channels == 1 else "RGB")
    if half is not None:
        middle = picture.width // 2
        picture = picture.crop((half * middle, 0, half * middle + middle, picture.height))
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    pixels = np.array(picture).reshape(height, width, channels)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def read(path: Path) -> bytes:
    """The content of a file; raises :class:`GancompError` for what cannot be read, or would never end."""
    try:
        if not path.is_file() and path.exists():
            raise GancompError(f"{path} is no plain file; {_REPLACE}.")
        if path.stat().st_size > MAX_BYTES:
            raise GancompError(f"{path} has more than the {MAX_BYTES // 10**6} MB that are allowed; make it smaller.")
        return path.read_bytes()
    except PermissionError as error:
        raise GancompError(f"No permission to read {path}; change its permissions.") from error
    except OSError as error:
        raise GancompError(f"{path} cannot be read ({error.strerror}); {_REPLACE}.") from error


def opened(data: bytes, path: Path) -> Image.Image:
    """Open without decoding; refuse what is no picture and what is too big to be decoded safely."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_big(path) from error
    except Exception as error:  # see decode()
        raise GancompError(f"{path} is no picture, or one that Pillow cannot read; {_REPLACE}.") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_big(path)
    if picture.format == "PNG" and "exif" not in picture.info and (found := _late_exif(data)):
        picture.info["exif"] = found
    return picture


def _late_exif(data: bytes) -> bytes | None:
    """EXIF data that stands behind the pixels of a PNG, where Pillow finds it only by decoding all of them."""
    at = data.rfind(b"eXIf")
    length = int.from_bytes(data[at - 4 : at]) if at > 8 else 0
    chunk, checksum = data[at : at + 4 + length], data[at + 4 + length : at + 8 + length]
    return b"Exif\0\0" + chunk[4:] if length and zlib.crc32(chunk).to_bytes(4) == checksum else None


def _too_big(path: Path) -> GancompError:
    limit = MAX_PIXELS // 1_000_000
    return GancompError(f"{path} has more than the {limit} megapixels that are allowed; make it smaller.")


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height as it is to be looked at, found without decoding the picture."""
    width, height = picture.size
    if isinstance(picture, TiffImagePlugin.TiffImageFile):  # of which some versions of Pillow say the upright size
        width, height = picture.tag_v2[256], picture.tag_v2[257]
    return (height, width) if _orientation(picture) >= 5 else (width, height)  # 5 to 8 lie on their side


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8, found without decoding the picture."""
    if picture.format == "PNG" and not picture.info.keys() & {"exif", "Raw profile type exif"}:
        return 1  # getexif() would decode all of a PNG to look for EXIF data behind the pixels
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # unreadable EXIF data says nothing about the pixels
        return 1


def _eight_bit(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith("I"):  # I;16, I;16B, and I, in which some versions of Pillow open 16-bit PNG
        return _deep_gray(picture, path)
    if picture.mode.startswith("F"):
        raise GancompError(f"{path} holds floating-point values; save it with 8 or 16 bits per channel.")
    picture.load()
    return picture


def _deep_gray(picture: Image.Image, path: Path) -> Image.Image:
    """Gray of 12 or 16 bits in 8, as other gray is read: upright values, the transparent one white."""
    values, most, inverted = np.asarray(picture), 65_535, False
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        most = 4095 if picture.tag_v2.get(258) == (12,) else most
        inverted = picture.tag_v2.get(262) == 0  # the format's way to say that 0 is white
    if values.min() < 0 or values.max() > most:
        raise GancompError(f"{path} has values outside 0 to {most}; save it with 8 or 16 bits per channel.")
    shades = (np.arange(most + 1) / (most / 255)).round().astype(np.uint8)
    shades = 255 - shades if inverted else shades
    if isinstance(clear := picture.info.get("transparency"), int) and clear <= most:
        shades[clear] = 255
    return Image.fromarray(np.stack([shades[row] for row in values]))  # by rows: whole, it would take gigabytes


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
