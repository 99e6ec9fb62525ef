"""What a task is: pictures to translate, in three splits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gancomp_core.data.pictures import PictureSet, to_float
from gancomp_core.errors import GancompError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Task:
    """Pictures to translate: from ``source`` to ``target``.

    ``train`` is for weights, ``search`` for choosing among networks, ``test`` for the numbers one reports; no picture
    is in two of them. ``size`` is height and width of the targets in pixels, ``scale`` how many times larger they are
    than the sources (1 but in super-resolution). ``paired``: in every split, source i belongs to target i.
    ``hidden_pairs``: the training sides are strangers to each other, but in ``search`` and ``test`` source i belongs to
    target i, for scoring alone. ``fingerprint`` is a SHA-256 over what determines the pictures: two tasks with the
    same one hold the same pictures. ``label_names[i]`` names class i of ``labels``. With a ``palette`` the sources are
    semantic maps: channel i is 255 where class i is and 0 elsewhere, class i is called ``class_names[i]`` and drawn in
    the colour ``palette[i]`` (red, green, blue in [0, 255]).
    """

    name: str
    paired: bool
    size: int
    source_channels: int
    target_channels: int
    train: PictureSet
    search: PictureSet
    test: PictureSet
    fingerprint: str
    label_names: tuple[str, ...] = ()
    hidden_pairs: bool = False
    scale: int = 1
    class_names: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()

    @property
    def scored_in_pairs(self) -> bool:
        """Whether source i of ``search`` and ``test`` belongs to target i."""
        return self.paired or self.hidden_pairs

    def calibration(self, count: int = 64) -> Tensor:
        """So many training sources, evenly spread, to measure ranges of activations on: float32 [count, C, H, W].

        Raises :class:`GancompError` for fewer than 1 and for more than there are.
        """
        sources = self.train.sources
        if not 1 <= count <= len(sources):
            raise GancompError(
                f"'{self.name}' has 1 to {len(sources):,} training sources to calibrate with, not {count}."
            )
        return to_float(sources[torch.arange(count) * len(sources) // count])

    def reversed(self) -> Task:
        """The same pictures the other way round: from target to source.

        Raises :class:`GancompError` for a task that has no way back: semantic maps and super-resolution.
        """
        if self.palette or self.scale != 1:
            raise GancompError(f"The task '{self.name}' goes one way only; reverse a task whose sides are pictures.")
        return replace(
            self,
            name=f"{self.name} reversed",
            source_channels=self.target_channels,
            target_channels=self.source_channels,
            train=self.train.reversed(),
            search=self.search.reversed(),
            test=self.test.reversed(),
            fingerprint=f"{self.fingerprint} reversed",
        )
