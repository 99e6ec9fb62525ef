"""Everything that reads from outside, each with valid seeds, ways to damage them, and bombs.

A seed is bytes: a file, or JSON of the values that a reader is called with.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import gzip
import hashlib
import importlib
import io
import json
import lzma
import os
import pickle
import random
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import fuzz_mutators as damage
import numpy as np
import onnx
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, PngImagePlugin
from safetensors.torch import save

import gancomp_core.cli as cli
from gancomp_core import zoo
from gancomp_core.compress import open_teacher
from gancomp_core.compress.budgets import read_budget
from gancomp_core.compress.sources import open_source
from gancomp_core.compress.value_ranges import split_range
from gancomp_core.course import notebook_files, predictions
from gancomp_core.course.prediction_file import forget, predictions_file, recorded, update
from gancomp_core.course.profiles import Profile
from gancomp_core.course.run import check_parameters
from gancomp_core.data import folder_task, load_task, picture_files
from gancomp_core.data.archives import BadArchive, unpack
from gancomp_core.data.downloads import Archive, _address
from gancomp_core.data.folders import LAYOUTS
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, atomic_write, cache_root, data_root
from gancomp_core.importers import Assumptions, import_checkpoint
from gancomp_core.importers.ncnn_files import read_ncnn_rrdb
from gancomp_core.lab import catalogue, results, shipped_models
from gancomp_core.measure import OnnxGenerator, onnx_cost
from gancomp_core.measure.onnx_export import export_onnx
from gancomp_core.methods.quantization.within import export_int8_within
from gancomp_core.nets import (
    AgdArchitecture,
    Architecture,
    ArchitectureSpace,
    ChannelConfig,
    ResnetArchitecture,
    ResnetGenerator,
    search_space,
)
from gancomp_core.train import load_weights, read_about
from gancomp_core.train.checkpoints import load_state

torch.set_num_threads(1)
ledger_module = importlib.import_module("gancomp_core.lab.benchmark.claims")  # the package has a function of this name
sys.path.insert(0, str(REPOSITORY / "tests" / "parity"))  # foreign files as others write them
# what every command and every parameter needs is made once: no case changes it, and it takes most of a case's time
cli._parser = functools.cache(cli._parser)
notebook_files.read_notebook = functools.cache(notebook_files.read_notebook)
Made = Callable[[], list[bytes]]


@dataclass
class Reader:
    """What reads something, and what it is tried on.

    Attributes:
        read: Reads a case in an empty folder; raises ``GancompError`` for one that it refuses.
        mutators: Ways to damage a seed.
        made: Makes the seeds, all valid.
        bombs: Makes cases that are tried as they are.
        sample: Cases in ``make test``.
    """

    read: Callable[[bytes, Path], object]
    mutators: Sequence[damage.Mutator]
    made: Made
    made_bombs: Made = list
    sample: int = 20

    @functools.cached_property
    def seeds(self) -> list[bytes]:
        return self.made()

    @property
    def numbers(self) -> tuple[int, list[int]]:
        """How many seeds there are, and the cases of `make test`: seeds and mutations; bombs take seconds each."""
        first = len(self.seeds) + len(self.bombs)
        return len(self.seeds), [*range(len(self.seeds)), *range(first, first + self.sample)]

    @functools.cached_property
    def bombs(self) -> list[bytes]:
        return self.made_bombs()


def as_json(*values: Any) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def from_base64(text: str) -> bytes:
    """The bytes of a text; none of one that stands for no bytes."""
    try:
        return base64.b64decode(text.encode("ascii", "ignore") + b"===")
    except ValueError:
        return b""


def in_environment(**variables: str) -> Any:
    return mock.patch.dict(os.environ, variables)


def network() -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(ResnetArchitecture(ChannelConfig.uniform(8), blocks=1, in_channels=1, out_channels=1)).eval()


def some_bytes(*numbers: int) -> bytes:
    return np.random.default_rng(0).integers(0, 256, numbers).astype(np.uint8).tobytes()


# --- pictures and folders


def picture_seeds() -> list[bytes]:
    rgb = Image.frombytes("RGB", (24, 16), some_bytes(24 * 16 * 3))
    deep = Image.fromarray(np.arange(384, dtype=np.uint16).reshape(16, 24) * 170)
    sideways, text = Image.Exif(), PngImagePlugin.PngInfo()
    sideways[0x0112] = 6
    text.add_text("a", "b" * 40, zip=True)
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgb, "PNG", {}), (rgb.quantize(8), "PNG", {"transparency": 1}), (deep, "PNG", {}),
        (rgb.convert("RGBA"), "PNG", {"exif": sideways, "pnginfo": text}), (rgb.convert("1"), "PNG", {}),
        (rgb, "JPEG", {"exif": sideways}), (rgb.convert("CMYK"), "JPEG", {"progressive": True}), (rgb, "GIF", {}),
        (rgb.quantize(8), "GIF", {"save_all": True, "append_images": [rgb.quantize(4)]}), (rgb, "BMP", {}),
        (rgb, "WEBP", {}),
        (rgb, "TIFF", {}), (deep, "TIFF", {}), (rgb, "TIFF", {"compression": "tiff_lzw", "exif": sideways}),
        (rgb.convert("L"), "TIFF", {"compression": "tiff_adobe_deflate"}), (rgb, "TIFF", {"compression": "jpeg"}),
    ]  # fmt: skip
    found = []
    for picture, kind, how in kinds:
        file = io.BytesIO()
        picture.save(file, kind, **how)
        found.append(file.getvalue())
    return found


def packed_zeros(size: int, times: int) -> bytes:
    """``times`` blocks of ``size`` zeros as zlib packs them; one block is packed, and its bytes are repeated."""
    raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = raw.compress(bytes(size)) + raw.flush(zlib.Z_FULL_FLUSH)  # behind which nothing hangs on what came before
    checksum = functools.reduce(lambda before, _: zlib.adler32(bytes(size), before), range(times), 1)
    return b"\x78\xda" + block * times + zlib.compressobj(9, zlib.DEFLATED, -15).flush() + checksum.to_bytes(4, "big")


def png(width: int, height: int, depth: int, color: int, *, pixels: bool, more: bytes = b"") -> bytes:
    """A PNG of zeros, with or without its pixels."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    data = packed_zeros(100 * (1 + width * channels * depth // 8), height // 100) if pixels else b"x"
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
        (b"zTXt", more),
        (b"IDAT", data),
    ]
    packed = (
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in [*chunks, (b"IEND", b"")]
        if body or kind == b"IEND"
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def picture_bombs() -> list[bytes]:
    text = b"a\0\0" + zlib.compress(b"\0" * 2 * 10**8, 1)
    return [
        png(2**31 - 1, 2**31 - 1, 8, 2, pixels=False), png(32_000, 32_000, 8, 2, pixels=False),
        png(8900, 8900, 8, 6, pixels=True), png(8900, 8900, 16, 0, pixels=True), png(8900, 8900, 16, 6, pixels=True),
        png(16, 100, 8, 2, pixels=True, more=text), b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0" * 6 + b";",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
    ]  # fmt: skip


def read_picture(data: bytes, folder: Path) -> None:
    path = folder / "a.png"
    path.write_bytes(data)
    picture_files.upright_size(picture_files.opened(picture_files.read(path), path))
    for channels in (1, 3):
        picture_files.decode(path, 16, channels)


def folder_seeds() -> list[bytes]:
    small = [base64.b64encode(data).decode() for data in picture_seeds()[:2]]
    pairs = []
    for number in range(3):
        wide = io.BytesIO()
        Image.frombytes("RGB", (32, 16), some_bytes(32 * 16 * 3 + number)[number:]).save(wide, "PNG")
        pairs.append(base64.b64encode(wide.getvalue()).decode())
    pair = pairs[0]
    return as_json(
        {"files": {f"{n}.png": pair for n in range(4)}, "how": {"layout": "AB", "size": 16}},
        {"files": {f"train/{s}/{n}.png": small[0] for n in range(4) for s in ("source", "target")}, "how": {"size": 8}},
        {
            "files": {f"train{s}/{n}.png": small[1] for n in range(4) for s in "AB"},
            "how": {"size": 16, "channels": [1, 3]},
        },
        {
            "files": {f"{split}/0.png": each for split, each in zip(("train", "val", "test"), pairs, strict=True)},
            "how": {"seed": 3, "reverse": True},
        },
    )


def folder_bombs() -> list[bytes]:
    wide = json.loads(folder_seeds()[0])["files"]["0.png"]
    names = ["caf\udce9.png", "a\n\x1b[31m.png", "x" * 250 + ".png", "CON.png", ".hidden.png", "\u202egnp.png"]
    return as_json(
        *({"files": {name: wide, **{f"{n}.png": wide for n in range(3)}}, "how": {"size": 16}} for name in names)
    )


def read_folder(data: bytes, folder: Path) -> None:
    asked = json.loads(data)
    if not isinstance(asked, dict):
        return
    root = folder / "pictures"
    root.mkdir()
    files, how = asked.get("files"), asked.get("how")
    for name, content in files.items() if isinstance(files, dict) else ():
        path = os.path.join(root, name)
        if isinstance(content, str) and ".." not in name and not os.path.isabs(name):
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(from_base64(content))
            except (OSError, ValueError):  # a name or content that no folder holds
                continue
    known = {"size", "layout", "channels", "seed", "reverse"}
    how = {name: value for name, value in how.items() if name in known} if isinstance(how, dict) else {}
    try:
        task = folder_task(root, **how)
    except GancompError as error:
        raise GancompError(str(error).replace(LAYOUTS, " ...")) from error  # a table of ours behind the sentence
    task.train.batch(slice(0, 2))


# --- words and values


TEXTS: dict[str, tuple[Callable[[str], object], list[str]]] = {
    "channels": (ChannelConfig.parse, ["32_32_40_48_16_32", "8_8_8_8_8_8_8_8"]),
    "six": (lambda text: ChannelConfig.parse(text, legacy=True), ["32_32_40_48_16_32"]),
    "agd": (
        lambda text: AgdArchitecture.parse("translation", text),
        [
            "stem conv7x7 6, down1 down 10, down2 down 22, cell1 residual 22, cell2 residual 22, cell3 residual 22, "
            "cell4 residual 22, cell5 residual 22, cell6 residual 22, up1 up 10, up2 up 6"
        ],
    ),
    "budget": (lambda text: read_budget(text, {"macs": 1e9, "params": 1e6}), ["macs/12, 5 ms", "11M macs and 200 kB"]),
    "space": (search_space, ["resnet/channels-48"]),
    "task": (lambda text: text if text in TASKS else load_task(text), ["edges2shoes"]),
    "card": (zoo.card, ["edges2shoes/teacher"]),
    "profile": (Profile.named, ["fast", "standard"]),
    "range": (split_range, ["[0, 1]", "[0, 255] -> [-1, 1]"]),
    "notebooks": (lambda text: notebook_files.choose(str(text).split(" ")), ["00 03-05 solutions", "1-3"]),
    "plan": (catalogue.planned, ["edges2shoes/plain"]),
}
TASKS = ("edges2shoes", "flat2gloss")  # whose names are right are not loaded again and again


def read_text(data: bytes, folder: Path) -> None:
    kind, text = (
        (json.loads(data) + ["channels", ""])[:2] if data.startswith(b"[") else ("channels", data.decode("latin1"))
    )
    if isinstance(kind, str) and kind in TEXTS:
        TEXTS[kind][0](text)


def text_seeds() -> list[bytes]:
    return as_json(*([kind, text] for kind, (_, texts) in TEXTS.items() for text in texts))


def the_text(rng: random.Random, data: bytes) -> bytes:
    """The text alone is damaged, not what it is for."""
    try:
        kind, text = json.loads(data)
        if rng.random() < 0.3 or not isinstance(text, str):
            text = rng.choice(damage.ODD_VALUES)
        else:
            text = (
                damage.of_bytes(rng, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
                if rng.random() < 0.5
                else damage.other_text(rng, text)
            )
        return json.dumps([kind, text]).encode()
    except ValueError:
        return damage.of_bytes(rng, data)


def architecture_seeds() -> list[bytes]:
    values = [zoo.card(name)["architecture"] for name in zoo.names()]
    return sorted(set(as_json(*values)))


def read_architecture(data: bytes, folder: Path) -> None:
    values = json.loads(data)
    made: Any = Architecture.from_dict(values)
    made = made.widest if isinstance(made, ArchitectureSpace) else made
    side = made.multiple * -(-max(made.smallest, 32) // made.multiple)
    made.cost(side, side)
    assert made.summary
    with torch.device("meta"):
        made.network()


# --- weights


@functools.cache
def safetensors_seeds() -> list[bytes]:
    weights = {name: tensor.half() for name, tensor in network().state_dict().items()}
    about = {"architecture": json.dumps(network().architecture.as_dict())}
    return [save(weights, about), save(dict(network().state_dict()))]


def safetensors_bombs() -> list[bytes]:
    claim = {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    empty = {"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}
    deep = b"[" * 100_000
    about = {"__metadata__": {"architecture": "[" * 50_000}}
    heads = [json.dumps(claim).encode(), json.dumps(empty).encode(), deep, json.dumps(about).encode()]
    huge = {
        "architecture": json.dumps(
            network().architecture.as_dict() | {"blocks": 32, "channels": "_".join(["1024"] * 8)}
        )
    }
    return [len(head).to_bytes(8, "little") + head for head in heads] + [
        (10**12).to_bytes(8, "little") + b"{}",
        b"\xff" * 8 + b"{" * 100,
        save({"a": torch.zeros(3)}, huge),
    ]


def read_safetensors(data: bytes, folder: Path) -> None:
    path = folder / "a.safetensors"
    path.write_bytes(data)
    read_about(path)
    load_weights(network(), path)


@functools.cache
def packed_weights() -> bytes:
    return lzma.compress(safetensors_seeds()[0], preset=0)


def card_values() -> dict[str, Any]:
    card = json.loads((REPOSITORY / "data/zoo/flat2gloss/teacher/card.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(safetensors_seeds()[0]).hexdigest()
    return card | {"name": "a/b", "files": {"generator.safetensors": digest}}


def read_zoo(folder: Path, card: bytes, packed: bytes) -> None:
    place = folder / "data" / "zoo" / "a" / "b"
    place.mkdir(parents=True)
    (place / "card.json").write_bytes(card)
    (place / "generator.safetensors.xz").write_bytes(packed)
    (place / "card.md").write_text("x")
    with in_environment(GANCOMP_DATA=str(folder / "data")):
        for name in zoo.names():
            model = zoo.load(name)
            assert model.generator.cost
            model.discriminator  # noqa: B018
            read_card(model.card)
            open_source(name, None, None, None, Assumptions())


def read_card(card: Any) -> None:
    from gancomp_core.lab.shipped_models import cards

    cards.table([card])


def read_xz(data: bytes, folder: Path) -> None:
    card = card_values()
    try:  # as far as the checksum, and beyond it
        inner = lzma.LZMADecompressor(memlimit=2**27).decompress(data, max_length=10**7)
    except (lzma.LZMAError, EOFError):
        inner = b""
    card["files"] = {"generator.safetensors": hashlib.sha256(inner).hexdigest()}
    read_without_discriminator(folder, json.dumps(card).encode(), data)


def read_without_discriminator(folder: Path, card: bytes, packed: bytes) -> None:
    """A model without discriminator says so; that is no refusal of the file."""
    try:
        read_zoo(folder, card, packed)
    except GancompError as error:
        if "has no discriminator in the zoo" not in str(error):
            raise


def xz_bombs() -> list[bytes]:
    whole = safetensors_seeds()[0]
    zeros = lzma.compress(b"\0" * 5 * 10**7, preset=1)
    hungry = lzma.compress(whole, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 2**29}])
    return [zeros * 40, lzma.compress(whole, preset=1) + zeros, hungry] + [
        lzma.compress(data, preset=1) for data in safetensors_bombs()
    ]


def checkpoint_seeds() -> list[bytes]:
    state = {f"model.{n}": t for n, t in published_state().items()}
    found = []
    for content in (state, {"netG": state, "opt": argparse.Namespace(ngf=8), "epoch": 3}):
        for how in ({}, {"_use_new_zipfile_serialization": False}):
            file = io.BytesIO()
            torch.save(content, file, pickle_protocol=2, **how)
            found.append(file.getvalue())
    found.append(save(state))
    return found


@functools.cache
def published_state() -> dict[str, torch.Tensor]:
    """Weights in the layout of CycleGAN's generator."""
    from plain_formats import Plain

    return {name.removeprefix("model."): tensor for name, tensor in Plain().build().state_dict().items()}


def checkpoint_bombs() -> list[bytes]:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 3 * 10**8)
    runs = [pickle.dumps(_Runs(), protocol) for protocol in (0, 2, 4)]
    long = [
        b"\x80\x02(" + b"]" * 10**6 + b"l.",
        *(b"\x80\x05" + code + (10**12).to_bytes(8, "little") for code in (b"\x8e", b"\x8d", b"\x96", b"\x95")),
        b"\x80\x02T" + (2**31 - 1).to_bytes(4, "little"),
        b"(lp0\n" * 10**5 + b".",
    ]
    return [
        zipped.getvalue(),
        *runs,
        *long,
        b"\x80\x02J\xff\xff\xff\x7fr\xff\xff\xff\x7f.",
        b"cbuiltins\nbytearray\n(L9999999999L\ntR.",
    ]


class _Runs:
    """Unpickled by plain pickle, it makes a folder outside."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.path.join(os.sep, "tmp", "gancomp-fuzz-was-here"),)


def read_checkpoint(data: bytes, folder: Path) -> None:
    path = folder / "a.pth"
    path.write_bytes(data)
    import_checkpoint(path, quiet=True)


def state_seeds() -> list[bytes]:
    file = io.BytesIO()
    torch.save({"step": 3, "models": {"g": network().state_dict()}, "seconds": 1.5, "losses": [1.0, 2.0]}, file)
    return [file.getvalue()]


def read_state(data: bytes, folder: Path) -> None:
    path = folder / "training.ckpt"
    path.write_bytes(data)
    load_state(path)


def ncnn_seeds() -> list[bytes]:
    """A RRDBNet of one block: the text of its .param and the bytes of its .bin, as JSON."""
    from plain_formats import write_ncnn

    with tempfile.TemporaryDirectory() as folder:
        write_ncnn(Path(folder), "a", blocks=1, width=4, growth=4)
        packed = base64.b64encode(Path(folder, "a.bin").read_bytes()).decode()
        return as_json({"param": Path(folder, "a.param").read_text(), "bin": packed})


# --- ONNX


def onnx_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        ours = export_onnx(network(), Path(folder) / "a.onnx", (1, 1, 16, 16)).read_bytes()
        small = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
        small.extend([torch.nn.ConvTranspose2d(8, 1, 4, 2, 1), torch.nn.Sigmoid()])
        torch.onnx.export(small.eval(), (torch.zeros(1, 1, 16, 16),), f"{folder}/b.onnx", dynamo=False)
        return [ours, Path(folder, "b.onnx").read_bytes()]


def control_flow() -> bytes:
    """A file with an If and a Loop."""
    one = numpy_helper.from_array(np.array(1, np.int64), "one")
    yes = numpy_helper.from_array(np.array(True), "yes")
    inner = [helper.make_node("Add", ["x_in", "x_in"], ["x_out"]), helper.make_node("Identity", ["go_in"], ["go_out"])]
    picture = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 16, 16])  # noqa: E731
    number = lambda name, kind: helper.make_tensor_value_info(name, kind, [])  # noqa: E731
    body = helper.make_graph(
        inner, "body", [number("i", TensorProto.INT64), number("go_in", TensorProto.BOOL), picture("x_in")],
        [number("go_out", TensorProto.BOOL), picture("x_out")],
    )  # fmt: skip
    node = helper.make_node("Loop", ["one", "yes", "x"], ["y"], body=body)
    graph = helper.make_graph(
        [node, helper.make_node("Tanh", ["y"], ["z"])], "g", [picture("x")], [picture("z")], [one, yes]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


def onnx_bombs() -> list[bytes]:
    """Loops without end, tensors that claim much, weights from elsewhere, pictures that are made huge."""
    endless = onnx.ModelProto.FromString(control_flow())
    endless.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(2**62, np.int64), "one"))
    claims_much = onnx.ModelProto.FromString(control_flow())
    claims_much.graph.initializer.add(name="w", data_type=1, dims=[10**6, 10**6], raw_data=b"")
    outside = onnx.ModelProto.FromString(control_flow())
    tensor = outside.graph.initializer.add(name="w", data_type=1, dims=[100], data_location=1)
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    large = []
    for kind, sizes in (
        ("Expand", [1, 10**4, 10**4, 10**4]),
        ("Tile", [1, 1, 10**5, 10**5]),
        ("ConstantOfShape", [10**5] * 3),
    ):
        shape = numpy_helper.from_array(np.array(sizes, np.int64), "s")
        inputs = ["s"] if kind == "ConstantOfShape" else ["x", "s"]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 16, 16]) for name in "xy"]
        graph = helper.make_graph([helper.make_node(kind, inputs, ["y"])], "g", ends[:1], ends[1:], [shape])
        large.append(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
        )
    deep = b""
    for _ in range(200):
        deep = b"\x0a" + _varint(len(deep)) + deep
    return [endless.SerializeToString(), claims_much.SerializeToString(), outside.SerializeToString(), *large, deep]


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def written(data: bytes, folder: Path) -> Path:
    path = folder / "a.onnx"
    path.write_bytes(data)
    return path


def read_onnx(data: bytes, folder: Path) -> None:
    path = written(data, folder)
    OnnxGenerator(path, threads=1)(torch.zeros(1, 1, 16, 16))
    onnx_cost(path, (1, 1, 16, 16))


def read_onnx_int8(data: bytes, folder: Path) -> None:
    export_int8_within(written(data, folder), folder / "int8.onnx", torch.rand(1, 1, 16, 16) * 2 - 1)


def read_teacher(data: bytes, folder: Path) -> None:
    teacher = open_teacher(written(data, folder))
    teacher.float_file(folder / "float.onnx", teacher.example)


# --- tables, lists, answers


def claims_seeds() -> list[bytes]:
    text = (REPOSITORY / "data" / "claims.yml").read_text(encoding="utf-8")
    parts = text.split("- paper:")
    return [("- paper:" + part).encode() for part in parts[1:]] + [text.encode()]


def claims_bombs() -> list[bytes]:
    laughs = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    claim = "- {paper: a, claim: *a11, notebook: 1, test: {}}\n"
    inside = "- &a0 {paper: a, claim: b, notebook: 1, test: {kind: x}}\n" + "".join(
        f"- &a{n} {{paper: a, claim: b, notebook: 1, test: {{x: [{', '.join([f'*a{n - 1}'] * 9)}]}}}}\n"
        for n in range(1, 12)
    )
    code = [
        "!!python/object/apply:os.mkdir [/tmp/gancomp-fuzz-was-here]",
        "- !!python/name:os.system ''",
        "&a [*a]",
        "- &a [*a]",
    ]
    return [text.encode() for text in (laughs, laughs + claim, inside, *code, "[" * 100_000, "- " * 20_000, "")]


def read_claims(data: bytes, folder: Path) -> None:
    (folder / "claims.yml").write_bytes(data)
    for path in (REPOSITORY / "data").iterdir():
        if path.name != "claims.yml":
            os.symlink(path, folder / path.name)
    with in_environment(GANCOMP_DATA=str(folder)):
        ledger_module.ledger()
        for claim in ledger_module.claims()[:3]:
            claim.found()


def experiment_seeds() -> list[bytes]:
    listed = yaml.safe_load(Path(catalogue.__file__).with_name("experiments.yml").read_text(encoding="utf-8"))
    found = as_json(
        *({section: {name: listed[section][name]}} for section in catalogue.SECTIONS for name in listed[section])
    )
    return found[::8]


def read_experiments(data: bytes, folder: Path) -> None:
    """A block of the list as another one has written it."""
    listed = json.loads(data)
    for section, blocks in listed.items() if isinstance(listed, dict) else ():
        if section in catalogue.SECTIONS and isinstance(blocks, dict):
            with mock.patch.dict(catalogue.LIST, {section: catalogue.LIST[section] | blocks}):
                for name in blocks:
                    catalogue.planned(name, section)


def prediction_seeds() -> list[bytes]:
    return as_json(
        {
            "version": 1,
            "predictions": [
                {"id": "00/macs", "question": "How many?", "choices": [], "unit": "G", "within": 2.0, "answer": 3.0,
                 "confidence": 80, "answered_at": "2026-01-01T00:00:00+00:00", "truth": 4.0,
                 "revealed_at": "2026-01-01T00:00:00+00:00", "counts": True},
                {"id": "01/x", "question": "Which?", "choices": ["a", "b"], "unit": "", "within": 2.0, "answer": "a",
                 "confidence": 50, "answered_at": None, "truth": None, "revealed_at": None, "counts": False},
            ],
        }
    )  # fmt: skip


def read_predictions(data: bytes, folder: Path) -> None:
    path = folder / "answers.json"
    path.write_bytes(data)
    with in_environment(GANCOMP_PREDICTIONS=str(path)):
        for each in recorded():
            assert isinstance(each.said, str), "an answer in words"
            assert each.right in (True, False, None)
        shown = predictions.PredictionForm(predictions.Prediction("00/macs", "How many?"), predictions.Range(1, 9, "G"))
        assert "<script" not in shown.as_html()
        forget("00/macs")
        with update():
            pass


@functools.cache
def table_seed() -> bytes:
    table = results.rows()
    made = io.BytesIO()
    table[
        ((table.kind == "plain") & (table.task == "edges2shoes")) | (table.groupby("kind").cumcount() < 2)
    ].to_parquet(made, index=False, compression="zstd")
    return made.getvalue()


def read_table(data: bytes, folder: Path) -> None:
    place = folder / "results"
    place.mkdir()
    (place / "results.parquet").write_bytes(data)
    os.symlink(REPOSITORY / "data" / "zoo", folder / "zoo")
    with in_environment(GANCOMP_DATA=str(folder)):
        found = results.rows()
        results.rows("plain", "edges2shoes")
        for key in list(found.key)[:3]:
            results.row(key)
        catalogue.find("edges2shoes", "plain", network="student")


# --- the shell


def environment_seeds() -> list[bytes]:
    return as_json(
        {"GANCOMP_DATA": "data", "GANCOMP_CACHE": "cache", "GANCOMP_PREDICTIONS": "p.json"},
        {"GANCOMP_MIRROR": "https://example.org/sets", "GANCOMP_CACHE": "a/b/c", "GANCOMP_PREDICTIONS": "a/b.json"},
    )


def read_environment(data: bytes, folder: Path) -> None:
    given = json.loads(data)
    usual = {"GANCOMP_DATA": "data", "GANCOMP_CACHE": "cache", "GANCOMP_PREDICTIONS": "p.json"}
    usual["GANCOMP_MIRROR"] = "https://example.org"
    values = {name: given.get(name) if isinstance(given, dict) else given for name in usual}
    for name, value in values.items():
        if not isinstance(value, str) or not value.strip() or "\0" in value or not encodes(value):
            values[name] = usual[name]  # no variable holds it, or it means the checkout
        elif name != "GANCOMP_MIRROR" and (".." in value or value.strip()[:1] in "/~"):
            values[name] = usual[name]  # a place that is none of ours
        elif name != "GANCOMP_DATA" and os.path.normpath(value.strip()).startswith("data"):
            values[name] = usual[name]  # the shipped files, to which data leads
    os.symlink(REPOSITORY / "data", folder / "data")
    with ExitStack() as stack:
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(in_environment(**values))
        zoo.shown() if data_root() else None
        with atomic_write(cache_root() / "x" / "y.txt") as temporary:
            temporary.write_text("x")
        assert predictions_file()
        recorded()
        with update():
            pass
        _address(Archive("a.zip", "https://example.org"), folder / "a.zip")


def encodes(value: str) -> bool:
    try:
        return bool(os.fsencode(value)) or True
    except UnicodeError:
        return False


def command_seeds() -> list[bytes]:
    return as_json(
        "zoo list".split(), "zoo table".split(), "zoo check a/b --all".split(), "zoo train a/b".split(),
        "runs list".split(),
        "runs do a/b".split(), "search list".split(), "search do a".split(), "agd list".split(), "agd do a".split(),
        "benchmark list edges2shoes".split(), "benchmark show edges2shoes".split(), "benchmark do a".split(),
        "benchmark claims".split(), "course run 99 --profile fast --jobs 2 -p SEED 3 --out x".split(),
        "demo --out x".split(),
        "course editions 99 --out x".split(), "course predictions".split(), ["--version"], ["--help"], [],
        ["compress", "a.onnx", "--pictures", "photos", "--budget", "macs/12, 5 ms", "--minutes", "3", "--size", "64",
         "--runtime", "onnxruntime", "--out", "x", "--opset", "20", "--seed", "1", "--dry-run"],
    )  # fmt: skip


QUICK = {"_zoo_list", "_zoo_table", "_runs_list", "_search_list", "_agd_list", "_course_predictions"}


def read_command(data: bytes, folder: Path) -> None:
    """Any words after ``gancomp``: what names something that there is would take long, and is only read."""
    words = json.loads(data)
    words = [str(word) for word in words] if isinstance(words, list) else [str(words)]
    words = [word for word in words if word != "--write" and not word.startswith("--w")]
    with in_environment(GANCOMP_PREDICTIONS=str(folder / "p.json"), GANCOMP_CACHE=str(folder)):
        try:
            options = cli._parser().parse_args(words)
        except SystemExit:
            cli_says(words)
            return
        named = [*getattr(options, "names", ()), *getattr(options, "tasks", ()), *getattr(options, "plans", ())]
        named += [*getattr(options, "notebooks", ()), *([options.teacher] if hasattr(options, "teacher") else [])]
        known = getattr(options, "all", False) or any(exists(name) for name in named)
        if options.run.__name__ in QUICK or (named and not known):
            with contextlib.chdir(folder):
                cli_says(words)


def cli_says(words: list[str]) -> None:
    """What the command prints on stderr, as a refusal; exit statuses are 0 to 2."""
    said = io.StringIO()
    with mock.patch("sys.stderr", said), mock.patch("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
        try:
            code = cli.main(words)
        except SystemExit as left:
            code = left.code  # type: ignore[assignment]
    assert code in (0, 1, 2), f"exit status {code}"
    lines = [line for line in said.getvalue().split("\n") if line and not line.startswith((" ", "usage:"))]
    if code:
        raise GancompError(*["\n".join(lines) or "usage"])


@functools.cache
def existing() -> frozenset[str]:
    listed = [name for section in catalogue.SECTIONS for name in catalogue.names(section)]
    stems = [path.stem for path in notebook_files.choose([])]
    return frozenset([*listed, *shipped_models.models(), *zoo.shown(), *catalogue.CHANNELS, *stems, "solutions"])


def exists(name: str) -> bool:
    try:
        return name in existing() or Path(name).exists() or bool(notebook_files.choose([name]))
    except (GancompError, OSError, ValueError):
        return False


def parameter_seeds() -> list[bytes]:
    pairs = (("PROFILE", "fast"), ("SEED", "3"), ("PICTURE_SIZE", "64"))
    return as_json(*map(list, pairs))


def read_parameter(data: bytes, folder: Path) -> None:
    """A parameter of a notebook: refused, or one assignment of a plain value when papermill writes its cell."""
    import ast

    from papermill.cli import _resolve_type
    from papermill.translators import PythonTranslator

    pair = json.loads(data)
    name, value = (str(each) for each in (pair if isinstance(pair, list) and len(pair) == 2 else ["SEED", pair]))
    if "\0" in name + value or not encodes(name + value):
        return  # no command line holds it
    check_parameters(notebook_files.choose(["00"])[0], [(name, value)])
    parts = ast.parse(PythonTranslator.codify({name: _resolve_type(value)}, "Parameters")).body
    assert len(parts) == 1, "more than one assignment"
    assert isinstance(parts[0], ast.Assign)
    calls = [each for each in ast.walk(parts[0]) if isinstance(each, ast.Call)]
    assert all(isinstance(each.func, ast.Name) and each.func.id == "float" for each in calls), "a call"  # of nan


# --- archives


ARCHIVED = (("a/1.png", b"one"), ("a/2.txt", b"two" * 300), ("b/c/3.bin", some_bytes(2000)))


def zip_seed() -> list[bytes]:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ARCHIVED:
            archive.writestr(name, content)
    return [made.getvalue()]


def zip_bombs() -> list[bytes]:
    found = []
    for name, content in (
        ("a", b"\0" * 2 * 10**8),
        ("../../a", b""),
        ("/a", b""),
        ("a\\..\\b", b""),
        ("x" * 60_000, b""),
    ):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        found.append(made.getvalue())
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(3000):
            archive.writestr(f"{number}/" * 5, b"")
    return [*found, many.getvalue()]


def tar_seed() -> list[bytes]:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in ARCHIVED:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return [made.getvalue()]


def tar_bombs() -> list[bytes]:
    found = []
    for headers in ({"comment": "x" * 2 * 10**7}, {"path": "../../a"}, {"size": "9" * 30}, {"path": "x" * 10**6}):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
            info = tarfile.TarInfo("a")
            info.pax_headers = headers
            archive.addfile(info)
        found.append(made.getvalue())
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            info = tarfile.TarInfo("a")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        found.append(made.getvalue())
    return found


def gz_bombs() -> list[bytes]:
    zeros = gzip.compress(b"\0" * 11 * 10**7, 1)
    return [zeros, *(gzip.compress(data, 1) for data in tar_bombs())]


def read_archive(suffix: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        archive = folder / f"a{suffix}"
        archive.write_bytes(data)
        try:
            unpack(archive, folder / "unpacked", {"archive": "a"})
        except BadArchive as error:  # which the downloads make a sentence of
            assert not (folder / "unpacked").exists(), "half an archive is there"
            raise GancompError(f"{error}; delete it.") from error

    return read


def read_ncnn(data: bytes, folder: Path) -> None:
    given = json.loads(data)
    text, packed = (str(given.get(name, "")) if isinstance(given, dict) else "" for name in ("param", "bin"))
    (folder / "a.param").write_bytes(text.encode("utf-8", "replace"))
    (folder / "a.bin").write_bytes(from_base64(packed))
    read_ncnn_rrdb(folder / "a.param", folder / "a.bin")


ANY, VALUES, JSON = [damage.of_bytes], [damage.of_json], [damage.of_json, damage.of_json, damage.of_bytes]
ZIP, ONNX = [damage.of_bytes, damage.in_zip(damage.of_bytes)], [damage.in_onnx, damage.in_onnx, damage.of_bytes]
HEADER = [damage.of_bytes, damage.in_safetensors_header, damage.in_safetensors_header]

READERS = {
    "pictures": Reader(read_picture, [damage.of_bytes, damage.in_png], picture_seeds, picture_bombs),
    "folders": Reader(read_folder, VALUES, folder_seeds, folder_bombs),
    "texts": Reader(read_text, [the_text], text_seeds, sample=40),
    "architectures": Reader(read_architecture, VALUES, architecture_seeds),
    "safetensors": Reader(read_safetensors, HEADER, safetensors_seeds, safetensors_bombs),
    "xz": Reader(
        read_xz,
        [damage.of_bytes, *map(damage.in_xz, HEADER)],
        lambda: [lzma.compress(d, preset=1) for d in safetensors_seeds()[:1]],
        xz_bombs,
    ),
    "cards": Reader(
        lambda data, folder: read_without_discriminator(folder, data, packed_weights()),
        JSON,
        lambda: as_json(card_values()),
    ),
    "checkpoints": Reader(read_checkpoint, [*ZIP, damage.in_safetensors_header], checkpoint_seeds, checkpoint_bombs),
    "ncnn": Reader(read_ncnn, VALUES, ncnn_seeds),
    "states": Reader(read_state, ZIP, state_seeds, checkpoint_bombs),
    "onnx": Reader(read_onnx, ONNX, onnx_seeds, onnx_bombs),
    "onnx-int8": Reader(read_onnx_int8, ONNX, lambda: onnx_seeds()[1:2], onnx_bombs, sample=4),
    "onnx-teachers": Reader(read_teacher, ONNX, lambda: onnx_seeds()[1:], onnx_bombs, sample=4),
    "claims": Reader(read_claims, ANY, claims_seeds, claims_bombs),
    "experiments": Reader(read_experiments, VALUES, experiment_seeds),
    "predictions": Reader(read_predictions, JSON, prediction_seeds),
    "tables": Reader(read_table, [damage.of_bytes, damage.in_parquet, damage.in_parquet], lambda: [table_seed()]),
    "environment": Reader(read_environment, VALUES, environment_seeds),
    "commands": Reader(read_command, VALUES, command_seeds),
    "parameters": Reader(read_parameter, VALUES, parameter_seeds),
    "zip": Reader(read_archive(".zip"), ZIP, zip_seed, zip_bombs),
    "tar": Reader(
        read_archive(".tar"),
        [damage.of_bytes, damage.in_tar_header, damage.in_tar(damage.of_bytes)],
        tar_seed,
        tar_bombs,
    ),
    "tar.gz": Reader(
        read_archive(".tar.gz"),
        [damage.of_bytes, damage.in_gzip(damage.in_tar_header)],
        lambda: [gzip.compress(tar_seed()[0])],
        gz_bombs,
    ),
}
