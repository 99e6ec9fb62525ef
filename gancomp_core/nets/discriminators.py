"""Discriminators, which tell real from generated pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import instance_norm
from gancomp_core.nets.values import check_whole


def strided_layers_for(size: int) -> int:
    """Depth of a PatchGAN for pictures of ``size`` pixels: patches of 34 pixels below 64, else the published 70."""
    return 2 if size < 64 else 3


#: Of a PatchGAN: the scores, or with them the feature map after every LeakyReLU.
Scores = Tensor | tuple[Tensor, list[Tensor]]


class PatchDiscriminator(nn.Module):
    """PatchGAN: scores overlapping patches instead of the whole picture.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to one unbounded score per patch, [N, 1, h, w]; H and W are at least
    ``3 * 2 ** strided_layers``. It has ``strided_layers`` stride-2 convolutions, then two of stride 1, with widths
    ``width * (1, 2, 4, 8)``. A conditional discriminator gets source and target concatenated, and ``in_channels``
    counts both. ``spectral`` divides the convolutions before an InstanceNorm by their largest singular value, as GauGAN
    does. Source: Isola et al., CVPR 2017 (arXiv 1611.07004); ``width=64, strided_layers=3`` is its 70x70 PatchGAN.
    """

    def __init__(self, in_channels: int, width: int = 64, strided_layers: int = 3, spectral: bool = False) -> None:
        super().__init__()
        if width < 1 or not 1 <= strided_layers <= 6:
            raise GancompError(
                f"A PatchGAN needs width >= 1 and 1 to 6 strided layers, not {width} and {strided_layers}; "
                "the published one has 64 and 3."
            )
        self.in_channels = in_channels
        self.smallest = 3 * 2**strided_layers
        self.settings = {
            "in_channels": in_channels,
            "width": width,
            "strided_layers": strided_layers,
            "spectral": spectral,
        }
        widths = [width * min(2**level, 8) for level in range(strided_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for level, (c_in, c_out) in enumerate(zip(widths, widths[1:], strict=False)):
            convolution = nn.Conv2d(c_in, c_out, 4, 2 if level < strided_layers - 1 else 1, 1)
            layers.append(spectral_norm(convolution) if spectral else convolution)
            layers += [instance_norm(c_out), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, x: Tensor, features: bool = False) -> Scores:
        """The scores; with ``features`` a pair: scores and the feature map after every LeakyReLU."""
        _check(x, self.in_channels, self.smallest, "PatchGAN")
        if not features:
            scores: Tensor = self.layers(x)
            return scores
        found: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                found.append(x)
        return x, found


class MultiScaleDiscriminator(nn.Module):
    """One PatchGAN for the picture, one for its half, and so on; none shares weights with another.

    Takes float32 [N, in_channels, H, W] in [-1, 1]. ``scales`` counts the discriminators (1-4), the other settings are
    those of :class:`PatchDiscriminator`. Each next picture is the mean over 3x3 pixels at every second one. Source:
    pix2pixHD (arXiv 1711.11585), GauGAN (arXiv 1903.07291).
    """

    def __init__(
        self, in_channels: int, width: int = 64, strided_layers: int = 3, scales: int = 2, spectral: bool = True
    ) -> None:
        super().__init__()
        check_whole("The number of scales of a discriminator", scales, 1, 4, "2 as published")
        self.discriminators = nn.ModuleList(
            PatchDiscriminator(in_channels, width, strided_layers, spectral) for _ in range(scales)
        )
        self.in_channels = in_channels
        # halves are rounded up
        self.smallest = (3 * 2**strided_layers - 1) * 2 ** (scales - 1) + 1
        self.settings = {
            "in_channels": in_channels,
            "width": width,
            "strided_layers": strided_layers,
            "scales": scales,
            "spectral": spectral,
        }

    def forward(self, x: Tensor, features: bool = False) -> list[Scores]:
        """Scores [N, 1, h, w] of each scale, finest first; with ``features`` pairs: scores and feature maps."""
        _check(x, self.in_channels, self.smallest, "multi-scale discriminator")
        found = []
        for level, discriminator in enumerate(self.discriminators):
            x = x if level == 0 else F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            found.append(discriminator(x, features))
        return found


def _check(x: Tensor, channels: int, smallest: int, name: str) -> None:
    if torch.compiler.is_compiling():  # an exported graph has symbolic sizes
        return
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < smallest:
        raise GancompError(
            f"This {name} takes pictures of shape [N, {channels}, H, W] with H and W at least {smallest}, not "
            f"{list(x.shape)}; convert the channels, enlarge the pictures or use fewer strided layers."
        )
