"""Smaller files whose arithmetic is unchanged: half precision, weight-only int8, and unstructured zeros.

None of them makes a dense kernel faster. Zeros do not even make a plain file smaller; only a packer finds them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.methods.quantization.affine import min_max, rows, symmetric
from gancomp_core.methods.quantization.report import Report, report
from gancomp_core.methods.quantization.simulated import convolutions, output_axis

HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class SmallWeights:
    """A generator with compressed weights.

    Attributes:
        name: Its name in tables.
        generator: The network with the values that are left; it runs in float32.
        tensors: The content of a file.
    """

    name: str
    generator: nn.Module
    tensors: dict[str, Tensor]

    def report(self, given: nn.Module, pictures: Tensor) -> Report:
        """Size, and PSNR to the network ``given``, on source pictures [N, C, H, W] in [-1, 1]."""
        return report(self.name, self.generator, given, pictures, safetensors.torch.save(self.tensors))


def unchanged(generator: nn.Module) -> SmallWeights:
    """The float32 weights themselves: the first row of a table."""
    given = copy.deepcopy(generator)
    return SmallWeights("float32", given, _tensors(given))


def half_weights(generator: nn.Module, dtype: torch.dtype = torch.float16) -> SmallWeights:
    """Weights in float16 or bfloat16; the network computes in float32.

    Args:
        generator: The network.
        dtype: ``torch.float16`` or ``torch.bfloat16``.

    Returns:
        The compressed form.

    Raises:
        GancompError: For another data type.
    """
    if dtype not in HALVES:
        raise GancompError(f"Half precision is torch.float16 or torch.bfloat16, not {dtype}; choose one of the two.")
    stored = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in _tensors(generator).items()
    }
    name = "weights in " + str(dtype).removeprefix("torch.")
    return SmallWeights(name, _filled(generator, stored), stored)


def weight_only_int8(generator: nn.Module) -> SmallWeights:
    """The weights of convolutions in int8, with a float32 scale for each output channel; activations stay float."""
    stored = _tensors(generator)
    restored = dict(stored)
    for name, layer in convolutions(generator).items():
        axis, key = output_axis(layer), f"{name}.weight"
        by = symmetric(min_max(rows(stored[key], axis)), axis=axis)
        restored[key] = by.rounded(stored[key])
        stored |= {key: by.quantize(stored[key]).to(torch.int8), f"{name}.scale": by.scale}
    return SmallWeights("weight-only int8", _filled(generator, restored), stored)


def magnitude_pruned(generator: nn.Module, share: float) -> SmallWeights:
    """Set the smallest weights of the convolutions to 0.

    Unstructured zeros (Han et al., NeurIPS 2015, arXiv 1506.02626): dense kernels multiply by them all the same.

    Args:
        generator: The network.
        share: Share of all weights of convolutions that become 0, from 0 to below 1.

    Returns:
        The compressed form.

    Raises:
        GancompError: For another share.
    """
    if not 0 <= share < 1:
        raise GancompError(f"The share of weights that become 0 is 0 or more and below 1, not {share:g}; try 0.5.")
    stored = _tensors(generator)
    keys = [f"{name}.weight" for name in convolutions(generator)]
    magnitudes = torch.cat([stored[key].flatten() for key in keys]).abs()
    zeros = int(share * len(magnitudes))
    bound = magnitudes.kthvalue(zeros).values if zeros else torch.tensor(-1.0)
    stored |= {key: stored[key] * (stored[key].abs() > bound) for key in keys}
    return SmallWeights(f"{share:.0%} zeros", _filled(generator, stored), stored)


def _tensors(generator: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in generator.state_dict().items()}


def _filled(generator: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    given = copy.deepcopy(generator)
    given.load_state_dict(tensors)  # which turns half precision into float32
    return given
