"""How the recorded runs of the course are trained: one function a method, its configuration made of plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from gancomp_core import zoo
from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.agd import train_derived
from gancomp_core.methods.feature_distillation import distil, feature_kd, logit_kd, pixel_kd
from gancomp_core.methods.once_for_all import all_at_once, only, progressive_shrinking, warm_start
from gancomp_core.methods.pseudo_pairs import distil_unpaired
from gancomp_core.methods.wavelet_distillation import wavelet_kd
from gancomp_core.nets import (
    AgdArchitecture,
    ArchitectureSpace,
    ElasticGenerator,
    ResnetArchitecture,
    ResnetGenerator,
    initialise,
)
from gancomp_core.nets.agd import TRANSLATION
from gancomp_core.train.callbacks import Callback, Checkpoint
from gancomp_core.train.cyclegan import train_cyclegan
from gancomp_core.train.loop import Trained
from gancomp_core.train.objectives import Objective, gan, perceptual, reconstruction
from gancomp_core.train.pix2pix import train_pix2pix

if TYPE_CHECKING:
    from gancomp_core.lab.runs import Run


@dataclass(frozen=True)
class Method:
    """How a run is trained: ``train(run, task, callbacks)``.

    A method that is not ``watched`` is not evaluated on the way, so that its best weights are its last.
    """

    train: Callable[[Run, Task, Sequence[Callback]], Trained]
    watched: bool = True


def plain(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """pix2pix from scratch, nothing distilled. Configuration: that of :class:`ResnetArchitecture`."""
    return train_pix2pix(task, architecture_of(run, task), run.settings, callbacks=callbacks)


def supernet(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """One network cut from a supernet, whose training all networks of the same configuration share.

    Configuration: ``how`` ("progressive shrinking" or "all at once"), ``space`` and ``network`` as plain values.
    """
    ways: dict[str, Callable[..., Trained]] = {
        "progressive shrinking": progressive_shrinking,
        "all at once": all_at_once,
    }
    how = ways[run.configuration["how"]]
    space = ArchitectureSpace.from_dict(run.configuration["space"])
    shared = dataclasses.replace(run, configuration={**run.configuration, "network": None})
    kept = shared.folder / "training.ckpt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    trained = how(task, space, run.settings, callbacks=[Checkpoint(kept)])
    elastic = cast(ElasticGenerator, trained.averaged["generator"])
    return dataclasses.replace(trained, averaged={"generator": elastic.extract(architecture_of(run, task))})


def fine_tuned(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """A network cut from a supernet of the zoo and trained further, against the critic that came with the supernet.

    Configuration: ``supernet`` by its name, ``network`` as plain values. The objective is the supernet's without the
    features of the teacher, unless ``terms`` name what to imitate of a ``teacher`` of the zoo; ``reconstruction`` is as
    in :func:`distilled`.
    """
    chosen, shared = run.configuration, zoo.load(run.configuration["supernet"])
    elastic: Any = shared.generator
    network = elastic.extract(architecture_of(run, task)).requires_grad_(True)
    settings = shared.card["settings"]
    teacher = zoo.load(chosen["teacher"]).generator if "teacher" in chosen else None
    objective = _objective(chosen, settings.get("perceptual_weight", 0.0))
    config = dataclasses.replace(run.settings, warp=settings.get("warp", False))
    theirs = shared.discriminator
    return distil(network, teacher, task, config, objective=objective, discriminator=theirs, callbacks=callbacks)


def pruned(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """The most important channels (L1) and the first blocks of each third of a teacher of the zoo, distilled.

    Configuration: ``teacher`` by its name, ``network`` as plain values. The critic begins as the teacher's.
    """
    how = {"begin": "l1", "critic": "teacher", "terms": {"feature_kd": {"weight": 0.5}}}
    return distilled(dataclasses.replace(run, configuration={**how, **run.configuration}), task, callbacks)


def distilled(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """A network that learns from a teacher of the zoo: from pairs, or from the teacher's pictures where there are none.

    Configuration: ``teacher`` by its name, ``network`` as plain values; ``terms`` of distillation by name, each with
    its ``weight`` and the arguments of its function (default: none); ``reconstruction``, the weight of L1 (50);
    ``begin`` is "random" (default) or "l1", the teacher's most important channels; ``critic`` is "fresh" (default, of
    ``critic_width``) or "teacher"; ``taps`` those of its features.
    """
    teacher, chosen = zoo.load(run.configuration["teacher"]), run.configuration
    objective = _objective(chosen, teacher.card["settings"].get("perceptual_weight", 0.0))
    settings = dataclasses.replace(run.settings, discriminator_width=chosen.get("critic_width", 32))
    theirs = teacher.discriminator if chosen.get("critic") == "teacher" else None
    how: dict[str, Any] = {"objective": objective, "discriminator": theirs, "callbacks": callbacks}
    network = architecture_of(run, task)
    if chosen.get("begin") == "l1":
        student: Any = warm_start(only(network), teacher.generator).extract()
    else:
        student = initialise(ResnetGenerator(network), run.seed)
    if not task.paired:
        return distil_unpaired(student, teacher.generator, task, settings, **how)
    settings = dataclasses.replace(settings, warp=teacher.card["settings"].get("warp", False))
    return distil(student, teacher.generator, task, settings, **how)


def cyclegan(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """A CycleGAN of small networks on an unpaired task, without a teacher. Configuration: that of the network."""
    return train_cyclegan(task, architecture_of(run, task), run.settings, callbacks=callbacks)


def agd(run: Run, task: Task, callbacks: Sequence[Callback]) -> Trained:
    """A network that learns as AutoGAN-Distiller's do: from a teacher's pictures, without a discriminator.

    Configuration: ``teacher`` by its name, ``network`` as the text of an AGD network or as the plain values of a ResNet
    generator.
    """
    teacher = zoo.load(run.configuration["teacher"]).generator
    student = architecture_of(run, task)
    if isinstance(student, ResnetArchitecture):
        student = initialise(ResnetGenerator(student), run.seed)
    return train_derived(task, student, run.settings, teacher=teacher, callbacks=callbacks)


def _objective(chosen: Mapping[str, Any], perceptual_weight: float) -> Objective:
    """The game, L1 and the terms of a configuration."""
    objective = gan() + chosen.get("reconstruction", 50) * reconstruction()
    for name, arguments in chosen.get("terms", {}).items():
        given = dict(arguments)
        if name == "feature_kd" and "taps" in chosen:
            given["taps"] = chosen["taps"]
        objective += given.pop("weight") * TERMS[name](**given)
    return objective + perceptual_weight * perceptual() if perceptual_weight else objective


def architecture_of(run: Run, task: Task) -> Any:
    """The :class:`ResnetArchitecture` or :class:`AgdArchitecture` that a run trains.

    Raises :class:`GancompError` for a configuration that tells none.
    """
    values = run.configuration.get("network", run.configuration)
    if isinstance(values, str):
        return AgdArchitecture.parse(TRANSLATION, values, task.source_channels, task.target_channels)
    pictures = {"in_channels": task.source_channels, "out_channels": task.target_channels}
    try:
        return ResnetArchitecture(**{**pictures, **values})
    except TypeError as error:
        allowed = ", ".join(field.name for field in dataclasses.fields(ResnetArchitecture))
        raise GancompError(f"The configuration of {run} is not one of a network; it may hold {allowed}.") from error


#: Terms of distillation by the names that a configuration may use.
TERMS: dict[str, Callable[..., Objective]] = {
    "feature_kd": feature_kd,
    "pixel_kd": pixel_kd,
    "logit_kd": logit_kd,
    "wavelet_kd": wavelet_kd,
}
METHODS = {
    "plain": Method(plain),
    "supernet": Method(supernet, watched=False),
    "fine-tuned": Method(fine_tuned, watched=False),
    "pruned": Method(pruned),
    "distilled": Method(distilled),
    "cyclegan": Method(cyclegan),
    "agd": Method(agd),
}
