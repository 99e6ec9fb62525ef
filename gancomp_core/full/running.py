"""Time a plan on this machine, say what it takes, and carry it out; a killed run continues at its checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from gancomp_core.data import PictureSet, Task, folder_task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import atomic_write
from gancomp_core.full.laps import Compiled, Laps
from gancomp_core.full.methods import METHODS, Done, Networks, Setting, admitted
from gancomp_core.full.plans import Plan, check_pairs, plan_of
from gancomp_core.measure import cost
from gancomp_core.nets import Architecture, build
from gancomp_core.train import Callback, Checkpoint, TrainConfig, load_weights, read_about, save_weights
from gancomp_core.train.config import default_device, fastest_precision
from gancomp_core.train.pix2pix import new_discriminator

TIMED = 4  # steps, of which the first does not count
SIZE = 256
SECONDS = 300.0  # between checkpoints
OUT = Path("full")


def pictures_of(plan: Plan, pictures: str, size: int | None = None) -> Task:
    """A folder of pictures, or a task by name, for a plan.

    Args:
        plan: The plan.
        pictures: A folder as in :func:`gancomp_core.data.folder_task`, or a name as in
            :func:`gancomp_core.data.load_task`, such as "public:horse2zebra".
        size: Height and width in pixels; None takes 256 for a folder, and what the task has.

    Raises:
        GancompError: Where there are no such pictures, or where they are not in pairs and the plan needs those.
    """
    folder = Path(pictures).expanduser()
    task = folder_task(folder, size=size or SIZE) if folder.is_dir() else load_task(pictures)
    check_pairs(plan, task)
    if plan.method == "gaugan" and not task.palette:
        raise GancompError(f"The plan '{plan.name}' needs semantic maps; give a task such as 'landcover2satellite'.")
    return task if plan.paired or not task.paired else replace(task, paired=False, hidden_pairs=True)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan takes here: its steps, the median seconds of one, bytes of memory and of the checkpoint."""

    plan: Plan
    task: Task
    steps: int
    seconds: float
    memory: int
    disk: int
    teacher_is_there: bool

    @property
    def hours(self) -> float:
        return self.steps * self.seconds / 3600

    def __str__(self) -> str:
        plan, task = self.plan, self.task
        ours, device = cost(plan.architecture(task), task.size, task.size), default_device()
        epochs = f", {sum(plan.epochs)} epochs in batches of {plan.batch_size}" if plan.method != "search" else ""
        where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
        lines = [
            f"{plan.name}: {plan.about}",
            f"  after     {plan.source}",
            f"  network   {ours.macs / 1e9:.1f} GMACs at {task.size} pixels, {ours.params / 1e6:.2f} M parameters",
            f"  pictures  {len(task.train.sources):,} sources and {len(task.train.targets):,} targets to train on",
            f"  steps     {self.steps:,}{epochs}",
            f"  time      {self.hours:,.1f} hours: {self.seconds:.2f} s a step, measured here ({where}, "
            f"{fastest_precision()})",
            f"  memory    {self.memory / 1e9:.1f} GB{' of the GPU' if device == 'cuda' else ''}",
            f"  disk      {self.disk / 1e9:.2f} GB of checkpoint",
        ]
        if plan.teacher:
            there = "" if self.teacher_is_there else f", not there yet: run 'gancomp full {plan.teacher}' first"
            lines.append(f"  begins    with {plan.teacher}{there}")
        return "\n".join(lines)


def estimate(plan: Plan, task: Task, out: Path = OUT, *, steps: int | None = None, seed: int = 0) -> Estimate:
    """Time a few steps of a plan, with random weights where the teacher is not there yet, and on a few pictures."""
    laps, teacher = Laps(), _teacher(plan, task, out)
    begun = teacher or untrained(plan, task)
    METHODS[plan.method](setting(plan, _few(task, plan.batch_size), TIMED, seed, begun, (*faster(), laps)))
    in_all = steps or _steps(plan, task)
    disk, memory = laps.disk, laps.memory
    return Estimate(plan=plan, task=task, steps=in_all, seconds=laps.seconds, memory=memory, disk=disk,
                    teacher_is_there=not plan.teacher or bool(teacher))  # fmt: skip


def run(plan: Plan, task: Task, out: Path = OUT, *, steps: int | None = None, seed: int = 0) -> Path:
    """Carry out a plan; a run that was killed continues at its last checkpoint.

    Args:
        plan: The plan.
        task: Its pictures.
        out: The folder in which every plan has one of its name.
        steps: Fewer steps than the plan has; the learning rate falls within them.
        seed: Of everything random.

    Returns:
        The folder with weights (safetensors), the plan and its table of losses.

    Raises:
        GancompError: Where the plan begins with another one that has not been carried out.
    """
    folder, teacher = out / plan.name, _teacher(plan, task, out)
    if plan.teacher and not teacher:
        raise GancompError(
            f"The plan '{plan.name}' begins with the networks of '{plan.teacher}', which are not in {out}; "
            f"run 'gancomp full {plan.teacher}' first."
        )
    folder.mkdir(parents=True, exist_ok=True)
    around = (*faster(), Checkpoint(folder / "training.ckpt", seconds=SECONDS))
    done = METHODS[plan.method](setting(plan, task, steps or _steps(plan, task), seed, teacher, around))
    _write(folder, done, {"plan": plan.name, "pictures": task.fingerprint, "steps": steps or _steps(plan, task)})
    return folder


def setting(
    plan: Plan, task: Task, steps: int, seed: int, teacher: Networks, callbacks: tuple[Callback, ...]
) -> Setting:
    """A plan as its method takes it."""
    config = TrainConfig(
        steps,
        plan.batch_size,
        seed,
        ema=0.0,  # the papers keep the last weights
        lr=plan.lr,
        discriminator_width=plan.critic_width,
        schedule=plan.schedule,
        progress=not any(isinstance(each, Laps) for each in callbacks),
    )
    return Setting(plan=plan, task=task, config=config, teacher=teacher, callbacks=callbacks)


def _steps(plan: Plan, task: Task) -> int:
    if plan.method == "search":
        return admitted(plan, task)
    return plan.steps(max(len(task.train.sources), len(task.train.targets)))


def faster() -> tuple[Callback, ...]:
    """What helps on a GPU alone: kernels chosen by trial, networks compiled."""
    if default_device() != "cuda":
        return ()
    torch.backends.cudnn.benchmark = True  # all pictures have one size
    return (Compiled(),)


def _few(task: Task, batch_size: int) -> Task:
    """A task of a few pictures, enough for the steps that are timed."""
    count = max(8, 2 * batch_size)

    def some(split: PictureSet) -> PictureSet:
        return PictureSet(split.sources[:count], split.targets[:count])

    mark = f"{task.fingerprint}, the first {count}"
    return replace(task, fingerprint=mark, train=some(task.train), search=some(task.search), test=some(task.test))


def _teacher(plan: Plan, task: Task, out: Path) -> Networks:
    """The networks of the plan that another one begins with; none where it has not been carried out."""
    folder = out / plan.teacher
    if not plan.teacher or not (folder / "about.json").exists():
        return {}
    architecture = Architecture.from_dict(read_about(folder / "generator.safetensors")["architecture"])
    found: Networks = {"generator": load_weights(build(cast(Any, architecture)), folder / "generator.safetensors")}
    if (critic := folder / "discriminator.safetensors").exists():
        found["discriminator"] = load_weights(_critic(plan_of(plan.teacher), task), critic)
    return found


def untrained(plan: Plan, task: Task) -> Networks:
    """Networks like the teacher's, with random weights: as fast as trained ones."""
    if not plan.teacher:
        return {}
    teacher = plan_of(plan.teacher)
    network = teacher.search_space(task) if teacher.space else teacher.architecture(task)
    return {"generator": build(network, 0), "discriminator": _critic(teacher, task)}


def _critic(plan: Plan, task: Task) -> nn.Module:
    return new_discriminator(task, width=plan.critic_width, conditional=plan.paired)


def _write(folder: Path, done: Done, about: dict[str, object]) -> None:
    for name, network in done.networks.items():
        described = getattr(network, "space", None) or getattr(network, "architecture", None)
        header = {"architecture": described.as_dict()} if described is not None else {}
        save_weights(network, folder / f"{name}.safetensors", header)
    with atomic_write(folder / "table.csv") as temporary:
        done.table.to_csv(temporary, index=False)
    with atomic_write(folder / "about.json") as temporary:  # last: what is there is complete
        temporary.write_text(json.dumps(about, indent=2), encoding="utf-8")
