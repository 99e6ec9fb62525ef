"""Pictures by index, and batches that depend on nothing but the seed and the step.

Pictures rest as uint8 (0 to 255) and leave as float32 NCHW in [-1, 1].
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.data.ahead import Ahead
from gancomp_core.data.picture_files import LazyPictures
from gancomp_core.errors import GancompError


class Pictures(Protocol):
    """Pictures of one side of a task; a uint8 tensor N x C x H x W is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor | slice, /) -> Tensor:
        """Return the pictures at ``indices`` (1-d int64 tensor or slice) as uint8 NCHW in [0, 255]."""
        ...


@dataclass(frozen=True)
class Batch:
    """Sources and targets, float32 NCHW in [-1, 1]; when paired, ``source[i]`` belongs to ``target[i]``.

    ``teacher[i]``, where there is one, is what a teacher makes of ``source[i]``.
    """

    source: Tensor
    target: Tensor
    teacher: Tensor | None = None

    def __len__(self) -> int:
        return len(self.source)

    def to(self, device: torch.device | str) -> Batch:
        """The same pictures on another device."""
        return self.map(lambda pictures: pictures.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Every picture tensor of the batch, by a function."""
        teacher = None if self.teacher is None else function(self.teacher)
        return Batch(function(self.source), function(self.target), teacher)


class PictureSet:
    """One split of a task.

    ``sources`` and ``targets`` hold uint8 pictures by index. In a paired task source i belongs to target i; in an
    unpaired one their numbers may differ, and ``len`` is the smaller one. ``labels`` (int64, N) holds the class of
    each picture where the task knows it, else None; ``teacher`` what a teacher makes of each source, else None.
    """

    def __init__(
        self, sources: Pictures, targets: Pictures, labels: Tensor | None = None, teacher: Pictures | None = None
    ) -> None:
        self.sources, self.targets, self.labels, self.teacher = sources, targets, labels, teacher

    def __len__(self) -> int:
        return min(len(self.sources), len(self.targets))

    def __repr__(self) -> str:
        return f"PictureSet({len(self.sources)} sources, {len(self.targets)} targets)"

    @property
    def sides(self) -> list[Pictures]:
        """Sources, targets, and the teacher's pictures where there are some."""
        return [self.sources, self.targets, *([] if self.teacher is None else [self.teacher])]

    def reversed(self) -> PictureSet:
        """The same pictures with source and target exchanged."""
        return PictureSet(self.targets, self.sources, self.labels)

    def batch(self, indices: Tensor | slice) -> Batch:
        """Source and target pictures at the same ``indices`` (1-d int64 tensor or slice)."""
        if isinstance(indices, slice):
            indices = torch.arange(len(self))[indices]  # a set of unequal sides still gives equally many
        teacher = None if self.teacher is None else self.teacher[indices]
        return Batch(self.sources[indices], self.targets[indices], teacher).map(to_float)


class Batches:
    """Training batches as a pure function of (seed, step): any step can be asked for, in any order, at any time.

    Pictures are visited in a new random order each epoch, every one once per epoch; a batch that reaches the end of
    an epoch is filled from the next one, so all are full. With ``flip`` each picture is mirrored left-right with
    probability 1/2: both sides of a pair alike. ``crop`` cuts a random square of that many target pixels out of every
    picture, at the same place of both sides; sources that are ``scale`` times smaller give a square of ``crop / scale``
    pixels. With ``warp`` every second picture, on average, is turned by up to 15 degrees, scaled by 1/1.2 to 1.2 and
    moved by up to a sixteenth of its size, its border repeated: against learning a small set by heart. Unpaired sides
    have orders, flips, places and warps of their own.

    Pictures that are decoded when asked for are decoded ahead, by background threads, once steps are asked for one
    after the other. All the rest happens on the ``device``.
    """

    def __init__(
        self,
        pictures: PictureSet,
        batch_size: int,
        seed: int,
        paired: bool,
        flip: bool = True,
        crop: int | None = None,
        scale: int = 1,
        warp: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise GancompError(f"The batch size is {batch_size}; it must be 1 or more.")
        if len(pictures) == 0:
            raise GancompError("The picture set is empty, so there is nothing to make batches of.")
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed
        if crop is not None and (crop < 1 or crop % scale):
            raise GancompError(f"The crop is {crop} pixels; it must be a multiple of the scale {scale}, 1 or more.")
        self.paired, self.flip, self.crop, self.scale, self.warp = paired, flip, crop, scale, warp
        self.device = torch.device(device)
        self._source_order = _Order(len(pictures.sources), (seed, "order"))
        # one order for both sides is what keeps pairs together
        self._target_order = self._source_order if paired else _Order(len(pictures.targets), (seed, "target order"))
        late = any(isinstance(getattr(side, "pictures", side), LazyPictures) for side in pictures.sides)
        self._ahead = Ahead(self._taken) if late else None

    def at(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of ``step`` (0, 1, 2, ...), float32 NCHW in [-1, 1], on the ``device``.

        With ``world`` processes, ``rank`` (0 to world - 1) gets its share: the shares of all ranks, one after the
        other, are the batch that one process would get. ``batch_size`` is that of the whole.
        """
        share = self._share(step, rank, world)
        taken = self._ahead(step, rank, world) if self._ahead else self._taken(step, rank, world)
        source = self._finished(taken[0], step, share, "", 1)
        strange, shrink = ("", self.scale) if self.paired else ("target ", 1)
        target = self._finished(taken[1], step, share, strange, shrink)
        if self.pictures.teacher is None:
            return Batch(source, target)
        if len(taken) == 2:
            return Batch(source, target, target)
        return Batch(source, target, self._finished(taken[2], step, share, "", self.scale))

    def identity(self) -> str:
        """What determines the batches besides the pictures themselves."""
        names = ("pictures", "batch_size", "seed", "paired", "flip", "crop", "scale", "warp")
        return ", ".join(f"{name} {getattr(self, name)}" for name in names)

    def _taken(self, step: int, rank: int, world: int) -> list[Tensor]:
        """The pictures of a batch as they rest, uint8: sources, targets, and those of the teacher where they differ."""
        share, pictures = self._share(step, rank, world), self.pictures
        sources, targets = (
            order.between(step * self.batch_size, self.batch_size)[share]
            for order in (self._source_order, self._target_order)
        )
        found = [_take(pictures.sources, sources), _take(pictures.targets, targets)]
        if pictures.teacher is not None and not (pictures.teacher is pictures.targets and self.paired):
            found.append(_take(pictures.teacher, sources))
        return found

    def _finished(self, found: Tensor, step: int, share: slice, whose: str, shrink: int) -> Tensor:
        """One side of a batch: moved to the device, mirrored, cut, warped, by the draws of ``whose`` purpose.

        Pictures travel as uint8, a quarter of the bytes. Squares are placed on a grid of ``shrink`` pixels, those of
        the source where it is that much smaller.
        """
        if self.device.type == "cuda":
            found = found.pin_memory().to(self.device, non_blocking=True)
        if self.flip:
            found = _mirror(found, self._coins(f"{whose}flip", step)[share].to(self.device))
        if self.crop:
            size = self.crop if whose or shrink > 1 else self.crop // self.scale
            found = _cut(found, self._corners(f"{whose}crop", step, found, size, shrink)[share], size)
        found = to_float(found)
        return _warped(found, self._maps(f"{whose}warp", step)[share].to(self.device)) if self.warp else found

    def _share(self, step: int, rank: int, world: int) -> slice:
        if step < 0:
            raise GancompError(f"Step {step} does not exist; steps start at 0.")
        if not 0 <= rank < world:
            raise GancompError(f"Rank {rank} does not exist among {world} processes; it must be 0 to {world - 1}.")
        if self.batch_size % world:
            raise GancompError(
                f"A batch of {self.batch_size} pictures cannot be shared equally by {world} processes; "
                f"choose a batch size that is a multiple of {world}."
            )
        size = self.batch_size // world
        return slice(rank * size, (rank + 1) * size)

    def _coins(self, purpose: str, step: int) -> Tensor:
        return torch.randint(2, (self.batch_size,), generator=_generator(self.seed, purpose, step)).bool()

    def _corners(self, purpose: str, step: int, pictures: Tensor, size: int, grid: int) -> Tensor:
        """Row and column of the upper left corner of a random square in each picture of the whole batch: [N, 2]."""
        room = torch.tensor([(side - size) // grid for side in pictures.shape[-2:]])
        if room.min() < 0:
            raise GancompError(
                f"A square of {size} pixels cannot be cut from pictures of {list(pictures.shape[-2:])}; "
                "choose a smaller crop."
            )
        draws = torch.rand(self.batch_size, 2, generator=_generator(self.seed, purpose, step))
        return (draws * (room + 1)).long() * grid

    def _maps(self, purpose: str, step: int) -> Tensor:
        """One affine map [2, 3] a picture, in coordinates from -1 to 1; every second one changes nothing."""
        turn, scale, right, down = (
            torch.rand(self.batch_size, 4, generator=_generator(self.seed, purpose, step)).T * 2 - 1
        )
        angle, stretch = turn * math.radians(15), 1.2**scale
        cos, sin = stretch * angle.cos(), stretch * angle.sin()
        rows = torch.stack([cos, -sin, right / 8, sin, cos, down / 8], dim=1).view(-1, 2, 3)
        still = self._coins(f"{purpose} or not", step)
        return torch.where(still[:, None, None], torch.eye(2, 3), rows)


class _Order:
    """An endless order of ``count`` indices: one fresh permutation after the other."""

    def __init__(self, count: int, key: tuple[int | str, ...]) -> None:
        self.count, self.key = count, key
        self._cache: dict[int, Tensor] = {}

    def between(self, first: int, count: int) -> Tensor:
        """Places ``first`` to ``first + count - 1`` of the order."""
        parts = []
        while count:
            epoch, offset = divmod(first, self.count)
            part = self._permutation(epoch)[offset : offset + count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._cache:
            fresh = torch.randperm(self.count, generator=_generator(*self.key, epoch))
            # a new dictionary instead of a changed one, so that loader threads may share this object
            self._cache = {**{near: old for near, old in self._cache.items() if abs(near - epoch) == 1}, epoch: fresh}
            return fresh
        return self._cache[epoch]


def _take(pictures: Pictures, indices: Tensor) -> Tensor:
    if isinstance(pictures, Tensor):  # the same as indexing, without its fixed cost for starting threads
        return pictures.index_select(0, indices)
    return pictures[indices]


def to_float(pictures: Tensor) -> Tensor:
    """Float32 in [-1, 1] of uint8 pictures in [0, 255]."""
    return pictures.float().div_(127.5).sub_(1)


def to_uint8(pictures: Tensor) -> Tensor:
    """uint8 in [0, 255] of float pictures in [-1, 1]: rounded, and clipped where they leave that range."""
    return pictures.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _mirror(pictures: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored[:, None, None, None], pictures.flip(-1), pictures)


def _cut(pictures: Tensor, corners: Tensor, size: int) -> Tensor:
    squares = [p[:, y : y + size, x : x + size] for p, (y, x) in zip(pictures, corners.tolist(), strict=True)]
    return torch.stack(squares)


def _warped(pictures: Tensor, maps: Tensor) -> Tensor:
    grid = F.affine_grid(maps, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _generator(*key: int | str) -> torch.Generator:
    # hashed, because generators with neighboring seeds start out alike
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(seed)
