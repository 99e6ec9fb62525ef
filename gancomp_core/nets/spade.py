"""The SPADE generator of GauGAN: a picture from a map of labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import check_picture, resized
from gancomp_core.nets.channel_config import ChannelConfig
from gancomp_core.nets.values import check_resolution, check_whole, checked_kernels, from_values, working_multiple

SLOPE = 0.2
SMALLEST = {"more": 64, "normal": 32}
"""How many times smaller than the picture the first map is, by the name of the upsampling."""
STAGES = ("fc", "head", "middle_0", "middle_1", "up_0", "up_1", "up_2", "up_3", "tail")


class BlockShape(NamedTuple):
    """The widths of one residual block, and how many times smaller than the picture its maps are."""

    name: str
    inputs: int
    inner: int
    outputs: int
    hidden: int
    shortcut: bool
    shrink: int
    kernel: int


@dataclass(frozen=True)
class SpadeArchitecture:
    """Everything that determines a SPADE generator.

    ``channels`` is a :class:`ChannelConfig` of eight entries (or its string); ``separable`` makes the convolutions that
    give gamma and beta depthwise-separable; ``upsampling`` is "more" (the first map is 64 times smaller than the
    picture) or "normal" (32 times); ``label_channels`` counts the channels of the label map, which for published
    Cityscapes are 35 labels and the edges between objects. ``middles`` is the number of blocks between head and ups (1
    or 2), ``kernels`` the sizes (3, 5 or 7) of the convolutions of head and middles, of the first two ups and of the
    last two, ``resolution`` the share of the picture's height and width at which the network works (1, 0.75 or 0.5).
    """

    channels: ChannelConfig
    separable: bool = False
    upsampling: str = "more"
    label_channels: int = 36
    out_channels: int = 3
    middles: int = 2
    kernels: tuple[int, int, int] = (3, 3, 3)
    resolution: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.channels, str):
            object.__setattr__(self, "channels", ChannelConfig.parse(self.channels))
        if not isinstance(self.channels, ChannelConfig) or len(self.channels.entries) != 8:
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
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for colour")
        check_whole("middles", self.middles, 1, 2, "2 as published")
        if not isinstance(self.separable, bool):
            raise GancompError(
                f"separable is {self.separable} in a SPADE generator, which is dense (False) or separable (True) as a "
                "whole; give one of the two."
            )
        object.__setattr__(self, "kernels", checked_kernels(self.kernels))
        check_resolution(self.resolution)

    @property
    def in_channels(self) -> int:
        return self.label_channels

    @property
    def multiple(self) -> int:
        """Height and width of pictures are multiples of this."""
        return working_multiple(SMALLEST[self.upsampling], self.resolution)

    @property
    def taps(self) -> tuple[str, ...]:
        """The stages whose features distillation compares: coarse, middle and fine."""
        return ("head", f"middle_{self.middles - 1}", "up_1")

    @property
    def first_width(self) -> int:
        """Channels of the first map, ``16 * c0``."""
        return 16 * self.channels.entries[0]

    @property
    def blocks(self) -> tuple[BlockShape, ...]:
        """The residual blocks (seven as published) in the order in which they run."""
        c, first, kernels = self.channels.entries, self.first_width, self.kernels
        middles = ((64, 32, 16) if self.upsampling == "more" else (32, 16, 16), STAGES[1:4], c[1:4])
        found = [
            BlockShape(name, first, 16 * entry, first, 2 * entry, False, shrink, kernels[0])
            for shrink, name, entry in zip(*middles, strict=True)
        ][: 1 + self.middles]
        inputs = first
        for name, entry, factor in zip(STAGES[4:8], c[4:], (8, 4, 2, 1), strict=True):
            kernel = kernels[1] if factor > 2 else kernels[2]
            found.append(BlockShape(name, inputs, factor * entry, factor * entry, 2 * entry, True, factor, kernel))
            inputs = factor * entry
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {
            "family": "spade",
            "channels": str(self.channels),
            "separable": self.separable,
            "upsampling": self.upsampling,
            "label_channels": self.label_channels,
            "out_channels": self.out_channels,
            # model cards name what is usual only where they always did
            **({"middles": self.middles} if self.middles != 2 else {}),
            **({"kernels": list(self.kernels)} if self.kernels != (3, 3, 3) else {}),
            **({"resolution": self.resolution} if self.resolution != 1 else {}),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SpadeArchitecture:
        return from_values(cls, "spade", values)


class OnePixelInstanceNorm(nn.GroupNorm):
    """InstanceNorm without affine that also takes maps of one pixel, of which it makes zeros.

    torch refuses those of a single picture, whether it trains or not; the smallest SPADE map of a 64-pixel picture is
    one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, None, None, self.eps)


class Spade(nn.Module):
    """Spatially-adaptive normalisation: ``batch_norm(x) * (1 + gamma(labels)) + beta(labels)``.

    ``x`` is [N, channels, H, W], ``labels`` [N, label_channels, H, W] of the same size. gamma and beta share one
    convolution to ``hidden`` channels. Source: Park et al., CVPR 2019 (arXiv 1903.07291).
    """

    def __init__(self, channels: int, label_channels: int, hidden: int, separable: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(label_channels, hidden, 3, padding=1)
        self.gamma = _modulating_conv(hidden, channels, separable)
        self.beta = _modulating_conv(hidden, channels, separable)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        hidden = F.relu(self.shared(labels), inplace=True)
        return self.norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)


class SpadeBlock(nn.Module):
    """Twice SPADE, LeakyReLU and a 3x3 convolution, plus the input or a shortcut: its SPADE and 1x1 convolution.

    ``x`` is [N, inputs, H, W]; ``labels`` [N, label_channels, ...] may be larger and are resized to the nearest.
    """

    def __init__(self, shape: BlockShape, label_channels: int, separable: bool) -> None:
        super().__init__()
        self.norm_0 = Spade(shape.inputs, label_channels, shape.hidden, separable)
        self.conv_0 = nn.Conv2d(shape.inputs, shape.inner, shape.kernel, padding=shape.kernel // 2)
        self.norm_1 = Spade(shape.inner, label_channels, shape.hidden, separable)
        self.conv_1 = nn.Conv2d(shape.inner, shape.outputs, shape.kernel, padding=shape.kernel // 2)
        if shape.shortcut:
            self.norm_s = Spade(shape.inputs, label_channels, shape.hidden, separable)
            self.conv_s = nn.Conv2d(shape.inputs, shape.outputs, 1, bias=False)
        self.shortcut = shape.shortcut

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = _resized(labels, x.shape[2:])
        y = self.conv_0(_leaky(self.norm_0(x, labels)))
        y = self.conv_1(_leaky(self.norm_1(y, labels)))
        return y + (self.conv_s(self.norm_s(x, labels)) if self.shortcut else x)


class SpadeGenerator(nn.Module):
    """A convolution of the smallest label map, seven SPADE blocks with nearest upsampling before each, a convolution.

    Maps float32 labels [N, label_channels, H, W] (one-hot; 1 and -1, as the tasks give them, in the shipped teacher) to
    pictures [N, out_channels, H, W] in [-1, 1]; H
    and W are multiples of 64 (upsampling "more") or 32 ("normal"). ``stages`` holds the layers by name:
    ``fc, head, middle_0, middle_1, up_0 ... up_3, tail``. No upsampling precedes ``head``, nor with "normal" the block
    ``middle_1``. Source: GauGAN (arXiv 1903.07291); separable: GAN Compression (arXiv 2003.08936).
    """

    def __init__(self, architecture: SpadeArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.shapes = a.blocks
        self.stages = nn.ModuleDict(
            {
                "fc": nn.Conv2d(a.label_channels, a.first_width, 3, padding=1),
                **{shape.name: SpadeBlock(shape, a.label_channels, a.separable) for shape in self.shapes},
                "tail": nn.Sequential(
                    nn.LeakyReLU(SLOPE), nn.Conv2d(a.channels.entries[7], a.out_channels, 3, padding=1), nn.Tanh()
                ),
            }
        )

    def forward(self, labels: Tensor, features: Collection[str] = ()) -> Any:
        """The generated picture; with ``features`` (stage names) a pair: picture and ``{name: feature map}``."""
        self._check(labels)
        stages = [name for name in STAGES if name in self.stages]
        if missing := set(features) - set(stages):
            raise GancompError(f"There is no stage {sorted(missing)}; choose from {', '.join(stages)}.")
        share, shrink = self.architecture.resolution, SMALLEST[self.architecture.upsampling]
        labels = labels if share == 1 else F.interpolate(labels, scale_factor=share, mode="nearest")
        x = self.stages["fc"](_resized(labels, [size // shrink for size in labels.shape[2:]]))
        found = {"fc": x}
        for shape in self.shapes:
            if shape.shrink != shrink:
                x, shrink = F.interpolate(x, scale_factor=shrink / shape.shrink, mode="nearest"), shape.shrink
            x = self.stages[shape.name](x, labels)
            if shape.name in features:
                found[shape.name] = x
        x = found["tail"] = resized(self.stages["tail"](x), 1 / share)
        return (x, {name: found[name] for name in stages if name in features}) if features else x

    def _check(self, labels: Tensor) -> None:
        multiple = self.architecture.multiple
        check_picture(labels, self.architecture.label_channels, multiple, multiple)
        pixels = labels.shape[0] * labels.shape[2] * labels.shape[3] * self.architecture.resolution**2
        if self.training and pixels == SMALLEST[self.architecture.upsampling] ** 2:
            raise GancompError(
                f"A SPADE generator cannot train on one picture of {multiple} x {multiple} pixels, whose smallest map "
                "is one pixel that BatchNorm has nothing to compare with; use a batch of at least 2, larger pictures, "
                "or call eval() first."
            )


def _modulating_conv(hidden: int, channels: int, separable: bool) -> nn.Module:
    if not separable:
        return nn.Conv2d(hidden, channels, 3, padding=1)
    depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
    return nn.Sequential(depthwise, OnePixelInstanceNorm(hidden), nn.Conv2d(hidden, channels, 1))


def _resized(labels: Tensor, size: Any) -> Tensor:
    return labels if labels.shape[2:] == size else F.interpolate(labels, size=size, mode="nearest")


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE, inplace=True)
