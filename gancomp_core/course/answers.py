"""Learners' answers: reading them into values that can be compared, and putting a difference into words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

#: What answers are compared as: numbers, words, flags, tensors, None, and tuples of them.
Value: TypeAlias = "float | str | Tensor | tuple[Value, ...] | None"
#: Reads what a function returned (and its arguments) into a value, or raises :class:`Wrong`.
Kind = Callable[..., Value]


class Wrong(Exception):  # noqa: N818 -- a verdict, not a failure of the program
    """What is wrong with a learner's answer, in one or two sentences that help."""


class NotDoneYet(Exception):  # noqa: N818
    """The stub has not been filled in."""


# --- kinds of answers; each message completes "For c_in=3, ..." ------------------------------------------------------


def number(value: object, *arguments: object) -> float:
    """One real number, given as Python's, NumPy's or a tensor of one."""
    if shape := tuple(getattr(value, "shape", ())):
        raise Wrong(f"one number is wanted, and your function returns an array of shape {shape}.")
    if not isinstance(value, int | float | np.number | np.ndarray | Tensor) or isinstance(value, bool):
        raise Wrong(f"one number is wanted, and your function returns {value!r:.60}, {_kind_of(value)}.")
    return float(value)


def tensor(value: object, *arguments: object) -> Tensor:
    """A tensor, or a number as a tensor without axes."""
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor):
        raise Wrong(f"a tensor is wanted, and your function returns {_kind_of(value)}.")
    return value.detach()


def truth(value: object, *arguments: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise Wrong(f"True or False is wanted, and your function returns {value!r:.60}.")
    return bool(value)


def places(value: object, *arguments: object) -> tuple[int, ...]:
    """A list of whole numbers, given as list, tuple, set, range, array or tensor."""
    plain = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    if not isinstance(plain, Sequence | set) or isinstance(plain, str):
        raise Wrong(f"a list of numbers is wanted, and your function returns {_kind_of(value)}.")
    if plain and all(isinstance(entry, bool | np.bool_) for entry in plain):
        raise Wrong("your function returns True and False for each; wanted are the numbers of those that stay.")
    if any(isinstance(entry, bool) or not isinstance(entry, int | np.integer) for entry in plain):
        raise Wrong(f"whole numbers are wanted, places and not values; your function returns {plain!r:.60}.")
    return tuple(int(entry) for entry in plain)


def tensors(value: object, *arguments: object) -> tuple[Value, ...]:
    """A list of tensors of any length."""
    if not isinstance(value, list | tuple) or not all(isinstance(entry, Tensor) for entry in value):
        raise Wrong(f"a list of tensors is wanted, and your function returns {_kind_of(value)}.")
    return tuple(entry.detach() for entry in value)


@dataclass(frozen=True)
class Parts:
    """Several things at once, such as ``(low, high)``.

    Args:
        names: Of the parts, in the order in which they are returned.
        kinds: One kind for each part, or one for all.
        first: Names in the order in which they are compared: later parts follow from earlier ones.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...] = (tensor,)
    first: tuple[str, ...] = ()

    def __call__(self, value: object, *arguments: object) -> tuple[Value, ...]:
        wanted = f"{len(self.names)} results are wanted ({', '.join(self.names)})"
        if isinstance(value, Tensor):
            raise Wrong(f"{wanted}; your function returns a single tensor. Return them separated by commas.")
        if not isinstance(value, tuple | list | np.ndarray) or len(value) != len(self.names):
            raise Wrong(f"{wanted}; your function returns {_kind_of(value)}.")
        kinds = self.kinds * (len(self.names) if len(self.kinds) == 1 else 1)
        found: dict[str, Value] = {}
        for name, kind, part in zip(self.names, kinds, value, strict=True):
            try:
                found[name] = kind(part)
            except Wrong as fault:
                raise Wrong(f"{wanted}; of your {name}: {fault}") from fault
        return tuple(found[name] for name in self.order)

    @property
    def order(self) -> tuple[str, ...]:
        return self.first or self.names


def _kind_of(value: object) -> str:
    name = type(value).__name__
    count = f" of {len(value)}" if isinstance(value, tuple | list | np.ndarray) else ""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}{count}"


# --- comparing -------------------------------------------------------------------------------------------------------


def same(ours: Value, theirs: Value, tolerance: float) -> bool:
    """Whether two values agree within a relative tolerance, tensors (of float32) within 100 times as much."""
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        pairs = zip(ours, theirs, strict=False)
        return len(ours) == len(theirs) and all(same(*pair, tolerance) for pair in pairs)
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.shape == theirs.shape and torch.allclose(
            ours.double(), theirs.double(), 100 * tolerance, 10 * tolerance, equal_nan=True
        )
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance / 1000) or (
            math.isnan(ours) and math.isnan(theirs)
        )
    return type(ours) is type(theirs) and ours == theirs


def parts(value: Value) -> tuple[Value, ...]:
    """The parts of a value; a single value is its own part."""
    return value if isinstance(value, tuple) else (value,)


def shapes(values: Sequence[Value]) -> list[list[tuple[int, ...]]]:
    """Of every tensor in every value."""
    return [[tuple(part.shape) for part in parts(value) if isinstance(part, Tensor)] for value in values]


def difference(got: Value, want: Value, names: Sequence[str] = (), tolerance: float = 1e-6) -> str:
    """What is wrong with one answer, to complete "For c_in=3, ..."."""
    if isinstance(got, Tensor) and isinstance(want, Tensor):
        return "your function returns " + _tensor_difference(got, want, tolerance)
    if isinstance(got, float) and isinstance(want, float):
        return "your function returns " + _number_difference(got, want)
    if isinstance(got, tuple) and isinstance(want, tuple) and (names or any(isinstance(x, Tensor) for x in want)):
        if len(got) != len(want):
            return f"your function returns {len(got)} tensors, and {len(want)} are wanted."
        place = next(i for i in range(len(want)) if not same(got[i], want[i], tolerance))
        name = names[place] if names else f"entry {place}"
        verb = "has" if isinstance(want[place], Tensor) else "is"
        return difference(got[place], want[place], (), tolerance).replace("function returns", f"{name} {verb}", 1)
    said = [shown(list(value) if isinstance(value, tuple) else value) for value in (got, want)]
    return f"your function returns {said[0]}, and {said[1]} is right."


def _number_difference(got: float, want: float) -> str:
    said = f"{got:,.6g}, and {want:,.6g} is right"
    if not math.isfinite(got):
        return f"{said}; is there a division by zero, or a logarithm or root of zero or less?"
    if got == -want:
        return f"{said}: only the sign differs."
    if got * want > 0:
        factor = max(got / want, want / got)
        if factor > 1.0005:
            return f"{said}: too {'large' if abs(got) > abs(want) else 'small'} by a factor of {factor:,.4g}."
    return f"{said}: {abs(got - want):,.4g} too {'large' if got > want else 'small'}."


def _tensor_difference(got: Tensor, want: Tensor, tolerance: float) -> str:
    if got.shape != want.shape:
        return f"the shape {list(got.shape)}, and {list(want.shape)} is right."
    if not got.isfinite().all():
        return "NaN or infinite numbers; is there a division by zero, or a logarithm of zero?"
    if want.numel() == 1:
        return _number_difference(float(got), float(want))
    ours, theirs = got.double(), want.double()
    factor = float((ours * theirs).sum() / theirs.square().sum())
    if same(ours, factor * theirs, tolerance) and abs(factor) > tolerance:
        if abs(factor + 1) < tolerance:
            return "the right numbers with the wrong sign."
        size = max(abs(factor), 1 / abs(factor))
        sign = " and of the wrong sign" if factor < 0 else ""
        return f"numbers that are too {'large' if abs(factor) > 1 else 'small'} by a factor of {size:,.4g}{sign}."
    if ours.ndim > 1 and ours.shape[-1] == ours.shape[-2] and same(ours.mT, theirs, tolerance):
        return "the right numbers with rows and columns exchanged."
    if same(ours.flatten().sort().values, theirs.flatten().sort().values, tolerance):
        return "the right numbers in another order."
    return f"the right shape, and numbers up to {(ours - theirs).abs().max():.3g} off."


def shown(value: object) -> str:
    """A value in a message, shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:90]}…"
