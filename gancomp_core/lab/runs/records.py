"""One recorded run: what determines it, how it is done, and the row that it leaves in the table."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from gancomp_core import files, zoo
from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.lab.kinds import METHODS
from gancomp_core.lab.recorded_table import RecordedTable, key_of, lock
from gancomp_core.measure import band_errors, cost, evaluate_generator, likeness, set_distance
from gancomp_core.methods.pseudo_pairs import pseudo_pairs
from gancomp_core.nets import build_generator
from gancomp_core.train import Checkpoint, Evaluate, TrainConfig, fastest_precision

log = logging.getLogger("gancomp")
RUNS = RecordedTable("runs")


@dataclass(frozen=True)
class Protocol:
    """What all runs of a task share.

    ``steps`` of ``batch_size`` pictures; the search split is evaluated ``evaluations`` times, evenly spaced; last and
    best are evaluated on the whole test split with ``evaluation_seeds``. A mended method or measure bumps ``version``.
    """

    version: int
    steps: int
    batch_size: int
    evaluations: int
    evaluation_seeds: tuple[int, ...]


PROTOCOLS = {
    "edges2shoes": Protocol(version=1, steps=2_500, batch_size=16, evaluations=4, evaluation_seeds=(0, 1, 2)),
    "edges2shoes_unpaired": Protocol(version=1, steps=2_500, batch_size=8, evaluations=4, evaluation_seeds=(0, 1, 2)),
    "flat2gloss": Protocol(version=1, steps=1_000, batch_size=8, evaluations=2, evaluation_seeds=(0, 1, 2)),
    "flat2gloss_unpaired": Protocol(version=1, steps=1_000, batch_size=8, evaluations=2, evaluation_seeds=(0, 1, 2)),
}


@dataclass(frozen=True)
class Run:
    """One experiment: a method with its configuration (plain JSON values) on a task, with one seed.

    ``steps`` None means the protocol's number; ``precision`` is part of the key because it changes the weights.
    """

    task: str
    method: str
    configuration: Mapping[str, Any]
    seed: int = 0
    steps: int | None = None
    precision: str = field(default_factory=fastest_precision)

    def __post_init__(self) -> None:
        if self.task not in PROTOCOLS or self.method not in METHODS:
            raise GancompError(
                f"A run needs a task with a protocol ({', '.join(PROTOCOLS)}) "
                f"and a known method ({', '.join(METHODS)}), "
                f"not '{self.task}' and '{self.method}'."
            )

    @property
    def protocol(self) -> Protocol:
        return PROTOCOLS[self.task]

    @property
    def settings(self) -> TrainConfig:
        steps = self.protocol.steps if self.steps is None else self.steps
        return TrainConfig(steps, self.protocol.batch_size, self.seed, precision=self.precision)

    @property
    def key(self) -> str:
        """SHA-256 of everything that determines the result (machine and minutes do not).

        Models of the zoo that a configuration names count with their weights.
        """
        given = self.settings
        named = [value for value in self.configuration.values() if isinstance(value, str) and value in zoo.shown()]
        return key_of(
            load_task(self.task).fingerprint,
            self.method,
            self.configuration,
            f"Settings(steps={given.steps}, batch_size={given.batch_size}, seed={given.seed}, "
            f"precision={given.precision!r}, ema={given.ema})",
            str(self.protocol),
            *(zoo.card(name)["files"] for name in named),
        )

    @property
    def folder(self) -> Path:
        """Where the run keeps its checkpoint and its weights on the way."""
        return files.cache_root() / "runs" / self.key[:16]

    def __str__(self) -> str:
        chosen = ", ".join(f"{name} {value}" for name, value in self.configuration.items())
        return f"{self.task}, {self.method} ({chosen}), seed {self.seed}"


def table() -> pd.DataFrame:
    """All recorded runs, one a row; empty when there are none."""
    return RUNS.rows()


def find(
    task: str, method: str, *, steps: int | None = None, precision: str | None = None, **configuration: Any
) -> pd.DataFrame:
    """The recorded runs of one method on one task with this configuration: one row a seed, all comparable.

    Only runs of the protocol's present version and of this number of ``steps`` count (None: the protocol's).
    ``precision`` None takes the precision of which there are most seeds. Raises :class:`GancompError` naming the
    command when there are none.
    """
    runs, protocol = table(), PROTOCOLS[task]
    if len(runs):
        same = (runs.task == task) & (runs.method == method) & (runs.protocol == protocol.version)
        same &= runs.configuration == json.dumps(configuration, sort_keys=True)
        same &= runs.steps == (steps or protocol.steps)
        runs = runs[same]
    if len(runs):
        runs = runs[runs.precision == (precision or runs.precision.mode().iloc[0])]
    if runs.empty:
        raise GancompError(
            f"No run of '{method}' with {configuration} on {task} is recorded; "
            "'gancomp runs list' shows the plans, 'do <plan>' makes them."
        )
    return runs.sort_values("seed")


def record(run: Run) -> dict[str, Any]:
    """The row of a run: from the table when it was done before, else by doing it now and writing it down."""
    if (row := RUNS.row(run.key)) is not None:
        return row
    with lock(run.folder / "lock"):  # another process may do it while this one waits
        return RUNS.once(run.key, lambda: _execute(run, run.folder))


def trained_generator(run: Run) -> nn.Module:
    """The averaged generator of a run after its last step: from the cache folder where it was done, else trained again.

    On one class of machine the same weights to the bit.
    """
    with lock(run.folder / "lock"):
        trained = METHODS[run.method].train(run, load_task(run.task), [Checkpoint(run.folder / "training.ckpt")])
    return trained.averaged["generator"].eval()


def _execute(run: Run, folder: Path) -> dict[str, Any]:
    task, method = load_task(run.task), METHODS[run.method]

    def distance(network: nn.Module) -> float:
        found = set_distance(network, task, split="search")
        log.info("distance on the search split %.4g", found)
        return found

    watch = Evaluate(distance, every=-(-run.settings.steps // run.protocol.evaluations))
    trained = method.train(run, task, [Checkpoint(folder / "training.ckpt"), *([watch] if method.watched else [])])
    last: Any = trained.averaged["generator"]
    curve = watch.curve if method.watched else {run.settings.steps: distance(last)}
    best, best_step = last, min(curve, key=lambda step: curve[step])
    if best_step != run.settings.steps:
        best = build_generator(last.architecture.as_dict()).eval()
        best.load_state_dict(watch.best)
    quality = {"last": _evaluate(last, run, task)}
    quality["best"] = quality["last"] if best_step == run.settings.steps else _evaluate(best, run, task)
    expense = cost(last, task.size, task.size)
    return {
        "protocol": run.protocol.version,
        "task": run.task,
        "method": run.method,
        "configuration": json.dumps(dict(run.configuration), sort_keys=True),
        "seed": run.seed,
        "steps": run.settings.steps,
        "precision": run.precision,
        "macs": expense.macs,
        "params": expense.params,
        "bytes_fp32": expense.bytes_fp32,
        "minutes": trained.seconds / 60,
        "threads": trained.threads,
        "best_step": best_step,
        "curve": json.dumps(curve),
        **{f"{name}_{which}": value for which, values in quality.items() for name, value in values.items()},
    }


def _evaluate(generator: nn.Module, run: Run, task: Task) -> dict[str, float]:
    """Scores of the test split; "band_..." errors by wavelet band, "taught_..." likeness to a teacher's pictures."""
    scores = evaluate_generator(generator, task, seeds=run.protocol.evaluation_seeds).as_dict()
    pictures = task.test.batch(slice(0, len(task.test)))
    with torch.inference_mode():
        painted = torch.cat([generator(part) for part in pictures.source.split(64)]).clamp(-1, 1)
    for band, error in band_errors(painted, pictures.target).items():
        scores[f"band_{band.replace(' ', '_')}"] = error
    if "teacher" in run.configuration and not task.paired:
        taught = pseudo_pairs(task, zoo.load(run.configuration["teacher"]).generator)
        scores |= {f"taught_{name}": value for name, value in likeness(generator, taught).items()}
    return scores
