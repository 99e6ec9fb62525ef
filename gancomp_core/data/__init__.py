"""Pictures to learn from: the shipped tasks, and any folder of one's own."""

from gancomp_core.data.folders import folder_task
from gancomp_core.data.pictures import Batch, Batches, Pictures, PictureSet, to_float, to_uint8
from gancomp_core.data.tasks import Task, load_task, task_names

__all__ = [
    "Batch",
    "Batches",
    "PictureSet",
    "Pictures",
    "Task",
    "folder_task",
    "load_task",
    "task_names",
    "to_float",
    "to_uint8",
]
