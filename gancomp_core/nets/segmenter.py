"""A small network that predicts the class of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gancomp_core.nets.architecture import NO_COLUMNS, Architecture, Columns, Generator
from gancomp_core.nets.blueprint import BATCH_NORM, Blueprint, Channels, Draft
from gancomp_core.nets.values import check_whole


@dataclass(frozen=True)
class SegmenterArchitecture(Architecture, family="segmenter"):
    """What determines a :class:`Segmenter`.

    Attributes:
        classes: Number of classes, at least 2.
        width: Channels of its first layer.
        in_channels: Channels of the pictures.
    """

    classes: int
    width: int = 24
    in_channels: int = 3

    title = "segmenter (a small U-Net)"
    multiple = 4
    smallest = 8

    def __post_init__(self) -> None:
        check_whole("The number of classes of a segmenter", self.classes, 2, 1024, "one for each color of the map")
        check_whole("The width of a segmenter", self.width, 1, 1024, "24 as shipped")
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for color")

    @property
    def out_channels(self) -> int:
        return self.classes

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        self.check_size(height, width)
        draft = Draft((height, width))
        full, half, quarter = (Channels("", times * self.width) for times in (1, 2, 3))

        def layer(name: str, reads: Channels, writes: Channels, stride: int = 1, dilation: int = 1) -> None:
            draft.conv(f"{name}.0", reads, writes, stride=stride, dilation=dilation, bias=False)
            draft.norm(f"{name}.1", writes, True, kind=BATCH_NORM, counted=False)
            draft.activation(f"{name}.2", "relu")

        draft.stage("whole", "whole", [full], full)
        layer("whole", Channels("", self.in_channels), full)
        draft.stage("halved", "halved", [full, half], half)
        layer("halved.0", full, half, stride=2)
        layer("halved.1", half, half)
        draft.stage("quartered", "quartered", [half, quarter], quarter)
        layer("quartered.0", half, quarter, stride=2)
        for i, dilation in enumerate((1, 2, 4, 1), start=1):
            layer(f"quartered.{i}", quarter, quarter, dilation=dilation)
        draft.stage("to_half", "to half", [quarter, half], half)
        draft.enlarging_conv("to_half", quarter, half, 2)
        layer("merge_half", half, half)
        draft.stage("to_full", "to full", [half, full], full)
        draft.enlarging_conv("to_full", half, full, 2)
        layer("merge_full", full, full)
        draft.stage("scores", "scores", [full], Channels("", self.classes))
        draft.conv("scores", full, Channels("", self.classes), 1)
        return draft.blueprint

    def network(self) -> Segmenter:
        return Segmenter(self)


class Segmenter(Generator):
    """Two levels down, dilated convolutions at a quarter of the size, two levels up with skip connections.

    Maps float32 pictures [N, in_channels, H, W] in [-1, 1] to class scores (logits) [N, classes, H, W]; H and W are
    multiples of 4, at least 8. A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with a dilated middle.
    """

    architecture: SegmenterArchitecture

    def __init__(self, architecture: SegmenterArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        plan = a.blueprint(a.smallest, a.smallest)
        self.whole, self.halved, self.quartered = map(plan.module, ("whole", "halved", "quartered"))
        self.to_half, self.to_full = map(plan.module, ("to_half", "to_full"))
        self.merge_half, self.merge_full = map(plan.module, ("merge_half", "merge_full"))
        self.scores = plan.module("scores")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        full = self.whole(x)
        half = self.halved(full)
        half = self.merge_half(half + self.to_half(self.quartered(half)))
        made: Tensor = self.scores(self.merge_full(full + self.to_full(half)))
        return made
