"""The ResNet generator of CycleGAN and pix2pix: one definition, dense or separable, of any width and depth."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import (
    ResidualBlock,
    check_picture,
    conv,
    instance_norm,
    resized,
    separable_conv,
    separable_upsampling_conv,
    upsampling_conv,
)
from gancomp_core.nets.channel_config import ChannelConfig, third_of
from gancomp_core.nets.values import check_resolution, checked_kernels, working_multiple


@dataclass(frozen=True)
class ResnetArchitecture:
    """Everything that determines a ResNet generator.

    ``channels`` is a :class:`ChannelConfig` (or its string), ``blocks`` the number of residual blocks (1-32),
    ``separable`` makes the blocks depthwise-separable (the "mobile" variant: stem, downsampling, upsampling and tail
    stay dense), ``in_channels`` and ``out_channels`` are those of the pictures. ``affine`` gives every norm a learned
    scale and shift, which the published generators do without and some public checkpoints have. ``kernels`` are the
    sizes (3, 5 or 7) of the convolutions in each third of the blocks; ``separable`` may name the thirds, too.
    ``resolution`` is the share of the picture's height and width at which the network works (1, 0.75 or 0.5).
    ``separable_ends`` names what is depthwise-separable beside the blocks: "down", "up" or both. It serves to show what
    that costs in quality; elastic generators keep these ends dense.
    """

    channels: ChannelConfig
    blocks: int = 9
    separable: bool | tuple[bool, bool, bool] = False
    in_channels: int = 3
    out_channels: int = 3
    affine: bool = False
    kernels: tuple[int, int, int] = (3, 3, 3)
    resolution: float = 1.0
    separable_ends: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.channels, str):
            object.__setattr__(self, "channels", ChannelConfig.parse(self.channels))
        if not isinstance(self.channels, ChannelConfig):
            raise GancompError(f"channels is {self.channels!r}; it must be a ChannelConfig or its string.")
        if self.blocks not in range(1, 33):
            raise GancompError(
                f"A ResNet generator has 1 to 32 residual blocks, not {self.blocks}; 9 is the published depth."
            )
        if min(self.in_channels, self.out_channels) < 1:
            raise GancompError(
                f"Pictures have at least one channel, not {self.in_channels} in and {self.out_channels} out; "
                "use 1 for grey, 3 for colour."
            )
        self._check_thirds()
        self._check_ends()
        check_resolution(self.resolution)

    def _check_thirds(self) -> None:
        given: Any = self.separable
        thirds = tuple(given) if isinstance(given, list | tuple) else (given,) * 3
        if len(thirds) != 3 or not all(isinstance(third, bool) for third in thirds):
            raise GancompError(f"separable is {given}; give True, False, or one of them for each third of the blocks.")
        # one architecture has one spelling
        object.__setattr__(self, "separable", thirds[0] if len(set(thirds)) == 1 else thirds)
        object.__setattr__(self, "kernels", checked_kernels(self.kernels))

    def _check_ends(self) -> None:
        if not set(self.separable_ends) <= {"down", "up"}:
            raise GancompError(f"separable_ends is {self.separable_ends}; it may name 'down' and 'up'.")
        object.__setattr__(self, "separable_ends", tuple(sorted(set(self.separable_ends))))

    def in_third(self, block: int) -> tuple[bool, int]:
        """Whether the residual block with this index is separable, and the size of its kernels."""
        third = third_of(block, self.blocks)
        return self.separable if isinstance(self.separable, bool) else self.separable[third], self.kernels[third]

    @property
    def multiple(self) -> int:
        """Height and width of pictures are multiples of this."""
        return working_multiple(4, self.resolution)

    @property
    def smallest(self) -> int:
        """The least height and width of pictures: reflection needs maps that are larger than half a kernel."""
        map_side = 1 + max(self.kernels) // 2
        fitting = math.ceil(4 * map_side / self.resolution / self.multiple) * self.multiple
        return max(fitting, 2 * self.multiple)

    @property
    def taps(self) -> tuple[str, ...]:
        """The stages whose features distillation compares.

        The second downsampling and the end of each third of the blocks.
        """
        last_of_third = {third_of(block, self.blocks): f"block{block + 1}" for block in range(self.blocks)}
        return ("down2", *last_of_third.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {
            "family": "resnet",
            "channels": str(self.channels),
            "legacy": self.channels.legacy,
            "blocks": self.blocks,
            "separable": self.separable if isinstance(self.separable, bool) else list(self.separable),
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            # model cards name what is usual only where they always did
            **({"affine": True} if self.affine else {}),
            **({"kernels": list(self.kernels)} if self.kernels != (3, 3, 3) else {}),
            **({"resolution": self.resolution} if self.resolution != 1 else {}),
            **({"separable_ends": list(self.separable_ends)} if self.separable_ends else {}),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ResnetArchitecture:
        if values.get("family", "resnet") != "resnet":
            raise GancompError(f"A ResnetArchitecture has family 'resnet', not '{values['family']}'.")
        fields = {key: value for key, value in values.items() if key not in ("family", "legacy")}
        return cls(**{**fields, "channels": ChannelConfig.parse(values["channels"], values.get("legacy", False))})


class ResnetGenerator(nn.Module):
    """Stem, two downsampling convolutions, residual blocks, two upsampling convolutions, tail.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, H, W] in [-1, 1]; H and W are multiples of 4
    (8 or 16 at a lower resolution) and at least twice that. ``stages`` holds the layers by name: ``stem, down1, down2,
    block1 ..., up1, up2, tail``. Source: Johnson et al. 2016 by way of CycleGAN (arXiv 1703.10593); separable blocks:
    GAN Compression (arXiv 2003.08936).
    """

    def __init__(self, architecture: ResnetArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        a = architecture
        stem, down1, down2, up1, up2 = a.channels.ends
        inner = a.channels.inner_widths(a.blocks)
        self.stages = nn.Sequential(
            OrderedDict(
                stem=_stage(conv(a.in_channels, stem, 7), a.affine),
                down1=_down(stem, down1, a),
                down2=_down(down1, down2, a),
                **{
                    f"block{i + 1}": ResidualBlock(down2, width, separable, a.affine, kernel)
                    for i, (width, (separable, kernel)) in enumerate(
                        zip(inner, map(a.in_third, range(a.blocks)), strict=True)
                    )
                },
                up1=_up(down2, up1, a),
                up2=_up(up1, up2, a),
                tail=nn.Sequential(conv(up2, a.out_channels, 7), nn.Tanh()),
            )
        )

    def forward(self, x: Tensor, features: Collection[str] = ()) -> Any:
        """The generated picture; with ``features`` (stage names) a pair: picture and ``{name: feature map}``."""
        a = self.architecture
        check_picture(x, a.in_channels, a.multiple, a.smallest)
        x = resized(x, a.resolution)
        if not features:
            return resized(self.stages(x), 1 / a.resolution)
        found = {}
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in features:
                found[name] = x
        if missing := set(features) - set(found):
            raise GancompError(f"There is no stage {sorted(missing)}; choose from {', '.join(self.stages._modules)}.")
        return resized(x, 1 / a.resolution), found


def _down(c_in: int, c_out: int, a: ResnetArchitecture) -> nn.Sequential:
    separable = "down" in a.separable_ends
    layer = separable_conv(c_in, c_out, 3, a.affine, stride=2) if separable else conv(c_in, c_out, 3, stride=2)
    return _stage(layer, a.affine)


def _up(c_in: int, c_out: int, a: ResnetArchitecture) -> nn.Sequential:
    separable = "up" in a.separable_ends
    return _stage(
        separable_upsampling_conv(c_in, c_out, a.affine) if separable else upsampling_conv(c_in, c_out), a.affine
    )


def _stage(layer: nn.Module, affine: bool) -> nn.Sequential:
    last: Any = layer[-1] if isinstance(layer, nn.Sequential) else layer
    return nn.Sequential(layer, instance_norm(last.out_channels, affine), nn.ReLU(inplace=True))
