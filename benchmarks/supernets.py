"""Supernets: a step of their training, the score of one of their networks, the costs of many."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain_pix2pix import with_weights_of
from benchmarks.plain_supernet import (
    PlainGenerator,
    PlainModels,
    plain_adaptors,
    plain_critic,
    train_plain_supernet,
)
from benchmarks.side_by_side import Block, Budget, Comparison, compare, pictures_a_second, repeated, torch_threads
from gancomp_core import nets, zoo
from gancomp_core.data import Batch, Batches, PictureSet, Task, load_task
from gancomp_core.measure import cost, evaluate_generator
from gancomp_core.methods import feature_distillation
from gancomp_core.methods.architecture_search import Budget as MacsBudget
from gancomp_core.methods.architecture_search import Evaluations, Predictor, SupernetScore, costs, search
from gancomp_core.methods.feature_distillation import distil, feature_kd, tap_channels
from gancomp_core.methods.once_for_all import train_supernet, warm_start
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ResnetArchitecture,
    ResnetGenerator,
    initialize,
    search_space,
)
from gancomp_core.train import HINGE, Objective, TrainConfig, Trained, fastest_precision, gan, reconstruction

HEADER = ("what", "against", "threads", "gancomp", "other side", "times as fast")
PRECISIONS = {"32-true": "fp32", "bf16-mixed": "bf16"}
PUBLISHED_SIZES = ((64, 16), (256, 4))  # pixels, pictures in a batch
SQUARE = 4096  # side of the matrices whose product shows how fast the machine multiplies
WARM_UP = 2  # steps at the start of a block that do not count: they allocate memory and fill caches
CONFIGS = 6  # networks that a block of steps goes through, again and again


class Enough(Exception):
    """All steps are measured."""


class Laps:
    """A constant learning-rate schedule that notes when it is asked, once a step; raises :class:`Enough` at the end."""

    def __init__(self, steps: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.steps, self.clock = steps, clock
        self.times: list[float] = []

    def __call__(self, *_: int) -> float:
        self.times.append(self.clock())
        if len(self.times) > WARM_UP + self.steps:
            raise Enough
        return 1.0

    @property
    def seconds_a_step(self) -> float:
        """Mean over the steps after the warm-up."""
        return (self.times[-1] - self.times[WARM_UP]) / self.steps


Schedule = Callable[[int, int], float]


@dataclass(frozen=True)
class Against:
    """A comparison, and what gancomp is compared with."""

    against: str
    comparison: Comparison

    def cells(self) -> tuple[str, ...]:
        """A row of the table, as in ``HEADER``."""
        what, *rest = self.comparison.cells()
        return what, self.against, *rest


@dataclass(frozen=True)
class Game:
    """What the training of a supernet is made of, but for its length and precision."""

    task: Task
    teacher: ResnetGenerator
    space: ArchitectureSpace
    batch_size: int
    discriminator_width: int
    objective: Objective
    lr: float

    def config(self, steps: int, precision: str, schedule: Schedule) -> TrainConfig:
        """How both a supernet and an ordinary network train, on the CPU."""
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
        width = self.discriminator_width
        return TrainConfig(
            WARM_UP + steps + 1, self.batch_size, precision=precision, lr=self.lr, discriminator_width=width,
            schedule=schedule, fabric=fabric, progress=False,
        )  # fmt: skip

    def drawn(self, count: int) -> list[ResnetArchitecture]:
        """Networks of the space, drawn uniformly, the same ones every time."""
        rng = random.Random(0)
        return [cast(ResnetArchitecture, self.space.sample(rng)) for _ in range(count)]


# --- the table


def run(budget: Budget) -> Iterator[Against]:
    """Steps against an ordinary network's, an evaluation, a search, costs."""
    yield from _against_ordinary(budget)
    yield _evaluation(budget)
    yield _search(budget)
    yield _costs(budget)


def _against_ordinary(budget: Budget) -> Iterator[Against]:
    """One thread, as the zoo trains: what it costs that a network is cut from shared weights at every step."""
    game = shoes()
    networks = {
        "the widest network": [cast(ResnetArchitecture, game.space.widest)],
        "uniform networks": game.drawn(CONFIGS),
    }
    steps = CONFIGS * max(1, round(2 * budget.seconds))
    for precision in precisions():
        for how, chosen in networks.items():
            ours = functools.partial(supernet_step, game, chosen, steps, precision)
            theirs = functools.partial(ordinary_step, game, chosen, steps // len(chosen), precision)
            with torch_threads(1):
                found = compare(f"supernet step, {how}, {PRECISIONS[precision]}", ours, theirs, budget.rounds)
            yield Against("distilled alone", found)


def run_published(budget: Budget) -> Iterator[Against]:
    """GAN Compression's own setting on all threads; the plain side is float32 in every row.

    The last row of each size says what the plain side's multiplications take at the speed of a large matrix product:
    nothing that multiplies as much in float32 can be faster by more than that.
    """
    steps = max(1, round(3 * budget.seconds))
    rounds = max(1, budget.rounds // 2)  # a round of the largest takes a minute and more
    for size, batch_size in PUBLISHED_SIZES:
        game = published(size, batch_size)
        chosen = game.drawn(steps)
        theirs = functools.partial(plain_step, game, chosen, steps)
        for precision in precisions():
            what = f"GAN Compression's step, {size} px, batch {batch_size}, {PRECISIONS[precision]}"
            ours = functools.partial(supernet_step, game, chosen, steps, precision)
            yield Against("written plainly, fp32", compare(what, ours, theirs, rounds))
        macs = plain_macs(game, chosen)
        what = f"its {macs / 1e9:,.0f} G multiplications as matrix products, {size} px, fp32"
        product = repeated(square_product(), 1.0, SQUARE**3)

        def multiplied(product: Block = product, macs: float = macs) -> float:
            return macs * product()

        yield Against("written plainly, fp32", compare(what, multiplied, theirs, rounds))


def plain_macs(game: Game, networks: Sequence[ResnetArchitecture]) -> float:
    """Multiply-accumulates of a plain step, forward and backward, the mean over a step of each of these networks."""
    counts = []
    for network in networks:
        steps = Laps(1)
        with FlopCounterMode(display=False) as counter, contextlib.suppress(Enough):
            train_plainly(game, [network], 1, steps)
        counts.append(counter.get_total_flops() / 2 / len(steps.times[1:]))
    return statistics.mean(counts)


def square_product() -> Callable[[], torch.Tensor]:
    """The product of two large float32 matrices."""
    left, right = torch.randn(2, SQUARE, SQUARE)
    return lambda: left @ right


def _score(budget: Budget) -> tuple[SupernetScore, Task, int]:
    """A score, its task and the number of its pictures."""
    supernet = warm_start(shoes_space(), zoo.load("edges2shoes/teacher").generator)
    task, count = load_task("edges2shoes"), min(500, budget.pictures)
    return SupernetScore(supernet, task, count), task, count


def _evaluation(budget: Budget) -> Against:
    """A search asks for the score alone; the other side measures all that a report shows."""
    score, task, count = _score(budget)
    network = shoes_space().sample(random.Random(0))

    def ours() -> None:
        score(network)

    def theirs() -> None:
        extracted = score.supernet.extract(network)
        evaluate_generator(extracted, task, "search", seeds=(0,), n=count, frechet=True)

    what = f"score of a sub-network, {count:,} pictures"
    found = compare(what, repeated(ours, 0), repeated(theirs, 0), min(budget.rounds, 5))
    return Against("`evaluate_generator`", found)


def _search(budget: Budget) -> Against:
    """A predictor asks for few evaluations; the other side shows what it adds to so many."""
    space, (score, *_), evaluations = shoes_space(), _score(budget), min(40, budget.pictures)
    half = MacsBudget(macs=cost(space.widest, 32, 32).macs / 2)
    how: dict[str, Any] = {"pixels": (32, 32), "evaluations": evaluations}

    def ours() -> None:
        search(space, Evaluations(score, cache=False), half, predictor=Predictor(space), **how)

    def theirs() -> None:
        search(space, Evaluations(score, cache=False), half, **how)

    what = f"search of {len(space):,} networks, predictor and {evaluations} evaluations"
    return Against("without predictor", compare(what, repeated(ours, 0), repeated(theirs, 0), 1))


def _costs(budget: Budget) -> Against:
    space, count = published_space(), 50 * budget.pictures
    rng = random.Random(0)
    networks = [space.sample(rng) for _ in range(count)]

    def ours() -> None:
        costs(space, networks, (256, 256))

    def theirs() -> None:
        for network in networks:
            cost(network, 256, 256)

    what = f"costs of {count:,} random configs"
    sides = repeated(ours, 0, count), repeated(theirs, 0, count)
    return Against("one by one", compare(what, *sides, budget.rounds, configs_a_second))


def configs_a_second(seconds: Sequence[float]) -> str:
    """Median and range as configs a second."""
    return pictures_a_second(seconds).replace("pictures", "configs")


def precisions() -> list[str]:
    """Float32, and bfloat16 where the CPU computes in it."""
    return list(PRECISIONS) if fastest_precision("cpu") == "bf16-mixed" else ["32-true"]


# --- the games


def shoes_space() -> ArchitectureSpace:
    """Everything up to the zoo's teacher of edges2shoes."""
    base = ResnetArchitecture(ChannelConfig.uniform(32), 6, in_channels=1, out_channels=1)
    return ArchitectureSpace(base, search_space("resnet/channels-32"))


def shoes() -> Game:
    """edges2shoes, a teacher with ngf 32 and 6 blocks, students of at most that size."""
    space = shoes_space()
    teacher = initialize(ResnetGenerator(cast(ResnetArchitecture, space.widest)), 3)
    return Game(load_task("edges2shoes"), teacher, space, 16, 32, feature_distillation.OBJECTIVE, 4e-4)


def published_space() -> ArchitectureSpace:
    """The space of GAN Compression's ResNet supernet with n 48."""
    base = ResnetArchitecture(ChannelConfig.uniform(48), 9, separable=True)
    return ArchitectureSpace(base, search_space("resnet/channels-48"))


def published(size: int, batch_size: int) -> Game:
    """GAN Compression's setting for edges2shoes on random pictures: what they show changes no time."""
    architecture = ResnetArchitecture(ChannelConfig.uniform(64), 9, separable=True)
    return imitation(architecture, published_space(), size, batch_size, discriminator_width=128)


def imitation(
    teacher: ResnetArchitecture, space: ArchitectureSpace, size: int, batch_size: int, discriminator_width: int
) -> Game:
    """Hinge + 100 L1 + feature distillation from an untrained teacher, on random color pictures."""
    objective = gan(HINGE) + 100 * reconstruction() + feature_kd()
    network = initialize(ResnetGenerator(teacher), 3)
    return Game(noise(size, 4 * batch_size), network, space, batch_size, discriminator_width, objective, 2e-4)


def noise(size: int, count: int) -> Task:
    """Random pairs of color pictures."""
    generator = torch.Generator().manual_seed(0)
    sources, targets = torch.randint(0, 256, (2, count, 3, size, size), generator=generator, dtype=torch.uint8)
    split = PictureSet(sources, targets)
    return Task("noise", True, size, 3, 3, split, split, split, f"noise {size} {count}")


# --- the sides


def supernet_step(game: Game, networks: Sequence[ResnetArchitecture], steps: int, precision: str) -> float:
    """Seconds a step of our supernet, which goes through ``networks`` in a circle."""
    return _seconds_a_step(lambda laps: train_ours(game, networks, steps, precision, laps), steps)


def ordinary_step(game: Game, networks: Sequence[ResnetArchitecture], steps: int, precision: str) -> float:
    """Seconds a step of ordinary networks of these architectures: each is distilled by itself for ``steps``."""
    return statistics.mean(
        _seconds_a_step(functools.partial(train_ordinary, game, network, steps, precision), steps)
        for network in networks
    )


def plain_step(game: Game, networks: Sequence[ResnetArchitecture], steps: int) -> float:
    """Seconds a step of the supernet written plainly."""
    return _seconds_a_step(lambda laps: train_plainly(game, networks, steps, laps), steps)


def _seconds_a_step(train: Callable[[Schedule], object], steps: int) -> float:
    laps = Laps(steps)
    with contextlib.suppress(Enough):
        train(laps)
    return laps.seconds_a_step


def train_ours(
    game: Game, networks: Sequence[ResnetArchitecture], steps: int, precision: str, schedule: Schedule
) -> Trained:
    """Train a new supernet with ``train_supernet`` on the CPU, in a step one network after the other."""
    order = itertools.cycle(networks)
    return train_supernet(
        nets.build(game.space),
        game.teacher,
        game.task,
        game.config(steps, precision, schedule),
        sampler=lambda rng: [next(order)],
        objective=game.objective,
    )


def train_ordinary(
    game: Game, architecture: ResnetArchitecture, steps: int, precision: str, schedule: Schedule
) -> Trained:
    """Distil a new network of one architecture in the same game."""
    student = initialize(ResnetGenerator(architecture), 0)
    config = game.config(steps, precision, schedule)
    return distil(student, game.teacher, game.task, config, objective=game.objective)


def train_plainly(
    game: Game,
    networks: Sequence[ResnetArchitecture],
    steps: int,
    schedule: Schedule,
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """The same training as :func:`train_ours` written plainly; returns the last losses."""
    models = plain_models(game)
    for module in (models.student, models.teacher, models.adaptors, models.critic):
        module.to(dtype)
    batches = Batches(game.task.train, game.batch_size, 0, game.task.paired)

    def rounds() -> Iterator[tuple[Batch, ChannelConfig]]:
        for step in range(WARM_UP + steps + 1):
            schedule(step, steps)  # only to note the time: the learning rate is constant
            batch = batches.at(step)
            yield Batch(batch.source.to(dtype), batch.target.to(dtype)), networks[step % len(networks)].channels

    return train_plain_supernet(models, rounds(), game.lr)


def plain_models(game: Game) -> PlainModels:
    """The plain networks with the weights that ours begin with."""
    start = nets.build(game.space)
    config = TrainConfig(1, discriminator_width=game.discriminator_width)
    models = feature_distillation.game(start, game.teacher, game.task, config, game.objective).networks
    widest, teacher = cast(ResnetArchitecture, game.space.widest), game.teacher.architecture
    channels = game.task.source_channels + game.task.target_channels
    plain = (
        PlainGenerator(widest),
        PlainGenerator(teacher),
        plain_adaptors(tap_channels(widest)[0], tap_channels(teacher)[0]),
        plain_critic(channels, game.discriminator_width),
    )
    names = ("generator", "teacher", "adaptors", "discriminator")
    student, frozen, adaptors, critic = (
        with_weights_of(module, models[name]) for module, name in zip(plain, names, strict=True)
    )
    return PlainModels(student, frozen, teacher.channels, adaptors, critic)  # type: ignore[arg-type]
