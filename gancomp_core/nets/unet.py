"""The U-Net generator of pix2pix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.architecture import NO_COLUMNS, Architecture, Columns, Generator
from gancomp_core.nets.blueprint import BATCH_NORM, INSTANCE_NORM, Blueprint, Channels, Draft
from gancomp_core.nets.values import check_whole

NORMS = {"batch": BATCH_NORM, "instance": INSTANCE_NORM, "none": ""}


@dataclass(frozen=True)
class UnetArchitecture(Architecture, family="unet"):
    """Everything that determines a U-Net generator; the default is pix2pix's U-Net-256.

    Attributes:
        width: Channels of the first maps; deeper ones have 2, 4, 8, 8, ... times as many.
        depth: How many times the picture is halved, 2 to 12.
        in_channels: Channels of the source.
        out_channels: Channels of the picture.
        norm: "batch", "instance" or "none".
        affine: Whether the norms have a learned scale and shift.
        bias: Whether all convolutions have biases; the last one always has.
    """

    width: int = 64
    depth: int = 8
    in_channels: int = 3
    out_channels: int = 3
    norm: str = "batch"
    affine: bool = True
    bias: bool = False

    title = "U-Net generator"

    def __post_init__(self) -> None:
        check_whole("The width of a U-Net", self.width, 1, 1024, "64 as published")
        check_whole("The depth of a U-Net", self.depth, 2, 12, "8 as published for 256 pixels")
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for color")
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for color")
        if self.norm not in NORMS:
            raise GancompError(f"The norm of a U-Net is {self.norm!r}; it must be one of {', '.join(NORMS)}.")

    @property
    def multiple(self) -> int:
        return int(2**self.depth)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the maps by level, the largest maps first."""
        return tuple(self.width * min(2**level, 8) for level in range(self.depth))

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        self.check_size(height, width)
        draft, widths = Draft((height, width)), self.widths
        for level, (c_in, c_out) in enumerate(zip((self.in_channels, *widths[:-1]), widths, strict=True)):
            reads, writes, name = Channels("", c_in), Channels("", c_out), f"downs.{level}"
            draft.stage(f"down{level + 1}", "down", [reads, writes], writes)
            if level:
                draft.activation(f"{name}.0", "leaky relu")
            draft.conv(f"{name}.{min(level, 1)}", reads, writes, 4, stride=2, bias=self.bias)
            if 0 < level < self.depth - 1:
                self._draft_norm(draft, f"{name}.2", writes)
        for i, level in enumerate(reversed(range(self.depth))):
            reads = Channels("", widths[level] * (2 if i else 1))
            writes, name = Channels("", widths[level - 1] if level else self.out_channels), f"ups.{i}"
            draft.stage(f"up{i + 1}", "up", [reads, writes], writes)
            draft.activation(f"{name}.0", "relu")
            draft.enlarging_conv(f"{name}.1", reads, writes, 4, bias=self.bias or level == 0)
            if level:
                self._draft_norm(draft, f"{name}.2", writes)
            else:
                draft.activation(f"{name}.2", "tanh")
        return draft.blueprint

    def _draft_norm(self, draft: Draft, name: str, channels: Channels) -> None:
        if self.norm != "none":
            draft.norm(name, channels, self.affine, kind=NORMS[self.norm], counted=self.norm == "instance")

    def network(self) -> UnetGenerator:
        return UnetGenerator(self)


class UnetGenerator(Generator):
    """``depth`` stride-2 convolutions down to one pixel, as many back up, skips concatenated.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, H, W] in [-1, 1]; H and W are multiples of ``2
    ** depth``. A norm is everywhere except on the first and innermost downsampling and the last upsampling layer.
    Source: Isola et al., CVPR 2017 (arXiv 1611.07004).
    """

    architecture: UnetArchitecture

    def __init__(self, architecture: UnetArchitecture | None = None) -> None:
        super().__init__()
        self.architecture = a = architecture or UnetArchitecture()
        plan = a.blueprint(a.smallest, a.smallest)
        self.downs = nn.ModuleList(plan.sequence(f"downs.{level}") for level in range(a.depth))
        self.ups = nn.ModuleList(plan.sequence(f"ups.{level}") for level in range(a.depth))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = self.ups[0](skips.pop())
        for up in self.ups[1:]:
            x = up(torch.cat([skips.pop(), x], dim=1))
        return x
