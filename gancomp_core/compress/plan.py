"""What a compression does, decided before the first minute is spent: a plan that fits the minutes, not the reverse."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import torch

from gancomp_core.compress.budgets import Limits, written
from gancomp_core.compress.pictures import PictureFacts
from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.files import Json, atomic_write
from gancomp_core.measure import machine_class
from gancomp_core.methods.architecture_search import Budget, LatencyTable
from gancomp_core.methods.architecture_search.budget import amount
from gancomp_core.nets import Architecture, ArchitectureSpace, Generator
from gancomp_core.nets.values import as_fraction

if TYPE_CHECKING:
    from gancomp_core.compress.teachers import Teacher


@dataclass(frozen=True)
class Stage:
    """A part of the work: its name, what it does, and the minutes it may take."""

    name: str
    what: str
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A compression from the first stage to the last.

    Attributes:
        teacher: Name of the teacher.
        teacher_identity: Digest of its weights or file.
        teacher_cost: Its "macs" and "params" for one picture of ``canvas``, where they can be counted.
        pictures: What was found in the folder.
        painted: How many pictures of "train", "search" and "test" are used.
        asked: The budget as it was written.
        limits: The same in numbers.
        budget: Limits on the student, for one picture of ``size``, as the search takes them.
        minutes: For everything.
        canvas: Height and width that the teacher gets.
        size: Height and width of the pictures that the student gets, cut from the middle of the canvas.
        crop: Side of the squares that are trained on, in pixels of what comes out.
        batch_size: Pictures in a step.
        supernet_steps: Steps of the supernet.
        candidates: Networks that the search scores at most.
        scored: Pictures of the search split that it scores them on.
        tuning_steps: Steps of fine-tuning.
        space: The networks to choose from.
        warm: Whether the supernet starts from the teacher's weights.
        stages: In order, with minutes.
        memory_gb: Memory that is needed.
        disk_gb: Space on the disk that is needed.
        warnings: Sentences for the reader.
        seed: Of everything random.
        runtime: "onnxruntime" or "openvino".
        opset: Of the ONNX files.
        stage_ms: Milliseconds of every stage of the space on this machine, where the budget limits milliseconds.
    """

    teacher: str
    teacher_identity: str
    teacher_cost: Mapping[str, float]
    pictures: PictureFacts
    painted: Mapping[str, int]
    asked: str
    limits: Limits
    budget: Budget
    minutes: float
    canvas: tuple[int, int]
    size: int
    crop: int
    batch_size: int
    supernet_steps: int
    candidates: int
    scored: int
    tuning_steps: int
    space: ArchitectureSpace
    warm: bool
    stages: tuple[Stage, ...] = ()
    memory_gb: float = 0.0
    disk_gb: float = 0.0
    warnings: tuple[str, ...] = ()
    seed: int = 0
    runtime: str = "onnxruntime"
    opset: int = 20
    stage_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def made(self) -> int:
        """Height and width of the pictures that the student makes."""
        return int(self.size * as_fraction(self.space.base.scale))

    @property
    def latency(self) -> LatencyTable | None:
        """The times of the space's stages, where the budget limits milliseconds."""
        if self.budget.latency_ms is None:
            return None
        table = LatencyTable(self.space.base, (self.size, self.size), torch.get_num_threads(), machine_class())
        table.stages.update(self.stage_ms)
        return table

    @property
    def key(self) -> str:
        """Changes with the plan; what a stage writes carries it."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def as_dict(self) -> Json:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        found: Json = plain(vars(self) | {"space": self.space.as_dict()})
        return found

    @classmethod
    def from_dict(cls, values: Json) -> Plan:
        """The plan whose :meth:`as_dict` gave these values."""
        facts = dict(values["pictures"])
        for name in ("unreadable", "smallest", "largest"):
            facts[name] = tuple(facts[name])
        read: Json = {
            "pictures": PictureFacts(**facts),
            "limits": Limits(**values["limits"]),
            "budget": Budget(**values["budget"]),
            "canvas": tuple(values["canvas"]),
            "space": cast(ArchitectureSpace, Architecture.from_dict(values["space"])),
            "stages": tuple(Stage(**stage) for stage in values["stages"]),
            "warnings": tuple(values["warnings"]),
        }
        return cls(**{**values, **read})

    def save(self, path: Path) -> None:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """The plan that :meth:`save` wrote; raises :class:`GancompError` for any other file."""
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GancompError(
                f"{path} is no plan that this version can read; delete it, or choose another --out."
            ) from error

    def __str__(self) -> str:
        height, width = self.canvas
        costs = ", ".join(amount(name, value) for name, value in self.teacher_cost.items()) or "cost unknown"
        counts = self.painted
        ends = self.space.narrowest.cost(self.size, self.size), self.space.widest.cost(self.size, self.size)
        begins = "the teacher's weights" if self.warm else "random weights"
        becomes = "" if self.made == self.size else f", which become {self.made} x {self.made}"
        lines = [
            f"Teacher   {self.teacher}: {costs} at {height} x {width} pixels",
            f"Pictures  {self.pictures}",
            f"          {counts['train']:,} to train on, {counts['search']} to choose by, {counts['test']} held out",
            f"Budget    {self.asked}: {written(self.limits)}",
            f"Student   one of {self.space.size:,} networks of {amount('macs', ends[0].macs)} to "
            f"{amount('macs', ends[1].macs)} at {self.size} x {self.size} pixels{becomes}, from {begins}",
            f"Training  L1; {self.batch_size} squares of {self.crop} pixels a step",
            *(f"{stage.minutes:6.1f} min  {stage.name}: {stage.what}" for stage in self.stages),
            f"Needs     {self.memory_gb:.1f} GB of memory, {self.disk_gb:.2f} GB on the disk",
            *(f"Note      {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)


def plain(value: Any) -> Any:
    """Values that JSON knows: dataclasses become dictionaries, NaN and infinity null, numpy's numbers Python's."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value


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
