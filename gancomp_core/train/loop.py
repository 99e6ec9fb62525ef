"""The one training loop: picture -> batch -> scene -> objective -> step -> weights.

It knows neither networks nor losses. What happens in a step is a *scene* (built from the models and a batch); who
learns from it are the *players* (a generator with its objective, a critic with its own). Everything random in a step
depends on (seed, step) alone, so a run killed at any moment resumes from its checkpoint to the same weights, bit for
bit, on the same machine with the same number of threads.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor, nn

from gancomp_core.data import Batches
from gancomp_core.errors import GancompError, TrainingDiverged
from gancomp_core.files import atomic_write
from gancomp_core.train.checkpoints import load_state, save_state
from gancomp_core.train.objectives import Objective
from gancomp_core.train.progress import Progress

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # its greetings are no news to a reader
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")
EXPLODED = 1e5  # losses of pictures in [-1, 1] are of order one


@dataclass(frozen=True)
class Player:
    """One side of the game: the models whose weights it moves (by name), and the objective it minimises with Adam."""

    name: str
    owns: tuple[str, ...]
    objective: Objective
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)


@dataclass(frozen=True)
class Settings:
    """What determines a training besides data, models and objectives.

    ``steps`` and ``batch_size`` (pictures a step, over all processes), ``seed``, ``precision`` ("32-true", "bf16-mixed"
    or "auto": the fastest this machine has), ``ema`` the decay of the averaged generator.
    """

    steps: int
    batch_size: int = 16
    seed: int = 0
    precision: str = "auto"
    ema: float = 0.999

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or not 0 <= self.ema < 1:
            raise GancompError(
                f"A training needs steps >= 1, batch_size >= 1 and 0 <= ema < 1, "
                f"not {self.steps}, {self.batch_size} and {self.ema}."
            )
        if self.precision not in PRECISIONS:
            raise GancompError(f"There is no precision '{self.precision}'; use one of {', '.join(PRECISIONS)}.")


@dataclass
class Trained:
    """The outcome.

    Models by name (those under ``averaged`` hold the exponential moving average), a table of losses, the seconds it
    took (over all resumed parts), the step reached, the precision, device and threads it was (last) trained with, and
    what the last player (the generator) minimised.
    """

    models: dict[str, nn.Module]
    averaged: dict[str, nn.Module]
    history: pd.DataFrame
    seconds: float
    step: int
    precision: str
    device: str
    threads: int
    objective: str


@dataclass
class _State:
    """All that a checkpoint holds."""

    models: dict[str, Any]
    averaged: dict[str, nn.Module]
    optimizers: dict[str, Any]
    step: int = 0
    seconds: float = 0.0
    threads: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def tensors(self) -> dict[str, Any]:
        parts = {"models": self.models, "averaged": self.averaged, "optimizers": self.optimizers}
        return {part: {name: item.state_dict() for name, item in items.items()} for part, items in parts.items()}


def linear_decay(step: int, steps: int) -> float:
    """The learning-rate factor: 1 for the first half, then straight down to 0 (CycleGAN's schedule)."""
    return min(1.0, 2.0 * (1.0 - step / steps))


def default_device() -> str:
    """The name "cuda" where there is such a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fastest_precision(device: str | None = None) -> str:
    """The name "bf16-mixed" where ``device`` (default: :func:`default_device`) computes in bfloat16, else "32-true"."""
    if (device or default_device()) == "cuda":
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:  # x86 only: elsewhere the query is absent or says no
        has_it = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return "bf16-mixed" if has_it else "32-true"


def train(
    models: Mapping[str, nn.Module],
    scene: Callable[[Mapping[str, nn.Module], Any], Any],
    players: Sequence[Player],
    batches: Batches,
    settings: Settings,
    *,
    averaged: Sequence[str] = ("generator",),
    schedule: Callable[[int, int], float] = linear_decay,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    until: int | None = None,
    fabric: Fabric | None = None,
    preview: Callable[[Any], Image.Image] | None = None,
    progress: bool = True,
) -> Trained:
    """Train ``models`` (in place) until step ``until`` (default: ``settings.steps``).

    ``scene(models, batch)`` runs the networks once; then each player in turn evaluates its objective on that scene and
    moves its own weights. With ``checkpoint`` the state is written there about every ``checkpoint_seconds`` and at the
    end, together with the losses as CSV beside it, and training starts from it when it exists. ``fabric`` brings
    devices and processes (default: one CPU or GPU process). ``preview(scene)`` makes the live picture in a notebook.

    Raises :class:`TrainingDiverged` when a loss or a weight stops being finite, :class:`GancompError` when the
    checkpoint belongs to another training or lies beyond ``until``, when two terms share a name, and when ``batches``
    and ``settings`` disagree.
    """
    _check_agreement(players, batches, settings)
    fabric = fabric or single_process(settings.precision)
    state, optimizers = _prepare(models, players, averaged, settings, fabric)
    keeper = _Keeper(checkpoint, checkpoint_seconds, _identity(models, players, batches, settings, schedule), fabric)
    keeper.resume(state)
    until = settings.steps if until is None else min(until, settings.steps)
    if state.step > until:
        raise GancompError(f"The checkpoint {checkpoint} is at step {state.step}, beyond {until}; raise until.")
    if state.step < until:
        state.threads = torch.get_num_threads()
    shown = progress and fabric.is_global_zero and state.step < until
    record_every = max(1, settings.steps // 200)
    with (
        torch.random.fork_rng(),
        Progress(state.step, settings.steps) if shown else contextlib.nullcontext() as reporter,
    ):
        for step in range(state.step, until):
            torch.manual_seed(settings.seed * 1_000_003 + step)
            batch = batches.at(step, fabric.global_rank, fabric.world_size).to(fabric.device)
            stage = scene(state.models, batch)
            values = _play(stage, state.models, players, optimizers, schedule(step, settings.steps), fabric)
            _check_finite(values, step, keeper.last_good)
            _average(state, settings.ema)
            state.step = step + 1
            if step % record_every == 0 or state.step == settings.steps:
                state.history.append({"step": step, **values})
            if reporter:
                reporter.update(state.step, values, functools.partial(preview, stage) if preview else None)
            keeper.save(state, due=state.step == until)
    plain = {name: getattr(model, "module", model).eval() for name, model in state.models.items()}
    about = (
        keeper.seconds(state),
        state.step,
        _precision(fabric),
        fabric.device.type,
        state.threads,
        str(players[-1].objective),
    )
    return Trained(plain, state.averaged, pd.DataFrame(state.history), *about)


def single_process(precision: str = "auto") -> Fabric:
    """A Fabric on this machine's GPU, or else its CPU."""
    device = default_device()
    chosen: Any = fastest_precision(device) if precision == "auto" else precision
    return Fabric(accelerator=device, devices=1, precision=chosen)


def _precision(fabric: Fabric) -> str:
    return str(fabric._precision.precision)  # Fabric has no public name for what it was given


def _check_agreement(players: Sequence[Player], batches: Batches, settings: Settings) -> None:
    if (batches.batch_size, batches.seed) != (settings.batch_size, settings.seed):
        raise GancompError(
            f"The batches have size {batches.batch_size} and seed {batches.seed}, the settings {settings.batch_size} "
            f"and {settings.seed}; make both from the same settings."
        )
    names = [name for player in players for _, name, _ in player.objective.terms]
    if len(set(names)) < len(names):
        raise GancompError(f"Two players have a term of one name among {', '.join(names)}; give each its own.")


def _prepare(
    models: Mapping[str, nn.Module],
    players: Sequence[Player],
    averaged: Sequence[str],
    settings: Settings,
    fabric: Fabric,
) -> tuple[_State, dict[str, Any]]:
    owned = [name for player in players for name in player.owns]
    for name, model in models.items():
        model.train(name in owned)
    ready = {name: _ready(model, fabric) for name, model in models.items()}
    averages = {name: fabric.to_device(copy.deepcopy(models[name]).eval().requires_grad_(False)) for name in averaged}
    optimizers = {
        player.name: fabric.setup_optimizers(
            torch.optim.Adam(
                [p for name in player.owns for p in ready[name].parameters()], player.lr, player.betas, fused=True
            )
        )
        for player in players
    }
    return _State(ready, averages, optimizers), optimizers


def _ready(model: nn.Module, fabric: Fabric) -> nn.Module:
    """The model on its device; several processes share gradients, so what has none cannot be wrapped there."""
    if fabric.world_size > 1 and not any(p.requires_grad for p in model.parameters()):
        return fabric.to_device(model)
    return fabric.setup_module(model)


def _play(
    stage: Any,
    models: Mapping[str, nn.Module],
    players: Sequence[Player],
    optimizers: Mapping[str, Any],
    factor: float,
    fabric: Fabric,
) -> dict[str, float]:
    """Every player evaluates its objective and moves once; returns the value of every term."""
    values: dict[str, Tensor] = {}
    for player in players:
        optimizer = optimizers[player.name]
        for group in optimizer.param_groups:
            group["lr"] = player.lr * factor
        others = [models[name] for other in players if other is not player for name in other.owns]
        with _frozen(others):  # the critic's weights need no gradient while the generator learns from it
            total, parts = player.objective(stage)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(total)
        optimizer.step()
        values |= {name: value.detach() for name, value in parts.items()}
    return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


@contextlib.contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)


@torch.no_grad()
def _average(state: _State, decay: float) -> None:
    """Move the averaged weights; the decay warms up, so that early averages do not remember the random start."""
    share = 1.0 - min(decay, (1 + state.step) / (10 + state.step))
    for name, average in state.averaged.items():
        ours: list[Tensor] = list(average.parameters())
        theirs: list[Tensor] = [p.detach() for p in state.models[name].parameters()]
        torch._foreach_lerp_(ours, theirs, share)
        for buffer, current in zip(average.buffers(), state.models[name].buffers(), strict=True):
            buffer.copy_(current)


def _check_finite(values: Mapping[str, float], step: int, last_good: Path | None) -> None:
    for name, value in values.items():
        if not math.isfinite(value) or abs(value) > EXPLODED:
            raise TrainingDiverged(step, name, value, last_good)


def _identity(
    models: Mapping[str, nn.Module],
    players: Sequence[Player],
    batches: Batches,
    settings: Settings,
    schedule: Callable[[int, int], float],
) -> str:
    """What a checkpoint must agree with to be resumed: networks, data, objectives and settings."""
    shapes = [f"{name}.{key} {list(v.shape)}" for name, m in models.items() for key, v in m.state_dict().items()]
    first = batches.at(0)
    pictures = b"".join(side.numpy().tobytes() for side in (first.source, first.target))
    moves = [f"{p.name}: {p.objective}, lr {p.lr:g}, betas {p.betas}" for p in players]
    networks, data = (hashlib.sha256(part).hexdigest()[:8] for part in ("\n".join(shapes).encode(), pictures))
    parts = [f"networks {networks}", f"pictures {data}", str(settings), *moves, getattr(schedule, "__name__", "")]
    return "; ".join(parts)


class _Keeper:
    """Writes the state to ``path`` now and then, and reads it back; with no path it only watches the clock."""

    def __init__(self, path: Path | str | None, every: float, identity: str, fabric: Fabric) -> None:
        self.path = None if path is None else Path(path)
        self.every, self.identity, self.fabric = every, identity, fabric
        self.began = self.saved = time.monotonic()

    @property
    def last_good(self) -> Path | None:
        return self.path if self.path is not None and self.path.exists() else None

    def seconds(self, state: _State) -> float:
        """Training time so far; the clock of this part starts anew."""
        now = time.monotonic()
        state.seconds, self.began = state.seconds + now - self.began, now
        return state.seconds

    def save(self, state: _State, due: bool) -> None:
        """Write the state when ``due`` or when its time has come; refuse weights that are not finite."""
        if self.path is None or not (due or time.monotonic() - self.saved > self.every):
            return
        for name, model in state.models.items():
            if not all(torch.isfinite(p).all() for p in model.parameters()):
                raise TrainingDiverged(state.step, f"weights of {name}", math.nan, self.last_good)
        about = {
            "identity": self.identity,
            "step": state.step,
            "seconds": self.seconds(state),
            "threads": state.threads,
        }
        if self.fabric.is_global_zero:
            save_state({**about, "history": state.history, **state.tensors()}, self.path)
            with atomic_write(self.path.with_suffix(".csv")) as temporary:
                pd.DataFrame(state.history).to_csv(temporary, index=False)
        self.saved = time.monotonic()

    def resume(self, state: _State) -> None:
        """Fill the state from the checkpoint, if there is one."""
        if self.last_good is None:
            return
        saved = load_state(self.last_good)
        found = saved.get("identity") if isinstance(saved, dict) else "no training state"
        if found != self.identity:
            raise GancompError(
                f"The checkpoint {self.path} belongs to another training ({found}); this one is ({self.identity}); "
                "delete it or choose another checkpoint path."
            )
        for part in ("models", "averaged", "optimizers"):
            for name, item in getattr(state, part).items():
                item.load_state_dict(saved[part][name])
        for name in ("step", "seconds", "threads", "history"):
            setattr(state, name, saved[name])
