"""The U-Net generator of pix2pix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.architecture import check_picture


class UnetGenerator(nn.Module):
    """``depth`` stride-2 convolutions down to one pixel, as many back up, skips concatenated.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, H, W] in [-1, 1]; H and W are multiples of ``2
    ** depth``. Widths are ``width * (1, 2, 4, 8, 8, ...)``. BatchNorm everywhere except on the first and innermost
    downsampling and the last upsampling layer, which alone has a bias. Source: Isola et al., CVPR 2017 (arXiv
    1611.07004); ``width=64, depth=8`` is its U-Net-256.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 3, width: int = 64, depth: int = 8) -> None:
        super().__init__()
        if depth < 2 or width < 1:
            raise GancompError(
                f"A U-Net needs depth >= 2 and width >= 1, not depth {depth} and width {width}; U-Net-256 has 8 and 64."
            )
        self.in_channels, self.depth = in_channels, depth
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.downs = nn.ModuleList(
            _down(c_in, c_out, first=level == 0, innermost=level == depth - 1)
            for level, (c_in, c_out) in enumerate(zip([in_channels, *widths], widths, strict=False))
        )
        outputs = [out_channels, *widths[:-1]]
        self.ups = nn.ModuleList(
            _up(widths[level] * (1 if level == depth - 1 else 2), outputs[level], last=level == 0)
            for level in reversed(range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        check_picture(x, self.in_channels, multiple=2**self.depth, smallest=2**self.depth)
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        x = self.ups[0](skips.pop())
        for up in self.ups[1:]:
            x = up(torch.cat([skips.pop(), x], dim=1))
        return x


def _down(c_in: int, c_out: int, first: bool, innermost: bool) -> nn.Sequential:
    convolution = nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False)
    if first:
        return nn.Sequential(convolution)
    norm = [] if innermost else [nn.BatchNorm2d(c_out)]
    return nn.Sequential(nn.LeakyReLU(0.2), convolution, *norm)


def _up(c_in: int, c_out: int, last: bool) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=last)
    return nn.Sequential(nn.ReLU(), convolution, nn.Tanh() if last else nn.BatchNorm2d(c_out))
