"""Pictures to learn from: the shipped tasks, and any folder of your own."""

from gancomp_core.data.catalogue import load_task, task_names
from gancomp_core.data.folders import folder_task
from gancomp_core.data.photos import Photo, more_photos, whole_photos
from gancomp_core.data.pictures import Batch, Batches, Pictures, PictureSet, to_float, to_uint8
from gancomp_core.data.public import public_names, public_photos
from gancomp_core.data.tasks import Task

__all__ = [
    "Batch",
    "Batches",
    "Photo",
    "PictureSet",
    "Pictures",
    "Task",
    "folder_task",
    "load_task",
    "more_photos",
    "public_names",
    "public_photos",
    "task_names",
    "to_float",
    "to_uint8",
    "whole_photos",
]
