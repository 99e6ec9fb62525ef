"""Numbers that are shown, computed a second time: by another library, or from the formula written in another way."""

import importlib.util
import json
import math

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from scipy import integrate, linalg, stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from factories import smooth
from gancomp_core.files import data_root
from gancomp_core.lab import results
from gancomp_core.lab.benchmark import tables
from gancomp_core.lab.benchmark.rows import TEACHER, rows
from gancomp_core.lab.benchmark.verdicts import POWER, Effect, seeds_to_equal, seeds_to_show
from gancomp_core.measure import OnnxGenerator, frechet_distance, kid, paired_interval, psnr, ssim
from gancomp_core.measure.statistics import bootstrap_interval

#: dB. Now and then a number within a network is rounded the other way, more often on processors without integer dot
#: products; 44 dB is the least seen on one that has them.
ALIKE = 35


@pytest.fixture
def features():
    draw = np.random.default_rng(0)
    mix = draw.normal(size=(24, 24))
    return draw.normal(size=(90, 24)) @ mix, draw.normal(0.3, 1.4, size=(70, 24)) @ mix


def test_frechet_distance_is_that_of_scipys_matrix_root(features):
    """As torch-fidelity and the first FID code write it: means, np.cov, and linalg.sqrtm of the product."""
    (mean_a, cov_a), (mean_b, cov_b) = ((each.mean(0), np.cov(each, rowvar=False)) for each in features)
    root = linalg.sqrtm(cov_a @ cov_b).real
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root)
    assert frechet_distance(*map(torch.from_numpy, features)) == pytest.approx(expected, rel=1e-9)


def test_kid_is_the_unbiased_mmd_written_as_sums_over_pairs(features):
    a, b = features
    draw, size, found = torch.Generator().manual_seed(3), 30, []
    for _ in range(6):
        y = b[torch.randperm(len(b), generator=draw)[:size].numpy()]
        x = a[torch.randperm(len(a), generator=draw)[:size].numpy()]

        def kernel(p, q):
            return (float(p @ q) / 24 + 1) ** 3

        pairs = [(i, j) for i in range(size) for j in range(size)]
        within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / (size * (size - 1))
        found.append(within - 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / size**2)
    mean, spread = kid(torch.from_numpy(a), torch.from_numpy(b), subsets=6, subset_size=size, seed=3)
    assert mean == pytest.approx(np.mean(found), rel=1e-4)
    assert spread == pytest.approx(np.std(found), rel=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_are_those_of_scikit_image(channels):
    target = smooth(3, channels, 24, 28)
    made = (target + 0.2 * smooth(3, channels, 24, 28, seed=1)).clamp(-1, 1)
    pairs = [
        (x.permute(1, 2, 0).double().numpy(), y.permute(1, 2, 0).double().numpy())
        for x, y in zip(made, target, strict=True)
    ]
    expected = [peak_signal_noise_ratio(y, x, data_range=2) for x, y in pairs]
    np.testing.assert_allclose(psnr(made, target), expected, rtol=1e-5)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2, "channel_axis": 2}
    mirrored = [[np.pad(side, ((5, 5), (5, 5), (0, 0)), mode="reflect") for side in pair] for pair in pairs]
    expected = [structural_similarity(y, x, **wang) for x, y in mirrored]  # leaves the 5 pixels out
    np.testing.assert_allclose(ssim(made, target), expected, atol=2e-5)


@pytest.fixture(scope="module", params=[0, 1], ids=["shoes", "emoji"])
def integers(request):
    """A shipped int8 file, pictures, and what onnxruntime paints of them."""
    manifest = json.loads((data_root() / "demo" / "manifest.json").read_text(encoding="utf-8"))
    task = manifest["tasks"][request.param]
    path = data_root() / "demo" / next(each["file"] for each in task["networks"] if each["precision"] == "int8")
    x = smooth(2, task["input"]["channels"], *task["size"])
    return path, x, torch.cat([OnnxGenerator(path)(picture) for picture in x.split(1)])


def test_int8_pictures_are_those_of_onnx_own_reference_in_numpy(integers):
    path, x, made = integers
    model = onnx.load(path)
    (reference,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    assert float(psnr(made, torch.from_numpy(reference)).min()) > ALIKE


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is an extra of its own")
def test_int8_pictures_are_those_of_openvino(integers):
    from gancomp_core.measure.openvino_runtime import openvino_runtime

    path, x, made = integers
    runtime = openvino_runtime()
    run = runtime.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    theirs = np.concatenate([run(picture.numpy())[0] for picture in x.split(1)])
    assert float(psnr(made, torch.from_numpy(theirs)).min()) > ALIKE


def test_a_bootstrap_interval_is_that_of_scipy_and_exactly_the_percentiles_of_its_draws():
    values = np.random.default_rng(1).gamma(2.0, size=600)
    found = bootstrap_interval(values)
    means = values[np.random.default_rng(0).integers(600, size=(2000, 600))].mean(1)
    assert found == pytest.approx(np.percentile(means, [2.5, 97.5]), rel=1e-12)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=0)
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)
    assert bootstrap_interval([1.0, 3.0]) == (1.0, 3.0)


def test_a_clustered_interval_is_that_of_the_sandwich_of_a_regression_on_a_constant():
    """(X'X)^-1 (sum of X_g' e_g e_g' X_g) (X'X)^-1 times G / (G - 1), groups of unequal size."""
    draw = np.random.default_rng(4)
    groups = np.repeat(range(6), [1, 2, 3, 4, 5, 6])
    values = draw.normal(size=6)[groups] + draw.normal(size=len(groups))
    x, bread = np.ones((len(values), 1)), 1 / len(values)
    e = values - x @ np.linalg.lstsq(x, values, rcond=None)[0]
    meat = sum((x[groups == g].T @ e[groups == g]) ** 2 for g in range(6)).item()
    expected = stats.t.ppf(0.975, 5) * math.sqrt(bread * meat * bread * 6 / 5)
    found = paired_interval(values, groups.tolist())
    assert (found.half_width, found.seeds) == (pytest.approx(expected), 6)


@pytest.mark.parametrize("ratio", [0.1, 0.6, 0.8, 1.0, 2.0, 3.3, 8.0])
@pytest.mark.parametrize("level", [0.05, 0.002])
def test_the_seeds_for_a_power_are_those_of_a_plain_count_and_of_an_integral(ratio, level):
    def shown(n):
        return stats.nct.sf(stats.t.ppf(1 - level / 2, n - 1), n - 1, math.sqrt(n) / ratio)

    def equal(n):
        """Over all standard deviations s that may be found: the chance that |mean| + t s / sqrt(n) < d."""
        critical = stats.t.ppf(1 - level / 2, n - 1) / math.sqrt(n)

        def inside(s):
            room = max(1 / ratio - critical * s, 0.0) * math.sqrt(n)
            return (2 * stats.norm.cdf(room) - 1) * stats.chi.pdf(s * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)

        return integrate.quad(inside, 0, 1 / ratio / critical, limit=200)[0]

    for found, power in ((seeds_to_show(ratio, 1.0, level), shown), (seeds_to_equal(ratio, 1.0, level), equal)):
        assert found >= 5
        assert power(found) >= POWER - 1e-4
        assert found == 5 or power(found - 1) < POWER + 1e-4


def test_an_effect_counts_the_spread_of_its_values_and_the_seeds_that_its_questions_take():
    values = [-8.0, -7.0, 3.0, -6.5, -8.5, 1.0]
    of = Effect(interval=paired_interval(values), claimed="lower", margin=2.5)
    spread = np.std(values, ddof=1)
    assert of.spread == pytest.approx(spread)
    assert of.needed(0.01) == (seeds_to_show(spread, 2.5, 0.01), seeds_to_equal(spread, 2.5, 0.01))
    bound = Effect(interval=paired_interval(values), claimed="lower", than=-4.0, margin=None)
    assert bound.needed(0.05) == (seeds_to_show(spread, 4.0),)
    assert (bound.aim, of.aim) == (4.0, 2.5)
    assert Effect(interval=paired_interval([0.0] * 5), claimed="lower").p_difference == 1


def test_the_benchmark_table_is_what_plain_sums_over_the_recorded_rows_give():
    task = "edges2shoes"
    whole, of = tables.table(task), {each.label: each for each in rows(task)}
    teacher = whole.loc[(TEACHER, "float32")]
    for (label, form), shown in whole.iterrows():
        ratios = {"times_fewer_macs": "macs", "times_smaller": "bytes", "times_faster_1": "ms_1"}
        for ratio, cost in ratios.items():
            np.testing.assert_allclose(shown[ratio] * shown[cost], teacher[cost], rtol=1e-9)
        if form != "float32" or not (runs := [results.row(each.key) for each in of[label].experiments]) or None in runs:
            continue
        for score in ("fd", "kid", "psnr", "ssim", "perceptual"):
            values = [float(each.get(f"{score}_last", math.nan)) for each in runs]
            mean = sum(values) / len(values)
            assert shown[score] == pytest.approx(mean, rel=1e-9, nan_ok=True)
            if len(values) > 1 and not math.isnan(mean):
                spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
                assert shown[f"{score}_spread"] == pytest.approx(spread, rel=1e-6)
