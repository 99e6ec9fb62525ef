"""Makes a plan: everything is checked, this machine is timed briefly, and steps follow from the minutes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import psutil
import torch
from torch import Tensor

from gancomp_core.compress import stages
from gancomp_core.compress.budgets import Limits, read_budget
from gancomp_core.compress.pictures import FEWEST, HELD, PictureFacts, PictureFolder, divided, middles, scan
from gancomp_core.compress.plan import Plan, Stage
from gancomp_core.data import PictureSet, Task, to_float, to_uint8
from gancomp_core.errors import GancompError, at_least, one_of
from gancomp_core.files import scratch
from gancomp_core.measure import Cost, OnnxCost, cost, onnx_cost, onnx_latency, openvino_latency
from gancomp_core.measure.onnx_export import check_opset
from gancomp_core.measure.openvino_runtime import openvino_runtime
from gancomp_core.methods.architecture_search import Budget, LatencyTable
from gancomp_core.methods.architecture_search.budget import amount
from gancomp_core.methods.architecture_search.candidates import Candidates
from gancomp_core.methods.once_for_all import only
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ElasticGenerator,
    Generator,
    GeneratorArchitecture,
    ResnetArchitecture,
    build,
)
from gancomp_core.nets.channel_config import FACTORS
from gancomp_core.nets.values import MOST_SCALE
from gancomp_core.train import Callback
from gancomp_core.train.loop import Training
from gancomp_core.verbs import usual_space

if TYPE_CHECKING:
    from gancomp_core.compress.teachers import Teacher

RUNTIMES = ("onnxruntime", "openvino")
SMALLEST, USUAL_SIZE, LEAST_CROP = 16, 256, 64
ENOUGH = 1200  # steps below which smaller squares are taken, so that there are more
MOST_STEPS, MOST_PICTURES = 40_000, 20_000
WIDEST = 4.0  # times the budget that the largest network of a space costs
#: Shares of a teacher's channels that spaces are tried with: the first one whose widest network is not too large.
SCALES = (2, 1.5, 1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 1 / 16)
PAINTING = 0.2  # share of all minutes at most
SEARCHING, SUPERNET = 0.1, 0.3  # shares of what is left when pictures are painted and the end is provided for
BATCH = 4  # pictures in a step: more, smaller steps get further in the same time
EXPORTING = 25.0  # seconds for files and checks
REPORTING = 0.12  # share of all minutes that the report takes at most
PATIENCE = 5.0  # seconds that each measurement of this machine may take
FEWEST_STEPS, WANTED_CANDIDATES, MOST_CANDIDATES = 10, 32, 200
KID_PICTURES = 100


def make_plan(
    teacher: Teacher,
    pictures: Path | str,
    *,
    budget: str = "macs/12",
    minutes: float = 40.0,
    size: int | None = None,
    runtime: str = "onnxruntime",
    opset: int = 20,
    seed: int = 0,
) -> Plan:
    """Check everything, time this machine for some seconds, and fit a compression to the minutes.

    Args:
        teacher: What is compressed.
        pictures: A folder of at least 8 pictures that the teacher may get.
        budget: Limits such as "macs/12, 5 ms, 200 kB".
        minutes: For everything, planning included.
        size: Height and width in pixels; None takes what the teacher or the pictures ask for.
        runtime: What the int8 file is for, "onnxruntime" or "openvino".
        opset: Of the ONNX files, 18 to 23.
        seed: Of everything random.

    Raises:
        GancompError: For whatever cannot work, in one sentence.
    """
    started = time.monotonic()
    if one_of(runtime, RUNTIMES, "runtime") == "openvino":
        openvino_runtime()  # refuses where it is not installed
    check_opset(opset)
    at_least(0, seed, "seed", "0 is usual")
    if not 0.1 <= minutes < math.inf:
        raise GancompError(f"A compression takes at least 0.1 minutes, not {minutes:g}; 40 are usual.")
    _check_teacher(teacher)
    folder = scan(pictures, teacher.in_channels)
    canvas, edge = _sizes(teacher, folder.facts, size)
    known = _cost(teacher, canvas)
    limits = read_budget(budget, known)
    space, warm = _space(teacher, limits, edge)
    made = int(edge * teacher.scale)
    tight = _as_searched(limits, space, edge, runtime)
    latency = None if tight.latency_ms is None else LatencyTable.build(space, (edge, edge))
    typical = _typical(Candidates(space, tight, (edge, edge), latency, np.random.default_rng(seed)))
    sample, pace = _sample(teacher, folder, canvas, edge, made)
    draft = Plan(
        teacher=teacher.name, teacher_identity=teacher.identity, teacher_cost=known, pictures=folder.facts,
        painted=_painted(folder, pace, minutes), asked=budget, limits=limits, budget=tight, minutes=minutes,
        canvas=canvas, size=edge, crop=made, batch_size=BATCH, supernet_steps=1, candidates=1, scored=2, tuning_steps=1,
        space=space, warm=warm, seed=seed, runtime=runtime, opset=opset,
        stage_ms={} if latency is None else latency.stages,
    )  # fmt: skip
    return _fitted(draft, lambda draft: _paces(draft, typical, teacher.generator, sample, pace), started)


def _check_teacher(teacher: Teacher) -> None:
    if not Fraction(1, MOST_SCALE) <= teacher.scale <= MOST_SCALE:
        raise GancompError(
            f"{teacher.name} makes pictures {teacher.scale} times as large, and students make them 1/{MOST_SCALE} to "
            f"{MOST_SCALE} times as large; resize them in a module around it."
        )


def _sizes(teacher: Teacher, facts: PictureFacts, asked: int | None) -> tuple[tuple[int, int], int]:
    """What the teacher gets (height, width), and the side of the squares of it that are kept."""
    shrinks = teacher.scale.denominator
    step = math.lcm(teacher.multiple, 4 * shrinks)
    if teacher.fixed is not None:
        if asked is not None and {asked} != set(teacher.fixed):
            raise GancompError(
                f"{teacher.name} takes pictures of {teacher.fixed[0]} x {teacher.fixed[1]} alone; leave --size out."
            )
        edge = min(teacher.fixed) // step * step
        if edge < SMALLEST * shrinks:
            raise GancompError(
                f"{teacher.name} takes pictures of {teacher.fixed[0]} x {teacher.fixed[1]} pixels alone, and a student "
                f"needs at least {SMALLEST * shrinks}; export the teacher for larger ones."
            )
        return teacher.fixed, edge
    least = math.ceil(max(teacher.smallest, SMALLEST * shrinks) / step) * step
    if asked is None:
        edge = max(least, min(USUAL_SIZE // teacher.scale.numerator, facts.typical) // step * step)
    elif asked % step or asked < least:
        raise GancompError(f"The size is {asked}; for {teacher.name} it is a multiple of {step} from {least} on.")
    else:
        edge = asked
    return (edge, edge), edge


def _cost(teacher: Teacher, canvas: tuple[int, int]) -> dict[str, float]:
    """The teacher's MACs and parameters; nothing where they cannot be counted."""
    try:
        if teacher.file is None:
            found: Cost | OnnxCost = cost(teacher.network, *canvas, teacher.in_channels)
        else:
            with scratch() as folder:
                file = teacher.float_file(folder / "teacher.onnx", canvas)
                found = onnx_cost(file, (1, teacher.in_channels, *canvas))
    except GancompError:
        return {}
    return {"macs": float(found.macs), "params": float(found.params)}


# --- the space --------------------------------------------------------------------------------------------------------


def _space(teacher: Teacher, limits: Limits, size: int) -> tuple[ArchitectureSpace, bool]:
    """The networks to choose from, the largest about four times the budget, and whether they begin as the teacher."""
    network = teacher.generator
    own = network.architecture if network is not None else None
    if isinstance(own, ResnetArchitecture) and len(own.channels.entries) == 8 and not own.separable_ends:
        spaces = [usual_space(replace(own, channels=_scaled(own.channels, own.channels, scale))) for scale in SCALES]
        warm = True
    else:
        blocks = 9 if size * teacher.scale >= USUAL_SIZE else 6
        spaces = [
            usual_space(
                ResnetArchitecture(
                    ChannelConfig.uniform(2 * width), blocks, in_channels=teacher.in_channels,
                    out_channels=teacher.out_channels, scale=float(teacher.scale),
                )
            )
            for width in (96, 64, 48, 32, 24, 16, 8)
        ]  # fmt: skip
        warm = False
    smallest = spaces[-1].widest
    if limits.latency_ms is not None:  # of other networks they are estimated: timing large ones takes long
        fitting = limits.latency_ms * smallest.cost(size, size).macs / _table_ms(smallest, size)
        limits = replace(limits, macs=min(limits.macs or math.inf, fitting))
    fits = (space for space in spaces if _share(space.widest, limits, size) <= WIDEST)
    return next(fits, spaces[-1]), warm


def _scaled(channels: ChannelConfig, most: ChannelConfig, scale: float) -> ChannelConfig:
    """Every entry times ``scale`` in whole units; half of it, the widest choice of a space, is at most ``most``."""
    units = [8 // factor for factor in FACTORS[8]]
    entries = [
        max(unit, min(round(entry * scale / unit) * unit, 2 * top))
        for entry, top, unit in zip(channels.entries, most.entries, units, strict=True)
    ]
    return ChannelConfig(tuple(entries))


def _share(network: GeneratorArchitecture, limits: Limits, size: int) -> float:
    """How much of the tightest limit a network takes, milliseconds left out."""
    found = network.cost(size, size)
    pairs = (found.macs, limits.macs), (found.params, limits.params), (found.bytes_int8, limits.file_bytes)
    return max(value / limit for value, limit in pairs if limit is not None)


def _table_ms(network: GeneratorArchitecture, size: int) -> float:
    return LatencyTable.build(only(network), (size, size)).predict(network)


# --- limits on the int8 file ------------------------------------------------------------------------------------------


def _as_searched(limits: Limits, space: ArchitectureSpace, size: int, runtime: str) -> Budget:
    """The limits as a search takes them: bytes of the file as parameters, its milliseconds as those of a latency table.

    The narrowest and the widest network are written as int8 files and timed; between them both costs are taken to grow
    alike.
    """
    params, table_ms = limits.params, None
    asked = {"bytes": limits.file_bytes, "latency_ms": limits.latency_ms}
    if wanted := {name: limit for name, limit in asked.items() if limit is not None}:
        low = _measured(space.narrowest, size, limits, runtime)
        for name, limit in wanted.items():
            if limit < low[name]:
                raise GancompError(
                    f"No student has at most {amount(name, limit)} as an int8 file: they begin at "
                    f"{amount(name, low[name])}; raise the limit to that or more."
                )
        high = _measured(space.widest, size, limits, runtime)
        if limits.file_bytes is not None:
            params = min(params or math.inf, _between("bytes", limits.file_bytes, low, high, "params"))
        if limits.latency_ms is not None:
            table_ms = _between("latency_ms", limits.latency_ms, low, high, "table_ms")
    return Budget(limits.macs, params, table_ms)


def _measured(network: GeneratorArchitecture, size: int, limits: Limits, runtime: str) -> dict[str, float]:
    """A network's costs and those of its int8 file, which random weights do not change."""
    with scratch() as folder:
        shape = (1, network.in_channels, size, size)
        file = export_int8(build(network), folder / "int8.onnx", torch.rand(shape) * 2 - 1)
        found = {"params": float(network.cost(size, size).params), "bytes": float(file.stat().st_size)}
        if limits.latency_ms is not None:
            timed = openvino_latency if runtime == "openvino" else onnx_latency
            found["latency_ms"] = timed(file, shape).median_ms
            found["table_ms"] = _table_ms(network, size)
    return found


def _between(what: str, limit: float, low: Mapping[str, float], high: Mapping[str, float], wanted: str) -> float:
    """The cost ``wanted`` at which the cost ``what`` reaches its limit, on the line through two networks."""
    rise = max(high[what] - low[what], 1e-9)
    return low[wanted] + (limit - low[what]) / rise * (high[wanted] - low[wanted])


# --- what this machine does in a minute -------------------------------------------------------------------------------


def _sample(
    teacher: Teacher, folder: PictureFolder, canvas: tuple[int, int], size: int, side: int
) -> tuple[Task, float]:
    """A few painted pictures as a task, and the seconds that the teacher needs for one."""
    sources, targets, took = list[Tensor](), list[Tensor](), list[float]()
    for path in folder.files:
        try:
            given = folder.read(path, canvas)
        except GancompError:
            continue  # counted where the pictures are painted
        began = time.monotonic()
        made = teacher.paint(to_float(given[None]))
        took.append(time.monotonic() - began)
        for kept, part in zip((sources, targets), middles(given, to_uint8(made)[0], size, side), strict=True):
            kept.append(part)
        if len(took) == 8 or (len(took) >= 2 and sum(took) > PATIENCE):
            break
    if len(took) < 2:
        raise GancompError(f"Fewer than 2 pictures of {folder.facts.folder} can be decoded; replace them.")
    pictures = PictureSet(torch.stack(sources), torch.stack(targets))
    channels, scale = (len(sources[0]), len(targets[0])), max(1, side // size)
    task = Task("sample", True, side, *channels, pictures, pictures, pictures, "sample", scale=scale)
    return task, statistics.median(took[1:])


def _painted(folder: PictureFolder, pace: float, minutes: float) -> dict[str, int]:
    """How many pictures are painted: all, or as many as a fifth of the minutes allows."""
    most = int(PAINTING * minutes * 60 / pace)
    if most < FEWEST:
        raise GancompError(
            f"The teacher needs {pace:.1f} s a picture, so {minutes:g} minutes are too few for the {FEWEST} pictures "
            f"that are needed; give at least {math.ceil(FEWEST * pace / PAINTING / 60)} minutes or a smaller --size."
        )
    return divided(min(len(folder.files), most, MOST_PICTURES))


@dataclass
class _Stopwatch(Callback):
    """Times steps, and ends the training after some seconds."""

    seconds: float
    times: list[float] = field(default_factory=list)
    began: float = 0.0

    def before_step(self, training: Training) -> None:
        self.began = time.monotonic()

    def after_step(self, training: Training) -> None:
        self.times.append(time.monotonic() - self.began)
        if sum(self.times) > self.seconds and len(self.times) > 2:
            training.config = replace(training.config, steps=training.step)

    @property
    def pace(self) -> float:
        """Seconds of a step; the first one warms up."""
        return statistics.fmean(self.times[1:])


@dataclass(frozen=True)
class _Paces:
    """Seconds: of a picture of the teacher, a step of the supernet, a step of fine-tuning, a candidate's picture."""

    painting: float
    supernet: float
    tuning: float
    scoring: float


def _paces(
    draft: Plan, typical: GeneratorArchitecture, network: Generator | None, sample: Task, painting: float
) -> _Paces:
    trial = replace(draft, supernet_steps=50, tuning_steps=50)
    watches = [_Stopwatch(min(PATIENCE, 0.6 * draft.minutes)) for _ in range(2)]
    supernet = stages.train_supernet(trial, network, sample, [watches[0]], progress=False).averaged["generator"]
    elastic = cast(ElasticGenerator, supernet.cpu().eval())
    stages.fine_tune(trial, elastic.extract(typical), sample, [watches[1]], progress=False)
    score = stages.PairedScore(elastic, sample, len(sample.search))
    score(typical)  # once unmeasured
    began = time.monotonic()
    score(typical)
    return _Paces(painting, watches[0].pace, watches[1].pace, (time.monotonic() - began) / len(sample.search))


def _typical(candidates: Candidates) -> GeneratorArchitecture:
    """The one of some networks within the budget that costs most: fine-tuning takes about its time."""
    rows = np.array(candidates.fresh(32, ()), dtype=np.int64)
    dearest: GeneratorArchitecture = candidates.space.decode(rows[int(candidates.table(rows).macs.argmax())])
    return dearest


def _fitted(draft: Plan, paces: Callable[[Plan], _Paces], started: float) -> Plan:
    """The draft with steps, squares and minutes that fit."""
    while True:
        measured = paces(draft)
        planning = time.monotonic() - started
        painting = sum(draft.painted.values()) * measured.painting
        finishing = EXPORTING + _reporting(draft, measured)
        left = 60 * draft.minutes - planning - painting - finishing
        searching = SEARCHING * left
        supernet, tuning = SUPERNET * left, (1 - SUPERNET - SEARCHING) * left
        steps = [int(min(MOST_STEPS, share / pace))
                 for share, pace in ((supernet, measured.supernet), (tuning, measured.tuning))]  # fmt: skip
        grid = math.lcm(4, max(1, draft.made // draft.size))
        smaller = draft.crop // (2 * grid) * grid
        if sum(steps) >= ENOUGH or smaller < LEAST_CROP or draft.made < draft.size:
            break
        draft = replace(draft, crop=smaller)
    if min(steps) < FEWEST_STEPS:
        needed = (planning + painting + finishing + FEWEST_STEPS * (measured.supernet + measured.tuning) / 0.4) / 60
        raise GancompError(
            f"{draft.minutes:g} minutes are too few on this machine, where a step takes {measured.supernet:.2f} s; "
            f"give at least {math.ceil(needed)} minutes or a smaller --size."
        )
    scored = int(searching / (WANTED_CANDIDATES * measured.scoring))
    scored = min(max(scored, FEWEST), draft.painted["search"])
    plan = replace(
        draft,
        supernet_steps=steps[0],
        tuning_steps=steps[1],
        candidates=min(max(int(searching / (measured.scoring * scored)), FEWEST), MOST_CANDIDATES),
        scored=scored,
        memory_gb=round(1.2 * psutil.Process().memory_info().rss / 1e9, 1),
        disk_gb=round(_disk(draft) / 1e9, 2),
        warnings=_warnings(draft),
    )
    seconds = (painting, steps[0] * measured.supernet, plan.candidates * scored * measured.scoring,
               steps[1] * measured.tuning, EXPORTING, _reporting(draft, measured))  # fmt: skip
    return replace(plan, stages=_stages(plan, seconds))


def _reporting(draft: Plan, measured: _Paces) -> float:
    """Seconds for the report, which paints the held-out pictures with the teacher in some forms and scores them."""
    return 10 + min(REPORTING * 60 * draft.minutes, draft.painted["test"] * (0.3 + 3 * measured.painting))


def _stages(plan: Plan, seconds: tuple[float, ...]) -> tuple[Stage, ...]:
    start = "begun with the teacher's most important channels" if plan.warm else "begun with random weights"
    what = {
        "pictures": f"{sum(plan.painted.values()):,} pictures of the teacher, kept on the disk",
        "supernet": f"{plan.supernet_steps:,} steps, all {plan.space.size:,} networks in shared weights, {start}",
        "search": f"up to {plan.candidates} networks within the budget, scored on {plan.scored} pictures",
        "tuning": f"{plan.tuning_steps:,} more steps of the best one",
        "export": "float32 and int8 ONNX files, compared with the student",
        "report": "times and pictures of teacher and student side by side",
    }
    return tuple(
        Stage(name, text, round(took / 60, 2)) for (name, text), took in zip(what.items(), seconds, strict=True)
    )


def _disk(plan: Plan) -> float:
    numbers = plan.size**2 * plan.space.in_channels + plan.made**2 * plan.space.out_channels
    pictures = sum(plan.painted.values()) * numbers
    weights = 4 * plan.space.widest.cost(plan.size, plan.size).params
    return pictures + 12 * weights + 20e6  # two checkpoints with averages and moments, discriminators, files


def _warnings(plan: Plan) -> tuple[str, ...]:
    used, facts, test = sum(plan.painted.values()), plan.pictures, plan.painted["test"]
    found = []
    if plan.canvas != (plan.size, plan.size):
        found.append(f"The teacher gets {plan.canvas[0]} x {plan.canvas[1]} pixels; students learn the middle "
                     f"{plan.size} x {plan.size}.")  # fmt: skip
    if used < facts.readable:
        found.append(f"{used:,} of {facts.readable:,} pictures are used: more minutes paint more of them.")
    if test < KID_PICTURES:
        found.append(f"Only {test} pictures are held out: distances between sets of pictures need {KID_PICTURES}, "
                     f"which a folder of {math.ceil(KID_PICTURES / HELD['test'][0])} has.")  # fmt: skip
    if facts.typical < plan.size and facts.typical:
        found.append(f"Half of the pictures are smaller than {plan.size} pixels and are enlarged.")
    if plan.crop < plan.made:
        found.append(f"Squares of {plan.crop} pixels are trained on: whole pictures would allow too few steps.")
    return tuple(found)
