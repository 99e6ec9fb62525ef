"""CycleGAN: the image pool, the terms of its objective, and the whole game against one written out in plain PyTorch."""

import numpy as np
import pytest
import torch

from factories import DoubleBatches, assert_same_weights, in_two_parts, short_config, squares_task
from gancomp_core.data import Batches, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.measure import perceptual_distance
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator
from gancomp_core.train import Checkpoint, TrainConfig, critic, cyclegan, fit, gan, train_pix2pix
from gancomp_core.train.config import linear_decay
from gancomp_core.train.cyclegan import (
    GENERATORS,
    ImagePool,
    cycle,
    identity,
    objective_of,
    perceptual_return,
    preview,
    train_cyclegan,
)

SMALL = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1, in_channels=1, out_channels=1)


def trained(task=None, steps=3, batch_size=2, lr=None, **options):
    return train_cyclegan(task or squares_task(), SMALL, short_config(steps, batch_size, lr=lr), **options)


def outputs_of(task, objective=None):
    game = cyclegan.game(task, SMALL, short_config(), objective, pool=4)
    batch = Batches(task.train, 3, 0, paired=False).at(0)
    return game.networks, batch, game.outputs(game.networks, batch)


# --- the image pool


def numbered(first, count):
    """Fakes that say who they are: [count, 1, 2, 2] full of first, first + 1 and so on."""
    return torch.arange(first, first + count).float()[:, None, None, None].expand(-1, 1, 2, 2)


def names(fakes):
    return fakes[:, 0, 0, 0].tolist()


def held(pool):
    return names(torch.stack(pool.held))


def test_a_pool_that_is_not_full_keeps_what_it_shows():
    pool = ImagePool(5)
    assert names(pool(numbered(1, 3))) == [1, 2, 3]
    assert names(pool(numbered(4, 2))) == [4, 5]
    assert held(pool) == [1, 2, 3, 4, 5]


def test_a_full_pool_shows_an_older_fake_half_of_the_time_and_every_fake_at_most_once():
    pool, shown = ImagePool(10), []
    for first in range(0, 4000, 4):
        shown += names(pool(numbered(first, 4)))
    older = [place - name for place, name in enumerate(shown) if name != place]
    assert min(older) > 0  # no fake is shown before it was made
    assert 0.46 < len(older) / (len(shown) - 10) < 0.54
    # exchanged, not copied: the ten that fill the pool are shown at once, any other is shown or still kept
    assert sorted(shown[10:] + held(pool)) == list(range(4000))


def test_a_pool_can_exchange_fakes_of_the_same_batch():
    pool = ImagePool(1)
    shown = names(pool(numbered(0, 64)))
    assert shown != list(range(64))
    assert sorted(shown[1:] + held(pool)) == list(range(64))


def test_pools_see_no_gradient_and_leave_the_fakes_as_they_were():
    pool = ImagePool(2)
    fakes = numbered(1, 8).clone().requires_grad_()
    shown = pool(fakes)
    assert not shown.requires_grad
    assert not any(fake.requires_grad for fake in pool.held)
    assert names(fakes) == list(range(1, 9))
    shown.zero_()
    assert names(fakes) == list(range(1, 9))


def test_a_pool_goes_on_from_its_state_with_the_same_random_numbers():
    first, second = ImagePool(4), ImagePool(4)
    first(numbered(0, 6))
    second.load_state_dict({"held": [fake.clone() for fake in first.state_dict()["held"]]})
    shown = []
    for pool in (first, second):
        torch.manual_seed(7)
        shown.append([names(pool(numbered(start, 3))) for start in (10, 20, 30)])
    assert shown[0] == shown[1]
    assert held(first) == held(second)


def test_what_a_pool_shows_depends_on_the_seed():
    def history(seed):
        torch.manual_seed(seed)
        return names(ImagePool(4)(numbered(0, 100)))

    assert history(1) == history(1)
    assert history(1) != history(2)


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_pool_is_refused(size):
    with pytest.raises(GancompError, match=f"pictures in an image pool is {size}; it must be a whole number from 1"):
        ImagePool(size)


# --- the terms


def test_terms_equal_their_plain_computation():
    models, batch, outputs = outputs_of(squares_task())
    there, back = (models[name] for name in GENERATORS)
    x, y = batch.source, batch.target
    with torch.no_grad():
        total, parts = objective_of(squares_task())(outputs)
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
    objective = objective_of(task) + 10 * perceptual_return()
    _, batch, outputs = outputs_of(task, objective)
    there, back = outputs.directions
    pairs = [(there.cycled, batch.source), (back.cycled, batch.target)]
    if channels == (3, 3):
        pairs += [(there.same, batch.target), (back.same, batch.source)]
    expected = torch.stack([perceptual_distance(*pair).mean() for pair in pairs]).mean()
    torch.testing.assert_close(perceptual_return()(outputs)[0], expected)
    assert str(objective).endswith(" + 10 * perceptual")


def test_the_objective_prints_as_published():
    text = "forward_gan_lsgan + backward_gan_lsgan + 10 * cycle + 5 * identity"
    assert str(objective_of(squares_task())) == text
    assert str(objective_of(squares_task((1, 3)))) == text.removesuffix(" + 5 * identity")
    assert str((3 * gan()).at("backward", "backward_")) == "3 * backward_gan_lsgan"


def test_sides_of_different_channels_have_no_identity_and_networks_that_fit():
    task = squares_task((1, 3))
    models, batch, outputs = outputs_of(task)
    assert outputs.forward.same is None
    assert outputs.backward.same is None
    assert outputs.forward.fake.shape == outputs.backward.cycled.shape == (3, 3, 16, 16)
    assert outputs.backward.fake.shape == outputs.forward.cycled.shape == (3, 1, 16, 16)
    assert preview(outputs).size == (3 * 16 * 2, 6 * 16 * 2)
    history = trained(task).history
    assert "identity" not in history
    assert history.notna().all(axis=None)


def test_an_identity_term_for_sides_of_different_channels_is_refused():
    with pytest.raises(GancompError, match="'identity' needs sides with the same number of channels.*leave the term"):
        trained(squares_task((1, 3)), objective=10 * cycle() + identity())


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_each_critic_learns_from_its_own_direction_alone(direction):
    models, _, outputs = outputs_of(squares_task())
    critic().at(direction)(outputs)[0].backward()
    moved = {name for name, model in models.items() if any(p.grad is not None for p in model.parameters())}
    assert moved == {"discriminator" if direction == "forward" else "backward_discriminator"}


def test_critics_are_shown_fakes_by_way_of_the_pool_and_generators_scored_on_new_ones():
    models, batch, outputs = outputs_of(squares_task())
    outputs.forward.pool.held = [torch.full((1, 16, 16), gray) for gray in (-1.0, -1 / 3, 1 / 3, 1.0)]
    torch.manual_seed(0)
    exchanged = torch.full((20,), 0.0)
    d = models["discriminator"]
    with torch.no_grad():
        fresh = d(outputs.forward.fake)
        torch.testing.assert_close(outputs.forward.discriminate(outputs.forward.fake), fresh)
        for i in range(20):
            real, fake = outputs.forward.discriminate_both()
            torch.testing.assert_close(real, d(batch.target), rtol=0, atol=1e-5)
            exchanged[i] = ((fake - fresh).abs().amax((1, 2, 3)) > 1e-4).float().mean()
    assert 0 < exchanged.mean() < 1


# --- the game


def plain_cyclegan(models, task, config, pool_size):
    """CycleGAN as one would write it without gancomp, pools as lists: the losses of every step, and the pools."""
    g, f, dy, dx = (models[n] for n in ("generator", "backward_generator", "discriminator", "backward_discriminator"))
    optimizers = [
        torch.optim.Adam(parameters, config.lr, (0.5, 0.999))
        for parameters in (dy.parameters(), dx.parameters(), [*g.parameters(), *f.parameters()])
    ]
    pools, losses, batches = ([], []), [], DoubleBatches(task.train, config.batch_size, config.seed, paired=False)

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

    for step in range(config.steps):
        torch.manual_seed(config.seed * 1_000_003 + step)
        x, y = batches.at(step).source, batches.at(step).target
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = config.lr * linear_decay(step, config.steps)
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
    task, config = squares_task(), short_config(4, 3, seed=2, lr=1e-3)
    game, other, begun = (cyclegan.game(task, SMALL, config, pool=4) for _ in range(3))
    ours, theirs = ({name: network.double() for name, network in each.networks.items()} for each in (game, other))
    history = fit(game, DoubleBatches(task.train, 3, 2, False), config).history
    torch.manual_seed(0)
    losses, pools = plain_cyclegan(theirs, task, config, pool_size=4)
    expected = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(history.values), expected, rtol=0, atol=1e-9)
    # Biases before a norm do nothing; Adam turns the rounding noise of their gradients into steps of about 1e-9.
    for name in (*GENERATORS, "discriminator", "backward_discriminator"):
        for (key, mine), plain in zip(ours[name].named_parameters(), theirs[name].parameters(), strict=True):
            torch.testing.assert_close(mine, plain, rtol=0, atol=1e-7, msg=f"{name}.{key}")
        pairs = zip(ours[name].parameters(), begun.networks[name].parameters(), strict=True)
        assert max((mine - first).abs().max() for mine, first in pairs) > 1e-3
    for pool, plain in zip(game.callbacks, pools, strict=True):
        torch.testing.assert_close(torch.stack(pool.held), torch.stack(plain), rtol=0, atol=1e-9)


def test_both_generators_are_averaged_and_come_back_ready_to_use():
    found = trained()
    assert set(found.averaged) == set(GENERATORS)
    assert all(isinstance(network, ResnetGenerator) and not network.training for network in found.averaged.values())
    assert found.objective == str(objective_of(squares_task()))


def test_the_networks_start_out_different_and_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = cyclegan.new_networks(squares_task(), SMALL, 3)
    torch.manual_seed(2)
    second = cyclegan.new_networks(squares_task(), SMALL, 3)
    weights = [m.state_dict() for m in first.values()]
    assert all(torch.equal(a[k], b.state_dict()[k]) for a, b in zip(weights, second.values(), strict=True) for k in a)
    stems = [next(first[name].parameters()) for name in GENERATORS]
    assert not torch.equal(*stems)


def test_pairs_of_a_paired_task_are_ignored():
    assert trained(squares_task(paired=True)).history.equals(trained(squares_task(paired=False)).history)


def test_a_cyclegan_learns_the_way_there_and_back():
    history = trained(steps=60, batch_size=4, lr=2e-3).history
    assert history.cycle.iloc[-5:].mean() < 0.4 * history.cycle.iloc[:3].mean()
    assert history.identity.iloc[-5:].mean() < 0.4 * history.identity.iloc[:3].mean()


def test_one_picture_a_step_of_the_smallest_size_is_enough():
    assert trained(steps=1, batch_size=1).history.notna().all(axis=None)


def test_a_training_is_the_same_in_parts_and_leaves_the_global_random_state_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    straight = trained(steps=4, pool=3)
    assert torch.equal(torch.rand(1), expected)
    resumed = in_two_parts(lambda callbacks: trained(steps=4, pool=3, callbacks=callbacks), tmp_path / "a.ckpt", 3)
    assert_same_weights(straight, resumed)


def test_a_checkpoint_with_another_pool_is_refused(tmp_path):
    around = [Checkpoint(tmp_path / "a.ckpt")]
    trained(pool=3, callbacks=around)
    with pytest.raises(GancompError, match="another training: its outputs"):
        trained(pool=4, callbacks=around)


@pytest.mark.parametrize(
    "changes", [{"palette": ((0, 0, 0),)}, {"scale": 4}, {"size": 8}], ids=["semantic", "enlarging", "too small"]
)
def test_tasks_that_a_cyclegan_cannot_learn_are_named_with_one_that_it_can(changes):
    with pytest.raises(GancompError) as caught:
        trained(squares_task(**changes))
    said = str(caught.value)
    assert "'tiny'" in said
    assert "at least 16 pixels" in said
    assert "choose an unpaired task such as 'edges2shoes_unpaired'" in said
    assert said.count(". ") == 0


def test_pix2pix_sends_an_unpaired_task_elsewhere():
    with pytest.raises(
        GancompError, match="needs a paired task.*'tiny' is unpaired with 16 pixels.*choose another task"
    ):
        train_pix2pix(squares_task(), SMALL, TrainConfig(1))


def test_the_preview_shows_both_ways_there_and_back():
    models, batch, outputs = outputs_of(squares_task())
    picture = preview(outputs)
    assert picture.size == (3 * 16 * 2, 6 * 16 * 2)
    first = torch.from_numpy(np.array(picture))[:32:2, :32:2]
    assert torch.equal(first, to_uint8(batch.source)[0, 0])
