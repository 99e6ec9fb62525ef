"""A network out of a packed file of weights that is not trusted: nothing is allocated before it is known to fit."""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from gancomp_core.errors import GancompError, explaining
from gancomp_core.files import Json
from gancomp_core.nets import MultiScaleDiscriminator, PatchDiscriminator, build_generator
from gancomp_core.train.checkpoints import check_shapes, decode_about

LARGEST_HEADER = 2**20  # bytes; that of the largest supernet takes 30 kB
LARGEST_WEIGHTS = 2**30  # bytes of one file, unpacked
LARGEST_MEMORY = 2**27  # bytes that xz may take to unpack; its highest setting takes half of them
LIMITS = 64, 4096  # numbers in the description of a network: always allowed, never allowed above
NUMBER = re.compile(r"(?<![\d.])\d+")  # whole numbers, and what stands before the point of others


class Damaged(Exception):
    """A file that is not what was shipped; the text says in a few words why."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The beginning of a safetensors file.

    Attributes:
        about: What :func:`gancomp_core.train.save_weights` was given: the values that describe the network.
        shapes: The shape of each tensor by its name.
        size: Bytes of the whole file.
    """

    about: Json
    shapes: Mapping[str, tuple[int, ...]]
    size: int


def read_network(path: Path, digest: str) -> nn.Module:
    """The network in a safetensors file that is packed by xz: float32, on the CPU, in eval mode, without gradients.

    Draws no random numbers.

    Args:
        path: The packed file.
        digest: SHA-256 of the safetensors inside, in hexadecimal.

    Raises:
        Damaged: When the file is no such file, or another one than the digest says.
        GancompError: When its tensors belong to another network than it describes, or its description is of none.
        OSError: When it cannot be read.
    """
    packed = path.read_bytes() if path.stat().st_size <= LARGEST_WEIGHTS else b""
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LARGEST_MEMORY)
    try:
        data = unpacker.decompress(packed, max_length=LARGEST_HEADER)
        header = parse_header(data)
        _check_numbers(header, path)
        with torch.device("meta"):  # shapes only
            check_shapes(_built(header.about, path), header.shapes, path)
        while len(data) <= header.size and not unpacker.eof:
            piece = unpacker.decompress(b"", max_length=header.size + 1 - len(data))
            if not piece and unpacker.needs_input:
                raise Damaged("its end is missing")
            data += piece
        if len(data) != header.size or unpacker.unused_data:
            raise Damaged("it holds more or less than its header says")
        if hashlib.sha256(data).hexdigest() != digest:
            raise Damaged("its checksum is another")
        tensors = safetensors.torch.load(data)
    except (lzma.LZMAError, EOFError, SafetensorError) as error:
        raise Damaged(str(error)) from error
    with torch.random.fork_rng(devices=[]):  # a network begins with random weights
        network = _built(header.about, path)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def parse_header(data: bytes) -> Header:
    """The header at the beginning of a safetensors file; raises :class:`Damaged` where there is none."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(LARGEST_HEADER, len(data)) - 8:
        raise Damaged("its header is missing or too long")
    try:
        entries = json.loads(data[8 : 8 + length])
        about = decode_about(entries.pop("__metadata__", {}))
        shapes = {name: tuple(int(side) for side in entry["shape"]) for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Damaged("its header is damaged") from error
    if not 0 <= end <= LARGEST_WEIGHTS or sum(map(math.prod, shapes.values())) > end:
        raise Damaged(f"its header asks for more than {LARGEST_WEIGHTS / 1e9:.1f} GB or for more than it holds")
    return Header(about=about, shapes=shapes, size=8 + length + end)


def _check_numbers(header: Header, path: Path) -> None:
    """Refuse a description with numbers that no network of these tensors has: building it could take all memory."""
    sides = (side for shape in header.shapes.values() for side in shape)
    limit = min(max(LIMITS[0], len(header.shapes), *sides), LIMITS[1])
    for number in NUMBER.findall(json.dumps(header.about)):
        if len(number) > 18 or int(number) > limit:
            raise GancompError(
                f"{path} describes a network with the number {number[:18]}, but its largest tensor side is {limit}; "
                "get the file again from where it came."
            )


def _built(about: Json, path: Path) -> nn.Module:
    """The network that a header describes, with random weights."""
    with explaining(
        lambda error: (
            f"{path} describes no network that this version can build ({error[:100]}); "
            "get the file again from where it came."
        ),
        Exception,  # a network may raise anything for values that are not its own
    ):
        if "architecture" in about:
            return build_generator(about["architecture"])
        kind = MultiScaleDiscriminator if "scales" in about["settings"] else PatchDiscriminator
        return kind(**about["settings"])
