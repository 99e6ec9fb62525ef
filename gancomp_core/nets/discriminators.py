"""Discriminators: the critics that make a generator's pictures look real."""

from __future__ import annotations

from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import instance_norm


class PatchDiscriminator(nn.Module):
    """PatchGAN: scores overlapping patches instead of the whole picture.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to one unbounded score a patch, [N, 1, h, w]. ``strided_layers``
    stride-2 convolutions, then two of stride 1; widths ``width * (1, 2, 4, 8)``. A conditional discriminator sees
    source and target side by side, ``in_channels`` counting both. Source: Isola et al., CVPR 2017 (arXiv 1611.07004);
    ``width=64, strided_layers=3`` is its 70x70 PatchGAN.
    """

    def __init__(self, in_channels: int, width: int = 64, strided_layers: int = 3) -> None:
        super().__init__()
        if width < 1 or not 1 <= strided_layers <= 6:
            raise GancompError(
                f"A PatchGAN needs width >= 1 and 1 to 6 strided layers, not {width} and {strided_layers}; "
                "the published one has 64 and 3."
            )
        self.in_channels = in_channels
        self.settings = {"in_channels": in_channels, "width": width, "strided_layers": strided_layers}
        widths = [width * min(2**level, 8) for level in range(strided_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for level, (c_in, c_out) in enumerate(zip(widths, widths[1:], strict=False)):
            stride = 2 if level < strided_layers - 1 else 1
            layers += [nn.Conv2d(c_in, c_out, 4, stride, 1), instance_norm(c_out), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
