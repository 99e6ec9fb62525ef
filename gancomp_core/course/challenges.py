"""What the open challenges measure: the teacher of edges2shoes with some of its channels left out, or in few bits.

The learner's function sees training sketches. ``part="train"`` scores it on other training sketches, for practice; the
checks score it on test sketches.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gancomp_core import zoo
from gancomp_core.data import load_task
from gancomp_core.errors import one_of
from gancomp_core.measure import psnr
from gancomp_core.methods.quantization import Range, asymmetric
from gancomp_core.nets.blocks import ResidualBlock

KEPT = (96, 64, 32)  # of the 128 channels between the two convolutions of a residual block
BITS = (8, 6, 4)
SEEN, JUDGED = 32, 64  # sketches that the learner's function sees, and those that judge it
VALUES = 20_000  # of one layer's inputs, evenly spaced


@functools.cache
def _teacher() -> nn.Module:
    return zoo.load("edges2shoes/teacher").generator.eval()


@functools.cache
def _sketches(part: str, start: int, count: int) -> Tensor:
    task = load_task("edges2shoes")
    pictures = {"train": task.train, "test": task.test}[one_of(part, ("train", "test"), "part")]
    return pictures.batch(slice(start, start + count)).source


def _blocks() -> list[nn.Sequential]:
    """The inside of each residual block: convolution, norm, ReLU, convolution, norm."""
    blocks = [each.body for each in _teacher().modules() if isinstance(each, ResidualBlock)]
    return [body for body in blocks if isinstance(body, nn.Sequential)]


def _layers() -> dict[str, nn.Module]:
    return {
        name: layer for name, layer in _teacher().named_modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    }


@torch.inference_mode()
def _distance(hooks: Iterator[RemovableHandle], part: str) -> float:
    """Mean PSNR, in dB, between the teacher's pictures with and without these hooks, which are set and removed here."""
    sketches, whole = _sketches(part, SEEN if part == "train" else 0, JUDGED), _pictures(part)
    with contextlib.ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.remove)
        changed = _teacher()(sketches)
    return float(psnr(changed, whole).mean())


@functools.cache
def _pictures(part: str) -> Tensor:
    with torch.inference_mode():
        made: Tensor = _teacher()(_sketches(part, SEEN if part == "train" else 0, JUDGED))
    return made


# --- channels left out -----------------------------------------------------------------------------------------------


@functools.cache
def inside_blocks() -> list[tuple[Tensor, Tensor]]:
    """What the second convolution of each of the teacher's six residual blocks reads, and the weights that read it.

    Returns:
        For each block the features of 32 training sketches after the ReLU, float32 [32, 128, 8, 8], and the weights
        [128, 128, 3, 3], whose second axis belongs to the features' channels.
    """
    readers = {f"block {n}": body.get_submodule("3") for n, body in enumerate(_blocks())}
    with _watched(readers) as seen:
        _teacher()(_sketches("train", 0, SEEN))
    return [(seen[name], reader.get_parameter("weight").detach().clone()) for name, reader in readers.items()]


def pruned_psnr(importances: Sequence[Tensor], part: str = "train") -> dict[int, float]:
    """How close the teacher's pictures stay when each block keeps its most important inner channels, untrained.

    Args:
        importances: For each block a number for each of its 128 inner channels; the largest are kept.
        part: "train" or "test": the sketches, 64 of them, none of which :func:`inside_blocks` has seen.

    Returns:
        Channels kept in each block (96, 64, 32) -> mean PSNR to the whole teacher's pictures, in dB.

    Raises:
        GancompError: For another part.
    """
    return {kept: _distance(_masks(importances, kept), part) for kept in KEPT}


def _masks(importances: Sequence[Tensor], kept: int) -> Iterator[RemovableHandle]:
    for body, importance in zip(_blocks(), importances, strict=True):
        mask = torch.zeros(len(importance))
        mask[importance.argsort(descending=True, stable=True)[:kept]] = 1
        yield body[2].register_forward_hook(lambda _, given, made, m=mask[:, None, None]: made * m)


# --- few bits --------------------------------------------------------------------------------------------------------


@functools.cache
def layer_inputs() -> dict[str, Tensor]:
    """What each convolution of the teacher reads for 32 training sketches.

    Returns:
        Name of the layer -> at most 20,000 of the values, evenly spaced, float32 [values].
    """
    with _watched(_layers()) as seen:
        _teacher()(_sketches("train", 0, SEEN))
    flat = {name: values.flatten() for name, values in seen.items()}
    return {name: values[:: -(-len(values) // VALUES)].clone() for name, values in flat.items()}


def rounded_psnr(ranges: Mapping[str, tuple[float, float]], bits: int, part: str = "train") -> float:
    """How close the teacher's pictures stay when what each convolution reads is rounded to few bits.

    Args:
        ranges: For each layer of :func:`layer_inputs` the reals that the lowest and the highest number stand for.
        bits: 2 to 8.
        part: "train" or "test": the sketches, 64 of them, none of which :func:`layer_inputs` has seen.

    Returns:
        Mean PSNR to the pictures of the teacher in float, in dB. Weights stay in float.

    Raises:
        GancompError: For another part or number of bits.
    """
    return _distance(_rounding(ranges, bits), part)


def _rounding(ranges: Mapping[str, tuple[float, float]], bits: int) -> Iterator[RemovableHandle]:
    layers = _layers()
    for name, (low, high) in ranges.items():
        by = asymmetric(Range(torch.tensor(low), torch.tensor(high)), bits)
        yield layers[name].register_forward_pre_hook(lambda _, given, by=by: by.rounded(given[0]))


@contextlib.contextmanager
def _watched(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What the layers read meanwhile."""
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, n=name: seen.update({n: given[0].detach().clone()}))
        for name, layer in layers.items()
    ]
    with torch.no_grad(), contextlib.ExitStack() as stack:
        for hook in hooks:
            stack.callback(hook.remove)
        yield seen
