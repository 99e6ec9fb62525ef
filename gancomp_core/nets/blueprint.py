"""The layers of a network, and what follows from them: cost, stages, channel groups, modules.

A family lists its layers once, in :meth:`Architecture.blueprint`. Numbers of channels may be columns (one number per
network) where only a cost is needed: everything here is arithmetic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from torch import nn

from gancomp_core.nets.blocks import OnePixelInstanceNorm, instance_norm

Padding = Literal["zeros", "reflect"]
CONVOLUTION, TRANSPOSED, LINEAR = "conv", "transposed conv", "linear"
INSTANCE_NORM, ONE_PIXEL_NORM, BATCH_NORM = NORMS = "norm", "one-pixel norm", "batch norm"
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one network for one picture.

    Attributes:
        macs: Multiply-accumulates (see :mod:`gancomp_core.measure.cost`).
        published_macs: Operations as the papers count them.
        params: Trainable numbers.
        bytes_int8: Weights of convolutions and linear layers at one byte each, one float32 scale per output channel,
            and everything else (biases, norms) in float32.
    """

    macs: int
    published_macs: int
    params: int
    bytes_int8: int

    @property
    def bytes_fp32(self) -> int:
        return 4 * self.params

    def __str__(self) -> str:
        return f"{_short(self.macs)} MACs, {_short(self.params)} parameters, {self.bytes_fp32 / 1e6:.2f} MB in float32"


class Channels(NamedTuple):
    """Channels with a name: layers that use the same name read or write the same channels.

    Without a name they are those of pictures, whose order is given.
    """

    name: str
    width: int


PICTURE = Channels("", 0)


class Axis(NamedTuple):
    """A dimension of a tensor along which channels of a name lie, and whether the tensor reads or carries them."""

    dim: int
    group: str
    read: bool


class Layer(NamedTuple):
    """One layer.

    Attributes:
        name: Its path in the network.
        kind: "conv", "transposed conv", "linear", a norm or an activation.
        reads: The channels that it reads.
        writes: The channels that it writes.
        size: Height and width of its output; (0, 0) where that does not matter.
        kernel: Kernel size.
        stride: Stride.
        depthwise: Whether every channel is convolved separately.
        bias: Whether a convolution has a bias.
        padding: "zeros" or "reflect".
        dilation: Dilation.
        affine: Whether a norm has a learned scale and shift.
        counted: Whether published costs count this norm.
        elastic: Whether the convolution may have another kernel in other networks of a space.
    """

    name: str
    kind: str
    reads: Channels
    writes: Channels
    size: tuple[int, int]
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    bias: bool = True
    padding: Padding = "zeros"
    dilation: int = 1
    affine: bool = False
    counted: bool = True
    elastic: bool = False

    @property
    def multiplies(self) -> bool:
        return self.kind in (CONVOLUTION, TRANSPOSED, LINEAR)

    @property
    def weights(self) -> int:
        """Numbers in its kernel, bias left out; each multiplies once at every position."""
        inputs = 1 if self.depthwise else self.reads.width
        return self.kernel**2 * inputs * self.writes.width if self.multiplies else 0

    @property
    def params(self) -> int:
        """Trainable numbers."""
        if self.multiplies:
            return self.weights + self.bias * self.writes.width
        return 2 * self.affine * self.writes.width

    @property
    def published_macs(self) -> int:
        pixels = self.size[0] * self.size[1]
        if self.multiplies:
            return self.weights * pixels
        return self.writes.width * pixels if self.counted and self.kind in NORMS else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates; a transposed convolution multiplies once for every input pixel."""
        pixels = self.size[0] * self.size[1]
        return self.weights * (pixels // self.stride**2 if self.kind == TRANSPOSED else pixels)

    @property
    def axes(self) -> dict[str, tuple[Axis, ...]]:
        """Of each tensor of the layer the dimensions along which named channels lie."""
        writes, reads = self.writes.name, self.reads.name
        out, scaled = (Axis(0, writes, False),), self.affine or (self.multiplies and self.bias)
        found: dict[str, tuple[Axis, ...]] = {"bias": out} if scaled else {}
        if self.kind == BATCH_NORM:
            found |= dict.fromkeys(("running_mean", "running_var"), out)
        if self.depthwise or self.affine:
            found["weight"] = out
        elif self.multiplies:
            turned = self.kind == TRANSPOSED
            found["weight"] = (Axis(int(turned), writes, False), Axis(int(not turned), reads, True))
        return {tensor: tuple(axis for axis in axes if axis.group) for tensor, axes in found.items()}

    def module(
        self, conv: type[nn.Conv2d] = nn.Conv2d, transposed: type[nn.ConvTranspose2d] = nn.ConvTranspose2d
    ) -> nn.Module:
        """The layer itself, with torch's random weights, in these classes of convolutions."""
        c_in, c_out = self.reads.width, self.writes.width
        groups = c_in if self.depthwise else 1
        if self.kind == CONVOLUTION:
            margin = self.dilation * ((self.kernel - 1) // 2)
            numbers = (c_in, c_out, self.kernel, self.stride, margin, self.dilation, groups)
            return conv(*numbers, bias=self.bias, padding_mode=self.padding)
        if self.kind == TRANSPOSED:
            numbers = (c_in, c_out, self.kernel, self.stride, (self.kernel - 1) // 2, self.kernel % 2, groups)
            return transposed(*numbers, bias=self.bias)
        if self.kind == INSTANCE_NORM:
            return instance_norm(c_out, self.affine)
        if self.kind == ONE_PIXEL_NORM:
            return OnePixelInstanceNorm(c_out)
        if self.kind == BATCH_NORM:
            return nn.BatchNorm2d(c_out, affine=self.affine)
        return ACTIVATIONS[self.kind]()


class Stage(NamedTuple):
    """Layers that run together, such as a residual block; what is timed, tapped and listed.

    ``kind``, ``widths`` and ``note`` say what its milliseconds depend on, apart from the size of the picture;
    ``channels`` leave it.
    """

    name: str
    kind: str
    widths: tuple[int, ...]
    note: str
    channels: int
    layers: list[Layer]

    def key(self, widths: Iterable[int]) -> str:
        """Its name in a latency table, at these widths."""
        return f"{self.kind} {'>'.join(map(str, widths))}{self.note}"


@dataclass(frozen=True)
class Blueprint:
    """The stages of a network in the order in which they run."""

    stages: tuple[Stage, ...]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(layer for stage in self.stages for layer in stage.layers)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def cost(self) -> Cost:
        """What one picture costs; columns of numbers where the channels are columns."""
        multiplying = [layer for layer in self.layers if layer.multiplies]
        weights = sum(layer.weights for layer in multiplying)
        outputs = sum(layer.writes.width for layer in multiplying)
        macs, published = sum(layer.macs for layer in multiplying), sum(layer.published_macs for layer in self.layers)
        params = sum(layer.params for layer in self.layers)
        return Cost(macs, published, params, weights + 4 * (params - weights + outputs))

    @cached_property
    def group_sizes(self) -> dict[str, int]:
        """How many channels there are of each name."""
        return {layer.writes.name: layer.writes.width for layer in self.layers if layer.writes.name}

    def layer(self, path: str) -> Layer:
        return self._by_name[path]

    def module(self, path: str) -> nn.Module:
        """The layer with this path; of several below it, a sequence of them by the names that follow."""
        if path in self._by_name:
            return self._by_name[path].module()
        return self.sequence(path)

    def sequence(self, path: str) -> nn.Sequential:
        """What lies below this path, by the names that follow."""
        below = [layer.name.removeprefix(f"{path}.") for layer in self.layers if layer.name.startswith(f"{path}.")]
        children = dict.fromkeys(name.partition(".")[0] for name in below)
        return nn.Sequential(OrderedDict((child, self.module(f"{path}.{child}")) for child in children))


class Draft:
    """A blueprint that is being written: stages one after the other, the layers of each in the order of its module.

    ``size`` is the height and width of the maps that come next. ``prefix`` begins the path of every layer, and ``note``
    ends the key of every stage.
    """

    def __init__(self, size: tuple[int, int], prefix: str = "", note: str = "") -> None:
        self.size, self.prefix, self.note = size, prefix, note
        self.stages: list[Stage] = []

    def stage(self, name: str, kind: str, widths: Iterable[Channels], leaves: Channels) -> None:
        """What follows belongs to this stage; ``leaves`` are the channels that it puts out."""
        counts = tuple(channels.width for channels in widths)
        self.stages.append(Stage(name, kind, counts, self.note, leaves.width, []))

    def add(self, layer: Layer) -> None:
        self.stages[-1].layers.append(layer)

    def conv(
        self,
        name: str,
        reads: Channels,
        writes: Channels,
        kernel: int = 3,
        *,
        stride: int = 1,
        depthwise: bool = False,
        bias: bool = True,
        padding: Padding = "zeros",
        dilation: int = 1,
        elastic: bool = False,
    ) -> None:
        """A convolution; depthwise ones put out what they read."""
        self.size = (self.size[0] // stride, self.size[1] // stride)
        path = self.prefix + name
        self.add(
            Layer(
                path,
                CONVOLUTION,
                reads,
                writes,
                self.size,
                kernel,
                stride,
                depthwise,
                bias,
                padding,
                dilation,
                elastic=elastic,
            )
        )

    def enlarging_conv(
        self,
        name: str,
        reads: Channels,
        writes: Channels,
        kernel: int = 3,
        *,
        depthwise: bool = False,
        bias: bool = True,
    ) -> None:
        """A transposed convolution that doubles height and width."""
        self.resize(2)
        self.add(Layer(self.prefix + name, TRANSPOSED, reads, writes, self.size, kernel, 2, depthwise, bias))

    def norm(
        self, name: str, channels: Channels, affine: bool = False, *, kind: str = INSTANCE_NORM, counted: bool = True
    ) -> None:
        """A norm, an InstanceNorm unless another ``kind`` is given."""
        self.add(Layer(self.prefix + name, kind, channels, channels, self.size, affine=affine, counted=counted))

    def activation(self, name: str, kind: str) -> None:
        self.add(Layer(self.prefix + name, kind, PICTURE, PICTURE, self.size))

    def resize(self, factor: float) -> None:
        """Maps change their height and width by this factor."""
        self.size = (round(self.size[0] * factor), round(self.size[1] * factor))

    @property
    def blueprint(self) -> Blueprint:
        return Blueprint(tuple(self.stages))


def _short(number: float) -> str:
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:g}"
