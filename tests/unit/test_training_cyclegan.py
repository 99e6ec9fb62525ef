"""CycleGAN: the image pool, the terms of its objective, and the whole game against one written out in plain PyTorch."""

import numpy as np
import pytest
import torch

from factories import DoubleBatches, short_config, squares_task
from gancomp_core.data import Batches, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.measure import perceptual_distance
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator
from gancomp_core.train import Settings, critic, gan, train, train_pix2pix
from gancomp_core.train.cyclegan import (
    GENERATORS,
    ImagePool,
    UnpairedScene,
    along,
    build,
    cycle,
    default_objective,
    identity,
    perceptual_return,
    players,
    preview,
    train_cyclegan,
)
from gancomp_core.train.loop import linear_decay
from gancomp_core.train.objectives import companions

SMALL = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1, in_channels=1, out_channels=1)


def fit(task=None, steps=3, batch_size=2, **options):
    config = short_config(steps, batch_size)
    return train_cyclegan(task or squares_task(), SMALL, config, critic_width=8, progress=False, **options)


def scene_of(task, seed=0):
    models = build(task, SMALL, seed, critic_width=8, pool=4)
    batch = Batches(task.train, 3, seed, paired=False).at(0)
    return models, batch, UnpairedScene(models, batch)


# --- the image pool


def numbered(first, count):
    """Fakes that say who they are: [count, 1, 2, 2] full of first, first + 1 and so on."""
    return torch.arange(first, first + count).float()[:, None, None, None].expand(-1, 1, 2, 2)


def names(fakes):
    return fakes[:, 0, 0, 0].tolist()


def test_a_pool_that_is_not_full_keeps_what_it_shows():
    pool = ImagePool(5, 1, 2)
    assert names(pool(numbered(1, 3))) == [1, 2, 3]
    assert names(pool(numbered(4, 2))) == [4, 5]
    assert names(pool.kept) == [1, 2, 3, 4, 5]


def test_a_full_pool_shows_an_older_fake_half_of_the_time_and_every_fake_at_most_once():
    pool, shown = ImagePool(10, 1, 2), []
    for first in range(0, 4000, 4):
        shown += names(pool(numbered(first, 4)))
    older = [place - name for place, name in enumerate(shown) if name != place]
    assert min(older) > 0  # no fake is shown before it was made
    assert 0.46 < len(older) / (len(shown) - 10) < 0.54
    # exchanged, not copied: the ten that fill the pool are shown at once, any other is shown or still kept
    assert sorted(shown[10:] + names(pool.kept)) == list(range(4000))


def test_a_pool_can_exchange_fakes_of_the_same_batch():
    pool = ImagePool(1, 1, 2)
    shown = names(pool(numbered(0, 64)))
    assert shown != list(range(64))
    assert sorted(shown[1:] + names(pool.kept)) == list(range(64))


def test_pools_see_no_gradient_and_leave_the_fakes_as_they_were():
    pool = ImagePool(2, 1, 2)
    fakes = numbered(1, 8).clone().requires_grad_()
    shown = pool(fakes)
    assert not shown.requires_grad
    assert not pool.kept.requires_grad
    assert names(fakes) == list(range(1, 9))
    shown.zero_()
    assert names(fakes) == list(range(1, 9))
    assert list(pool.parameters()) == []


def test_a_pool_goes_on_from_its_state_with_the_same_random_numbers():
    first, second = ImagePool(4, 1, 2), ImagePool(4, 1, 2)
    first(numbered(0, 6))
    assert set(first.state_dict()) == {"kept", "filled"}
    second.load_state_dict(first.state_dict())
    for pool in (first, second):
        torch.manual_seed(7)
        pool.shown = [names(pool(numbered(start, 3))) for start in (10, 20, 30)]
    assert first.shown == second.shown
    assert names(first.kept) == names(second.kept)


def test_what_a_pool_shows_depends_on_the_seed():
    def history(seed):
        torch.manual_seed(seed)
        return names(ImagePool(4, 1, 2)(numbered(0, 100)))

    assert history(1) == history(1)
    assert history(1) != history(2)


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_pool_is_refused(size):
    with pytest.raises(GancompError, match=f"pictures in an image pool is {size}; it must be a whole number from 1"):
        ImagePool(size, 1, 2)


# --- the terms


def test_terms_equal_their_plain_computation():
    models, batch, scene = scene_of(squares_task())
    there, back = (models[name] for name in GENERATORS)
    x, y = batch.source, batch.target
    with torch.no_grad():
        total, parts = default_objective(squares_task())(scene)
        expected = {
            "forward_gan_lsgan": (models["discriminator"](there(x)) - 1).square().mean(),
            "backward_gan_lsgan": (models["backward_discriminator"](back(y)) - 1).square().mean(),
            "cycle": (back(there(x)) - x).abs().mean() + (there(back(y)) - y).abs().mean(),
            "identity": (there(y) - y).abs().mean() + (back(x) - x).abs().mean(),
        }
        assert list(parts) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-5)
        weighted = sum(w * v for w, v in zip((1, 1, 10, 5), expected.values(), strict=True))
        torch.testing.assert_close(total, weighted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [(3, 3), (1, 3)])
def test_the_perceptual_term_compares_what_returns_with_what_it_was(channels):
    task = squares_task(channels)
    models, batch, _ = scene_of(task)
    models |= companions(default_objective(task, perceptual_weight=10))
    scene = UnpairedScene(models, batch)
    there, back = scene.directions
    pairs = [(there.cycled, batch.source), (back.cycled, batch.target)]
    if channels == (3, 3):
        pairs += [(there.same, batch.target), (back.same, batch.source)]
    expected = torch.stack([perceptual_distance(*pair).mean() for pair in pairs]).mean()
    torch.testing.assert_close(perceptual_return()(scene)[0], expected)
    assert str(default_objective(task, perceptual_weight=10)).endswith(" + 10 * perceptual")


def test_the_objective_prints_as_published():
    text = "forward_gan_lsgan + backward_gan_lsgan + 10 * cycle + 5 * identity"
    assert str(default_objective(squares_task())) == text
    assert str(default_objective(squares_task((1, 3)))) == text.removesuffix(" + 5 * identity")
    assert str(along("backward", 3 * gan())) == "3 * backward_gan_lsgan"


def test_sides_of_different_channels_have_no_identity_and_networks_that_fit():
    task = squares_task((1, 3))
    models, batch, scene = scene_of(task)
    assert scene.forward.same is None
    assert scene.backward.same is None
    assert scene.forward.fake.shape == scene.backward.cycled.shape == (3, 3, 16, 16)
    assert scene.backward.fake.shape == scene.forward.cycled.shape == (3, 1, 16, 16)
    assert preview(scene).size == (3 * 16 * 2, 6 * 16 * 2)
    history = fit(task).history
    assert "identity" not in history
    assert history.notna().all(axis=None)


def test_an_identity_term_for_sides_of_different_channels_is_refused():
    with pytest.raises(GancompError, match="'identity' needs sides with the same number of channels.*leave the term"):
        fit(squares_task((1, 3)), objective=10 * cycle() + identity())


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_each_critic_learns_from_its_own_direction_alone(direction):
    models, _, scene = scene_of(squares_task())
    along(direction, critic())(scene)[0].backward()
    moved = {name for name, model in models.items() if any(p.grad is not None for p in model.parameters())}
    assert moved == {"discriminator" if direction == "forward" else "backward_discriminator"}


def test_critics_are_shown_fakes_by_way_of_the_pool_and_generators_judged_on_fresh_ones():
    models, batch, scene = scene_of(squares_task())
    models["pool"].kept.copy_(torch.linspace(-1, 1, 4)[:, None, None, None].expand(-1, 1, 16, 16))
    models["pool"].filled.fill_(4)
    torch.manual_seed(0)
    exchanged = torch.full((20,), 0.0)
    d = models["discriminator"]
    with torch.no_grad():
        fresh = d(scene.forward.fake)
        torch.testing.assert_close(scene.forward.judge(scene.forward.fake), fresh)
        for i in range(20):
            real, fake = scene.forward.judge_both()
            torch.testing.assert_close(real, d(batch.target), rtol=0, atol=1e-5)
            exchanged[i] = ((fake - fresh).abs().amax((1, 2, 3)) > 1e-4).float().mean()
    assert 0 < exchanged.mean() < 1


# --- the game


def plain_cyclegan(models, task, settings, pool_size, lr):
    """CycleGAN as one would write it without gancomp, pools as lists: the losses of every step, and the pools."""
    g, f, dy, dx = (models[n] for n in ("generator", "backward_generator", "discriminator", "backward_discriminator"))
    optimizers = [
        torch.optim.Adam(parameters, lr, (0.5, 0.999))
        for parameters in (dy.parameters(), dx.parameters(), [*g.parameters(), *f.parameters()])
    ]
    pools, losses, batches = ([], []), [], DoubleBatches(task.train, settings.batch_size, settings.seed, paired=False)

    def from_pool(pool, fakes):
        shown = []
        for fake in fakes.detach():
            if len(pool) < pool_size:
                pool.append(fake)
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(pool_size, ()))
                fake, pool[place] = pool[place], fake
            shown.append(fake)
        return torch.stack(shown)

    for step in range(settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step)
        x, y = batches.at(step).source, batches.at(step).target
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = lr * linear_decay(step, settings.steps)
        fake_y, fake_x = g(x), f(y)
        critics = []
        for d, real, fake, pool, optimizer in (
            (dy, y, fake_y, pools[0], optimizers[0]),
            (dx, x, fake_x, pools[1], optimizers[1]),
        ):
            loss = 0.5 * ((d(real) - 1) ** 2).mean() + 0.5 * (d(from_pool(pool, fake)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            critics.append(loss)
        games = [((dy(fake_y) - 1) ** 2).mean(), ((dx(fake_x) - 1) ** 2).mean()]
        cycles = (f(fake_y) - x).abs().mean() + (g(fake_x) - y).abs().mean()
        same = (g(y) - y).abs().mean() + (f(x) - x).abs().mean()
        optimizers[2].zero_grad()
        (games[0] + games[1] + 10 * cycles + 5 * same).backward()
        optimizers[2].step()
        losses.append([step, *(loss.item() for loss in (*critics, *games, cycles, same))])
    return losses, pools


def test_training_equals_a_cyclegan_written_out_in_plain_pytorch():
    task, settings = squares_task(), Settings(4, batch_size=3, seed=2, precision="32-true")
    ours, theirs = ({n: m.double() for n, m in build(task, SMALL, 2, 8, pool=4).items()} for _ in range(2))
    trained = train(
        ours, UnpairedScene, players(default_objective(task), 1e-3), DoubleBatches(task.train, 3, 2, False), settings,
        averaged=GENERATORS, progress=False,
    )  # fmt: skip
    torch.manual_seed(0)
    losses, pools = plain_cyclegan(theirs, task, settings, pool_size=4, lr=1e-3)
    expected = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(trained.history.values), expected, rtol=0, atol=1e-9)
    fresh = build(task, SMALL, 2, 8)
    # Biases before a norm do nothing; Adam turns the rounding noise of their gradients into steps of about 1e-9.
    for name in (*GENERATORS, "discriminator", "backward_discriminator"):
        for (key, mine), plain in zip(ours[name].named_parameters(), theirs[name].parameters(), strict=True):
            torch.testing.assert_close(mine, plain, rtol=0, atol=1e-7, msg=f"{name}.{key}")
        pairs = zip(ours[name].parameters(), fresh[name].parameters(), strict=True)
        assert max((mine - first).abs().max() for mine, first in pairs) > 1e-3
    for name, plain in zip(("pool", "backward_pool"), pools, strict=True):
        torch.testing.assert_close(ours[name].kept, torch.stack(plain), rtol=0, atol=1e-9)


def test_both_generators_are_averaged_and_come_back_ready_to_use():
    trained = fit()
    assert set(trained.averaged) == set(GENERATORS)
    assert all(isinstance(network, ResnetGenerator) and not network.training for network in trained.averaged.values())
    assert trained.objective == str(default_objective(squares_task()))


def test_the_networks_start_out_different_and_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build(squares_task(), SMALL, 3)
    torch.manual_seed(2)
    second = build(squares_task(), SMALL, 3)
    weights = [m.state_dict() for m in first.values()]
    assert all(torch.equal(a[k], b.state_dict()[k]) for a, b in zip(weights, second.values(), strict=True) for k in a)
    stems = [next(first[name].parameters()) for name in GENERATORS]
    assert not torch.equal(*stems)


def test_pairs_of_a_paired_task_are_ignored():
    assert fit(squares_task(paired=True)).history.equals(fit(squares_task(paired=False)).history)


def test_a_cyclegan_learns_the_way_there_and_back():
    history = fit(steps=60, batch_size=4, lr=2e-3).history
    assert history.cycle.iloc[-5:].mean() < 0.4 * history.cycle.iloc[:3].mean()
    assert history.identity.iloc[-5:].mean() < 0.4 * history.identity.iloc[:3].mean()


def test_one_picture_a_step_of_the_smallest_size_is_enough():
    assert fit(steps=1, batch_size=1).history.notna().all(axis=None)


def test_a_training_is_the_same_in_parts_and_leaves_the_global_random_state_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    straight = fit(steps=4, pool=3)
    assert torch.equal(torch.rand(1), expected)
    assert fit(steps=4, pool=3, checkpoint=tmp_path / "a.ckpt", until=3).step == 3
    torch.manual_seed(6)
    resumed = fit(steps=4, pool=3, checkpoint=tmp_path / "a.ckpt")
    for name, model in straight.models.items():
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, resumed.models[name].state_dict()[key]), (name, key)


def test_a_checkpoint_with_another_pool_is_refused(tmp_path):
    fit(pool=3, checkpoint=tmp_path / "a.ckpt")
    with pytest.raises(GancompError, match="another training"):
        fit(pool=4, checkpoint=tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    "changes", [{"palette": ((0, 0, 0),)}, {"scale": 4}, {"size": 8}], ids=["semantic", "enlarging", "too small"]
)
def test_tasks_that_a_cyclegan_cannot_learn_are_named_with_one_that_it_can(changes):
    with pytest.raises(GancompError) as caught:
        fit(squares_task(**changes))
    said = str(caught.value)
    assert "'tiny'" in said
    assert "at least 16 pixels" in said
    assert "choose an unpaired task such as 'edges2shoes_unpaired'" in said
    assert said.count(". ") == 0


def test_pix2pix_sends_an_unpaired_task_elsewhere():
    with pytest.raises(
        GancompError, match="needs a paired task.*'tiny' is unpaired with 16 pixels.*choose another task"
    ):
        train_pix2pix(squares_task(), SMALL, Settings(1))


def test_the_preview_shows_both_ways_there_and_back():
    models, batch, scene = scene_of(squares_task())
    picture = preview(scene)
    assert picture.size == (3 * 16 * 2, 6 * 16 * 2)
    first = torch.from_numpy(np.array(picture))[:32:2, :32:2]
    assert torch.equal(first, to_uint8(batch.source)[0, 0])
