"""What a network costs before it runs: multiply-accumulates, parameters, bytes.

There are two conventions of counting MACs, because the literature mixes them:

``macs`` (true)
    multiply-accumulates of convolutions and linear layers for one picture; a transposed convolution multiplies once
    for every *input* pixel. All ratios of the course use these.
``published_macs``
    what the GAN Compression paper and its followers print: transposed convolutions counted at *output* resolution
    (4 times too much at stride 2), plus one operation for every output element of an InstanceNorm or a SPADE layer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from gancomp_core.errors import GancompError
from gancomp_core.measure.running import first_line
from gancomp_core.nets.architecture import Architecture, Generator
from gancomp_core.nets.blocks import is_instance_norm
from gancomp_core.nets.blueprint import CONVOLUTION, INSTANCE_NORM, LINEAR, TRANSPOSED, Cost
from gancomp_core.nets.spade import Spade

_Multiplying = _ConvNd | nn.Linear
_PER_ELEMENT = (nn.LayerNorm, nn.RMSNorm)  # their weights may have several axes, but scale each element once


def cost(network: nn.Module | Architecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    """The :class:`Cost` of a network for one picture.

    Convolutions and transposed convolutions of one, two or three dimensions and linear layers are counted.

    Args:
        network: A module, which is traced on torch's meta device (shapes only, no arithmetic), or an architecture,
            whose blueprint is added up.
        height: Height of the input in pixels; the small picture where a network enlarges.
        width: Its width.
        in_channels: Channels of the input; needed only for a module without an ``architecture`` or ``in_channels``
            attribute whose first layer is not a convolution.

    Returns:
        The cost.

    Raises:
        GancompError: For sizes that the network cannot take, and for layers with a weight matrix of another kind, which
            would be left out silently.
    """
    if isinstance(network, Architecture):
        return network.cost(height, width)
    if not isinstance(network, nn.Module):
        raise GancompError(
            f"The cost of a {type(network).__name__} is unknown; give a torch module or a generator's architecture."
        )
    if isinstance(network, Generator) and network.running != network.architecture:  # one of many in shared weights
        return network.running.cost(height, width)
    layers = layer_costs(network, height, width, in_channels)
    params = sum(p.numel() for p in network.parameters())
    # a layer used twice multiplies twice but is stored once
    stored = {layer.name: layer for layer in layers if layer.kind != INSTANCE_NORM}.values()
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

    Attributes:
        name: Its path in the module.
        kind: "conv", "transposed conv", "linear" or "norm".
        macs: True multiply-accumulates.
        published_macs: Operations as the papers count them.
        elements: Numbers in its output.
        weights: Numbers in its kernel, without bias.
        out_channels: Channels of its output.
    """

    name: str
    kind: str
    macs: int
    published_macs: int
    elements: int
    weights: int
    out_channels: int


def layer_costs(network: nn.Module, height: int, width: int, in_channels: int | None = None) -> list[LayerCost]:
    """Every convolution, linear, InstanceNorm and SPADE layer of a module, in the order in which they run.

    Args:
        network: A module.
        height: As for :func:`cost`.
        width: As for :func:`cost`.
        in_channels: As for :func:`cost`.

    Returns:
        A cost for each layer.

    Raises:
        GancompError: As :func:`cost` does.
    """
    if isinstance(network, Generator):
        network = network.standalone()
    found: list[LayerCost] = []
    _check_layers(network)
    channels = in_channels or _input_channels(network)
    shadow = copy.deepcopy(network).to("meta").eval()
    for name, layer in shadow.named_modules():
        if isinstance(layer, _Multiplying):
            layer.register_forward_hook(lambda layer, x, y, name=name: found.append(_multiplying(name, layer, x[0], y)))
        elif is_instance_norm(layer):
            layer.register_forward_hook(lambda layer, x, y, name=name: found.append(_normalizing(name, y)))
            layer.forward = _unchanged  # the shape is all that matters, and torch is slow to find that out
        elif isinstance(layer, Spade):
            layer.register_forward_hook(lambda layer, x, y, name=name: found.append(_normalizing(name, y)))
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
        return LayerCost(name, LINEAR, macs, macs, y.numel(), weights, layer.out_features)
    at_output, at_input = weights * (y.numel() // layer.out_channels), weights * (x.numel() // layer.in_channels)
    if isinstance(layer, _ConvTransposeNd):
        return LayerCost(name, TRANSPOSED, at_input, at_output, y.numel(), weights, layer.out_channels)
    return LayerCost(name, CONVOLUTION, at_output, at_output, y.numel(), weights, layer.out_channels)


def _unchanged(x: Tensor) -> Tensor:
    return x


def _normalizing(name: str, y: Tensor) -> LayerCost:
    return LayerCost(name, INSTANCE_NORM, 0, y.numel(), y.numel(), 0, y.shape[1])


def _input_channels(network: nn.Module) -> int:
    architecture = getattr(network, "architecture", network)
    if isinstance(channels := getattr(architecture, "in_channels", None), int):
        return channels
    for layer in network.modules():
        if isinstance(layer, _ConvNd):
            return layer.in_channels
    raise GancompError(
        f"{type(network).__name__} does not tell how many channels its pictures have; "
        "pass in_channels, 1 for gray or 3 for color."
    )
