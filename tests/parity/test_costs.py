"""The published figures, to the digit."""

import csv
import random
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gancomp_core.measure.cost import Cost, cost
from gancomp_core.nets import (
    ChannelConfig,
    PatchDiscriminator,
    ResnetArchitecture,
    ResnetGenerator,
    UnetGenerator,
    search_space,
)

LATER = ("spade", "rrdb", "vdsr")  # families whose networks do not exist yet
LINES = (line for line in Path(__file__).with_name("costs.csv").read_text().splitlines() if not line.startswith("#"))
ROWS = [row for row in csv.DictReader(LINES) if row["family"] not in LATER]


def network(row: dict[str, str]) -> torch.nn.Module:
    if row["family"] == "unet":
        return UnetGenerator(width=64, depth=8)
    if row["family"] == "patchgan":
        return PatchDiscriminator(3, width=64 if "ndf 64" in row["name"] else 32)
    return ResnetGenerator(architecture(row))


def architecture(row: dict[str, str]) -> ResnetArchitecture:
    config = ChannelConfig.parse(row["config"], legacy=row["rule"] == "legacy")
    return ResnetArchitecture(config, separable=row["blocks"] == "separable")


def assert_row(found: Cost, row: dict[str, str]) -> None:
    named = {"published_macs": found.published_macs, "true_macs": found.macs, "params": found.params}
    for column, value in named.items():
        assert not row[column] or int(row[column]) == value, (row["name"], column)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_built_network_costs_what_the_papers_say(row):
    height, width = map(int, row["size"].split("x"))
    assert_row(cost(network(row), height, width), row)


@pytest.mark.parametrize("row", [r for r in ROWS if r["family"] in ("resnet", "mobile")], ids=lambda row: row["name"])
def test_formula_costs_what_the_papers_say_without_building_anything(row):
    height, width = map(int, row["size"].split("x"))
    assert_row(cost(architecture(row), height, width), row)


@pytest.mark.parametrize("separable", [False, True])
def test_formula_equals_the_built_network_for_random_architectures(separable):
    rng = random.Random(0)
    for _ in range(25):
        config = search_space("resnet/channels-32").sample(rng)
        a = ResnetArchitecture(config, rng.randint(1, 9), separable, rng.choice((1, 3)), rng.choice((1, 3)))
        size = (4 * rng.randint(2, 20), 4 * rng.randint(2, 20))
        assert cost(a, *size) == cost(ResnetGenerator(a), *size)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_true_macs_are_half_of_what_torch_counts_as_flops(row):
    net = network(row).to("meta").eval()
    height, width = map(int, row["size"].split("x"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, 3, height, width, device="meta"))
    assert counter.get_total_flops() == 2 * cost(net, height, width).macs
