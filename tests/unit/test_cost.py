"""Costs of layers beyond those of the published networks, and what cannot be counted."""

import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import weight_norm
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.flop_counter import FlopCounterMode

from factories import refused
from gancomp_core.errors import GancompError
from gancomp_core.measure import LayerCost, cost, cross_check, export_onnx, layer_costs
from gancomp_core.methods.architecture_search.rows import cost_table
from gancomp_core.nets import (
    ArchitectureSpace,
    ResnetArchitecture,
    ResnetGenerator,
    UnetArchitecture,
    UnetGenerator,
    search_space,
)


class Reshaped(nn.Module):
    """A layer that sees the picture [N, C, H, W] in another shape."""

    def __init__(self, layer, shape):
        super().__init__()
        self.layer, self.shape = layer, shape

    def forward(self, x):
        return self.layer(x.reshape(self.shape))


LAYERS = {
    "conv 1d": Reshaped(nn.Conv1d(6, 10, 3, stride=2, groups=2), (1, 6, 80)),
    "transposed 1d": Reshaped(nn.ConvTranspose1d(6, 10, 3, stride=2, groups=2), (1, 6, 80)),
    "conv 2d": nn.Conv2d(3, 8, 3, padding=1),
    "transposed 2d": nn.ConvTranspose2d(3, 9, 4, stride=2, groups=3),
    "conv 3d": Reshaped(nn.Conv3d(3, 5, 3, padding=1), (1, 3, 5, 4, 8)),
    "transposed 3d": Reshaped(nn.ConvTranspose3d(3, 5, 3, stride=2), (1, 3, 5, 4, 8)),
    "conv on patches": Reshaped(nn.Conv2d(3, 8, 3), (8, 3, 5, 4)),
    "linear": Reshaped(nn.Linear(30, 7), (1, 16, 30)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_convolution_and_linear_layer_costs_half_of_what_torch_counts_as_flops(name):
    layer = LAYERS[name]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.zeros(1, 3, 10, 16))
    found = cost(layer, 10, 16, in_channels=3)
    assert 2 * found.macs == counter.get_total_flops() > 0
    assert found.params == sum(p.numel() for p in layer.parameters())


def test_one_dimensional_and_transposed_layers_are_counted_by_hand_too():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(2), nn.Conv1d(4, 5, 3), nn.ConvTranspose1d(5, 6, 2)
    )
    first, second, third = layer_costs(network, 4, 8)
    assert first.macs == 4 * 8 * 9 * 3 * 4
    assert (second.kind, second.macs) == ("conv", 30 * 3 * 4 * 5)
    assert (third.kind, third.macs, third.published_macs) == ("transposed conv", 30 * 2 * 5 * 6, 31 * 2 * 5 * 6)


def test_a_norm_multiplies_nothing_and_is_published_as_its_output():
    conv, norm = layer_costs(nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4)), 6, 8)
    assert norm == LayerCost("1", "norm", 0, 4 * 4 * 6, 4 * 4 * 6, 0, 4)
    assert conv == LayerCost("0", "conv", 24 * 9 * 12, 24 * 9 * 12, 4 * 4 * 6, 9 * 12, 4)


VECTORS = {  # on a picture of 1 channel and 6 x 6 pixels, of which each is a matrix m and its first row a vector v
    "mv": (lambda m, v: torch.mv(m, v), 36),
    "dot": (lambda m, v: torch.dot(v, v), 6),
    "vdot": (lambda m, v: torch.vdot(v, v), 6),
    "addmv": (lambda m, v: torch.addmv(v, m[:2].T @ m[:2], v), 2 * 36 + 36),
    "addbmm": (lambda m, v: torch.addbmm(m[:2, :4], m.view(3, 2, 6), m.view(3, 6, 2).repeat(1, 1, 2)), 3 * 2 * 6 * 4),
}


class Product(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.of = of

    def forward(self, x):
        return self.of(x[0, 0], x[0, 0, 0])


@pytest.mark.parametrize("name", VECTORS)
def test_products_of_vectors_and_sums_of_products_are_counted(name):
    of, macs = VECTORS[name]
    found = layer_costs(Product(of), 6, 6, in_channels=1)
    assert sum(layer.macs for layer in found) == macs
    assert {layer.kind for layer in found} == {"matmul"}


def test_what_multiplies_without_a_layer_has_the_channels_of_its_output():
    assert [layer.out_channels for layer in layer_costs(Blur(8), 10, 8, in_channels=8)] == [8]
    assert [layer.out_channels for layer in layer_costs(Constant(), 10, 8, in_channels=8)] == [4]
    assert [layer.out_channels for layer in layer_costs(Products(), 10, 6, in_channels=8)] == [60, 60]
    assert layer_costs(Product(lambda m, v: v @ v), 6, 6, in_channels=1)[0].out_channels == 1
    assert layer_costs(Product(lambda m, v: m[:4] @ m[:, :5]), 6, 6, in_channels=1)[0].out_channels == 5


def test_a_cross_check_prints_nothing_and_counts_in_whole_numbers(capsys):
    found = cross_check(nn.Conv2d(3, 4, 3), 8, 8)
    assert found == (36 * 9 * 12,) * 2
    assert all(isinstance(macs, int) for macs in found)
    assert capsys.readouterr() == ("", "")


class Rows(nn.Module):
    """A layer that sees the pixels [N, H * W, C] of a picture in rows."""

    def __init__(self, layer, times=1):
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x):
        return self.layer(*[x.flatten(2).transpose(1, 2)] * self.times)


class Products(nn.Module):
    """SAGAN's attention, by matrix products without a layer."""

    def forward(self, x):
        rows = x.flatten(2)
        return torch.bmm(rows, torch.softmax(rows.transpose(1, 2) @ rows, -1)).view_as(x)


class Blur(nn.Module):
    """CUT's, by a convolution on a buffer."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("filt", torch.ones(channels, 1, 3, 3) / 9)

    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=len(self.filt))


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(4, 8, 3, 3))

    def forward(self, x):
        return F.conv2d(x, self.kernel)


ATTENTION = 3 * 80 * 64 + 2 * 80 * 80 * 8 + 80 * 64
OTHERS = {  # on pictures of 8 channels and 10 x 8 pixels
    "products": (Products(), 2 * 80 * 80 * 8),
    "attention": (Rows(lambda *x: F.scaled_dot_product_attention(*x), 3), 2 * 80 * 80 * 8),
    "multi-head attention": (Rows(nn.MultiheadAttention(8, 2, batch_first=True), 3), ATTENTION),
    "blur": (Blur(8), 5 * 4 * 9 * 8),
    "a kernel of its own": (Constant(), 8 * 6 * 9 * 8 * 4),
    "recurrent": (Rows(nn.GRU(8, 4)), 80 * 3 * 4 * (8 + 4)),
    "one row": (Reshaped(nn.Linear(640, 2), (640,)), 1280),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_multiplies_without_a_layer_is_counted_under_its_module(name):
    network, macs = OTHERS[name]
    found = cost(network.eval(), 10, 8, in_channels=8)
    assert found.macs == macs
    assert found.bytes_int8 == 4 * found.params or name == "one row"
    assert cross_check(network, 10, 8, in_channels=8) == (macs, macs)
    both = nn.Sequential(nn.Conv2d(3, 8, 1), network)
    layers = layer_costs(both, 10, 8)
    assert (layers[0].name, layers[0].kind, layers[0].macs) == ("0", "conv", 80 * 24)
    assert {layer.kind for layer in layers[1:]} <= {"matmul", "functional conv", "linear"}
    assert all(layer.name.startswith("1") for layer in layers[1:])
    assert sum(layer.macs for layer in layers[1:]) == macs


class Transformed(nn.Module):
    def forward(self, x):
        return torch.fft.rfft2(x).abs()


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 8, 1), Rows(nn.Bilinear(8, 8, 2), 2)),
            r"'1\.layer' \(Bilinear\) runs aten::_trili",
        ),
        (Transformed(), "^The network runs aten::_fft_r2c"),
    ],
)
def test_an_operation_that_cannot_be_counted_is_named_instead_of_left_out(network, named):
    with pytest.raises(GancompError, match=named + ".*build it of convolutions, linear layers"):
        cost(network, 8, 8, in_channels=3)


def test_layers_under_the_old_weight_norm_cost_what_plain_ones_do_and_are_exported(tmp_path):
    plain, normed = nn.Conv2d(3, 4, 3), nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.Tanh())
    normed(torch.zeros(1, 3, 8, 8))  # from here on its weight follows from two others
    assert cost(normed, 8, 8).macs == cost(plain, 8, 8).macs
    assert cross_check(normed, 8, 8) == (cost(plain, 8, 8).macs,) * 2
    assert export_onnx(normed, tmp_path / "a.onnx", (1, 3, 8, 8)).is_file()
    assert type(normed[0].weight) is torch.Tensor  # is left as it was


def test_what_the_old_spectral_norm_multiplies_for_its_weight_is_no_cost_of_a_picture():
    plain, normed = nn.Conv2d(3, 4, 3), nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)), nn.Tanh())
    assert cost(normed.eval(), 8, 8).macs == cost(plain, 8, 8).macs == 36 * 9 * 12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_another_precision_is_told_the_way_out(dtype, tmp_path):
    network = nn.Conv2d(3, 4, 3).to(dtype)
    for use in (lambda: cost(network, 8, 8), lambda: export_onnx(network, tmp_path / "a.onnx", (1, 3, 8, 8))):
        with refused(r"Conv2d has weights in b?float\d\d \('weight'\), .* float32 .*with \.float\(\)"):
            use()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_program_that_cannot_be_looked_into_is_told_so():
    with refused("TorchScript program cannot be traced"):
        cost(torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)), 8, 8)
    with refused("TorchScript program cannot be traced"):
        cost(nn.Sequential(torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)), nn.Tanh()), 8, 8)


def test_norms_and_parametrised_convolutions_are_no_unknown_layers():
    plain = nn.Conv2d(3, 4, 3)
    assert cost(spectral_norm(nn.Conv2d(3, 4, 3)), 8, 8).macs == cost(plain, 8, 8).macs
    network = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), nn.LayerNorm((4, 6, 6)), nn.BatchNorm2d(4), nn.PReLU(4))
    assert cost(network, 8, 8).macs == cost(plain, 8, 8).macs


@pytest.mark.parametrize(
    ("network", "size"), [(nn.Conv2d(3, 4, 7), (4, 9)), (nn.Conv2d(3, 4, 1), (-1, 8)), (nn.Conv2d(3, 4, 1), (8, 2.5))]
)
def test_a_size_that_a_network_cannot_take_is_one_sentence_that_names_it(network, size):
    with pytest.raises(GancompError, match=f"^Conv2d cannot take pictures of {size[0]} x {size[1]} pixels") as caught:
        cost(network, *size)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_networks_that_tell_their_sizes_are_quoted():
    with pytest.raises(GancompError, match=r"multiples of 16 .*not \[.*24, 16\]"):
        cost(UnetGenerator(UnetArchitecture(4, 4)), 24, 16)
    with pytest.raises(GancompError, match=r"not \[1, 3, 10, 16\]"):
        cost(ResnetGenerator(ResnetArchitecture("8_8_8_8_8_8_8_8", blocks=1)), 10, 16)


def test_a_module_is_costed_as_it_is_and_left_so():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    cost(network, 8, 8)
    assert all(part.training for part in network.modules())
    assert not any(p.is_meta for p in network.parameters())


def test_a_search_asks_for_costs_in_less_than_twenty_microseconds_each():
    base = ResnetArchitecture("16_16_32_16_32_32_16_16", separable=True)
    space = ArchitectureSpace(base, search_space("resnet/channels-32"))
    sizes = [len(choice) for choice in space.choices.values()]
    rows, rounds = np.random.default_rng(0).integers(0, sizes, size=(500, len(sizes))), []
    for _ in range(20):
        start = time.perf_counter()
        cost_table(space, rows, (256, 256))
        rounds.append((time.perf_counter() - start) / len(rows))
    assert min(rounds) < 20e-6  # the quickest round is the one that nothing disturbed


def test_a_count_under_inference_mode_is_the_same():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 2, 2), nn.Linear(31, 4)).eval()
    outside = cost(network, 32, 32)
    with torch.inference_mode():
        assert cost(network, 32, 32) == outside
        assert cross_check(network, 32, 32) == (outside.macs, outside.macs)
    assert outside.macs > 0
