"""Which layers suffer most from few bits, and how many bits each gets under a limit on bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import psnr
from gancomp_core.measure.running import evaluating
from gancomp_core.methods.architecture_search.budget import amount
from gancomp_core.methods.quantization.simulated import (
    KERNELS,
    Scheme,
    calibrate,
    convolutions,
    output_axis,
    simulate,
)


def layer_sensitivity(
    generator: nn.Module, pictures: Tensor, scheme: Scheme = KERNELS, bits: Iterable[int] = (8,)
) -> pd.DataFrame:
    """Effect on the pictures of quantizing one layer alone, for every layer and number of weight bits.

    Args:
        generator: The float network.
        pictures: Sources [N, C, H, W] in [-1, 1]; they calibrate as well.
        scheme: How layers are quantized; layers that it leaves in float are left out.
        bits: Numbers of weight bits to try.

    Returns:
        A row for each layer and number of bits: ``layer``, ``bits``, the mean squared error ``mse`` between the
        pictures of both networks (range -1 to 1), ``psnr`` in dB (mean over pictures), and the ``bytes`` of the
        layer's weights and scales.
    """
    rows = []
    with evaluating(generator), torch.no_grad():
        expected = generator(pictures)
        for name, layer in convolutions(generator).items():
            for count in () if scheme.in_float(layer) else bits:
                simulated = calibrate(simulate(generator, scheme, {name: count}), pictures).eval()
                found = simulated(pictures)
                error = float((found - expected).square().mean())
                rows.append((name, count, error, float(psnr(found, expected).mean()), layer_bytes(layer, count)))
    return pd.DataFrame(rows, columns=["layer", "bits", "mse", "psnr", "bytes"])


def layer_bytes(layer: nn.Module, bits: int) -> int:
    """Bytes of the weights of a convolution at ``bits`` bits each, with a float32 scale for each output channel."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return math.ceil(weight.numel() * bits / 8) + 4 * weight.shape[output_axis(layer)]  # type: ignore[arg-type]


def stored_bytes(generator: nn.Module, bits: Mapping[str, int]) -> int:
    """Bytes of all weights: the layers in ``bits`` at that many bits and with scales, the rest in float32."""
    layers = convolutions(generator)
    params = sum(p.numel() for p in generator.parameters())
    quantized = sum(layers[name].weight.numel() for name in bits)
    return 4 * (params - quantized) + sum(layer_bytes(layers[name], count) for name, count in bits.items())


def mixed_precision(generator: nn.Module, sensitivity: pd.DataFrame, most_bytes: float) -> dict[str, int]:
    """Bits for each layer, so that the weights fit into a limit and the pictures change little.

    All layers begin with the most bits; then, repeatedly, the layer that adds the least error per byte saved gets
    fewer. Errors of layers are taken to add up.

    Args:
        generator: The network.
        sensitivity: From :func:`layer_sensitivity`, with several numbers of bits.
        most_bytes: The limit for all weights.

    Returns:
        Bits by layer.

    Raises:
        GancompError: For a limit that even the fewest bits exceed, with the reachable range.
    """
    options = {
        str(name): {int(row.bits): row for row in rows.itertuples()}
        for name, rows in sensitivity.groupby("layer", sort=False)
    }
    chosen = {name: max(of_layer) for name, of_layer in options.items()}
    _check_budget(generator, options, most_bytes)
    while stored_bytes(generator, chosen) > most_bytes:
        steps = [
            ((row.mse - of_layer[chosen[name]].mse) / (of_layer[chosen[name]].bytes - row.bytes), name, count)
            for name, of_layer in options.items()
            for count, row in of_layer.items()
            if row.bytes < of_layer[chosen[name]].bytes
        ]
        _, name, count = min(steps)
        chosen[name] = count
    return chosen


def _check_budget(generator: nn.Module, options: Mapping[str, Mapping[int, object]], most_bytes: float) -> None:
    ends = [stored_bytes(generator, {name: end(of_layer) for name, of_layer in options.items()}) for end in (min, max)]
    if ends[0] > most_bytes:
        raise GancompError(
            f"No choice of bits has at most {amount('bytes', most_bytes)}: they reach from {amount('bytes', ends[0])} "
            f"to {amount('bytes', ends[1])}; raise the limit to the least of these or more, or measure the sensitivity "
            "at fewer bits."
        )
