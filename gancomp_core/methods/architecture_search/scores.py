"""Scores of sub-networks, and a memory of earlier evaluations."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeVar

import torch
from filelock import FileLock
from torch import Tensor, nn

from gancomp_core import files
from gancomp_core.data import Task, to_float
from gancomp_core.errors import GancompError
from gancomp_core.executors import Executor, executor_of
from gancomp_core.measure.distances import frechet_or_kid
from gancomp_core.measure.features import PROTOCOL, extract_features, in_threads
from gancomp_core.measure.quality import FD_MINIMUM
from gancomp_core.measure.running import scored_split
from gancomp_core.nets import Architecture, ElasticGenerator, GeneratorArchitecture
from gancomp_core.nets.efficientnet_lite import weights_hash
from gancomp_core.train.batch_norm import recalibrate
from gancomp_core.train.identity import digest

A = TypeVar("A", bound=Architecture)

BATCH = 64
CALIBRATION = (16, 16)  # batches, pictures in each

log = logging.getLogger("gancomp")


class SupernetScore:
    """The quality of the sub-networks of a trained elastic generator, without further training; lower is better.

    Called with an architecture, it extracts that network (one with BatchNorm gets its own statistics, measured on
    training pictures), generates pictures, and returns ``evaluate_generator(network, task, split, seeds=(0,),
    n=pictures).set_distance``: FD-EfficientNet-Lite0, or KID for tasks whose splits are too small for it. The number of
    threads changes no digit. What it needs is copied from supernet and task once, so that it can be sent to other
    processes and does not change when the supernet is trained further. ``key`` is a SHA-256 of weights, pictures and
    settings.

    Raises:
        GancompError: For an unknown split, and for networks of another task.
    """

    def __init__(
        self, supernet: ElasticGenerator, task: Task, pictures: int = 500, split: Literal["search", "test"] = "search"
    ) -> None:
        chosen_from = scored_split(task, split)
        count = min(pictures, len(chosen_from))
        if count < 2:
            raise GancompError(f"A score needs at least 2 pictures, not {pictures}; 500 is the usual number.")
        base = supernet.space.base
        if (base.in_channels, base.out_channels) != (task.source_channels, task.target_channels):
            raise GancompError(
                f"The elastic generator makes {base.out_channels}-channel pictures of {base.in_channels} channels, and "
                f"'{task.name}' needs {task.target_channels} of {task.source_channels}; score it on the task it was "
                "trained for."
            )
        self.supernet = copy.deepcopy(supernet).cpu().eval().requires_grad_(False)
        self.frechet = len(chosen_from) >= FD_MINIMUM
        self.shape = (task.target_channels, task.size, task.size)
        chosen = torch.arange(count) * len(chosen_from) // count
        drawn = (
            torch.randperm(len(task.train.targets), generator=torch.Generator().manual_seed(0))[:count].sort().values
        )
        self.sources = chosen_from.sources[chosen]  # uint8: small on the way to other processes
        self.real = extract_features(to_float(task.train.targets[part]) for part in drawn.split(256))
        self.calibration: Tensor | None = None
        if any(isinstance(module, nn.BatchNorm2d) for module in supernet.modules()):
            several = min(math.prod(CALIBRATION), len(task.train.sources))
            self.calibration = task.train.sources[torch.arange(several) * len(task.train.sources) // several]
        self.key = self._key(task, split, count)

    def __call__(self, architecture: GeneratorArchitecture) -> float:
        network = self.network(architecture)

        def make(sources: Tensor) -> Tensor:
            with torch.inference_mode(), torch.autocast("cpu", enabled=False):
                made: Tensor = network(to_float(sources)).clamp(-1, 1)
            return made

        features = extract_features(self._checked(in_threads(make, self.sources.split(BATCH)), architecture))
        [distance] = in_threads(partial(frechet_or_kid, features, self.real, seed=0), [self.frechet])
        return distance

    def network(self, architecture: GeneratorArchitecture) -> nn.Module:
        """The sub-network that is scored, in eval mode, ready for use."""
        network = self.supernet.extract(architecture)
        if self.calibration is not None:
            with torch.autocast("cpu", enabled=False):
                recalibrate(network, (to_float(part) for part in self.calibration.split(CALIBRATION[1])))
        return network.eval()

    def _checked(self, pictures: Sequence[Tensor], architecture: GeneratorArchitecture) -> Sequence[Tensor]:
        if tuple(pictures[0].shape[1:]) != self.shape or not all(made.isfinite().all() for made in pictures):
            raise GancompError(
                f"{architecture} makes pictures that are not finite or not of shape {list(self.shape)}; "
                "train the supernet again with a lower learning rate, or score it on its own task."
            )
        return pictures

    def _key(self, task: Task, split: str, count: int) -> str:
        settings = [self.supernet.space.as_dict(), task.fingerprint, split, count, self.frechet, CALIBRATION]
        parts = json.dumps([*settings, PROTOCOL, weights_hash(), digest(self.supernet)], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()


class Evaluations(Generic[A]):
    """Scores of networks, each computed once: in this process or by an executor, and stored in a file if there is one.

    Args:
        score: Maps an architecture to a number; it has to be picklable for an executor of processes.
        executor: Distributes the evaluations: one of :mod:`gancomp_core.executors` or ``concurrent.futures``; None
            evaluates in this process.
        cache: A folder for the evaluations, for which the score needs a ``key``; None takes the cache folder where the
            score has one, False stores nothing.

    Raises:
        GancompError: For a score that is not finite, naming the architecture.
    """

    def __init__(
        self,
        score: Callable[[A], float],
        executor: Executor | futures.Executor | None = None,
        cache: Path | str | bool | None = None,
    ) -> None:
        self.score, self.executor, self.path = score, executor_of(executor), _cache_path(score, cache)
        #: The known scores by architecture.
        self.done: dict[str, float] = dict(_read(self.path)) if self.path else {}

    def __call__(self, architectures: Sequence[A]) -> list[float]:
        """The scores of these networks, in their order."""
        names = [_written(architecture) for architecture in architectures]
        missing = {name: a for name, a in zip(names, architectures, strict=True) if name not in self.done}
        new = list(missing)
        for place, score in self.executor.map_unordered(self.score, list(missing.values())):
            name, value = new[place], float(score)
            if not math.isfinite(value):
                raise GancompError(
                    f"The score of {missing[name]} is {value}; a score is a finite number, lower for better networks."
                )
            self.done[name] = value
            if self.path:
                _append(self.path, name, value)
        return [self.done[name] for name in names]


def _cache_path(score: object, cache: Path | str | bool | None) -> Path | None:
    """The file with a score's evaluations, if any."""
    key = getattr(score, "key", None)
    if cache is False or (cache is None and key is None):
        return None
    if not isinstance(key, str) or not key:
        raise GancompError(
            "Evaluations are kept by the 'key' of the score, and this score has none; give it an attribute key, a "
            "string that changes with whatever changes its values, or pass cache=False."
        )
    folder = files.cache_root() / "search" if cache in (None, True) else Path(str(cache))
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.jsonl"


def _written(architecture: Architecture) -> str:
    return json.dumps(architecture.as_dict(), sort_keys=True)


def _read(path: Path) -> Iterator[tuple[str, float]]:
    """The evaluations in a file; a line that a kill or a full disk cut short is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise GancompError(f"The evaluations in {path} cannot be read ({error.strerror}); pass cache=False.") from error
    for line in lines:
        try:
            entry = json.loads(line)
            name, value = json.dumps(entry["architecture"], sort_keys=True), float(entry["score"])
        except (ValueError, KeyError, TypeError):
            continue
        if math.isfinite(value):
            yield name, value


def _append(path: Path, name: str, value: float) -> None:
    """One line, after whatever stands in the file; searches side by side wait for each other."""
    line = f'{{"score": {value!r}, "architecture": {name}}}\n'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")), path.open("ab+") as file:
            if file.tell():
                file.seek(-1, 2)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(line.encode())
    except OSError as error:
        raise GancompError(
            f"The evaluation cannot be written to {path} ({error.strerror}); "
            "free some space, set GANCOMP_CACHE to a folder of your own, or pass cache=False."
        ) from error
