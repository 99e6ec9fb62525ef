"""Quantization simulated in float, with gradients, for any layer and number of bits.

Weights and the inputs of convolutions are rounded to what integers can represent; the arithmetic stays float, so it
gets no faster. Gradients go straight through the rounding (Bengio et al., arXiv 1308.3432), so a simulated generator is
trained like any other, for example by :func:`gancomp_core.methods.feature_distillation.distil`; :func:`plain` returns
the float network, which :mod:`gancomp_core.methods.quantization.int8` turns into integer kernels. Those also round the
outputs of convolutions, which simulations, including the papers', do not.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gancomp_core.errors import GancompError
from gancomp_core.measure.running import evaluating
from gancomp_core.methods.quantization.affine import (
    MAPS,
    AffineMap,
    Range,
    RangeEstimator,
    asymmetric,
    ema,
    min_max,
    mse,
    rows,
)
from gancomp_core.nets import ElasticGenerator

Convolution = nn.Conv2d | nn.ConvTranspose2d
Rounding = Callable[[Tensor, AffineMap], Tensor]
LEAST_INPUTS = 8  # channels a group; with fewer, the lanes of an integer kernel are empty, and a float one is faster


def is_depthwise(layer: Convolution) -> bool:
    """Whether every channel is convolved separately."""
    return layer.groups > 1 and layer.groups == layer.in_channels


def has_float_kernel(layer: Convolution) -> bool:
    """Whether :func:`export_int8` computes this layer in float and stores its weights in 8 bits."""
    return isinstance(layer, nn.ConvTranspose2d) or layer.in_channels // layer.groups < LEAST_INPUTS


def no_layer(layer: Convolution) -> bool:
    """False for every layer."""
    return False


def straight_through(x: Tensor, by: AffineMap) -> Tensor:
    """Reals rounded by a map, float32; the gradient is 1 where it rounds and 0 where it clips."""
    x = x.float()
    moving = torch.where(by.covers(x), x, x.detach())
    return by.rounded(x) + (moving - moving.detach())  # in this order it is the rounded number to the bit


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized.

    Attributes:
        weight_bits: Bits of weights, 2 to 16.
        activation_bits: Bits of activations, 2 to 16.
        bias_bits: Bits of biases, 2 to 16; None leaves them in float.
        per_channel: Whether weights have a scale for each output channel.
        symmetric: Whether the zero point of weights is 0.
        estimator: Chooses the ranges of activations.
        weight_estimator: Chooses the ranges of weights.
        decay: In training, the range of activations is an exponential average of the ranges seen, with this decay, 0 to
            1; 1 keeps the calibrated range.
        in_float: Says which layers stay float.
        weights_only: Says of which layers the inputs stay float.
        rounding: Rounds reals of any shape by a map, with the gradient that training is to see.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    bias_bits: int | None = None
    per_channel: bool = True
    symmetric: bool = True
    estimator: RangeEstimator = mse
    weight_estimator: RangeEstimator = min_max
    decay: float = 1.0
    in_float: Callable[[Convolution], bool] = no_layer
    weights_only: Callable[[Convolution], bool] = no_layer
    rounding: Rounding = straight_through

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise GancompError(
                f"The decay of an average of ranges is 0 to 1, not {self.decay:g}; 0.9 is AGD's, 1 keeps ranges still."
            )


#: What the kernels of :func:`export_int8` do to weights and inputs.
KERNELS = Scheme(weights_only=has_float_kernel)

#: AutoGAN-Distiller's (arXiv 2006.08198): one affine map a tensor from averaged extremes, biases of 16 bits, depthwise
#: layers in float.
AGD = Scheme(
    bias_bits=16, per_channel=False, symmetric=False, estimator=min_max, decay=0.9, in_float=is_depthwise
)  # fmt: skip


class FakeQuantize(nn.Module):
    """Rounds activations of any shape within one range for the whole tensor, after calibration.

    The buffers ``low`` and ``high`` hold the range. ``forward`` raises :class:`GancompError` before :func:`calibrate`.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, bits: int, estimator: RangeEstimator, decay: float, rounding: Rounding = straight_through
    ) -> None:
        super().__init__()
        self.bits, self.estimator, self.decay, self.rounding = bits, estimator, decay, rounding
        self.observing, self.seen = False, 0
        self.register_buffer("low", torch.tensor(math.nan))
        self.register_buffer("high", torch.tensor(math.nan))

    @property
    def range(self) -> Range:
        return Range(self.low, self.high)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Move the range toward that of these values; the first call sets it, and early calls are averaged equally."""
        found = self.estimator(x.float().flatten(), self.bits)
        moved = ema(self.range, found, min(self.decay, self.seen / (self.seen + 1))) if self.seen else found
        self.low.copy_(moved.low)
        self.high.copy_(moved.high)
        self.seen += 1

    def forward(self, x: Tensor) -> Tensor:
        if x.is_meta:  # shapes alone, whose cost is counted
            return x
        if self.observing:  # calibration sees the float network
            self.observe(x)
            return x
        if self.training and self.decay < 1:
            self.observe(x)
        if self.low.isnan():
            raise GancompError(
                "This network rounds activations whose ranges were not measured; call calibrate with some dozens of "
                "training pictures first."
            )
        return self.rounding(x, asymmetric(self.range, self.bits))


class FakeQuantizeParameter(nn.Module):
    """Rounds a weight or a bias, as a parametrization of torch, within its current range."""

    def __init__(
        self, bits: int, symmetric: bool, estimator: RangeEstimator, axis: int | None, rounding: Rounding
    ) -> None:
        super().__init__()
        self.bits, self.symmetric, self.estimator, self.axis = bits, symmetric, estimator, axis
        self.rounding = rounding

    def forward(self, values: Tensor) -> Tensor:
        if values.is_meta:
            return values
        span = self.estimator(rows(values.detach().float(), self.axis), self.bits, self.symmetric)
        return self.rounding(values, MAPS[self.symmetric](span, self.bits, self.axis))


class QuantizedConv(nn.Module):
    """A convolution with rounded inputs and rounded weights; ``layer`` is the convolution itself.

    Takes and returns what the convolution does.
    """

    def __init__(self, layer: Convolution, scheme: Scheme, weight_bits: int) -> None:
        super().__init__()
        self.layer = layer
        by, axis = scheme.rounding, output_axis(layer) if scheme.per_channel else None
        inputs = FakeQuantize(scheme.activation_bits, scheme.estimator, scheme.decay, by)
        self.read = nn.Identity() if scheme.weights_only(layer) else inputs
        rounded = FakeQuantizeParameter(weight_bits, scheme.symmetric, scheme.weight_estimator, axis, by)
        parametrize.register_parametrization(layer, "weight", rounded)
        if scheme.bias_bits is not None and layer.bias is not None:
            rounded = FakeQuantizeParameter(scheme.bias_bits, False, min_max, None, by)
            parametrize.register_parametrization(layer, "bias", rounded)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(self.read(x))
        return found


def output_axis(layer: Convolution) -> int:
    """The dimension of a convolution's weights that indexes its outputs."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def convolutions(generator: nn.Module) -> dict[str, Convolution]:
    """The convolutions of a generator by name, in the order in which they are registered.

    Raises:
        GancompError: For an elastic generator, whose weights belong to many networks, for one that is simulated
            already, and for one without convolutions.
    """
    if isinstance(generator, ElasticGenerator):
        raise GancompError(
            "An elastic generator holds many networks, and ranges belong to one; quantize the one that extract() gives."
        )
    if any(isinstance(layer, QuantizedConv) for layer in generator.modules()):
        raise GancompError("This network is quantized already; take the float one, which plain() gives back.")
    found = {name: layer for name, layer in generator.named_modules() if isinstance(layer, Convolution)}
    if not found:
        raise GancompError(f"{type(generator).__name__} has no convolution to quantize; give a generator.")
    return found


def simulate(generator: nn.Module, scheme: Scheme = KERNELS, bits: Mapping[str, int] | None = None) -> nn.Module:
    """A copy of a generator whose convolutions round as a scheme says; :func:`calibrate` it before it runs.

    Args:
        generator: The float network, which may be frozen; the copy can be trained.
        scheme: How layers are quantized.
        bits: Weight bits by layer; only these layers are quantized. None quantizes all by the scheme.

    Returns:
        The copy.

    Raises:
        GancompError: For layers that do not exist, and as :func:`convolutions` does.
    """
    given = copy.deepcopy(generator).requires_grad_(True)
    layers = convolutions(given)
    if unknown := set(bits or ()) - set(layers):
        raise GancompError(f"There is no convolution {sorted(unknown)[0]!r}; choose from {', '.join(layers)}.")
    for name, layer in layers.items():
        if scheme.in_float(layer) or (bits is not None and name not in bits):
            continue
        weight_bits = scheme.weight_bits if bits is None else bits[name]
        given = _replaced(given, name, QuantizedConv(layer, scheme, weight_bits))
    return given


def calibrate(simulated: nn.Module, pictures: Tensor, batch_size: int | None = None) -> nn.Module:
    """Measure the ranges of all activations on source pictures; the float network runs.

    Ranges measured before are forgotten.

    Args:
        simulated: A network of :func:`simulate`, which is changed.
        pictures: [N, C, H, W] in [-1, 1], at least one.
        batch_size: Size of the batches whose ranges are averaged, later ones with the scheme's decay; None makes one
            batch.

    Returns:
        The network.

    Raises:
        GancompError: For no pictures, and a batch size below 1.
    """
    observers = [layer for layer in simulated.modules() if isinstance(layer, FakeQuantize)]
    if len(pictures) < 1 or (batch_size is not None and batch_size < 1):
        raise GancompError(
            f"Calibration needs at least 1 picture, in batches of at least 1, not {len(pictures)} in batches of "
            f"{batch_size}; some dozens of the training set do."
        )
    for observer in observers:
        observer.observing, observer.seen = True, 0
    try:
        with evaluating(simulated), torch.no_grad():
            for batch in pictures.split(batch_size or len(pictures)):
                simulated(batch)
    finally:
        for observer in observers:
            observer.observing = False
    return simulated


def plain(simulated: nn.Module) -> nn.Module:
    """A copy of a simulated network as the float network that it was, with the weights it has learned since."""
    given = copy.deepcopy(simulated)
    for name, layer in list(given.named_modules()):
        if isinstance(layer, QuantizedConv):
            for parameter in ("weight", "bias"):
                if parametrize.is_parametrized(layer.layer, parameter):
                    parametrize.remove_parametrizations(layer.layer, parameter, leave_parametrized=False)
            given = _replaced(given, name, layer.layer)
    return given


def _replaced(network: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """The network with another layer at this place; the layer itself where the place is the whole network."""
    if not name:
        return layer
    network.set_submodule(name, layer)
    return network
