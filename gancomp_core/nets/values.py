"""Checks and JSON shared by the small value objects that describe a network."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from gancomp_core.errors import GancompError

T = TypeVar("T")


def check_whole(what: str, value: object, least: int, most: int, published: str) -> None:
    """Raise :class:`GancompError` unless ``value`` is a whole number from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise GancompError(f"{what} is {value!r}; it must be a whole number from {least} to {most}, {published}.")


KERNELS = (3, 5, 7)
RESOLUTIONS = {1.0: 1, 0.75: 4, 0.5: 2}
"""The shares of height and width at which a network may work, and by what the picture's sizes have to be divisible."""


def checked_kernels(kernels: Any) -> tuple[int, ...]:
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


def from_values(cls: type[T], family: str, values: dict[str, Any]) -> T:
    """``cls`` from the plain values that its ``as_dict`` gave.

    Values that are missing keep their defaults. Raises :class:`GancompError` for another family, a value that the
    class does not have, and one without a default that is missing.
    """
    if values.get("family", family) != family:
        raise GancompError(f"A {cls.__name__} has family '{family}', not '{values['family']}'.")
    given = {key: value for key, value in values.items() if key != "family"}
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    if unknown := sorted(set(given) - set(known)):
        raise GancompError(f"A {cls.__name__} has no value '{unknown[0]}'; it has {', '.join(known)}.")
    try:
        return cls(**given)
    except TypeError as error:
        raise GancompError(f"A {cls.__name__} is not described completely: {error}.") from error
