"""What every measurement of a module shares: its state while it runs, and the text of what went wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


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
