"""Layers of a blueprint against torch's own modules, and their costs by hand."""

import pytest
import torch
from torch.nn import functional as F

from gancomp_core.nets.blueprint import (
    BATCH_NORM,
    CONVOLUTION,
    INSTANCE_NORM,
    ONE_PIXEL_NORM,
    PICTURE,
    TRANSPOSED,
    Channels,
    Cost,
    Draft,
    Layer,
)

IN, OUT, SIZE = Channels("in", 3), Channels("out", 5), (8, 12)
LAYERS = {
    "conv": Layer("a", CONVOLUTION, IN, OUT, SIZE, 7),
    "conv without bias": Layer("a", CONVOLUTION, IN, OUT, SIZE, 7, bias=False),
    "conv that paints": Layer("a", CONVOLUTION, IN, PICTURE._replace(width=2), SIZE, 7),
    "depthwise": Layer("a", CONVOLUTION, OUT, OUT, SIZE, 7, depthwise=True),
    "transposed": Layer("a", TRANSPOSED, IN, OUT, SIZE, 7, 2),
    "norm": Layer("a", INSTANCE_NORM, OUT, OUT, SIZE),
    "affine norm": Layer("a", INSTANCE_NORM, OUT, OUT, SIZE, affine=True),
    "one-pixel norm": Layer("a", ONE_PIXEL_NORM, OUT, OUT, SIZE),
    "batch norm": Layer("a", BATCH_NORM, OUT, OUT, SIZE, affine=True),
    "batch norm without scale": Layer("a", BATCH_NORM, OUT, OUT, SIZE),
    "relu": Layer("a", "relu", PICTURE, PICTURE, SIZE),
}


@pytest.mark.parametrize("name", LAYERS)
def test_axes_are_the_dimensions_of_torchs_tensors_along_which_named_channels_lie(name):
    layer, width = LAYERS[name], {3: "in", 5: "out"}
    tensors = {key: each for key, each in layer.module().state_dict().items() if each.ndim}
    expected = {
        key: {(dim, width[size], width[size] == "in") for dim, size in enumerate(each.shape) if size in width}
        for key, each in tensors.items()
    }
    found = {key: set(axes) for key, axes in layer.axes.items() if axes}
    assert found == {key: axes for key, axes in expected.items() if axes}


@pytest.mark.parametrize("name", LAYERS)
def test_params_are_those_of_torchs_module_and_what_does_not_multiply_has_no_weights(name):
    layer = LAYERS[name]
    assert layer.params == sum(each.numel() for each in layer.module().parameters())
    if not layer.multiplies:
        assert (layer.weights, layer.macs) == (0, 0)


def test_a_transposed_convolution_multiplies_once_for_every_input_pixel_at_any_stride():
    layer = Layer("a", TRANSPOSED, IN, OUT, SIZE, kernel=4, stride=4)
    weights = 4 * 4 * 3 * 5
    assert (layer.weights, layer.macs, layer.published_macs) == (weights, weights * 2 * 3, weights * 8 * 12)
    assert isinstance(layer.macs, int)


def test_a_convolution_pads_with_zeros_or_by_reflection():
    x = torch.randn(1, 3, 8, 12)
    for padding, mode in (("zeros", "constant"), ("reflect", "reflect")):
        module = LAYERS["conv"]._replace(padding=padding).module()
        expected = F.conv2d(F.pad(x, (3, 3, 3, 3), mode=mode), module.weight, module.bias)
        torch.testing.assert_close(module(x), expected)


def test_a_draft_follows_the_size_of_its_maps_in_whole_numbers():
    draft = Draft((12, 20), prefix="stages.")
    draft.stage("body", "body", (IN, OUT), OUT)
    draft.conv("0", IN, OUT, stride=2)
    draft.enlarging_conv("1", OUT, OUT)
    draft.resize(0.75)
    draft.conv("2", OUT, IN, elastic=True)
    layers = draft.blueprint.layers
    assert [layer.name for layer in layers] == ["stages.0", "stages.1", "stages.2"]
    assert [layer.size for layer in layers] == [(6, 10), (12, 20), (9, 15)]
    assert [layer.elastic for layer in layers] == [False, False, True]
    assert all(isinstance(side, int) for layer in layers for side in layer.size)


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (Cost(56_800_000_000, 0, 11_378_179, 0), "56.8 G MACs, 11.4 M parameters, 45.51 MB in float32"),
        (Cost(1_000_000, 0, 2_500, 0), "1 M MACs, 2.5 k parameters, 0.01 MB in float32"),
        (Cost(999, 0, 1_000, 0), "999 MACs, 1 k parameters, 0.00 MB in float32"),
    ],
)
def test_a_cost_is_told_in_units_of_a_thousand(cost, said):
    assert str(cost) == said
