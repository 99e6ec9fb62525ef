"""Exercises of notebook 01: smaller kernels, fewer blocks, the channels worth keeping, and an importance to beat."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.course import challenges
from gancomp_core.course.answers import Wrong, places, tensor
from gancomp_core.course.exercise import Attempt, Exercise, Group, Praise, call, noise

# --- a smaller kernel ------------------------------------------------------------------------------------------------


def _center(kernel: Tensor, size: int) -> Tensor:
    margin = (kernel.shape[-1] - size) // 2
    return kernel[..., margin : margin + size, margin : margin + size]


def _times(center: Tensor, matrix: Tensor) -> Tensor:
    return (center.flatten(2) @ matrix).reshape(center.shape)


def smaller_kernel(kernel: Tensor, size: int, matrix: Tensor) -> Tensor:
    return _times(_center(kernel, size), matrix)


SMALLER_KERNEL = Exercise(
    reference=smaller_kernel,
    kind=tensor,
    inputs=[
        Group(
            [(noise(4, 3, 7, 7, seed=1), 5, torch.eye(25)), (noise(2, 5, 7, 7, seed=2), 3, torch.eye(9))],
            "with the identity as matrix",
        ),
        Group(
            [
                (noise(4, 3, 7, 7, seed=1), 5, noise(25, 25, seed=5)),
                (noise(2, 5, 5, 5, seed=2), 3, noise(9, 9, seed=5)),
            ],
            "with a random matrix",
        ),
    ],
    gradients=("kernel", "matrix"),
    mutants={
        "That is the top left corner; wanted is the center: leave (K - size) // 2 out on every side.": lambda k, s, m: (
            _times(k[..., :s, :s], m)
        ),
        "That is the bottom right corner: K - size "
        "is the margin of both sides together, each side gets half of it.": lambda k, s, m: _times(k[..., -s:, -s:], m),
        "You shrink the kernel like a picture; it is cropped: the "
        "numbers in its center stay as they are.": lambda k, s, m: _times(F.interpolate(k, (s, s), mode="bilinear"), m),
        "You average neighbors; the kernel is cropped: the numbers in its center stay as they are.": lambda k, s, m: (
            _times(F.adaptive_avg_pool2d(k, s), m)
        ),
        "Your kernel lies on its side: rows and columns are exchanged.": lambda k, s, m: smaller_kernel(k, s, m).mT,
        "Your kernel stands on its head: both directions are reversed.": lambda k, s, m: smaller_kernel(k, s, m).flip(
            -1, -2
        ),
        "The product is right, but it has lost "
        "its two axes: unflatten it to [out, in, size, size] at the end.": lambda k, s, m: _center(k, s).flatten(2) @ m,
        "The crop is right, but the matrix does nothing "
        "yet: flatten the center to size * size numbers and multiply them with it.": lambda k, s, m: _center(k, s),
        "The crop is right, but the matrix works "
        "on the wrong side: the flattened center is a row, row @ matrix.": lambda k, s, m: _times(_center(k, s), m.T),
        "You flatten column by column; flatten(2) "
        "goes row by row, and the matrix was learned for that order.": lambda k, s, m: _times(_center(k, s).mT, m).mT,
        "You use the diagonal of the matrix alone, so that places "
        "cannot mix; multiply with the whole matrix.": lambda k, s, m: _center(k, s) * m.diagonal().reshape(s, s),
        "You add the product to the center; the identity matrix should leave "
        "the center as it is, so only the product is wanted.": lambda k, s, m: _center(k, s) + smaller_kernel(k, s, m),
    },
)

# --- the blocks of a shallower network -------------------------------------------------------------------------------


def _thirds(depth: int, full: int) -> list[tuple[list[int], int]]:
    """For each third the blocks of the full network, and how many of them the small one has."""
    return [
        (
            [block for block in range(full) if 3 * block // full == third],
            sum(3 * block // depth == third for block in range(depth)),
        )
        for third in range(3)
    ]


def blocks_that_run(depth: int, full: int) -> list[int]:
    return [block for blocks, count in _thirds(depth, full) for block in blocks[:count]]


def _equal_thirds(depth: int, full: int, rest: int = 0) -> list[int]:
    counts = [depth // 3, depth // 3, depth // 3 + rest]
    return [third * full // 3 + rank for third, count in enumerate(counts) for rank in range(count)]


BLOCKS_THAT_RUN = Exercise(
    reference=blocks_that_run,
    kind=places,
    inputs=[(3, 6), (6, 6), (3, 9), (6, 9), (4, 6), (5, 6), (7, 9), (8, 9)],
    mutants={
        "These are the blocks that are left out; wanted are the ones that stay.": lambda d, f: [
            block for block in range(f) if block not in blocks_that_run(d, f)
        ],
        "The right blocks, but the last one first; list them in the order in which they run.": lambda d, f: (
            blocks_that_run(d, f)[::-1]
        ),
        "These are the first blocks of the whole network, "
        "so the last third loses all of its own; keep the first blocks of *each* third.": lambda d, f: list(range(d)),
        "These are the last blocks of the whole network; keep the first blocks of each third.": lambda d, f: list(
            range(f - d, f)
        ),
        "You keep the *last* blocks of each third; the first ones stay.": lambda d, f: [
            block for blocks, count in _thirds(d, f) for block in blocks[len(blocks) - count :]
        ],
        "You spread the blocks evenly over the whole network; a block keeps its rank inside "
        "its third, so the ones kept are the leading ones there.": lambda d, f: [block * f // d for block in range(d)],
        "Every number is one too large: blocks are counted from 0 here.": lambda d, f: [
            block + 1 for block in blocks_that_run(d, f)
        ],
        "When depth is no multiple of 3, some blocks are missing: block "
        "b of the small network belongs to third 3 * b // depth, and the leading thirds get one more.": _equal_thirds,
        "When depth is no multiple of 3 you give what is left "
        "over to the last third; 3 * b // depth gives it to the leading ones.": lambda d, f: _equal_thirds(d, f, d % 3),
    },
)

# --- the channels worth keeping --------------------------------------------------------------------------------------


def _leading(importance: Tensor, count: int | None) -> Tensor:
    return importance.argsort(descending=True)[:count]


def _l1(weight: Tensor) -> Tensor:
    return weight.abs().sum((0, 2, 3))


def channels_to_keep(own_weight: Tensor, next_weight: Tensor, count: int) -> Tensor:
    return _leading(_l1(next_weight), count)


CHANNELS_TO_KEEP = Exercise(
    reference=channels_to_keep,
    kind=places,
    inputs=[
        (
            noise(channels, inputs, kernel, kernel, seed=10 + seed),
            noise(outputs, channels, kernel, kernel, seed=20 + seed),
            count,
        )
        for seed, (inputs, channels, outputs, kernel, count) in enumerate(
            [(3, 8, 12, 3, 4), (4, 16, 16, 3, 6), (1, 6, 9, 5, 3)]
        )
    ],
    mutants={
        "You rank channels by the weights that *make* them; "
        "wanted are the weights of the next layer that read them.": lambda o, n, c: _leading(o.abs().sum((1, 2, 3)), c),
        "You sum over the wrong side: dimension 0 of next_weight is what the next layer makes, dimension 1 "
        "what it takes in, and our channels are what it takes in.": lambda o, n, c: _leading(n.abs().sum((1, 2, 3)), c),
        "Without the absolute value, large positive and negative weights cancel; sum their sizes.": lambda o, n, c: (
            _leading(n.sum((0, 2, 3)), c)
        ),
        "You sum squares, the L2 norm; the importance "
        "of the paper is L1, the sum of absolute values.": lambda o, n, c: _leading(n.square().sum((0, 2, 3)), c),
        "You rank by the largest single weight; the importance is the sum over all of them.": lambda o, n, c: _leading(
            n.abs().amax((0, 2, 3)), c
        ),
        "Upside down: these are the *least* important "
        "channels. argsort counts upwards unless it gets descending=True.": lambda o, n, c: _leading(-_l1(n), c),
        "The right channels in the order of their places; wanted is the most important one first, "
        "because every narrower network keeps the leading ones.": lambda o, n, c: _leading(_l1(n), c).sort().values,
        "These are the leading channels as they lie; find out which are important first.": lambda o, n, c: list(
            range(c)
        ),
        "The order is right, but all channels are still there: keep the first `count`.": lambda o, n, c: _leading(
            _l1(n), None
        ),
        "You read the middle of the kernels only; every place of the kernel counts.": lambda o, n, c: _leading(
            n[:, :, n.shape[2] // 2, n.shape[3] // 2].abs().sum(0), c
        ),
        "One channel too many: `[:count]` keeps exactly count of them.": lambda o, n, c: _leading(_l1(n), c + 1),
    },
)

# --- an open challenge: a better importance --------------------------------------------------------------------------

CHANCE = 5  # random orders of the channels


def _importance(attempt: Attempt, features: Tensor, weight: Tensor) -> Tensor:
    channels = features.shape[1]
    value = tensor(call(attempt, (features, weight), f"For features of {channels} channels")).float()
    if value.shape != (channels,):
        raise Wrong(
            f"One importance for each of the {channels} channels is wanted; your function returns a tensor of shape "
            f"{list(value.shape)}."
        )
    if not value.isfinite().all():
        raise Wrong("Some importances are NaN or infinite; do not divide by what can be 0, such as a channel's spread.")
    if torch.equal(value.sort().values, torch.arange(float(channels))):
        raise Wrong("You return the channels in an order; wanted is one importance for each channel, in its place.")
    if value.unique().numel() == 1:
        raise Wrong("All importances are equal, and an order is wanted: which channels would be missed most?")
    return value


def _mean(importances: list[Tensor]) -> float:
    scores = challenges.pruned_psnr(importances, "test").values()
    return sum(scores) / len(scores)


@functools.cache
def _controls() -> tuple[float, float]:
    """The scores of L1, and of random orders on average."""
    weights = [weight for _, weight in challenges.inside_blocks()]
    drawn = [_mean([noise(len(w[0]), seed=10 * n + seed) for n, w in enumerate(weights)]) for seed in range(CHANCE)]
    return _mean([_l1(weight) for weight in weights]), sum(drawn) / CHANCE


def _beats_l1(attempt: Attempt) -> Praise:
    found = [_importance(attempt, *given) for given in challenges.inside_blocks()]
    if not torch.equal(found[0], _importance(attempt, *challenges.inside_blocks()[0])):
        raise Wrong("Two calls with the same features give different importances; fix the seed inside the function.")
    score, (l1, chance) = _mean(found), _controls()
    said = (
        f"PSNR to the whole teacher's pictures, on held-out sketches: {score:.2f} dB; by L1 {l1:.2f}, by chance "
        f"{chance:.2f}"
    )
    if score <= max(l1, chance):
        if _mean([-each for each in found]) > max(l1, chance):
            raise Wrong(f"{said}. Your order is upside down: the channels that matter get the largest numbers.")
        raise Wrong(
            f"{said}. Not better yet. L1 looks at the weights alone; a channel that hardly varies adds a constant, "
            "which the norm after the convolution takes away, however strongly it is read."
        )
    return Praise(f"{said}.", round(score, 2))


def channel_importance(features: Tensor, next_weight: Tensor) -> Tensor:
    return features.std((0, 2, 3)) * next_weight.square().sum((0, 2, 3)).sqrt()


CHANNEL_IMPORTANCE = Exercise(reference=channel_importance, also=_beats_l1)

EXERCISES = [SMALLER_KERNEL, BLOCKS_THAT_RUN, CHANNELS_TO_KEEP, CHANNEL_IMPORTANCE]
