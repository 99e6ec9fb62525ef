"""Once for all: one training, after which every network of a space can be cut out.

Cai et al., ICLR 2020 (arXiv 1908.09791), as GAN Compression (Li et al., CVPR 2020, arXiv 2003.08936) uses it: at every
step networks are drawn from the space and trained in the weights they share, under a teacher and against one
discriminator.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core import zoo
from gancomp_core.data import Batch, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.feature_distillation import (
    OBJECTIVE,
    DistillationOutputs,
    Taps,
    TeacherAnswer,
    game,
    taps_of,
)
from gancomp_core.nets import (
    Architecture,
    ArchitectureSpace,
    ElasticGenerator,
    Generator,
    GeneratorArchitecture,
    SearchSpace,
    build,
    sort_channels,
)
from gancomp_core.train import pix2pix
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.loop import Game, Trained, fit
from gancomp_core.train.objectives import Objective
from gancomp_core.train.outputs import Networks
from gancomp_core.train.progress import tile

#: Which networks a step trains: from a source of random numbers to their architectures.
Sampler = Callable[[random.Random], Sequence[GeneratorArchitecture]]


def uniform(space: ArchitectureSpace, networks: int = 1) -> Sampler:
    """Networks drawn uniformly from a space, as published: one per step."""
    return lambda rng: [space.sample(rng) for _ in range(networks)]


def sandwich(space: ArchitectureSpace, between: int = 1) -> Sampler:
    """The widest, the narrowest, and some between (Yu and Huang, ICCV 2019, arXiv 1903.05134)."""
    return lambda rng: [space.widest, space.narrowest, *(space.sample(rng) for _ in range(between))]


class SupernetOutputs:
    """One step of a supernet: the outputs of every network drawn, ``parts``, all on the same batch."""

    def __init__(self, networks: Networks, batch: Batch, sampler: Sampler, taps: Taps | None = None) -> None:
        self.networks, self.source, self.target = networks, batch.source, batch.target
        rng = random.Random(int(torch.randint(2**62, ())))
        answer = TeacherAnswer(networks, batch, taps)
        elastic: Any = networks["generator"]
        self.parts: list[DistillationOutputs] = []
        for architecture in sampler(rng):
            elastic.activate(architecture)
            self.parts.append(DistillationOutputs(networks, batch, taps, answer))


def preview(outputs: SupernetOutputs) -> Image.Image:
    """The first pictures of a step as rows: source, what each network makes of it, target."""
    return tile([outputs.source[:12], *(part.fake[:12] for part in outputs.parts), outputs.target[:12]])


def warm_start(space: ArchitectureSpace, generator: nn.Module) -> ElasticGenerator:
    """An elastic generator that starts from a trained generator, its channels sorted by importance.

    Where the generator is wider than the space's widest network, its most important channels stay, and where it is
    deeper, the first blocks of each third. Kernels larger than its own begin with zeros around them, blocks of another
    kind with random weights. Its own weights are left alone.

    Args:
        space: The space of the elastic generator.
        generator: At least as wide and as deep as the widest network of the space, its blocks of the same kind.

    Returns:
        The elastic generator.

    Raises:
        GancompError: Where the two do not fit.
    """
    elastic, architecture = build(space), cast(Generator, generator).architecture
    sorted_one = copy.deepcopy(generator)
    sort_channels(sorted_one)
    given = _shallower(sorted_one.state_dict(), architecture, space.widest)
    for name, tensor in elastic.full.state_dict().items():
        if name not in given or any(o < n for o, n in zip(given[name].shape[:2], tensor.shape[:2], strict=True)):
            raise GancompError(
                f"The widest network of the space, {space.widest}, cannot begin as {generator.architecture}, because "
                f"'{name}' is missing there or narrower; take a space whose networks are no wider and no deeper."
            )
        tensor.copy_(_fitted(given[name], tensor.shape))
    return elastic


def _shallower(weights: dict[str, Tensor], deep: Architecture, shallow: Architecture) -> dict[str, Tensor]:
    """The weights of a generator by the names that a shallower one gives them; those of other blocks left out."""
    if type(deep) is not type(shallow):
        return weights
    kept = {shallow.place_in(deep, stage): stage for stage in shallow.stage_channels}
    stages = {name: name.split(".")[1] for name in weights}  # "stages.block3.conv1.weight" belongs to "block3"
    return {name.replace(stage, kept[stage], 1): weights[name] for name, stage in stages.items() if stage in kept}


def _fitted(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The leading part of a tensor, its kernel with zeros around it where ``shape`` has a larger one."""
    part = tensor[tuple(slice(size) for size in shape[:2])]
    if part.ndim < 4 or part.shape == shape:
        return part
    margin = (shape[-1] - part.shape[-1]) // 2
    return nn.functional.pad(part, (margin,) * 4)


def train_supernet(
    elastic: ElasticGenerator,
    teacher: nn.Module | None,
    task: Task,
    config: TrainConfig,
    *,
    sampler: Sampler | None = None,
    objective: Objective = OBJECTIVE,
    discriminator: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train every network of an elastic generator (in place) on a paired task under a teacher.

    The objective is averaged over the networks of a step; they share adaptors and discriminator.

    Args:
        elastic: The elastic generator.
        teacher: Not changed; None where the objective needs nothing of it.
        task: A paired task.
        config: How; the learning rate is 4e-4 by default.
        sampler: Chooses the networks of a step (default: one, uniformly).
        objective: As for :func:`gancomp_core.methods.feature_distillation.distil`.
        discriminator: Likewise.
        callbacks: What else happens around the steps.

    Returns:
        The outcome; the averaged elastic generator is ``averaged["generator"]``.

    Raises:
        GancompError: As :func:`gancomp_core.methods.feature_distillation.distil` does.
    """
    one = game(elastic, teacher, task, config, objective, discriminator)
    return fit(of_many(one, sampler or uniform(elastic.space), objective), task, config, callbacks)


def of_many(one: Game, sampler: Sampler, objective: Objective) -> Game:
    """The game of one student for an elastic one: several networks a step, and every objective averaged over them."""
    outputs = partial(SupernetOutputs, sampler=sampler, taps=taps_of(objective))
    groups = tuple(replace(group, objective=group.objective.over("parts", "mean")) for group in one.groups)
    return replace(one, outputs=outputs, groups=groups, preview=preview)


def from_teacher(
    task: Task,
    space: ArchitectureSpace,
    config: TrainConfig,
    *,
    teacher: str,
    objective: Objective = OBJECTIVE,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """GAN Compression's supernet: starts from a model of the zoo, and learns from it and against its discriminator.

    Args:
        task: A paired task.
        space: The space of the supernet.
        config: How.
        teacher: Name of the model.
        objective: As for :func:`train_supernet`.
        callbacks: What else happens around the steps.

    Returns:
        The outcome.
    """
    model = zoo.load(teacher)
    elastic, theirs = warm_start(space, model.generator), model.discriminator
    return train_supernet(
        elastic, model.generator, task, config, objective=objective, discriminator=theirs, callbacks=callbacks
    )


def all_at_once(
    task: Task,
    space: ArchitectureSpace,
    config: TrainConfig,
    *,
    objective: Objective = pix2pix.OBJECTIVE,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train every network of a space together from the first step, without a teacher: the naive supernet.

    Args:
        task: A paired task.
        space: The space of the supernet.
        config: How.
        objective: Of every network.
        callbacks: What else happens around the steps.

    Returns:
        The outcome.
    """
    elastic = build(space, config.seed)
    return train_supernet(elastic, None, task, config, objective=objective, callbacks=callbacks)


def progressive_shrinking(
    task: Task,
    space: ArchitectureSpace,
    config: TrainConfig,
    *,
    teacher: str = "",
    full_share: float = 0.4,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train the full network first, sort its channels, then free kernels, depths and widths one after the other.

    After the full network, the steps are divided evenly among the stages that the space has, each with its own decay of
    the learning rate. The stages are distilled from the full network. With a ``teacher``, the full network begins as in
    :func:`from_teacher`, and it and all stages are distilled from that teacher. Every stage has its own checkpoint: the
    given path with the stage's name.

    Args:
        task: A paired task.
        space: The space of the supernet.
        config: How, for all stages together.
        teacher: Name of a model of the zoo; empty for none.
        full_share: Share of the steps that train the widest network alone.
        callbacks: What else happens around the steps.

    Returns:
        The outcome.
    """
    widest, stages = only(space.widest), shrinking_stages(space)
    first = round(full_share * config.steps)
    lengths = _evenly(config.steps - first, len(stages))

    def stage(name: str, steps: int) -> tuple[TrainConfig, list[Callback]]:
        return replace(config, steps=steps), [callback.for_stage(name) for callback in callbacks]

    how, around = stage("full", first)
    train = partial(from_teacher, teacher=teacher) if teacher else all_at_once
    parts = [trained := train(task, widest, how, callbacks=around)]
    full = _averaged(trained).extract()
    elastic, mentor = warm_start(space, full), zoo.load(teacher).generator if teacher else full
    for (name, within), steps in zip(stages.items(), lengths, strict=True):
        how, around = stage(name, steps)
        sampler, opponent = uniform(within), trained.models["discriminator"]
        trained = train_supernet(elastic, mentor, task, how, sampler=sampler, discriminator=opponent, callbacks=around)
        parts.append(trained)
        elastic = _averaged(trained).requires_grad_(True)
    return replace(trained, seconds=sum(part.seconds for part in parts), step=sum(part.step for part in parts))


def _averaged(trained: Trained) -> ElasticGenerator:
    return cast(ElasticGenerator, trained.averaged["generator"])


def _evenly(total: int, parts: int) -> list[int]:
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


def only(network: GeneratorArchitecture) -> ArchitectureSpace:
    """The space of this network alone."""
    return ArchitectureSpace(network, SearchSpace(tuple((entry,) for entry in network.channels.entries)))


def shrinking_stages(space: ArchitectureSpace) -> dict[str, ArchitectureSpace]:
    """Growing parts of a space by the name of what is freed: kernel (and block kind, resolution), depth, width.

    Stages that would add nothing are left out.
    """
    kernel = replace(space, channels=only(space.widest).channels, depths=())
    kernel = replace(kernel, base=space.widest)
    found, before = {}, 1
    for name, part in (("kernel", kernel), ("depth", replace(kernel, depths=space.depths)), ("width", space)):
        if len(part) > before:
            found[name], before = part, len(part)
    return found
