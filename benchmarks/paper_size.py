"""Steps of the papers' sizes, by the plans of ``gancomp full`` and by plain PyTorch loops in the same precision.

On a GPU: 256 pixels and the papers' batch. On a CPU, where those take minutes: 64 pixels and a batch of 2.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.full_size import Generator
from benchmarks.plain_supernet import plain_critic, train_plain_supernet
from benchmarks.side_by_side import Budget, Comparison, compare, pictures_a_second
from benchmarks.supernets import Game, noise, plain_models
from gancomp_core.data import Batch, Batches, Task
from gancomp_core.full import Plan, plan_of
from gancomp_core.full.laps import Laps
from gancomp_core.full.methods import METHODS
from gancomp_core.full.running import faster, setting, untrained
from gancomp_core.methods.once_for_all import only
from gancomp_core.nets import build
from gancomp_core.nets.initialization import initialize
from gancomp_core.train.config import default_device, fastest_precision

HEADER = ("what", "gancomp", "plain", "times as fast", "share of the measured peak")
NAMES = ("pix2pix-teacher", "feature-distillation", "once-for-all")
WARM_UP = 2  # steps that do not count
ON_CPU = (64, 2, 3)  # pixels, pictures in a batch, steps
Step = Callable[[int], object]


@dataclass(frozen=True)
class OfPeak:
    """A comparison, and how many of the multiplications a second that large matrices reach ours does."""

    comparison: Comparison
    share: float

    def cells(self) -> tuple[str, ...]:
        """A row of the table, as in ``HEADER``."""
        what, _, *rest = self.comparison.cells()
        return what, *rest, f"{100 * self.share:.0f} %"


def run(budget: Budget) -> Iterator[OfPeak]:
    """Pictures a second of a teacher's, a student's and a supernet's step."""
    gpu = default_device() == "cuda"
    size, batch_size, steps = (256, None, 50) if gpu else ON_CPU
    peak = multiplications_a_second()
    for name in NAMES:
        plan = plan_of(name)
        plan = dataclasses.replace(plan, batch_size=batch_size or plan.batch_size)
        task = noise(size, 4 * plan.batch_size)
        with FlopCounterMode(display=False) as counter:
            plain(plan, task, 1)
        macs = counter.get_total_flops() / 2
        sides = [lambda p=plan, t=task, f=side: f(p, t, steps) / p.batch_size for side in (ours, plain)]
        found = compare(f"{name}, {size} px, batch {plan.batch_size}", *sides, budget.rounds, pictures_a_second)
        seconds = statistics.median(found.ours) * plan.batch_size
        yield OfPeak(found, macs / seconds / peak)


def ours(plan: Plan, task: Task, steps: int) -> float:
    """Seconds a step of the plan, as it would run."""
    laps = Laps()
    teacher = untrained(plan, task)
    METHODS[plan.method](setting(plan, task, WARM_UP + steps, 0, teacher, (*faster(), laps)))
    return (laps.times[-1] - laps.times[WARM_UP - 1]) / steps


def plain(plan: Plan, task: Task, steps: int) -> float:
    """Seconds a step of the same written plainly; batches are made as ours are."""
    device, half = default_device(), fastest_precision() == "bf16-mixed"
    batches, laps = Batches(task.train, plan.batch_size, 0, True, device=device), Laps()

    def rounds() -> Iterator[Batch]:
        for step in range(WARM_UP + steps):
            yield batches.at(step)
            laps.lap()

    with torch.autocast(device, torch.bfloat16, enabled=half):
        (_plain_teacher if plan.method == "pix2pix" else _plain_student)(plan, task, rounds(), device)
    return (laps.times[-1] - laps.times[WARM_UP - 1]) / steps


def _plain_teacher(plan: Plan, task: Task, batches: Iterator[Batch], device: str) -> None:
    generator, critic = Generator().to(device), initialize(plain_critic(6, plan.critic_width), 0).to(device)
    optimizers = [torch.optim.Adam(each.parameters(), plan.lr, (0.5, 0.999)) for each in (critic, generator)]
    for batch in batches:
        fake = generator(batch.source)
        critic.requires_grad_(True)
        _move(optimizers[0], _critic_loss(critic, batch, fake.detach()))
        critic.requires_grad_(False)
        score = -critic(torch.cat([batch.source, fake], 1)).mean()
        _move(optimizers[1], score + 100 * F.l1_loss(fake, batch.target))


def _critic_loss(critic: nn.Module, batch: Batch, fake: Tensor) -> Tensor:
    real, made = (critic(torch.cat([batch.source, each], 1)) for each in (batch.target, fake))
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + made).mean())


def _move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _plain_student(plan: Plan, task: Task, batches: Iterator[Batch], device: str) -> None:
    """A student of one width, or a supernet whose networks take turns."""
    teacher = initialize(build(plan_of(plan.teacher).architecture(task)), 3)
    base = plan.architecture(task)
    space = plan.search_space(task) if plan.space else only(base)
    game = Game(task, teacher, space, plan.batch_size, plan.critic_width, plan.objective, plan.lr)
    models = plain_models(game)
    for module in (models.student, models.teacher, models.adaptors, models.critic):
        module.to(device)
    configs = itertools.cycle(itertools.islice(iter(space.channels), 0, None, max(1, len(space.channels) // 7)))
    train_plain_supernet(models, zip(batches, configs, strict=False), plan.lr)


def multiplications_a_second() -> float:
    """What this machine reaches with large square matrices in the precision of the steps."""
    device, half = default_device(), fastest_precision() == "bf16-mixed"
    side, times = (8192 if device == "cuda" else 1024), []
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16 if half else torch.float32)
    for _ in range(8):
        began = time.perf_counter()
        float((a @ b)[0, 0])  # waits for a GPU
        times.append(time.perf_counter() - began)
    return side**3 / min(times)
