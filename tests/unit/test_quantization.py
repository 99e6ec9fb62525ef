"""Quantization: the formulas are ONNX's, simulation lets gradients through, integer kernels keep the pictures."""

import dataclasses
import functools
import logging

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import nn

from factories import refused, short_config, smooth
from gancomp_core import zoo
from gancomp_core.data import PictureSet, Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator, cost, export_onnx, onnx_runtime, psnr
from gancomp_core.methods.feature_distillation import distil
from gancomp_core.methods.quantization import (
    AGD,
    KERNELS,
    Range,
    Scheme,
    asymmetric,
    calibrate,
    compressed_bytes,
    convolutions,
    ema,
    export_int8,
    half_weights,
    layer_sensitivity,
    magnitude_pruned,
    min_max,
    mixed_precision,
    mse,
    percentile,
    plain,
    psnr_to_float,
    report,
    rows,
    simulate,
    stored_bytes,
    straight_through,
    symmetric,
    table,
    unchanged,
    weight_only_int8,
)
from gancomp_core.methods.quantization.affine import _Clipped
from gancomp_core.methods.quantization.graph import Graph
from gancomp_core.methods.quantization.sensitivity import layer_bytes
from gancomp_core.methods.quantization.simulated import FakeQuantize, QuantizedConv, has_float_kernel, is_depthwise
from gancomp_core.nets import (
    ArchitectureSpace,
    ElasticGenerator,
    ResnetArchitecture,
    ResnetGenerator,
    RrdbArchitecture,
    SearchSpace,
    SpadeArchitecture,
    SpadeGenerator,
    UnetArchitecture,
    VdsrArchitecture,
    build,
    initialize,
)
from gancomp_core.train import Checkpoint, reconstruction

SMALL = ResnetArchitecture("8_8_8_8_8_8_8_8", blocks=1)


def resnet(**changes):
    return initialize(ResnetGenerator(dataclasses.replace(SMALL, **changes)), 1, std=0.1).eval()


NETS = {
    "resnet": lambda: (resnet(), (3, 32)),
    "separable resnet": lambda: (resnet(separable=True), (3, 32)),
    "resnet at half resolution": lambda: (resnet(resolution=0.5, affine=True), (3, 32)),
    "spade": lambda: (
        initialize(SpadeGenerator(SpadeArchitecture("8_4_2_2_2_4_4_8", upsampling="normal", label_channels=4)), 1),
        (4, 64),
    ),
    "rrdb": lambda: (build(RrdbArchitecture(1, 16, 8), 1), (3, 16)),
    "vdsr": lambda: (build(VdsrArchitecture(4, 16, scale=2), 1), (3, 16)),
    "u-net": lambda: (build(UnetArchitecture(8, 3), 1), (3, 32)),
}


def net(name):
    generator, (channels, size) = NETS[name]()
    return generator.eval(), smooth(6, channels, size, size)


# --- the affine map


def onnx_round_trip(by, x):
    """QuantizeLinear and DequantizeLinear of onnxruntime: whole numbers and reals."""
    kind = onnx.TensorProto.INT8 if by.signed else onnx.TensorProto.UINT8
    axis = {} if by.axis is None else {"axis": by.axis}
    zero_point = by.zero_point.numpy().astype(np.int8 if by.signed else np.uint8)
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["source", "scale", "zero"], ["whole"], **axis),
            helper.make_node("DequantizeLinear", ["whole", "scale", "zero"], ["picture"], **axis),
        ],
        "affine",
        [helper.make_tensor_value_info("source", onnx.TensorProto.FLOAT, x.shape)],
        [
            helper.make_tensor_value_info("whole", kind, x.shape),
            helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, x.shape),
        ],
        [numpy_helper.from_array(by.scale.numpy(), "scale"), numpy_helper.from_array(zero_point, "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnx_runtime().InferenceSession(model.SerializeToString())
    return [torch.from_numpy(found) for found in session.run(None, {"source": x.numpy()})]


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("kind", [asymmetric, symmetric])
def test_the_maps_are_those_of_onnx_to_the_bit(kind, axis):
    x = torch.randn(5, 7, 40, generator=torch.Generator().manual_seed(1)) * 3 + 1
    by = kind(percentile(rows(x, axis), share=0.9), axis=axis)  # some values are clipped
    whole, reals = onnx_round_trip(by, x)
    assert torch.equal(by.quantize(x), whole.to(torch.int32))
    assert torch.equal(by.rounded(x), reals)
    assert not by.covers(x).all()


def test_halves_are_rounded_to_even_as_in_onnx():
    by = asymmetric(Range(torch.tensor(0.0), torch.tensor(255.0)))
    x = torch.tensor([0.5, 1.5, 2.5, 3.5, 254.5, 300.0, -4.0])
    assert by.quantize(x).tolist() == [0, 2, 2, 4, 254, 255, 0]
    assert torch.equal(onnx_round_trip(by, x)[1], by.rounded(x))


reals = st.floats(-100, 100, width=32)


@given(st.lists(reals, min_size=1, max_size=50), st.integers(2, 8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_a_range_holds_comes_back_within_half_a_step(values, bits, middle):
    x = torch.tensor(values)
    by = (symmetric if middle else asymmetric)(min_max(x), bits)
    # the zero point is rounded, too, so an end may lie up to half a step outside
    assert ((by.rounded(x) - x).abs() <= by.scale * (1.001 if not middle else 0.501)).all()
    assert by.rounded(torch.zeros(3)).eq(0).all()
    q = by.quantize(x)
    assert by.least <= q.min()
    assert q.max() <= by.greatest
    assert torch.equal(by.rounded(by.rounded(x)), by.rounded(x))


def test_eight_bit_pictures_lose_nothing():
    levels = torch.arange(256) / 127.5 - 1
    by = asymmetric(Range(torch.tensor(0.0), torch.tensor(2.0)))
    torch.testing.assert_close(by.rounded(levels + 1), levels + 1)


def test_all_zeros_stay_zeros():
    for kind in (asymmetric, symmetric):
        assert kind(min_max(torch.zeros(4))).rounded(torch.zeros(4)).eq(0).all()


def test_a_wrong_number_of_bits_is_refused():
    with pytest.raises(GancompError, match="2 to 16 bits, not 1"):
        asymmetric(min_max(torch.ones(2)), bits=1)


# --- ranges


@given(st.integers(0, 1000), st.integers(2, 8), st.booleans(), st.sampled_from([200, 5000]))
@settings(max_examples=25, deadline=None)
def test_the_range_of_the_least_error_errs_no_more_than_the_whole_one(seed, bits, middle, count):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, generator=draw) * torch.rand(1, generator=draw) * 9 + torch.randn(1, generator=draw)
    kind = symmetric if middle else asymmetric

    def error(span):
        return float((kind(span, bits).rounded(x) - x).square().mean())

    # many values are counted in bins, which moves the optimum a little
    assert error(mse(x, bits, middle)) <= error(min_max(x)) * (1 if count <= 2048 else 1.01)


@pytest.mark.parametrize("middle", [False, True])
@pytest.mark.parametrize("count", [300, 5000])
def test_the_quick_search_finds_the_range_of_the_plain_one(count, middle):
    """Every candidate tried on every value, as :func:`mse` describes it."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(3, count, generator=draw) ** 3 + torch.tensor([0.0, 2.0, -0.1])[:, None]
    low, high = x.min(1).values, x.max(1).values
    width = (high - low)[:, None] / 2048
    values, counts = x, torch.ones_like(x)
    if count > 2048:
        places = ((x - low[:, None]) / width).long().clamp(0, 2047)
        values = low[:, None] + (torch.arange(2048) + 0.5) * width
        counts = torch.stack([row.bincount(minlength=2048) for row in places])
    least, best = torch.full((3,), torch.inf), Range(low, high)
    for moving in ((1, 1),) if middle else ((1, 1), (0, 1), (1, 0)):
        start = best
        for share in torch.arange(64, 0, -1) / 64:
            tried = Range(
                *(whole * share if moves else end for moves, whole, end in zip(moving, (low, high), start, strict=True))
            )
            by = (symmetric if middle else asymmetric)(tried, 4, 0)
            error = ((by.rounded(values) - values) ** 2 * counts).sum(1)
            best = Range(*(torch.where(error < least, new, old) for new, old in zip(tried, best, strict=True)))
            least = torch.minimum(least, error)
    found = mse(x, 4, middle)
    assert found.high.lt(high).any()
    torch.testing.assert_close(found, best, rtol=1e-6, atol=0)
    torch.testing.assert_close(mse(x.view(3, 1, -1), 4, middle).low[:, 0], found.low)


def test_an_outlier_is_clipped_by_share_and_by_error_but_not_by_extremes():
    x = torch.cat([torch.linspace(-1, 1, 9999), torch.tensor([30.0])])
    assert min_max(x).high == 30
    assert percentile(x, share=0.99).high < 1
    assert mse(x, bits=4).high < 15
    assert mse(x).high <= min_max(x).high


def test_ranges_of_channels_are_those_of_each_alone():
    x = torch.randn(4, 3, 6, 6) * torch.tensor([1.0, 10.0, 0.0]).view(1, 3, 1, 1)
    for estimator in (min_max, mse, functools.partial(percentile, share=0.9)):
        together = estimator(rows(x, 1))
        for channel in range(3):
            alone = estimator(x[:, channel].flatten())
            torch.testing.assert_close(together.low[channel], alone.low)
            torch.testing.assert_close(together.high[channel], alone.high)


def test_averages_of_ranges_keep_their_share_of_the_past():
    moved = ema(Range(torch.tensor(-1.0), torch.tensor(1.0)), Range(torch.tensor(-2.0), torch.tensor(3.0)), decay=0.9)
    assert moved.low == pytest.approx(-1.1)
    assert moved.high == pytest.approx(1.2)


def test_the_middle_share_of_a_range_leaves_out_equally_many_at_both_ends():
    x = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).float()
    for share, cut in ((1.0, 0), (0.75, 125), (0.5, 250)):
        assert percentile(x, share=share) == Range(torch.tensor(float(cut)), torch.tensor(999.0 - cut))


@pytest.mark.parametrize("kind", [asymmetric, symmetric])
def test_maps_have_no_gradient(kind):
    by = kind(Range(torch.tensor(-1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)))
    assert not by.scale.requires_grad


@pytest.mark.parametrize("middle", [False, True])
def test_the_error_of_what_maps_cut_off_is_that_of_a_plain_sum(middle):
    draw = torch.Generator().manual_seed(2)
    values = torch.randn(3, 40, generator=draw) + torch.tensor([0.0, 1.0, -3.0])[:, None]
    counts = torch.randint(0, 9, (3, 40), generator=draw).float()
    tried = Range(-torch.rand(5, 3, generator=draw), 2 * torch.rand(5, 3, generator=draw))
    by = (symmetric if middle else asymmetric)(tried, 4)
    low, high = (((end - by.zero_point) * by.scale).double().numpy() for end in (by.least, by.greatest))
    x, weights = values.double().numpy(), counts.double().numpy()
    outside = [
        np.maximum(end[..., None] - x, 0) if end is low else np.maximum(x - end[..., None], 0) for end in (low, high)
    ]
    expected = sum((weights * each**2).sum(-1) for each in outside)
    np.testing.assert_allclose(_Clipped(values, counts).error(by), 0.999 * expected, rtol=1e-5, atol=1e-9)


def test_wrong_shares_are_refused():
    with pytest.raises(GancompError, match="above 0 and up to 1, not 1.5"):
        percentile(torch.ones(3), share=1.5)
    with pytest.raises(GancompError, match="at least 1 candidate, not 0"):
        mse(torch.ones(3), candidates=0)


# --- simulation


def test_gradients_pass_where_a_map_rounds_and_stop_where_it_clips():
    x = torch.tensor([-3.0, -1.0, 0.3, 0.99, 4.0], requires_grad=True)
    y = straight_through(x, asymmetric(Range(torch.tensor(-1.0), torch.tensor(1.0))))
    assert torch.equal(y, asymmetric(Range(torch.tensor(-1.0), torch.tensor(1.0))).rounded(x.detach()))
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_the_largest_weight_of_a_channel_may_learn():
    w = torch.randn(50, 9, requires_grad=True)
    straight_through(w, symmetric(min_max(w.detach()), axis=0)).sum().backward()
    assert w.grad.eq(1).all()


@pytest.mark.parametrize("name", NETS)
def test_every_family_is_simulated_at_8_bits_and_keeps_its_pictures(name):
    generator, x = net(name)
    simulated = calibrate(simulate(generator), x).eval()
    with torch.no_grad():
        assert psnr(simulated(x), generator(x)).mean() > 30
        assert not torch.equal(simulated(x), generator(x))
    assert sum(isinstance(layer, QuantizedConv) for layer in simulated.modules()) == len(convolutions(generator))


def test_a_simulated_convolution_equals_its_plain_computation():
    layer = nn.Conv2d(8, 5, 3, padding=1)
    x = torch.randn(2, 8, 6, 6)
    simulated = calibrate(simulate(layer, Scheme(estimator=min_max)), x)
    weight = symmetric(min_max(rows(layer.weight.detach(), 0)), axis=0).rounded(layer.weight.detach())
    expected = nn.functional.conv2d(asymmetric(min_max(x.flatten())).rounded(x), weight, layer.bias, padding=1)
    torch.testing.assert_close(simulated(x), expected)


def test_agds_scheme_leaves_depthwise_layers_in_float_and_rounds_biases_to_16_bits():
    generator = resnet(separable=True)
    nn.init.normal_(generator.stages.stem[0].bias)
    simulated = calibrate(simulate(generator, AGD), smooth(6, 3, 32, 32), batch_size=2)
    rounded = [layer for layer in simulated.modules() if isinstance(layer, QuantizedConv)]
    assert all(layer.layer.groups == 1 for layer in rounded)
    assert len(rounded) == len(convolutions(generator)) - 2
    stem = rounded[0].layer
    assert len(stem.weight.unique()) <= 256
    bias = stem.parametrizations.bias.original
    torch.testing.assert_close(stem.bias, bias, atol=float((bias.max() - bias.min()).detach()) / 65535, rtol=0)
    assert not torch.equal(stem.bias, bias)


def test_ranges_move_in_training_by_the_schemes_decay_and_otherwise_stay():
    first, second = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0])
    for decay, expected in ((0.5, 2.0), (1.0, 1.0)):
        rounding = FakeQuantize(8, min_max, decay)
        rounding.observing = True
        rounding(first)
        rounding.observing = False
        rounding.train()(second)
        assert rounding.high == pytest.approx(expected)
        rounding.eval()(second * 2)
        assert rounding.high == pytest.approx(expected)


def test_calibration_in_batches_averages_their_ranges():
    x = torch.stack([torch.full((8, 4, 4), value) for value in (1.0, 2.0, 6.0)])
    simulated = calibrate(simulate(nn.Conv2d(8, 4, 1), Scheme(estimator=min_max)), x, batch_size=1)
    assert simulated.read.high == pytest.approx(3.0)
    assert calibrate(simulated, x).read.high == pytest.approx(6.0)  # what was measured before is forgotten


def test_one_picture_calibrates_and_a_batch_of_none_is_refused():
    x = torch.full((1, 8, 4, 4), 5.0)
    simulated = simulate(nn.Conv2d(8, 4, 1), Scheme(estimator=min_max))
    assert calibrate(simulated, x).read.high == 5
    for wrong in ((x[:0], None), (x, 0)):
        with refused("at least 1 picture, in batches of at least 1"):
            calibrate(simulated, *wrong)


def test_biases_have_the_bits_of_their_scheme_in_a_range_of_their_own():
    layer = nn.Conv2d(8, 4, 1)
    nn.init.uniform_(layer.bias, 3, 4)  # a range with zero in its middle would be almost twice as wide
    simulated = simulate(layer, Scheme(bias_bits=4))
    expected = asymmetric(min_max(layer.bias.detach()), 4).rounded(layer.bias.detach())
    assert torch.equal(simulated.layer.bias, expected)
    assert not torch.equal(symmetric(min_max(layer.bias.detach()), 4).rounded(layer.bias.detach()), expected)


@pytest.mark.parametrize(
    ("layer", "depthwise", "in_float"),
    [
        (nn.Conv2d(8, 4, 1), False, False),
        (nn.Conv2d(7, 4, 1), False, True),
        (nn.Conv2d(16, 4, 1, groups=2), False, False),
        (nn.Conv2d(16, 4, 1, groups=4), False, True),
        (nn.Conv2d(16, 16, 1, groups=16), True, True),
        (nn.ConvTranspose2d(16, 4, 2), False, True),
    ],
)
def test_layers_of_fewer_than_eight_channels_a_group_compute_in_float_at_any_bits(layer, depthwise, in_float):
    assert (is_depthwise(layer), has_float_kernel(layer)) == (depthwise, in_float)


def test_a_network_that_was_not_calibrated_says_so():
    with pytest.raises(GancompError, match="call calibrate"):
        simulate(resnet())(smooth(1, 3, 32, 32))
    with pytest.raises(GancompError, match="at least 1 picture"):
        calibrate(simulate(resnet()), torch.zeros(0, 3, 32, 32))


def test_what_cannot_be_simulated_is_named():
    with pytest.raises(GancompError, match="no convolution 'stages.nowhere'; choose from stages.stem.0"):
        simulate(resnet(), bits={"stages.nowhere": 8})
    with pytest.raises(GancompError, match="quantize the one that extract"):
        simulate(ElasticGenerator(ArchitectureSpace(SMALL, SearchSpace(((8,),) * 8))))
    with pytest.raises(GancompError, match="quantized already"):
        simulate(simulate(resnet()))
    with pytest.raises(GancompError, match="no convolution to quantize"):
        simulate(nn.ReLU())
    with pytest.raises(GancompError, match="0 to 1, not 2"):
        Scheme(decay=2)


def test_the_float_network_comes_back_and_the_given_one_is_left_alone():
    generator = resnet()
    before = {name: weight.clone() for name, weight in generator.state_dict().items()}
    back = plain(calibrate(simulate(generator, AGD), smooth(4, 3, 32, 32)))
    for name, weight in before.items():
        assert torch.equal(back.state_dict()[name], weight)
        assert torch.equal(generator.state_dict()[name], weight)
    assert type(back) is type(generator)


def test_simulation_costs_what_the_network_costs():
    assert cost(simulate(resnet()), 32, 32) == cost(resnet(), 32, 32)


def test_a_quantized_network_trains_in_the_loop_of_every_other_and_gets_better(tmp_path):
    sources = ((smooth(24, 1, 16, 16) + 1) * 127.5).to(torch.uint8)
    split = PictureSet(sources, 255 - sources)
    task = Task("tiny", True, 16, 1, 1, split, split, split, "tiny")
    student = resnet(in_channels=1, out_channels=1).requires_grad_(False)
    x = task.test.batch(slice(0, 8))
    scheme = dataclasses.replace(KERNELS, weight_bits=3)
    simulated = calibrate(simulate(student, scheme), x.source)

    def error(network):
        with torch.no_grad():
            return float((network.eval()(x.source) - x.target).abs().mean())

    before = error(simulated)
    config, around = short_config(30, 4, lr=2e-3), [Checkpoint(tmp_path / "a.ckpt")]
    trained = distil(simulated, None, task, config, objective=reconstruction(), callbacks=around)
    assert error(trained.averaged["generator"]) < 0.8 * before
    again = calibrate(simulate(student, scheme), x.source)
    resumed = distil(again, None, task, config, objective=reconstruction(), callbacks=around)
    assert error(resumed.averaged["generator"]) == error(trained.averaged["generator"])
    assert error(calibrate(simulate(plain(simulated), scheme), x.source)) < 0.9 * before


def test_the_rounding_of_a_scheme_serves_inputs_and_weights():
    asked = []

    def rounding(x, by):
        asked.append(by.signed)
        return x

    layer, x = nn.Conv2d(8, 4, 1).requires_grad_(False), smooth(2, 8, 6, 6)
    simulated = calibrate(simulate(layer, dataclasses.replace(KERNELS, rounding=rounding)), x)
    asked.clear()
    assert torch.equal(simulated(x), layer(x))
    assert sorted(asked) == [False, True]  # the map of the input, and that of the weight


# --- sensitivity and mixed precision


@pytest.fixture(scope="module")
def sensitivity():
    return layer_sensitivity(resnet(), smooth(4, 3, 32, 32), bits=(8, 4, 2))


def test_sensitivity_has_a_row_for_each_layer_and_number_of_bits(sensitivity):
    assert list(sensitivity.layer.unique()) == list(convolutions(resnet()))
    assert len(sensitivity) == 3 * len(convolutions(resnet()))
    by_bits = sensitivity.groupby("bits")
    assert by_bits.psnr.mean().is_monotonic_increasing
    assert by_bits.bytes.sum().is_monotonic_increasing


def test_sensitivity_is_what_one_quantized_layer_does():
    generator, x = resnet(), smooth(4, 3, 32, 32)
    found = layer_sensitivity(generator, x).set_index("layer")
    one = calibrate(simulate(generator, bits={"stages.tail.0": 8}), x).eval()
    assert sum(isinstance(layer, QuantizedConv) for layer in one.modules()) == 1
    with torch.no_grad():
        assert found.psnr["stages.tail.0"] == pytest.approx(float(psnr(one(x), generator(x)).mean()))


def test_sensitivity_is_the_mean_squared_error_at_8_bits_unless_others_are_given():
    generator, x = resnet(), smooth(4, 3, 32, 32)
    found = layer_sensitivity(generator, x)
    assert set(found.bits) == {8}
    for row in list(found.itertuples())[::4]:
        one = calibrate(simulate(generator, bits={row.layer: 8}), x).eval()
        with torch.no_grad():
            difference = (one(x) - generator(x)).double().numpy()
        assert row.mse == pytest.approx((difference**2).mean(), rel=1e-4)


def test_bytes_of_a_layer_are_bits_rounded_up_and_scales():
    found = layer_bytes(nn.Conv2d(3, 5, 3), 3)  # 135 weights of 3 bits are 405 bits
    assert found == 51 + 4 * 5
    assert isinstance(found, int)
    assert layer_bytes(nn.ConvTranspose2d(3, 5, 3), 8) == 135 + 4 * 5


@pytest.mark.parametrize(
    ("errors", "sizes"),
    [
        ({"0": (0.0, 0.1), "1": (0.0, 0.5)}, {"0": (140, 100), "1": (2000, 1000)}),  # not the least error
        ({"0": (0.0, 0.5), "1": (1.0, 1.1)}, {"0": (200, 100), "1": (200, 100)}),  # not the error in all
        ({"0": (0.0, 0.2), "1": (0.0, 0.4)}, {"0": (1000, 900), "1": (500, 100)}),  # not by the bytes that remain
    ],
)
def test_the_budget_takes_bits_first_where_a_byte_saved_costs_the_least_error(errors, sizes):
    """In each of these it is the second layer: 5e-4 per byte to 2.5e-3, 1e-3 to 5e-3, 1e-3 to 2e-3."""
    generator = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    rows = [
        {"layer": name, "bits": bits, "mse": errors[name][place], "bytes": sizes[name][place]}
        for name in errors
        for place, bits in enumerate((8, 4))
    ]
    limit = stored_bytes(generator, {"0": 8, "1": 8}) - 1
    assert mixed_precision(generator, pd.DataFrame(rows), limit) == {"0": 8, "1": 4}


def test_eight_bits_everywhere_take_what_the_cost_says():
    generator = resnet()
    assert stored_bytes(generator, dict.fromkeys(convolutions(generator), 8)) == cost(generator, 32, 32).bytes_int8
    assert stored_bytes(generator, {}) == cost(generator, 32, 32).bytes_fp32


def test_mixed_precision_keeps_its_budget_and_spares_the_sensitive(sensitivity):
    generator = resnet()
    ends = [stored_bytes(generator, dict.fromkeys(convolutions(generator), bits)) for bits in (2, 8)]
    for share in (0.0, 0.3, 0.6, 1.0):
        budget = ends[0] + share * (ends[1] - ends[0])
        bits = mixed_precision(generator, sensitivity, budget)
        assert stored_bytes(generator, bits) <= budget
        assert set(bits) == set(convolutions(generator))
    assert set(bits.values()) == {8}
    # of two layers of one size, the one that suffers more keeps more bits
    errors = sensitivity[sensitivity.bits == 2].set_index("layer").mse
    ours = mixed_precision(generator, sensitivity, ends[0] + 0.5 * (ends[1] - ends[0]))
    blocks = [name for name in ours if ".block" in name]
    assert ours[errors[blocks].idxmax()] >= ours[errors[blocks].idxmin()]


def test_an_impossible_budget_is_answered_with_what_can_be_reached(sensitivity):
    with pytest.raises(GancompError, match=r"No choice of bits has at most 100 bytes: they reach from .* kB to .* kB"):
        mixed_precision(resnet(), sensitivity, 100)


# --- integer kernels


def kernels(path):
    """The operators that onnxruntime runs after its own rewriting, and how often."""
    ort = onnx_runtime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = Graph(options.optimized_model_filepath).nodes
    return {kind: sum(node.op_type == kind for node in nodes) for kind in ("QLinearConv", "Conv", "ConvTranspose")}


@pytest.mark.parametrize("name", NETS)
def test_every_family_becomes_integer_kernels_that_keep_its_pictures_at_every_size(name, tmp_path):
    generator, x = net(name)
    path = export_int8(generator, tmp_path / "int8.onnx", x)
    assert psnr_to_float(path, generator, x).mean() > 28
    running = kernels(path)
    assert running["QLinearConv"] > running["Conv"] or name in ("separable resnet", "u-net")
    step = 64 if name == "spade" else 16
    for count, height, width in ((1, step, 2 * step), (3, 2 * step, step)):
        other = smooth(count, x.shape[1], height, width)
        assert psnr_to_float(path, generator, other).mean() > 24


@pytest.fixture(scope="module")
def floating(tmp_path_factory):
    """The float file of the small generator: every export through torch takes seconds."""
    return export_onnx(resnet(), tmp_path_factory.mktemp("float") / "float.onnx", (6, 3, 32, 32))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A generator, pictures, and the file with its integer kernels."""
    generator, x = resnet(), smooth(6, 3, 32, 32)
    return generator, x, export_int8(generator, tmp_path_factory.mktemp("int8") / "int8.onnx", x)


def test_all_dense_convolutions_but_the_first_run_in_whole_numbers(exported):
    assert kernels(exported[2]) == {"QLinearConv": 5, "Conv": 1, "ConvTranspose": 2}


MODELS = {  # floors in dB, and how many times smaller
    "edges2shoes/small_student": (45, 3.7),
    "flat2gloss/supernet narrowest": (45, 3.5),
    "flat2gloss/supernet widest": (45, 3.7),
}


@pytest.mark.parametrize("name", MODELS)
def test_shipped_networks_keep_45_db_and_become_three_and_a_half_times_smaller(name, tmp_path):
    model, _, which = name.partition(" ")
    loaded = zoo.load(model)
    task = load_task(loaded.card["task"])
    generator = loaded.generator.extract(getattr(loaded.generator.space, which)) if which else loaded.generator
    spread = torch.linspace(0, len(task.train) - 1, 48).long()
    test = task.test.batch(slice(0, 40)).source
    floating = export_onnx(generator, tmp_path / "float.onnx", tuple(test.shape))
    path = export_int8(generator, tmp_path / "int8.onnx", task.train.batch(spread).source, floating=floating)
    with torch.inference_mode():
        torch.testing.assert_close(OnnxGenerator(floating)(test), generator(test), rtol=0, atol=1e-4)
    decibels, smaller = MODELS[name]
    found = psnr_to_float(path, floating, test)
    assert found.mean() > decibels
    assert found.min() > 35
    assert floating.stat().st_size > smaller * path.stat().st_size


def test_a_packed_tail_computes_the_same_pictures(exported, tmp_path):
    """A network whose sizes may be odd is not packed; the two files differ in nothing else."""
    generator, x, packed = exported
    unknown = nn.Sequential(generator.stages)  # tells no architecture
    simple = export_int8(unknown, tmp_path / "simple.onnx", x)
    assert [bool(Graph(path).of("DepthToSpace")) for path in (packed, simple)] == [True, False]
    assert torch.equal(OnnxGenerator(packed)(x), OnnxGenerator(simple)(x))


def test_a_float_file_that_is_there_already_gives_the_same_integers(exported, floating, tmp_path):
    generator, x, path = exported
    again = export_int8(generator, tmp_path / "again.onnx", x, floating=floating)
    assert torch.equal(OnnxGenerator(again)(x), OnnxGenerator(path)(x))


def test_an_older_opset_changes_no_picture_and_the_work_is_told(exported, tmp_path):
    generator, x, path = exported
    told = []
    old = export_int8(generator, tmp_path / "a.onnx", x, opset=18, progress=lambda *each: told.append(each))
    assert Graph(old).model.opset_import[0].version == 18
    assert torch.equal(OnnxGenerator(old)(x), OnnxGenerator(path)(x))
    stages = [stage for stage, _ in told]
    assert list(dict.fromkeys(stages)) == ["float file", "pictures", "ranges", "kernels"]
    for stage in set(stages):
        shares = [share for each, share in told if each == stage]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
    with pytest.raises(GancompError, match="opset 18 to 23, not 17"):
        export_int8(generator, tmp_path / "b.onnx", x, opset=17)


def test_channels_of_very_different_size_cost_nothing_before_an_instance_norm(exported, tmp_path):
    generator, x, path = exported
    uneven, factors = resnet(), torch.logspace(0, 2, 32)
    with torch.no_grad():
        for layer in (uneven.stages.down2[0], uneven.stages.block1.body[3]):
            layer.weight.mul_(factors.view(-1, 1, 1, 1))
            layer.bias.copy_(factors * 3)
    found = psnr_to_float(export_int8(uneven, tmp_path / "a.onnx", x), uneven, x).mean()
    assert found > psnr_to_float(path, generator, x).mean() - 1.5


def test_fewer_bits_for_older_processors(floating, tmp_path):
    generator, x = resnet(), smooth(6, 3, 32, 32)
    path = export_int8(generator, tmp_path / "a.onnx", x, reduce_range=True, floating=floating)
    graph = Graph(path)
    weights = [graph.arrays[node.input[0]] for node in graph.of("DequantizeLinear") if node.input[0] in graph.arrays]
    whole = [weight for weight in weights if weight.dtype == np.int8]
    assert len(whole) == 4  # the tail's are unpacked at loading
    assert max(int(np.abs(weight.astype(int)).max()) for weight in whole) <= 64
    assert psnr_to_float(path, generator, x).mean() > 28


def test_a_tail_in_float_comes_closer(tmp_path):
    generator, task = zoo.load("edges2shoes/small_student").generator, load_task("edges2shoes")
    x, known = task.test.batch(slice(0, 32)).source, task.calibration(32)
    floating = export_onnx(generator, tmp_path / "float.onnx", tuple(known.shape))
    paths = [
        export_int8(generator, tmp_path / f"{tail}.onnx", known, integer_tail=tail, floating=floating)
        for tail in (True, False)
    ]
    in_integers, in_float = (psnr_to_float(path, generator, x).mean() for path in paths)
    assert in_float > in_integers + 0.3
    assert len(list(Graph(paths[1]).of("QuantizeLinear"))) < len(list(Graph(paths[0]).of("QuantizeLinear")))


def test_an_export_is_silent_whole_and_repeatable(exported, tmp_path, capfd, caplog):
    generator, x = resnet().train(), exported[1]
    with caplog.at_level(logging.INFO):
        again = export_int8(generator, tmp_path / "a.onnx", x)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert not caplog.records
    assert generator.training
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert again.read_bytes() == exported[2].read_bytes()


def test_pictures_that_cannot_calibrate_leave_the_old_file(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")
    for wrong in (torch.zeros(3, 32, 32), torch.zeros(0, 3, 32, 32), torch.full((1, 3, 32, 32), torch.nan)):
        with pytest.raises(GancompError, match="calibrated with at least one finite source picture"):
            export_int8(resnet(), path, wrong)
    with pytest.raises(GancompError, match="could not be exported"):
        export_int8(resnet(), path, torch.zeros(2, 5, 32, 32))
    with pytest.raises(GancompError, match="multiples of 4"):
        export_int8(resnet(), path, torch.zeros(2, 3, 30, 30))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- small weights, and one table


def test_small_weights_are_rows_of_one_table_with_real_kernels(exported):
    generator, x, path = exported
    forms = [
        unchanged(generator),
        half_weights(generator),
        half_weights(generator, torch.bfloat16),
        weight_only_int8(generator),
        magnitude_pruned(generator, 0.5),
        magnitude_pruned(generator, 0.9),
    ]
    reports = [form.report(generator, x) for form in forms]
    reports.append(report("int8", path, generator, x, path))
    found = table(reports).set_index("name")
    assert found.macs.nunique() == 1  # compression that is no faster by itself
    assert found.psnr_mean["float32"] == float("inf")
    assert found.psnr_mean["weights in float16"] > found.psnr_mean["weights in bfloat16"]
    assert found.psnr_mean["weight-only int8"] > found.psnr_mean["int8"]
    assert found.psnr_mean["50% zeros"] > found.psnr_mean["90% zeros"]
    assert found.bytes["50% zeros"] == found.bytes["float32"]
    assert found.bytes_xz["90% zeros"] < 0.3 * found.bytes_xz["float32"]
    assert found.smaller["weights in float16"] == pytest.approx(2, abs=0.1)
    assert found.smaller["weight-only int8"] > 3
    assert "PSNR to float" in str(reports[-1])


def test_so_many_weights_become_zero_the_smallest_first():
    generator = resnet()
    for share in (0, 0.25, 0.9):
        pruned = magnitude_pruned(generator, share).generator
        weights = torch.cat([layer.weight.flatten() for layer in convolutions(pruned).values()])
        given = torch.cat([layer.weight.flatten() for layer in convolutions(generator).values()])
        assert weights.eq(0).float().mean() == pytest.approx(share, abs=1e-3)
        if share:
            assert given[weights == 0].abs().max() <= weights[weights != 0].abs().min()
    with pytest.raises(GancompError, match="0 or more and below 1, not 1"):
        magnitude_pruned(generator, 1)


def test_weights_of_8_bits_are_what_the_file_says():
    form = weight_only_int8(resnet())
    for name, layer in convolutions(form.generator).items():
        whole, scale = form.tensors[f"{name}.weight"], form.tensors[f"{name}.scale"]
        assert whole.dtype == torch.int8
        shape = [1, -1, 1, 1] if isinstance(layer, nn.ConvTranspose2d) else [-1, 1, 1, 1]
        torch.testing.assert_close(layer.weight, whole.float() * scale.view(shape))


def test_a_wrong_half_is_refused():
    with pytest.raises(GancompError, match="torch.float16 or torch.bfloat16, not torch.float64"):
        half_weights(resnet(), torch.float64)


def test_files_and_their_contents_weigh_the_same(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10_000))
    assert compressed_bytes(tmp_path / "a") == compressed_bytes(bytes(10_000))
    size, packed = compressed_bytes(bytes(10_000))
    assert size == 10_000
    assert packed < 200


def test_networks_are_compared_as_files_modules_and_functions(tmp_path):
    generator, x = resnet().train(), smooth(20, 3, 32, 32)
    path = export_onnx(generator, tmp_path / "a.onnx", (1, 3, 32, 32))
    assert psnr_to_float(generator, generator, x).tolist() == [float("inf")] * 20
    assert psnr_to_float(path, generator, x).min() > 80
    halved = psnr_to_float(lambda batch: generator(batch) * 0.5, str(path), x)
    with torch.no_grad():
        expected = psnr(generator.eval()(x) * 0.5, generator(x))
    torch.testing.assert_close(halved, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(GancompError, match="at least 1 picture"):
        psnr_to_float(generator, generator, x[:0])
