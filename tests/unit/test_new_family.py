"""A family of generators is one file: this one registers its own, and everything else follows from its layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import cost, layer_costs
from gancomp_core.methods.architecture_search import Budget, LatencyTable, Predictor, costs, search
from gancomp_core.methods.architecture_search.latency_table import stage_keys
from gancomp_core.methods.feature_distillation import tap_channels
from gancomp_core.nets import (
    FAMILIES,
    AgdNetwork,
    Architecture,
    Blueprint,
    Channels,
    Draft,
    GeneSpace,
    StagedGenerator,
    build,
    sort_channels,
    translation_supernet,
)
from gancomp_core.nets.architecture import NO_COLUMNS, Columns, Gene, added


@dataclass(frozen=True)
class ChainArchitecture(Architecture, family="chain"):
    """A chain of convolutions: the first halves the picture, the last doubles it again."""

    widths: tuple[int, ...] = (8, 12)
    kernel: int = 3
    bias: bool = added(True)

    title, multiple, taps = "chain", 2, ("conv1",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))

    def network(self) -> Chain:
        return Chain(self)

    @property
    def genes(self) -> dict[str, Gene]:
        return {f"width{i}": width for i, width in enumerate(self.widths)} | {"kernel": self.kernel}

    @property
    def width_genes(self) -> tuple[str, ...]:
        return tuple(f"width{i}" for i in range(len(self.widths)))

    def with_genes(self, genes: Mapping[str, Gene]) -> ChainArchitecture:
        return replace(self, widths=tuple(int(genes[name]) for name in self.width_genes), kernel=int(genes["kernel"]))

    def blueprint(self, height: int, width: int, columns: Columns = NO_COLUMNS) -> Blueprint:
        self.check_size(height, width)
        draft, before = Draft((height, width), "stages."), Channels("", 3)
        for i, own in enumerate(self.widths):
            after = Channels(f"conv{i}", columns.get(f"width{i}", own))
            draft.stage(f"conv{i}", f"conv {self.kernel}", [before, after], after)
            draft.conv(f"conv{i}.0", before, after, self.kernel, stride=2 if i == 0 else 1, bias=self.bias)
            draft.norm(f"conv{i}.1", after, affine=True)
            draft.activation(f"conv{i}.2", "relu")
            before = after
        draft.stage("tail", "tail", [before], Channels("", 3))
        draft.enlarging_conv("tail.0", before, Channels("", 3))
        return draft.blueprint


class Chain(StagedGenerator):
    def __init__(self, architecture: ChainArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.stages = architecture.blueprint(2, 2).sequence("stages")

    def steps(self, x: torch.Tensor) -> Iterator[tuple[str, nn.Module]]:
        yield from self.stages.named_children()


CHAIN = ChainArchitecture((8, 12, 8))
SPACE = GeneSpace(CHAIN, {"width0": (8, 16), "width1": (4, 8, 12), "kernel": (3, 5)})


@pytest.fixture
def network() -> Chain:
    found = build(CHAIN, 1)
    with torch.no_grad():
        for weight in found.parameters():
            weight.add_(torch.rand(weight.shape, generator=torch.Generator().manual_seed(len(weight))))
    return found.eval()


def test_it_is_registered_and_survives_json():
    assert FAMILIES["chain"] is ChainArchitecture
    values = json.loads(json.dumps(CHAIN.as_dict()))
    assert values == {"family": "chain", "widths": [8, 12, 8], "kernel": 3}
    assert Architecture.from_dict(values) == CHAIN
    assert Architecture.from_dict({**values, "bias": False}) == replace(CHAIN, bias=False)


def test_a_seed_gives_its_weights_and_leaves_random_numbers_alone():
    before = torch.get_rng_state()
    first, again, other = (build(CHAIN, seed).state_dict()["stages.conv1.0.weight"] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_its_cost_is_that_of_the_network_and_of_the_whole_space_at_once(network):
    assert cost(CHAIN, 8, 6) == cost(network, 8, 6)
    network.pixels = (8, 6)
    assert network.cost == cost(network, 8, 6)
    table = costs(SPACE, None, (8, 8))
    assert table.macs.tolist() == [cost(each.network(), 8, 8).macs for each in SPACE]
    assert table.params.tolist() == [cost(each, 8, 8).params for each in SPACE]


def test_its_pictures_stages_and_taps(network):
    x = torch.rand(2, 3, 8, 6)
    made, found = network(x, features=CHAIN.taps)
    assert made.shape == x.shape
    assert tap_channels(CHAIN) == [found["conv1"].shape[1]]
    assert stage_keys(CHAIN, (8, 6)) == ["conv 3 3>8", "conv 3 8>12", "conv 3 12>8", "tail 8"]
    with pytest.raises(GancompError, match=r"This chain takes pictures .* multiples of 2"):
        network(torch.rand(1, 3, 7, 8))
    with pytest.raises(GancompError, match=r"no stage \['conv7'\]; choose from conv0, conv1, conv2, tail"):
        network(x, features=["conv7"])


def test_its_channels_are_sorted_and_its_function_stays(network):
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        before = network(x)
        sort_channels(network)
        torch.testing.assert_close(network(x), before)


def test_it_is_searched_like_any_other():
    limit = cost(SPACE.widest, 8, 8).macs * 0.8
    found = search(SPACE, lambda a: -a.cost(8, 8).params, Budget(macs=limit), "random", pixels=(8, 8))
    assert found.best == max((a for a in SPACE if a.cost(8, 8).macs <= limit), key=lambda a: a.cost(8, 8).params)
    assert [SPACE.named(name) for name in found.table.architecture] == found.architectures
    assert LatencyTable.build(SPACE, (8, 8), threads=1).predict(SPACE.widest) > 0
    assert Predictor(SPACE, steps=5).fit(found).predict(SPACE).shape == (len(SPACE),)


def test_the_supernet_of_agd_is_searched_like_any_other():
    space = translation_supernet(8, 2, 1, 1).space
    budget = Budget(macs=cost(space.widest, 16, 16).macs / 3)
    found = search(space, lambda a: -a.cost(16, 16).params, budget, pixels=(16, 16), evaluations=60)
    assert found.table.macs.max() <= budget.macs
    for name, macs in zip(found.table.architecture[:5], found.table.macs, strict=False):
        assert cost(AgdNetwork(space.named(name)), 16, 16).macs == macs
    assert space.decode(space.encode(found.best)) == found.best


def test_a_gene_that_an_architecture_lacks_is_refused():
    with pytest.raises(GancompError, match="A chain has no gene 'depth'; it has width0, width1, width2, kernel"):
        GeneSpace(CHAIN, {"depth": (1, 2)})


def test_a_blueprint_lists_what_the_network_runs(network):
    ours = {layer.name: (layer.kind, layer.macs, layer.published_macs) for layer in CHAIN.blueprint(8, 6).layers}
    for layer in layer_costs(network, 8, 6):
        assert ours[layer.name] == (layer.kind, layer.macs, layer.published_macs)
