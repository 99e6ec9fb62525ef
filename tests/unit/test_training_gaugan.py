"""GauGAN: hinge, scales, feature matching, the whole game in plain PyTorch, and BatchNorm measured anew."""

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factories import COLORS, DoubleBatches, assert_same_weights, in_two_parts, map_task, short_config
from gancomp_core.data import Batches, PictureSet, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.measure import perceptual_distance
from gancomp_core.nets import ChannelConfig, MultiScaleDiscriminator, SpadeArchitecture, SpadeGenerator, initialize
from gancomp_core.train import critic, fit, gan, gaugan, reconstruction
from gancomp_core.train.batch_norm import recalibrate
from gancomp_core.train.callbacks import ShowProgress
from gancomp_core.train.config import linear_decay
from gancomp_core.train.gaugan import OBJECTIVE, train_gaugan
from gancomp_core.train.objectives import HINGE, feature_matching, perceptual
from gancomp_core.train.outputs import SemanticOutputs
from gancomp_core.train.progress import paint

SMALL = SpadeArchitecture(ChannelConfig.parse("8_4_2_2_2_2_4_8"), upsampling="normal", label_channels=3)


def tiny(count=8, **changes):
    return map_task(count, 16, **{"class_names": ("sea", "wood", "sand")} | changes)


def fitted(task=None, steps=3, batch_size=2, lr=None, **options):
    return train_gaugan(task or tiny(), SMALL, short_config(steps, batch_size, lr=lr), **options)


@pytest.fixture(scope="module")
def networks():
    return gaugan.game(tiny(), SMALL, short_config()).networks


@pytest.fixture(scope="module")
def trained():
    return fitted()


@pytest.fixture
def outputs(networks):
    """A step whose discriminator stands still, so that it may be asked again."""
    models = {name: copy.deepcopy(model).eval() for name, model in networks.items()}
    return SemanticOutputs(models, tiny().train.batch(slice(0, 2)))


# --- the terms


@pytest.mark.parametrize(
    ("scores", "real", "fake", "generator"),
    [([0.0], 1, 1, 0), ([2.0], 0, 3, -2), ([-2.0], 3, 0, 2), ([0.5, -3.0, 1.0], (0.5 + 4 + 0) / 3, 3.5 / 3, 0.5)],
)
def test_hinge_losses_are_those_of_the_formula(scores, real, fake, generator):
    scores = torch.tensor(scores)
    found = HINGE.real(scores), HINGE.fake(scores), HINGE.generator(scores)
    assert [loss.item() for loss in found] == pytest.approx([real, fake, generator])


def test_a_critic_that_is_sure_learns_nothing_but_the_generator_still_does():
    sure = torch.tensor([1.5, 4.0], requires_grad=True)
    (HINGE.real(sure) + HINGE.fake(-sure)).backward()
    assert sure.grad.tolist() == [0, 0]
    HINGE.generator(sure).backward()
    assert sure.grad.tolist() == [-0.5, -0.5]


def test_losses_of_several_scales_are_averaged_however_large_each_is():
    fine, coarse = torch.full((2, 1, 6, 6), 0.5), torch.full((2, 1, 2, 2), -3.0)
    outputs = SimpleNamespace(fake=None, discriminate=lambda picture: [fine, coarse])
    outputs.discriminate_both = lambda: ([fine, coarse], [coarse, fine])
    assert gan(HINGE)(outputs)[0].item() == pytest.approx((-0.5 + 3) / 2)
    assert critic(HINGE)(outputs)[0].item() == pytest.approx(0.5 * ((0.5 + 4) / 2 + (0 + 1.5) / 2))
    assert gan()(outputs)[0].item() == pytest.approx((0.25 + 16) / 2)


def test_terms_equal_their_plain_computation(outputs):
    d = outputs.networks["discriminator"]
    with torch.no_grad():
        both = [torch.cat([outputs.source, picture], 1) for picture in (outputs.fake, outputs.target)]
        fake, real = (d(pair, features=True) for pair in both)
        differences = [(a - b).abs().mean() for (_, f), (_, r) in zip(fake, real, strict=True) for a, b in zip(f, r)]  # noqa: B905
        expected = {
            "gan_hinge": -(fake[0][0].mean() + fake[1][0].mean()) / 2,
            "feature_matching": sum(differences) / 8,  # two scales, four layers
            "perceptual": perceptual_distance(outputs.fake, outputs.target).mean(),
        }
        total, parts = OBJECTIVE(outputs)
        for name, value in expected.items():
            torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-5)
        weighted = expected["gan_hinge"] + 10 * expected["feature_matching"] + 10 * expected["perceptual"]
        torch.testing.assert_close(total, weighted, rtol=0, atol=1e-4)
        losses = [(F.relu(1 - r).mean() + F.relu(1 + f).mean()) / 2 for (f, _), (r, _) in zip(fake, real, strict=True)]
        torch.testing.assert_close(critic(HINGE)(outputs)[0], (losses[0] + losses[1]) / 2, rtol=0, atol=1e-5)
    assert str(OBJECTIVE) == "gan_hinge + 10 * feature_matching + 10 * perceptual"


def test_feature_matching_moves_the_fakes_and_not_what_they_are_compared_with(outputs):
    outputs.fake = outputs.fake.detach().requires_grad_()
    outputs.target = outputs.target.requires_grad_()
    feature_matching()(outputs)[0].backward()
    assert all(of_one.any() for of_one in outputs.fake.grad)
    assert not outputs.target.grad.any()


def test_feature_matching_takes_the_features_of_real_pictures_for_numbers(outputs):
    d, outputs.fake = outputs.networks["discriminator"], outputs.fake.detach()
    feature_matching()(outputs)[0].backward()
    found = [p.grad.clone() for p in d.parameters() if p.grad is not None]
    d.zero_grad()
    with torch.no_grad():
        real = [f for _, of_scale in d(torch.cat([outputs.source, outputs.target], 1), features=True) for f in of_scale]
    fake = [f for _, of_scale in d(torch.cat([outputs.source, outputs.fake], 1), features=True) for f in of_scale]
    torch.stack([F.l1_loss(a, b) for a, b in zip(fake, real, strict=True)]).mean().backward()
    for one, other in zip(found, (p.grad for p in d.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_perceptual_network_is_frozen_but_lets_the_generator_learn(outputs):
    perceptual()(outputs)[0].backward()
    assert all(p.grad is None for p in outputs.networks["perceptual"].parameters())
    assert any(p.grad is not None and p.grad.any() for p in outputs.networks["generator"].parameters())


def test_the_critic_learns_nothing_for_the_generator(outputs):
    critic(HINGE)(outputs)[0].backward()
    assert all(p.grad is None for p in outputs.networks["generator"].parameters())
    assert all(p.grad is not None for p in outputs.networks["discriminator"].parameters())


def test_the_critic_learns_four_times_as_fast_as_the_generator():
    critics, generator = gaugan.game(tiny(), SMALL, short_config(lr=2e-4)).groups
    assert (critics.lr, generator.lr) == (4e-4, 1e-4)
    assert critics.betas == generator.betas == (0.0, 0.9)


# --- the game


def test_training_equals_a_gaugan_written_out_in_plain_pytorch():
    task, config = tiny(), short_config(3, 2, seed=4, lr=1e-3)
    terms = gan(HINGE) + 10 * feature_matching() + reconstruction()  # the perceptual distance computes in float32 only
    game, other = (dataclasses.replace(gaugan.game(task, SMALL, config, terms), callbacks=()) for _ in range(2))
    ours, theirs = ({n: m.double().train() for n, m in each.networks.items()} for each in (game, other))
    batches = DoubleBatches(task.train, 2, 4, paired=True)
    history = fit(game, batches, config).history

    g, d = theirs.values()
    adam_g = torch.optim.Adam(g.parameters(), 0.5e-3, (0.0, 0.9))
    adam_d = torch.optim.Adam(d.parameters(), 2e-3, (0.0, 0.9))
    for step in range(3):
        for adam, lr in ((adam_g, 0.5e-3), (adam_d, 2e-3)):
            adam.param_groups[0]["lr"] = lr * linear_decay(step, 3)
        x, y = batches.at(step).source, batches.at(step).target
        fake = g(x)
        # one pass over both: spectral normalization moves on with every pass
        scores = d(torch.cat([torch.cat([x, y], 1), torch.cat([x, fake.detach()], 1)]))
        critics = sum(F.relu(1 - s[:2]).mean() + F.relu(1 + s[2:]).mean() for s in scores) / 4
        adam_d.zero_grad()
        critics.backward()
        adam_d.step()
        views = d(torch.cat([torch.cat([x, fake], 1), torch.cat([x, y], 1)]), features=True)
        hinge = -sum(scores[:2].mean() for scores, _ in views) / 2
        matching = sum((f[:2] - f[2:].detach()).abs().mean() for _, features in views for f in features) / 8
        l1 = (fake - y).abs().mean()
        adam_g.zero_grad()
        (hinge + 10 * matching + l1).backward()
        adam_g.step()
        found = torch.tensor(history.iloc[step].values)
        expected = torch.tensor([step, critics.item(), hinge.item(), matching.item(), l1.item()], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    for name, plain in theirs.items():
        for key, tensor in plain.state_dict().items():
            # biases before a norm do nothing, and Adam turns the rounding noise of their gradients into small steps
            torch.testing.assert_close(ours[name].state_dict()[key], tensor, rtol=0, atol=1e-5, msg=f"{name}.{key}")


def test_gaugan_learns_to_color_a_map():
    objective = gan(HINGE) + 10 * feature_matching() + 10 * reconstruction()  # L1 says what happens in few steps
    history = fitted(steps=25, batch_size=2, lr=4e-3, objective=objective).history
    assert history.reconstruction.iloc[-3:].mean() < 0.5 * history.reconstruction.iloc[:2].mean()


def test_the_published_objective_learns_too():
    history = fitted(steps=12, batch_size=2, lr=4e-3).history
    assert list(history) == ["step", "critic_hinge", "gan_hinge", "feature_matching", "perceptual"]
    assert history.perceptual.iloc[-2:].mean() < 0.8 * history.perceptual.iloc[:2].mean()


# --- BatchNorm


def statistics_of_batches(network, batches):
    """Mean and unbiased variance of what every BatchNorm sees of each batch when training, averaged over batches."""
    network = copy.deepcopy(network).train()
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _, given, __, name=name: seen.setdefault(name, []).append(
                    (given[0].mean((0, 2, 3)), given[0].transpose(0, 1).flatten(1).var(1))
                )
            )
    with torch.no_grad():
        for batch in batches:
            network(batch)
    return {
        name: (torch.stack([m for m, _ in pairs]).mean(0), torch.stack([v for _, v in pairs]).mean(0))
        for name, pairs in seen.items()
    }


def norms_of(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}


def test_recalibrating_gives_the_mean_over_batches_of_their_statistics():
    network = initialize(SpadeGenerator(SMALL), 0, std=0.1).double()
    with torch.no_grad():
        network.train()(torch.rand(2, 3, 64, 64).double())  # statistics of something else
    batches = [tiny().train.batch(slice(first, first + 2)).source.double() for first in (0, 2, 4)]
    expected = statistics_of_batches(network, batches)
    weights = {key: p.clone() for key, p in network.named_parameters()}
    assert recalibrate(network, (batch for batch in batches)) is network
    assert not network.training
    assert len(expected) == len(norms_of(network)) == 18
    for name, norm in norms_of(network).items():
        torch.testing.assert_close(norm.running_mean, expected[name][0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(norm.running_var, expected[name][1], rtol=1e-9, atol=1e-12)
        assert norm.momentum == 0.1
        assert norm.num_batches_tracked == 3
    assert all(torch.equal(p, weights[key]) for key, p in network.named_parameters())
    assert all(p.grad is None for p in network.parameters())


def test_recalibrating_twice_gives_the_same_as_once():
    network, batches = initialize(SpadeGenerator(SMALL), 0), [tiny().train.batch(slice(0, 4)).source]
    once = copy.deepcopy(recalibrate(network, batches)).state_dict()
    twice = recalibrate(network, batches).state_dict()
    assert all(torch.equal(once[key], twice[key]) for key in once)


def test_after_recalibrating_a_network_paints_as_it_does_in_training():
    network, maps = initialize(SpadeGenerator(SMALL), 0, std=0.1), tiny(16).train.batch(slice(0, 16)).source
    with torch.no_grad():
        in_training = copy.deepcopy(network).train()(maps)
        before = network.eval()(maps)
        after = recalibrate(network, [maps])(maps)
    assert (before - in_training).abs().mean() > 0.05
    assert (after - in_training).abs().mean() < 0.01


def test_the_averaged_generator_comes_back_with_statistics_of_its_own(trained):
    task = tiny()
    generator, batches = trained.averaged["generator"], Batches(tiny().train, 2, 0, paired=True)
    expected = statistics_of_batches(generator, (batches.at(step).source for step in range(32)))
    for name, norm in norms_of(generator).items():
        torch.testing.assert_close(norm.running_mean, expected[name][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, expected[name][1], rtol=1e-3, atol=1e-6)
    last = norms_of(trained.models["generator"])
    assert not torch.equal(last["stages.head.norm_0.norm"].running_mean, expected["stages.head.norm_0.norm"][0])
    assert generator(task.test.batch(slice(0, 1)).source).shape == (1, 3, 64, 64)


def test_a_training_is_the_same_in_parts(tmp_path, trained):
    assert_same_weights(trained, in_two_parts(lambda callbacks: fitted(callbacks=callbacks), tmp_path / "a.ckpt", 2))


def test_building_the_networks_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    gaugan.game(tiny(), SMALL, short_config())
    assert torch.equal(torch.rand(1), expected)


# --- pictures of maps


def test_a_painted_map_has_the_colors_of_its_classes():
    task = tiny()
    batch = task.train.batch(slice(0, 3))
    assert torch.equal(to_uint8(paint(batch.source, task.palette)), to_uint8(batch.target))
    assert paint(batch.source, task.palette).dtype == torch.float32


def test_scores_are_painted_by_the_largest():
    scores = torch.tensor([0.1, -3.0, 0.2]).reshape(1, 3, 1, 1).expand(-1, -1, 2, 5)
    assert to_uint8(paint(scores, COLORS))[0, :, 1, 4].tolist() == list(COLORS[2])
    assert paint(scores, COLORS).shape == (1, 3, 2, 5)


def test_the_live_picture_shows_painted_maps_fakes_and_targets(monkeypatch):
    shown = []

    class Watched:
        def __init__(self, *_):
            pass

        def close(self):
            pass

        def update(self, step, values, picture):
            shown.append(picture())

    monkeypatch.setattr("gancomp_core.train.callbacks.Progress", Watched)
    fitted(steps=1, objective=gan(HINGE), callbacks=[ShowProgress()])
    assert shown[0].size == (2 * 64 * 2, 3 * 64 * 2)
    pixels = np.asarray(shown[0])
    assert (pixels[:128] == pixels[256:]).all()  # the targets of this task are its painted maps
    assert not (pixels[:128] == pixels[128:256]).all()


# --- refusals


def refusal(task, architecture=SMALL, **changes):
    with pytest.raises(GancompError) as caught:
        train_gaugan(task, architecture, short_config(1, **changes))
    said = str(caught.value)
    assert said.endswith(".")
    assert ". " not in said
    return said


@pytest.mark.parametrize("changes", [{"palette": ()}, {"paired": False}], ids=["no maps", "unpaired"])
def test_tasks_without_maps_are_named_with_one_that_has_them(changes):
    assert "which 'tiny' does not have; choose 'landcover2satellite'" in refusal(tiny(**changes))


@pytest.mark.parametrize("changes", [{"label_channels": 5}, {"out_channels": 1}])
def test_an_architecture_of_other_channels_is_told_those_of_the_task(changes):
    said = refusal(tiny(), dataclasses.replace(SMALL, **changes))
    assert "The task 'tiny' has maps of 3 channels and pictures of 3" in said
    assert "give it the task's numbers" in said


def test_one_picture_a_step_whose_smallest_map_is_a_pixel_is_refused():
    said = refusal(tiny(), dataclasses.replace(SMALL, upsampling="more"), batch_size=1)
    assert "cannot train on one picture of 64 x 64 pixels" in said
    assert "use a batch of at least 2" in said


def test_pictures_too_small_for_the_coarse_discriminator_are_refused():
    small = tiny()
    pictures = PictureSet(small.train.sources[:, :, :32, :32], small.train.targets[:, :, :32, :32])
    said = refusal(dataclasses.replace(small, size=32, train=pictures), batch_size=2)
    assert "H and W at least 47" in said
    assert "enlarge the pictures" in said


def test_the_discriminator_judges_map_and_picture_at_two_scales(networks):
    assert isinstance(networks["discriminator"], MultiScaleDiscriminator)
    assert networks["discriminator"].settings["in_channels"] == 6
    assert len(networks["discriminator"].discriminators) == 2
