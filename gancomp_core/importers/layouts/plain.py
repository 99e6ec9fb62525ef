"""The layers of which imported networks are put together where no network of ours fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "leaky_relu_0.01": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}
PADS: dict[str, Callable[[int], nn.Module]] = {
    "reflect": nn.ReflectionPad2d,
    "replicate": nn.ReplicationPad2d,
    "zeros": nn.ZeroPad2d,
}


class PlainGenerator(nn.Module):
    """Layers in a row, whose result can be added to the picture that came in.

    Maps float32 [N, C, H, W] in [-1, 1] to the same; H and W are multiples of ``multiple``.
    """

    def __init__(self, layers: list[nn.Module], residual: bool = False, multiple: int = 1) -> None:
        super().__init__()
        self.model, self.residual, self.multiple = nn.Sequential(*layers), residual, multiple

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.model(x)
        return (x + made).clamp(-1, 1) if self.residual else made


class AddedBlock(nn.Module):
    """A residual block: what its body makes is added to what came in."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.body(x)
        return x + made


class Doubled(nn.Module):
    """Twice the height and width: "nearest", "bilinear" or "bilinear_aligned" at the corners."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            return F.interpolate(x, scale_factor=2.0)
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=self.mode == "bilinear_aligned")


def conv(
    weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: str | None = "zeros", groups: int = 1
) -> nn.Conv2d:
    """A convolution with these weights, [out, in / groups, k, k]; None as ``padding`` leaves it to a layer before."""
    kernel = weight.shape[-1]
    margin = 0 if padding is None else (kernel - 1) // 2
    with torch.device("meta"):  # nothing is allocated, because the weights are there
        made = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            (weight.shape[2], weight.shape[3]),
            stride,
            margin,
            groups=groups,
            bias=bias is not None,
            padding_mode=cast(Literal["zeros", "reflect", "replicate"], padding or "zeros"),
        )
    return _with(made, weight=weight, bias=bias)


def transposed(
    weight: Tensor, bias: Tensor | None, *, margin: int | None = None, groups: int = 1
) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width, with these weights, [in, out / groups, k, k]."""
    kernel = weight.shape[-1]
    margin = (kernel - 1) // 2 if margin is None else margin
    with torch.device("meta"):
        made = nn.ConvTranspose2d(
            weight.shape[0],
            weight.shape[1] * groups,
            (weight.shape[2], weight.shape[3]),
            2,
            margin,
            kernel % 2,
            groups=groups,
            bias=bias is not None,
        )
    return _with(made, weight=weight, bias=bias)


def shrinking_filter(filt: Tensor) -> nn.Module:
    """CUT's antialiased halving: a fixed 3x3 blur of stride 2 behind reflection."""
    return nn.Sequential(nn.ReflectionPad2d(1), conv(filt, None, stride=2, padding=None, groups=filt.shape[0]))


def enlarging_filter(filt: Tensor) -> nn.Module:
    """CUT's antialiased doubling: a fixed 4x4 transposed blur behind replication, without its outermost pixels."""
    return nn.Sequential(nn.ReplicationPad2d(1), transposed(filt, None, margin=3, groups=filt.shape[0]))


def prelu(weight: Tensor) -> nn.PReLU:
    """A PReLU with these slopes, one or one per channel."""
    return _with(nn.PReLU(weight.numel()), weight=weight)


def batch_norm(stored: dict[str, Tensor], eps: float) -> nn.BatchNorm2d:
    """A BatchNorm for eval mode: stored ``running_mean`` and ``running_var``, perhaps ``weight`` and ``bias``."""
    made = nn.BatchNorm2d(stored["running_mean"].numel(), eps, affine="weight" in stored)
    made.running_mean, made.running_var = stored["running_mean"], stored["running_var"]
    return _with(made, weight=stored.get("weight"), bias=stored.get("bias"))


def picture_norm(kind: str, channels: int, stored: dict[str, Tensor], eps: float) -> nn.Module:
    """A norm by the picture's own statistics: "instance", "layer" or "group" (32 groups, or "group:N")."""
    affine = "weight" in stored
    if kind == "instance":
        return _with(
            nn.InstanceNorm2d(channels, eps, affine=affine), weight=stored.get("weight"), bias=stored.get("bias")
        )
    groups = 1 if kind == "layer" else int(kind.partition(":")[2] or min(32, channels))
    return _with(
        nn.GroupNorm(groups, channels, eps, affine=affine), weight=stored.get("weight"), bias=stored.get("bias")
    )


def _with(module: M, **values: Tensor | None) -> M:
    for name, value in values.items():
        if value is not None:
            setattr(module, name, nn.Parameter(value.contiguous().clone(), requires_grad=False))
    return module
