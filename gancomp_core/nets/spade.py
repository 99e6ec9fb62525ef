"""The SPADE generator of GauGAN: a picture from a map of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.architecture import NO_COLUMNS, Columns, StagedGenerator, added
from gancomp_core.nets.blocks import resized
from gancomp_core.nets.blueprint import BATCH_NORM, ONE_PIXEL_NORM, Blueprint, Channels, Draft
from gancomp_core.nets.channel_config import ChannelConfig
from gancomp_core.nets.staged import GeneratorArchitecture
from gancomp_core.nets.values import check_whole

SLOPE = 0.2
SMALLEST = {"more": 64, "normal": 32}
"""How many times smaller than the picture the first map is, by the name of the upsampling."""
STAGES = ("fc", "head", "middle_0", "middle_1", "up_0", "up_1", "up_2", "up_3", "tail")


class BlockShape(NamedTuple):
    """The channels of one residual block, and how many times smaller than the picture its maps are."""

    name: str
    inputs: Channels
    inner: Channels
    outputs: Channels
    hidden: int
    shortcut: bool
    shrink: int
    kernel: int


@dataclass(frozen=True)
class SpadeArchitecture(GeneratorArchitecture, family="spade"):
    """Everything that determines a SPADE generator.

    Attributes:
        channels: A :class:`ChannelConfig` of eight entries, or its string.
        separable: Whether the convolutions that compute gamma and beta are depthwise-separable.
        upsampling: "more" (the first map is 64 times smaller than the picture) or "normal" (32 times).
        label_channels: Channels of the label map; for published Cityscapes 35 labels and the edges between objects.
        out_channels: Channels of the picture.
        middles: Number of blocks between head and ups, 1 or 2.
        kernels: Kernel sizes (3, 5 or 7) of the convolutions of head and middles, of the first two ups and of the last
            two.
        resolution: Share of the picture's height and width at which the network works (1, 0.75 or 0.5).
    """

    channels: ChannelConfig
    separable: bool = False
    upsampling: str = "more"
    label_channels: int = 36
    out_channels: int = 3
    middles: int = added(2)
    kernels: tuple[int, int, int] = added((3, 3, 3))
    resolution: float = added(1.0)

    title = "SPADE generator"
    depth_field = "middles"

    def __post_init__(self) -> None:
        self._check_common()
        if len(self.channels.entries) != 8:
            raise GancompError(
                f"The channels of a SPADE generator are {str(self.channels)!r}; give a ChannelConfig of eight numbers, "
                "for example 64_64_64_64_64_64_64_64."
            )
        if self.upsampling not in SMALLEST:
            raise GancompError(
                f"The upsampling of a SPADE generator is {self.upsampling!r}; it must be 'more' (pictures in multiples "
                "of 64 pixels) or 'normal' (multiples of 32)."
            )
        check_whole("label_channels", self.label_channels, 1, 4096, "one a label")
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for color")
        check_whole("middles", self.middles, 1, 2, "2 as published")
        if not isinstance(self.separable, bool):
            raise GancompError(
                f"separable is {self.separable} in a SPADE generator, which is dense (False) or separable (True) as a "
                "whole; give one of the two."
            )

    @property
    def in_channels(self) -> int:
        return self.label_channels

    @property
    def full_multiple(self) -> int:
        return SMALLEST[self.upsampling]

    @property
    def taps(self) -> tuple[str, ...]:
        """One stage of coarse, of middle and of fine maps."""
        return ("head", f"middle_{self.middles - 1}", "up_1")

    def blocks(self, columns: Columns = NO_COLUMNS) -> tuple[BlockShape, ...]:
        """The residual blocks (seven as published) in the order in which they run."""
        c, kernels = self.entries(columns), self.kernels
        first = Channels("before up_0", 16 * c[0])  # runs through head and middles, which add to it
        middles = ((64, 32, 16) if self.upsampling == "more" else (32, 16, 16), STAGES[1:4], c[1:4])
        found = [
            BlockShape(name, first, Channels(f"{name}.inner", 16 * n), first, 2 * n, False, shrink, kernels[0])
            for shrink, name, n in zip(*middles, strict=True)
        ][: 1 + self.middles]
        inputs = first
        for name, n, after, factor in zip(STAGES[4:8], c[4:], STAGES[5:9], (8, 4, 2, 1), strict=True):
            outputs, kernel = Channels(f"before {after}", factor * n), kernels[1] if factor > 2 else kernels[2]
            inner = Channels(f"{name}.inner", factor * n)
            found.append(BlockShape(name, inputs, inner, outputs, 2 * n, True, factor, kernel))
            inputs = outputs
        return tuple(found)

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        draft = Draft(self.working_size(height, width), "stages.", self.note)
        blocks, shrink, labels = self.blocks(columns), SMALLEST[self.upsampling], Channels("", self.label_channels)
        draft.resize(1 / shrink)
        draft.stage("fc", "fc", [blocks[0].inputs], blocks[0].inputs)
        draft.conv("fc", labels, blocks[0].inputs)
        for block in blocks:
            kind = f"{'up' if block.shortcut else 'block'} {block.kernel}x{block.kernel} at 1/{block.shrink}"
            kind, shrink = (
                kind if block.shrink == shrink else f"{kind} enlarged",
                _enlarged(draft, shrink, block.shrink),
            )
            widths = (block.inputs, block.inner, block.outputs, Channels("", block.hidden))
            draft.stage(block.name, kind, widths, block.outputs)
            self._draft_block(draft, block, labels)
        picture = Channels("", self.out_channels)
        draft.stage("tail", "tail", [blocks[-1].outputs], picture)
        draft.activation("tail.0", "leaky relu")
        draft.conv("tail.1", blocks[-1].outputs, picture)
        draft.activation("tail.2", "tanh")
        return draft.blueprint

    def _draft_block(self, draft: Draft, block: BlockShape, labels: Channels) -> None:
        name, inner = block.name, block.inner
        self._draft_spade(draft, f"{name}.norm_0", block.inputs, labels, block.hidden)
        draft.conv(f"{name}.conv_0", block.inputs, inner, block.kernel, elastic=True)
        self._draft_spade(draft, f"{name}.norm_1", inner, labels, block.hidden)
        draft.conv(f"{name}.conv_1", inner, block.outputs, block.kernel, elastic=True)
        if block.shortcut:
            self._draft_spade(draft, f"{name}.norm_s", block.inputs, labels, block.hidden)
            draft.conv(f"{name}.conv_s", block.inputs, block.outputs, 1, bias=False)

    def _draft_spade(self, draft: Draft, name: str, channels: Channels, labels: Channels, width: int) -> None:
        hidden = Channels(f"{name}.hidden", width)
        draft.norm(f"{name}.norm", channels, kind=BATCH_NORM)
        draft.conv(f"{name}.shared", labels, hidden)
        for factor in (f"{name}.gamma", f"{name}.beta"):
            if self.separable:
                draft.conv(f"{factor}.0", hidden, hidden, depthwise=True)
                draft.norm(f"{factor}.1", hidden, kind=ONE_PIXEL_NORM)
                draft.conv(f"{factor}.2", hidden, channels, 1)
            else:
                draft.conv(factor, hidden, channels)

    def network(self) -> SpadeGenerator:
        return SpadeGenerator(self)


def _enlarged(draft: Draft, before: int, shrink: int) -> int:
    """Maps as large as a block wants them: ``shrink`` times smaller than the picture."""
    draft.resize(before / shrink)
    return shrink


class Spade(nn.Module):
    """Spatially-adaptive normalization: ``batch_norm(x) * (1 + gamma(labels)) + beta(labels)``.

    ``x`` is [N, channels, H, W], ``labels`` [N, label_channels, H, W] of the same size. gamma and beta share one
    convolution to ``hidden`` channels. Source: Park et al., CVPR 2019 (arXiv 1903.07291).
    """

    def __init__(self, plan: Blueprint, path: str) -> None:
        super().__init__()
        self.norm = plan.module(f"{path}.norm")
        self.shared = plan.module(f"{path}.shared")
        self.gamma = plan.module(f"{path}.gamma")
        self.beta = plan.module(f"{path}.beta")

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        hidden = F.relu(self.shared(labels), inplace=True)
        found: Tensor = self.norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)
        return found


class SpadeBlock(nn.Module):
    """Twice SPADE, LeakyReLU and a 3x3 convolution, plus the input or a shortcut: its SPADE and 1x1 convolution.

    ``x`` is [N, inputs, H, W]; ``labels`` [N, label_channels, ...] may be larger and are resized to the nearest.
    """

    def __init__(self, plan: Blueprint, path: str, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.norm_0 = Spade(plan, f"{path}.norm_0")
        self.conv_0 = plan.module(f"{path}.conv_0")
        self.norm_1 = Spade(plan, f"{path}.norm_1")
        self.conv_1 = plan.module(f"{path}.conv_1")
        if shortcut:
            self.norm_s = Spade(plan, f"{path}.norm_s")
            self.conv_s = plan.module(f"{path}.conv_s")

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = _resized(labels, x.shape[2:])
        y: Tensor = self.conv_0(_leaky(self.norm_0(x, labels)))
        y = self.conv_1(_leaky(self.norm_1(y, labels)))
        return y + (self.conv_s(self.norm_s(x, labels)) if self.shortcut else x)


class SpadeGenerator(StagedGenerator):
    """A convolution of the smallest label map, seven SPADE blocks with nearest upsampling before each, a convolution.

    Maps float32 labels [N, label_channels, H, W] (one-hot: 1 and -1 in the shipped tasks) to pictures [N, out_channels,
    H, W] in [-1, 1]; H and W are multiples of 64 (upsampling "more") or 32 ("normal"). ``stages`` holds the layers by
    name: ``fc, head, middle_0, middle_1, up_0 ... up_3, tail``. There is no upsampling before ``head``, nor with
    "normal" before ``middle_1``. Source: GauGAN (arXiv 1903.07291); separable: GAN Compression (arXiv 2003.08936).
    """

    architecture: SpadeArchitecture

    def __init__(self, architecture: SpadeArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.shapes, plan = a.blocks(), a.blueprint(a.smallest, a.smallest)
        blocks = {shape.name: SpadeBlock(plan, f"stages.{shape.name}", shape.shortcut) for shape in self.shapes}
        self.stages = nn.ModuleDict({"fc": plan.module("stages.fc"), **blocks, "tail": plan.module("stages.tail")})

    def steps(self, x: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
        share, shrink = self.architecture.resolution, SMALLEST[self.architecture.upsampling]
        labels = x if share == 1 else F.interpolate(x, scale_factor=share, mode="nearest")
        smallest = _resized(labels, [size // shrink for size in labels.shape[2:]])
        yield "fc", lambda _: self.stages["fc"](smallest)
        for shape in self.shapes:
            yield shape.name, partial(_block_step, self.stages[shape.name], labels, shrink / shape.shrink)
            shrink = shape.shrink
        yield "tail", lambda x: resized(self.stages["tail"](x), 1 / share)

    def check(self, x: Tensor) -> None:
        super().check(x)
        pixels = x.shape[0] * x.shape[2] * x.shape[3] * self.architecture.resolution**2
        if self.training and pixels == SMALLEST[self.architecture.upsampling] ** 2:
            multiple = self.architecture.multiple
            raise GancompError(
                f"A SPADE generator cannot train on one picture of {multiple} x {multiple} pixels, whose smallest map "
                "is one pixel that BatchNorm has nothing to compare with; use a batch of at least 2, larger pictures, "
                "or call eval() first."
            )


def _block_step(block: nn.Module, labels: Tensor, enlarge: float, x: Tensor) -> Tensor:
    found: Tensor = block(x if enlarge == 1 else F.interpolate(x, scale_factor=enlarge, mode="nearest"), labels)
    return found


def _resized(labels: Tensor, size: Sequence[int]) -> Tensor:
    return labels if labels.shape[2:] == size else F.interpolate(labels, size=size, mode="nearest")


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)
