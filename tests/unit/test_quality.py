"""Distances between sets of pictures, and between a picture and its target."""

import importlib.util
import math
import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from factories import blur, negative_task
from gancomp_core import data, files
from gancomp_core.errors import GancompError
from gancomp_core.measure import (
    Distance,
    evaluate_generator,
    extract_features,
    frechet_distance,
    kid,
    likeness,
    perceptual_distance,
    psnr,
    quality,
    set_distance,
    ssim,
    true_fid,
)
from gancomp_core.measure.features import PictureFeatures


@pytest.fixture(scope="module")
def shoes():
    """300 real shoes, float [300, 1, 32, 32] in [-1, 1], and 300 others."""
    task = data.load_task("edges2shoes")
    return task.test.batch(slice(0, 300)).target, task.search.batch(slice(0, 300)).target


class Negative(nn.Module):
    """The perfect generator of `small_task`; counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        assert not self.training
        self.calls += 1
        return -x


# --- features ---


def test_features_do_not_depend_on_batches_or_threads(shoes):
    pictures = shoes[0][:40]
    expected = extract_features(pictures)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        in_two_threads = extract_features(iter(pictures.split(7)), batch_size=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert expected.shape == (40, 1280)
    torch.testing.assert_close(in_two_threads, expected, rtol=1e-4, atol=1e-5)


def test_gray_pictures_have_the_features_of_their_rgb_copies(shoes):
    gray = shoes[0][:8]
    torch.testing.assert_close(extract_features(gray.expand(-1, 3, -1, -1)), extract_features(gray))


def test_values_beyond_the_range_count_as_its_ends(shoes):
    torch.testing.assert_close(extract_features(shoes[0][:4] * 3), extract_features((shoes[0][:4] * 3).clamp(-1, 1)))


def test_features_are_float32_whatever_autocast_says(shoes):
    expected = extract_features(shoes[0][:4])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(extract_features(shoes[0][:4]), expected)


@pytest.mark.parametrize(
    "pictures", [torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)]
)
def test_what_is_no_picture_is_refused(pictures):
    with pytest.raises(GancompError, match=r"Pictures are float tensors of shape \[N, 1 or 3, H, W\]"):
        extract_features([pictures])


def test_no_pictures_nan_pictures_and_no_batches_are_told_apart():
    with pytest.raises(GancompError, match="There are no pictures"):
        extract_features([])
    with pytest.raises(GancompError, match="NaN or infinite"):
        extract_features(torch.full((2, 1, 8, 8), math.nan))
    with pytest.raises(GancompError, match="batch_size is a whole number from 1, not 0"):
        extract_features(torch.zeros(2, 1, 8, 8), batch_size=0)


# --- Frechet distance ---


@pytest.mark.parametrize(("samples", "width"), [((50, 60), 20), ((15, 12), 20), ((60, 12), 20), ((12, 60), 20)])
def test_frechet_distance_is_the_closed_form_of_two_gaussians(samples, width):
    """With one covariance a scaled copy of the other, d^2 = |m1 - m2|^2 + (1 - s)^2 tr C, whatever C."""
    base = torch.randn(samples[0], width, dtype=torch.float64)
    shift = torch.randn(width, dtype=torch.float64)
    spread = (base - base.mean(0)).square().sum() / (len(base) - 1)
    expected = float(shift.square().sum() + (1 - 2.5) ** 2 * spread)
    assert frechet_distance((base - base.mean(0)) * 2.5 + shift, base - base.mean(0)) == pytest.approx(
        expected, rel=1e-6
    )
    if samples[1] > width:  # commuting covariances of different shape: diagonal, so coordinates add up
        scales = torch.rand(width, dtype=torch.float64) + 0.5
        white = torch.randn(samples[1], width, dtype=torch.float64)
        white = torch.linalg.qr(white - white.mean(0))[0] * math.sqrt(samples[1] - 1)  # unit covariance
        expected = float((scales - 1).square().sum())
        assert frechet_distance(white * scales, white) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_copes_with_features_that_never_vary():
    """A singular covariance has no Cholesky factor; the distance is that of the other features."""
    a, b = torch.randn(60, 10, dtype=torch.float64), torch.randn(70, 10, dtype=torch.float64) * 2
    wider_a, wider_b = (torch.cat([x, torch.full((len(x), 3), 4.0)], 1) for x in (a, b))
    assert frechet_distance(wider_a, wider_b) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_frechet_distance_of_a_set_from_itself_is_nothing(shoes):
    features = extract_features(shoes[0])
    assert frechet_distance(features, features) < 1e-6 * float(features.double().var(0).sum())


def test_frechet_distance_is_symmetric(shoes):
    a, b = (extract_features(pictures) for pictures in (shoes[0], shoes[1][:100]))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("color", [1, 3])
def test_frechet_distance_equals_torchmetrics(shoes, color):
    generated, reference = (pictures[:150].expand(-1, color, -1, -1) for pictures in (blur(shoes[0], 3), shoes[1]))
    metric = FrechetInceptionDistance(feature=PictureFeatures())
    metric.update(reference, real=True)
    metric.update(generated, real=False)
    assert frechet_distance(generated, reference) == pytest.approx(float(metric.compute()), rel=1e-3)


def test_more_blur_is_further_from_real_shoes(shoes):
    real, reference = shoes
    distances = [frechet_distance(blur(real, width), reference) for width in (1, 3, 5, 7)]
    assert distances == sorted(distances)
    assert distances[-1] > 3 * distances[0]


def test_distances_refuse_single_samples_and_different_features():
    with pytest.raises(GancompError, match="at least 2 samples in each, not 1 and 5"):
        frechet_distance(torch.zeros(1, 8), torch.zeros(5, 8))
    with pytest.raises(GancompError, match="have 8 and 9 features a sample"):
        frechet_distance(torch.zeros(5, 8), torch.zeros(5, 9))
    with pytest.raises(GancompError, match="NaN or infinite"):
        frechet_distance(torch.full((5, 8), math.nan), torch.zeros(5, 8))


# --- KID ---


@pytest.mark.filterwarnings("ignore")
def test_kid_equals_torchmetrics_with_the_same_draw(shoes):
    generated, reference = blur(shoes[0], 3)[:100], shoes[1][:120]
    metric = KernelInceptionDistance(feature=PictureFeatures(), subsets=7, subset_size=40)
    metric.update(reference, real=True)
    metric.update(generated, real=False)
    torch.manual_seed(3)
    mean, spread = metric.compute()
    found = kid(generated, reference, subsets=7, subset_size=40, seed=3)
    assert found == (pytest.approx(float(mean), rel=1e-3), pytest.approx(float(spread), rel=1e-3))


def test_kid_of_real_from_real_is_nothing_within_its_interval_and_of_blur_is_not(shoes):
    mean, interval = kid(*shoes, subsets=20, subset_size=150)
    assert abs(mean) < 3 * interval
    blurred, _ = kid(blur(shoes[0], 5), shoes[1], subsets=20, subset_size=150)
    assert blurred > 10 * interval


def test_kid_is_the_same_for_the_same_seed_alone(shoes):
    features = [extract_features(pictures[:60]) for pictures in shoes]
    first = kid(*features, subsets=5, subset_size=20, seed=1)
    torch.rand(5)
    assert kid(*features, subsets=5, subset_size=20, seed=1) == first
    assert kid(*features, subsets=5, subset_size=20, seed=2) != first


@pytest.mark.parametrize(("subsets", "size"), [(0, 10), (5, 1), (5, 31)])
def test_kid_names_the_allowed_subset_sizes(subsets, size):
    with pytest.raises(GancompError, match="at least 1 subset of 2 to 30 samples"):
        kid(torch.randn(30, 4), torch.randn(40, 4), subsets, size)


# --- PSNR, SSIM ---


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_the_closed_form_of_each_picture(channels):
    target = torch.rand(3, channels, 12, 14) - 0.5
    errors = torch.tensor([0.5, 0.1, 0.01])
    expected = 10 * torch.log10(4 / errors.square())
    torch.testing.assert_close(psnr(target + errors[:, None, None, None], target), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_one_for_equal_pictures_and_falls_with_noise(channels):
    target = blur(torch.randn(2, channels, 20, 24), 5).clamp(-1, 1)
    values = [ssim(target + noise * torch.randn_like(target), target) for noise in (0, 0.1, 0.5)]
    torch.testing.assert_close(values[0], torch.ones(2))
    assert bool((values[0] > values[1]).all())
    assert bool((values[1] > values[2]).all())


def test_ssim_agrees_with_the_formula_for_flat_pictures():
    """Flat pictures have no variance: SSIM = (2 a b + c) / (a^2 + b^2 + c) with c = (0.01 * range)^2."""
    a, b, c = 0.25, 0.75, (0.01 * 2) ** 2
    found = ssim(torch.full((1, 1, 16, 16), a), torch.full((1, 1, 16, 16), b))
    torch.testing.assert_close(found, torch.tensor([(2 * a * b + c) / (a * a + b * b + c)]), rtol=1e-3, atol=0)


def test_pictures_are_compared_with_targets_of_their_own_shape():
    for measure in (psnr, ssim):
        with pytest.raises(GancompError, match="must have the same shape"):
            measure(torch.zeros(2, 1, 16, 16), torch.zeros(2, 3, 16, 16))
    with pytest.raises(GancompError, match="at least 11 x 11 pixels"):
        ssim(torch.zeros(1, 1, 10, 16), torch.zeros(1, 1, 10, 16))


# --- a generator ---


def test_a_perfect_generator_is_as_far_from_real_as_real_is():
    found = evaluate_generator(Negative(), negative_task(), frechet=True)
    assert found.distance.values == pytest.approx(found.distance.floors, rel=0.01)
    assert found.distance.samples == 40
    assert found.psnr > 45  # sources were rounded to 8 bits, so not infinite
    assert found.ssim == pytest.approx(1, abs=1e-3)


def test_a_worse_generator_is_further_and_less_alike():
    good, bad = (
        evaluate_generator(generator, negative_task(), frechet=True)
        for generator in (lambda x: -blur(x, 3), torch.zeros_like)
    )
    assert good.distance.value < bad.distance.value
    assert good.kid.value < bad.kid.value
    assert good.psnr > bad.psnr
    assert good.perceptual < bad.perceptual


def test_an_evaluation_gives_the_same_numbers_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    measured = []
    original = quality.extract_features
    monkeypatch.setattr(quality, "extract_features", lambda *a, **k: measured.append(1) or original(*a, **k))
    first = evaluate_generator(Negative(), negative_task(), seeds=(0, 1))
    assert len(measured) == 4  # outputs, real pictures of the split, and of training for each seed
    assert evaluate_generator(Negative(), negative_task(), seeds=(0, 1)) == first
    assert len(measured) == 5  # the outputs alone
    evaluate_generator(Negative(), negative_task(seed=1), seeds=(0, 1))
    assert len(measured) == 9  # other pictures, other features


def test_a_damaged_cache_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    first = evaluate_generator(Negative(), negative_task(), seeds=(0,), frechet=True)
    kept = sorted((files.cache_root() / "features").iterdir())
    assert len(kept) == 4  # features of the split and of the drawn pictures, two floors
    for path in kept:
        path.write_bytes(path.read_bytes()[:20])
    assert evaluate_generator(Negative(), negative_task(), seeds=(0,), frechet=True) == first


def test_a_cache_that_cannot_be_written_costs_one_warning_and_no_number(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path / "good"))
    expected = evaluate_generator(Negative(), negative_task(), seeds=(0, 1))
    (tmp_path / "file").write_text("no folder can be made below a file, not even by root")
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path / "file"))
    assert evaluate_generator(Negative(), negative_task(), seeds=(0, 1)) == expected
    warnings = [record for record in caplog.records if record.name == "gancomp"]
    assert [record.levelname for record in warnings] == ["WARNING"]
    assert "set GANCOMP_CACHE" in warnings[0].getMessage()


def test_features_of_another_kind_of_device_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    monkeypatch.setattr(quality, "extract_features", lambda *a, **k: torch.zeros(2, 4))
    keys = set()
    for device in ("cpu", torch.device("cpu"), "cuda", "cuda:0"):
        quality._real_features(negative_task(), "test", torch.arange(2), device)
        keys.add(quality._pictures_key(negative_task(), "test", torch.arange(2), device))  # of the floors too
    assert len(list((tmp_path / "features").iterdir())) == len(keys) == 2


def test_seeds_draw_other_references_and_a_subset_is_spread_over_the_split():
    found = evaluate_generator(Negative(), negative_task(), seeds=(0, 1, 2), n=20, frechet=True)
    assert len(set(found.distance.values)) == 3
    assert found.distance.spread > 0
    assert found.distance.samples == 20
    assert quality._spread_evenly(40, 4).tolist() == [0, 10, 20, 30]


KID_KEYS = {"kid", "kid_spread", "kid_interval", "kid_floor", "samples", "seeds"}
FD_KEYS = {"fd", "fd_spread", "fd_floor"}
PAIR_KEYS = {f"{name}{end}" for name in ("psnr", "ssim", "perceptual") for end in ("", "_spread")}


def test_an_unpaired_task_has_no_psnr():
    found = evaluate_generator(Negative(), negative_task(paired=False, channels=3), split="search", seeds=(0,))
    assert found.psnr is None
    assert set(found.as_dict()) == KID_KEYS
    assert all(isinstance(value, float) for value in found.as_dict().values())


def test_hidden_pairs_are_scored_as_pairs_are():
    paired, hidden = negative_task(), replace(negative_task(), paired=False, hidden_pairs=True)
    assert evaluate_generator(Negative(), hidden) == evaluate_generator(Negative(), paired)
    assert set(evaluate_generator(Negative(), hidden, frechet=True).as_dict()) == FD_KEYS | KID_KEYS | PAIR_KEYS


def test_a_frechet_distance_is_measured_where_the_split_is_large_enough_or_on_demand():
    assert evaluate_generator(Negative(), negative_task()).distance is None
    shoes = data.load_task("edges2shoes_unpaired")
    few = evaluate_generator(lambda x: x, shoes, n=12, seeds=(0,))
    assert few.distance is not None  # the split counts, not the excerpt of it
    assert few.set_distance == few.distance.value
    without = evaluate_generator(lambda x: x, shoes, n=12, seeds=(0,), frechet=False)
    assert without == replace(few, distance=None)
    assert without.set_distance == without.kid.value


def test_kid_has_a_floor_of_real_against_real_by_the_same_draw():
    found = evaluate_generator(Negative(), negative_task())
    assert found.kid.values == pytest.approx(found.kid.floors, abs=0.003)  # the perfect generator, but for 8 bits
    assert found.as_dict()["kid_floor"] == found.kid.floor
    bad = evaluate_generator(torch.zeros_like, negative_task())
    assert bad.kid.floors == found.kid.floors
    assert bad.kid.value > 10 * abs(bad.kid.floor)


def test_copying_the_input_can_be_scored_where_the_channels_agree():
    task = negative_task(channels=3)
    found = evaluate_generator(lambda x: x, task, seeds=(0,))
    batch = task.test.batch(slice(None))
    assert found.psnr == pytest.approx(float(psnr(batch.source, batch.target).mean()))


def test_likeness_is_the_mean_over_the_pictures_of_the_measures():
    task = negative_task()
    batch = task.test.batch(slice(None))
    found = evaluate_generator(lambda x: -blur(x, 3), task, seeds=(0,), batch_size=7)
    each = perceptual_distance(-blur(batch.source, 3), batch.target)
    assert found.perceptual == pytest.approx(float(each.mean()), rel=1e-4)
    assert found.perceptual_spread == pytest.approx(float(each.std()), rel=1e-4)


def test_quality_reads_as_a_sentence():
    text = str(evaluate_generator(Negative(), negative_task()))
    assert re.fullmatch(
        r"KID \S+ \+- \S+ \(real against real \S+; 40 pictures, 3 seeds\), PSNR \S+ dB, SSIM \S+, "
        r"PD-EfficientNet-Lite0 \S+",
        text,
    )
    assert str(evaluate_generator(Negative(), negative_task(), frechet=True)).startswith("FD-EfficientNet-Lite0 ")


def test_a_generator_keeps_its_mode_and_sees_every_source_once():
    generator = Negative().train()
    evaluate_generator(generator, negative_task(), seeds=(0,), batch_size=16)
    assert generator.training
    assert generator.calls == 3
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)).train()
    network[1].eval()  # frozen
    evaluate_generator(network, negative_task(), seeds=(0,))
    assert [part.training for part in network.modules()] == [True, True, False]
    network(torch.zeros(1, 1, 8, 8)).sum().backward()


def test_a_distance_reads_as_a_sentence():
    found = Distance("FD-EfficientNet-Lite0", (12.1, 12.3, 12.5), (3.38, 3.4, 3.42), 3000, (0, 1, 2))
    text = "FD-EfficientNet-Lite0 12.3 +- 0.20 (real against real 3.40; 3,000 pictures, 3 seeds)"
    assert str(found) == text
    single = Distance("D", (5.0,), (1.0,), 2, (0,))
    assert str(single) == "D 5.00 (real against real 1.00; 2 pictures, 1 seed)"


def test_mistakes_in_an_evaluation_are_told_in_a_sentence():
    task = negative_task()
    with pytest.raises(GancompError, match="'test' or 'search', not 'train'"):
        evaluate_generator(Negative(), task, split="train")
    with pytest.raises(GancompError, match="from 2 to the split's 40, not 41"):
        evaluate_generator(Negative(), task, n=41)
    with pytest.raises(GancompError, match="at least one seed"):
        evaluate_generator(Negative(), task, seeds=())
    with pytest.raises(GancompError, match=r"of shape \[40, 1, 8, 8\] where the task's targets have \[40, 1, 16, 16\]"):
        evaluate_generator(lambda x: x[..., ::2, ::2], task)
    with pytest.raises(GancompError, match="NaN or infinite pictures"):
        evaluate_generator(lambda x: x * math.nan, task)


@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is not None, reason="torch-fidelity is installed")
def test_true_fid_without_its_package_says_what_to_install_and_what_to_use():
    with pytest.raises(
        GancompError, match=r"pip install torch-fidelity.*use frechet_distance \(FD-EfficientNet-Lite0\)"
    ):
        true_fid(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("paired", [True, False])
def test_a_part_of_an_evaluation_equals_the_whole(paired):
    task = negative_task(paired)
    whole = evaluate_generator(torch.sin, task, seeds=(3,))
    assert set_distance(torch.sin, task, seed=3) == pytest.approx(whole.set_distance, rel=1e-6)
    if paired:
        parts = [f"{name}{spread}" for name in ("psnr", "ssim", "perceptual") for spread in ("", "_spread")]
        assert likeness(torch.sin, task) == {name: whole.as_dict()[name] for name in parts}
        return
    with pytest.raises(GancompError, match="has no pairs, so its outputs have no targets; use set_distance"):
        likeness(torch.sin, task)
