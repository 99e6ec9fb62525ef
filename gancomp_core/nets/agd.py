"""The networks of AutoGAN-Distiller (Fu et al., ICML 2020, arXiv 2006.08198): a chain of layers to choose from.

An architecture lists, layer by layer, which operators and which widths are possible. Where a layer leaves a choice the
network is a *supernet*, which holds the weights of all of them; where every layer leaves one, it is an ordinary
network. Both are the same class, so a derived network cannot differ from what the search has seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.blocks import check_picture
from gancomp_core.nets.initialisation import initialise
from gancomp_core.nets.super_resolution import RESIDUAL_SCALE, SLOPE, enlarge_bicubically
from gancomp_core.nets.values import check_whole, from_values

#: What a cell may be: a pointwise convolution ("skip" in the paper), a convolution, two of them around a shortcut, or
#: an inverted bottleneck (pointwise to four times the channels, depthwise, pointwise) with a shortcut.
CELL_OPERATORS = ("conv1x1", "conv3x3", "residual", "dwsblock")
TWELFTHS = (4, 6, 8, 10, 12)
EXPANSION = 4
TRANSLATION, SUPER_RESOLUTION = "translation", "super-resolution"
ENDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    TRANSLATION: (("stem", "down1", "down2"), ("up1", "up2")),
    SUPER_RESOLUTION: (("first",), ("up1", "up2", "high")),
}


@dataclass(frozen=True)
class AgdLayer:
    """The choices of one layer: its ``operators`` by name, and its ``widths`` (channels put out), ascending."""

    name: str
    operators: tuple[str, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(self.operators))
        object.__setattr__(self, "widths", tuple(self.widths))
        if unknown := [name for name in self.operators if name not in OPERATORS]:
            raise GancompError(f"There is no operator '{unknown[0]}'; choose from {', '.join(OPERATORS)}.")
        for width in self.widths:
            check_whole(f"A width of layer '{self.name}'", width, 1, 4096, "256 as published for cells")
        if not self.operators or not self.widths or list(self.widths) != sorted(set(self.widths)):
            raise GancompError(
                f"Layer '{self.name}' offers operators {self.operators} and widths {self.widths}; give at least one of "
                "each, and widths in ascending order."
            )


@dataclass(frozen=True)
class AgdArchitecture:
    """A chain of layers for pictures of equal size ("translation") or four times larger ones ("super-resolution").

    Layers of a translation are ``stem, down1, down2, cell1 ..., up1, up2``, those of super-resolution ``first, cell1.1,
    cell1.2 ..., up1, up2, high``; the last convolution, to the ``out_channels`` of the picture, is not chosen. Use
    :func:`translation_supernet` and :func:`super_resolution_supernet` to begin with, :meth:`chosen` to go on.
    """

    kind: str
    layers: tuple[AgdLayer, ...]
    in_channels: int = 3
    out_channels: int = 3

    def __post_init__(self) -> None:
        given: Any = self.layers
        layers = tuple(layer if isinstance(layer, AgdLayer) else AgdLayer(**layer) for layer in given)
        object.__setattr__(self, "layers", layers)
        if self.kind not in ENDS:
            raise GancompError(f"There is no kind '{self.kind}' of AGD network; choose from {', '.join(ENDS)}.")
        first, last = ENDS[self.kind]
        names = tuple(layer.name for layer in layers)
        if names[: len(first)] != first or names[-len(last) :] != last or len(set(names)) < len(names):
            raise GancompError(
                f"The layers of a {self.kind} network begin with {', '.join(first)} and end with {', '.join(last)}, "
                f"each name once, not {', '.join(names)}."
            )
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for colour")
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for colour")
        if self.kind == SUPER_RESOLUTION:
            self._check_outer_width()

    def _check_outer_width(self) -> None:
        outer = {layer.widths for layer in (self.layers[0], *(group[-1] for group in self.groups))}
        if len(outer) > 1 or len(outer.pop()) > 1 or self.in_channels != self.out_channels:
            raise GancompError(
                "In super-resolution the first layer and the last of every cell have one and the same width, because "
                "cells are added to their input, and pictures keep their channels."
            )

    @property
    def scale(self) -> int:
        """How many times larger the picture becomes each way."""
        return 4 if self.kind == SUPER_RESOLUTION else 1

    @property
    def groups(self) -> list[tuple[AgdLayer, ...]]:
        """The layers of each cell: one in translation, several in super-resolution."""
        found: dict[str, list[AgdLayer]] = {}
        for layer in self.layers:
            if layer.name.startswith("cell"):
                found.setdefault(layer.name.partition(".")[0], []).append(layer)
        return [tuple(group) for group in found.values()]

    @property
    def derived(self) -> bool:
        """Whether nothing is left to choose."""
        return all(len(layer.operators) == len(layer.widths) == 1 for layer in self.layers)

    @property
    def networks(self) -> int:
        """How many networks can be chosen; more than ``len`` could tell."""
        return math.prod(len(layer.operators) * len(layer.widths) for layer in self.layers)

    def chosen(self, operators: Sequence[int], widths: Sequence[int]) -> AgdArchitecture:
        """The network of these choices: for each layer the place of its operator, and of its width.

        Raises :class:`GancompError` where a layer does not have that choice.
        """
        layers = []
        for layer, operator, width in zip(self.layers, operators, widths, strict=True):
            if not 0 <= operator < len(layer.operators) or not 0 <= width < len(layer.widths):
                raise GancompError(
                    f"Layer '{layer.name}' has {len(layer.operators)} operators and {len(layer.widths)} widths; there "
                    f"is no choice {operator} and {width}."
                )
            layers.append(AgdLayer(layer.name, (layer.operators[operator],), (layer.widths[width],)))
        return AgdArchitecture(self.kind, tuple(layers), self.in_channels, self.out_channels)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        layers = [
            {"name": layer.name, "operators": list(layer.operators), "widths": list(layer.widths)}
            for layer in self.layers
        ]
        ends = {"in_channels": self.in_channels, "out_channels": self.out_channels}
        return {"family": "agd", "kind": self.kind, "layers": layers, **ends}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AgdArchitecture:
        return from_values(cls, "agd", values)

    @classmethod
    def parse(cls, kind: str, text: str, in_channels: int = 3, out_channels: int = 3) -> AgdArchitecture:
        """A derived network from what ``str`` says of it: "stem conv7x7 10, down1 down 16, ..."."""
        layers = [part.split() for part in text.split(",")]
        if any(len(layer) != 3 or not layer[2].isdigit() for layer in layers):
            raise GancompError(f"'{text}' is no AGD network; give name, operator and width of each layer: 'up1 up 16'.")
        chosen = tuple(AgdLayer(name, (operator,), (int(width),)) for name, operator, width in layers)
        return cls(kind, chosen, in_channels, out_channels)

    def __str__(self) -> str:
        """One line: the layers in order with operator and width, as "cell1 dwsblock 40"; choices in braces."""

        def shown(choice: Sequence[Any]) -> str:
            return str(choice[0]) if len(choice) == 1 else "{" + ", ".join(map(str, choice)) + "}"

        return ", ".join(f"{layer.name} {shown(layer.operators)} {shown(layer.widths)}" for layer in self.layers)


def widths(full: int, multiple: int = 8) -> tuple[int, ...]:
    """4, 6, 8, 10 and 12 twelfths of ``full``, each rounded to a ``multiple``: 64 gives 24, 32, 40, 56 and 64."""
    return tuple(sorted({max(multiple, round(full * part / 12 / multiple) * multiple) for part in TWELFTHS}))


def translation_supernet(
    base: int = 64, cells: int = 9, in_channels: int = 3, out_channels: int = 3
) -> AgdArchitecture:
    """The paper's space for pictures of equal size: base 64, nine cells. Smaller bases keep its ratios."""
    check_whole("The base width", base, 8, 1024, "64 as published")
    check_whole("The number of cells", cells, 1, 32, "9 as published")
    multiple = max(1, base // 8)
    return AgdArchitecture(
        TRANSLATION,
        (
            AgdLayer("stem", ("conv7x7",), widths(base, multiple)),
            AgdLayer("down1", ("down",), widths(2 * base, multiple)),
            AgdLayer("down2", ("down",), widths(4 * base, multiple)),
            *(AgdLayer(f"cell{i + 1}", CELL_OPERATORS, widths(4 * base, multiple)) for i in range(cells)),
            AgdLayer("up1", ("up",), widths(2 * base, multiple)),
            AgdLayer("up2", ("up",), widths(base, multiple)),
        ),
        in_channels,
        out_channels,
    )


def super_resolution_supernet(base: int = 64, cells: int = 5, depth: int = 5, channels: int = 3) -> AgdArchitecture:
    """The paper's space for pictures four times larger: base 64, five cells of five layers.

    The outer width of the cells is ``base``; the widths inside them and in the enlarging part are chosen.
    """
    check_whole("The base width", base, 8, 1024, "64 as published")
    check_whole("The number of cells", cells, 1, 32, "5 as published")
    check_whole("The number of layers in a cell", depth, 1, 32, "5 as published")
    inner = widths(base, max(1, base // 8))
    return AgdArchitecture(
        SUPER_RESOLUTION,
        (
            AgdLayer("first", ("conv3x3",), (base,)),
            *(
                AgdLayer(f"cell{i + 1}.{j + 1}", CELL_OPERATORS, inner if j + 1 < depth else (base,))
                for i in range(cells)
                for j in range(depth)
            ),
            *(AgdLayer(name, ("enlarge",), inner) for name in ("up1", "up2")),
            AgdLayer("high", ("conv3x3",), inner),
        ),
        channels,
        channels,
    )


# --- operators ------------------------------------------------------------------------------------------------------


class AnyConv(nn.Conv2d):
    """A convolution of which the leading channels can be used alone: those that come in, and ``width`` that go out.

    A depthwise one puts out what comes in.
    """

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        inputs, depthwise = x.shape[1], self.groups > 1
        outputs = inputs if depthwise else width or self.out_channels
        if inputs == self.in_channels and outputs == self.out_channels:  # whole: an exported graph slices nothing
            return super().forward(x)
        weight = self.weight[:outputs] if depthwise else self.weight[:outputs, :inputs]
        bias = None if self.bias is None else self.bias[:outputs]
        padding: Any = self.padding
        if self.padding_mode == "reflect":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode="reflect"), 0
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, inputs if depthwise else 1)


class AnyUpsamplingConv(nn.ConvTranspose2d):
    """A transposed convolution of which the leading channels can be used alone, as in :class:`AnyConv`."""

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:  # type: ignore[override]
        inputs, outputs = x.shape[1], width or self.out_channels
        if inputs == self.in_channels and outputs == self.out_channels:
            return super().forward(x)
        bias = None if self.bias is None else self.bias[:outputs]
        padding: Any = (self.padding, self.output_padding)
        return F.conv_transpose2d(x, self.weight[:inputs, :outputs], bias, self.stride, *padding)


class AnyNorm(nn.GroupNorm):
    """InstanceNorm of as many channels as come."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, x.shape[1], eps=self.eps)


class ConvLayer(nn.Module):
    """Convolution, then InstanceNorm and ReLU in translation, LeakyReLU in super-resolution.

    With a norm the convolution has no bias, which a norm would undo, and pads by reflection at stride 1.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, normed: bool, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        mode: Any = "reflect" if normed and stride == 1 and kernel > 1 else "zeros"
        self.conv = AnyConv(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=not normed, padding_mode=mode)
        self.norm = AnyNorm(c_out) if normed else nn.Identity()
        activation = nn.ReLU(inplace=True) if normed else nn.LeakyReLU(SLOPE, inplace=True)
        self.activation = activation if active else nn.Identity()

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        return self.activation(self.norm(self.conv(x, width)))


class UpsamplingLayer(nn.Module):
    """Transposed convolution that doubles height and width, InstanceNorm, ReLU."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = AnyUpsamplingConv(c_in, c_out, 3, 2, 1, 1, bias=False)
        self.norm = AnyNorm(c_out)

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        return F.relu(self.norm(self.conv(x, width)))


class EnlargingLayer(ConvLayer):
    """Every pixel becomes four, then a 3x3 convolution and LeakyReLU."""

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"), width)


class Shortcut(nn.Module):
    """``body(x) + x``; where widths differ, the leading channels that both have are added, which costs nothing."""

    def __init__(self, *body: ConvLayer) -> None:
        super().__init__()
        self.body = nn.ModuleList(body)

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        y = x
        for number, layer in enumerate(self.body, start=1):
            y = layer(y, self.width_after(number, x.shape[1], width))
        if y.shape[1] > x.shape[1]:
            return y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return y + x[:, : y.shape[1]]

    def width_after(self, layer: int, inputs: int, width: int | None) -> int | None:
        """How many channels the layer with this number (from 1) puts out when ``inputs`` come in."""
        return width


class Bottleneck(Shortcut):
    """Pointwise to four times the channels that come in, depthwise, pointwise; MobileNetV2's inverted residual."""

    def width_after(self, layer: int, inputs: int, width: int | None) -> int | None:
        return width if layer == len(self.body) else EXPANSION * inputs


def _residual(c_in: int, c_out: int, normed: bool) -> nn.Module:
    return Shortcut(ConvLayer(c_in, c_out, 3, normed), ConvLayer(c_out, c_out, 3, normed, active=False))


def _dwsblock(c_in: int, c_out: int, normed: bool) -> nn.Module:
    inner = EXPANSION * c_in
    return Bottleneck(
        ConvLayer(c_in, inner, 1, normed),
        ConvLayer(inner, inner, 3, normed, groups=inner),
        ConvLayer(inner, c_out, 1, normed, active=False),
    )


#: Operators by name: from channels in, channels out and whether they are normalised to a module; called with pictures
#: [N, C, H, W] and the number of channels to put out.
OPERATORS: Mapping[str, Any] = {
    "conv1x1": lambda c_in, c_out, normed: ConvLayer(c_in, c_out, 1, normed),
    "conv3x3": lambda c_in, c_out, normed: ConvLayer(c_in, c_out, 3, normed),
    "residual": _residual,
    "dwsblock": _dwsblock,
    "conv7x7": lambda c_in, c_out, normed: ConvLayer(c_in, c_out, 7, normed),
    "down": lambda c_in, c_out, normed: ConvLayer(c_in, c_out, 3, normed, stride=2),
    "up": lambda c_in, c_out, normed: UpsamplingLayer(c_in, c_out),
    "enlarge": lambda c_in, c_out, normed: EnlargingLayer(c_in, c_out, 3, normed),
}


# --- networks -------------------------------------------------------------------------------------------------------


class Picked(NamedTuple):
    """What a supernet runs in one layer.

    ``shares`` [operators] weigh the outputs of its operators; ``width`` channels go on. ``kept`` [width], where given,
    multiplies them: ones, by whose gradient a choice of width learns (see :mod:`gancomp_core.methods.agd`).
    """

    shares: Tensor
    width: int
    kept: Tensor | None = None


class MixedLayer(nn.Module):
    """The operators of one layer, side by side; their outputs are summed with the shares that are picked."""

    def __init__(self, layer: AgdLayer, c_in: int, normed: bool) -> None:
        super().__init__()
        self.operators = nn.ModuleDict(
            {name: OPERATORS[name](c_in, layer.widths[-1], normed) for name in layer.operators}
        )

    def forward(self, x: Tensor, picked: Picked | None = None) -> Tensor:
        operators: Any = list(self.operators.values())
        if picked is None:
            return operators[0](x)
        if len(operators) == 1:
            y = operators[0](x, picked.width)
        else:
            found = [operator(x, picked.width) for operator in operators]
            y = sum(share.to(part.dtype) * part for share, part in zip(picked.shares, found, strict=True))
        return y if picked.kept is None else y * picked.kept.to(y.dtype).view(1, -1, 1, 1)


class AgdNetwork(nn.Module):
    """The network of an :class:`AgdArchitecture`: a derived one, or the supernet of all that can be chosen.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, H, W] in [-1, 1] (translation; H and W are
    multiples of 4, at least 8) or to [N, out_channels, 4H, 4W], unbounded (super-resolution, where the network adds to
    the bicubic enlargement what that lacks). A supernet also takes what is ``picked`` in each layer. Start training
    from :func:`initialise_agd`.
    """

    def __init__(self, architecture: AgdArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        normed, before = a.kind == TRANSLATION, a.in_channels
        stages = {}
        for layer in a.layers:
            stages[layer.name.replace(".", "_")] = MixedLayer(layer, before, normed)
            before = layer.widths[-1]
        self.layers = nn.ModuleDict(stages)
        # the tail takes what comes: as narrow as the last layer is
        tail = {"kernel_size": 7, "padding_mode": "reflect"} if normed else {"kernel_size": 3}
        self.tail = AnyConv(before, a.out_channels, padding=tail["kernel_size"] // 2, **tail)  # type: ignore[arg-type, operator]

    def forward(self, x: Tensor, picked: Sequence[Picked] | None = None) -> Tensor:
        if picked is None and not self.architecture.derived:
            raise GancompError(
                f"This is a supernet of {self.architecture.networks:,} networks; say which one runs with picked=..., "
                "or derive one with architecture.chosen(operators, widths)."
            )
        chosen = iter(picked or [None] * len(self.layers))  # type: ignore[list-item]
        if self.architecture.kind == SUPER_RESOLUTION:
            return self._enlarge(x, chosen)
        check_picture(x, self.architecture.in_channels, 4, 8)
        for layer, pick in zip(self.layers.values(), chosen, strict=True):
            x = layer(x, pick)
        return torch.tanh(self.tail(x))

    def _enlarge(self, x: Tensor, chosen: Iterable[Picked | None]) -> Tensor:
        _check_channels(x, self.architecture.in_channels)
        picks, layers = list(chosen), list(self.layers.values())
        y, place = layers[0](x, picks[0]), 1
        for group in self.architecture.groups:
            inside = y
            for _ in group:
                inside = layers[place](inside, picks[place])
                place += 1
            y = y + RESIDUAL_SCALE * inside
        for layer, pick in zip(layers[place:], picks[place:], strict=True):
            y = layer(y, pick)
        return enlarge_bicubically(x, self.architecture.scale) + self.tail(y)

    def extract(self, architecture: AgdArchitecture) -> AgdNetwork:
        """A network of its own with the weights that it has here: the leading channels of its operators.

        Raises :class:`GancompError` for an architecture that holds an operator or a width which this one lacks.
        """
        with torch.device("meta"):  # draws no random numbers
            network = AgdNetwork(architecture)
        ours, weights = self.state_dict(), {}
        for name, wanted in network.state_dict().items():
            if name not in ours or any(o < w for o, w in zip(ours[name].shape, wanted.shape, strict=True)):
                raise GancompError(
                    f"This network cannot be cut to {architecture}: '{name}' is missing here or narrower; choose the "
                    "network with architecture.chosen(operators, widths)."
                )
            weights[name] = ours[name][tuple(slice(size) for size in wanted.shape)].clone()
        network.load_state_dict(weights, assign=True)
        return network.train(self.training)


def _check_channels(x: Tensor, channels: int) -> None:
    if torch.compiler.is_exporting():  # an exported graph has symbolic sizes
        return
    if x.ndim != 4 or x.shape[1] != channels or min(x.shape[2:]) < 1:
        raise GancompError(
            f"This AGD network takes pictures of shape [N, {channels}, H, W] with H and W at least 1, not "
            f"{list(x.shape)}; convert the channels or add the batch dimension."
        )


def initialise_agd(network: AgdNetwork, seed: int) -> AgdNetwork:
    """Draw the weights: N(0, 0.02) in translation, He's normal distribution in super-resolution.

    There, where no norm keeps sums from growing, the last convolution beside a shortcut has a tenth of it, and that to
    the picture a hundredth: an untrained network returns nearly the bicubic enlargement. The numbers depend on ``seed``
    and the layer order alone. Returns the network.
    """
    if network.architecture.kind == TRANSLATION:
        return initialise(network, seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, generator=generator)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    for layer in network.modules():
        if isinstance(layer, Shortcut):
            layer.body[-1].conv.weight.data.mul_(0.1)  # type: ignore[union-attr, operator]
    network.tail.weight.data.mul_(0.01)
    return network
