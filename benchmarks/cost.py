"""The cost of a network: our formula and our tracing of shapes, against tracing a forward pass with torchprofile."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.side_by_side import Budget, Comparison, compare, repeated
from gancomp_core.errors import GancompError
from gancomp_core.measure.cost import cost
from gancomp_core.nets import ResnetArchitecture, ResnetGenerator, search_space

SIZE = 256
CONFIGS = 500


def run(budget: Budget) -> Iterator[Comparison]:
    """A config of the published search space without a network, then a network that exists already."""
    space = search_space("resnet/channels-48")
    rng = random.Random(0)
    configs = [space.sample(rng) for _ in range(CONFIGS)]
    strings = [str(config) for config in configs]
    module = ResnetGenerator(ResnetArchitecture(configs[0], separable=True)).eval()
    trace = repeated(functools.partial(profile(), module), budget.seconds)

    def from_configs() -> None:
        for config in configs:
            cost(ResnetArchitecture(config, separable=True), SIZE, SIZE)

    def from_strings() -> None:
        for text in strings:
            cost(ResnetArchitecture(text, separable=True), SIZE, SIZE)  # type: ignore[arg-type]  # a string is parsed

    def from_module() -> None:
        cost(module, SIZE, SIZE)

    for what, work, items in (
        ("a config", from_configs, CONFIGS),
        ("a config given as a string", from_strings, CONFIGS),
        ("a built network", from_module, 1),
    ):
        yield compare(what, repeated(work, budget.seconds, items), trace, budget.rounds)


def profile() -> Callable[[nn.Module], int]:
    """torchprofile's multiply-accumulates of a generator of colour pictures; GancompError if it is not installed."""
    try:
        from torchprofile import profile_macs
    except ModuleNotFoundError as error:
        raise GancompError("The benchmark of costs needs torchprofile; run 'pip install torchprofile'.") from error

    def macs(module: nn.Module) -> int:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # it names every operation that it does not count
            found = profile_macs(module, torch.zeros(1, 3, SIZE, SIZE))
        assert isinstance(found, int)
        return found

    return macs
