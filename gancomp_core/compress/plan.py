"""What a compression does, decided before the first minute is spent: a plan that fits the minutes, not the reverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gancomp_core.data import Task
from gancomp_core.methods.architecture_search import Budget
from gancomp_core.nets import ArchitectureSpace, Generator

if TYPE_CHECKING:
    from gancomp_core.compress.teachers import Teacher


@dataclass(frozen=True)
class Stage:
    """A part of the work: its name, what it does, and the minutes it may take."""

    name: str
    what: str
    minutes: float


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What was found in a folder of pictures.

    Attributes:
        folder: The folder.
        identity: Changes with the names and the sizes of the files.
        readable: Number of files that can be used.
        unreadable: The others: name and reason.
        folders: Number of sub-folders with pictures.
        smallest: Least height and width in pixels.
        largest: Greatest height and width.
        splits: How many pictures of "train", "search" and "test" are used.
    """

    folder: str
    identity: str
    readable: int
    unreadable: tuple[str, ...] = ()
    folders: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    splits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A compression from the first stage to the last.

    Attributes:
        teacher: Name of the teacher.
        teacher_identity: Digest of its weights or file.
        teacher_cost: Its "macs" and "params" for one picture of ``canvas``, where they can be counted.
        pictures: What was found in the folder.
        asked: The budget as it was written.
        budget: Limits on the student, for one picture of ``size``.
        file_bytes: Most bytes of the int8 file; None sets no limit.
        minutes: For everything.
        canvas: Height and width that the teacher gets.
        size: Height and width of the student's pictures, cut from the middle of the canvas.
        crop: Side of the squares that are trained on.
        batch_size: Pictures in a step.
        supernet_steps: Steps of the supernet.
        candidates: Networks that the search scores at most.
        tuning_steps: Steps of fine-tuning.
        space: The networks to choose from.
        warm: Whether the supernet starts from the teacher's weights.
        objective: Name of the objective (:data:`gancomp_core.compress.stages.OBJECTIVES`).
        stages: In order, with minutes.
        memory_gb: Memory that is needed.
        disk_gb: Space on the disk that is needed.
        warnings: Sentences for the reader.
        seed: Of everything random.
        runtime: "onnxruntime" or "openvino".
        opset: Of the ONNX files.
    """

    teacher: str
    teacher_identity: str
    teacher_cost: Mapping[str, float]
    pictures: PictureFacts
    asked: str
    budget: Budget
    file_bytes: float | None = None
    minutes: float
    canvas: tuple[int, int]
    size: int
    crop: int
    batch_size: int
    supernet_steps: int
    candidates: int
    tuning_steps: int
    space: ArchitectureSpace
    warm: bool
    objective: str
    stages: tuple[Stage, ...]
    memory_gb: float
    disk_gb: float
    warnings: tuple[str, ...] = ()
    seed: int = 0
    runtime: str = "onnxruntime"
    opset: int = 20


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A compression that is done, for its report.

    Attributes:
        plan: What was planned.
        teacher: The teacher.
        task: Pseudo pairs: the pictures of the folder, and what the teacher makes of them; the test split is held out.
        student: The fine-tuned network, float32, in eval mode.
        files: "float32" and "int8" ONNX files.
        frontier: A row for each network that was scored (:class:`gancomp_core.methods.architecture_search.Frontier`).
        minutes: By the name of the stage.
        folder: Where everything lies.
        remarks: Sentences on what went otherwise than planned.
    """

    plan: Plan
    teacher: Teacher
    task: Task
    student: Generator
    files: Mapping[str, Path]
    frontier: pd.DataFrame
    minutes: Mapping[str, float]
    folder: Path
    remarks: tuple[str, ...] = ()
