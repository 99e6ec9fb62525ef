"""The stages of a compression: each reads files of the stage before and writes its own, and can be killed at any time.

What the clock decides is written down before it is done, so that a run that goes on decides alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gancomp_core.compress.pictures import visible
from gancomp_core.compress.plan import Plan
from gancomp_core.data import PictureSet, Task
from gancomp_core.files import atomic_write
from gancomp_core.measure import likeness
from gancomp_core.methods import architecture_search, feature_distillation, once_for_all
from gancomp_core.methods.architecture_search import Evaluations, Frontier
from gancomp_core.nets import ElasticGenerator, Generator, GeneratorArchitecture, build
from gancomp_core.train import Callback, TrainConfig, Trained, reconstruction
from gancomp_core.train.callbacks import State
from gancomp_core.train.identity import digest
from gancomp_core.train.loop import Game, Training, fit

OBJECTIVE = 50 * reconstruction()  # to the teacher's pictures; a discriminator did not pay within hours
LEARNING_RATE = 1e-3  # 2.5 times that of a long training: there are few steps
LATE = 1.15  # how much longer than planned a training may become before it is shortened


# --- what the clock decides -------------------------------------------------------------------------------------------


class Decisions:
    """To how many steps a training was shortened (to how many networks the search), and at which one that was decided.

    It is kept in a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: dict[str, list[list[int]]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def steps(self, training: str, step: int) -> int | None:
        """The number of steps that was decided by ``step``, if any was."""
        known = [steps for at, steps in self.made.get(training, ()) if at <= step]
        return known[-1] if known else None

    def last(self, training: str) -> int:
        """The step of the last decision."""
        return max((at for at, _ in self.made.get(training, ())), default=-1)

    def add(self, training: str, at: int, steps: int) -> None:
        self.made.setdefault(training, []).append([at, steps])
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(self.made), encoding="utf-8")


@dataclass
class TimeLimit(Callback):
    """Shortens a training that would take a sixth longer than planned, so that it ends in time.

    Args:
        of: Name of the training.
        seconds: That it may take.
        decisions: Where it is written down.
    """

    place = 2  # after a checkpoint has given back its state

    of: str
    seconds: float
    decisions: Decisions
    spent: float = field(default=0.0, init=False)
    since: float = field(default=0.0, init=False)

    def begin(self, training: Training) -> None:
        self.since = time.monotonic()
        self._follow(training)

    def after_step(self, training: Training) -> None:
        now = time.monotonic()
        self.spent, self.since = self.spent + now - self.since, now
        every = max(5, training.config.steps // 40)
        left = training.config.steps - training.step
        if training.step % every == 0 and training.step > self.decisions.last(self.of) and left > 0:
            pace = self.spent / training.step
            if self.spent + left * pace > LATE * self.seconds:
                steps = training.step + max(1, min(left, int((self.seconds - self.spent) / pace)))
                self.decisions.add(self.of, training.step, steps)
        self._follow(training)

    def _follow(self, training: Training) -> None:
        steps = self.decisions.steps(self.of, training.step)
        if steps is not None:
            training.config = replace(training.config, steps=steps)

    def state_dict(self) -> State:
        return {"spent": self.spent}

    def load_state_dict(self, state: State) -> None:
        self.spent = state["spent"]


# --- trainings and search ---------------------------------------------------------------------------------------------


def begun(plan: Plan, network: Generator | None) -> ElasticGenerator:
    """The supernet before its training: the teacher's most important channels, or random weights."""
    if plan.warm:
        assert network is not None
        return once_for_all.warm_start(plan.space, network)
    elastic = build(plan.space, plan.seed)
    plan.space.widest.initialize(elastic.full, plan.seed)
    return elastic


def train_supernet(
    plan: Plan, network: Generator | None, task: Task, callbacks: list[Callback], progress: bool = True
) -> Trained:
    """Train every network of the plan's space at once."""
    config = _config(plan, plan.supernet_steps, progress)
    many = once_for_all.of_many(_game(begun(plan, network), task, config), once_for_all.uniform(plan.space), OBJECTIVE)
    return fit(many, task, config, callbacks)


def fine_tune(plan: Plan, student: Generator, task: Task, callbacks: list[Callback], progress: bool = True) -> Trained:
    """Train one network on, in place."""
    config = _config(plan, plan.tuning_steps, progress)
    return fit(_game(student.requires_grad_(True), task, config), task, config, callbacks)


def _game(student: Generator, task: Task, config: TrainConfig) -> Game:
    """That of distillation without a discriminator."""
    found = feature_distillation.game(student, None, task, config, OBJECTIVE)
    networks = {name: each for name, each in found.networks.items() if name != "discriminator"}
    return replace(found, networks=networks, groups=found.groups[-1:])


def _config(plan: Plan, steps: int, progress: bool) -> TrainConfig:
    crop = plan.crop if plan.crop < plan.made or plan.made > plan.size else None
    return TrainConfig(steps, plan.batch_size, plan.seed, lr=LEARNING_RATE, crop=crop, progress=progress)


class PairedScore:
    """How far the pictures of a supernet's networks are from the teacher's, on the search split; lower is better.

    The mean perceptual distance from the teacher's picture of the same source: with few pictures it is far less noisy
    than a distance between sets.
    """

    def __init__(
        self, supernet: ElasticGenerator, task: Task, pictures: int, tell: Callable[[], None] = lambda: None
    ) -> None:
        sources, targets = task.search.sources[:pictures], task.search.targets[:pictures]
        self.supernet, self.tell = supernet, tell
        self.task = replace(task, search=PictureSet(sources, visible(targets)))
        self.key = f"perceptual distance to the teacher {digest(supernet)} {task.fingerprint} {pictures}"

    def __call__(self, architecture: GeneratorArchitecture) -> float:
        network = self.supernet.extract(architecture).eval()
        found = likeness(lambda sources: visible(network(sources)), self.task, "search")["perceptual"]
        self.tell()
        return found


def search(
    plan: Plan, score: PairedScore, folder: Path, seconds: float, decisions: Decisions
) -> Frontier[GeneratorArchitecture]:
    """The best networks within the budget; scores are kept in the folder, and after some seconds those must do."""
    began = time.monotonic()

    def ends(count: int) -> bool:
        if count and time.monotonic() - began > seconds and not decisions.made.get("search"):
            decisions.add("search", count, count)
        return decisions.steps("search", count) is not None

    return architecture_search.search(
        plan.space, Evaluations(score, cache=folder), plan.budget, pixels=plan.latency or (plan.size, plan.size),
        evaluations=plan.candidates, seed=plan.seed, ends=ends,
    )  # fmt: skip
