"""Terms that came after 2020: kernel alignment, the discriminator's space, patch relations, structure and channels."""

import dataclasses
import itertools
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity

from factories import assert_same_weights, in_two_parts, noise_task, numbers, pictures, refused, short_config
from gancomp_core.data import Batches
from gancomp_core.methods.discriminator_distillation import cooperated_kd, discriminator_kd
from gancomp_core.methods.feature_distillation import (
    DistillationOutputs,
    channel_kd,
    distil,
    feature_kd,
    game,
    pixel_kd,
    ssim_kd,
    taps_of,
)
from gancomp_core.methods.kernel_alignment import kernel_alignment, kernel_alignment_kd
from gancomp_core.methods.patch_relations import parts, patch_relation_kd, relations
from gancomp_core.nets import (
    ChannelConfig,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    ResnetArchitecture,
    ResnetGenerator,
    initialize,
)
from gancomp_core.train import gan, reconstruction

TEACHER = ResnetArchitecture(ChannelConfig.uniform(16), 6, in_channels=1, out_channels=1)
STUDENT = dataclasses.replace(TEACHER, channels=ChannelConfig.uniform(8), blocks=3)
JUDGE = PatchDiscriminator(2, 8, 2).eval()
TAPS = {"down2": "down2", "block2": "block4", "up1": "up1"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def task():
    return noise_task()


def networks():
    return [initialize(ResnetGenerator(architecture), 3, std=0.1) for architecture in (STUDENT, TEACHER)]


def outputs_for(objective, task):
    """The outputs of a first step and its game, with two pictures in the batch."""
    made = game(*networks(), task, short_config(), objective)
    return made, DistillationOutputs(made.networks, Batches(task.train, 2, 0, True).at(0), taps_of(objective))


def value(objective, ours, theirs):
    return objective(types.SimpleNamespace(fake=ours, teacher_picture=theirs))[0]


# ---- kernel alignment


def test_kernel_alignment_is_the_published_formula():
    ours, theirs = torch.randn(5, 3, 4, 4, generator=numbers(0)), torch.randn(5, 7, 2, 2, generator=numbers(1))
    x, y = (each.flatten(1).double().numpy() for each in (ours, theirs))
    expected = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert kernel_alignment(ours, theirs).item() == pytest.approx(expected, rel=1e-5)


def test_centered_features_are_aligned_by_the_cka_of_kornblith():
    x, y = torch.randn(6, 9, generator=numbers(0)), torch.randn(6, 4, generator=numbers(1))
    k, m = (each.double().numpy() @ each.double().numpy().T for each in (x, y))
    h = np.eye(6) - 1 / 6

    def hsic(a, b):
        return np.trace(a @ h @ b @ h)

    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert kernel_alignment(x - x.mean(0), y - y.mean(0)).item() == pytest.approx(expected, rel=1e-5)


def test_kernel_alignment_ignores_scale_and_rotation():
    x = torch.randn(4, 6, generator=numbers(0))
    turned = torch.linalg.qr(torch.randn(6, 6, generator=numbers(1)))[0]
    assert kernel_alignment(x, 3 * x @ turned).item() == pytest.approx(1, abs=1e-6)
    apart = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0], [1]])
    assert kernel_alignment(*apart).item() == pytest.approx(2 / np.sqrt(2 * 4))


def test_kernel_alignment_sums_over_taps_of_any_channels(task):
    made, outputs = outputs_for(kernel_alignment_kd(TAPS), task)
    expected = sum(1 - kernel_alignment(a, b) for a, b in zip(outputs.features, outputs.teacher_features, strict=True))
    torch.testing.assert_close(kernel_alignment_kd(TAPS)(outputs)[0], expected)
    assert "adaptors" not in made.networks
    assert [a.shape[1] * 2 for a in outputs.features] == [b.shape[1] for b in outputs.teacher_features]


def test_kernel_alignment_refuses_what_it_cannot_compare():
    with refused("at least 2 of them, not 1 with 1"):
        kernel_alignment(torch.ones(1, 3), torch.ones(1, 3))
    with refused("not 2 with 3"):
        kernel_alignment(torch.ones(2, 3), torch.ones(3, 3))


# ---- the discriminator's space


def test_pictures_are_compared_map_by_map_beside_their_sources(task):
    made, outputs = outputs_for(discriminator_kd(JUDGE), task)
    x = {name: torch.cat([outputs.source, p], 1) for name, p in (("s", outputs.fake), ("t", outputs.teacher_picture))}
    maps = {name: [] for name in x}
    for layer in JUDGE.layers:
        x = {name: layer(value.clone()) for name, value in x.items()}
        if isinstance(layer, torch.nn.LeakyReLU):
            for name in x:
                maps[name].append(x[name].clone())
    expected = sum((a - b).abs().mean() for a, b in zip(maps["s"], maps["t"], strict=True)) / 3
    torch.testing.assert_close(discriminator_kd(JUDGE)(outputs)[0], expected)
    assert made.groups[-1].networks == ("generator",)


def test_a_discriminator_of_pictures_alone_gets_them_alone(task):
    alone = PatchDiscriminator(1, 8, 2).eval()
    _, outputs = outputs_for(discriminator_kd(alone), task)
    assert discriminator_kd(alone)(outputs)[0] > 0


def test_the_judge_is_a_frozen_copy(task):
    made, _ = outputs_for(discriminator_kd(JUDGE), task)
    judge = made.networks["teacher_discriminator"]
    assert judge is not JUDGE
    assert not any(p.requires_grad for p in judge.parameters())
    assert all(p.requires_grad for p in JUDGE.parameters())


def test_features_reach_the_judge_standardized_and_enlarged(task):
    made, outputs = outputs_for(cooperated_kd(JUDGE, TAPS), task)
    shown = []
    for side, features in (("student", outputs.features), ("teacher", outputs.teacher_features)):
        adapted = made.networks[f"{side}_connectors"](features)
        large = [F.interpolate(each, (16, 16), mode="bilinear") for each in adapted]
        moments = [(x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)) for x in large]
        shown.append([(x - mean) / (var + 1e-5).sqrt() for x, (mean, var) in zip(large, moments, strict=True)])
    per_tap = [
        sum(F.l1_loss(a, b) for a, b in zip(JUDGE(s, True)[1], JUDGE(t, True)[1], strict=True)) / 3
        for s, t in zip(*shown, strict=True)
    ]
    torch.testing.assert_close(cooperated_kd(JUDGE, TAPS)(outputs)[0], sum(per_tap), rtol=1e-4, atol=1e-5)
    assert made.groups[-1].networks == ("generator", "student_connectors", "teacher_connectors")


def test_another_discriminator_is_refused():
    for make in (discriminator_kd, cooperated_kd):
        with refused("in a PatchGAN, not in a MultiScaleDiscriminator"):
            make(MultiScaleDiscriminator(2, 8, 2))


# ---- patch relations


def by_hand(cut):
    """Distances over their mean and cosines at every corner, with plain loops, of parts with no two close together."""
    n = len(cut)
    d = np.array([[np.linalg.norm(a - b) for b in cut] for a in cut])
    cosines = np.zeros((n, n, n))
    for j, i, k in itertools.product(range(n), repeat=3):
        if i != j and k != j:
            cosines[j, i, k] = (cut[i] - cut[j]) @ (cut[k] - cut[j]) / (d[i, j] * d[k, j])
    return d / (d.sum() / (n * (n - 1))), cosines


def smooth(a, b):
    difference = np.abs(a - b)
    return np.where(difference < 1, difference**2 / 2, difference - 0.5).mean()


def test_patch_relations_are_distances_and_angles_of_rows_columns_and_patches():
    ours, theirs = pictures(1, 2, 8, 8, seed=0), pictures(1, 2, 8, 8, seed=1)
    expected = 0.0
    cuts = [
        lambda x: [x[:, i : i + 2].ravel() for i in range(0, 8, 2)],
        lambda x: [x[:, :, i : i + 2].ravel() for i in range(0, 8, 2)],
        lambda x: [x[:, i : i + 4, j : j + 4].ravel() for i in (0, 4) for j in (0, 4)],
    ]
    for cut in cuts:
        (d, c), (their_d, their_c) = (by_hand(cut(x[0].double().numpy())) for x in (ours, theirs))
        expected += smooth(d, their_d) + 0.5 * smooth(c, their_c)
    assert value(patch_relation_kd(4, 2, 0.5), ours, theirs).item() == pytest.approx(expected, rel=1e-4)


def test_patch_relations_see_neither_brightness_nor_contrast():
    ours = pictures(2, 1, 16, 16, seed=0) / 4
    assert value(patch_relation_kd(), 2 * ours + 0.3, ours).item() == pytest.approx(0, abs=1e-5)
    assert value(patch_relation_kd(), ours.roll(3, -1), ours) > 0.01


def test_equal_parts_have_no_direction_and_finite_gradients():
    ours = torch.ones(2, 1, 16, 16)
    ours[:, :, 4:9] = pictures(2, 1, 5, 16, seed=0)
    ours.requires_grad_()
    _, cosines = relations(parts(ours, 1, 16))
    assert cosines[:, 0, 1].abs().max() < 1e-3
    value(patch_relation_kd(), ours, pictures(2, 1, 16, 16, seed=1)).backward()
    assert torch.isfinite(ours.grad).all()
    assert ours.grad.abs().max() > 0


def test_patch_relations_refuse_what_cannot_be_cut():
    with refused("16 x 16 pixels cannot be cut into patches of 5 and strips of 1"):
        value(patch_relation_kd(5), pictures(1, 1, 16, 16), pictures(1, 1, 16, 16))
    with refused("patch is a whole number from 1, not 0"):
        patch_relation_kd(0)
    with refused("strip is a whole number from 1"):
        patch_relation_kd(strip=0)
    with refused("weight of the angles is at least 0, not -1"):
        patch_relation_kd(angle=-1)


# ---- structure and channels


def test_structure_is_ssim_of_the_two_pictures():
    ours, theirs = pictures(1, 1, 32, 32, seed=0)[0, 0], pictures(1, 1, 32, 32, seed=1)[0, 0]
    theirs = 0.5 * ours + 0.5 * theirs
    about = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0, "full": True}
    _, found = structural_similarity(ours.numpy(), theirs.numpy(), **about)
    # scikit-image's own mean leaves the border out, and at the border it mirrors the edge pixel too
    _, whole = structural_similarity(*(np.pad(x.numpy(), 5, "reflect") for x in (ours, theirs)), **about)
    assert value(ssim_kd(), ours[None, None], theirs[None, None]).item() == pytest.approx(
        1 - whole[5:-5, 5:-5].mean(), abs=1e-5
    )
    assert found[8:-8, 8:-8].mean() == pytest.approx(whole[5:-5, 5:-5][8:-8, 8:-8].mean(), abs=1e-6)


def test_channel_distillation_compares_means_over_positions(task):
    _, outputs = outputs_for(channel_kd(TAPS), task)
    adapted = outputs.networks["adaptors"](outputs.features)
    pairs = zip(adapted, outputs.teacher_features, strict=True)
    expected = sum((a.mean((2, 3)) - b.mean((2, 3))).square().mean() for a, b in pairs)
    torch.testing.assert_close(channel_kd(TAPS)(outputs)[0], expected)


# ---- all of them, in training


TERMS = {
    "kernel_alignment_kd": lambda: 5 * kernel_alignment_kd(),
    "cooperated_kd": lambda: 5 * cooperated_kd(JUDGE),
    "discriminator_kd": lambda: 5 * discriminator_kd(JUDGE),
    "patch_relation_kd": lambda: 5 * patch_relation_kd(),
    "ssim_kd": lambda: 5 * ssim_kd(),
    "channel_kd": lambda: 5 * channel_kd(),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_alone_is_learned(name, task):
    trained = distil(*networks(), task, short_config(20, 12, lr=3e-3), objective=TERMS[name]())
    found = trained.history[name]
    assert found.iloc[-5:].mean() < 0.9 * found.iloc[:5].mean()


def test_terms_together_resume_bit_for_bit(task, tmp_path):
    def train(callbacks=()):
        terms = (make() for make in TERMS.values())
        objective = sum(terms, gan() + 10 * reconstruction() + pixel_kd() + feature_kd())
        return distil(*networks(), task, short_config(4), objective=objective, callbacks=callbacks)

    assert_same_weights(train(), in_two_parts(train, tmp_path / "training.ckpt", 2))


def test_features_are_tapped_at_one_set_of_stages():
    with refused("feature_kd and kernel_alignment_kd compare features at different taps"):
        taps_of(feature_kd(TAPS) + kernel_alignment_kd())
    assert taps_of(feature_kd(TAPS) + kernel_alignment_kd(TAPS)) == TAPS
    assert taps_of(kernel_alignment_kd()) == {}
    assert taps_of(pixel_kd()) is None


@pytest.mark.parametrize("name", TERMS)
def test_terms_that_compare_with_a_teacher_need_one(name, task):
    with refused("compares with a teacher, and there is none"):
        distil(networks()[0], None, task, short_config(), objective=gan() + TERMS[name]())
