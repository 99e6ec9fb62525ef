"""Checks shared by the small value objects that describe a network."""

from __future__ import annotations

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
RESOLUTIONS = {1.0: 1, 0.75: 4, 0.5: 2}
"""The shares of height and width at which a network may work, and by what the picture's sizes have to be divisible."""


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


def working_multiple(multiple: int, share: float) -> int:
    """What a picture's sizes are multiples of when a network that needs ``multiple`` works at ``share`` of them."""
    return multiple * RESOLUTIONS[share]
