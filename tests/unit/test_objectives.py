"""Terms and how they are put together, against the same numbers computed plainly in numpy."""

import inspect
import types

import numpy as np
import pytest
import pywt
import torch
from skimage.metrics import structural_similarity

from factories import noise_task, numbers, pictures, refused, short_config
from gancomp_core.methods import feature_distillation
from gancomp_core.methods.discriminator_distillation import cooperated_kd
from gancomp_core.methods.feature_distillation import (
    Adaptors,
    channel_kd,
    companions,
    feature_kd,
    game,
    logit_kd,
    pixel_kd,
    ssim_kd,
)
from gancomp_core.methods.wavelet_distillation import wavelet_kd
from gancomp_core.nets import ChannelConfig, PatchDiscriminator, ResnetArchitecture, ResnetGenerator, build
from gancomp_core.train import gan, reconstruction
from gancomp_core.train.objectives import HINGE, LSGAN, Objective, content, critic, gram, style, term, total_variation

TEACHER = ResnetArchitecture(ChannelConfig.uniform(16), 3, in_channels=1, out_channels=1)
STUDENT = ResnetArchitecture(ChannelConfig.uniform(8), 3, in_channels=1, out_channels=1)


def value(objective, **outputs):
    """The value of an objective's only term, for outputs with these attributes."""
    (found,) = objective(types.SimpleNamespace(**outputs))[1].values()
    return found.item()


def plain(*tensors):
    return [each.double().numpy() for each in tensors]


# --- terms


def times(outputs, factor=2.0, power=1):
    """A function of a step's outputs."""
    return factor * outputs.x**power


def test_a_term_knows_all_its_arguments_and_shows_those_that_it_takes():
    scaled = term()(times)
    (of,) = scaled(power=3).terms
    assert (of.name, of.arguments, of.auxiliary) == ("times", {"factor": 2.0, "power": 3}, {})
    assert of(types.SimpleNamespace(x=torch.tensor(2.0))) == 16
    shown = inspect.signature(scaled)
    assert list(shown.parameters) == ["factor", "power"]
    assert shown.return_annotation is Objective


def test_a_term_may_have_another_name_networks_and_a_check():
    def check(factor):
        if factor < 0:
            raise ValueError(factor)

    maker = {"judge": torch.nn.Identity}
    named = term("another", auxiliary=maker, check=check)(lambda outputs, factor=1.0: factor * outputs.x)
    (of,) = named().terms
    assert (of.name, of.auxiliary) == ("another", maker)
    with pytest.raises(ValueError, match="-1"):
        named(factor=-1)


def test_an_objective_of_a_part_names_its_terms_and_reads_that_part():
    there = types.SimpleNamespace(fake=torch.zeros(1, 1, 2, 2), target=torch.full((1, 1, 2, 2), 0.5))
    found = reconstruction().at("there", "far ")(types.SimpleNamespace(there=there))[1]
    assert {name: each.item() for name, each in found.items()} == {"far reconstruction": 0.5}


@pytest.mark.parametrize(("how", "expected"), [("mean", 3.0), ("sum", 9.0)])
def test_an_objective_over_parts_is_their_mean_or_sum(how, expected):
    parts = [types.SimpleNamespace(x=torch.tensor(x)) for x in (0.5, 1.0, 3.0)]
    assert value(term()(times)().over("parts", how), parts=parts) == expected


@pytest.mark.parametrize("loss", [LSGAN, HINGE], ids=["lsgan", "hinge"])
def test_losses_of_several_scales_are_averaged(loss):
    fake, real = ([torch.randn(2, 1, n, n, generator=numbers(seed + n)) for n in (5, 3, 2)] for seed in (0, 9))
    f, r = plain(*fake), plain(*real)
    if loss is LSGAN:
        wanted = np.mean([((each - 1) ** 2).mean() for each in f])
        judged = np.mean([((each - 1) ** 2).mean() for each in r]) + np.mean([(each**2).mean() for each in f])
    else:
        wanted = np.mean([-each.mean() for each in f])
        judged = np.mean([np.maximum(1 - each, 0).mean() for each in r])
        judged += np.mean([np.maximum(1 + each, 0).mean() for each in f])
    assert value(gan(loss), fake=None, discriminate=lambda picture: fake) == pytest.approx(wanted, rel=1e-5)
    assert value(critic(loss), discriminate_both=lambda: (real, fake)) == pytest.approx(judged / 2, rel=1e-5)


# --- features and neighbors


@pytest.fixture
def maps():
    """Three pairs of feature maps of different sizes and ranges."""
    shapes = ((2, 3, 4, 5), (2, 4, 3, 2), (2, 2, 6, 1))
    return [
        tuple(scale * torch.randn(shape, generator=numbers(seed)) for seed in (scale, scale + 9))
        for scale, shape in enumerate(shapes, 1)
    ]


def test_content_is_the_squared_difference_as_a_share_of_the_target(maps):
    expected = np.mean([((a - b) ** 2).mean() / (b**2).mean() for a, b in (plain(*pair) for pair in maps)])
    assert value(content(), feature_maps=maps) == pytest.approx(expected, rel=1e-5)


def test_style_is_the_same_of_products_of_channels(maps):
    def products(x):
        return np.einsum("nchw,ndhw->ncd", x, x) / (x.shape[2] * x.shape[3])

    grams = [tuple(map(products, plain(*pair))) for pair in maps]
    expected = np.mean([((a - b) ** 2).mean() / (b**2).mean() for a, b in grams])
    assert value(style(), feature_maps=maps) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gram(maps[0][0]), grams[0][0], rtol=1e-5)


def test_a_target_without_features_leaves_the_error_finite():
    assert value(content(), feature_maps=[(torch.full((1, 1, 2, 2), 1e-4), torch.zeros(1, 1, 2, 2))]) == pytest.approx(
        1
    )


def test_total_variation_is_the_mean_size_of_steps_down_plus_that_of_steps_across():
    x = pictures(2, 3, 5, 7)
    (n,) = plain(x)
    expected = np.abs(np.diff(n, axis=2)).mean() + np.abs(np.diff(n, axis=3)).mean()
    assert value(total_variation(), fake=x) == pytest.approx(expected, rel=1e-5)


# --- distillation


def test_features_are_enlarged_to_the_teachers_and_summed_over_taps():
    small = torch.tensor([[0.0, 1.0], [0.0, 1.0]])[None, None]
    large = torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 1, 4, 4)  # as bilinear enlargement by two makes it
    teacher = [large + 0.5, torch.ones(1, 2, 3, 3), torch.zeros(1, 1, 2, 2)]
    student = [small, torch.zeros(1, 2, 3, 3), torch.full((1, 1, 2, 2), 3.0)]
    outputs = {"networks": {"adaptors": lambda features: features}, "features": student, "teacher_features": teacher}
    assert value(feature_kd(), **outputs) == pytest.approx(0.25 + 1 + 9)


def test_channel_distillation_compares_means_over_positions():
    a, b = ([torch.randn(2, c, 3, 4, generator=numbers(seed + c)) for c in (3, 5)] for seed in (0, 7))
    outputs = {"networks": {"adaptors": lambda features: features}, "features": a, "teacher_features": b}
    pairs = [plain(*pair) for pair in zip(a, b, strict=True)]
    expected = sum(((x.mean(axis=(2, 3)) - y.mean(axis=(2, 3))) ** 2).mean() for x, y in pairs)
    assert value(channel_kd(), **outputs) == pytest.approx(expected, rel=1e-5)


def test_structural_distillation_is_one_minus_ssim():
    ours = pictures(2, 1, 24, 28, seed=0)
    theirs = 0.5 * ours + 0.5 * pictures(2, 1, 24, 28, seed=1)
    about = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2}
    pairs = zip(*(np.pad(each[:, 0], ((0, 0), (5, 5), (5, 5)), "reflect") for each in plain(ours, theirs)), strict=True)
    expected = 1 - np.mean([structural_similarity(*pair, **about) for pair in pairs])  # leaves the 5 pixels out
    assert value(ssim_kd(), fake=ours, teacher_picture=theirs) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("objective", "before"), [(pixel_kd(), 1), (pixel_kd() + feature_kd(), 0), (gan(), 0)])
def test_the_teacher_paints_beforehand_only_where_a_step_needs_nothing_else_of_it(objective, before, monkeypatch):
    painted = []
    monkeypatch.setattr(feature_distillation, "with_teacher_pictures", lambda *a, **b: painted.append(a) or task.train)
    task = noise_task()
    student, teacher = ResnetGenerator(STUDENT), ResnetGenerator(TEACHER)
    objective = objective if objective.find("gan_lsgan") else gan() + objective
    feature_distillation.distil(student, teacher, task, short_config(1), objective=objective)
    assert len(painted) == before


@pytest.mark.parametrize("given", [{}, {"temperature": 1.0}, {"temperature": 3.0}])
def test_logits_are_compared_by_the_divergence_of_softmaxes(given):
    ours, theirs = pictures(2, 3, 4, 5, seed=0), pictures(2, 3, 4, 5, seed=1)
    t = given.get("temperature", 1.0)
    q, p = (np.exp(x.reshape(2, 3, -1) / t) for x in plain(ours, theirs))
    q, p = q / q.sum(-1, keepdims=True), p / p.sum(-1, keepdims=True)
    expected = t**2 * (p * np.log(p / q)).sum(-1).mean()
    assert value(logit_kd(**given), fake=ours, teacher_picture=theirs) == pytest.approx(expected, rel=1e-4)


def test_wavelet_distillation_has_three_levels_of_haar_by_default():
    ours, theirs = pictures(2, 1, 32, 32, seed=0), pictures(2, 1, 32, 32, seed=1)
    (_, *a), (_, *b) = (pywt.wavedec2(x, "haar", "symmetric", level=3) for x in plain(ours, theirs))
    expected = sum(np.abs(np.stack(x) - np.stack(y)).mean() for x, y in zip(a, b, strict=True))
    assert value(wavelet_kd(), fake=ours, teacher_picture=theirs) == pytest.approx(expected, rel=1e-4)
    with refused("wavelet"):
        wavelet_kd(wavelet="no wavelet")


def test_companions_begin_with_seeds_of_their_own():
    student, teacher = ResnetGenerator(STUDENT), ResnetGenerator(TEACHER)
    judge = PatchDiscriminator(2, 8, 2)
    found = companions(feature_kd() + cooperated_kd(judge), student, teacher, judge, seed=5)
    ours, theirs = (
        [network.architecture.stage_channels[tap] for tap in STUDENT.taps] for network in (student, teacher)
    )
    widths = {"adaptors": (ours, theirs), "student_connectors": (ours, [2] * len(ours))}
    widths["teacher_connectors"] = (theirs, [2] * len(ours))
    assert found.keys() == widths.keys()
    for seed, (name, sizes) in enumerate(widths.items(), 5):
        begun = build(lambda sizes=sizes: Adaptors(*sizes), seed).state_dict()
        assert all(torch.equal(each, begun[key]) for key, each in found[name].state_dict().items()), name


def test_the_game_of_a_distillation_shows_pictures():
    task = noise_task()
    assert game(ResnetGenerator(STUDENT), ResnetGenerator(TEACHER), task, short_config()).preview is not None
