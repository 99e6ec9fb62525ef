"""The whole way in seven verbs: from a task and a teacher to a small network in 8 bits, compared with its teacher.

Each is a short way to say what the packages below can do in all detail: :mod:`gancomp_core.data`,
:mod:`gancomp_core.zoo`, :mod:`gancomp_core.methods`, :mod:`gancomp_core.measure`. ``import gancomp_core`` has them all.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any, cast

from torch import nn

from gancomp_core import zoo
from gancomp_core.comparison import Comparison, compare
from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import cache_root
from gancomp_core.methods import architecture_search, feature_distillation, once_for_all, quantization
from gancomp_core.methods.architecture_search import Budget, Frontier, LatencyTable, SupernetScore
from gancomp_core.methods.feature_distillation import OBJECTIVE
from gancomp_core.methods.once_for_all import Sampler
from gancomp_core.methods.pseudo_pairs import distil_unpaired
from gancomp_core.nets import (
    ArchitectureSpace,
    ElasticGenerator,
    Generator,
    GeneratorArchitecture,
    ResnetArchitecture,
    SearchSpace,
)
from gancomp_core.nets.channel_config import FACTORS
from gancomp_core.train import Callback, Checkpoint, Objective, TrainConfig
from gancomp_core.train.identity import digest

__all__ = [
    "Budget",
    "Comparison",
    "compare",
    "export_int8",
    "fine_tune",
    "load_model",
    "load_task",
    "search",
    "supernet_space",
    "train_supernet",
]

#: Shares of a teacher's channels that a supernet may choose from: stem and last upsampling, other ends, blocks.
SHARES = (1 / 2, 1 / 4), (1 / 2, 3 / 8, 1 / 4), (1 / 2, 3 / 8, 1 / 4, 1 / 8)
SHARES_OF_ENTRIES = tuple(SHARES[kind] for kind in (0, 1, 1, 2, 2, 2, 1, 0))


def load_model(name: str) -> Any:
    """A trained generator of the zoo: an ``nn.Module``, float32, on the CPU, in eval mode, without gradients.

    It has three attributes more: ``card``, the plain values of its model card; ``cost`` for the pictures of its task;
    and ``discriminator``, the network it was trained against, or None where the zoo ships none. The discriminator is no
    part of the module: neither its parameters nor its ``state_dict`` hold it.

    Args:
        name: For example "edges2shoes/teacher"; ``gancomp zoo list`` prints all.

    Raises:
        GancompError: For an unknown name, and for a model that ships no weights.
    """
    model = zoo.load(name)
    generator: Any = model.generator
    edge = model.card["cost"]["pixels"]
    generator.card, generator.pixels = model.card, (edge, edge)
    generator.__dict__["discriminator"] = model.models.get("discriminator")  # nn.Module would take it for a part
    return generator


def train_supernet(
    teacher: nn.Module,
    task: Task,
    *,
    steps: int,
    space: ArchitectureSpace | None = None,
    objective: Objective = OBJECTIVE,
    sampler: Sampler | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> ElasticGenerator:
    """Train every network of a space at once, in shared weights that begin as the teacher's and learn from it.

    Args:
        teacher: A ResNet or SPADE generator, such as :func:`load_model` gives; it stays as it is. Where it has a
            ``discriminator``, a copy of that goes on learning.
        task: A task with pairs.
        steps: Steps of training, at least 1.
        space: What networks there are; :func:`supernet_space` of the teacher by default.
        objective: What each network minimizes; adversarial + 50 L1 + feature distillation by default.
        sampler: Which networks a step trains; one drawn uniformly by default
            (:func:`gancomp_core.methods.once_for_all.uniform`, ``sandwich``).
        seed: Of everything random.
        checkpoint: A file; a training that was killed continues from it.

    Returns:
        The averaged elastic generator in eval mode; ``extract(architecture)`` gives a network of it.

    Raises:
        GancompError: For a task without pairs, and for a teacher or a space that does not fit.
    """
    elastic = once_for_all.warm_start(supernet_space(teacher) if space is None else space, teacher)
    trained = once_for_all.train_supernet(
        elastic, teacher, task, _config(teacher, steps, seed), sampler=sampler, objective=objective,
        discriminator=getattr(teacher, "discriminator", None), callbacks=_kept_in(checkpoint),
    )  # fmt: skip
    return cast(ElasticGenerator, _for_pictures(trained.averaged["generator"], task))


def supernet_space(teacher: nn.Module) -> ArchitectureSpace:
    """The usual space of smaller networks for a teacher: half to an eighth of its channels, half to all of its blocks.

    Stem and last upsampling layer choose from 1/2 and 1/4 of the teacher's channels, the other ends from 1/2, 3/8 and
    1/4, each third of the blocks from 1/2, 3/8, 1/4 and 1/8; a ResNet from 1/2, 2/3 and all of the blocks. That is what
    the supernets of the course choose from.

    Raises:
        GancompError: For a teacher that is no ResNet or SPADE generator of eight channel entries.
    """
    architecture = getattr(teacher, "architecture", None)
    if not isinstance(architecture, GeneratorArchitecture) or len(architecture.channels.entries) != 8:
        raise GancompError(
            f"There is no usual space for a {type(teacher).__name__}; take a ResNet or SPADE generator with eight "
            "channel entries, or pass space=ArchitectureSpace(...)."
        )
    return usual_space(architecture)


def usual_space(architecture: GeneratorArchitecture) -> ArchitectureSpace:
    """:func:`supernet_space` of a teacher of this architecture."""
    entries = zip(architecture.channels.entries, SHARES_OF_ENTRIES, FACTORS[8], strict=True)
    channels = SearchSpace(tuple(_choices(entry, shares, 8 // factor) for entry, shares, factor in entries))
    if not isinstance(architecture, ResnetArchitecture):
        return ArchitectureSpace(architecture, channels)
    blocks = architecture.blocks
    depths = sorted({max(blocks // 2, 1), -(-2 * blocks // 3), blocks})
    return ArchitectureSpace(architecture, channels, depths=tuple(depths))


def _choices(entry: int, shares: tuple[float, ...], unit: int) -> tuple[int, ...]:
    """Shares of a channel entry in whole units, the largest first; none is larger than the entry."""
    found = {min(max(round(entry * share / unit), 1) * unit, entry) for share in shares}
    return tuple(sorted(found, reverse=True))


def search(
    supernet: ElasticGenerator,
    task: Task,
    budget: Budget,
    *,
    strategy: str = "evolution",
    evaluations: int | None = None,
    seed: int = 0,
) -> Frontier[GeneratorArchitecture]:
    """Find the networks of a supernet with the best pictures that a budget admits, without further training.

    Networks are scored on the search split. A budget of milliseconds is for this machine, which is timed first, and for
    the runtime that it names.
    Scores are kept in the cache folder, so a search that was killed continues.

    Args:
        supernet: Trained by :func:`train_supernet`.
        task: The task it was trained on.
        budget: For example ``Budget(macs=11e6)``.
        strategy: "evolution", "random", "controller", or "brute force" in a small space.
        evaluations: How many networks are scored at most; 200 by default.
        seed: The same seed finds the same networks.

    Returns:
        All networks that were scored; ``frontier.best`` is the architecture of the best one.

    Raises:
        GancompError: For a budget that no network keeps, with the range that there is.
    """
    edge = task.size // task.scale
    pixels: LatencyTable | tuple[int, int] = (edge, edge)
    if budget.latency_ms is not None:
        pixels = LatencyTable.build(supernet.space, (edge, edge), runtime=budget.runtime)
    score = SupernetScore(supernet, task)
    return architecture_search.search(
        supernet.space, score, budget, strategy, pixels=pixels, evaluations=evaluations, seed=seed
    )


def fine_tune(
    student: nn.Module,
    teacher: nn.Module,
    task: Task,
    *,
    steps: int,
    objective: Objective = OBJECTIVE,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Generator:
    """Train a small network on, under its teacher; on a task without pairs the teacher's pictures are the targets.

    Args:
        student: A generator of this library, for example what ``supernet.extract(frontier.best)`` gives. It is copied.
        teacher: A generator; it stays as it is. Where it has a ``discriminator``, a copy of that goes on learning.
        task: Pictures to learn from.
        steps: Steps of training, at least 1.
        objective: What the student minimizes; adversarial + 50 L1 + feature distillation by default.
        seed: Of everything random.
        checkpoint: A file; a training that was killed continues from it.

    Returns:
        The averaged student in eval mode, with its ``cost`` for the pictures of the task.
    """
    for role, network in (("student", student), ("teacher", teacher)):
        if not isinstance(network, Generator) or not network.architecture.taps:
            raise GancompError(
                f"The {role} is a {type(network).__name__}, which hands out no features; take a generator of "
                "gancomp_core.nets, or write the training of yours with gancomp_core.train."
            )
    method = feature_distillation.distil if task.paired else distil_unpaired
    trained = method(
        copy.deepcopy(student).requires_grad_(True), teacher, task, _config(teacher, steps, seed), objective=objective,
        discriminator=getattr(teacher, "discriminator", None), callbacks=_kept_in(checkpoint),
    )  # fmt: skip
    return _for_pictures(trained.averaged["generator"], task)


def _config(teacher: nn.Module, steps: int, seed: int) -> TrainConfig:
    """Batches as the teacher was trained with, where its card says so: how many pictures, and whether warped."""
    card: Any = getattr(teacher, "card", {})
    settings = card.get("settings", {})
    return TrainConfig(steps, settings.get("batch_size", 16), seed, warp=settings.get("warp", False))


def _kept_in(checkpoint: Path | None) -> list[Callback]:
    return [] if checkpoint is None else [Checkpoint(checkpoint)]


def _for_pictures(network: nn.Module, task: Task) -> Generator:
    """A trained generator ready for use, with its cost for the task's pictures."""
    found = cast(Generator, network).cpu().eval().requires_grad_(False)
    found.pixels = (task.size // task.scale,) * 2
    return found


def export_int8(network: nn.Module, task: Task, path: Path | str | None = None, *, calibration: int = 64) -> Path:
    """Write a generator as an ONNX file that onnxruntime runs in 8-bit integers.

    Args:
        network: Any generator of the task; it is left as it was.
        task: Ranges of activations are measured on its training pictures.
        path: Where to write. By default ``exports`` in the cache folder, under a name that follows from task and
            weights: the same network gives the same file, and another network never overwrites it.
        calibration: Number of training pictures to measure on.

    Returns:
        The path of the file.
    """
    file = Path(path) if path is not None else cache_root() / "exports" / f"{task.name}-int8-{_digest(network)}.onnx"
    return quantization.export_int8(network, file, task.calibration(min(calibration, len(task.train))))


def _digest(network: nn.Module) -> str:
    """Eight digits that change with a network's weights and layers."""
    return hashlib.sha256(f"{network} {digest(network)}".encode()).hexdigest()[:8]
