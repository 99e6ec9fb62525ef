"""The pieces that generators and discriminators are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm


def instance_norm(channels: int, affine: bool = False) -> nn.GroupNorm:
    """InstanceNorm, written as one group per channel: the same function, 1.5-2 times faster to train on a CPU."""
    return nn.GroupNorm(channels, channels, affine=affine)


class OnePixelInstanceNorm(nn.GroupNorm):
    """InstanceNorm without affine that also takes maps of one pixel, of which it makes zeros.

    torch refuses those of a single picture, whether it trains or not; the smallest SPADE map of a 64-pixel picture is
    one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, None, None, self.eps)


def is_instance_norm(layer: nn.Module) -> bool:
    """Whether a layer is an InstanceNorm, under whichever name."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups == layer.num_channels
    return isinstance(layer, _InstanceNorm)


class ResidualBlock(nn.Module):
    """``x + body(x)``, no activation after the sum."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.body(x)
        return x + made


def resized(x: Tensor, share: float) -> Tensor:
    """Pictures [N, C, H, W] at ``share`` of their height and width, bilinearly; the same pictures where it is 1."""
    return x if share == 1 else F.interpolate(x, scale_factor=share, mode="bilinear")
