"""Random weights with which training starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, overload

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

Network = TypeVar("Network", bound=nn.Module)
Network_co = TypeVar("Network_co", bound=nn.Module, covariant=True)

POWER_ITERATIONS = 15  # as many as torch makes when it applies spectral normalization


class Buildable(Protocol[Network_co]):
    """What describes a network: an :class:`gancomp_core.nets.Architecture`."""

    def network(self) -> Network_co: ...
    def initialize(self, network: nn.Module, seed: int) -> None: ...


@overload
def build(what: Buildable[Network], seed: int = 0) -> Network: ...
@overload
def build(what: Callable[[], Network], seed: int = 0) -> Network: ...
def build(what: Buildable[Network] | Callable[[], Network], seed: int = 0) -> Network:
    """A network with random weights to start a training with.

    The weights depend on ``seed`` and the order of the layers alone; torch's random state is left as it was.

    Args:
        what: An architecture, whose ``initialize`` draws the weights, or a function that makes a network, such as a
            discriminator, for which :func:`initialize` does.
        seed: Seed of the weights.

    Returns:
        The network.
    """
    with torch.random.fork_rng():  # torch fills new layers with random numbers, which are replaced
        if callable(what):
            return initialize(what(), seed)
        network = what.network()
        what.initialize(network, seed)
    return network


def initialize(module: Network, seed: int, std: float = 0.02) -> Network:
    """Draw every convolution and linear weight from N(0, std) and set biases to zero, as pix2pix does.

    Spectral normalization (torch's parametrization) keeps the drawn weight and restarts its power iteration. The
    numbers depend on ``seed`` and the order of the layers alone.

    Args:
        module: The network, which is changed.
        seed: Seed of the weights.
        std: Standard deviation.

    Returns:
        The module.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if parametrize.is_parametrized(layer, "weight"):
                _draw_parametrized(layer, std, generator)
            else:
                nn.init.normal_(layer.weight, 0.0, std, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, std, generator=generator)
            nn.init.zeros_(layer.bias)
    return module


@torch.no_grad()
def _draw_parametrized(
    layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, std: float, generator: torch.Generator
) -> None:
    """Draw the weight under a parametrization: what ``layer.weight`` gives is only computed from it."""
    layer.weight = torch.empty_like(layer.weight).normal_(0.0, std, generator=generator)
    for vector in layer.parametrizations.weight.buffers():  # type: ignore[union-attr]
        vector.copy_(F.normalize(torch.empty_like(vector).normal_(generator=generator), dim=0))
    training = layer.training
    layer.train()  # when training, every look at the weight is one step of the power iteration
    for _ in range(POWER_ITERATIONS):
        _ = layer.weight
    layer.train(training)
