"""Checks shared by the small value objects that describe a network."""

from __future__ import annotations

import math
from fractions import Fraction

from gancomp_core.errors import GancompError


def check_whole(what: str, value: object, least: int, most: int, published: str) -> None:
    """Check that a value is a whole number in a range.

    Args:
        what: The value's name in the error.
        value: The value.
        least: The smallest that is allowed.
        most: The largest that is allowed.
        published: What is usual, to end the sentence with.

    Raises:
        GancompError: For anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise GancompError(f"{what} is {value!r}; it must be a whole number from {least} to {most}, {published}.")


KERNELS = (3, 5, 7)
RESOLUTIONS = (1.0, 0.75, 0.5)
"""The shares of height and width at which a network may work."""
MOST_SCALE = 8


def checked_kernels(kernels: object) -> tuple[int, ...]:
    """The sizes of three kernels as a tuple; raises :class:`GancompError` for anything else."""
    sizes = tuple(kernels) if isinstance(kernels, list | tuple) else ()
    if len(sizes) != 3 or any(not isinstance(size, int) or size not in KERNELS for size in sizes):
        raise GancompError(
            f"The kernels are {kernels}; give three sizes of 3, 5 or 7, for the first, middle and last blocks."
        )
    return sizes


def check_resolution(share: float) -> None:
    """Raise :class:`GancompError` unless a network may work at this share of the picture's height and width."""
    if share not in RESOLUTIONS:
        raise GancompError(f"The resolution is {share}; it must be one of {', '.join(map(str, RESOLUTIONS))}.")


def as_fraction(ratio: float) -> Fraction:
    """A ratio of sizes as it is meant, such as 1/3."""
    return Fraction(ratio).limit_denominator(MOST_SCALE)


def check_scale(scale: float) -> None:
    """Raise :class:`GancompError` unless a network can make pictures this many times larger."""
    exact = as_fraction(scale)
    if scale != float(exact) or not 0 < exact <= MOST_SCALE or 1 not in (exact.numerator, exact.denominator):
        raise GancompError(
            f"The scale is {scale}; it must be a whole number from 1 to {MOST_SCALE}, or 1 divided by one."
        )


def working_multiple(multiple: int, ratio: Fraction) -> int:
    """What a picture's sizes are multiples of when a network that needs ``multiple`` works at ``ratio`` of them."""
    return multiple * ratio.denominator // math.gcd(multiple * ratio.denominator, ratio.numerator)
