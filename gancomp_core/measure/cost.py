"""What a network costs before it runs: multiply-accumulates, parameters, bytes.

Two conventions of counting MACs stand side by side, because the literature mixes them:

``macs`` (true)
    multiply-accumulates of convolutions and linear layers for one picture; a transposed convolution multiplies once
    for every *input* pixel. All ratios of the course use these.
``published_macs``
    what the GAN Compression paper and its followers print: transposed convolutions counted at *output* resolution
    (4 times too much at stride 2), plus one operation for every element that an InstanceNorm or a SPADE layer puts
    out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from gancomp_core.errors import GancompError
from gancomp_core.measure.running import first_line
from gancomp_core.nets.agd import AgdArchitecture, AgdNetwork
from gancomp_core.nets.blocks import is_instance_norm
from gancomp_core.nets.elastic import ElasticGenerator
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.spade import SMALLEST, BlockShape, Spade, SpadeArchitecture
from gancomp_core.nets.super_resolution import RrdbArchitecture, VdsrArchitecture

_Multiplying = _ConvNd | nn.Linear
_PER_ELEMENT = (nn.LayerNorm, nn.RMSNorm)  # their weights may have several axes, but scale each element once


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one network for one picture.

    ``macs`` and ``published_macs`` count multiply-accumulates (see the module text); ``params`` trainable numbers;
    ``bytes_int8`` the weights of convolutions and linear layers at one byte each, one float32 scale per output channel,
    and everything else (biases, norms) in float32.
    """

    macs: int
    published_macs: int
    params: int
    bytes_int8: int

    @property
    def bytes_fp32(self) -> int:
        return 4 * self.params

    @property
    def bytes_fp16(self) -> int:
        return 2 * self.params

    def __str__(self) -> str:
        return f"{_short(self.macs)} MACs, {_short(self.params)} parameters, {self.bytes_fp32 / 1e6:.2f} MB in float32"


@singledispatch
def cost(network: Any, height: int, width: int, in_channels: int | None = None) -> Cost:
    """The :class:`Cost` of a network at ``height`` x ``width`` input pixels.

    ``network`` is a module, which is traced on torch's meta device (shapes only, no arithmetic), or the architecture of
    a generator (ResNet, SPADE, RRDBNet, VDSR, AGD), whose cost is a formula. A network that enlarges takes the size of
    the small picture. ``in_channels`` is needed only for a module that does not tell (no ``architecture`` or
    ``in_channels`` attribute, no convolution first). Convolutions and transposed convolutions of one, two or three
    dimensions and linear layers are counted. Raises :class:`GancompError` for sizes that the network cannot take, and
    for layers with a weight matrix of another kind, which would be left out silently.
    """
    raise GancompError(
        f"The cost of a {type(network).__name__} is unknown; give a torch module or a generator's architecture."
    )


@cost.register
def _(network: nn.Module, height: int, width: int, in_channels: int | None = None) -> Cost:
    layers = layer_costs(network, height, width, in_channels)
    params = sum(p.numel() for p in network.parameters())
    # a layer used twice multiplies twice but is stored once
    stored = {layer.name: layer for layer in layers if layer.kind != "norm"}.values()
    weights, outputs = sum(layer.weights for layer in stored), sum(layer.out_channels for layer in stored)
    return Cost(
        sum(layer.macs for layer in layers),
        sum(layer.published_macs for layer in layers),
        params,
        weights + 4 * (params - weights + outputs),
    )


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer does for one picture.

    ``name`` is its path in the module, ``kind`` one of "conv", "transposed conv", "linear", "norm"; ``elements`` counts
    the numbers it puts out, ``weights`` those of its kernel (bias left out).
    """

    name: str
    kind: str
    macs: int
    published_macs: int
    elements: int
    weights: int
    out_channels: int


def layer_costs(network: nn.Module, height: int, width: int, in_channels: int | None = None) -> list[LayerCost]:
    """Every convolution, linear, InstanceNorm and SPADE layer of a module in the order in which they run.

    Sizes, ``in_channels`` and errors are those of :func:`cost`.
    """
    if isinstance(network, ElasticGenerator):
        network = network.extract()
    found: list[LayerCost] = []
    _check_layers(network)
    channels = in_channels or _input_channels(network)
    shadow = copy.deepcopy(network).to("meta").eval()
    for name, layer in shadow.named_modules():
        if isinstance(layer, _Multiplying):
            layer.register_forward_hook(lambda layer, x, y, name=name: found.append(_multiplying(name, layer, x[0], y)))
        elif is_instance_norm(layer):
            layer.register_forward_hook(lambda layer, x, y, name=name: found.append(_normalising(name, y)))
            layer.forward = _unchanged  # the shape is all that matters, and torch is slow to find that out
        elif isinstance(layer, Spade):
            layer.register_forward_hook(lambda layer, x, y, name=name: found.append(_normalising(name, y)))
    try:
        with torch.no_grad():
            shadow(torch.empty(1, channels, height, width, device="meta"))
    except GancompError:
        raise
    except Exception as error:  # whatever layers raise for a size they cannot take
        raise GancompError(
            f"{type(network).__name__} cannot take pictures of {height} x {width} pixels with {channels} channels "
            f"({first_line(error)}); give the size and the in_channels it was made for."
        ) from error
    return found


def _check_layers(network: nn.Module) -> None:
    """Refuse weights that multiply (two axes or more) in layers whose way of multiplying is unknown here."""
    for name, layer in network.named_modules():
        # torch's parametrizations, such as spectral_norm, keep the weights of a layer in a module below it
        owner = network.get_submodule(f".{name}".split(".parametrizations.")[0][1:])
        if isinstance(owner, (_Multiplying, *_PER_ELEMENT)):
            continue
        for weight, values in layer.named_parameters(recurse=False):
            if values.ndim >= 2:
                where = f"The layer '{name}' ({type(layer).__name__})" if name else type(layer).__name__
                raise GancompError(
                    f"{where} has a weight '{weight}' of {values.ndim} axes, and its multiplications cannot be "
                    "counted; build it of convolutions and linear layers, or measure the network without it."
                )


def _multiplying(name: str, layer: _ConvNd | nn.Linear, x: Tensor, y: Tensor) -> LayerCost:
    weights = layer.weight.numel()  # each multiplies once at every position
    if isinstance(layer, nn.Linear):
        macs = weights * (y.numel() // layer.out_features)
        return LayerCost(name, "linear", macs, macs, y.numel(), weights, layer.out_features)
    at_output, at_input = weights * (y.numel() // layer.out_channels), weights * (x.numel() // layer.in_channels)
    if isinstance(layer, _ConvTransposeNd):
        return LayerCost(name, "transposed conv", at_input, at_output, y.numel(), weights, layer.out_channels)
    return LayerCost(name, "conv", at_output, at_output, y.numel(), weights, layer.out_channels)


def _unchanged(x: Tensor) -> Tensor:
    return x


def _normalising(name: str, y: Tensor) -> LayerCost:
    return LayerCost(name, "norm", 0, y.numel(), y.numel(), 0, y.shape[1])


def _input_channels(network: nn.Module) -> int:
    architecture = getattr(network, "architecture", network)
    if isinstance(channels := getattr(architecture, "in_channels", None), int):
        return channels
    for layer in network.modules():
        if isinstance(layer, _ConvNd):
            return layer.in_channels
    raise GancompError(
        f"{type(network).__name__} does not tell how many channels its pictures have; "
        "pass in_channels, 1 for grey or 3 for colour."
    )


@cost.register
def _(elastic: ElasticGenerator, height: int, width: int, in_channels: int | None = None) -> Cost:
    return cost(elastic.active, height, width)


@cost.register
def _(architecture: ResnetArchitecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    a, multiple = architecture, architecture.multiple
    if height % multiple or width % multiple or min(height, width) < a.smallest:
        raise GancompError(
            f"This ResNet generator takes heights and widths that are multiples of {multiple} and at least "
            f"{a.smallest}, not {height} x {width}."
        )
    if a.separable_ends:
        with torch.device("meta"):  # shapes only
            return cost(ResnetGenerator(a), height, width)
    full = round(height * width * a.resolution**2)
    half, quarter = full // 4, full // 16
    stem, down1, down2, up1, up2 = a.channels.ends
    # dense ends: weights of each convolution, the pixels they are applied at
    w_stem, w_down1, w_down2 = 49 * a.in_channels * stem, 9 * stem * down1, 9 * down1 * down2
    w_up1, w_up2, w_tail = 9 * down2 * up1, 9 * up1 * up2, 49 * up2 * a.out_channels
    w_blocks, block_channels = _resnet_blocks(a, down2)
    macs = full * (w_stem + w_tail) + half * (w_down1 + w_up2) + quarter * (w_down2 + w_up1 + w_blocks)
    overcounted = 3 * (quarter * w_up1 + half * w_up2)
    normed = full * (stem + up2) + half * (down1 + up1) + quarter * (down2 + block_channels)
    weights = w_stem + w_down1 + w_down2 + w_blocks + w_up1 + w_up2 + w_tail
    channels = stem + down1 + down2 + block_channels + up1 + up2  # each is normalised
    outputs = channels + a.out_channels  # every convolution has a bias
    affine = 2 * channels if a.affine else 0
    return Cost(macs, macs + overcounted + normed, weights + outputs + affine, weights + 8 * outputs + 4 * affine)


def _resnet_blocks(a: ResnetArchitecture, outer: int) -> tuple[int, int]:
    """Weights of all residual blocks, and the channels that their convolutions put out; each is normalised."""
    weights = channels = 0
    for block, inner in enumerate(a.channels.inner_widths(a.blocks)):
        separable, kernel = a.in_third(block)
        if separable:  # a depthwise convolution of the input channels, then 1x1: twice as many channels put out
            weights += kernel**2 * (outer + inner) + 2 * outer * inner
            channels += 2 * (outer + inner)
        else:
            weights += 2 * kernel**2 * outer * inner
            channels += outer + inner
    return weights, channels


@cost.register
def _(architecture: SpadeArchitecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    a, multiple = architecture, architecture.multiple
    if height % multiple or width % multiple or min(height, width) < multiple:
        raise GancompError(
            f"This SPADE generator takes heights and widths that are multiples of {multiple}, not {height} x {width}."
        )
    full, first = round(height * width * a.resolution**2), SMALLEST[a.upsampling]
    w_fc, w_tail = 9 * a.label_channels * a.first_width, 9 * a.channels.entries[7] * a.out_channels
    macs = full // first**2 * w_fc + full * w_tail
    weights, normed = w_fc + w_tail, 0
    biases = outputs = a.first_width + a.out_channels
    for block in a.blocks:
        w_block, channels, elements = _spade_block(block, a.label_channels, a.separable)
        pixels = full // block.shrink**2
        macs, normed = macs + pixels * w_block, normed + pixels * elements
        weights, outputs = weights + w_block, outputs + channels
        biases += channels - block.shortcut * block.outputs  # the 1x1 convolution of a shortcut has none
    return Cost(macs, macs + normed, weights + biases, weights + 4 * (biases + outputs))


def _spade_block(block: BlockShape, labels: int, separable: bool) -> tuple[int, int, int]:
    """Weights, channels that convolutions put out, and normalised elements a pixel of one SPADE block."""
    spades = 3 if block.shortcut else 2
    normed = (spades - 1) * block.inputs + block.inner  # channels that go through SPADE
    weights = block.kernel**2 * (block.inputs + block.outputs) * block.inner + 9 * labels * block.hidden * spades
    channels = block.inner + block.outputs + block.hidden * spades + 2 * normed
    if block.shortcut:
        weights, channels = weights + block.inputs * block.outputs, channels + block.outputs
    if not separable:
        return weights + 18 * block.hidden * normed, channels, normed
    depthwise = 2 * block.hidden * spades  # channels; each is normalised
    return weights + 9 * depthwise + 2 * block.hidden * normed, channels + depthwise, normed + depthwise


@cost.register
def _(architecture: RrdbArchitecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    _check_any_size("An RRDBNet", height, width)
    a, pixels = architecture, height * width
    # inputs times outputs of the five convolutions of a dense block, and the channels they put out
    dense = sum((a.width + i * a.growth) * a.growth for i in range(4)) + (a.width + 4 * a.growth) * a.width
    square, ups = a.width**2, a.scale // 2
    small = 9 * (a.in_channels * a.width + 3 * a.blocks * dense + square)
    large = 9 * (square + a.width * a.out_channels)
    macs = pixels * (small + sum(4 ** (i + 1) for i in range(ups)) * 9 * square + a.scale**2 * large)
    weights = small + ups * 9 * square + large
    outputs = (3 + ups) * a.width + 3 * a.blocks * (4 * a.growth + a.width) + a.out_channels
    return Cost(macs, macs, weights + outputs, weights + 8 * outputs)


@cost.register
def _(architecture: AgdArchitecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    if not architecture.derived:
        raise GancompError("A supernet has no cost of its own; choose one of its networks with chosen(...) first.")
    with torch.device("meta"):  # shapes only
        return cost(AgdNetwork(architecture), height, width)


@cost.register
def _(architecture: VdsrArchitecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    _check_any_size("A VDSR", height, width)
    a, pixels = architecture, height * width * architecture.scale**2
    weights = 9 * (2 * a.channels * a.width + (a.layers - 2) * a.width**2)
    outputs = (a.layers - 1) * a.width + a.channels  # no biases: the scales of int8 weights alone
    return Cost(pixels * weights, pixels * weights, weights, weights + 4 * outputs)


def _check_any_size(name: str, height: int, width: int) -> None:
    if min(height, width) < 1:
        raise GancompError(f"{name} takes heights and widths of at least 1 pixel, not {height} x {width}.")


def _short(number: float) -> str:
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:g}"
