"""What a network costs before it runs: multiply-accumulates, parameters, bytes.

There are two conventions of counting MACs, because the literature mixes them:

``macs`` (true)
    multiply-accumulates of convolutions, linear layers and matrix products for one picture; a transposed convolution
    multiplies once for every *input* pixel. All ratios of the course use these.
``published_macs``
    what the GAN Compression paper and its followers print: transposed convolutions counted at *output* resolution
    (4 times too much at stride 2), plus one operation for every output element of an InstanceNorm or a SPADE layer.

A module's costs are those of the operations that torch runs, so nothing that multiplies matrices is left out: attention
and convolutions without a layer of their own are counted, and an operation whose products are unknown is refused by its
name. Products number by number (norms, gates, activations) and what prepares weights (spectral norm) are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from gancomp_core.errors import GancompError
from gancomp_core.measure.running import check_float32, copied, first_line
from gancomp_core.nets.architecture import Architecture, Generator
from gancomp_core.nets.blocks import is_instance_norm
from gancomp_core.nets.blueprint import CONVOLUTION, INSTANCE_NORM, LINEAR, TRANSPOSED, Cost
from gancomp_core.nets.spade import Spade

_Multiplying = _ConvNd | nn.Linear
MATMUL, FUNCTIONAL = "matmul", "functional conv"
#: Operations of torch that multiply matrices in ways that are not counted here, by how their names begin.
_UNKNOWN = ("_trilinear", "_fft", "fft", "linalg_", "_linalg", "cdist", "_cdist", "_cudnn_rnn", "mkldnn_rnn",
            "_native_multi", "_transformer_encoder", "_grouped_mm", "_int_mm", "_weight_int")  # fmt: skip
_KNOWN_NAMESPACES = ("aten", "prim", "prims", "profiler")


def cost(network: nn.Module | Architecture, height: int, width: int, in_channels: int | None = None) -> Cost:
    """The :class:`Cost` of a network for one picture.

    Convolutions and transposed convolutions of one, two or three dimensions, linear layers and matrix products are
    counted.

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
        GancompError: For sizes that the network cannot take, for weights that are not float32, and for operations whose
            multiplications are unknown, which would be left out silently.
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
    stored = {layer.name: layer for layer in layers if layer.weights}.values()
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
        name: Its path in the module; of an operation without a layer of its own, that of the module that runs it.
        kind: "conv", "transposed conv", "linear" or "norm"; "matmul" or "functional conv" for an operation without a
            layer of its own.
        macs: True multiply-accumulates.
        published_macs: Operations as the papers count them.
        elements: Numbers in its output.
        weights: Numbers in its kernel, without bias; 0 for an operation without a layer of its own.
        out_channels: Channels of its output.
    """

    name: str
    kind: str
    macs: int
    published_macs: int
    elements: int
    weights: int
    out_channels: int


@torch.inference_mode(False)  # in that mode torch shows a dispatcher no convolution
def layer_costs(network: nn.Module, height: int, width: int, in_channels: int | None = None) -> list[LayerCost]:
    """Every convolution, matrix product, InstanceNorm and SPADE layer of a module, in the order in which they run.

    Args:
        network: A module.
        height: As for :func:`cost`.
        width: As for :func:`cost`.
        in_channels: As for :func:`cost`.

    Returns:
        A cost for each layer, and for each operation that belongs to none.

    Raises:
        GancompError: As :func:`cost` does.
    """
    shadow = _shadow(network)
    counter = _Counter(shadow)
    for name, layer in shadow.named_modules():
        if is_instance_norm(layer):
            layer.register_forward_hook(lambda layer, x, y, name=name: counter.found.append(_normalizing(name, y)))
            layer.forward = _unchanged  # the shape is all that matters, and torch is slow to find that out
        elif isinstance(layer, Spade):
            layer.register_forward_hook(lambda layer, x, y, name=name: counter.found.append(_normalizing(name, y)))
    _run(shadow, counter, in_channels, height, width)
    return counter.found


@torch.inference_mode(False)
def cross_check(network: nn.Module, height: int, width: int, in_channels: int | None = None) -> tuple[int, int]:
    """The MACs of a module by :func:`cost`, and half of what torch's own counter of operations finds.

    Args:
        network: A module.
        height: As for :func:`cost`.
        width: As for :func:`cost`.
        in_channels: As for :func:`cost`.

    Returns:
        Both numbers.

    Raises:
        GancompError: As :func:`cost` does.
    """
    counter = FlopCounterMode(display=False)
    _run(_shadow(network), counter, in_channels, height, width)
    return sum(layer.macs for layer in layer_costs(network, height, width, in_channels)), counter.get_total_flops() // 2


def _shadow(network: nn.Module) -> nn.Module:
    """A copy without values on torch's meta device."""
    if isinstance(network, Generator):
        network = network.standalone()
    network = getattr(network, "_orig_mod", network)  # of torch.compile, which would compile for the meta device
    check_float32(network)
    if any(isinstance(part, torch.jit.ScriptModule) for part in network.modules()):
        raise GancompError(
            f"The cost of a TorchScript program cannot be traced ({type(network).__name__}); give the module it was "
            "made of, or export it to ONNX and take onnx_cost."
        )
    return copied(network, "meta").eval()


def _run(
    shadow: nn.Module, counter: AbstractContextManager[object], channels: int | None, height: int, width: int
) -> None:
    channels = channels or _input_channels(shadow)
    try:
        with torch.no_grad(), counter:
            shadow(torch.empty(1, channels, height, width, device="meta"))
    except GancompError:
        raise
    except Exception as error:  # whatever layers raise for a size they cannot take
        raise GancompError(
            f"{type(shadow).__name__} cannot take pictures of {height} x {width} pixels with {channels} channels "
            f"({first_line(error)}); give the size and the in_channels it was made for."
        ) from error


class _Running(NamedTuple):
    """A module whose forward runs, and the operations that belong to it."""

    name: str
    module: nn.Module
    done: list[LayerCost]


class _Counter(TorchDispatchMode):
    """Notes what each operation multiplies, in the layer that runs it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[LayerCost] = []
        self.running, self.preparing = [_Running("", network, [])], 0
        for name, layer in network.named_modules():
            # between these two, hooks of others prepare its weights, such as those of torch.nn.utils.weight_norm
            layer.register_forward_pre_hook(self._prepare, prepend=True)
            layer.register_forward_pre_hook(lambda layer, x, name=name: self._enter(name, layer))
            layer.register_forward_hook(self._leave)

    def _prepare(self, layer: nn.Module, x: object) -> None:
        self.preparing += 1

    def _enter(self, name: str, layer: nn.Module) -> None:
        self.preparing -= 1
        self.running.append(_Running(name, layer, []))

    def _leave(self, layer: nn.Module, x: object, y: Tensor) -> None:
        name, _, done = self.running.pop()
        if isinstance(layer, _Multiplying):
            macs, published = sum(each.macs for each in done), sum(each.published_macs for each in done)
            kind, channels = LINEAR, layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            if isinstance(layer, _ConvNd):
                kind = TRANSPOSED if isinstance(layer, _ConvTransposeNd) else CONVOLUTION
            weights = layer.weight.numel()
            self.found.append(LayerCost(name, kind, macs, published, y.numel(), weights, channels))

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if self.preparing or any(isinstance(each.module, ParametrizationList) for each in self.running):
            return made
        if macs := self._macs(func, args, kwargs or {}, made):
            is_convolution = func._overloadpacket is torch.ops.aten.convolution
            # a transposed one is published as if each pixel of its output were multiplied with every weight
            published = args[1].numel() * (made.numel() // made.shape[1]) if is_convolution else macs
            layer = next((each for each in reversed(self.running) if isinstance(each.module, _Multiplying)), None)
            kind, channels = (FUNCTIONAL, made.shape[1]) if is_convolution else (MATMUL, (1, *made.shape)[-1])
            found = LayerCost(self.running[-1].name, kind, macs, published, made.numel(), 0, channels)
            (layer.done if layer else self.found).append(found)
        return made

    def _macs(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], made: Any) -> int:
        packet, (space, name) = func._overloadpacket, func._schema.name.split("::")
        if packet in flop_registry:
            return int(flop_registry[packet](*args, **kwargs, out_val=made)) // 2
        if name in ("mv", "dot", "vdot", "addmv"):
            return int(args[name == "addmv"].numel())
        if name == "addbmm":
            return int(args[1].numel() * args[2].shape[-1])
        if space not in _KNOWN_NAMESPACES or name.startswith(_UNKNOWN):
            layer = self.running[-1]
            where = f"The layer '{layer.name}' ({type(layer.module).__name__})" if layer.name else "The network"
            raise GancompError(
                f"{where} runs {space}::{name}, whose multiplications cannot be counted; build it of convolutions, "
                "linear layers and matrix products, or measure the network without it."
            )
        return 0


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
