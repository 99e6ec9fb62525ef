"""Cases at the edge of a rule or a formula, found by mutants that no other test noticed."""

import numpy as np
import pytest
import pywt
import torch

from factories import a_task, pictures, refused, uint8_noise
from gancomp_core.compress.report.numbers import HeldOut
from gancomp_core.data import PictureSet
from gancomp_core.lab.benchmark.verdicts import seeds_to_show
from gancomp_core.measure import band_errors, wavelet_transform
from gancomp_core.measure.statistics import bootstrap_interval, paired_interval

# --- intervals


def test_a_negative_difference_is_shown_as_well_and_one_at_its_half_width_is_not():
    assert paired_interval([-1.0, -1.1, -0.9, -1.0, -1.05]).shown
    assert not paired_interval([0.0] * 5).shown
    with refused("no missing value"):
        paired_interval([1.0, 2.0, float("nan")])
    with refused("at least two finite values"):
        bootstrap_interval([1.0, float("nan"), 2.0])


def test_an_effect_of_any_size_takes_enough_seeds():
    assert seeds_to_show(0.01, 10.0) == 5


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
