"""What every architecture was when it was recorded: costs to the digit, weights by name, seeds, sub-networks, searches.

``tests/snapshots/architectures.json`` is the record. Weights that users have trained hang on it: it grows with new
families and does not change.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gancomp_core.measure import cost
from gancomp_core.methods import agd
from gancomp_core.methods.architecture_search import Budget, costs, search
from gancomp_core.methods.architecture_search.latency_table import stage_keys
from gancomp_core.nets import (
    Architecture,
    ArchitectureSpace,
    ElasticGenerator,
    build,
)

RECORD = Path(__file__).parent.parent / "snapshots" / "architectures.json"
DRAWS = 25


def digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def network_facts(values: dict[str, Any]) -> dict[str, Any]:
    """What determines the weights of a network: names, shapes, order, and the numbers that a seed gives."""
    network = build(Architecture.from_dict(values), 3)
    state = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    numbers = torch.cat([tensor.double().flatten() for tensor in network.state_dict().values()])
    places = torch.arange(1, len(numbers) + 1, dtype=torch.float64) / len(numbers)
    return {
        "weights": digest(list(state.items())),
        "seed": [float(numbers.abs().sum()), float((numbers * places).sum())],
    }


def priced(values: dict[str, Any], size: list[int]) -> list[int]:
    found = cost(Architecture.from_dict(values), *size)
    return [found.macs, found.published_macs, found.params, found.bytes_int8]


def filled(elastic: ElasticGenerator) -> ElasticGenerator:
    """Weights that tell places apart and are exact in float32; kernel matrices stay the identity."""
    for number, (name, tensor) in enumerate(elastic.state_dict().items()):
        if tensor.is_floating_point() and not name.startswith("kernel_maps"):
            tensor.copy_((torch.arange(tensor.numel()).view(tensor.shape) % 4093 + number) / 4096)
    return elastic


def space_facts(values: dict[str, Any], size: list[int]) -> dict[str, Any]:
    space: Any = Architecture.from_dict(values)
    rng = random.Random(5)
    drawn = [space.sample(rng) for _ in range(DRAWS)]
    table = costs(space, drawn, tuple(size))
    elastic = filled(ElasticGenerator(space))
    cut = [
        hashlib.sha256(
            b"".join(tensor.contiguous().numpy().tobytes() for tensor in elastic.extract(a).state_dict().values())
        ).hexdigest()[:16]
        for a in drawn[:6]
    ]
    return {
        "networks": len(space),
        "ends": [space.widest.as_dict(), space.narrowest.as_dict()],
        "drawn": digest([a.as_dict() for a in drawn]),
        "costs": table.to_numpy().tolist(),
        "extracted": cut,
        "stages": digest([stage_keys(a, tuple(size)) for a in drawn]),
        "taps": digest([a.taps for a in drawn]),
        "searched": {strategy: searched(space, strategy, size) for strategy in ("evolution", "random", "controller")},
    }


def searched(space: ArchitectureSpace, strategy: str, size: list[int]) -> str:
    """The frontier of a search whose scores are numbers made of the architectures."""

    def score(architecture: Any) -> float:
        return int(digest(architecture.as_dict()), 16) % 10007

    limit = float(np.mean([cost(end, *size).macs for end in (space.narrowest, space.widest)]))
    found = search(space, score, Budget(macs=limit), strategy, pixels=tuple(size), evaluations=30)
    return digest(found.table[["architecture", "macs", "params", "score", "order"]].to_numpy().tolist())


def agd_facts(values: dict[str, Any], size: list[int]) -> dict[str, Any]:
    space: Any = Architecture.from_dict(values)
    table = agd.MacTable(space, *size)
    rng = random.Random(5)
    rows = [
        [[rng.randrange(len(getattr(layer, kind))) for layer in space.layers] for kind in ("operators", "widths")]
        for _ in range(6)
    ]
    derived = [space.chosen(*row) for row in rows]
    return {
        "networks": str(space.networks),
        "text": [str(each) for each in derived],
        "macs": [table.exact(*row) for row in rows],
        "reach": [table.narrowest, table.widest],
        "tables": digest([each.tolist() for each in (*table.tables, table.tail)]),
        "costs": [priced(each.as_dict(), size) for each in derived],
        "drawn": digest(
            [str(a) for a in agd.random_architectures(table, table.widest / 5, table.widest / 2, 4, seed=1)]
        ),
    }


def assert_same(found: Any, recorded: Any) -> None:
    assert found.pop("seed", [0, 0]) == pytest.approx(recorded.pop("seed", [0, 0]), rel=1e-6, abs=1e-4)
    assert found == recorded


record = json.loads(RECORD.read_text())


@pytest.mark.parametrize("name", record["networks"])
def test_a_network_costs_what_it_did_and_has_the_same_weights(name):
    values, size, prices, facts = (record["networks"][name][key] for key in ("values", "size", "cost", "facts"))
    if prices:
        assert priced(values, size) == prices
    assert_same(network_facts(values), dict(facts))


@pytest.mark.parametrize("name", record["spaces"])
def test_a_space_draws_cuts_times_and_searches_as_it_did(name):
    values, size, facts = (record["spaces"][name][key] for key in ("values", "size", "facts"))
    assert space_facts(values, size) == facts


@pytest.mark.parametrize("name", record["agd"])
def test_a_space_of_agd_costs_and_draws_what_it_did(name):
    values, size, facts = (record["agd"][name][key] for key in ("values", "size", "facts"))
    assert agd_facts(values, size) == facts
