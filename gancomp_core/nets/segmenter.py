"""A small network that names the class of every pixel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from gancomp_core.nets.blocks import check_picture
from gancomp_core.nets.values import check_whole, from_values


@dataclass(frozen=True)
class SegmenterArchitecture:
    """What determines a :class:`Segmenter`: its ``classes`` (from 2), the ``width`` of its first layer."""

    classes: int
    width: int = 24
    in_channels: int = 3

    def __post_init__(self) -> None:
        check_whole("The number of classes of a segmenter", self.classes, 2, 1024, "one for each colour of the map")
        check_whole("The width of a segmenter", self.width, 1, 1024, "24 as shipped")
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for colour")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {"family": "segmenter", **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SegmenterArchitecture:
        return from_values(cls, "segmenter", values)


class Segmenter(nn.Module):
    """Two levels down, dilated convolutions at a quarter of the size, two levels up with skip connections.

    Maps float32 pictures [N, in_channels, H, W] in [-1, 1] to class scores (logits) [N, classes, H, W]; H and W are
    multiples of 4, at least 8. A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with a dilated middle.
    """

    def __init__(self, architecture: SegmenterArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        w = a.width
        self.whole = _layer(a.in_channels, w)
        self.halved = nn.Sequential(_layer(w, 2 * w, stride=2), _layer(2 * w, 2 * w))
        self.quartered = nn.Sequential(
            _layer(2 * w, 3 * w, stride=2),
            *(_layer(3 * w, 3 * w, dilation=dilation) for dilation in (1, 2, 4, 1)),
        )
        self.to_half = nn.ConvTranspose2d(3 * w, 2 * w, 2, stride=2)
        self.to_full = nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.merge_half = _layer(2 * w, 2 * w)
        self.merge_full = _layer(w, w)
        self.scores = nn.Conv2d(w, a.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        check_picture(x, self.architecture.in_channels, multiple=4, smallest=8)
        full = self.whole(x)
        half = self.halved(full)
        half = self.merge_half(half + self.to_half(self.quartered(half)))
        return self.scores(self.merge_full(full + self.to_full(half)))


def _layer(c_in: int, c_out: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(c_in, c_out, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))
