"""Training batches: a whole batch at a time, against a DataLoader that transforms each picture by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.side_by_side import Budget, Comparison, compare, pictures_a_second, repeated
from gancomp_core.data import Batches, PictureSet, load_task

BATCH_SIZE = 16


class PlainPairs(Dataset[tuple[Tensor, Tensor]]):
    """The same pictures one by one: to float, to [-1, 1], flipped by the toss of a coin."""

    def __init__(self, pictures: PictureSet) -> None:
        self.sources, self.targets = pictures.sources[:], pictures.targets[:]  # type: ignore[index]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        source = self.sources[index].float() / 127.5 - 1
        target = self.targets[index].float() / 127.5 - 1
        if torch.rand(()) < 0.5:
            source, target = source.flip(-1), target.flip(-1)
        return source, target


def run(budget: Budget) -> Iterator[Comparison]:
    """Pairs of edges2shoes a second (a pair counts as one picture), batch 16, in the process that trains."""
    task = load_task("edges2shoes")
    batches = Batches(task.train, BATCH_SIZE, seed=0, paired=task.paired)
    loader = DataLoader(PlainPairs(task.train), BATCH_SIZE, shuffle=True, num_workers=0, drop_last=True)
    steps, plain = itertools.count(), _endless(loader)
    ours = repeated(lambda: batches.at(next(steps)), budget.seconds, BATCH_SIZE)
    theirs = repeated(lambda: next(plain), budget.seconds, BATCH_SIZE)
    yield compare("edges2shoes, batches of 16", ours, theirs, budget.rounds, pictures_a_second)


def _endless(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[list[Tensor]]:
    while True:
        yield from loader
