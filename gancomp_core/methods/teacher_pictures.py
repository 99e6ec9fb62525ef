"""A teacher's pictures of every source of a task: computed once and cached, instead of again in every step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gancomp_core.data import PictureSet, Task, to_float, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.measure.features import in_threads
from gancomp_core.measure.running import measuring
from gancomp_core.tensor_cache import cached
from gancomp_core.train.config import default_device
from gancomp_core.train.identity import digest

BATCH = 64
MOST_BYTES = 1 << 29  # of pictures held in memory beside a training


def teacher_pictures(teacher: nn.Module, task: Task, split: str) -> Tensor:
    """A teacher's picture of each source of a split, cached by its weights and the pictures of the task.

    Args:
        teacher: A generator.
        task: The task.
        split: "train", "search" or "test".

    Returns:
        uint8 [N, C, size, size].

    Raises:
        GancompError: For a teacher whose pictures are not of the task's size and channels.
    """
    sources = getattr(task, split).sources

    device = torch.device(default_device())

    def paint(indices: Tensor) -> Tensor:
        return to_uint8(teacher(to_float(sources[indices].to(device)))).cpu()

    def make() -> Tensor:
        with measuring(device, teacher):
            parts = torch.arange(len(sources)).split(BATCH)
            several = in_threads(torch.inference_mode()(paint), parts) if device.type == "cpu" else map(paint, parts)
            return torch.cat(list(several))

    found = cached("pseudo_pairs", ("pictures", f"{taught_by(teacher, task)} {split}"), make)
    wanted = (len(sources), task.target_channels, task.size, task.size)
    if tuple(found.shape) != wanted:
        raise GancompError(
            f"The teacher makes pictures of shape {list(found.shape[1:])}, and '{task.name}' needs {list(wanted[1:])}; "
            "take a teacher that was trained for this task."
        )
    return found


def taught_by(teacher: nn.Module, task: Task) -> str:
    """The fingerprint of a task's sources together with this teacher's pictures of them."""
    return f"{task.fingerprint} taught by {teacher.architecture} {digest(teacher)}"


def with_teacher_pictures(teacher: nn.Module, task: Task, visited: int) -> PictureSet:
    """The training split of a paired task with the teacher's pictures of its sources.

    The split stays as it is where a training sees fewer pictures than the split has, or where the pictures would fill
    the memory: then the teacher computes them in every step.

    Args:
        teacher: A generator.
        task: A paired task.
        visited: Number of pictures that the training visits.

    Returns:
        The pictures.
    """
    train, side = task.train, task.size
    if visited < len(train) or len(train) * task.target_channels * side * side > MOST_BYTES:
        return train
    return PictureSet(train.sources, train.targets, train.labels, teacher_pictures(teacher, task, "train"))
