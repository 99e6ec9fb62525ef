"""The published figures, to the digit."""

import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gancomp_core.errors import GancompError
from gancomp_core.lab.benchmark.published import Published, published
from gancomp_core.measure.cost import Cost, cost
from gancomp_core.nets import (
    ChannelConfig,
    ResnetArchitecture,
    ResnetGenerator,
    RrdbArchitecture,
    SpadeArchitecture,
    VdsrArchitecture,
    build_generator,
    search_space,
)

ROWS = published()
ARCHITECTURES = [row for row in ROWS if row.architecture is not None]


def assert_row(found: Cost, row: Published) -> None:
    named = {"published_macs": found.published_macs, "true_macs": found.macs, "params": found.params}
    for column, value in named.items():
        assert getattr(row, column) in (None, value), (row.name, column)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_built_network_costs_what_the_papers_say(row):
    assert_row(row.cost(), row)


@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: row.name)
def test_formula_costs_what_the_papers_say_without_building_anything(row):
    assert_row(cost(row.architecture, row.height, row.width), row)


@pytest.mark.parametrize("separable", [False, True])
def test_formula_equals_the_built_network_for_random_architectures(separable):
    rng = random.Random(0)
    for _ in range(25):
        config = search_space("resnet/channels-32").sample(rng)
        channels, affine = (rng.choice((1, 3)), rng.choice((1, 3))), rng.random() < 0.5
        a = ResnetArchitecture(config, rng.randint(1, 9), separable, *channels, affine)
        size = (4 * rng.randint(2, 20), 4 * rng.randint(2, 20))
        assert cost(a, *size) == cost(ResnetGenerator(a), *size)


def random_architectures(rng: random.Random):
    """One of every other family, and how many pixels its sizes are multiples of."""
    config = ChannelConfig(tuple(rng.choice((8, 16, 24)) for _ in range(8)))
    upsampling, channels = rng.choice(("more", "normal")), (rng.randint(1, 9), rng.choice((1, 3)))
    yield SpadeArchitecture(config, rng.random() < 0.5, upsampling, *channels), 64
    yield RrdbArchitecture(rng.randint(1, 3), rng.randint(1, 20), rng.randint(1, 10), rng.choice((2, 4)), *channels), 1
    yield VdsrArchitecture(rng.randint(2, 9), rng.randint(1, 20), rng.randint(1, 3), rng.choice((1, 2, 3, 4, 8))), 1


@pytest.mark.parametrize("seed", range(8))
def test_formulas_of_the_other_families_equal_their_networks_for_random_architectures(seed):
    rng = random.Random(seed)
    for a, multiple in random_architectures(rng):
        size = (multiple * rng.randint(1, 4), multiple * rng.randint(1, 4))
        with torch.device("meta"):
            built = build_generator(a.as_dict())
        assert cost(a, *size) == cost(built, *size), a


@pytest.mark.parametrize(
    ("architecture", "size", "told"),
    [
        (SpadeArchitecture("8_8_8_8_8_8_8_8"), (96, 64), "multiples of 64, not 96 x 64"),
        (SpadeArchitecture("8_8_8_8_8_8_8_8", upsampling="normal"), (0, 32), "multiples of 32, not 0 x 32"),
        (RrdbArchitecture(), (0, 8), "RRDBNet takes heights and widths of at least 1 pixel, not 0 x 8"),
        (VdsrArchitecture(), (8, -1), "VDSR takes heights and widths of at least 1 pixel, not 8 x -1"),
    ],
)
def test_formulas_refuse_sizes_that_the_network_cannot_take(architecture, size, told):
    with pytest.raises(GancompError, match=told):
        cost(architecture, *size)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_true_macs_are_half_of_what_torch_counts_as_flops(row):
    with torch.device("meta"):
        net = row.build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, 36 if row.family == "spade" else 3, row.height, row.width, device="meta"))
    assert counter.get_total_flops() == 2 * cost(net, row.height, row.width).macs
