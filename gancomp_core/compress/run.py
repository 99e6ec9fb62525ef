"""Compress your own: any generator that runs, a folder of pictures and a budget become an int8 file and a report.

Every stage is recognized by its files, and whatever was killed goes on when the same call is made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import nn

from gancomp_core.compress import stages
from gancomp_core.compress.pictures import Painting, probe, scan
from gancomp_core.compress.plan import Finished, Plan
from gancomp_core.compress.planning import make_plan
from gancomp_core.compress.report import write_report
from gancomp_core.compress.stages import LATE, Decisions, PairedScore, TimeLimit
from gancomp_core.compress.teachers import Teacher, open_teacher
from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.files import Json, atomic_write, locked, scratch
from gancomp_core.measure import OnnxGenerator, export_onnx
from gancomp_core.measure.onnx_sizes import take_any_size
from gancomp_core.methods.architecture_search import Frontier
from gancomp_core.methods.quantization import export_int8, kernel_sensitivity, psnr_to_float
from gancomp_core.methods.quantization.int8 import fitted
from gancomp_core.nets import ElasticGenerator, Generator, GeneratorArchitecture
from gancomp_core.train import Callback, Checkpoint, load_weights, read_about, save_weights
from gancomp_core.train.progress import Progress, say

AGREES = 1e-3  # how far the pictures of an exported file may be from the module's
FAITHFUL = 40.0  # dB of the int8 file to the float network, below which a sentence says which layer costs most


def compress(
    teacher: Teacher | nn.Module | str | Path,
    pictures: Path | str,
    *,
    budget: str = "macs/12",
    minutes: float = 40.0,
    size: int | None = None,
    runtime: str = "onnxruntime",
    out: Path | str = "compressed",
    opset: int = 20,
    seed: int = 0,
) -> Finished:
    """Make a small network whose pictures are like a teacher's, and an int8 file of it.

    What is in the folder ``out`` already is not done again: the same call goes on where a kill ended it.

    Args:
        teacher: A model of the zoo, a module, a file (see :func:`gancomp_core.compress.open_teacher`), or a teacher.
        pictures: A folder of pictures that the teacher may get.
        budget: The most that the student may cost, such as "macs/12, 5 ms, 200 kB".
        minutes: For everything.
        size: Height and width of the pictures in pixels; None takes what the teacher or the pictures ask for.
        runtime: What the int8 file is for, "onnxruntime" or "openvino".
        out: The folder for everything that is made.
        opset: Of the ONNX files.
        seed: Of everything random.

    Returns:
        What was made.

    Raises:
        GancompError: For whatever cannot work, before the work begins, and for a folder of another compression.
    """
    opened = teacher if isinstance(teacher, Teacher) else open_teacher(teacher, probe=probe(pictures))
    folder = _made_folder(Path(os.path.expanduser(out)))
    how = {"budget": budget, "minutes": minutes, "runtime": runtime, "opset": opset, "seed": seed}
    with locked(folder / "pictures" / "lock"):  # two at once would paint into the same arrays
        return _continued(opened, pictures, folder, size, how)


def _continued(opened: Teacher, pictures: Path | str, folder: Path, size: int | None, how: Json) -> Finished:
    """What is missing of a compression."""
    asked = {"asked" if name == "budget" else name: value for name, value in how.items()}
    if (folder / "plan.json").exists():
        plan = Plan.load(folder / "plan.json")
        _check_same(plan, opened, scan(pictures, opened.in_channels).facts.identity, asked, size, folder)
        say(f"Going on in {folder}.")
    else:
        plan = make_plan(opened, pictures, size=size, **how)
        plan.save(folder / "plan.json")
    say(str(plan))
    free = shutil.disk_usage(folder).free / 1e9
    if free < plan.disk_gb and not (folder / "pictures" / "painted.json").exists():
        raise GancompError(f"{folder} has {free:.1f} GB free, and {plan.disk_gb:.1f} are needed; give another --out.")
    return Workshop(plan, opened, folder).finished()


def _made_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GancompError(f"The folder {folder} cannot be made ({error.strerror}); give another --out.") from error
    return folder


def _check_same(
    plan: Plan, teacher: Teacher, pictures: str, asked: dict[str, object], size: int | None, folder: Path
) -> None:
    """Refuse to go on with another plan than the one that is there."""
    here = {"teacher": teacher.identity, "pictures": pictures, **asked, "size": size or plan.size}
    there = {"teacher": plan.teacher_identity, "pictures": plan.pictures.identity, "size": plan.size}
    there |= {name: getattr(plan, name) for name in asked}
    for name, value in here.items():
        if value != there[name]:
            digests = name in ("teacher", "pictures")
            what = f"other {name}" if digests else f"{name.replace('asked', 'budget')} {there[name]}, not {value}"
            raise GancompError(f"{folder} holds a compression with {what}; give another --out, or delete that folder.")


@dataclass
class Workshop:
    """The folder of a compression: each stage is a property that makes its files unless they are there."""

    plan: Plan
    teacher: Teacher
    folder: Path

    def finished(self) -> Finished:
        """Everything, made where it is missing."""
        files, remarks = self.files, list(self.checks)
        if skipped := self.painting.state["skipped"]:
            remarks.append(
                f"{len(skipped)} files could not be decoded and were left out, such as this one: {skipped[0]}"
            )
        if self.painting.done < sum(self.plan.painted.values()):
            remarks.append(f"The teacher painted {self.painting.done:,} pictures, fewer than planned.")
        for name, made in self.decisions.made.items():
            unit = "networks" if name == "search" else "steps"
            remarks.append(f"This machine was slower than planned: {name} ended after {made[-1][1]:,} {unit}.")
        found = Finished(
            plan=self.plan, teacher=self.teacher, task=self.task, student=self.student, files=files,
            frontier=self.frontier.table, minutes=self.minutes, folder=self.folder, remarks=tuple(remarks),
        )  # fmt: skip
        if not (self.folder / "report.html").exists():
            with self._stage("report"):
                write_report(found)
        return found

    @cached_property
    def decisions(self) -> Decisions:
        return Decisions(self.folder / "decisions.json")

    @property
    def minutes(self) -> dict[str, float]:
        """What the stages took so far; the time of parts that were killed is lost."""
        path = self.folder / "minutes.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Says which stage begins and how long it may take, and adds up what it took."""
        names = [stage.name for stage in self.plan.stages]
        place = names.index(name)
        left = sum(stage.minutes for stage in self.plan.stages[place:])
        say(f"{place + 1} of {len(names)}, {self.plan.stages[place].what}; about {left:.1f} minutes left")
        began = time.monotonic()
        try:
            yield
        finally:
            spent = self.minutes
            spent[name] = spent.get(name, 0.0) + (time.monotonic() - began) / 60
            with atomic_write(self.folder / "minutes.json") as temporary:
                temporary.write_text(json.dumps(spent), encoding="utf-8")

    # --- stages -------------------------------------------------------------------------------------------------------

    @cached_property
    def painting(self) -> Painting:
        """The pictures on disk, as many as there are."""
        folder, plan = self.folder / "pictures", self.plan
        folder.mkdir(parents=True, exist_ok=True)
        sides = (self.teacher.in_channels, plan.size), (self.teacher.out_channels, plan.made)
        return Painting(folder, plan.key, plan.painted, tuple((count, side, side) for count, side in sides))

    @cached_property
    def task(self) -> Task:
        """The pictures and the teacher's pictures of them."""
        plan, painting = self.plan, self.painting
        if not painting.complete:
            found = scan(plan.pictures.folder, self.teacher.in_channels)
            with self._stage("pictures"), Progress(painting.done, sum(plan.painted.values()), unit="picture") as shown:
                seconds = LATE * self._seconds("pictures") + 5
                painting.run(found, plan.canvas, self.teacher.paint, seconds, lambda count: shown.update(count, {}))
        return painting.task(Path(plan.pictures.folder).resolve().name)

    @cached_property
    def supernet(self) -> ElasticGenerator:
        """Every network of the space, trained in shared weights."""
        path = self.folder / "supernet.safetensors"
        elastic = ElasticGenerator(self.plan.space)
        if not self._made(path):
            task, around = self.task, self._around("supernet", "supernet")
            with self._stage("supernet"):
                trained = stages.train_supernet(self.plan, self.teacher.generator, task, around)
            save_weights(trained.averaged["generator"], path, {"plan": self.plan.key})
        return cast(ElasticGenerator, load_weights(elastic, path).eval().requires_grad_(False))

    @cached_property
    def frontier(self) -> Frontier[GeneratorArchitecture]:
        """The networks within the budget that were scored."""
        path = self.folder / "search.csv"
        if not path.exists():
            supernet, task = self.supernet, self.task
            with self._stage("search"), Progress(0, self.plan.candidates, unit="network") as shown:
                score = PairedScore(supernet, task, self.plan.scored, shown.advance)
                seconds = LATE * self._seconds("search") - 60 * self.minutes.get("search", 0.0)
                stages.search(self.plan, score, self.folder / "scores", seconds, self.decisions).to_csv(path)
        return Frontier.from_csv(path, self.plan.space)

    @cached_property
    def student(self) -> Generator:
        """The best network, trained on."""
        path, best = self.folder / "student.safetensors", self.frontier.best
        if not self._made(path):
            begun, around = self.supernet.extract(best), self._around("tuning", "student")
            with self._stage("tuning"):
                trained = stages.fine_tune(self.plan, begun, self.task, around)
            about = {"plan": self.plan.key, "architecture": best.as_dict()}
            save_weights(trained.averaged["generator"], path, about)
        student = cast(Generator, load_weights(best.network(), path).eval().requires_grad_(False))
        student.pixels = (self.plan.size, self.plan.size)
        return student

    @cached_property
    def files(self) -> dict[str, Path]:
        """The student as ONNX files in float32 and in 8 bits."""
        found = {name: self.folder / f"student-{name}.onnx" for name in ("float32", "int8")}
        if not all(path.exists() for path in found.values()):
            student, task = self.student, self.task
            with self._stage("export"), scratch() as folder:
                shape = (1, task.source_channels, self.plan.size, self.plan.size)
                whole = export_onnx(student, folder / "float32.onnx", shape, opset=self.plan.opset)
                pictures = task.calibration(min(64, len(task.train)))
                rounded = export_int8(
                    student, folder / "int8.onnx", pictures, floating=whole, opset=self.plan.opset, progress=_told()
                )
                for name, path in (("float32", whole), ("int8", rounded)):
                    if not self.teacher.only_multiples_of(self._step):
                        take_any_size(path, self._step, self.teacher.scale)
                    with atomic_write(found[name]) as temporary:
                        shutil.copyfile(path, temporary)
        return found

    @property
    def _step(self) -> int:
        """What the sides of a student's pictures are multiples of inside it."""
        return 4 * self.teacher.scale.denominator

    @cached_property
    def checks(self) -> tuple[str, ...]:
        """Sentences on files that do not do what the student does; none where all is well."""
        files, student = self.files, self.student
        pictures = self.task.test.batch(slice(0, 16)).source
        with torch.inference_mode():
            off = float((OnnxGenerator(files["float32"])(pictures) - student(pictures)).abs().max())
        if off > AGREES:
            raise GancompError(
                f"{files['float32']} makes other pictures than the network it was written from (by up to {off:.2g}); "
                "delete it, run again with another --opset, and report this."
            )
        faithful = float(psnr_to_float(files["int8"], student, pictures).mean())
        say(f"int8 against float32: PSNR {faithful:.1f} dB")
        if faithful >= FAITHFUL:
            return ()
        known = self.task.calibration(min(16, len(self.task.train)))
        with fitted(student, known, floating=files["float32"], opset=self.plan.opset) as ready:
            table = kernel_sensitivity(ready, pictures[:4])
        worst = table.loc[table.mse.idxmax()]
        return (
            f"8 bits cost this student more than usual: {faithful:.1f} dB to its float network, most of it in the "
            f"layer {worst.layer} ({worst.psnr:.1f} dB alone); export_int8_within leaves such layers in float.",
        )

    def _around(self, training: str, file: str) -> list[Callback]:
        """A checkpoint, and the clock."""
        checkpoint = Checkpoint(self.folder / f"{file}.checkpoint.pt")
        return [checkpoint, TimeLimit(training, self._seconds(training), self.decisions)]

    def _seconds(self, stage: str) -> float:
        """What the plan gives a stage."""
        return 60 * next(each.minutes for each in self.plan.stages if each.name == stage)

    def _made(self, path: Path) -> bool:
        """Whether this plan made these weights already."""
        if not path.exists():
            return False
        if read_about(path).get("plan") != self.plan.key:
            raise GancompError(f"{path} belongs to another plan; delete it, or choose another --out.")
        return True


def _told() -> Callable[[str, float], None]:
    """Says which part of an export begins."""
    known: set[str] = set()

    def tell(part: str, share: float) -> None:
        if part not in known:
            known.add(part)
            say(f"int8 file: {part}")

    return tell
