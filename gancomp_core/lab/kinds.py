"""Kinds of experiments that train: a function for each, its configuration made of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from gancomp_core import files, zoo
from gancomp_core.data import Task, load_task
from gancomp_core.files import Json
from gancomp_core.lab.experiment import KINDS, TRAINING, Experiment, Spec, kind
from gancomp_core.lab.networks import architecture_of
from gancomp_core.lab.rivals.pruning import depgraph
from gancomp_core.methods import agd as agd_method
from gancomp_core.methods import once_for_all
from gancomp_core.methods.discriminator_distillation import cooperated_kd, discriminator_kd
from gancomp_core.methods.feature_distillation import channel_kd, distil, feature_kd, logit_kd, pixel_kd, ssim_kd
from gancomp_core.methods.kernel_alignment import kernel_alignment_kd
from gancomp_core.methods.once_for_all import all_at_once, only, progressive_shrinking, warm_start
from gancomp_core.methods.online_distillation import OBJECTIVE as ONLINE
from gancomp_core.methods.online_distillation import distil_online
from gancomp_core.methods.patch_relations import patch_relation_kd
from gancomp_core.methods.pseudo_pairs import distil_unpaired
from gancomp_core.methods.wavelet_distillation import wavelet_kd
from gancomp_core.nets import AgdArchitecture, ArchitectureSpace, ElasticGenerator, build
from gancomp_core.train import Callback, Checkpoint, TrainConfig, Trained, gan, perceptual, pix2pix, reconstruction
from gancomp_core.train import cyclegan as cyclegan_trainer
from gancomp_core.train.gaugan import train_gaugan
from gancomp_core.train.objectives import Objective
from gancomp_core.train.segmentation import train_segmenter
from gancomp_core.train.super_resolution import train_super_resolution

NOTHING: Mapping[str, Spec] = MappingProxyType({})
#: Terms of distillation by the names that a specification may use.
TERMS: dict[str, Callable[..., Objective]] = {
    "feature_kd": feature_kd,
    "pixel_kd": pixel_kd,
    "logit_kd": logit_kd,
    "wavelet_kd": wavelet_kd,
    "ssim_kd": ssim_kd,
    "channel_kd": channel_kd,
    "kernel_alignment_kd": kernel_alignment_kd,
    "patch_relation_kd": patch_relation_kd,
}
#: The same of terms that compare in the space of the teacher's discriminator.
JUDGED_TERMS: dict[str, Callable[..., Objective]] = {
    "discriminator_kd": discriminator_kd,
    "cooperated_kd": cooperated_kd,
}


@dataclass(frozen=True)
class Job:
    """A training to be done, with its callbacks; ``changes`` are those of the configuration that a caller makes."""

    experiment: Experiment
    callbacks: Sequence[Callback] = ()
    changes: Json = field(default_factory=dict)

    @property
    def task(self) -> Task:
        return load_task(self.experiment.task)

    @property
    def config(self) -> TrainConfig:
        """How it is trained: what every kind of experiment may say."""
        given: Any = self.experiment
        config = TrainConfig(
            given.steps,
            given.batch_size,
            given.seed,
            precision=given["precision"],
            lr=given["lr"],
            warp=given["warp"],
            discriminator_width=given["critic_width"],
        )
        return replace(config, **self.changes)

    def train(self) -> Trained:
        """Do it, or what is left of it."""
        entries = {name: value for name, value in self.experiment.spec.items() if name not in TRAINING}
        trained: Trained = KINDS[self.experiment.kind].function(self, **entries)
        return trained


@kind("plain", trains=True)
def plain(job: Job, *, network: Spec, perceptual_weight: float = 0) -> Trained:
    """pix2pix from scratch, nothing distilled."""
    objective = _with_perceptual(pix2pix.OBJECTIVE, perceptual_weight)
    architecture = architecture_of(network)
    return pix2pix.train_pix2pix(job.task, architecture, job.config, objective=objective, callbacks=job.callbacks)


@kind("cyclegan", trains=True)
def cyclegan(job: Job, *, network: Spec, perceptual_weight: float = 0) -> Trained:
    """A CycleGAN on an unpaired task, without a teacher."""
    objective = cyclegan_trainer.objective_of(job.task)
    if perceptual_weight:
        objective += perceptual_weight * cyclegan_trainer.perceptual_return()
    architecture, train = architecture_of(network), cyclegan_trainer.train_cyclegan
    return train(job.task, architecture, job.config, objective=objective, callbacks=job.callbacks)


@kind("gaugan", trains=True)
def gaugan(job: Job, *, network: Spec) -> Trained:
    """GauGAN on a task whose sources are semantic maps."""
    return train_gaugan(job.task, architecture_of(network), job.config, callbacks=job.callbacks)


@kind("segmenter", trains=True)
def segmenter(job: Job, *, network: Spec) -> Trained:
    """A network that predicts the semantic map of a picture."""
    return train_segmenter(job.task, architecture_of(network), job.config, callbacks=job.callbacks)


@kind("super-resolution", trains=True)
def super_resolution(job: Job, *, network: Spec) -> Trained:
    """A generator that enlarges, trained with L1 alone."""
    return train_super_resolution(job.task, architecture_of(network), job.config, callbacks=job.callbacks)


@kind("supernet of a teacher", trains=True)
def supernet_of_teacher(job: Job, *, teacher: str, space: Spec, perceptual_weight: float = 0) -> Trained:
    """GAN Compression's supernet: starts from a model of the zoo, and learns from it and against its discriminator."""
    objective = _with_perceptual(pix2pix.OBJECTIVE, perceptual_weight) + 0.5 * feature_kd()
    train = once_for_all.from_teacher
    return train(job.task, space_of(space), job.config, teacher=teacher, objective=objective, callbacks=job.callbacks)


@kind("supernet", trains=True, watched=False)
def supernet(job: Job, *, how: str, space: Spec, network: Spec, teacher: str = "") -> Trained:
    """One network cut from a supernet, whose training all networks of the same specification share.

    Args:
        job: The training.
        how: "progressive shrinking" or "all at once".
        space: The space of the supernet.
        network: The network.
        teacher: Name of a model of the zoo, from which the supernet begins and learns; empty for none.

    Returns:
        The outcome.
    """
    ways: dict[str, Callable[..., Trained]] = {
        "progressive shrinking": partial(progressive_shrinking, teacher=teacher),
        "all at once": partial(once_for_all.from_teacher, teacher=teacher) if teacher else all_at_once,
    }
    shared = job.experiment.but(network={}).folder
    with files.locked(shared / "lock"):  # others that need a network of it wait, and find it trained
        kept = [Checkpoint(shared / "training.ckpt")]
        trained = ways[how](job.task, space_of(space), job.config, callbacks=kept)
    elastic = cast(ElasticGenerator, trained.averaged["generator"])
    return replace(trained, averaged={"generator": elastic.extract(architecture_of(network))})


@kind("fine-tuned", trains=True, watched=False)
def fine_tuned(
    job: Job,
    *,
    supernet: str,
    network: Spec,
    teacher: str = "",
    terms: Mapping[str, Spec] = NOTHING,
    reconstruction: float = 50,
) -> Trained:
    """A network cut from a supernet of the zoo and trained further, against the discriminator that came with it.

    Args:
        job: The training.
        supernet: Name of the supernet's model.
        network: The network.
        teacher: Name of a teacher to imitate.
        terms: What to imitate; without any, the objective is the supernet's without the features of the teacher.
        reconstruction: As in :func:`distilled`.

    Returns:
        The outcome.
    """
    shared, model = zoo.load(supernet), zoo.load(teacher) if teacher else None
    elastic, settings = cast(ElasticGenerator, shared.generator), shared.card["settings"]
    return distil(
        elastic.extract(architecture_of(network)).requires_grad_(True),
        model.generator if model else None,
        job.task,
        replace(job.config, warp=settings.get("warp", False)),
        objective=_objective(terms, reconstruction, settings.get("perceptual_weight", 0), model),
        discriminator=shared.discriminator,
        callbacks=job.callbacks,
    )


@kind("pruned", trains=True)
def pruned(job: Job, *, teacher: str, network: Spec) -> Trained:
    """The most important channels (L1) and the first blocks of each third of a teacher of the zoo, distilled.

    The discriminator starts as the teacher's.
    """
    features = {"feature_kd": {"weight": 0.5}}
    return distilled(job, teacher=teacher, network=network, begin="l1", critic="teacher", terms=features)


@kind("distilled", trains=True)
def distilled(
    job: Job,
    *,
    teacher: str,
    network: Spec,
    terms: Mapping[str, Spec] = NOTHING,
    reconstruction: float = 50,
    begin: str = "random",
    critic: str = "new",
    taps: Mapping[str, str] | None = None,
) -> Trained:
    """A network that learns from a teacher of the zoo: from pairs, or from the teacher's pictures where there are none.

    Args:
        job: The training.
        teacher: Name of the teacher's model.
        network: The student.
        terms: Terms of distillation by name, each with its ``weight`` and the arguments of its function.
        reconstruction: Weight of L1.
        begin: "random", or the teacher's most important channels by "l1" or by "depgraph" (Torch-Pruning).
        critic: The discriminator: "new" or "teacher".
        taps: As for :func:`gancomp_core.methods.feature_distillation.feature_kd`.

    Returns:
        The outcome.
    """
    model = zoo.load(teacher)
    settings = model.card["settings"]
    student = begun(network, begin, model, job.experiment.seed)
    if taps:
        terms = {name: {**given, "taps": taps} if name == "feature_kd" else given for name, given in terms.items()}
    paired = job.task.paired
    return (distil if paired else distil_unpaired)(
        student,
        model.generator,
        job.task,
        replace(job.config, warp=settings.get("warp", False)) if paired else job.config,
        objective=_objective(terms, reconstruction, settings.get("perceptual_weight", 0), model),
        discriminator=model.discriminator if critic == "teacher" else None,
        callbacks=job.callbacks,
    )


def begun(network: Spec, begin: str, model: zoo.ZooModel, seed: int) -> Any:
    """A student before its training: "random", or the teacher's most important channels by "l1" or by "depgraph"."""
    architecture = architecture_of(network)
    if begin == "depgraph":
        return depgraph(architecture, model.generator)
    if begin == "l1":
        return warm_start(only(architecture), model.generator).extract().requires_grad_(True)
    return build(architecture, seed)


@kind("online", trains=True)
def online(
    job: Job, *, network: Spec, wide: Spec, deep: Spec | None = None, terms: Mapping[str, Spec] = NOTHING
) -> Trained:
    """A network that learns from teachers which learn in the same steps, all from random weights.

    Args:
        job: The training.
        network: The student.
        wide: The wide teacher.
        deep: The deep teacher; None for none.
        terms: The student's objective; the published terms without any.

    Returns:
        The outcome.
    """
    seed = job.experiment.seed
    parts = [term for name, given in terms.items() for term in _term(name, given, None).terms]
    return distil_online(
        build(architecture_of(network), seed),
        build(architecture_of(wide), seed + 10),
        job.task,
        job.config,
        deep=build(architecture_of(deep), seed + 20) if deep else None,
        objective=Objective(tuple(parts)) if parts else ONLINE,
        callbacks=job.callbacks,
    )


@kind("agd", trains=True)
def agd(job: Job, *, teacher: str, network: Spec, backward: Spec | None = None) -> Trained:
    """A network that learns as AutoGAN-Distiller's do: from a teacher's pictures, without a discriminator.

    Args:
        job: The training.
        teacher: Name of the teacher's model.
        network: One of AGD, or a ResNet generator to compare by the same recipe.
        backward: The network for the way back of a CycleGAN.

    Returns:
        The outcome.
    """
    student = architecture_of(network)
    if not isinstance(student, AgdArchitecture):
        student = build(student, job.experiment.seed)
    back = str(architecture_of(backward)) if backward else ""
    train = agd_method.from_teacher
    return train(job.task, student, job.config, teacher=teacher, backward=back, callbacks=job.callbacks)


def space_of(values: Spec) -> ArchitectureSpace:
    """The space of a specification."""
    return ArchitectureSpace.from_dict(dict(values))


def _objective(
    terms: Mapping[str, Spec], weight: float, perceptual_weight: float, model: zoo.ZooModel | None
) -> Objective:
    """The game, L1 and the terms of a specification, some of which compare as the teacher's discriminator does."""
    objective = gan() + weight * reconstruction()
    for name, given in terms.items():
        objective += _term(name, given, model)
    return _with_perceptual(objective, perceptual_weight)


def _term(name: str, arguments: Spec, model: zoo.ZooModel | None) -> Objective:
    """A term of a specification: its ``weight``, and the arguments of its function."""
    given: Json = dict(arguments)
    term = partial(JUDGED_TERMS[name], model.discriminator) if model and name in JUDGED_TERMS else TERMS[name]
    weighed: Objective = given.pop("weight") * term(**given)
    return weighed


def _with_perceptual(objective: Objective, weight: float) -> Objective:
    return objective + weight * perceptual() if weight else objective
