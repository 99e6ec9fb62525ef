"""What a report says about each network, measured: its cost, its time on this machine, and its held-out pictures."""

from __future__ import annotations

import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gancomp_core.compress.pictures import visible
from gancomp_core.data import Pictures, Task, to_float
from gancomp_core.executors import cores
from gancomp_core.files import scratch
from gancomp_core.measure import (
    Latency,
    OnnxGenerator,
    bootstrap_interval,
    export_onnx,
    extract_features,
    frechet_distance,
    kid,
    onnx_cost,
    perceptual_distance,
    psnr,
    ssim,
)
from gancomp_core.measure.distances import subset_size
from gancomp_core.measure.latency import Timed, latencies
from gancomp_core.measure.openvino_runtime import in_openvino
from gancomp_core.measure.running import check_output, first_line, measuring
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets.blocks import rescaled

if TYPE_CHECKING:
    from gancomp_core.compress.plan import Finished, Plan
    from gancomp_core.compress.teachers import Teacher

Paint = Callable[[Tensor], Tensor]
Made = TypeVar("Made")

FREE = ("teacher_int8", "teacher_half")  # what the teacher gives without any training
# Pictures below which a number would be mostly chance:
INTERVAL_MINIMUM = 10
KID_MINIMUM = 100
FD_MINIMUM = 3000
PSNR_MOST = 99.0  # dB of pictures that are equal, whose mean would be infinite otherwise
CALIBRATION = 32
SSIM_WINDOW = 11  # pixels
BATCH = 16
PAINTING, TIMING = 0.1, 0.002  # shares of all minutes: for scoring pictures; for the times of a network in one setting
FEWEST = 32  # held-out pictures that are scored however slow a teacher is
SCORING = 0.06  # seconds that the scores of a picture take, about


@dataclass(frozen=True)
class Score:
    """A similarity to the teacher's pictures, or to real ones: the mean, its 95 % interval, and each picture's value.

    ``low`` and ``high`` are a bootstrap's, NaN for fewer than :data:`INTERVAL_MINIMUM` pictures.
    """

    mean: float
    low: float
    high: float
    each: tuple[float, ...] = field(repr=False)

    @classmethod
    def of(cls, values: list[float]) -> Score:
        low, high = bootstrap_interval(values) if len(values) >= INTERVAL_MINIMUM else (math.nan, math.nan)
        return cls(sum(values) / len(values), low, high, tuple(values))


@dataclass(frozen=True)
class SetScore:
    """A distance between sets: its value, 1.96 standard deviations over random subsets (NaN: none), and its floor."""

    value: float
    half_width: float
    floor: float


@dataclass(frozen=True)
class Quality:
    """How close pictures are to the teacher's, or to real ones; ``scores`` by "psnr", "ssim" and "perceptual"."""

    scores: Mapping[str, Score]
    kid: SetScore | None
    frechet: SetScore | None


@dataclass(frozen=True, kw_only=True)
class Network:
    """One row of the report; None where a number does not apply or could not be measured.

    Attributes:
        key: "teacher", "teacher_int8", "teacher_half", "student", "student_int8" or "copy".
        name: For readers.
        macs: Multiply-accumulates for one picture; those of a transposed convolution at its input.
        macs_by_torch: The same by PyTorch's own counter.
        params: Weights and biases.
        bytes: Of the ONNX file; in float32 of the weights where there is no file.
        times: On one thread and on all cores, for each runtime.
        to_teacher: Pictures against the teacher's.
        to_real: Pictures against real ones.
        variety: Standard deviation over the pictures, in [0, 1], mean of all pixels: 0 if all pictures are the same.
    """

    key: str
    name: str
    macs: int | None = None
    macs_by_torch: int | None = None
    params: int | None = None
    bytes: int | None = None
    times: tuple[Latency, ...] = ()
    to_teacher: Quality | None = None
    to_real: Quality | None = None
    variety: float = 0.0

    @property
    def ms(self) -> float:
        """Median on one thread in the first runtime; NaN if the network was not timed."""
        return self.times[0].median_ms if self.times else math.nan

    def mean(self, score: str) -> float:
        """A mean similarity to the teacher's pictures; NaN if there is none."""
        found = self.to_teacher.scores.get(score) if self.to_teacher else None
        return found.mean if found else math.nan


@dataclass(frozen=True)
class Numbers:
    """All that was measured: networks by key, indices of the pictures that were scored, how many were held out."""

    networks: Mapping[str, Network]
    indices: Tensor
    held_out: int
    notes: tuple[str, ...]

    @property
    def best_free(self) -> Network | None:
        """What the teacher gives without training, to be beaten: the fastest that is as close to it as the student.

        Where none is that close, the closest one.
        """
        free = [self.networks[key] for key in FREE if key in self.networks]
        close = [each for each in free if each.mean("psnr") >= self.networks["student_int8"].mean("psnr")]
        if close:
            return min(close, key=lambda each: each.ms)
        return max(free, key=lambda each: np.nan_to_num(each.mean("psnr")), default=None)


class HalfSize(nn.Module):
    """A network that is run at half of the height and width: its input shrunk, its picture enlarged."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        made: Tensor = self.network(F.avg_pool2d(pictures, 2))
        return F.interpolate(made, scale_factor=2.0, mode="bilinear", align_corners=False)


class RunFile(nn.Module):
    """An ONNX file as a module that runs one picture after the other: files need not take more at once."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.run = OnnxGenerator(file)

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.cat([self.run(picture) for picture in pictures.split(1)])


@dataclass(frozen=True)
class Contestant:
    """A network before it is measured.

    Attributes:
        key: As in :class:`Network`.
        name: As in :class:`Network`.
        shape: Of one picture that goes in.
        file: The ONNX file that is counted and timed; None counts and times the module.
        module: The network in PyTorch, for its own counter; None for a black box.
        paints: What makes the pictures that are scored.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    file: Path | None
    module: nn.Module | None
    paints: nn.Module


class Notes(list[str]):
    """Sentences on what could not be had."""

    def attempt(self, what: str, make: Callable[[], Made]) -> Made | None:
        """What ``make`` gives, or None and a sentence that says why not."""
        try:
            return make()
        except Exception as error:  # runtimes and exporters raise anything for somebody's network
            self.append(f"{what} ({first_line(error).rstrip('.')}).")
            return None


def measure(finished: Finished) -> Numbers:
    """Measure teacher, student and what the teacher gives without training.

    Args:
        finished: What :func:`gancomp_core.compress.compress` made.

    Returns:
        The numbers, with a sentence for everything that could not be measured.
    """
    task, notes = finished.task, Notes()
    with scratch() as folder:
        given = contestants(finished, folder, notes)
        times = _times(given, finished.plan, notes)
        rows = {each.key: _costs(each) | {"times": tuple(times[each.key])} for each in given}
        side = finished.plan.size
        scored = [each for each in given if each.key != "teacher" and each.shape[2:] == (side, side)]
        held_out = len(task.test.sources)
        pace = sum(_seconds(each) + SCORING for each in scored)
        count = min(held_out, max(FEWEST, int(60 * PAINTING * finished.plan.minutes / pace)))
        indices = torch.arange(count) * held_out // count
        pictures = HeldOut(task, indices)
        rows["teacher"] |= pictures.judge(None)
        for each in scored:
            with measuring("cpu", each.paints):
                rows[each.key] |= pictures.judge(each.paints)
    names = {each.key: each.name for each in given}
    if task.source_channels == task.target_channels:
        scale = finished.plan.space.base.scale
        rows["copy"] = pictures.judge(lambda sources: rescaled(sources, scale))
        names["copy"] = "copy of the input" if scale == 1 else f"input, {'enlarged' if scale > 1 else 'shrunk'}"
    networks = {key: Network(key=key, name=names[key], **row) for key, row in rows.items()}
    return Numbers(networks, indices, held_out, tuple(notes))


def contestants(finished: Finished, folder: Path, notes: Notes) -> list[Contestant]:
    """Everything that is compared; a sentence in ``notes`` for what cannot be had."""
    teacher, canvas, side = finished.teacher, finished.plan.canvas, finished.plan.size
    shape, small = ((1, teacher.in_channels, *sides) for sides in (canvas, (side, side)))
    module = teacher.network if teacher.file is None else None

    file = notes.attempt(
        "The teacher is not timed" if module is None else "The teacher is timed in PyTorch",
        lambda: teacher.float_file(folder / "teacher.onnx", canvas),
    )
    found = [Contestant("teacher", "teacher, float32", shape, file, module, teacher.network)]
    integers = None
    if file is not None or module is not None:
        integers = notes.attempt(
            "There is no teacher in int8 to compare with",
            lambda: _in_int8(finished, folder / "teacher_int8.onnx", file),
        )
    if integers is not None:
        name = "teacher, int8 without training"
        found.append(Contestant("teacher_int8", name, shape, integers, None, RunFile(integers)))
    if canvas != (side, side):
        notes.append(f"The teacher takes {canvas[0]} x {canvas[1]} pixels alone, so its int8 pictures are not scored.")
    if teacher.fixed is None and all(takes(teacher, side / 2) for side in canvas):
        half = HalfSize(teacher.network)
        smaller = None
        if module is not None:
            smaller = notes.attempt(
                "The teacher at half size is timed in PyTorch",
                lambda: export_onnx(half, folder / "half.onnx", shape, dynamic=False),
            )
        in_torch = None if module is None else half
        found.append(Contestant("teacher_half", "teacher at half size", shape, smaller, in_torch, half))
    else:
        notes.append(f"The teacher cannot be run at half size: it does not take half of {canvas[0]} x {canvas[1]}.")
    for key, name in (("float32", "student"), ("int8", "student_int8")):
        file = finished.files[key]
        counted = finished.student if key == "float32" else None
        found.append(Contestant(name, f"student, {key}", small, file, counted, RunFile(file)))
    return found


def takes(teacher: Teacher, side: float) -> bool:
    """Whether a teacher of any size takes pictures of this height or width."""
    return side >= teacher.smallest and side % teacher.multiple == 0


def _in_int8(finished: Finished, path: Path, floating: Path | None) -> Path:
    """The teacher's 8-bit file, made without training."""
    teacher, task, canvas = finished.teacher, finished.task, finished.plan.canvas
    calibration = task.calibration(min(CALIBRATION, len(task.train.sources)))
    if canvas != calibration.shape[2:]:
        calibration = F.interpolate(calibration, size=canvas, mode="bilinear")
    if teacher.file is not None and floating is not None:
        return export_int8(floating, path, calibration)
    return export_int8(teacher.network, path, calibration, floating=floating)


def _seconds(each: Contestant) -> float:
    """Of one picture that is scored."""
    with measuring("cpu", each.paints):
        start = time.perf_counter()
        each.paints(torch.zeros(each.shape))
        return time.perf_counter() - start


# --- costs and times --------------------------------------------------------------------------------------------------


def _costs(each: Contestant) -> dict[str, Any]:
    by_torch, params = None, 0
    if each.module is not None:
        by_torch = macs_by_torch(each.module, each.shape)
        params = sum(parameter.numel() for parameter in each.module.parameters())
    if each.file is not None:
        found = onnx_cost(each.file, each.shape)
        return {"macs": found.macs, "macs_by_torch": by_torch, "params": params or found.params, "bytes": found.bytes}
    if each.module is None:
        return {}
    return {"macs": by_torch, "macs_by_torch": by_torch, "params": params, "bytes": 4 * params}


def macs_by_torch(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one call by PyTorch's own counter of floating-point operations."""
    with measuring("cpu", module), FlopCounterMode(display=False) as counter:
        module(torch.zeros(shape))
    return int(counter.get_total_flops()) // 2


def _times(given: Sequence[Contestant], plan: Plan, notes: Notes) -> dict[str, list[Latency]]:
    """One thread and all cores, in every runtime that is installed, the plan's first; all networks in turns.

    What has no file is timed in PyTorch beside those that have one.
    """
    known = {"onnxruntime": _in_onnxruntime, "openvino": _in_openvino}
    installed = [name for name in known if importlib.util.find_spec(name) is not None]
    runtimes = sorted(installed, key=lambda name: name != plan.runtime)
    found: dict[str, list[Latency]] = {each.key: [] for each in given}
    modules = [each.module for each in given if each.file is None and each.module is not None]
    for runtime, threads in itertools.product(runtimes, sorted({1, cores()})):
        timed: dict[str, Timed] = {}
        for each in given if runtime == runtimes[0] else [each for each in given if each.file]:
            prepared, name = (known[runtime], runtime) if each.file else (_in_pytorch, "PyTorch")
            picture = torch.rand(each.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
            run = notes.attempt(f"{name} does not run the {each.name}", partial(prepared, each, picture, threads))
            if run is not None:
                timed[each.key] = Timed(run, threads, name)
        with measuring("cpu", *modules):
            for key, time_taken in latencies(timed, 60 * TIMING * plan.minutes).items():
                found[key].append(time_taken)
    return found


def _in_onnxruntime(each: Contestant, picture: Tensor, threads: int) -> Callable[[], object]:
    assert each.file is not None
    generator, array = OnnxGenerator(each.file, threads), picture.numpy()
    return lambda: generator.run(array)


def _in_openvino(each: Contestant, picture: Tensor, threads: int) -> Callable[[], object]:
    assert each.file is not None
    return in_openvino(each.file, picture, threads)


def _in_pytorch(each: Contestant, picture: Tensor, threads: int) -> Callable[[], object]:
    assert each.module is not None
    module = each.module
    return lambda: module(picture)


# --- pictures ---------------------------------------------------------------------------------------------------------


class Side:
    """What pictures are compared with: held-out targets, and the features that distances between sets need."""

    def __init__(self, held_out: Pictures, trained_on: Pictures, indices: Tensor, paired: bool) -> None:
        self.targets, self.paired = held_out, paired
        count = min(len(indices), len(trained_on))
        self.enough = count >= KID_MINIMUM
        if self.enough:
            order = torch.randperm(len(trained_on), generator=torch.Generator().manual_seed(0))
            self.own, self.reference = _features(held_out, indices), _features(trained_on, order[:count].sort().values)

    def judge(self, features: Tensor | None, values: Mapping[str, list[float]]) -> Quality:
        """The scores of pictures with these features and similarities."""
        scores = {name: Score.of(each) for name, each in values.items()}
        if not self.enough or features is None:
            return Quality(scores, None, None)
        size = subset_size(features, self.reference)
        value, deviation = kid(features, self.reference, subset_size=size)
        near = SetScore(value, 1.96 * deviation, kid(self.own, self.reference, subset_size=size)[0])
        if min(len(features), len(self.reference)) < FD_MINIMUM:
            return Quality(scores, near, None)
        floor = frechet_distance(self.own, self.reference)
        return Quality(scores, near, SetScore(frechet_distance(features, self.reference), math.nan, floor))


class HeldOut:
    """The held-out pictures of a task: what goes in, what the teacher makes of it, and real ones if there are any."""

    def __init__(self, task: Task, indices: Tensor) -> None:
        test, train = task.test, task.train
        self.sources, self.indices = test.sources, indices
        self.painted = test.targets if test.teacher is None else test.teacher
        taught = train.targets if train.teacher is None else train.teacher
        self.sides = {"to_teacher": Side(self.painted, taught, indices, True)}
        if self.painted is not test.targets:
            self.sides["to_real"] = Side(test.targets, train.targets, indices, task.scored_in_pairs)

    def judge(self, paint: Paint | None) -> dict[str, Any]:
        """The fields of a :class:`Network` that say how good its pictures are; None stands for the teacher's."""
        values: dict[str, dict[str, list[float]]] = {name: {} for name in self.sides}
        features, sums, squares = [], torch.zeros(()), torch.zeros(())
        for some in self.indices.split(BATCH):
            target = to_float(self.painted[some])
            made = target if paint is None else paint(to_float(self.sources[some])).float().clamp(-1, 1)
            check_output(made, target)
            sums, squares = sums + made.double().sum(0), squares + made.double().square().sum(0)
            if any(side.enough for side in self.sides.values()):
                features.append(extract_features(visible(made)))
            for name, side in self.sides.items():
                if side.paired and not (paint is None and name == "to_teacher"):
                    for score, found in _similarity(made, to_float(side.targets[some])).items():
                        values[name].setdefault(score, []).extend(found.tolist())
        count = len(self.indices)
        variety = (squares / count - (sums / count).square()).clamp(min=0).sqrt().mean()
        painted = torch.cat(features) if features else None
        judged: dict[str, Any] = {name: side.judge(painted, values[name]) for name, side in self.sides.items()}
        return judged | {"variety": float(variety)}


def _similarity(made: Tensor, target: Tensor) -> dict[str, Tensor]:
    seen = visible(made), visible(target)
    found = {"psnr": psnr(made, target).clamp(max=PSNR_MOST), "perceptual": perceptual_distance(*seen)}
    return found | ({"ssim": ssim(*seen)} if min(made.shape[2:]) >= SSIM_WINDOW else {})


def _features(pictures: Pictures, indices: Tensor) -> Tensor:
    return extract_features(visible(to_float(pictures[some])) for some in indices.split(BATCH))
