"""The feature network: the published one, folded; its weights checked."""

import json
import lzma
import shutil

import pytest
import safetensors.torch
import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.nets import efficientnet_lite
from gancomp_core.nets.efficientnet_lite import (
    EfficientNetLite0,
    SameConv,
    load_efficientnet_lite0,
    weights_hash,
    weights_path,
)


@pytest.fixture
def shipped_copy(tmp_path):
    """The folder of shipped weights, copied to where a test may damage it."""
    folder = shutil.copytree(weights_path().parent, tmp_path / "features")
    return folder / efficientnet_lite.WEIGHTS


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2), (3, 3)])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (7, 10), (1, 5)])
def test_same_padding_puts_the_odd_zero_to_the_right_and_below(kernel, stride, height, width):
    layer = SameConv(2, 3, kernel, stride)
    x = torch.randn(2, 2, height, width)
    zeros = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (width, height)]
    padded = nn.functional.pad(x, [side for count in zeros for side in (count // 2, count - count // 2)])
    torch.testing.assert_close(layer(x), nn.functional.conv2d(padded, layer.weight, layer.bias, stride))


def test_features_are_1280_a_picture_and_do_not_depend_on_the_batch():
    network = load_efficientnet_lite0()
    pictures = torch.rand(5, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = network(pictures)
    assert together.shape == (5, efficientnet_lite.FEATURES)
    torch.testing.assert_close(together, torch.cat([network(one[None]) for one in pictures]), rtol=1e-4, atol=1e-5)


def test_features_are_those_of_the_published_implementation():
    """Its float32 features of one fixed picture, taken when the weights were built."""
    ramp = torch.linspace(-1, 1, 96)
    picture = torch.stack([ramp[:, None].expand(96, 96), ramp[None].expand(96, 96), ramp[:, None] * ramp[None]])[None]
    features = load_efficientnet_lite0()(picture)[0]
    published = {"mean": 0.145657, "largest": 4.83217, "where": 245}
    assert float(features.mean()) == pytest.approx(published["mean"], rel=0.01)
    assert float(features.max()) == pytest.approx(published["largest"], rel=0.01)
    assert int(features.argmax()) == published["where"]


def test_network_is_frozen_and_has_the_published_number_of_parameters():
    network = load_efficientnet_lite0()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    # 4,652,008 published, less the classifier (1,281,000), less two numbers a channel that folding removes
    channels = sum(layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_652_008 - 1_281_000 - channels


def test_damaged_file_names_the_command_that_restores_it(shipped_copy):
    data = bytearray(shipped_copy.read_bytes())
    data[len(data) // 2] ^= 1
    shipped_copy.write_bytes(data)
    with pytest.raises(GancompError, match=r"are damaged .*'git checkout -- \S+_fp16\S+\.xz' restores them\.$"):
        load_efficientnet_lite0(shipped_copy)


@pytest.mark.parametrize("missing", [efficientnet_lite.WEIGHTS, "manifest.json"])
def test_missing_file_names_the_command_that_restores_it(shipped_copy, missing):
    (shipped_copy.parent / missing).unlink()
    with pytest.raises(GancompError, match=r"cannot be read; 'git checkout -- \S+_fp16\S+\.xz \S+\.json' .*\.$"):
        load_efficientnet_lite0(shipped_copy)


def test_weights_of_another_network_are_refused(shipped_copy):
    shipped_copy.write_bytes(lzma.compress(safetensors.torch.save({"weight": torch.zeros(3)})))
    manifest = json.loads((shipped_copy.parent / "manifest.json").read_text())
    manifest["outputs"][shipped_copy.name]["sha256"] = efficientnet_lite.files.sha256(shipped_copy)
    (shipped_copy.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GancompError, match=r"the weights of EfficientNet-Lite0; 'git checkout -- \S+_fp16\.saf.*\.$"):
        load_efficientnet_lite0(shipped_copy)


def test_shipped_weights_are_those_of_the_manifest():
    assert (
        weights_hash()
        == json.loads((weights_path().parent / "manifest.json").read_text())["outputs"][efficientnet_lite.WEIGHTS][
            "sha256"
        ]
    )


def plain_maps(network, x):
    """The same maps, every operation on a fresh tensor."""
    relu6, maps = nn.functional.relu6, []
    x = relu6(network.stem(x))
    for block in network.blocks:
        y = x if block.expand is None else relu6(block.expand(x))
        y = block.project(relu6(block.depthwise(y)))
        x = y + x if block.residual else y
        maps.append(x)
    return maps


def test_maps_and_their_gradients_are_those_of_plain_operations():
    network = load_efficientnet_lite0().double()
    x = torch.rand(2, 3, 33, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    x.requires_grad_()
    found, plain = network.maps(x, range(16)), plain_maps(network, x)
    for ours, expected in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(sum(m.square().mean() for m in maps), x)[0] for maps in (found, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    assert gradients[0].any()


def test_maps_are_taken_at_each_resolution_and_no_further_than_asked():
    network = EfficientNetLite0()
    shapes = [tuple(m.shape[1:]) for m in network.maps(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(16, 32, 48), (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]
    network.blocks[3] = None
    assert [m.shape[1] for m in network.maps(torch.zeros(1, 3, 8, 8), after=(2, 0))] == [16, 24]


@pytest.mark.parametrize("after", [(), (16,), (-1, 2)])
def test_maps_after_blocks_that_do_not_exist_are_refused(after):
    with pytest.raises(GancompError, match="taken after blocks 0 to 15, not .* 0, 2, 4, 10, 15 are the last"):
        EfficientNetLite0().maps(torch.zeros(1, 3, 8, 8), after)


def test_a_new_network_takes_pictures_of_any_size():
    for size in ((1, 1), (33, 50)):
        assert EfficientNetLite0()(torch.zeros(1, 3, *size)).shape == (1, 1280)
