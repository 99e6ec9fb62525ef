"""The pieces that generators and discriminators are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from gancomp_core.errors import GancompError


def instance_norm(channels: int, affine: bool = False) -> nn.GroupNorm:
    """InstanceNorm, written as one group per channel: the same function, 1.5-2 times faster to train on a CPU."""
    return nn.GroupNorm(channels, channels, affine=affine)


def is_instance_norm(layer: nn.Module) -> bool:
    """Whether a layer is an InstanceNorm, under whichever name."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups == layer.num_channels
    return isinstance(layer, _InstanceNorm)


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width (divided by ``stride``); odd kernels pad by reflection at stride 1."""
    padding = {"padding": kernel // 2, "padding_mode": "reflect" if stride == 1 else "zeros"}
    return nn.Conv2d(c_in, c_out, kernel, stride, groups=groups, **padding)  # type: ignore[arg-type]


def upsampling_conv(c_in: int, c_out: int, groups: int = 1) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1, groups=groups)


def separable_conv(c_in: int, c_out: int, kernel: int, affine: bool = False, stride: int = 1) -> nn.Sequential:
    """Depthwise convolution, InstanceNorm, pointwise convolution; no activation between.

    Source: GAN Compression, section 3.3.
    """
    return _separable(conv(c_in, c_in, kernel, stride, groups=c_in), c_out, affine)


def separable_upsampling_conv(c_in: int, c_out: int, affine: bool = False) -> nn.Sequential:
    """The same with a transposed depthwise convolution that doubles height and width."""
    return _separable(upsampling_conv(c_in, c_in, groups=c_in), c_out, affine)


def _separable(depthwise: nn.Conv2d | nn.ConvTranspose2d, c_out: int, affine: bool) -> nn.Sequential:
    channels = depthwise.out_channels
    return nn.Sequential(depthwise, instance_norm(channels, affine), nn.Conv2d(channels, c_out, 1))


class ResidualBlock(nn.Module):
    """``x + norm(conv(relu(norm(conv(x)))))``, no activation after the sum.

    ``channels`` enter and leave, ``inner`` lie between the two convolutions of size ``kernel``; ``separable`` replaces
    both by depthwise-separable ones; ``affine`` gives every norm a learned scale and shift. Input and output are
    [N, channels, H, W].
    """

    def __init__(
        self, channels: int, inner: int, separable: bool = False, affine: bool = False, kernel: int = 3
    ) -> None:
        super().__init__()

        def block_conv(c_in: int, c_out: int) -> nn.Module:
            return separable_conv(c_in, c_out, kernel, affine) if separable else conv(c_in, c_out, kernel)

        self.body = nn.Sequential(
            block_conv(channels, inner),
            instance_norm(inner, affine),
            nn.ReLU(inplace=True),
            block_conv(inner, channels),
            instance_norm(channels, affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def resized(x: Tensor, share: float) -> Tensor:
    """Pictures [N, C, H, W] at ``share`` of their height and width, bilinearly; the same pictures where it is 1."""
    return x if share == 1 else F.interpolate(x, scale_factor=share, mode="bilinear")


def check_picture(x: Tensor, channels: int, multiple: int, smallest: int) -> None:
    """Raise :class:`GancompError` unless ``x`` is [N, channels, H, W] with H and W multiples of ``multiple``."""
    if torch.compiler.is_exporting():  # an exported graph has symbolic sizes
        return
    sizes = x.shape[2:]
    if x.ndim != 4 or x.shape[1] != channels or any(size % multiple or size < smallest for size in sizes):
        raise GancompError(
            f"This generator takes pictures of shape [N, {channels}, H, W] with H and W multiples of {multiple} and at "
            f"least {smallest}, not {list(x.shape)}; convert the channels or resize the pictures."
        )
