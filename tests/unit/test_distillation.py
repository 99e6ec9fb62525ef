"""What a student imitates of its teacher: features at any stages, pixels, wavelet bands, and what fails."""

import dataclasses
import types

import pytest
import torch
import torch.nn.functional as F

from factories import noise_task, pictures, short_config
from gancomp_core.data import Batches
from gancomp_core.errors import GancompError
from gancomp_core.measure.wavelets import wavelet_transform
from gancomp_core.methods import teacher_pictures
from gancomp_core.methods.feature_distillation import (
    DistillationOutputs,
    distil,
    feature_kd,
    game,
    logit_kd,
    pixel_kd,
    tap_channels,
)
from gancomp_core.methods.teacher_pictures import with_teacher_pictures
from gancomp_core.methods.wavelet_distillation import wavelet_kd
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator, initialize
from gancomp_core.train import gan, reconstruction

TEACHER = ResnetArchitecture(ChannelConfig.uniform(16), 6, in_channels=1, out_channels=1)
STUDENT = dataclasses.replace(TEACHER, channels=ChannelConfig.uniform(8), blocks=3)
TAPS = {"down1": "down1", "block2": "block4", "up1": "up1"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))


@pytest.fixture
def models(task):
    student, teacher = (initialize(ResnetGenerator(a), 3, std=0.1) for a in (STUDENT, TEACHER))
    return game(student, teacher, task, short_config(), feature_kd(TAPS)).networks


def outputs_of(ours, theirs):
    return types.SimpleNamespace(fake=ours, teacher_picture=theirs)


@pytest.fixture(scope="module")
def task():
    return noise_task()


def value(objective, ours, theirs):
    return objective(outputs_of(ours, theirs))[0]


# --- features


def test_features_are_compared_at_the_stages_that_are_named(models, task):
    outputs = DistillationOutputs(models, Batches(task.train, 3, 0, True).at(0), TAPS)
    _, ours = models["generator"](outputs.source, features=list(TAPS))
    picture, theirs = models["teacher"](outputs.source, features=list(TAPS.values()))
    adapted = models["adaptors"]([ours[name] for name in TAPS])
    expected = sum(F.mse_loss(a, theirs[name]) for a, name in zip(adapted, TAPS.values(), strict=True))
    torch.testing.assert_close(feature_kd(TAPS)(outputs)[0], expected)
    torch.testing.assert_close(outputs.teacher_picture, picture)
    assert not outputs.teacher_picture.requires_grad


def test_tapped_channels_are_those_of_the_features():
    for architecture in (STUDENT, TEACHER, dataclasses.replace(TEACHER, channels="8_16_8_8_8_8_16_8")):
        names = ["stem", "down1", "down2", "block1", f"block{architecture.blocks}", "up1", "up2"]
        _, found = ResnetGenerator(architecture)(torch.zeros(1, 1, 16, 16), features=names)
        assert [found[name].shape[1] for name in names] == tap_channels(architecture, names)


def test_an_unknown_stage_is_named_with_those_there_are(task):
    student, teacher = (ResnetGenerator(a) for a in (STUDENT, TEACHER))
    with pytest.raises(GancompError, match="tapped at 'block5'; this generator has the stages stem, down1, .* up2"):
        distil(student, teacher, task, short_config(), objective=gan() + feature_kd({"block5": "block5"}))


def test_training_with_named_stages_lowers_their_distance(task):
    student, teacher = (initialize(ResnetGenerator(a), 3, std=0.1) for a in (STUDENT, TEACHER))
    trained = distil(student, teacher, task, short_config(40, lr=3e-3), objective=gan() + feature_kd(TAPS))
    distance = trained.history.feature_kd
    assert distance.iloc[-5:].mean() < 0.9 * distance.iloc[:5].mean()


# --- pixels


def test_pixel_distillation_is_l1_to_the_teachers_picture():
    ours, theirs = pictures(2, 3, 16, 16, seed=0), pictures(2, 3, 16, 16, seed=1)
    torch.testing.assert_close(value(pixel_kd(), ours, theirs), (ours - theirs).abs().mean())


def test_logits_are_distributions_over_the_pixels_of_a_channel():
    ours, theirs = pictures(2, 3, 16, 16, seed=0), pictures(2, 3, 16, 16, seed=1)
    p, q = (torch.softmax(x.flatten(2) / 4, dim=-1) for x in (theirs, ours))
    expected = 16 * (p * (p.log() - q.log())).sum(-1).mean()
    torch.testing.assert_close(value(logit_kd(4.0), ours, theirs), expected)


def test_logit_distillation_does_not_see_brightness():
    ours = pictures(2, 3, 16, 16, seed=0) / 2
    assert value(logit_kd(), ours + 0.4, ours) == pytest.approx(0, abs=1e-6)
    assert value(pixel_kd(), ours + 0.4, ours) == pytest.approx(0.4, abs=1e-6)
    with pytest.raises(GancompError, match="temperature is above 0, not 0"):
        logit_kd(0)


# --- the teacher's pictures, painted once


def test_the_teachers_pictures_are_flipped_like_the_targets(task, models):
    teacher = initialize(ResnetGenerator(TEACHER), 3, std=0.1)
    batch = Batches(with_teacher_pictures(teacher, task, visited=12), 12, 0, True, flip=False).at(0)
    outputs = DistillationOutputs({"generator": models["generator"]}, batch)
    alone = Batches(task.train, 12, 0, True, flip=False).at(0)
    assert torch.equal(outputs.target, alone.target)
    torch.testing.assert_close(outputs.teacher_picture, teacher(alone.source), atol=1 / 255, rtol=0)
    flipped = Batches(with_teacher_pictures(teacher, task, visited=12), 12, 0, True).at(0)
    mirrored = (flipped.source != batch.source).flatten(1).any(1)
    assert mirrored.any()
    assert torch.equal(flipped.target[mirrored], batch.target[mirrored].flip(-1))
    assert torch.equal(flipped.teacher[mirrored], batch.teacher[mirrored].flip(-1))


def test_the_teacher_paints_as_it_goes_where_few_pictures_are_seen_or_many_would_be_kept(task, monkeypatch):
    teacher = initialize(ResnetGenerator(TEACHER), 3, std=0.1)
    assert with_teacher_pictures(teacher, task, visited=11) is task.train
    monkeypatch.setattr(teacher_pictures, "MOST_BYTES", 12 * 256 - 1)
    assert with_teacher_pictures(teacher, task, visited=12) is task.train


@pytest.mark.parametrize(("terms", "painted"), [(pixel_kd(), 0), (pixel_kd() + feature_kd(), 5)])
def test_a_training_that_compares_only_pictures_asks_the_teacher_once(task, terms, painted, monkeypatch):
    asked = []
    student, teacher = (initialize(ResnetGenerator(a), 3, std=0.1) for a in (STUDENT, TEACHER))
    forward = ResnetGenerator.forward

    def counted(network, *given, **how):
        if (
            network.architecture == TEACHER
            and torch.is_grad_enabled() is False
            and not torch.is_inference_mode_enabled()
        ):
            asked.append(1)
        return forward(network, *given, **how)

    monkeypatch.setattr(ResnetGenerator, "forward", counted)
    distil(student, teacher, task, short_config(5), objective=gan() + terms)
    assert len(asked) == painted


def test_a_term_without_its_teacher_is_refused(task):
    with pytest.raises(GancompError, match=r"'gan_lsgan \+ pixel_kd' compares with a teacher, and there is none"):
        distil(ResnetGenerator(STUDENT), None, task, short_config(), objective=gan() + pixel_kd())


# --- wavelets


def test_the_high_bands_are_compared_level_by_level():
    ours, theirs = pictures(2, 3, 16, 16, seed=0), pictures(2, 3, 16, 16, seed=1)
    pyramids = [wavelet_transform(x, "db3", 3) for x in (ours, theirs)]
    levels = [torch.stack(a) - torch.stack(b) for a, b in zip(*(p.details for p in pyramids), strict=True)]
    low = pyramids[0].low - pyramids[1].low
    high = sum(level.abs().mean() for level in levels)
    torch.testing.assert_close(value(wavelet_kd("db3"), ours, theirs), high)
    torch.testing.assert_close(value(wavelet_kd("db3", bands="low"), ours, theirs), low.abs().mean())
    torch.testing.assert_close(value(wavelet_kd("db3", bands="all"), ours, theirs), high + low.abs().mean())
    squares = sum(level.square().mean() for level in levels)
    torch.testing.assert_close(value(wavelet_kd("db3", distance="mse"), ours, theirs), squares)
    alike = sum(level.abs().sum() for level in levels) / ours.numel()
    torch.testing.assert_close(value(wavelet_kd("db3", weighting="coefficients"), ours, theirs), alike)


def test_high_bands_leave_brightness_to_other_terms():
    ours = pictures(2, 3, 16, 16, seed=0) / 2
    assert value(wavelet_kd(), ours + 0.4, ours) == pytest.approx(0, abs=1e-6)
    assert value(wavelet_kd(bands="low"), ours + 0.4, ours) == pytest.approx(0.4 * 2**3, rel=1e-5)


def test_every_term_adds_up_in_one_training(task):
    student, teacher = (initialize(ResnetGenerator(a), 3, std=0.1) for a in (STUDENT, TEACHER))
    objective = gan() + 50 * reconstruction() + 0.5 * feature_kd() + 5 * wavelet_kd("haar", 2) + pixel_kd()
    trained = distil(student, teacher, task, short_config(), objective=objective)
    assert {"feature_kd", "wavelet_kd", "pixel_kd", "reconstruction"} <= set(trained.history.columns)
    assert torch.isfinite(torch.tensor(trained.history.wavelet_kd)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": "middle"}, "knows the bands high, low, all, not 'middle'"),
        ({"distance": "l2"}, "knows the distance l1, mse, not 'l2'"),
        ({"weighting": "bands"}, "knows the weighting levels, coefficients, not 'bands'"),
        ({"wavelet": "db99"}, "no discrete wavelet 'db99'"),
        ({"levels": 0}, "at least 1 level"),
    ],
)
def test_a_wrong_choice_is_refused_before_the_training(change, message):
    with pytest.raises(GancompError, match=message):
        wavelet_kd(**change)
