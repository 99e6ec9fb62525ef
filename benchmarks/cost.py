"""The cost of a network: our sum over its layers and our trace of shapes, against what torchprofile traces."""

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
from gancomp_core.methods.architecture_search.rows import cost_table, rows_of
from gancomp_core.nets import ArchitectureSpace, ChannelConfig, Cost, ResnetArchitecture, ResnetGenerator, search_space

SIZE = 256
CONFIGS = 500


def run(budget: Budget) -> Iterator[Comparison]:
    """A config of the published search space without a network, then a network that exists already."""
    base, rng = ResnetArchitecture(ChannelConfig.uniform(48), separable=True), random.Random(0)
    space = ArchitectureSpace(base, search_space("resnet/channels-48"))
    configs = [space.sample(rng) for _ in range(CONFIGS)]
    rows = rows_of(space, configs)
    module = ResnetGenerator(ResnetArchitecture(configs[0].channels, separable=True)).eval()
    trace = repeated(functools.partial(profile(), module), budget.seconds)

    def in_a_search() -> None:
        cost_table(space, rows, (SIZE, SIZE))

    def one_by_one() -> list[Cost]:
        return [config.blueprint(SIZE, SIZE).cost for config in configs]  # cost() would remember it

    def from_module() -> None:
        cost(module, SIZE, SIZE)

    for what, work, items in (
        ("a config of 500 in a search", in_a_search, CONFIGS),
        ("a config by itself", one_by_one, CONFIGS),
        ("a built network", from_module, 1),
    ):
        yield compare(what, repeated(work, budget.seconds, items), trace, budget.rounds)


def profile() -> Callable[[nn.Module], int]:
    """torchprofile's multiply-accumulates of a generator of color pictures; GancompError if it is not installed."""
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
