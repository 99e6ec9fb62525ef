"""The two networks that make small pictures large: RRDBNet of ESRGAN, and VDSR."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.values import check_whole, from_values

DENSE_CONVOLUTIONS = 5
DENSE_BLOCKS = 3
RESIDUAL_SCALE = 0.2  # keeps a deep sum of blocks without normalisation from growing
SLOPE = 0.2


@dataclass(frozen=True)
class RrdbArchitecture:
    """Everything that determines an RRDBNet.

    ``blocks`` residual-in-residual dense blocks (1-64) of ``width`` channels, whose convolutions each add ``growth``
    channels; ``scale`` is 2 or 4. The default is the published ESRGAN generator (and Real-ESRGAN's for x4).
    """

    blocks: int = 23
    width: int = 64
    growth: int = 32
    scale: int = 4
    in_channels: int = 3
    out_channels: int = 3

    def __post_init__(self) -> None:
        check_whole("The number of blocks of an RRDBNet", self.blocks, 1, 64, "23 as published")
        check_whole("The width of an RRDBNet", self.width, 1, 1024, "64 as published")
        check_whole("The growth of an RRDBNet", self.growth, 1, 1024, "32 as published")
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for colour")
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for colour")
        if self.scale not in (2, 4):
            raise GancompError(f"An RRDBNet enlarges 2 or 4 times, not {self.scale!r}; 4 is the published scale.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {"family": "rrdb", **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RrdbArchitecture:
        return from_values(cls, "rrdb", values)


class DenseBlock(nn.Module):
    """``x + 0.2 * f(x)``, f of five 3x3 convolutions, each of which sees the input and all outputs before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        last = DENSE_CONVOLUTIONS - 1
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width + growth * i, width if i == last else growth, 3, padding=1)
            for i in range(DENSE_CONVOLUTIONS)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for convolution in self.convolutions[:-1]:
            seen.append(_leaky(convolution(torch.cat(seen, 1))))
        return x + RESIDUAL_SCALE * self.convolutions[-1](torch.cat(seen, 1))


class ResidualDenseBlocks(nn.Module):
    """``x + 0.2 * f(x)``, f of three dense blocks: the "residual in residual"."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense_blocks = nn.Sequential(*(DenseBlock(width, growth) for _ in range(DENSE_BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * self.dense_blocks(x)


class RrdbNet(nn.Module):
    """First convolution, blocks and a trunk convolution around which they are residual, upsampling, two convolutions.

    Maps float32 [N, in_channels, h, w] in [-1, 1] to [N, out_channels, scale*h, scale*w], which is unbounded; clamp to
    [-1, 1] before looking at it. Layers are registered in the order in which they run. Source: ESRGAN (Wang et al.,
    2018, arXiv 1809.00219); start training from :func:`initialise_rrdb`.
    """

    def __init__(self, architecture: RrdbArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or RrdbArchitecture()
        self.first = nn.Conv2d(a.in_channels, a.width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualDenseBlocks(a.width, a.growth) for _ in range(a.blocks)))
        self.trunk = nn.Conv2d(a.width, a.width, 3, padding=1)
        self.upsampling = nn.ModuleList(nn.Conv2d(a.width, a.width, 3, padding=1) for _ in range(a.scale // 2))
        self.high_resolution = nn.Conv2d(a.width, a.width, 3, padding=1)
        self.last = nn.Conv2d(a.width, a.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        _check(x, self.architecture.in_channels, "RRDBNet")
        x = self.first(x)
        x = x + self.trunk(self.blocks(x))
        for convolution in self.upsampling:
            x = _leaky(convolution(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return self.last(_leaky(self.high_resolution(x)))


def initialise_rrdb(network: RrdbNet, seed: int) -> RrdbNet:
    """Draw the weights as ESRGAN does: a tenth of He's normal distribution inside the dense blocks, biases zero.

    The other convolutions keep torch's own uniform distribution. The numbers depend on ``seed`` and the layer order
    alone. Returns the network.
    """
    generator = torch.Generator().manual_seed(seed)
    inside = {id(layer) for layer in network.blocks.modules()}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            if id(layer) in inside:
                nn.init.kaiming_normal_(layer.weight, generator=generator)
                layer.weight.data.mul_(0.1)
            else:
                nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


@dataclass(frozen=True)
class VdsrArchitecture:
    """Everything that determines a VDSR.

    ``layers`` 3x3 convolutions (2-64), ``width`` channels between them, ``channels`` those of the pictures. With
    ``scale=1`` the input is already enlarged, as published; with 2, 3, 4 or 8 the network enlarges it bicubically.
    """

    layers: int = 20
    width: int = 64
    channels: int = 3
    scale: int = 1

    def __post_init__(self) -> None:
        check_whole("The number of layers of a VDSR", self.layers, 2, 64, "20 as published")
        check_whole("The width of a VDSR", self.width, 1, 1024, "64 as published")
        check_whole("channels", self.channels, 1, 1024, "3 for colour")
        if self.scale not in (1, 2, 3, 4, 8):
            raise GancompError(
                f"A VDSR enlarges 1, 2, 3, 4 or 8 times, not {self.scale!r}; 1 takes pictures enlarged already."
            )

    @property
    def in_channels(self) -> int:
        return self.channels

    @property
    def out_channels(self) -> int:
        return self.channels

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {"family": "vdsr", **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VdsrArchitecture:
        return from_values(cls, "vdsr", values)


class Vdsr(nn.Module):
    """A stack of convolutions without bias that adds what a bicubic enlargement lacks.

    Maps float32 [N, channels, h, w] in [-1, 1] to [N, channels, scale*h, scale*w], which is unbounded; clamp to [-1, 1]
    before looking at it. ReLU between the convolutions, none after the last. Source: Kim et al., CVPR 2016 (arXiv
    1511.04587); start training from :func:`initialise_vdsr`.
    """

    def __init__(self, architecture: VdsrArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or VdsrArchitecture()
        widths = [a.channels, *[a.width] * (a.layers - 1)]
        layers: list[nn.Module] = []
        for c_in, c_out in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(a.width, a.channels, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        _check(x, self.architecture.channels, "VDSR")
        if self.architecture.scale != 1:
            x = enlarge_bicubically(x, self.architecture.scale)
        return x + self.layers(x)


def enlarge_bicubically(x: Tensor, scale: int) -> Tensor:
    """Pictures [N, C, H, W] ``scale`` times larger: [N, C, scale * H, scale * W], which may leave [-1, 1] a little.

    Keys' kernel with a = -0.5, as in MATLAB and Pillow. torch has that one only in its antialiasing variant (which has
    nothing to smooth when enlarging), and not for bfloat16; its plain one has a = -0.75.
    """
    x = x.float() if x.dtype == torch.bfloat16 else x
    return F.interpolate(x, scale_factor=float(scale), mode="bicubic", align_corners=False, antialias=True)


def initialise_vdsr(network: Vdsr, seed: int) -> Vdsr:
    """Draw the weights from He's normal distribution, the last layer's a hundredth of it.

    An untrained network so returns nearly the bicubic enlargement. The numbers depend on ``seed`` and the layer order
    alone. Returns the network.
    """
    generator = torch.Generator().manual_seed(seed)
    convolutions = [layer for layer in network.layers if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    convolutions[-1].weight.data.mul_(0.01)
    return network


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)


def _check(x: Tensor, channels: int, name: str) -> None:
    if torch.compiler.is_exporting():  # an exported graph has symbolic sizes
        return
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < 1:
        raise GancompError(
            f"This {name} takes pictures of shape [N, {channels}, H, W] with H and W at least 1, not {list(x.shape)}; "
            "convert the channels or add the batch dimension."
        )
