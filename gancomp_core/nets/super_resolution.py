"""Two networks that enlarge pictures: RRDBNet of ESRGAN, and VDSR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.architecture import NO_COLUMNS, Architecture, Columns, Generator
from gancomp_core.nets.blocks import enlarge_bicubically
from gancomp_core.nets.blueprint import Blueprint, Channels, Draft
from gancomp_core.nets.values import check_whole

DENSE_CONVOLUTIONS = 5
DENSE_BLOCKS = 3
RESIDUAL_SCALE = 0.2  # keeps a deep sum of blocks without normalization from growing
SLOPE = 0.2


@dataclass(frozen=True)
class RrdbArchitecture(Architecture, family="rrdb"):
    """Everything that determines an RRDBNet; the default is the published ESRGAN generator (and Real-ESRGAN's for x4).

    Attributes:
        blocks: Number of residual-in-residual dense blocks, 1 to 64.
        width: Channels of the blocks.
        growth: Channels that each convolution of a dense block adds.
        scale: How many times larger the picture becomes, 2 or 4.
        in_channels: Channels of the source.
        out_channels: Channels of the picture.
    """

    blocks: int = 23
    width: int = 64
    growth: int = 32
    scale: int = 4
    in_channels: int = 3
    out_channels: int = 3

    title = "RRDBNet"

    def __post_init__(self) -> None:
        check_whole("The number of blocks of an RRDBNet", self.blocks, 1, 64, "23 as published")
        check_whole("The width of an RRDBNet", self.width, 1, 1024, "64 as published")
        check_whole("The growth of an RRDBNet", self.growth, 1, 1024, "32 as published")
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for color")
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for color")
        if self.scale not in (2, 4):
            raise GancompError(f"An RRDBNet enlarges 2 or 4 times, not {self.scale!r}; 4 is the published scale.")

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        self.check_size(height, width)
        draft, outer, growth = Draft((height, width)), Channels("", self.width), Channels("", self.growth)
        draft.stage("first", "first", [outer], outer)
        draft.conv("first", Channels("", self.in_channels), outer)
        for block in range(self.blocks):
            draft.stage(f"block{block + 1}", "dense blocks", [outer, growth], outer)
            for dense in range(DENSE_BLOCKS):
                path = f"blocks.{block}.dense_blocks.{dense}.convolutions"
                for i in range(DENSE_CONVOLUTIONS):
                    last = i == DENSE_CONVOLUTIONS - 1
                    draft.conv(f"{path}.{i}", Channels("", self.width + self.growth * i), outer if last else growth)
        draft.stage("trunk", "conv", [outer], outer)
        draft.conv("trunk", outer, outer)
        for i in range(self.scale // 2):
            draft.stage(f"up{i + 1}", f"conv of {2 << i} times the size", [outer], outer)
            draft.resize(2)
            draft.conv(f"upsampling.{i}", outer, outer)
        picture = Channels("", self.out_channels)
        draft.stage("tail", "tail", [outer], picture)
        draft.conv("high_resolution", outer, outer)
        draft.conv("last", outer, picture)
        return draft.blueprint

    def network(self) -> RrdbNet:
        return RrdbNet(self)

    def initialize(self, network: nn.Module, seed: int) -> None:
        """As ESRGAN does: a tenth of He's normal distribution inside the dense blocks, biases zero.

        The other convolutions keep torch's own uniform distribution.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                if name.startswith("blocks."):
                    nn.init.kaiming_normal_(layer.weight, generator=generator)
                    layer.weight.data.mul_(0.1)
                else:
                    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


class DenseBlock(nn.Module):
    """``x + 0.2 * f(x)``, f of five 3x3 convolutions, each of which sees the input and all outputs before it."""

    def __init__(self, convolutions: nn.Sequential) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for convolution in self.convolutions[:-1]:
            seen.append(_leaky(convolution(torch.cat(seen, 1))))
        found: Tensor = self.convolutions[-1](torch.cat(seen, 1))
        return x + RESIDUAL_SCALE * found


class ResidualDenseBlocks(nn.Module):
    """``x + 0.2 * f(x)``, f of three dense blocks: the "residual in residual"."""

    def __init__(self, plan: Blueprint, path: str) -> None:
        super().__init__()
        paths = [f"{path}.dense_blocks.{i}.convolutions" for i in range(DENSE_BLOCKS)]
        self.dense_blocks = nn.Sequential(*(DenseBlock(plan.sequence(each)) for each in paths))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.dense_blocks(x)
        return x + RESIDUAL_SCALE * found


class RrdbNet(Generator):
    """First convolution, blocks and a trunk convolution around which they are residual, upsampling, two convolutions.

    Maps float32 [N, in_channels, h, w] in [-1, 1] to [N, out_channels, scale*h, scale*w], which is unbounded; clamp to
    [-1, 1] before showing it. Layers are registered in the order in which they run. Source: ESRGAN (Wang et al., 2018,
    arXiv 1809.00219). Start training from ``build(architecture, seed)``.
    """

    architecture: RrdbArchitecture

    def __init__(self, architecture: RrdbArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or RrdbArchitecture()
        plan = a.blueprint(1, 1)
        self.first = plan.module("first")
        self.blocks = nn.Sequential(*(ResidualDenseBlocks(plan, f"blocks.{i}") for i in range(a.blocks)))
        self.trunk = plan.module("trunk")
        self.upsampling = nn.ModuleList(plan.sequence("upsampling"))
        self.high_resolution = plan.module("high_resolution")
        self.last = plan.module("last")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        x = self.first(x)
        x = x + self.trunk(self.blocks(x))
        for convolution in self.upsampling:
            x = _leaky(convolution(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        made: Tensor = self.last(_leaky(self.high_resolution(x)))
        return made


@dataclass(frozen=True)
class VdsrArchitecture(Architecture, family="vdsr"):
    """Everything that determines a VDSR.

    Attributes:
        layers: Number of 3x3 convolutions, 2 to 64.
        width: Channels between them.
        channels: Channels of the pictures.
        scale: 1 if the input is already enlarged, as published; with 2, 3, 4 or 8 the network enlarges it bicubically.
    """

    layers: int = 20
    width: int = 64
    channels: int = 3
    scale: int = 1

    title = "VDSR"

    def __post_init__(self) -> None:
        check_whole("The number of layers of a VDSR", self.layers, 2, 64, "20 as published")
        check_whole("The width of a VDSR", self.width, 1, 1024, "64 as published")
        check_whole("channels", self.channels, 1, 1024, "3 for color")
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

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        self.check_size(height, width)
        draft, picture, inside = (
            Draft((height, width), "layers."),
            Channels("", self.channels),
            Channels("", self.width),
        )
        draft.resize(self.scale)
        for i in range(self.layers):
            reads, writes = inside if i else picture, inside if i < self.layers - 1 else picture
            draft.stage(f"layer{i + 1}", "conv", [reads, writes], writes)
            draft.conv(str(2 * i), reads, writes, bias=False)
            if writes is inside:
                draft.activation(str(2 * i + 1), "relu")
        return draft.blueprint

    def network(self) -> Vdsr:
        return Vdsr(self)

    def initialize(self, network: nn.Module, seed: int) -> None:
        """He's normal distribution, the last layer's a hundredth of it.

        So an untrained network nearly returns the bicubic enlargement.
        """
        generator = torch.Generator().manual_seed(seed)
        convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        convolutions[-1].weight.data.mul_(0.01)


class Vdsr(Generator):
    """A stack of convolutions without bias that adds what a bicubic enlargement lacks.

    Maps float32 [N, channels, h, w] in [-1, 1] to [N, channels, scale*h, scale*w], which is unbounded; clamp to [-1, 1]
    before showing it. ReLU between the convolutions, none after the last. Source: Kim et al., CVPR 2016 (arXiv
    1511.04587). Start training from ``build(architecture, seed)``.
    """

    architecture: VdsrArchitecture

    def __init__(self, architecture: VdsrArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or VdsrArchitecture()
        self.layers = a.blueprint(1, 1).module("layers")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        if self.architecture.scale != 1:
            x = enlarge_bicubically(x, self.architecture.scale)
        lacking: Tensor = self.layers(x)
        return x + lacking


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)
