"""Online distillation: against plain PyTorch, what the student sees, resuming, and what is refused."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from factories import DoubleBatches, assert_same_weights, in_two_parts, noise_task, refused, short_config
from gancomp_core.data import Batches
from gancomp_core.lab import Experiment, catalogue
from gancomp_core.lab.kinds import Job
from gancomp_core.measure import ssim
from gancomp_core.methods.feature_distillation import channel_kd, feature_kd, pixel_kd, ssim_kd
from gancomp_core.methods.kernel_alignment import kernel_alignment_kd
from gancomp_core.methods.online_distillation import OnlineOutputs, distil_online, game, preview
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator, initialize
from gancomp_core.train import fit, gan, reconstruction

STUDENT = ResnetArchitecture(ChannelConfig.uniform(8), 3, in_channels=1, out_channels=1)
WIDE = dataclasses.replace(STUDENT, channels=ChannelConfig.uniform(16))
DEEP = dataclasses.replace(STUDENT, blocks=4)


def networks():
    """A student, a wide teacher and a deep one."""
    architectures = (STUDENT, WIDE, DEEP)
    return [initialize(ResnetGenerator(each), seed, std=0.1) for seed, each in enumerate(architectures)]


@pytest.fixture(scope="module")
def task():
    return noise_task()


def train(task, steps=3, callbacks=(), **changes):
    student, wide, deep = networks()
    return distil_online(student, wide, task, short_config(steps), deep=deep, callbacks=callbacks, **changes)


def in_plain_torch(networks, batches, steps, lr):
    """The same in float64 with channel means and pixels, written as its formulas."""
    student, wide, deep, critic, adaptors = networks
    players = [[critic], [wide], [deep], [student, adaptors]]
    movers = [
        torch.optim.Adam([p for network in each for p in network.parameters()], lr, (0.5, 0.999)) for each in players
    ]
    for step in range(steps):
        batch = batches.at(step)
        x, y = batch.source, batch.target
        stages = list(WIDE.taps)
        (wide_fake, theirs), deep_fake = wide(x, features=stages), deep(x)
        fake, ours = student(x, features=stages)

        def score(picture, source=x):
            return critic(torch.cat([source, picture], 1))

        def critic_loss(of, real=y):
            return 0.5 * ((score(real) - 1).square().mean() + score(of.detach()).square().mean())

        def move(mover, loss):
            mover.zero_grad()
            loss.backward()
            mover.step()

        means = [a.mean((2, 3)) for a in adaptors([ours[name] for name in stages])]
        channels = sum(F.mse_loss(a, theirs[name].mean((2, 3)).detach()) for a, name in zip(means, stages, strict=True))
        move(movers[0], critic_loss(wide_fake) + critic_loss(deep_fake))
        for mover, of in ((movers[1], wide_fake), (movers[2], deep_fake)):
            move(mover, (score(of) - 1).square().mean() + 50 * F.l1_loss(of, y))
        pixels = F.l1_loss(fake, wide_fake.detach()) + F.l1_loss(fake, deep_fake.detach())
        move(movers[3], 10 * pixels + 2 * channels)
    return student


def test_online_distillation_equals_its_plain_computation(task):
    config = short_config(4, precision="64-true", schedule=lambda step, steps: 1.0)
    student, wide, deep = (network.double() for network in networks())
    made = game(student, wide, deep, task, config, 10 * pixel_kd() + 2 * channel_kd())
    names = ("generator", "wide", "deep", "discriminator", "adaptors")
    plain = [copy.deepcopy(made.networks[name]).double() for name in names]
    batches = DoubleBatches(task.train, 3, 0, True)
    trained = fit(made, batches, config)
    expected = in_plain_torch(plain, batches, 4, config.rate(4e-4))
    for name, weight in trained.models["generator"].state_dict().items():
        # a bias before a norm has no gradient but rounding, which Adam enlarges
        torch.testing.assert_close(weight, expected.state_dict()[name], rtol=1e-9, atol=1e-8)


def test_the_student_sees_the_teachers_alone(task):
    made = game(*networks(), task, short_config())
    batch = Batches(task.train, 3, 0, True).at(0)
    other = dataclasses.replace(batch, target=-batch.target)
    objective = made.groups[-1].objective
    values = [objective(OnlineOutputs(made.networks, each, {}))[0] for each in (batch, other)]
    torch.testing.assert_close(*values, rtol=0, atol=0)
    total, _ = objective(outputs := OnlineOutputs(made.networks, batch, {}))
    total.backward()
    assert all(p.grad is None for name in ("wide", "deep", "discriminator") for p in made.networks[name].parameters())
    assert all(p.grad is not None for p in made.networks["generator"].parameters())
    assert preview(outputs).size[0] > 0


def test_pictures_count_for_every_teacher_and_features_for_the_wide_one(task):
    objective = ssim_kd() + kernel_alignment_kd()
    made = game(*networks(), task, short_config(), objective)
    outputs = OnlineOutputs(made.networks, Batches(task.train, 3, 0, True).at(0), {})
    _, found = made.groups[-1].objective(outputs)
    alike = [ssim(outputs.fake, turn.fake).mean() for turn in (outputs.wide, outputs.deep)]
    torch.testing.assert_close(found["ssim_kd"], 2 - sum(alike))
    torch.testing.assert_close(found["kernel_alignment_kd"], kernel_alignment_kd()(outputs.lessons[0])[0])
    assert outputs.lessons[1].teacher_features == []


def test_all_of_them_learn(task):
    trained = train(task, 20)
    for name in ("wide_reconstruction", "deep_reconstruction", "ssim_kd"):
        found = trained.history[name]
        assert found.iloc[-3:].mean() < found.iloc[:3].mean(), name
    assert set(trained.averaged) == {"generator"}
    assert {"generator", "wide", "deep", "discriminator", "adaptors"} <= set(trained.models)


def test_it_resumes_bit_for_bit(task, tmp_path):
    def whole(callbacks=()):
        return train(task, 4, callbacks)

    assert_same_weights(whole(), in_two_parts(whole, tmp_path / "training.ckpt", 2))


def test_one_teacher_is_enough(task):
    student, wide, _ = networks()
    trained = distil_online(student, wide, task, short_config(2), objective=pixel_kd() + feature_kd())
    assert "deep" not in trained.models


def test_a_student_that_plays_a_game_and_a_task_without_pairs_are_refused(task):
    with refused("plays a game, and an online student has no discriminator"):
        train(task, objective=gan() + reconstruction())
    with refused("has no pairs for the teachers to learn from"):
        train(noise_task(paired=False))


def test_experiments_train_online_and_in_the_space_of_a_shipped_discriminator(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    small = {"channels": "8_8_8_8_8_8_8_8", "blocks": 3}
    taught = {"teacher": "edges2shoes/teacher", "network": small}
    terms = {"cooperated_kd": {"weight": 3}, "kernel_alignment_kd": {"weight": 5}}
    for kind, about in (
        ("online", {"network": small, "wide": small, "terms": {"pixel_kd": {"weight": 1}}}),
        ("online", {"network": small, "wide": small, "deep": {**small, "blocks": 4}}),
        ("distilled", {**taught, "terms": terms}),
    ):
        spec = catalogue.whole({**about, "steps": 1, "batch_size": 2, "precision": "32-true"}, "edges2shoes")
        run = Experiment(name="a", kind=kind, task="edges2shoes", spec=spec, seed=0)
        assert run["network"]["in_channels"] == 1
        trained = Job(run, changes={"progress": False}).train()
        assert trained.step == 1
        assert {*run["terms"]} <= {*trained.history.columns}
