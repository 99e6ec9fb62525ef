"""The networks of AutoGAN-Distiller (Fu et al., ICML 2020, arXiv 2006.08198): a chain of layers to choose from.

An architecture lists, layer by layer, which operators and which widths are possible. Where a layer leaves a choice the
network is a *supernet*, which holds the weights of all of them; where every layer leaves one, it is an ordinary
network. Both are the same class, so a derived network cannot differ from what the search has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.nets.architecture import NO_COLUMNS, Architecture, Columns, Gene, Generator
from gancomp_core.nets.blocks import enlarge_bicubically
from gancomp_core.nets.blueprint import Blueprint, Channels, Cost, Draft, Layer, Padding
from gancomp_core.nets.space import GeneSpace
from gancomp_core.nets.super_resolution import RESIDUAL_SCALE, SLOPE
from gancomp_core.nets.values import check_whole

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
    """The choices of one layer.

    Attributes:
        name: Its name, such as "cell3".
        operators: Operators by name, see :data:`OPERATORS`.
        widths: Output channels, ascending.
    """

    name: str
    operators: tuple[str, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(self.operators))
        object.__setattr__(self, "widths", tuple(self.widths))
        if not isinstance(self.name, str):
            raise GancompError(f"A layer's name is a word such as 'cell1', not {self.name!r}; give each layer its own.")
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
class AgdArchitecture(Architecture, family="agd"):
    """A chain of layers for pictures of equal size ("translation") or four times larger ones ("super-resolution").

    Layers of a translation are ``stem, down1, down2, cell1 ..., up1, up2``, those of super-resolution ``first, cell1.1,
    cell1.2 ..., up1, up2, high``; the last convolution, to the ``out_channels`` of the picture, is not chosen. Begin
    with :func:`translation_supernet` or :func:`super_resolution_supernet`, and choose with :meth:`chosen`.

    Attributes:
        kind: "translation" or "super-resolution".
        layers: The layers in order.
        in_channels: Channels of the source.
        out_channels: Channels of the picture.
    """

    kind: str
    layers: tuple[AgdLayer, ...]
    in_channels: int = 3
    out_channels: int = 3

    title = "AGD network"

    def __post_init__(self) -> None:
        given: Iterable[AgdLayer | Json] = self.layers
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
        check_whole("in_channels", self.in_channels, 1, 1024, "3 for color")
        check_whole("out_channels", self.out_channels, 1, 1024, "3 for color")
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
    def multiple(self) -> int:
        """Height and width of pictures are multiples of this."""
        return 4 if self.normed else 1

    @property
    def smallest(self) -> int:
        """The least height and width of pictures."""
        return 8 if self.normed else 1

    @property
    def normed(self) -> bool:
        """Whether convolutions are followed by an InstanceNorm: in translation."""
        return self.kind == TRANSLATION

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
        """Whether every layer has only one choice."""
        return all(len(layer.operators) == len(layer.widths) == 1 for layer in self.layers)

    @property
    def space(self) -> GeneSpace[AgdArchitecture]:
        """All networks that can be chosen: a gene "operator" for each layer in order, then a gene "width" for each."""
        operators = {f"{layer.name}.operator": layer.operators for layer in self.layers}
        widths = {f"{layer.name}.width": layer.widths for layer in self.layers}
        return GeneSpace(self.chosen([0] * len(self.layers), [0] * len(self.layers)), {**operators, **widths})

    @property
    def networks(self) -> int:
        """How many networks can be chosen."""
        return self.space.size

    @property
    def genes(self) -> dict[str, Gene]:
        found: dict[str, Gene] = {f"{layer.name}.operator": layer.operators[0] for layer in self.layers}
        return found | {f"{layer.name}.width": layer.widths[0] for layer in self.layers}

    @property
    def width_genes(self) -> tuple[str, ...]:
        return tuple(f"{layer.name}.width" for layer in self.layers)

    def with_genes(self, genes: Mapping[str, Gene]) -> AgdArchitecture:
        def layer(name: str) -> AgdLayer:
            return AgdLayer(name, (cast(str, genes[f"{name}.operator"]),), (cast(int, genes[f"{name}.width"]),))

        return replace(self, layers=tuple(layer(each.name) for each in self.layers))

    def chosen(self, operators: Sequence[int], widths: Sequence[int]) -> AgdArchitecture:
        """The network of these choices.

        Args:
            operators: For each layer the index of its operator.
            widths: For each layer the index of its width.

        Returns:
            The architecture.

        Raises:
            GancompError: For an index that a layer does not have.
        """
        layers = []
        for layer, operator, width in zip(self.layers, operators, widths, strict=True):
            if not 0 <= operator < len(layer.operators) or not 0 <= width < len(layer.widths):
                raise GancompError(
                    f"Layer '{layer.name}' has {len(layer.operators)} operators and {len(layer.widths)} widths; there "
                    f"is no choice {operator} and {width}."
                )
            layers.append(AgdLayer(layer.name, (layer.operators[operator],), (layer.widths[width],)))
        return replace(self, layers=tuple(layers))

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        """The layers of the network, of a supernet those of all operators, each as wide as can be."""
        self.check_size(height, width)
        draft, before = Draft((height, width)), Channels("", self.in_channels)
        for layer in self.layers:
            after, size = Channels("", columns.get(f"{layer.name}.width", layer.widths[-1])), draft.size
            draft.stage(layer.name, "+".join(layer.operators), [before, after], after)
            for operator in layer.operators:
                draft.size = size
                draft_operator(draft, operator, f"{self.path_of(layer)}.{operator}", before, after, self.normed)
            before = after
        picture = Channels("", self.out_channels)
        draft.stage("tail", "tail", [before], picture)
        padding: Padding = "reflect" if self.normed else "zeros"
        draft.conv("tail", before, picture, 7 if self.normed else 3, padding=padding)
        return draft.blueprint

    def cost(self, height: int, width: int) -> Cost:
        if not self.derived:
            raise GancompError("A supernet has no cost of its own; choose one of its networks with chosen(...) first.")
        return super().cost(height, width)

    def path_of(self, layer: AgdLayer) -> str:
        """The path of the operators of a layer in the network."""
        return f"layers.{layer.name.replace('.', '_')}.operators"

    @property
    def summary(self) -> str:
        return f"{self.title} for {self.kind}: {self}"

    def network(self) -> AgdNetwork:
        return AgdNetwork(self)

    def initialize(self, network: nn.Module, seed: int) -> None:
        """N(0, 0.02) in translation, He's normal distribution in super-resolution.

        There, where no norm keeps sums from growing, the last convolution beside a shortcut has a tenth of it, and that
        to the picture a hundredth: an untrained network returns nearly the bicubic enlargement.
        """
        if self.normed:
            super().initialize(network, seed)
            return
        generator = torch.Generator().manual_seed(seed)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE, generator=generator)
                nn.init.zeros_(cast(Tensor, layer.bias))
        for layer in network.modules():
            if isinstance(layer, Shortcut):
                cast(ConvLayer, layer.body[-1]).conv.weight.data.mul_(0.1)
        cast(AgdNetwork, network).tail.weight.data.mul_(0.01)

    @classmethod
    def parse(cls, kind: str, text: str, in_channels: int = 3, out_channels: int = 3) -> AgdArchitecture:
        """A derived network from what ``str`` says of it: "stem conv7x7 10, down1 down 16, ..."."""
        layers = [part.split() for part in str(text).split(",")]
        if any(len(layer) != 3 or not layer[2].isdigit() for layer in layers):
            raise GancompError(f"'{text}' is no AGD network; give name, operator and width of each layer: 'up1 up 16'.")
        chosen = tuple(AgdLayer(name, (operator,), (int(width),)) for name, operator, width in layers)
        return cls(kind, chosen, in_channels, out_channels)

    def __str__(self) -> str:
        """One line: the layers in order with operator and width, as "cell1 dwsblock 40"; choices in braces."""

        def shown(choice: Sequence[object]) -> str:
            return str(choice[0]) if len(choice) == 1 else "{" + ", ".join(map(str, choice)) + "}"

        return ", ".join(f"{layer.name} {shown(layer.operators)} {shown(layer.widths)}" for layer in self.layers)


def widths(full: int, multiple: int = 8) -> tuple[int, ...]:
    """4, 6, 8, 10 and 12 twelfths of ``full``, each rounded to a ``multiple``: 64 gives 24, 32, 40, 56 and 64."""
    return tuple(sorted({max(multiple, round(full * part / 12 / multiple) * multiple) for part in TWELFTHS}))


def translation_supernet(
    base: int = 64, cells: int = 9, in_channels: int = 3, out_channels: int = 3
) -> AgdArchitecture:
    """The paper's space for pictures of equal size: base 64, nine cells. Smaller bases keep its ratios.

    Args:
        base: Channels of the stem at full width.
        cells: Number of cells.
        in_channels: Channels of the source.
        out_channels: Channels of the picture.

    Returns:
        The architecture of the supernet.
    """
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

    Args:
        base: Outer width of the cells.
        cells: Number of cells.
        depth: Layers of a cell.
        channels: Channels of the pictures.

    Returns:
        The architecture of the supernet.
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
        padding = cast(tuple[int, int], self.padding)
        if self.padding_mode == "reflect":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode="reflect"), (0, 0)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, inputs if depthwise else 1)


class AnyUpsamplingConv(nn.ConvTranspose2d):
    """A transposed convolution of which the leading channels can be used alone, as in :class:`AnyConv`."""

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:  # type: ignore[override]
        inputs, outputs = x.shape[1], width or self.out_channels
        if inputs == self.in_channels and outputs == self.out_channels:
            return super().forward(x)
        bias = None if self.bias is None else self.bias[:outputs]
        padding, extra = cast(tuple[int, int], self.padding), cast(tuple[int, int], self.output_padding)
        return F.conv_transpose2d(x, self.weight[:inputs, :outputs], bias, self.stride, padding, extra)


class AnyNorm(nn.GroupNorm):
    """InstanceNorm of any number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, x.shape[1], eps=self.eps)


class ConvLayer(nn.Module):
    """Convolution, then InstanceNorm and ReLU in translation, LeakyReLU in super-resolution.

    With a norm the convolution has no bias, which a norm would undo, and pads by reflection at stride 1.
    """

    def __init__(self, plan: Blueprint, path: str, active: bool = True) -> None:
        super().__init__()
        layer = plan.layer(f"{path}.conv")
        self.conv = cast(nn.Conv2d, layer.module(AnyConv, AnyUpsamplingConv))
        normed = not layer.bias
        self.norm = AnyNorm(layer.writes.width) if normed else nn.Identity()
        activation = nn.ReLU(inplace=True) if normed else nn.LeakyReLU(SLOPE, inplace=True)
        self.activation = activation if active else nn.Identity()

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        made: Tensor = self.activation(self.norm(self.conv(x, width)))
        return made


class EnlargingLayer(ConvLayer):
    """Every pixel becomes four, then a 3x3 convolution and LeakyReLU."""

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"), width)


class Shortcut(nn.Module):
    """``body(x) + x``; where widths differ, the leading channels that both have are added, which costs nothing."""

    def __init__(self, plan: Blueprint, path: str) -> None:
        super().__init__()
        names = list(plan.sequence(f"{path}.body")._modules)
        self.body = nn.ModuleList(ConvLayer(plan, f"{path}.body.{n}", active=n != names[-1]) for n in names)

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


#: Operators by name; their modules take pictures [N, C, H, W] and the number of channels to put out.
OPERATORS: dict[str, type[ConvLayer] | type[Shortcut]] = {
    "conv1x1": ConvLayer,
    "conv3x3": ConvLayer,
    "residual": Shortcut,
    "dwsblock": Bottleneck,
    "conv7x7": ConvLayer,
    "down": ConvLayer,
    "up": ConvLayer,
    "enlarge": EnlargingLayer,
}


def operator_layers(
    operator: str, reads: Channels, writes: Channels, normed: bool = True, size: tuple[int, int] = (0, 0)
) -> list[Layer]:
    """The layers of an operator for maps of this size."""
    draft = Draft(size)
    draft.stage(operator, operator, (), writes)
    draft_operator(draft, operator, operator, reads, writes, normed)
    return draft.stages[0].layers


def draft_operator(draft: Draft, operator: str, path: str, reads: Channels, writes: Channels, normed: bool) -> None:
    """Write down the layers of an operator."""

    def conv(
        name: str, reads: Channels, writes: Channels, kernel: int, stride: int = 1, depthwise: bool = False
    ) -> None:
        padding: Padding = "reflect" if normed and stride == 1 and kernel > 1 else "zeros"
        how = {"bias": not normed, "depthwise": depthwise}
        draft.conv(f"{path}{name}.conv", reads, writes, kernel, stride=stride, padding=padding, **how)
        if normed:
            draft.norm(f"{path}{name}.norm", writes)

    if operator == "residual":
        conv(".body.0", reads, writes, 3)
        conv(".body.1", writes, writes, 3)
    elif operator == "dwsblock":
        inner = Channels("", EXPANSION * reads.width)
        conv(".body.0", reads, inner, 1)
        conv(".body.1", inner, inner, 3, depthwise=True)
        conv(".body.2", inner, writes, 1)
    elif operator == "up":
        draft.enlarging_conv(f"{path}.conv", reads, writes, bias=False)
        draft.norm(f"{path}.norm", writes)
    elif operator == "enlarge":
        draft.resize(2)
        conv("", reads, writes, 3)
    else:
        conv("", reads, writes, {"conv1x1": 1, "conv7x7": 7}.get(operator, 3), stride=2 if operator == "down" else 1)


# --- networks -------------------------------------------------------------------------------------------------------


class Picked(NamedTuple):
    """What a supernet runs in one layer.

    Attributes:
        shares: Weights [operators] of the outputs of its operators.
        width: Output channels that are used.
        kept: [width], or None: ones that multiply the channels, by whose gradient a choice of width learns (see
            :mod:`gancomp_core.methods.agd`).
    """

    shares: Tensor
    width: int
    kept: Tensor | None = None


class MixedLayer(nn.Module):
    """The operators of one layer; their outputs are summed with the picked shares."""

    def __init__(self, plan: Blueprint, path: str, operators: Iterable[str]) -> None:
        super().__init__()
        self.operators = nn.ModuleDict({name: OPERATORS[name](plan, f"{path}.{name}") for name in operators})

    def forward(self, x: Tensor, picked: Picked | None = None) -> Tensor:
        operators = list(self.operators.values())
        if picked is None:
            made: Tensor = operators[0](x)
            return made
        if len(operators) == 1:
            y = operators[0](x, picked.width)
        else:
            found = [operator(x, picked.width) for operator in operators]
            y = sum(share.to(part.dtype) * part for share, part in zip(picked.shares, found, strict=True))
        made = y if picked.kept is None else y * picked.kept.to(y.dtype).view(1, -1, 1, 1)
        return made


class AgdNetwork(Generator):
    """The network of an :class:`AgdArchitecture`: a derived one, or the supernet of all that can be chosen.

    Maps float32 [N, in_channels, H, W] in [-1, 1] to [N, out_channels, H, W] in [-1, 1] (translation; H and W are
    multiples of 4, at least 8) or to [N, out_channels, 4H, 4W], unbounded (super-resolution, where the network adds
    what the bicubic enlargement lacks). A supernet also takes what is ``picked`` in each layer. Start training from
    ``build(architecture, seed)``.
    """

    architecture: AgdArchitecture

    def __init__(self, architecture: AgdArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        plan = a.blueprint(a.smallest, a.smallest)
        self.layers = nn.ModuleDict(
            {each.name.replace(".", "_"): MixedLayer(plan, a.path_of(each), each.operators) for each in a.layers}
        )
        self.tail = cast(
            AnyConv, plan.layer("tail").module(AnyConv)
        )  # takes what comes: as narrow as the last layer is

    def forward(self, x: Tensor, picked: Sequence[Picked] | None = None) -> Tensor:
        if picked is None and not self.architecture.derived:
            raise GancompError(
                f"This is a supernet of {self.architecture.networks:,} networks; say which one runs with picked=..., "
                "or derive one with architecture.chosen(operators, widths)."
            )
        self.check(x)
        chosen: Sequence[Picked | None] = picked or [None] * len(self.layers)
        if self.architecture.kind == SUPER_RESOLUTION:
            return self._enlarge(x, chosen)
        for layer, pick in zip(self.layers.values(), chosen, strict=True):
            x = layer(x, pick)
        return torch.tanh(self.tail(x))

    def _enlarge(self, x: Tensor, picks: Sequence[Picked | None]) -> Tensor:
        layers = list(self.layers.values())
        y, place = layers[0](x, picks[0]), 1
        for group in self.architecture.groups:
            inside = y
            for _ in group:
                inside = layers[place](inside, picks[place])
                place += 1
            y = y + RESIDUAL_SCALE * inside
        for layer, pick in zip(layers[place:], picks[place:], strict=True):
            y = layer(y, pick)
        lacking: Tensor = self.tail(y)
        return enlarge_bicubically(x, self.architecture.scale) + lacking

    def extract(self, architecture: AgdArchitecture) -> AgdNetwork:
        """A separate network with the weights that it has here: the leading channels of its operators.

        Args:
            architecture: A network of this supernet's space.

        Returns:
            The network.

        Raises:
            GancompError: For an architecture with an operator or a width that this one lacks.
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
