"""A wavelet transform and its gradient, against two libraries that do the same in PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import ptwt
import torch
from torch import Tensor

from benchmarks.side_by_side import Budget, Comparison, compare, pictures_a_second, repeated
from gancomp_core.measure import wavelet_transform

with warnings.catch_warnings():  # its import reads a table by a function that setuptools is about to drop
    warnings.simplefilter("ignore")
    from pytorch_wavelets import DWTForward

HEADER = ("what", "threads", "gancomp", "other side", "times as fast")
WAVELETS = ("haar", "db3", "sym8", "bior4.4", "coif5")
SHAPES = ((16, 3, 64, 64), (4, 3, 256, 256))
LEVELS, MODE = 3, "zero"  # the one mode in which all three give the same values and gradients

Details = Callable[[Tensor], list[Tensor]]


def run(budget: Budget) -> Iterator[Comparison]:
    """Forward and backward, color pictures, as many threads as there are cores."""
    for shape in SHAPES:
        for wavelet in WAVELETS:
            for name, make in OTHERS.items():
                ours, theirs = (
                    repeated(step(details(wavelet), shape), budget.seconds / 4, shape[0]) for details in (gancomp, make)
                )
                what = f"{wavelet}, {shape[-1]} px, batch {shape[0]}, against {name}"
                yield compare(what, ours, theirs, budget.rounds, pictures_a_second)


def step(details: Details, shape: tuple[int, ...]) -> Callable[[], None]:
    """The sum of all absolute details of random pictures, and its gradient."""
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def work() -> None:
        pictures.grad = None
        torch.stack([band.abs().sum() for band in details(pictures)]).sum().backward()

    return work


def gancomp(wavelet: str) -> Details:
    """Three bands a level, the finest first."""

    def details(pictures: Tensor) -> list[Tensor]:
        return [band for level in wavelet_transform(pictures, wavelet, LEVELS, MODE).details for band in level]

    return details


def with_ptwt(wavelet: str) -> Details:
    """The same by ptwt."""

    def details(pictures: Tensor) -> list[Tensor]:
        _, *levels = ptwt.wavedec2(pictures, wavelet, mode=MODE, level=LEVELS)
        return [band for level in reversed(levels) for band in level]

    return details


def with_pytorch_wavelets(wavelet: str) -> Details:
    """The same by pytorch-wavelets, whose transform is a module made beforehand."""
    transform = DWTForward(J=LEVELS, wave=wavelet, mode=MODE)

    def details(pictures: Tensor) -> list[Tensor]:
        return [band for level in transform(pictures)[1] for band in level.unbind(2)]

    return details


OTHERS = {"ptwt": with_ptwt, "pytorch-wavelets": with_pytorch_wavelets}
