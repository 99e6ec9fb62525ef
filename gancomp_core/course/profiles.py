"""Three sizes of every experiment: a first look, a laptop, the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from gancomp_core.errors import GancompError

T = TypeVar("T")

_MEANING = {
    "fast": "a first look: seconds to a minute of training, numbers are not findings",
    "standard": "a learner's laptop: at most 10 minutes on 2 CPU cores",
    "full": "paper scale: hours, wants a GPU",
}


@dataclass(frozen=True, repr=False)
class Profile:
    """How large the experiments of a notebook are: ``fast``, ``standard`` or ``full``."""

    name: str

    @classmethod
    def named(cls, name: str) -> Profile:
        """The profile of that name; anything else raises :class:`GancompError`."""
        if name not in [*_MEANING]:  # of any kind: a cell may hold anything
            raise GancompError(
                f"There is no profile {name!r}; set PROFILE in the parameters cell to one of "
                f"{', '.join(repr(known) for known in _MEANING)}."
            )
        return cls(name)

    def pick(self, *, fast: T, standard: T, full: T) -> T:
        """The value that belongs to this profile, e.g. ``profile.pick(fast=60, standard=400, full=5_000)``."""
        return {"fast": fast, "standard": standard, "full": full}[self.name]

    def __repr__(self) -> str:
        return f"{self.name} profile ({_MEANING[self.name]})"
