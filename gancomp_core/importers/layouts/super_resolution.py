"""Networks that enlarge pictures: RRDBNet by the names of ESRGAN and Real-ESRGAN, SRVGGNetCompact, and VDSR."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.importers.assumptions import Assumptions, Value
from gancomp_core.importers.layouts.base import Built
from gancomp_core.importers.layouts.reading import Reading
from gancomp_core.nets.architecture import check_picture
from gancomp_core.nets.ranges import OtherRange
from gancomp_core.nets.super_resolution import RrdbArchitecture, RrdbNet, Vdsr, VdsrArchitecture

FIXED: dict[str, Value] = {"padding": "zeros", "last": "none", "norm": "none"}

#: Of each file's names for the parts of an RRDBNet: dense convolution (block, dense block, convolution), trunk,
#: first and second enlargement, high resolution, last.
_NEW = ("body.{}.rdb{}.conv{}", "conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
_OLD = ("RRDB_trunk.{}.RDB{}.conv{}", "conv_first", "trunk_conv", "upconv1", "upconv2", "HRconv", "conv_last")


class Rrdb:
    """RRDBNet for pictures in [0, 1], by the names of Real-ESRGAN, of ESRGAN, and of ESRGAN's first version.

    Real-ESRGAN's networks for 2 and 1 times the size enlarge 4 times after moving squares of 2 x 2 or 4 x 4 pixels into
    the channels.
    """

    name = "RRDBNet"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return any(f"{names[0].format(0, 1, 1)}.weight" in tensors for names in (_NEW, _OLD, _first_version(tensors)))

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(tensors, source, "an RRDBNet")
        candidates = (_NEW, _OLD, _first_version(tensors))
        names = next(names for names in candidates if f"{names[0].format(0, 1, 1)}.weight" in tensors)
        reading.settled(assume, {}, FIXED | {"residual": False, "upsample": "nearest", "activation": "leaky_relu"})
        blocks = reading.count(re.escape(names[0].format("NUMBER", 1, 1)).replace("NUMBER", r"(\d+)") + r"\.weight")
        inputs, outputs = reading.side(f"{names[1]}.weight", 1, 3), reading.side(f"{names[6]}.weight", 0, 3)
        enlarged = 4 if f"{names[4]}.weight" in tensors else 2
        squares = {4 * outputs: 2, 16 * outputs: 4}.get(inputs, 1) if names is _NEW and enlarged == 4 else 1
        width, growth = reading.side(f"{names[1]}.weight"), reading.side(f"{names[0].format(0, 1, 1)}.weight")
        with torch.device("meta"):
            network = RrdbNet(RrdbArchitecture(blocks, width, growth, enlarged, inputs, outputs))
        skipped = reading.fill(network, lambda ours: _rrdb_name(ours, names))
        whole: nn.Module = OtherRange(network)
        whole = whole if squares == 1 else _Squares(whole, squares, outputs)
        said = f"{self.name}, {blocks} blocks, {enlarged // squares} times the size, for pictures in [0, 1]"
        return Built(whole, said, {}, skipped)


class _Squares(nn.Module):
    """A network whose input channels are those of all pixels of a square."""

    def __init__(self, net: nn.Module, side: int, in_channels: int) -> None:
        super().__init__()
        self.net, self.side, self.in_channels = net, side, in_channels

    def forward(self, x: Tensor) -> Tensor:
        check_picture(x, self.in_channels, self.side, self.side, "RRDBNet")
        made: Tensor = self.net(F.pixel_unshuffle(x, self.side))
        return made


def _first_version(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of ESRGAN's first version: a row of numbers, in which each enlargement takes three places."""
    row = sorted({int(match[1]) for name in tensors if (match := re.match(r"(\d+)\.weight$", name))})
    trunk = max((int(match[1]) for name in tensors if (match := re.match(r"1\.sub\.(\d+)\.", name))), default=0)
    first, second = (3, 6) if len(row) > 4 else (3, -1)
    high, last = row[-2:] if len(row) > 3 else (-1, -1)
    return ("1.sub.{}.RDB{}.conv{}.0", "0", f"1.sub.{trunk}", *map(str, (first, second, high, last)))


def _rrdb_name(ours: str, names: tuple[str, ...]) -> str:
    dense, first, trunk, up1, up2, high, last = names
    path, _, part = ours.rpartition(".")
    if match := re.fullmatch(r"blocks\.(\d+)\.dense_blocks\.(\d)\.convolutions\.(\d)", path):
        block, inner, convolution = map(int, match.groups())
        return f"{dense.format(block, inner + 1, convolution + 1)}.{part}"
    outer = {"first": first, "trunk": trunk, "upsampling.0": up1, "upsampling.1": up2}
    return f"{(outer | {'high_resolution': high, 'last': last})[path]}.{part}"


class Srvgg:
    """SRVGGNetCompact of Real-ESRGAN (realesr-animevideov3, realesr-general-x4v3), for pictures in [0, 1]."""

    name = "SRVGGNetCompact"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        convolutions = _row(tensors)
        return (
            len(convolutions) > 2
            and all(re.fullmatch(r"\d+\.(weight|bias)", name) for name in tensors)
            and convolutions == list(range(0, convolutions[-1] + 1, 2))
            and all(f"{number}.bias" in tensors for number in convolutions)
            and all(tensors[f"{number}.weight"].shape[2:] == (3, 3) for number in convolutions)
            and _scale(tensors, convolutions[-1]) > (0 if "1.weight" in tensors else 1)
        )

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(tensors, source, "an SRVGGNetCompact")
        last, learned = _row(tensors)[-1], "1.weight" in tensors
        activations: tuple[Value, ...] = ("relu", "leaky_relu")
        settled = reading.settled(
            assume,
            {} if learned else {"activation": activations},
            FIXED | {"residual": True, "upsample": "nearest", "activation": "prelu"},
        )
        scale, width = _scale(tensors, last), reading.side("0.weight")
        with torch.device("meta"):
            network = _Srvgg(
                reading.side("0.weight", 1), width, last // 2 - 1, scale, str(settled.get("activation", "prelu"))
            )
        skipped = reading.fill(network, lambda ours: ours.removeprefix("body."))
        said = f"{self.name}, {last // 2 + 1} convolutions, {scale} times the size, for pictures in [0, 1]"
        return Built(OtherRange(network), said, settled, skipped)


def _row(tensors: Mapping[str, Tensor]) -> list[int]:
    """The places of the convolutions in a row."""
    kernels = [(re.fullmatch(r"(\d+)\.weight", name), tensor) for name, tensor in tensors.items()]
    return sorted(int(match[1]) for match, tensor in kernels if match and tensor.ndim == 4)


def _scale(tensors: Mapping[str, Tensor], last: int) -> int:
    """How many times an SRVGGNetCompact enlarges, by the channels of the first and last convolution; 0 for none."""
    made, read = tensors[f"{last}.weight"].shape[0], tensors["0.weight"].shape[1]
    scale = math.isqrt(made // max(read, 1))
    return scale if scale * scale * read == made else 0


class _Srvgg(nn.Module):
    """Convolutions at the small size, whose channels become the pixels that nearest enlargement lacks."""

    def __init__(self, channels: int, width: int, inner: int, scale: int, activation: str) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
        for outputs in (*[width] * inner, channels * scale**2):
            active = {"prelu": nn.PReLU(width), "leaky_relu": nn.LeakyReLU(0.1)}.get(activation, nn.ReLU())
            layers += [active, nn.Conv2d(width, outputs, 3, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = F.pixel_shuffle(self.body(x), self.scale)
        return made + F.interpolate(x, scale_factor=float(self.scale), mode="nearest")


class VdsrRow:
    """VDSR: convolutions without biases, as a row or as ``input``, ``residual_layer.N.conv``, ``output``.

    It takes luma in [0, 1] of a picture that is enlarged already. A row without its names may as well be a network that
    puts out the whole picture, so ``residual`` is open.
    """

    name = "VDSR"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        names = _vdsr_names(tensors)
        kernels = [tensors.get(name) for name in names]
        if len(names) < 3 or set(names) != set(tensors):
            return False
        if any(kernel is None or kernel.shape[2:] != (3, 3) for kernel in kernels):
            return False
        return tensors[names[0]].shape[1] == tensors[names[-1]].shape[0] in (1, 3)

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        reading = Reading(tensors, source, "a VDSR")
        names = _vdsr_names(tensors)
        left_open: dict[str, tuple[Value, ...]] = {} if "input.weight" in tensors else {"residual": (True, False)}
        settled = reading.settled(assume, left_open, FIXED | {"residual": True, "activation": "relu"})
        architecture = VdsrArchitecture(len(names), reading.side(names[0]), reading.side(names[0], 1))
        with torch.device("meta"):
            network = Vdsr(architecture)
        reading.fill(network, lambda ours: names[int(ours.split(".")[1]) // 2])
        said = f"{self.name}, {len(names)} layers, for luma in [0, 1] at full size"
        return Built(OtherRange(network if settled.get("residual", True) else network.layers), said, settled)


def _vdsr_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """The kernels in order; none where the names are others."""
    if "input.weight" in tensors:
        inner = sum(name.startswith("residual_layer.") for name in tensors)
        return ["input.weight", *(f"residual_layer.{i}.conv.weight" for i in range(inner)), "output.weight"]
    row = _row(tensors)
    return [f"{number}.weight" for number in row] if row == list(range(0, 2 * len(row), 2)) else []
