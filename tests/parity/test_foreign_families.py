"""Checkpoints of U-Nets, SPADE, super-resolution and style transfer are the functions that their authors defined."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_families import (
    Compact,
    Gaugan,
    LongBatchNorm,
    NamedVdsr,
    Pix2pixUnet,
    PytorchGanUnet,
    RealEsrgan,
    RowVdsr,
    StyleTransfer,
    first_esrgan_names,
    parameter_free,
    scattered,
)
from torch import Tensor, nn

from factories import pictures, refused
from gancomp_core.importers import import_checkpoint, import_realesrgan
from gancomp_core.importers.assumptions import Assumptions
from gancomp_core.measure import cost
from gancomp_core.nets import RrdbArchitecture, SpadeArchitecture, UnetArchitecture, VdsrArchitecture


def imported(state: dict[str, Tensor], folder: Path, **assumed: Any) -> nn.Module:
    torch.save({"params_ema": state}, folder / "net.pth")
    return import_checkpoint(folder / "net.pth", assume=Assumptions(**assumed), quiet=True)


UNIT, BYTES = (0, 1), (0, 255)


@torch.no_grad()
def assert_same_function(
    ours: nn.Module, theirs: nn.Module, channels: int = 3, size: int = 32, span: tuple[float, float] = (-1, 1)
) -> None:
    """Equal on a picture, of which ``theirs`` takes and makes values in ``span``."""
    x, (low, high) = pictures(1, channels, size, size + 32), span
    expected = theirs((x + 1) / 2 * (high - low) + low)
    expected = (expected - low) / (high - low) * 2 - 1
    assert expected.std() > 0.05  # a saturated or constant output would compare nothing
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)
    assert not ours.training
    assert not any(values.requires_grad for values in ours.parameters())


class OwnStatistics(nn.Module):
    """A network as pix2pix's test script runs it: in training mode, but without the dropout."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.train()
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def plain_instance(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=False)


# --- U-Nets


@pytest.mark.parametrize("sizes", [(4, 5, 3, 3), (6, 5, 1, 3), (4, 2, 3, 1), (4, 3, 3, 3)])
def test_the_unet_of_pix2pix_is_read_at_any_depth_and_width(tmp_path, sizes):
    theirs = scattered(Pix2pixUnet(*sizes))
    ours = imported(theirs.state_dict(), tmp_path, norm_at_test="running")
    assert ours.architecture == UnetArchitecture(*sizes)
    assert_same_function(ours, theirs, sizes[2])
    assert cost(ours, 32, 32) == cost(nn.Sequential(theirs), 32, 32)


def test_by_default_a_unet_normalizes_by_the_pictures_own_statistics_as_the_script_of_pix2pix_does(tmp_path):
    theirs = scattered(Pix2pixUnet())
    ours = imported(theirs.state_dict(), tmp_path)
    assert "norm_at_test picture" in str(ours.imported)
    assert ours.architecture == UnetArchitecture(4, 5, norm="instance")
    assert_same_function(ours, OwnStatistics(theirs), size=64)


def test_a_unet_with_instance_norm_is_known_by_its_biases(tmp_path):
    theirs = scattered(Pix2pixUnet(depth=4, norm=plain_instance, bias=True))
    ours = imported(theirs.state_dict(), tmp_path)
    assert ours.imported.assumed == {"norm": "instance"}
    assert_same_function(ours, theirs)
    bare = scattered(Pix2pixUnet(depth=4, norm=lambda channels: nn.Identity(), bias=True))
    assert_same_function(imported(bare.state_dict(), tmp_path, norm="none"), bare)
    bare = scattered(Pix2pixUnet(depth=4, norm=lambda channels: nn.Identity()))
    assert_same_function(imported(bare.state_dict(), tmp_path), bare)


def test_statistics_that_an_old_instance_norm_left_behind_may_be_used_or_not(tmp_path):
    theirs = scattered(Pix2pixUnet(depth=4, norm=lambda c: nn.InstanceNorm2d(c, track_running_stats=True), bias=True))
    assert_same_function(imported(theirs.state_dict(), tmp_path, norm_at_test="running"), theirs)
    own = imported(theirs.state_dict(), tmp_path)
    assert any(name.endswith("running_mean") for name in own.imported.skipped)
    assert_same_function(own, OwnStatistics(theirs))


@pytest.mark.parametrize("early", [False, True])
def test_the_unet_of_pytorch_gan_is_read(tmp_path, early):
    theirs = scattered(PytorchGanUnet(early=early))
    ours = imported(theirs.state_dict(), tmp_path, **({"norm_at_test": "running"} if early else {}))
    assert_same_function(ours, theirs)
    if early:
        assert_same_function(imported(theirs.state_dict(), tmp_path), OwnStatistics(theirs))


# --- SPADE


def labels(size: int, channels: int = 4) -> Tensor:
    """Label maps with -1 and 1, as all tasks here have them."""
    drawn = torch.randint(0, channels, (1, size, 2 * size), generator=torch.Generator().manual_seed(3))
    return nn.functional.one_hot(drawn).permute(0, 3, 1, 2).float() * 2 - 1


@torch.no_grad()
def assert_same_pictures(ours: nn.Module, theirs: nn.Module, size: int = 64, rounds_alike: bool = True) -> None:
    x = labels(size)
    expected = theirs((x + 1) / 2)
    assert expected.std() > 0.05
    if rounds_alike:
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)
    ours, theirs, x = copy.deepcopy(ours).double(), copy.deepcopy(theirs).double(), x.double()
    torch.testing.assert_close(ours(x), theirs((x + 1) / 2), atol=1e-8, rtol=0)


MIT = (8, 4, 2, 2, 2, 4, 4, 8)


@pytest.mark.parametrize("upsampling", ["normal", "more"])
@pytest.mark.parametrize("separable", [False, True])
def test_a_spade_generator_becomes_ours_where_its_widths_follow_a_channel_config(tmp_path, separable, upsampling):
    theirs = scattered(Gaugan(MIT, separable=separable, upsampling=upsampling))
    ours = imported(theirs.state_dict(), tmp_path, shrink={"normal": 32, "more": 64}[upsampling])
    expected = SpadeArchitecture("8_4_2_2_2_4_4_8", separable, upsampling, label_channels=4)
    assert ours.architecture == ours.net.architecture == expected
    # an InstanceNorm of a few nearly constant pixels amplifies the last bit of float32
    assert_same_pictures(ours, theirs, rounds_alike=not separable)


def test_the_size_of_the_first_map_is_assumed_and_said(tmp_path):
    dense = imported(Gaugan().state_dict(), tmp_path)
    assert "shrink 32" in str(dense.imported)
    assert "shrink 64" in str(imported(Gaugan(MIT, separable=True).state_dict(), tmp_path).imported)
    assert "shrink 64" in str(imported(Gaugan(labels=36).state_dict(), tmp_path).imported)


@pytest.mark.parametrize("upsampling", ["normal", "most"])
@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, parameter_free])
def test_a_spade_generator_of_any_widths_and_norm_is_the_same_function(tmp_path, norm, upsampling):
    theirs = scattered(Gaugan((2,) * 8, hidden=6, norm=norm, upsampling=upsampling))
    ours = imported(theirs.state_dict(), tmp_path)
    assert ours.architecture is None
    assert_same_pictures(ours, theirs, 256 if upsampling == "most" else 64)


def test_a_compressed_generator_keeps_statistics_of_more_channels_than_it_has(tmp_path):
    theirs = scattered(Gaugan(MIT, separable=True, norm=lambda c: LongBatchNorm(2 * c, affine=False)))
    assert_same_pictures(imported(theirs.state_dict(), tmp_path, shrink=32), theirs, rounds_alike=False)


def test_a_spade_generator_may_normalize_by_the_pictures_own_statistics(tmp_path):
    theirs = scattered(Gaugan())
    ours = imported(theirs.state_dict(), tmp_path, norm_at_test="picture")
    assert_same_pictures(ours, theirs.train())


# --- super-resolution


@pytest.mark.parametrize(("scale", "channels"), [(4, 3), (2, 3), (1, 3), (2, 1)])
def test_an_rrdbnet_is_read_by_the_names_of_real_esrgan(tmp_path, scale, channels):
    theirs = scattered(RealEsrgan(scale, channels=channels))
    ours = imported(theirs.state_dict(), tmp_path)
    assert f"{scale} times the size, for pictures in [0, 1]" in str(ours.imported)
    assert_same_function(ours, theirs, channels, size=8, span=UNIT)
    assert cost(ours, 8, 8) == cost(theirs, 8, 8, channels)
    if scale == 4:
        assert ours.architecture == RrdbArchitecture(2, 8, 4)


def test_an_rrdbnet_is_read_by_the_names_of_esrgan_and_of_its_first_version(tmp_path):
    theirs = scattered(RealEsrgan(old=True))
    assert_same_function(imported(theirs.state_dict(), tmp_path), theirs, size=8, span=UNIT)
    first = first_esrgan_names(theirs.state_dict(), 2)
    assert_same_function(imported(first, tmp_path), theirs, size=8, span=UNIT)


@pytest.mark.parametrize("active", ["prelu", "relu", "leaky_relu"])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_compact_network_is_read_with_each_activation(tmp_path, active, scale):
    theirs = scattered(Compact(active=active, scale=scale))
    ours = imported(theirs.state_dict(), tmp_path, **({"activation": active} if active == "leaky_relu" else {}))
    assert_same_function(ours, theirs, size=8, span=UNIT)
    assert ("activation" in ours.imported.assumed) == (active != "prelu")


@pytest.mark.parametrize("kind", [NamedVdsr, RowVdsr])
def test_vdsr_is_read_by_both_names(tmp_path, kind):
    theirs = scattered(kind())
    ours = imported(theirs.state_dict(), tmp_path)
    assert ours.architecture == VdsrArchitecture(6, 8, 1)
    assert_same_function(ours, theirs, 1, span=UNIT)


def test_a_row_without_biases_may_make_the_whole_picture(tmp_path):
    theirs = scattered(RowVdsr())
    ours = imported(theirs.state_dict(), tmp_path, residual=False)
    assert_same_function(ours, theirs.features, 1, span=UNIT)


# --- style transfer


@pytest.mark.parametrize("blocks", [1, 5])
def test_a_style_transfer_network_takes_our_range_instead_of_0_to_255(tmp_path, blocks):
    theirs = scattered(StyleTransfer(blocks=blocks))
    theirs.deconv3.conv2d.weight.data.mul_(60)
    state = theirs.state_dict() | {"in1.running_mean": torch.zeros(4), "in1.running_var": torch.ones(4)}
    ours = imported(state, tmp_path)
    assert ours.imported.skipped == ("in1.running_mean", "in1.running_var")
    assert_same_function(ours, theirs, span=BYTES)


# --- what is not read


def without(name: str, network: nn.Module) -> dict[str, Tensor]:
    return {key: values for key, values in network.state_dict().items() if key != name}


def other_shape(name: str, network: nn.Module) -> dict[str, Tensor]:
    return network.state_dict() | {name: torch.zeros(5, 5, 3, 3)}


DAMAGED = {
    "a U-Net without an inner kernel": (
        lambda: without("model.model.1.model.3.model.1.weight", Pix2pixUnet()),
        ["a U-Net of pix2pix", "1.model.3.model.1.weight"],
    ),
    "a U-Net with attention": (
        lambda: Pix2pixUnet().state_dict() | {"model.model.1.model.8.gamma": torch.zeros(1)},
        ["holds 1 tensors more", "1.model.8.gamma"],
    ),
    "a U-Net of PyTorch-GAN with other kernels": (
        lambda: other_shape("up2.model.0.weight", PytorchGanUnet()),
        ["up2.model.0.weight", "a kernel of 4 x 4"],
    ),
    "an RRDBNet without a block": (
        lambda: {key: v for key, v in RealEsrgan(blocks=3).state_dict().items() if "body.1." not in key},
        ["an RRDBNet", "number 1"],
    ),
    "an RRDBNet with another kernel": (
        lambda: other_shape("conv_hr.weight", RealEsrgan()),
        ["conv_hr.weight", "should be 8 x 8 x 3 x 3"],
    ),
    "a compact network without a slope": (
        lambda: without("body.3.weight", Compact()),
        ["an SRVGGNetCompact", "lacks '3.weight'"],
    ),
    "a SPADE generator that draws from noise": (
        lambda: Gaugan().state_dict() | {"fc.weight": torch.zeros(128, 256)},
        ["a SPADE generator", "fc.weight", "3 x 3"],
    ),
    "a SPADE generator without a beta": (
        lambda: without("up_1.norm_s.mlp_beta.bias", Gaugan()),
        ["lacks 'up_1.norm_s.mlp_beta.bias'"],
    ),
    "a style transfer network not finite": (
        lambda: StyleTransfer().state_dict() | {"in2.bias": torch.full((8,), torch.nan)},
        ["in2.bias", "not finite"],
    ),
    "the local enhancer of pix2pixHD": (
        lambda: {
            "model.1.weight": torch.zeros(8, 3, 7, 7),
            "model.10.conv_block.1.weight": torch.zeros(8, 8, 3, 3),
            "model1_1.1.weight": torch.zeros(4, 3, 7, 7),
            "model1_2.0.conv_block.1.weight": torch.zeros(8, 8, 3, 3),
        },
        ["local enhancer of pix2pixHD", "global generator"],
    ),
}


def test_the_ncnn_importer_says_what_reads_a_file_of_weights():
    with refused("RealESRGAN_x4plus.pth", "import_checkpoint reads it"):
        import_realesrgan("weights/RealESRGAN_x4plus.pth")


@pytest.mark.parametrize("what", DAMAGED)
def test_a_variant_is_refused_and_the_tensor_named(tmp_path, what):
    make, said = DAMAGED[what]
    with refused(*said):
        imported(make(), tmp_path)


@pytest.mark.parametrize(
    ("network", "assumed", "said"),
    [
        (lambda: Pix2pixUnet(), {"padding": "reflect"}, "padding zeros"),
        (lambda: Pix2pixUnet(), {"norm": "instance"}, "norm batch"),
        (lambda: Pix2pixUnet(depth=4, norm=plain_instance, bias=True), {"norm": "group"}, "norm instance or none"),
        (lambda: RealEsrgan(), {"last": "tanh"}, "last none"),
        (lambda: Compact(), {"activation": "relu"}, "activation prelu"),
        (lambda: NamedVdsr(), {"residual": False}, "residual True"),
        (lambda: StyleTransfer(), {"padding": "zeros"}, "padding reflect"),
    ],
)
def test_an_assumption_that_the_file_contradicts_is_refused(tmp_path, network, assumed, said):
    with refused(said, "leave it out"):
        imported(network().state_dict(), tmp_path, **assumed)
