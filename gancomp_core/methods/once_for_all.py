"""Once for all: one training, and every network of a space is ready to be cut out.

Cai et al., ICLR 2020 (arXiv 1908.09791), as GAN Compression (Li et al., CVPR 2020, arXiv 2003.08936) uses it: at every
step networks are drawn from the space and trained in the weights they share, under a teacher and against one critic.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from gancomp_core import zoo
from gancomp_core.data import Batch, Task
from gancomp_core.errors import GancompError
from gancomp_core.methods.feature_distillation import DistilledScene, distil, teacher_answer
from gancomp_core.nets import (
    Architecture,
    ArchitectureSpace,
    ElasticGenerator,
    GeneratorArchitecture,
    SearchSpace,
    build,
    sort_channels,
)
from gancomp_core.train.loop import Settings, Trained
from gancomp_core.train.objectives import Objective
from gancomp_core.train.pix2pix import default_objective as pix2pix_objective
from gancomp_core.train.progress import tile

#: Which networks a step trains: from a source of random numbers to their architectures.
Sampler = Callable[[random.Random], Sequence[GeneratorArchitecture]]


def uniform(space: ArchitectureSpace, networks: int = 1) -> Sampler:
    """Networks drawn uniformly from a space, as published: one a step."""
    return lambda rng: [space.sample(rng) for _ in range(networks)]


def sandwich(space: ArchitectureSpace, between: int = 1) -> Sampler:
    """The widest, the narrowest, and some between (Yu and Huang, ICCV 2019, arXiv 1903.05134)."""
    return lambda rng: [space.widest, space.narrowest, *(space.sample(rng) for _ in range(between))]


class SupernetScene:
    """One step of a supernet: a :class:`DistilledScene` for every network drawn, all on the same batch."""

    def __init__(self, models: Mapping[str, nn.Module], batch: Batch, sampler: Sampler) -> None:
        self.models, self.source, self.target = models, batch.source, batch.target
        rng = random.Random(int(torch.randint(2**62, ())))
        elastic: Any = models["generator"]
        self.parts = []
        for architecture in sampler(rng):
            elastic.activate(architecture)
            self.parts.append(_Part(models, batch, self))

    @cached_property
    def taught(self) -> tuple[Tensor, list[Tensor]]:
        """The teacher's picture and features, which all parts share."""
        return teacher_answer(self.models["teacher"], self.source)


class _Part(DistilledScene):
    def __init__(self, models: Mapping[str, nn.Module], batch: Batch, whole: SupernetScene) -> None:
        super().__init__(models, batch)
        self.whole = whole

    @cached_property
    def taught(self) -> tuple[Tensor, list[Tensor]]:
        return self.whole.taught


def over_networks(objective: Objective) -> Objective:
    """An objective of one network as the mean over all networks of a :class:`SupernetScene`."""
    return Objective(
        tuple((weight, name, partial(_mean_over_parts, function)) for weight, name, function in objective.terms)
    )


def _mean_over_parts(function: Callable[[Any], Tensor], scene: SupernetScene) -> Tensor:
    return torch.stack([function(part) for part in scene.parts]).mean()


def preview(scene: SupernetScene) -> Image.Image:
    """The first pictures of a step as rows: source, what each network makes of it, target."""
    return tile([scene.source[:12], *(part.fake[:12] for part in scene.parts), scene.target[:12]])


def warm_start(space: ArchitectureSpace, generator: nn.Module) -> ElasticGenerator:
    """An elastic generator that begins as a trained one, its channels sorted by importance.

    ``generator`` is at least as wide and as deep as the widest network of the space, its blocks of the same kind; where
    it is wider, its most important channels stay, and where it is deeper, the first blocks of each third. Larger
    kernels than its own begin with zeros around them, blocks of another kind than its own with random weights. Its
    own weights are left alone. Raises :class:`GancompError` where the two do not fit.
    """
    elastic = build(space, seed=0)
    sorted_one: Any = type(generator)(generator.architecture)  # type: ignore[call-arg]
    sorted_one.load_state_dict(generator.state_dict())
    sort_channels(sorted_one)
    given = _shallower(sorted_one.state_dict(), sorted_one.architecture, space.widest)
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
    settings: Settings,
    *,
    sampler: Sampler | None = None,
    **options: Any,
) -> Trained:
    """Train every network of an elastic generator (in place) on a paired task under a teacher.

    ``sampler`` chooses the networks of a step (default: one, uniformly). The objective is averaged over them; adaptors
    and critic are shared. ``options`` are those of :func:`gancomp_core.methods.feature_distillation.distil`, such as a
    trained ``critic`` to begin with. Raises :class:`GancompError` for a task without pairs.
    """
    scene = partial(SupernetScene, sampler=sampler or uniform(elastic.space))
    return distil(elastic, teacher, task, settings, scene=scene, over=over_networks, **{"preview": preview, **options})


def from_teacher(task: Task, space: ArchitectureSpace, settings: Settings, *, teacher: str, **options: Any) -> Trained:
    """GAN Compression's supernet: begins as a model of the zoo, and learns from it and against its critic.

    ``options`` are those of :func:`train_supernet`.
    """
    model = zoo.load(teacher)
    elastic = warm_start(space, model.generator)
    return train_supernet(elastic, model.generator, task, settings, critic=model.discriminator, **options)


def all_at_once(task: Task, space: ArchitectureSpace, settings: Settings, **options: Any) -> Trained:
    """Train every network of a space together from the first step, without a teacher: the naive supernet.

    ``options`` are those of :func:`train_supernet`.
    """
    elastic = build(space, settings.seed)
    return train_supernet(elastic, None, task, settings, **{"objective": pix2pix_objective()} | options)


def progressive_shrinking(
    task: Task,
    space: ArchitectureSpace,
    settings: Settings,
    *,
    full_share: float = 0.4,
    checkpoint: Path | None = None,
    **options: Any,
) -> Trained:
    """Train the full network first, sort its channels, then free kernels, depths and widths one after the other.

    The first ``full_share`` of the steps train the widest network alone; the rest is divided evenly among the stages
    that the space has, each distilled from that network and with its own fall of the learning rate. Every stage keeps
    its own ``checkpoint``, the given path with the stage's name. ``options`` are those of :func:`train_supernet`.
    """

    widest, stages = only(space.widest), shrinking_stages(space)
    first = round(full_share * settings.steps)
    lengths = {"full": first} | dict(zip(stages, _evenly(settings.steps - first, len(stages)), strict=True))

    def stage(name: str, elastic: ElasticGenerator, teacher: Any, within: ArchitectureSpace, **more: Any) -> Trained:
        file = checkpoint and checkpoint.with_suffix(f".{name}{checkpoint.suffix}")
        how = {"sampler": uniform(within), "checkpoint": file} | options | more
        return train_supernet(elastic, teacher, task, replace(settings, steps=lengths[name]), **how)

    parts = [trained := stage("full", build(widest, settings.seed), None, widest, objective=pix2pix_objective())]
    full = _averaged(trained).extract()
    elastic = warm_start(space, full)
    for name, within in stages.items():
        parts.append(trained := stage(name, elastic, full, within, critic=trained.models["discriminator"]))
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
