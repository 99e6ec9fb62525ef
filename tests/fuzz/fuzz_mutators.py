"""Ways to damage what a reader is given: bytes, JSON values, and files whose checksums are made right again.

A mutator is a function of a random number generator and bytes that returns bytes. Those that find nothing to
change return what they were given.
"""

from __future__ import annotations

import copy
import functools
import gzip
import io
import json
import lzma
import random
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from onnx import ModelProto

Mutator = Callable[[random.Random, bytes], bytes]
LARGEST_CASE = 2**21  # bytes; a mutator that repeats and repeats would fill the disk
LETTERS = (
    "\0",
    "\x1b[31m",
    "\n",
    "\r",
    "\t",
    "\x7f",
    "\u202e",
    "\ud800",
    "\ufeff",
    "é",
    "/",
    "..",
    "<script>",
    "'",
    '"',
)
LETTERS += ("&", "%s", "{}", "~", "$HOME", "*", "\\", ":", ",", "_", "=", "-", "999999999999", "1e999", "nan", "True")
ODD_VALUES: tuple[Any, ...] = (None, True, False, 0, -1, 1.5, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"))
ODD_VALUES += ("", "x" * 5000, "\x1b[31m\n", "\0", "\ud800", "../../escaped", "/etc/passwd", [], {}, [[]], {"": None})
ODD_NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def of_bytes(rng: random.Random, data: bytes) -> bytes:
    """One of the ways to damage any file."""
    return rng.choice(BYTE_MUTATORS)(rng, data)


def flipped(rng: random.Random, data: bytes) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if found else 0):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def overwritten(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + bytes([rng.choice((0, 0xFF, 0x80, 0x7F))]) * (end - start) + data[end:]


def truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def without_block(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def repeated_block(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[start:end] * rng.choice((2, 3, 200)) + data[end:]


def swapped_blocks(rng: random.Random, data: bytes) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def odd_number(rng: random.Random, data: bytes) -> bytes:
    """A field of 1 to 8 bytes holds a number at the edge of its range, or zero."""
    kind = rng.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    packed = struct.pack(kind, rng.choice(ODD_NUMBERS) % 2 ** (8 * struct.calcsize(kind)))
    place = rng.randrange(max(1, min(len(data), rng.choice((16, 128, 2**30)))))  # lengths stand near the beginning
    return data[:place] + packed + data[place + len(packed) :]


def inserted(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    junk = rng.choice(
        (rng.randbytes(rng.randrange(1, 40)), rng.choice(LETTERS).encode("utf-8", "surrogatepass"), b"\xff\xe9")
    )
    return data[:place] + junk * rng.choice((1, 1, 1, 500)) + data[place:]


def other_number(rng: random.Random, data: bytes) -> bytes:
    """A number that is written in digits becomes another one."""
    places = list(re.finditer(rb"\d+", data[:100_000]))
    if not places:
        return data
    place = rng.choice(places)
    value = rng.choice((b"0", b"-1", b"1.5", b"9" * 19, b"9" * 400, b"1e400", b"nan", str(rng.randrange(300)).encode()))
    return data[: place.start()] + value + data[place.end() :]


def nested(rng: random.Random, data: bytes) -> bytes:
    place, (opens, closes) = rng.randrange(len(data) + 1), rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")")))
    deep = rng.choice((10, 1000, 100_000))
    return data[:place] + opens * deep + data[place:] + closes * deep


BYTE_MUTATORS = (flipped, flipped, overwritten, truncated, without_block, repeated_block, swapped_blocks, odd_number)
BYTE_MUTATORS += (inserted, other_number, nested)


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 64, 1024)))


# --- values


def of_json(rng: random.Random, data: bytes) -> bytes:
    """A value somewhere in JSON becomes another one, is left out, moved, or gets another name."""
    try:
        return json.dumps(of_values(rng, json.loads(data))).encode()
    except (ValueError, RecursionError):
        return of_bytes(rng, data)


def of_values(rng: random.Random, values: Any) -> Any:
    """The same for plain values."""
    box = {"": copy.deepcopy(values)}
    places = list(_places(box))
    holder, key = rng.choice(places)
    how = rng.randrange(8)
    if how == 0 and holder is not box:
        del holder[key]
    elif how == 1:
        other, name = rng.choice(places)
        holder[key] = copy.deepcopy(other[name])
    elif how == 2 and isinstance(holder, dict) and holder is not box:
        holder[rng.choice((key + rng.choice(LETTERS), rng.choice(LETTERS), key.upper(), key * 300))] = holder.pop(key)
    elif how == 3:
        holder[key] = [holder[key]] * rng.choice((1, 2, 100))
    elif isinstance(holder[key], str) and how < 7:
        holder[key] = other_text(rng, holder[key])
    elif isinstance(holder[key], int | float) and how < 7:
        holder[key] = rng.choice((holder[key] * 1000, -holder[key], holder[key] + 1, holder[key] / 2, str(holder[key])))
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return box[""]


def other_text(rng: random.Random, text: str) -> str:
    place, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return rng.choice(
        (
            text[:place] + rng.choice(LETTERS) * rng.choice((1, 1, 1000)) + text[place:],
            text[:place] + text[end:],
            text[:place] + text[place:end] * 2 + text[end:],
            text * 500,
            text[::-1],
        )
    )


def _places(holder: Any) -> Any:
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


# --- files that are put together again


def inside(unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], mutate: Mutator) -> Mutator:
    """Damage what is packed, and pack it again."""

    def mutated(rng: random.Random, data: bytes) -> bytes:
        try:
            return pack(mutate(rng, unpack(data)))
        except Exception:  # it was damaged before
            return of_bytes(rng, data)

    return mutated


def in_gzip(mutate: Mutator) -> Mutator:
    return inside(gzip.decompress, lambda data: gzip.compress(data, 1), mutate)


def in_xz(mutate: Mutator) -> Mutator:
    return inside(lzma.decompress, lambda data: lzma.compress(data, preset=0), mutate)


def in_zip(mutate: Mutator) -> Mutator:
    """A member of a zip file is damaged, renamed or doubled; its checksum is right."""

    def mutated(rng: random.Random, data: bytes) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                parts = [(name, archive.read(name)) for name in archive.namelist()]
            place, how = rng.randrange(len(parts)), rng.randrange(8)
        except Exception:  # it was damaged before
            return of_bytes(rng, data)
        name, content = parts[place]
        if how == 0:
            parts.append(rng.choice(parts))
        elif how == 1:
            parts[place] = other_text(rng, name).replace("\ud800", "?"), content
        elif how == 2:
            del parts[place]
        else:
            parts[place] = name, mutate(rng, content)
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, content in parts:
                archive.writestr(zipfile.ZipInfo(name[:60_000] or "x"), content)
        return made.getvalue()

    return mutated


def in_tar_header(rng: random.Random, data: bytes) -> bytes:
    """A header of a tar file is damaged and has a right checksum."""
    headers = [place for place in range(0, len(data) - 511, 512) if data[place + 257 : place + 262] == b"ustar"]
    if not headers:
        return of_bytes(rng, data)
    place = rng.choice(headers)
    header = bytearray(data[place : place + 512])
    start, length = rng.choice(((0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (345, 155)))
    value = rng.choice(
        (b"../../escaped", b"/escaped", b"77777777777", b"\x80" + b"\xff" * 11, b"1", b"2", b"5", b"x", b"L")
    )
    header[start : start + length] = rng.choice((value, rng.randbytes(length)))[:length].ljust(length, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:place] + bytes(header) + data[place + 512 :]


def in_png(rng: random.Random, data: bytes) -> bytes:
    """A chunk of a PNG file is damaged, moved or doubled; its checksum is right."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    if data[:4] != b"\x89PNG" or not chunks:
        return of_bytes(rng, data)
    place, how = rng.randrange(len(chunks)), rng.randrange(6)
    kind, content = chunks[place]
    if how == 0:
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, content))
    elif how == 1:
        chunks[place] = rng.choice((b"tRNS", b"PLTE", b"eXIf", b"iTXt", b"gAMA", b"acTL", b"fdAT")), content
    elif how == 2 and kind == b"IDAT":
        chunks[place] = kind, inside(zlib.decompress, zlib.compress, of_bytes)(rng, content)
    else:
        chunks[place] = kind, of_bytes(rng, content)
    packed = (
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )
    return data[:8] + b"".join(packed)


def in_safetensors_header(rng: random.Random, data: bytes) -> bytes:
    """The JSON in the header of a safetensors file says something else; its length is right."""
    length = int.from_bytes(data[:8], "little")
    header = of_json(rng, data[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def in_onnx(rng: random.Random, data: bytes) -> bytes:
    """A field somewhere in an ONNX model becomes another one, is left out, moved or doubled."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # it was damaged before
        return of_bytes(rng, data)
    places = list(_fields(model))
    if not places:  # no bytes are a model, too
        return of_bytes(rng, data)
    message, field = rng.choice(places)
    value = getattr(message, field.name)
    if not _is_repeated(field):
        if field.message_type:
            message.ClearField(field.name)
        else:
            _set(rng, message, field, value)
        return bytes(model.SerializeToString())
    place, how = rng.randrange(len(value)), rng.randrange(4)
    if how == 0:
        del value[place]
    elif how == 1 or field.message_type:
        twice = copy.deepcopy(list(value))
        twice[place] = copy.deepcopy(rng.choice(twice)) if how == 3 else twice[place]
        message.ClearField(field.name)
        getattr(message, field.name).extend([*twice, *([twice[place]] if how == 1 else [])])
    else:
        odd = _odd(rng, field, value[place])
        try:
            value[place] = odd
        except ValueError:  # one more than the largest number of its type, or one less than the smallest
            del value[place]
    return bytes(model.SerializeToString())


def _is_repeated(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", None) if hasattr(field, "is_repeated") else field.label == 3)


def _fields(message: Any) -> Any:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type:
            for inner in value if _is_repeated(field) else [value]:
                yield from _fields(inner)


def _set(rng: random.Random, message: Any, field: Any, value: Any) -> None:
    try:
        setattr(message, field.name, _odd(rng, field, value))
    except ValueError:  # a number that its type or its enumeration does not have
        message.ClearField(field.name)


def _odd(rng: random.Random, field: Any, value: Any) -> Any:
    """Another value of the same kind."""
    kinds = ("Conv", "Loop", "If", "Resize", "Reshape", "ConvTranspose", "Gather", "Tile", "Expand", "Pad", "MatMul")
    if isinstance(value, bytes):
        return of_bytes(rng, value)
    if isinstance(value, str):
        return rng.choice((*kinds, "", value + "x", "\x1b[31m\n", "x" * 3000, "../../escaped", value[:1]))
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    small = (0, 1, -1, 2, 7, 11, 16, value + 1, value - 1)
    most = 2**31 - 1 if field.type in (5, 13, 14) else 2**62
    return rng.choice((*small, most, most // 2, 10**6))


@functools.lru_cache(2)
def _table(data: bytes) -> Any:
    """The table of a seed, which is damaged again and again."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data))


def in_parquet(rng: random.Random, data: bytes) -> bytes:
    """A column of a table is left out, doubled, renamed, or of another kind."""
    try:
        table = _table(data).copy()
        name, how = rng.choice(list(table.columns)), rng.randrange(6)
        if how == 0:
            table = table.drop(columns=name)
        elif how == 1:
            table = table.rename(
                columns={name: rng.choice((name + "x", "", "\x1b[31m", rng.choice(list(table.columns)) + " "))}
            )
        elif how == 2:
            table = table.head(rng.randrange(3))
        else:
            table[name] = rng.choice(
                (None, "x", "\x1b[31m\n", -1, 1e308, float("nan"), True, "{", "[]", "null", b"\xff")
            )
        made = io.BytesIO()
        table.to_parquet(made, index=False)
        return made.getvalue()
    except Exception:  # it was damaged before
        return of_bytes(rng, data)


def in_tar(mutate: Mutator) -> Mutator:
    """A member of a tar file is damaged; the archive is whole."""

    def mutated(rng: random.Random, data: bytes) -> bytes:
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                parts = [(info, archive.extractfile(info)) for info in archive]
                read = [(info, part.read() if part else b"") for info, part in parts]
            info, content = rng.choice(read)
            info.name = other_text(rng, info.name).replace("\ud800", "?") if rng.random() < 0.5 else info.name
            made = io.BytesIO()
            with tarfile.open(
                fileobj=made, mode="w", format=rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
            ) as archive:
                for each, body in read:
                    body = mutate(rng, body) if each is info else body
                    each.size = len(body) if each.isreg() else 0
                    archive.addfile(each, io.BytesIO(body))
            return made.getvalue()
        except Exception:  # it was damaged before
            return of_bytes(rng, data)

    return mutated
