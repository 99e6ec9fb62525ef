"""RRDBNet and VDSR: the published functions, and what they refuse."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factories import pictures
from gancomp_core.errors import GancompError
from gancomp_core.measure import cost
from gancomp_core.nets import (
    RrdbArchitecture,
    RrdbNet,
    Vdsr,
    VdsrArchitecture,
    build,
)

SMALL = RrdbArchitecture(blocks=2, width=8, growth=4)


def plain_rrdb(weights: list[tuple[torch.Tensor, torch.Tensor]], blocks: int, scale: int, x: torch.Tensor):
    """ESRGAN's generator as a flat list of operations on weights in the order in which they are used."""
    rest = iter(weights)

    def conv(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, *next(rest), padding=1)

    start = body = conv(x)
    for _ in range(blocks):
        block_input = body
        for _ in range(3):
            dense_input, seen = body, body
            for _ in range(4):
                seen = torch.cat([seen, F.leaky_relu(conv(seen), 0.2)], 1)
            body = dense_input + 0.2 * conv(seen)
        body = block_input + 0.2 * body
    body = start + conv(body)
    for _ in range(scale // 2):
        body = F.leaky_relu(conv(body.repeat_interleave(2, 2).repeat_interleave(2, 3)), 0.2)
    return conv(F.leaky_relu(conv(body), 0.2))


@pytest.mark.parametrize("scale", [2, 4])
def test_rrdb_computes_what_the_plain_definition_computes(scale):
    network = RrdbNet(RrdbArchitecture(2, 8, 4, scale)).double()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    x = pictures(2, 3, 5, 7).double()
    expected = plain_rrdb([(layer.weight, layer.bias) for layer in layers], 2, scale, x)
    assert expected.shape == (2, 3, 5 * scale, 7 * scale)
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-12)


def test_vdsr_is_the_bicubic_enlargement_plus_what_its_layers_add():
    network = build(VdsrArchitecture(layers=4, width=8, scale=4), 0).double()
    x = pictures(2, 3, 5, 7).double()
    large = F.interpolate(x, scale_factor=4, mode="bicubic", align_corners=False, antialias=True)
    y = large
    weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for weight in weights[:-1]:
        y = F.relu(F.conv2d(y, weight, padding=1))
    torch.testing.assert_close(network(x), large + F.conv2d(y, weights[-1], padding=1), rtol=0, atol=1e-12)


def test_published_vdsr_takes_pictures_that_are_large_already():
    assert Vdsr(VdsrArchitecture(layers=3, width=4))(torch.zeros(1, 3, 9, 11)).shape == (1, 3, 9, 11)


def test_untrained_vdsr_returns_nearly_the_bicubic_enlargement():
    network, x = build(VdsrArchitecture(scale=4), 0), pictures(1, 3, 12, 12)
    large = F.interpolate(x, scale_factor=4, mode="bicubic", align_corners=False, antialias=True)
    assert 0 < (network(x) - large).abs().max() < 0.05


@pytest.mark.parametrize(
    ("architecture", "name"),
    [(SMALL, "blocks.1.dense_blocks.2.convolutions.4.weight"), (VdsrArchitecture(4, 8), "layers.4.weight")],
)
def test_initialization_follows_the_seed_and_nothing_else(architecture, name):
    first, again, other = [build(architecture, seed).state_dict()[name] for seed in (0, 0, 1)]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_dense_blocks_start_small_and_without_bias():
    network = build(RrdbArchitecture(blocks=1), 0)
    layer = network.blocks[0].dense_blocks[0].convolutions[4]
    assert layer.weight.std().item() == pytest.approx(0.1 * (2 / (9 * 192)) ** 0.5, rel=0.03)
    assert not any(value.any() for name, value in network.state_dict().items() if name.endswith("bias"))


@pytest.mark.parametrize("network", [RrdbNet(SMALL), Vdsr(VdsrArchitecture(4, 8, scale=4))])
def test_every_weight_of_a_super_resolution_network_learns(network):
    network(pictures(1, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize(("blocks", "params"), [(23, 16_697_987), (6, 4_467_779)])
def test_rrdb_has_the_parameters_of_the_released_weights(blocks, params):
    assert cost(RrdbArchitecture(blocks), 64, 64).params == params
    with torch.device("meta"):
        assert sum(p.numel() for p in RrdbNet(RrdbArchitecture(blocks)).parameters()) == params


@pytest.mark.parametrize("network", [RrdbNet(SMALL), Vdsr(VdsrArchitecture(3, 4))])
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8)])
def test_pictures_of_a_wrong_shape_are_told_the_right_one(network, shape):
    with pytest.raises(GancompError, match=r"takes pictures of shape \[N, 3, H, W\].*not \["):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: RrdbArchitecture(blocks=0), "number of blocks of an RRDBNet is 0; .* from 1 to 64, 23"),
        (lambda: RrdbArchitecture(width=2.5), "width of an RRDBNet is 2.5; "),
        (lambda: RrdbArchitecture(growth=True), "growth of an RRDBNet is True; "),
        (lambda: RrdbArchitecture(in_channels=0), "in_channels is 0; "),
        (lambda: RrdbArchitecture(scale=3), "enlarges 2 or 4 times, not 3"),
        (lambda: VdsrArchitecture(layers=1), "layers of a VDSR is 1; .* from 2 to 64, 20"),
        (lambda: VdsrArchitecture(scale=0), "enlarges 1, 2, 3, 4 or 8 times, not 0"),
        (lambda: VdsrArchitecture.from_dict({"family": "rrdb"}), "has family 'vdsr', not 'rrdb'"),
        (lambda: VdsrArchitecture.from_dict({"depth": 3}), "no value 'depth'; it has layers, width, channels, scale"),
    ],
)
def test_impossible_architectures_are_refused_in_one_sentence(make, told):
    with pytest.raises(GancompError, match=told):
        make()


@pytest.mark.parametrize("architecture", [SMALL, VdsrArchitecture(5, 8, 1, 4)])
def test_architecture_survives_json(architecture):
    assert type(architecture).from_dict(architecture.as_dict()) == architecture
