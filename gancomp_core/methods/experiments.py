"""How the recorded runs of the course are trained: one function a method, its configuration made of plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gancomp_core import zoo
from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.feature_distillation import distil
from gancomp_core.methods.once_for_all import all_at_once, only, progressive_shrinking, warm_start
from gancomp_core.nets import ArchitectureSpace, ElasticGenerator, ResnetArchitecture
from gancomp_core.train.loop import Trained
from gancomp_core.train.pix2pix import default_objective as pix2pix_objective
from gancomp_core.train.pix2pix import train_pix2pix

if TYPE_CHECKING:
    from gancomp_core.methods.runs import Run


@dataclass(frozen=True)
class Method:
    """How a run is trained: ``train(run, task, checkpoint, until)`` trains until a step and can go on later.

    A method that is not ``watched`` trains to the end at once, so that its best weights are its last.
    """

    train: Callable[[Run, Task, Path, int], Trained]
    watched: bool = True


def plain(run: Run, task: Task, checkpoint: Path, until: int) -> Trained:
    """pix2pix from scratch, nothing distilled. Configuration: that of :class:`ResnetArchitecture`."""
    network = _network(run, task, run.configuration)
    return train_pix2pix(task, network, run.settings, checkpoint=checkpoint, until=until)


def supernet(run: Run, task: Task, checkpoint: Path, until: int) -> Trained:
    """One network cut from a supernet, whose training all networks of the same configuration share.

    Configuration: ``how`` ("progressive shrinking" or "all at once"), ``space`` and ``network`` as plain values.
    """
    how = {"progressive shrinking": progressive_shrinking, "all at once": all_at_once}[run.configuration["how"]]
    space = ArchitectureSpace.from_dict(run.configuration["space"])
    shared = dataclasses.replace(run, configuration={**run.configuration, "network": None})
    kept = shared.folder / "training.ckpt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    trained = how(task, space, run.settings, checkpoint=kept)
    network = _network(run, task, run.configuration["network"])
    elastic = cast(ElasticGenerator, trained.averaged["generator"])
    return dataclasses.replace(trained, averaged={"generator": elastic.extract(network)})


def fine_tuned(run: Run, task: Task, checkpoint: Path, until: int) -> Trained:
    """A network cut from a supernet of the zoo and trained further, against the critic that came with the supernet.

    Configuration: ``supernet`` by its name, ``network`` as plain values. The objective is the supernet's without the
    features of the teacher.
    """
    shared = zoo.load(run.configuration["supernet"])
    elastic: Any = shared.generator
    network = elastic.extract(_network(run, task, run.configuration["network"])).requires_grad_(True)
    settings = shared.card["settings"]
    objective = pix2pix_objective(perceptual_weight=settings.get("perceptual_weight", 0.0))
    how: dict[str, Any] = {"warp": settings.get("warp", False), "checkpoint": checkpoint, "until": until}
    return distil(network, None, task, run.settings, objective=objective, critic=shared.discriminator, **how)


def pruned(run: Run, task: Task, checkpoint: Path, until: int) -> Trained:
    """The most important channels (L1) and the first blocks of each third of a teacher of the zoo, distilled.

    Configuration: ``teacher`` by its name, ``network`` as plain values. The critic begins as the teacher's.
    """
    teacher = zoo.load(run.configuration["teacher"])
    student = warm_start(only(_network(run, task, run.configuration["network"])), teacher.generator).extract()
    how: dict[str, Any] = {"critic": teacher.discriminator, "checkpoint": checkpoint, "until": until}
    return distil(student, teacher.generator, task, run.settings, **how)


def _network(run: Run, task: Task, values: Mapping[str, Any]) -> ResnetArchitecture:
    pictures = {"in_channels": task.source_channels, "out_channels": task.target_channels}
    try:
        return ResnetArchitecture(**{**pictures, **values})
    except TypeError as error:
        allowed = ", ".join(field.name for field in dataclasses.fields(ResnetArchitecture))
        raise GancompError(f"The configuration of {run} is not one of a network; it may hold {allowed}.") from error


METHODS = {
    "plain": Method(plain),
    "supernet": Method(supernet, watched=False),
    "fine-tuned": Method(fine_tuned, watched=False),
    "pruned": Method(pruned),
}
