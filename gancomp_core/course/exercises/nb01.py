"""Checks of notebook 01: smaller kernels, fewer blocks, and the channels worth keeping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.course.checks import Attempt, Wrong, call, compare_tensors, exercise

#: A plausible mistake as a function of the same arguments, and the words that point to it.
Mistake = tuple[Callable[..., Any], str]


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- a smaller kernel ------------------------------------------------------------------------------------------------


def _centre(kernel: Tensor, size: int) -> Tensor:
    margin = (kernel.shape[-1] - size) // 2
    return kernel[..., margin : margin + size, margin : margin + size]


def _smaller(kernel: Tensor, size: int, matrix: Tensor) -> Tensor:
    return (_centre(kernel, size).flatten(2) @ matrix).unflatten(2, (size, size))


_CROPS: list[Mistake] = [
    (
        lambda k, s, m: k[..., :s, :s],
        "That is the top left corner; wanted is the centre: leave (K - size) // 2 out on every side.",
    ),
    (
        lambda k, s, m: k[..., k.shape[-1] - s :, k.shape[-1] - s :],
        "That is the bottom right corner: K - size is the margin of both sides together, each side gets half of it.",
    ),
    (
        lambda k, s, m: F.interpolate(k, (s, s), mode="bilinear"),
        "You shrink the kernel like a picture; it is cropped: the numbers in its centre stay as they are.",
    ),
    (
        lambda k, s, m: F.adaptive_avg_pool2d(k, s),
        "You average neighbours; the kernel is cropped: the numbers in its centre stay as they are.",
    ),
    (
        lambda k, s, m: _centre(k, s).transpose(-1, -2),
        "Your kernel lies on its side: rows and columns are exchanged.",
    ),
    (
        lambda k, s, m: _centre(k, s).flip(-1, -2),
        "Your kernel stands on its head: both directions are turned round.",
    ),
]
_MATRICES: list[Mistake] = [
    (
        lambda k, s, m: _centre(k, s),
        "The crop is right, but the matrix does nothing yet: flatten the centre to size * size numbers and multiply "
        "them with it.",
    ),
    (
        lambda k, s, m: (_centre(k, s).flatten(2) @ m.T).unflatten(2, (s, s)),
        "The crop is right, but the matrix works on the wrong side: the flattened centre is a row, row @ matrix.",
    ),
    (
        lambda k, s, m: _centre(k, s) + (_centre(k, s).flatten(2) @ m).unflatten(2, (s, s)),
        "You add the product to the centre; the identity matrix should leave the centre as it is, so only the product "
        "is wanted.",
    ),
    (
        lambda k, s, m: (_centre(k, s).transpose(-1, -2).flatten(2) @ m).unflatten(2, (s, s)),
        "You flatten column by column; flatten(2) goes row by row, and the matrix was learned for that order.",
    ),
    (
        lambda k, s, m: _centre(k, s) * m.diagonal().reshape(s, s),
        "You use the diagonal of the matrix alone, so that places cannot mix; multiply with the whole matrix.",
    ),
]


@exercise("smaller_kernel")
def smaller_kernel(attempt: Attempt) -> None:
    def cases(how: str, shapes: list[tuple[tuple[int, ...], int]], matrix: Callable[[int], Tensor]) -> dict[str, Any]:
        return {
            f"a kernel of shape {list(shape)} and size={size}, {how},": (
                _random(*shape, seed=seed),
                size,
                matrix(size**2),
            )
            for seed, (shape, size) in enumerate(shapes, start=1)
        }

    still = cases("with the identity as matrix", [((4, 3, 7, 7), 5), ((2, 5, 7, 7), 3)], torch.eye)
    moved = cases(
        "with a random matrix", [((4, 3, 7, 7), 5), ((2, 5, 5, 5), 3)], lambda side: _random(side, side, seed=5)
    )
    compare_tensors(attempt, _smaller, still, _CROPS)
    compare_tensors(attempt, _smaller, moved, _MATRICES)
    _learnable(attempt)


def _learnable(attempt: Attempt) -> None:
    """Gradients reach the kernel as well as the matrix."""
    given = {"kernel": _random(2, 2, 5, 5, seed=6).requires_grad_(), "matrix": torch.eye(9).requires_grad_()}
    try:
        made = attempt(given["kernel"], 3, given["matrix"]).sum()
    except Exception as error:
        raise Wrong(
            f"The numbers are right, but when the kernel is to be learned your function stops with "
            f"{type(error).__name__}: {error}"
        ) from error
    for name, tensor in given.items():
        reached = made.requires_grad and torch.autograd.grad(made, tensor, retain_graph=True, allow_unused=True)[0]
        if not isinstance(reached, Tensor):
            raise Wrong(
                f"The numbers are right, but no gradient reaches the {name}, so it could never be learned; leave "
                "`.detach()`, `.data`, `.numpy()` and `torch.no_grad()` out."
            )


# --- the blocks of a shallower network -------------------------------------------------------------------------------


def _blocks(depth: int, full: int) -> list[int]:
    """The leading blocks of each third, as many as the small network has there."""
    found = []
    for third in range(3):
        first = next((block for block in range(full) if 3 * block // full == third), 0)
        found += [first + rank for rank in range(sum(3 * block // depth == third for block in range(depth)))]
    return found


def _blocks_at_the_end(depth: int, full: int) -> list[int]:
    found = []
    for third in range(3):
        mine = [block for block in range(full) if 3 * block // full == third]
        count = sum(3 * block // depth == third for block in range(depth))
        found += mine[len(mine) - count :]
    return found


def _rest_goes_last(depth: int, full: int) -> list[int]:
    sizes = [depth // 3, depth // 3, depth - 2 * (depth // 3)]
    return [third * (full // 3) + rank for third, size in enumerate(sizes) for rank in range(size)]


_DEPTHS: list[Mistake] = [
    (
        lambda d, f: list(range(d)),
        "These are the first blocks of the whole network, so the last third loses all of its own; keep the first "
        "blocks of *each* third.",
    ),
    (
        lambda d, f: list(range(f - d, f)),
        "These are the last blocks of the whole network; keep the first blocks of each third.",
    ),
    (_blocks_at_the_end, "You keep the *last* blocks of each third; the first ones stay."),
    (
        lambda d, f: [block * f // d for block in range(d)],
        "You spread the blocks evenly over the whole network; a block keeps its rank inside its third, so the "
        "ones kept are the leading ones there.",
    ),
    (
        lambda d, f: [block + 1 for block in _blocks(d, f)],
        "Every number is one too large: blocks are counted from 0 here.",
    ),
    (
        lambda d, f: [third * f // 3 + rank for third in range(3) for rank in range(d // 3)],
        "When depth is no multiple of 3, some blocks are missing: block b of the small network belongs to third "
        "3 * b // depth, and the leading thirds get one more.",
    ),
    (
        _rest_goes_last,
        "When depth is no multiple of 3 you give what is left over to the last third; 3 * b // depth gives it to the "
        "leading ones.",
    ),
]


@exercise("blocks_that_run")
def blocks_that_run(attempt: Attempt) -> None:
    cases = [(3, 6), (6, 6), (3, 9), (6, 9), (4, 6), (5, 6), (7, 9), (8, 9)]
    got = [_whole_numbers(call(attempt, *case), f"For depth={case[0]} and full={case[1]}") for case in cases]
    want = [_blocks(*case) for case in cases]
    _explain(got, want, cases, _DEPTHS, ("depth", "full"))


# --- the channels worth keeping --------------------------------------------------------------------------------------


def _keep(own: Tensor, following: Tensor, count: int) -> list[int]:
    return _order(following.abs().sum((0, 2, 3)))[:count]


def _order(importance: Tensor) -> list[int]:
    order: list[int] = importance.argsort(descending=True).tolist()
    return order


_CHANNELS: list[Mistake] = [
    (
        lambda o, n, c: _order(o.abs().sum((1, 2, 3)))[:c],
        "You rank channels by the weights that *make* them; wanted are the weights of the next layer that listen to "
        "them.",
    ),
    (
        lambda o, n, c: _order(n.abs().sum((1, 2, 3)))[:c],
        "You sum over the wrong side: dimension 0 of next_weight is what the next layer makes, dimension 1 what it "
        "takes in, and our channels are what it takes in.",
    ),
    (
        lambda o, n, c: _order(n.sum((0, 2, 3)))[:c],
        "Without the absolute value, large positive and negative weights cancel; sum their sizes.",
    ),
    (
        lambda o, n, c: _order(n.square().sum((0, 2, 3)))[:c],
        "You sum squares, the L2 norm; the importance of the paper is L1, the sum of absolute values.",
    ),
    (
        lambda o, n, c: _order(n.abs().amax((0, 2, 3)))[:c],
        "You rank by the largest single weight; the importance is the sum over all of them.",
    ),
    (
        lambda o, n, c: _order(-n.abs().sum((0, 2, 3)))[:c],
        "Upside down: these are the *least* important channels. argsort counts upwards unless told descending=True.",
    ),
    (
        lambda o, n, c: sorted(_keep(o, n, c)),
        "The right channels in the order of their places; wanted is the most important one first, because every "
        "narrower network keeps the leading ones.",
    ),
    (
        lambda o, n, c: list(range(c)),
        "These are the leading channels as they lie; find out which are important first.",
    ),
    (
        lambda o, n, c: _order(n.abs().sum((0, 2, 3))),
        "The order is right, but all channels are still there: keep the first `count`.",
    ),
    (
        lambda o, n, c: _order(n[:, :, n.shape[2] // 2, n.shape[3] // 2].abs().sum(0))[:c],
        "You look at the middle of the kernels only; every place of the kernel counts.",
    ),
    (
        lambda o, n, c: _order(n.abs().sum((0, 2, 3)))[: c + 1],
        "One channel too many: `[:count]` keeps exactly count of them.",
    ),
]


@exercise("channels_to_keep")
def channels_to_keep(attempt: Attempt) -> None:
    cases = []
    for seed, (inputs, channels, outputs, kernel, count) in enumerate(
        [(3, 8, 12, 3, 4), (4, 16, 16, 3, 6), (1, 6, 9, 5, 3)]
    ):
        own = _random(channels, inputs, kernel, kernel, seed=10 + seed)
        cases.append((own, _random(outputs, channels, kernel, kernel, seed=20 + seed), count))
    names = [f"For {own.shape[0]} channels and count={count}" for own, _, count in cases]
    got = [_whole_numbers(call(attempt, *case), name) for case, name in zip(cases, names, strict=True)]
    _explain(got, [_keep(*case) for case in cases], cases, _CHANNELS, (), names)


def _whole_numbers(value: Any, case: str) -> list[int]:
    """A list of whole numbers, given as list, tuple, range, array or tensor."""
    if isinstance(value, Tensor) and value.dtype == torch.bool or _flags(value):
        raise Wrong(f"{case} your function returns True and False for each; wanted are the numbers of those that stay.")
    plain = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(plain, Sequence | set) or isinstance(plain, str):
        raise Wrong(f"{case} a list of numbers is wanted, and your function returns a {type(value).__name__}.")
    if not all(isinstance(entry, int) for entry in plain):
        raise Wrong(
            f"{case} whole numbers are wanted, places and not importances; your function returns {plain!r:.60}."
        )
    return list(plain)


def _flags(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(entry, bool) for entry in value)


def _explain(
    got: list[list[int]],
    want: list[list[int]],
    cases: Sequence[tuple[Any, ...]],
    mistakes: list[Mistake],
    names: tuple[str, ...],
    told: Sequence[str] = (),
) -> None:
    if got == want:
        return
    for mistake, hint in mistakes:
        if got == [mistake(*case) for case in cases]:
            raise Wrong(hint)
    bad = next(i for i in range(len(want)) if got[i] != want[i])
    case = told[bad] if told else "For " + ", ".join(f"{n}={v}" for n, v in zip(names, cases[bad], strict=True))
    raise Wrong(f"{case} your function returns {got[bad]}, and {want[bad]} is right.")
