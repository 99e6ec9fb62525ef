"""BatchNorm statistics that belong to a network's present weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets import ElasticGenerator


@torch.no_grad()
def recalibrate(network: nn.Module, inputs: Iterable[Tensor]) -> nn.Module:
    """Measure the statistics of every BatchNorm again, as the plain mean over batches; in place.

    A network whose weights were not the ones in training (an average over steps, a part of a larger network) has
    statistics of other weights, and works poorly until this is done.

    Args:
        network: The network.
        inputs: Batches of inputs, at least one.

    Returns:
        The network, in eval mode.

    Raises:
        GancompError: Without any batch, and for an elastic generator, whose networks each need their own.
    """
    if isinstance(network, ElasticGenerator):
        raise GancompError("recalibrate() measures one network; give it elastic.extract() instead of the whole.")
    batches = list(inputs)
    if not batches:
        raise GancompError("recalibrate() got no batches to measure on; give it at least one, say 32.")
    with _measuring(network):
        for batch in batches:
            network(batch)
    return network.eval()


@contextlib.contextmanager
def _measuring(network: nn.Module) -> Iterator[None]:
    """Statistics start from nothing and become a cumulative mean."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        network.eval()
