"""What every measurement of a network shares: its state while it runs, what it may be scored on, and what is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from gancomp_core.data import PictureSet, Task
from gancomp_core.errors import GancompError


@contextlib.contextmanager
def evaluating(module: nn.Module, device: torch.device | str | None = None) -> Iterator[nn.Module]:
    """The module in eval mode on ``device`` (None: where it is); afterwards as it was, also after an error.

    The training flag of every sub-module comes back, not only the outermost one: a frozen norm inside a network in
    training stays frozen. A module is expected to lie on one device.
    """
    flags = [(part, part.training) for part in module.modules()]
    before = device_of(module)
    try:
        _move(module, device)
        yield module.eval()
    finally:
        for part, training in flags:
            part.training = training
        _move(module, before)


@contextlib.contextmanager
def measuring(device: torch.device | str, *networks: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Every module of ``networks`` in eval mode on ``device``; float32 (no autocast) and no gradients inside.

    Functions that are no modules are left alone; modules are afterwards as they were.
    """
    with contextlib.ExitStack() as stack:
        for network in networks:
            if isinstance(network, nn.Module):
                stack.enter_context(evaluating(network, device))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.autocast(torch.device(device).type, enabled=False))
        yield


def check_output(made: Tensor, target: Tensor) -> None:
    """Raise :class:`GancompError` unless ``made`` is finite and has the shape of ``target``."""
    if made.shape != target.shape:
        raise GancompError(
            f"The network made pictures of shape {list(made.shape)} where the task's targets have "
            f"{list(target.shape)}; evaluate it on the task that it was made for."
        )
    if not made.isfinite().all():
        raise GancompError(
            "The network made NaN or infinite pictures, so it has no quality to measure; "
            "train it again with a lower learning rate."
        )


def scored_split(task: Task, split: str) -> PictureSet:
    """The pictures of ``split``: "test" for the numbers one reports, "search" for choosing among networks."""
    if split not in ("test", "search"):
        raise GancompError(
            f"A network is scored on the split 'test' or 'search', not {split!r}; "
            "the training pictures are what it has learned from."
        )
    return task.test if split == "test" else task.search


def device_of(module: nn.Module) -> torch.device | None:
    """Where a module lies; None for one without parameters and buffers, which lies nowhere."""
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor.device
    return None


def _move(module: nn.Module, device: torch.device | str | None) -> None:
    if device is not None:
        with torch.inference_mode(False):  # parameters copied in inference mode could never be trained again
            module.to(device)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence of ours about it."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
