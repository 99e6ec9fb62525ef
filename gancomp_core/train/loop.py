"""The one training loop: picture -> batch -> scene -> objective -> step -> weights.

It knows neither networks nor losses. What happens in a step is a *scene* (built from the models and a batch); who
learns from it are the *players* (a generator with its objective, a critic with its own). Everything random in a step
depends on (seed, step) alone, so a run killed at any moment resumes from its checkpoint to the same weights, bit for
bit.
"""

from __future__ import annotations

import contextlib
import copy
import functools
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


@dataclass
class Trained:
    """The outcome.

    Models by name (those under ``averaged`` hold the exponential moving average), losses a step, seconds.
    """

    models: dict[str, nn.Module]
    averaged: dict[str, nn.Module]
    history: pd.DataFrame
    seconds: float
    step: int


@dataclass
class _State:
    """All that a checkpoint holds."""

    models: dict[str, Any]
    averaged: dict[str, nn.Module]
    optimizers: dict[str, Any]
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def tensors(self) -> dict[str, Any]:
        parts = {"models": self.models, "averaged": self.averaged, "optimizers": self.optimizers}
        return {part: {name: item.state_dict() for name, item in items.items()} for part, items in parts.items()}


def linear_decay(step: int, steps: int) -> float:
    """The learning-rate factor: 1 for the first half, then straight down to 0 (CycleGAN's schedule)."""
    return min(1.0, 2.0 * (1.0 - step / steps))


def fastest_precision(device: str = "cpu") -> str:
    """ "bf16-mixed" where the hardware computes in bfloat16, else "32-true"."""
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if device == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32-true"


def train(
    models: Mapping[str, nn.Module],
    scene: Callable[[Mapping[str, nn.Module], Any], Any],
    players: Sequence[Player],
    batches: Batches,
    settings: Settings,
    *,
    averaged: Sequence[str] = ("generator",),
    schedule: Callable[[int, int], float] = linear_decay,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    until: int | None = None,
    fabric: Fabric | None = None,
    preview: Callable[[Any], Image.Image] | None = None,
    progress: bool = True,
) -> Trained:
    """Train ``models`` until step ``until`` (default: ``settings.steps``).

    ``scene(models, batch)`` runs the networks once; then each player in turn evaluates its objective on that scene and
    moves its own weights. With ``checkpoint`` the state is written there about every ``checkpoint_seconds`` and at the
    end, together with the losses as CSV beside it, and training starts from it when it exists. ``fabric`` brings
    devices and processes (default: one CPU or GPU process). ``preview(scene)`` makes the live picture in a notebook.

    Raises :class:`TrainingDiverged` when a loss or a weight stops being finite, :class:`GancompError` when the
    checkpoint belongs to another training.
    """
    fabric = fabric or single_process(settings.precision)
    state, optimizers = _prepare(models, players, averaged, settings, fabric)
    identity = _identity(models, players, settings)
    if checkpoint is not None and checkpoint.exists():
        _resume(state, checkpoint, identity)
    until = settings.steps if until is None else min(until, settings.steps)
    shown = progress and fabric.is_global_zero and state.step < until
    began = saved = time.monotonic()
    record_every = max(1, settings.steps // 200)
    with Progress(state.step, settings.steps) if shown else contextlib.nullcontext() as reporter:
        for step in range(state.step, until):
            torch.manual_seed(settings.seed * 1_000_003 + step)
            batch = batches.at(step, fabric.global_rank, fabric.world_size).to(fabric.device)
            stage = scene(state.models, batch)
            values = _play(stage, state.models, players, optimizers, schedule(step, settings.steps), fabric)
            _check_finite(values, step, checkpoint)
            _average(state, settings.ema)
            state.step = step + 1
            if step % record_every == 0 or state.step == settings.steps:
                state.history.append({"step": step, **values})
            if reporter:
                reporter.update(state.step, values, functools.partial(preview, stage) if preview else None)
            if checkpoint is not None and (time.monotonic() - saved > checkpoint_seconds or state.step == until):
                state.seconds, began = state.seconds + time.monotonic() - began, time.monotonic()
                _save(state, checkpoint, identity, fabric)
                saved = time.monotonic()
    state.seconds += time.monotonic() - began
    plain = {name: getattr(model, "module", model).eval() for name, model in state.models.items()}
    return Trained(plain, state.averaged, pd.DataFrame(state.history), state.seconds, state.step)


def single_process(precision: str = "auto") -> Fabric:
    """A Fabric on this machine's GPU, or else its CPU."""
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    return Fabric(
        accelerator=accelerator,
        devices=1,
        precision=fastest_precision(accelerator) if precision == "auto" else precision,  # type: ignore[arg-type]
    )


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
    averages = {name: fabric.to_device(copy.deepcopy(models[name]).eval().requires_grad_(False)) for name in averaged}
    ready = {name: fabric.setup_module(model) for name, model in models.items()}
    optimizers = {
        player.name: fabric.setup_optimizers(
            torch.optim.Adam(
                [p for name in player.owns for p in ready[name].parameters()], player.lr, player.betas, fused=True
            )
        )
        for player in players
    }
    return _State(ready, averages, optimizers), optimizers


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
    parameters = [p for module in modules for p in module.parameters()]
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


def _check_finite(values: Mapping[str, float], step: int, checkpoint: Path | None) -> None:
    for name, value in values.items():
        if not math.isfinite(value) or abs(value) > EXPLODED:
            raise TrainingDiverged(step, name, value, checkpoint if checkpoint and checkpoint.exists() else None)


def _identity(models: Mapping[str, nn.Module], players: Sequence[Player], settings: Settings) -> str:
    """What a checkpoint must agree with to be resumed."""
    sizes = [f"{name} of {sum(p.numel() for p in model.parameters()):,} parameters" for name, model in models.items()]
    moves = [f"{p.name}: {p.objective}, lr {p.lr:g}, betas {p.betas}" for p in players]
    return "; ".join([*sizes, str(settings), *moves])


def _save(state: _State, checkpoint: Path, identity: str, fabric: Fabric) -> None:
    for name, model in state.models.items():
        if not all(torch.isfinite(p).all() for p in model.parameters()):
            raise TrainingDiverged(
                state.step, f"weights of {name}", math.nan, checkpoint if checkpoint.exists() else None
            )
    if not fabric.is_global_zero:
        return
    save_state(
        {
            "identity": identity,
            "step": state.step,
            "seconds": state.seconds,
            "history": state.history,
            **state.tensors(),
        },
        checkpoint,
    )
    with atomic_write(checkpoint.with_suffix(".csv")) as temporary:
        pd.DataFrame(state.history).to_csv(temporary, index=False)


def _resume(state: _State, checkpoint: Path, identity: str) -> None:
    saved = load_state(checkpoint)
    if saved.get("identity") != identity:
        raise GancompError(
            f"The checkpoint {checkpoint} belongs to another training ({saved.get('identity')}); "
            f"this one is ({identity}); delete it or choose another checkpoint path."
        )
    for part in ("models", "averaged", "optimizers"):
        for name, item in getattr(state, part).items():
            item.load_state_dict(saved[part][name])
    state.step, state.seconds, state.history = saved["step"], saved["seconds"], saved["history"]
