"""Tasks, networks, settings and pictures for tests: small, random, and defined once."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.course import notebook_files
from gancomp_core.data import Batch, Batches, PictureSet, Task, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator, initialize
from gancomp_core.train import Callback, Checkpoint, TrainConfig, Trained
from gancomp_core.train.loop import Training

COLORS = ((20, 40, 160), (30, 120, 40), (200, 180, 120))

# ---- pictures -------------------------------------------------------------------------------------------------------


def numbers(seed: int = 0) -> torch.Generator:
    """Random numbers that depend on nothing else."""
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, seed: int = 0) -> Tensor:
    """Uniform noise in [-1, 1]."""
    return torch.rand(shape, generator=numbers(seed)) * 2 - 1


def smooth(*shape: int, seed: int = 0, scale: int = 4) -> Tensor:
    """Pictures in [-1, 1] that neighboring pixels share: noise of a smaller size, enlarged ``scale`` times."""
    count, channels, height, width = shape
    noise = pictures(count, channels, height // scale, width // scale, seed=seed)
    return F.interpolate(noise, size=(height, width), mode="bilinear")


def uint8_noise(*shape: int, seed: int = 0) -> Tensor:
    """Uniform noise in 0..255."""
    return torch.randint(0, 256, shape, generator=numbers(seed)).to(torch.uint8)


def squares(count: int, channels: int, ground: int, ink: int) -> Tensor:
    """Pictures of 16 pixels with one square of 6 somewhere, uint8 [count, channels, 16, 16]."""
    drawn = torch.full((count, channels, 16, 16), ground, dtype=torch.uint8)
    for i in range(count):
        y, x = (3 * i) % 10, (7 * i) % 10
        drawn[i, :, y : y + 6, x : x + 6] = ink
    return drawn


def stripes(count: int = 12, size: int = 32) -> Tensor:
    """Smooth colored waves of any direction, uint8 [count, 3, size, size]."""
    drawn = torch.rand(count, 3, 3, 1, 1, generator=numbers())
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = torch.sin((drawn[:, :, 0] - 0.5) * y + (drawn[:, :, 1] - 0.5) * x + 6 * drawn[:, :, 2])
    return ((waves + 1) * 127).to(torch.uint8)


def blur(images: Tensor, width: int) -> Tensor:
    """The mean over squares of ``width`` pixels."""
    return F.avg_pool2d(images, width, 1, width // 2, count_include_pad=False)


# ---- tasks ----------------------------------------------------------------------------------------------------------


def a_task(*splits: PictureSet, **changes: Any) -> Task:
    """A task of the given splits, or of one that serves for all three; sizes and channels are theirs."""
    train, search, test = splits if len(splits) == 3 else splits * 3
    sources, targets = train.sources[:1], train.targets[:1]
    values = {
        "name": "tiny",
        "paired": True,
        "size": targets.shape[-1],
        "source_channels": sources.shape[1],
        "target_channels": targets.shape[1],
        "train": train,
        "search": search,
        "test": test,
        "fingerprint": "tiny",
        "scale": targets.shape[-1] // sources.shape[-1],
    }
    return Task(**values | changes)


def noise_task(count: int = 12, size: int = 16, channels: int = 1, **changes: Any) -> Task:
    """Noise to noise: pairs that share nothing."""
    return a_task(PictureSet(*uint8_noise(2, count, channels, size, size)), **changes)


def squares_task(channels: tuple[int, int] = (1, 1), **changes: Any) -> Task:
    """Unpaired: dark squares on white to light squares on black, as many as differ between the sides."""
    drawn = PictureSet(squares(24, channels[0], 255, 40), squares(17, channels[1], 0, 200))
    return a_task(drawn, **{"paired": False} | changes)


def map_task(count: int, block: int, **changes: Any) -> Task:
    """Maps of three classes, 4 x 4 blocks of ``block`` pixels, and what they show: the classes' colors."""
    classes = torch.randint(3, (count, 4, 4), generator=numbers())
    classes = classes.repeat_interleave(block, 1).repeat_interleave(block, 2)
    maps = F.one_hot(classes, 3).movedim(-1, 1).to(torch.uint8) * 255
    colors = torch.tensor(COLORS, dtype=torch.uint8)[classes].movedim(-1, 1)
    return a_task(PictureSet(maps.contiguous(), colors.contiguous()), **{"palette": COLORS} | changes)


def negative_task(paired: bool = True, channels: int = 1, seed: int = 0) -> Task:
    """120 + 40 + 40 smooth pictures of 16 pixels and their negatives."""
    draw = numbers(seed)

    def split(count: int) -> PictureSet:
        images = F.interpolate(torch.randn(count, channels, 4, 4, generator=draw), size=16, mode="bilinear")
        return PictureSet(to_uint8(-images), to_uint8(images))

    name = {"name": "small", "fingerprint": f"random-{seed}-{channels}"}
    return a_task(split(120), split(40), split(40), paired=paired, **name)


def few(task: Task, count: int, *splits: str) -> Task:
    """The same task with the first pictures alone, in all splits or in those named; as if it were another one."""

    def first(pictures: PictureSet) -> PictureSet:
        labels = None if pictures.labels is None else pictures.labels[:count]
        return PictureSet(pictures.sources[:count], pictures.targets[:count], labels)

    cut = {split: first(getattr(task, split)) for split in splits or ("train", "search", "test")}
    return dataclasses.replace(task, **cut, fingerprint=f"{task.fingerprint} {count} {' '.join(splits)}")


class DoubleBatches(Batches):
    """The same batches in float64."""

    def at(self, *step: Any) -> Batch:
        return super().at(*step).map(Tensor.double)


# ---- networks and trainings -----------------------------------------------------------------------------------------


def resnet(width: int = 8, blocks: int = 1, **changes: Any) -> ResnetArchitecture:
    """A residual generator of one width, from one channel to one."""
    values = {"blocks": blocks, "in_channels": 1, "out_channels": 1}
    return ResnetArchitecture(ChannelConfig.uniform(width), **values | changes)


def random_resnet(architecture: ResnetArchitecture | None = None, seed: int = 3) -> ResnetGenerator:
    """A residual generator whose weights are large enough to make pictures that differ."""
    return initialize(ResnetGenerator(architecture or resnet()), seed, std=0.1)


def short_config(steps: int = 3, batch_size: int = 3, **changes: Any) -> TrainConfig:
    """A short and silent training in full precision: a narrow discriminator, an average that follows at once."""
    values = {"batch_size": batch_size, "precision": "32-true", "ema": 0.5, "discriminator_width": 8}
    return TrainConfig(steps, **values | {"progress": False} | changes)


class Stopped(Exception):
    """A training was left in the middle."""


class StopAfter(Callback):
    """Leaves a training after a step, as a reader does who interrupts the kernel."""

    place = 3

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, training: Training) -> None:
        if training.step == self.step:
            raise Stopped


def in_two_parts(train: Callable[..., Any], path: Path, step: int) -> Any:
    """What ``train(callbacks=...)`` gives when it was left after a step and went on from its checkpoint."""
    with pytest.raises(Stopped):
        train(callbacks=[Checkpoint(path, seconds=0.0), StopAfter(step)])
    return train(callbacks=[Checkpoint(path)])


def assert_same_weights(one: Trained, other: Trained) -> None:
    """Two trainings ended at the same weights, bit for bit."""
    for models in ("models", "averaged"):
        for name, model in getattr(one, models).items():
            for key, tensor in model.state_dict().items():
                assert torch.equal(tensor, getattr(other, models)[name].state_dict()[key]), (models, name, key)


def weights_digest(network: nn.Module) -> str:
    """A digest of the names and bytes of all weights."""
    found = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        found.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def bits_depend_on() -> str:
    """The machine and the torch that recorded values are equal on, to the last bit, with one thread."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    known = dict(reversed([line.split("\t: ", 1) for line in lines if "\t: " in line]))
    model = " ".join(known.get(key, "") for key in ("model name", "cpu family", "model\t"))
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {model}"


# ---- what is refused, and what is damaged ---------------------------------------------------------------------------


def is_one_sentence(text: str) -> bool:
    """Whether an error says what it has to say in one sentence on one line."""
    return text.endswith(".") and "\n" not in text and ". " not in text


@contextmanager
def refused(*patterns: str) -> Iterator[pytest.ExceptionInfo[GancompError]]:
    """What happens inside is refused in one sentence, in which every pattern is found."""
    with pytest.raises(GancompError) as caught:
        yield caught
    said = str(caught.value)
    assert is_one_sentence(said), said
    for pattern in patterns:
        assert re.search(pattern, said), f"{pattern!r} is not found in: {said}"


def copied(folder: Path, files: Iterable[str], to: Path) -> Path:
    """A copy of some files of a shipped folder, ``to / folder.name``, which a test may damage."""
    target = to / folder.name
    target.mkdir()
    for name in files:
        shutil.copy(folder / name, target / name)
    return target


# ---- a compression that is done -------------------------------------------------------------------------------------


def finished_compression(teacher: Any, sources: Tensor, student: ResnetGenerator, folder: Path, **changes: Any) -> Any:
    """What a compression hands to its report: sources [2 N, C, H, W] uint8, of which the second half is held out.

    Args:
        teacher: What ``open_teacher`` gives.
        sources: The pictures.
        student: Any small network.
        folder: Where its files go.
        changes: To the plan.
    """
    from gancomp_core.compress.budgets import Limits
    from gancomp_core.compress.pictures import PictureFacts
    from gancomp_core.compress.plan import Finished, Plan, Stage
    from gancomp_core.data import to_float
    from gancomp_core.measure import export_onnx
    from gancomp_core.methods.architecture_search import Budget
    from gancomp_core.methods.quantization import export_int8
    from gancomp_core.nets import ArchitectureSpace, SearchSpace

    half, size = len(sources) // 2, sources.shape[-1]
    painted = to_uint8(teacher.paint(to_float(sources)))
    train, test = (PictureSet(sources[part], painted[part]) for part in (slice(half), slice(half, None)))
    a = student.architecture
    space = ArchitectureSpace(a, SearchSpace(tuple((entry,) for entry in a.channels.entries)))
    most = 2.0 * a.cost(size, size).macs
    plan: dict[str, Any] = {
        "teacher": teacher.name, "teacher_identity": teacher.identity, "teacher_cost": {}, "asked": "macs/2",
        "pictures": PictureFacts(
            folder="pictures", identity="abc", readable=len(sources), unreadable=("bad.png: is cut off",)
        ),
        "painted": {"train": half, "search": 2, "test": half}, "limits": Limits(macs=most), "budget": Budget(macs=most),
        "minutes": 1.0, "canvas": (size, size), "size": size, "crop": size, "batch_size": 8, "supernet_steps": 1,
        "candidates": 3, "scored": 2, "tuning_steps": 1, "space": space, "warm": False, "seed": 0,
        "stages": (Stage("search", "choosing a network", 0.5),), "warnings": ("There are few pictures.",),
    }  # fmt: skip
    float32 = export_onnx(student, folder / "student-float32.onnx", (1, *sources.shape[1:]))
    int8 = export_int8(student, folder / "student-int8.onnx", to_float(sources[:half]), floating=float32)
    scored = [(most / 4, 0.4), (most / 2, 0.2), (most / 1.5, 0.3)]
    return Finished(
        plan=Plan(**plan | changes), teacher=teacher, task=a_task(train, test, test), student=student,
        files={"float32": float32, "int8": int8}, frontier=pd.DataFrame(scored, columns=["macs", "score"]),
        minutes={"search": 0.4}, folder=folder, remarks=("Nothing was unusual.",),
    )  # fmt: skip


# ---- notebooks ------------------------------------------------------------------------------------------------------


def fixed_cells(notebook):
    """Of each cell tagged 'nbval-check' its source and what it shows as far as that is text: the same everywhere."""
    return [(cell.source, *_shown(cell)) for cell in notebook_files.tagged(notebook, "nbval-check")]


def _shown(cell):
    """A stream may come in several pieces."""
    streams = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    others = [output for output in cell.outputs if output.output_type != "stream"]
    return streams, [
        output.get("ename") or {k: v for k, v in output.data.items() if "image" not in k} for output in others
    ]
