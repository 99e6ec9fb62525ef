"""The Frechet distance of two sets of pictures, features included, against torchmetrics with the same features."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from benchmarks.side_by_side import Budget, Comparison, compare, repeated, thread_counts, torch_threads
from gancomp_core.data import load_task, to_float
from gancomp_core.measure import frechet_distance
from gancomp_core.measure.features import PictureFeatures

BATCH_SIZE = 32


def run(budget: Budget) -> Iterator[Comparison]:
    """Real pictures of edges2shoes against others, equally many; nothing comes from a cache."""
    one, other = pictures(budget.pictures)
    for threads in thread_counts():
        with torch_threads(threads):
            ours = repeated(lambda: frechet_distance(one, other), seconds=0)
            theirs = repeated(torchmetrics_distance(one, other), seconds=0)
            rounds = min(budget.rounds, 3)  # a round takes many seconds
            yield compare(f"{budget.pictures:,} against {budget.pictures:,} pictures", ours, theirs, rounds)


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """Two sets of real pictures, float32 [count, 1, 32, 32] in [-1, 1]."""
    task = load_task("edges2shoes")
    some = torch.arange(count)
    return to_float(task.test.targets[some]), to_float(task.train.targets[some])


def torchmetrics_distance(one: Tensor, other: Tensor) -> Callable[[], float]:
    """The plain path: batch after batch into torchmetrics' metric, then its ``compute``."""
    metric = FrechetInceptionDistance(feature=PictureFeatures(), normalize=True)

    def distance() -> float:
        metric.reset()
        with torch.no_grad():
            for batch in one.split(BATCH_SIZE):
                metric.update(batch, real=False)
            for batch in other.split(BATCH_SIZE):
                metric.update(batch, real=True)
            return float(metric.compute())

    return distance
