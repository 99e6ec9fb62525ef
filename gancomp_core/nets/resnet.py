"""The ResNet generator of CycleGAN and pix2pix: one definition, dense or separable, of any width and depth."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.nets.architecture import NO_COLUMNS, Architecture, Columns, StagedGenerator, added
from gancomp_core.nets.blocks import ResidualBlock, rescaled, resized
from gancomp_core.nets.blueprint import Blueprint, Channels, Draft, Padding
from gancomp_core.nets.channel_config import ChannelConfig, end_widths, inner_widths, kept_blocks, third_of
from gancomp_core.nets.staged import GeneratorArchitecture
from gancomp_core.nets.values import check_scale, check_whole


@dataclass(frozen=True)
class ResnetArchitecture(GeneratorArchitecture, family="resnet"):
    """Everything that determines a ResNet generator.

    Attributes:
        channels: A :class:`ChannelConfig`, or its string.
        blocks: Number of residual blocks, 1 to 32.
        separable: Whether the blocks are depthwise-separable (the "mobile" variant: stem, downsampling, upsampling and
            tail stay dense), for all or for each third of the blocks.
        in_channels: Channels of the source.
        out_channels: Channels of the picture.
        affine: Whether every norm has a learned scale and shift, which the published generators lack and some public
            checkpoints have.
        kernels: Kernel sizes (3, 5 or 7) of the convolutions in each third of the blocks.
        resolution: Share of the picture's height and width at which the network works (1, 0.75 or 0.5).
        separable_ends: What else is depthwise-separable: "down", "up" or both, to show what that costs in quality;
            elastic generators keep these ends dense.
        scale: How many times larger pictures become: 2 to 8, or 1/2 to 1/8. They are resized before the first layer,
            and what the network makes is added to that where the channels are alike.
    """

    channels: ChannelConfig
    blocks: int = 9
    separable: bool | tuple[bool, bool, bool] = False
    in_channels: int = 3
    out_channels: int = 3
    affine: bool = added(False)
    kernels: tuple[int, int, int] = added((3, 3, 3))
    resolution: float = added(1.0)
    separable_ends: tuple[str, ...] = added(())
    scale: float = added(1)

    title = "ResNet generator"
    depth_field, separable_by_thirds = "blocks", True
    full_multiple = 4

    def __post_init__(self) -> None:
        if self.blocks not in range(1, 33) or not isinstance(self.blocks, int):
            raise GancompError(
                f"A ResNet generator has 1 to 32 residual blocks, not {self.blocks}; 9 is the published depth."
            )
        check_whole("in_channels", self.in_channels, 1, 1024, "1 for gray, 3 for color")
        check_whole("out_channels", self.out_channels, 1, 1024, "1 for gray, 3 for color")
        self._check_common()
        check_scale(self.scale)
        given = self.separable
        if not isinstance(given, bool) and (
            not isinstance(given, tuple) or len(given) != 3 or not all(isinstance(third, bool) for third in given)
        ):
            raise GancompError(f"separable is {given}; give True, False, or one of them for each third of the blocks.")
        ends = self.separable_ends
        if not isinstance(ends, tuple | list | set | frozenset) or not all(end in ("down", "up") for end in ends):
            raise GancompError(f"separable_ends is {ends}; give a list of 'down', 'up' or both, or leave it out.")
        object.__setattr__(self, "separable_ends", tuple(sorted(set(ends))))

    def in_third(self, block: int) -> tuple[bool, int]:
        """Whether the residual block with this index is separable, and the size of its kernels."""
        third = third_of(block, self.blocks)
        return self.separable if isinstance(self.separable, bool) else self.separable[third], self.kernels[third]

    @property
    def smallest(self) -> int:
        """The least height and width of pictures: reflection needs maps that are larger than half a kernel."""
        map_side = 1 + max(self.kernels) // 2
        fitting = math.ceil(4 * map_side / self.ratio / self.multiple) * self.multiple
        return max(fitting, 2 * self.multiple)

    @property
    def taps(self) -> tuple[str, ...]:
        """The second downsampling and the end of each third of the blocks."""
        last_of_third = {third_of(block, self.blocks): f"block{block + 1}" for block in range(self.blocks)}
        return ("down2", *last_of_third.values())

    def place_in(self, wider: Architecture, stage: str) -> str:
        if not stage.startswith("block") or not isinstance(wider, ResnetArchitecture) or self.blocks >= wider.blocks:
            return stage
        block = int(stage.removeprefix("block")) - 1
        return f"block{kept_blocks(self.blocks, wider.blocks)[block] + 1}"

    @property
    def adds(self) -> bool:
        """Whether what it makes is added to the resized picture."""
        return self.scale != 1 and self.in_channels == self.out_channels

    def initialize(self, network: nn.Module, seed: int) -> None:
        """As usual; one that adds begins with the resized picture itself."""
        super().initialize(network, seed)
        if self.adds:
            nn.init.zeros_(network.get_parameter("stages.tail.0.weight"))

    def check_elastic(self) -> None:
        if self.separable_ends:
            raise GancompError("Elastic generators have dense ends; leave separable_ends out of the base.")

    def is_separable(self, stage: str) -> bool:
        return stage.startswith("block") and self.in_third(int(stage.removeprefix("block")) - 1)[0]

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        c = self.entries(columns)
        draft = _Draft(self.working_size(height, width), "stages.", self.note)
        draft.affine = self.affine
        stem, down1, down2, up1, up2 = map(Channels, ("stem", "down1", "down2", "up1", "up2"), end_widths(c))
        down, up = (end in self.separable_ends for end in ("down", "up"))
        draft.stage("stem", "stem", [stem], stem)
        draft.mix("stem.0", Channels("", self.in_channels), stem, 7)
        draft.finish("stem", stem)
        for before, after in ((stem, down1), (down1, down2)):
            draft.stage(after.name, after.name, [before, after], after)
            draft.mix(f"{after.name}.0", before, after, stride=2, separable=down)
            draft.finish(after.name, after)
        for block, inside in enumerate(inner_widths(c, self.blocks, self.channels.legacy)):
            draft.block(down2, Channels(f"block{block + 1}", inside), *self.in_third(block))
        for before, after in ((down2, up1), (up1, up2)):
            draft.stage(after.name, after.name, [before, after], after)
            draft.enlarge(f"{after.name}.0", before, after, separable=up)
            draft.finish(after.name, after)
        picture = Channels("", self.out_channels)
        draft.stage("tail", "tail", [up2], picture)
        draft.mix("tail.0", up2, picture, 7)
        draft.activation("tail.1", "tanh")
        return draft.blueprint

    def network(self) -> ResnetGenerator:
        return ResnetGenerator(self)

    def as_dict(self) -> Json:
        return super().as_dict() | {"legacy": self.channels.legacy}

    @classmethod
    def _read(cls, values: Json) -> Self:
        channels, legacy = values.get("channels"), values.pop("legacy", False)
        return super()._read(values | ({"channels": ChannelConfig.parse(channels, legacy)} if channels else {}))


class _Draft(Draft):
    """What ResNet generators are made of."""

    affine = False

    def mix(
        self,
        name: str,
        reads: Channels,
        writes: Channels,
        kernel: int = 3,
        *,
        stride: int = 1,
        separable: bool = False,
        elastic: bool = False,
    ) -> None:
        """A convolution, or a depthwise one, InstanceNorm, and a pointwise one (GAN Compression, section 3.3)."""
        padding: Padding = "reflect" if stride == 1 else "zeros"
        if not separable:
            self.conv(name, reads, writes, kernel, stride=stride, padding=padding, elastic=elastic)
            return
        self.conv(f"{name}.0", reads, reads, kernel, stride=stride, depthwise=True, padding=padding, elastic=elastic)
        self.norm(f"{name}.1", reads, self.affine)
        self.conv(f"{name}.2", reads, writes, 1)

    def enlarge(self, name: str, reads: Channels, writes: Channels, separable: bool) -> None:
        """The same with a transposed convolution that doubles height and width."""
        if not separable:
            self.enlarging_conv(name, reads, writes)
            return
        self.enlarging_conv(f"{name}.0", reads, reads, depthwise=True)
        self.norm(f"{name}.1", reads, self.affine)
        self.conv(f"{name}.2", reads, writes, 1)

    def finish(self, name: str, channels: Channels) -> None:
        self.norm(f"{name}.1", channels, self.affine)
        self.activation(f"{name}.2", "relu")

    def block(self, outer: Channels, inner: Channels, separable: bool, kernel: int) -> None:
        self.stage(
            inner.name, f"{'separable' if separable else 'dense'} block {kernel}x{kernel}", [outer, inner], outer
        )
        path = f"{inner.name}.body"
        self.mix(f"{path}.0", outer, inner, kernel, separable=separable, elastic=True)
        self.norm(f"{path}.1", inner, self.affine)
        self.activation(f"{path}.2", "relu")
        self.mix(f"{path}.3", inner, outer, kernel, separable=separable, elastic=True)
        self.norm(f"{path}.4", outer, self.affine)


class ResnetGenerator(StagedGenerator):
    """Stem, two downsampling convolutions, residual blocks, two upsampling convolutions, tail.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, scale * H, scale * W] in [-1, 1]; H and W are
    multiples of 4 (8 or 16 at a lower resolution) and at least twice that. ``stages`` holds the layers by name:
    ``stem, down1, down2, block1 ..., up1, up2, tail``. Source: Johnson et al. 2016 by way of CycleGAN (arXiv
    1703.10593); separable blocks: GAN Compression (arXiv 2003.08936).
    """

    architecture: ResnetArchitecture

    def __init__(self, architecture: ResnetArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        plan = a.blueprint(a.smallest, a.smallest)
        self.stages = nn.Sequential(
            OrderedDict(
                (
                    stage.name,
                    ResidualBlock(plan.module(f"stages.{stage.name}.body"))
                    if stage.name.startswith("block")
                    else plan.module(f"stages.{stage.name}"),
                )
                for stage in plan.stages
            )
        )

    def steps(self, x: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
        a, stages = self.architecture, dict(self.stages.named_children())
        stem, tail = stages.pop("stem"), stages.pop("tail")
        pictures: list[Tensor] = []

        def first(x: Tensor) -> Tensor:
            pictures[:] = [rescaled(x, a.scale)]
            begun: Tensor = stem(resized(pictures[0], a.resolution))
            return begun

        def last(x: Tensor) -> Tensor:
            made = resized(tail(x), 1 / a.resolution)
            return made + pictures[0] if a.adds else made

        yield "stem", first
        yield from stages.items()
        yield "tail", last
