"""Cases at the edge of a rule or a formula, found by mutants that no other test noticed."""

import functools

import numpy as np
import pandas as pd
import pytest
import pywt
import torch

from factories import a_task, pictures, refused, uint8_noise
from gancomp_core.compress.report.numbers import HeldOut
from gancomp_core.data import PictureSet, load_task
from gancomp_core.lab.benchmark.verdicts import NO_EFFECT, SHOWN, UNDECIDED, Effect, seeds_to_show
from gancomp_core.measure import (
    PerceptualDistance,
    band_errors,
    distances,
    evaluate_super_resolution,
    frechet_distance,
    kid,
    perceptual_distance,
    psnr,
    ssim,
    wavelet_transform,
)
from gancomp_core.measure.distances import subset_size
from gancomp_core.measure.statistics import bootstrap_interval, paired_interval
from gancomp_core.measure.super_resolution import MEASURES, SuperResolutionQuality, _names, bicubic, ssim_y
from gancomp_core.nets.efficientnet_lite import EfficientNetLite0

# --- intervals


def test_a_negative_difference_is_shown_as_well_and_one_at_its_half_width_is_not():
    assert paired_interval([-1.0, -1.1, -0.9, -1.0, -1.05]).shown
    assert not paired_interval([0.0] * 5).shown
    with refused("no missing value"):
        paired_interval([1.0, 2.0, float("nan")])
    with refused("there are 2 with 1 missing"):
        paired_interval([1.0, None, 2.0])
    with refused("at least two finite values"):
        bootstrap_interval([1.0, float("nan"), 2.0])


def test_an_effect_of_any_size_takes_enough_seeds():
    assert seeds_to_show(0.01, 10.0) == 5


def test_a_p_value_of_exactly_five_percent_decides():
    of = Effect(interval=paired_interval([-1.0, -1.1, -0.9, -1.0, -1.05]), claimed="lower")
    assert [of.status(0.05, 1.0), of.status(1.0, 0.05), of.status(0.051, 0.051)] == [SHOWN, NO_EFFECT, UNDECIDED]


# --- distances


def test_a_distance_below_one_and_the_smallest_subsets_are_measured():
    a = torch.randn(60, 3, dtype=torch.float64)
    assert frechet_distance(a + 0.1, a) == pytest.approx(0.03, rel=1e-6)
    assert kid(a, a + 5, subsets=3, subset_size=2)[0] > 0
    a[7, 1] = float("nan")
    with refused("NaN or infinite"):
        frechet_distance(a, a)


@pytest.mark.parametrize(("one", "other", "size"), [(2000, 3000, 500), (61, 100, 30), (100, 61, 30), (3, 1, 2)])
def test_subsets_are_half_of_the_smaller_set_within_2_and_500(one, other, size):
    assert subset_size(torch.zeros(one, 1), torch.zeros(other, 1)) == size


def test_pictures_are_compared_by_their_features_and_features_as_they_are(monkeypatch):
    a, b = pictures(9, 1, 4, 4, seed=0), pictures(9, 1, 4, 4, seed=1)
    monkeypatch.setattr(distances, "extract_features", lambda given: given.flatten(1)[:, :5])
    of_features = frechet_distance(a.flatten(1)[:, :5], b.flatten(1)[:, :5])
    assert frechet_distance(a, b) == of_features == distances.frechet_or_kid(a.flatten(1)[:, :5], b, True, 0)


def test_ssim_takes_pictures_of_exactly_one_window():
    x = pictures(2, 1, 11, 11)
    assert ssim(x, x).tolist() == pytest.approx([1, 1])
    with refused("at least 11 x 11"):
        ssim(x[..., 1:], x[..., 1:])


@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 1, 4, 4), (4, 4)])
def test_equal_shapes_that_are_no_pictures_are_refused(shape):
    with refused(r"same shape \[N, C, H, W\] with N of at least 1"):
        psnr(torch.zeros(shape), torch.zeros(shape))


def test_a_perceptual_distance_keeps_a_given_network_frozen_and_checks_its_pictures():
    network = EfficientNetLite0().train()
    distance = PerceptualDistance(network)
    assert distance.network is network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    x = pictures(3, 1, 16, 16)
    for compare in (distance, functools.partial(perceptual_distance, batch_size=1)):
        with refused("must have the same shape"):
            compare(x, x[:1])
        with refused(r"\[N, 1 or 3, H, W\]"):
            compare(x.expand(-1, 4, -1, -1), x.expand(-1, 4, -1, -1))


def test_features_that_are_hardly_active_hardly_count():
    class Faint(torch.nn.Module):
        def maps(self, pictures, taps):
            return [1e-5 * pictures[:, :1].clamp_min(0).sign()]

    found = PerceptualDistance(Faint())(torch.ones(1, 1, 8, 8), -torch.ones(1, 1, 8, 8))
    assert found.tolist() == pytest.approx([0.5])  # 1e-10 / (1e-10 + 1e-10)


def test_crops_of_one_photo_have_no_interval_and_crops_without_names_their_numbers():
    scores = pd.DataFrame({"kind": "crop", "picture": ["cat"] * 3, **dict.fromkeys(MEASURES, [1.0, 2.0, 4.0])})
    found = SuperResolutionQuality("a task", "test", 4, scores).as_dict()
    assert found["psnr_y_spread_crops"] == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert not [name for name in found if "interval" in name]
    labeled = PictureSet(uint8_noise(2, 1, 4, 4), uint8_noise(2, 1, 4, 4), torch.tensor([1, 0]))
    assert _names(labeled, (), torch.tensor([0, 1])) == ["0", "1"]
    assert _names(labeled, ("cat", "dog"), torch.tensor([0, 1])) == ["dog", "cat"]


def test_a_super_resolution_score_may_use_exactly_one_window_and_names_what_was_scored():
    x = pictures(2, 1, 15, 15).clamp(-1, 1)
    assert ssim_y(x, x, border=2) == pytest.approx(1)
    with refused("leaves at least 11 x 11"):
        ssim_y(x, x, border=3)
    of = evaluate_super_resolution(lambda source: bicubic(source, 4), load_task("photos_x4"), "search")
    assert (of.task, of.split, of.scale) == ("photos_x4", "search", 4)
    assert list(of.table("crop").columns) == list(of.scores.columns)


# --- wavelets


def test_bands_of_one_picture_without_channels_and_of_the_smallest_one():
    x = pictures(20, 28).double()
    low, *details = pywt.wavedec2(x.numpy(), "haar", "symmetric", level=3)
    found = wavelet_transform(x)
    np.testing.assert_allclose(found.low, low)
    for ours, theirs in zip(found.details, reversed(details), strict=True):
        np.testing.assert_allclose(torch.stack(ours), np.stack(theirs), atol=1e-12)
    for wavelet in ("haar", "db2"):
        np.testing.assert_allclose(wavelet_transform(x[:2, :2], wavelet, 1).low, pywt.dwt2(x[:2, :2], wavelet)[0])


@pytest.mark.parametrize("size", [(6, 7), (7, 6), (9, 6), (6, 9)])
def test_haars_short_cut_is_taken_only_where_both_sides_are_even(size):
    x = pictures(*size).double()
    low, details = pywt.dwt2(x.numpy(), "haar")
    found = wavelet_transform(x, "haar", 1)
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(torch.stack(found.details[0]), np.stack(details), atol=1e-12)


def test_band_errors_are_shares_of_the_sizes_that_pywavelets_finds():
    made, real = (pictures(3, 1, 16, 16, seed=seed).double() for seed in (0, 1))
    (low_a, *rest_a), (low_b, *rest_b) = (pywt.wavedec2(x.numpy(), "haar", "symmetric", 3) for x in (made, real))
    pairs = {"low": (low_a, low_b)} | {f"level {3 - k}": (np.stack(rest_a[k]), np.stack(rest_b[k])) for k in range(3)}
    expected = {name: abs(a - b).sum() / abs(b).sum() for name, (a, b) in pairs.items()}
    assert band_errors(made, real) == pytest.approx(expected, rel=1e-6)


# --- what a report says of pictures


def test_the_variety_in_a_report_is_numpys_deviation_over_the_pictures():
    task = a_task(PictureSet(uint8_noise(20, 3, 16, 16), uint8_noise(20, 3, 16, 16, seed=1)))
    made = HeldOut(task, torch.arange(20)).judge(lambda sources: 0.5 * sources)["variety"]
    sources = task.test.sources.numpy().astype(float) / 127.5 - 1
    assert made == pytest.approx((0.5 * sources).std(axis=0).mean(), rel=1e-4)
