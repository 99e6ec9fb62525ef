"""Tasks: pictures to translate, in three splits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gancomp_core.data.pictures import PictureSet, to_float
from gancomp_core.data.shipped import fingerprint
from gancomp_core.errors import GancompError

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Task:
    """Pictures to translate from source to target.

    No picture is in two splits, unless files of a reader's folder hold it twice, of which a warning tells.

    Attributes:
        name: Name of the task.
        paired: Whether in every split source i belongs to target i.
        size: Height and width of the targets, in pixels.
        source_channels: Channels of the sources.
        target_channels: Channels of the targets.
        train: Pictures for training weights.
        search: Pictures for choosing among networks.
        test: Pictures for the numbers that are reported.
        fingerprint: SHA-256 of what determines the pictures: two tasks with the same one hold the same pictures.
        label_names: ``label_names[i]`` names class i of a split's ``labels``.
        hidden_pairs: Whether, although the training sides are unrelated, source i of ``search`` and ``test`` belongs to
            target i, for scoring alone.
        scale: How many times larger than the sources the targets are (1 except in super-resolution).
        class_names: Names of the classes of semantic maps.
        palette: The color (red, green, blue in [0, 255]) of each class. With a palette the sources are semantic maps:
            channel i is 255 where class i is and 0 elsewhere.
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
    palette: tuple[Color, ...] = ()

    @property
    def scored_in_pairs(self) -> bool:
        """Whether source i of ``search`` and ``test`` belongs to target i."""
        return self.paired or self.hidden_pairs

    def calibration(self, count: int = 64) -> Tensor:
        """Training sources, evenly spread, for measuring the ranges of activations.

        Args:
            count: Number of pictures, from 1 to all.

        Returns:
            float32 [count, C, H, W] in [-1, 1].

        Raises:
            GancompError: For another count.
        """
        sources = self.train.sources
        if not 1 <= count <= len(sources):
            raise GancompError(
                f"'{self.name}' has 1 to {len(sources):,} training sources to calibrate with, not {count}."
            )
        return to_float(sources[torch.arange(count) * len(sources) // count])

    def unpaired(self, sources: Tensor, targets: Tensor) -> Task:
        """The same pictures without their pairs, but for scoring: training sees only a part of each side.

        Args:
            sources: Which training sources to keep: indices, or a mask.
            targets: Which training targets to keep; those of other pairs.
        """
        name = f"{self.name}_unpaired"
        train = PictureSet(self.train.sources[sources], self.train.targets[targets])
        mark = fingerprint(name, self.fingerprint, sources.tolist())
        return replace(self, name=name, paired=False, hidden_pairs=True, train=train, fingerprint=mark)

    def reversed(self) -> Task:
        """The same pictures in the other direction, from target to source.

        Raises:
            GancompError: For a task without a way back: semantic maps and super-resolution.
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
