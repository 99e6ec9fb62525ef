import dataclasses
import math
import pickle
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from factories import StopAfter, Stopped, assert_same_weights, in_two_parts, short_config
from gancomp_core.data import Batch, Batches, PictureSet, load_task
from gancomp_core.errors import GancompError, TrainingDiverged
from gancomp_core.files import REPOSITORY
from gancomp_core.nets import ChannelConfig, PatchDiscriminator, ResnetArchitecture, ResnetGenerator, initialize
from gancomp_core.train import (
    HINGE,
    Callback,
    Checkpoint,
    Evaluate,
    Game,
    OptimizerGroup,
    TrainConfig,
    constant_rate,
    critic,
    fit,
    gan,
    outputs,
    pix2pix,
    reconstruction,
    term,
    train_pix2pix,
)
from gancomp_core.train.checkpoints import load_state, load_weights, read_about, save_state, save_weights
from gancomp_core.train.config import linear_decay
from gancomp_core.train.outputs import PairedOutputs

SMALL = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1, in_channels=1, out_channels=1)


class Outputs:
    """The smallest step: a linear map, and its input as target."""

    def __init__(self, networks, batch):
        self.networks, self.fake, self.target = networks, networks["generator"](batch.source), batch.target


def pictures(count=8):
    gray = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return PictureSet(gray, gray)


def a_game(objective=None, lr=0.05, **changes):
    torch.manual_seed(0)
    group = OptimizerGroup("generator", ("generator",), objective or reconstruction(), lr, (0.9, 0.999))
    values = {"networks": {"generator": nn.Conv2d(1, 1, 1)}, "outputs": Outputs, "groups": (group,)}
    return Game(**values | changes)


def trained(game=None, *callbacks, steps=20, pairs=None, **changes):
    config = short_config(steps, 4, **changes)
    return fit(game or a_game(), Batches(pairs or pictures(), 4, config.seed, paired=True), config, callbacks)


@term()
def one(outputs):
    return torch.tensor(1.0)


@term()
def given(outputs):
    return torch.tensor(outputs)


def test_an_objective_is_the_weighted_sum_of_its_terms_and_prints_like_one():
    total, parts = (one() + 3 * given())(2.0)
    assert total.item() == 7.0
    assert {name: value.item() for name, value in parts.items()} == {"one": 1.0, "given": 2.0}
    assert str(gan() + 50 * reconstruction()) == "gan_lsgan + 50 * reconstruction"
    assert str(2 * (gan() + 5 * reconstruction())) == "2 * gan_lsgan + 10 * reconstruction"


def test_objectives_can_be_scaled_from_either_side():
    assert str(gan() * 2) == str(2 * gan()) == "2 * gan_lsgan"


def test_two_terms_of_one_name_are_refused_because_one_would_hide_the_other():
    with pytest.raises(GancompError, match="two terms of one name"):
        gan() + 10 * gan()


@pytest.mark.parametrize("most", [8 * 24 * 24 - 1, 8 * 24 * 24])
def test_real_and_fake_pictures_are_judged_alike_together_and_apart(most, monkeypatch):
    monkeypatch.setattr(outputs, "TOGETHER", most)
    critic, seen = initialize(PatchDiscriminator(1, 8, 2), 0), []
    critic.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    real, fake = torch.rand(2, 8, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    scores = outputs.scores_of_both(critic, real, fake)
    assert seen == ([16] if most == 8 * 24 * 24 else [8, 8])
    for found, pictures in zip(scores, (real, fake), strict=True):
        torch.testing.assert_close(found, critic(pictures), rtol=1e-4, atol=1e-5)


def test_two_groups_with_a_term_of_one_name_are_refused():
    with pytest.raises(GancompError, match="Two groups"):
        a_game(groups=[OptimizerGroup(name, ("generator",), reconstruction(), 0.1) for name in ("one", "other")])


def test_batches_and_configuration_must_agree():
    with pytest.raises(GancompError, match="make both from the same configuration"):
        fit(a_game(), Batches(pictures(), 2, 0, True), TrainConfig(2))


def test_weights_that_the_user_froze_stay_frozen():
    task, config = load_task("edges2shoes"), short_config(3, 2)
    game = pix2pix.game(task, SMALL, config, gan())
    game.networks["generator"].stages.stem.requires_grad_(False)
    before = game.networks["generator"].stages.stem[0].weight.clone()
    assert torch.equal(fit(game, task, config).models["generator"].stages.stem[0].weight, before)


def test_a_training_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_pix2pix(load_task("edges2shoes"), SMALL, short_config(2, 2))
    assert torch.equal(torch.rand(1), expected)


def test_pix2pix_refuses_unpaired_tasks_and_tiny_pictures():
    task = load_task("edges2shoes")
    for wrong in (dataclasses.replace(task, paired=False), dataclasses.replace(task, size=8)):
        with pytest.raises(GancompError, match="paired task with pictures of one size, at least 16"):
            train_pix2pix(wrong, SMALL, TrainConfig(1))


def test_a_script_without_a_log_sees_the_progress_on_its_terminal():
    code = (
        "import sys; sys.path[:0] = ['tests', 'tests/unit']; from test_training import *; "
        "train_pix2pix(load_task('edges2shoes'), SMALL, TrainConfig(2, 2))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert "step 2 of 2" in done.stderr, done.stderr


def test_training_lowers_the_loss():
    history = trained(steps=200).history
    assert history.reconstruction.iloc[-1] < 0.2 * history.reconstruction.iloc[0]


def test_learning_rate_stays_then_falls_to_zero():
    assert [linear_decay(step, 100) for step in (0, 50, 75)] == [1.0, 1.0, 0.5]
    assert linear_decay(99, 100) == pytest.approx(0.02)


def test_loop_equals_the_same_game_written_out_in_plain_pytorch():
    task, config = load_task("edges2shoes"), short_config(5, 4, seed=1, lr=1e-3)
    torch.set_num_threads(1)
    ours = train_pix2pix(task, SMALL, config)

    models = pix2pix.game(task, SMALL, config).networks
    g, d = models["generator"], models["discriminator"]
    adam = {n: torch.optim.Adam(m.parameters(), 1e-3, (0.5, 0.999), fused=True) for n, m in models.items()}
    batches = Batches(task.train, 4, 1, paired=True)
    for step in range(5):
        for optimizer in adam.values():
            optimizer.param_groups[0]["lr"] = 1e-3 * min(1, 2 - 2 * step / 5)
        x, y = batches.at(step).source, batches.at(step).target
        fake = g(x)
        real_score, fake_score = d(torch.cat([x, y], 1)), d(torch.cat([x, fake.detach()], 1))
        adam["discriminator"].zero_grad()
        (0.5 * ((real_score - 1) ** 2).mean() + 0.5 * (fake_score**2).mean()).backward()
        adam["discriminator"].step()
        adam["generator"].zero_grad()
        (((d(torch.cat([x, fake], 1)) - 1) ** 2).mean() + 50 * (fake - y).abs().mean()).backward()
        adam["generator"].step()
    # Functions are compared, not weights: Adam turns the rounding noise of biases before a norm, which do nothing, into
    # steps.
    with torch.no_grad():
        x = batches.at(9).source
        torch.testing.assert_close(ours.models["generator"](x), g(x), rtol=0, atol=1e-3)
        pair = torch.cat([x, x], 1)
        torch.testing.assert_close(ours.models["discriminator"](pair), d(pair), rtol=0, atol=1e-3)
        assert (g(x) - pix2pix.game(task, SMALL, config).networks["generator"](x)).abs().max() > 0.1


def test_critic_learns_nothing_from_the_generators_turn_and_the_other_way_round():
    task = load_task("edges2shoes")
    models = pix2pix.game(task, SMALL, short_config()).networks
    critic()(PairedOutputs(models, task.train.batch(slice(0, 2))))[0].backward()
    assert all(p.grad is None for p in models["generator"].parameters())
    assert all(p.grad is not None for p in models["discriminator"].parameters())


def test_averaged_weights_lie_between_start_and_end():
    slow, at_once = trained(ema=0.9, steps=30), trained(ema=0.0)
    assert not torch.equal(slow.averaged["generator"].weight, slow.models["generator"].weight)
    assert at_once.averaged["generator"].weight.equal(at_once.models["generator"].weight)


class Noted(Callback):
    """The generator's weights before the first step and after each."""

    def begin(self, training):
        self.seen = [training.networks["generator"].weight.detach().clone()]

    def after_step(self, training):
        self.seen.append(training.networks["generator"].weight.detach().clone())


def test_averaged_weights_are_the_sum_over_all_steps_that_their_decay_says():
    noted = Noted()
    average = trained(None, noted, ema=0.6, steps=20).averaged["generator"].weight
    decays = [min(0.6, step / (9 + step)) for step in range(1, 21)]  # 0.1, 2 / 11, ..., 0.6 from step 14 on
    shares = [math.prod(decays), *((1 - decay) * math.prod(decays[step:]) for step, decay in enumerate(decays, 1))]
    assert sum(shares) == pytest.approx(1)
    expected = sum(share * weight for share, weight in zip(shares, noted.seen, strict=True))
    torch.testing.assert_close(average, expected)


class Exploding:
    """A term that is multiplied once, at the eighth step."""

    def __init__(self, factor):
        self.factor, self.calls = factor, 0

    def __call__(self, outputs):
        self.calls += 1
        return reconstruction()(outputs)[0] * (self.factor if self.calls == 8 else 1.0)

    def identity(self):
        return f"times {self.factor} at the eighth step"


def exploding(factor):
    function = Exploding(factor)

    @term("fragile")
    def fragile(outputs):
        return function(outputs)

    return fragile()


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_an_exploding_loss_stops_with_step_term_and_last_good_checkpoint(tmp_path, value):
    checkpoint = tmp_path / "training.ckpt"
    with pytest.raises(TrainingDiverged, match="step 7.*'fragile'.*training.ckpt") as caught:
        trained(a_game(exploding(value)), Checkpoint(checkpoint, seconds=0.0))
    assert (caught.value.step, caught.value.term, caught.value.checkpoint) == (7, "fragile", checkpoint)
    saved = load_state(checkpoint)
    assert saved["step"] == 7
    assert all(torch.isfinite(t).all() for t in saved["networks"]["generator"].values())


@pytest.mark.parametrize(("factor", "diverges"), [(1.0, False), (1e9, True)])
def test_a_large_loss_is_no_divergence_and_one_that_grows_out_of_proportion_is(factor, diverges):
    @term()
    def summed(outputs):
        return 1e7 * exploded(outputs)

    exploded = Exploding(factor)
    game = a_game(summed(), lr=1e-9)
    if diverges:
        with pytest.raises(TrainingDiverged, match="step 7.*'summed'"):
            trained(game)
    else:
        assert trained(game).history.summed.max() > 1e5


def test_losses_are_written_beside_the_checkpoint(tmp_path):
    found = trained(a_game(), Checkpoint(tmp_path / "training.ckpt"))
    assert list(pd.read_csv(tmp_path / "training.csv").step) == list(found.history.step)


@term()
def scaled(outputs, by=1.0, how=abs):
    return by * how(outputs.fake - outputs.target).mean()


class OtherOutputs(Outputs):
    pass


def frozen(seed):
    torch.manual_seed(seed)
    return {"generator": nn.Conv2d(1, 1, 1), "teacher": nn.Conv2d(1, 1, 1).requires_grad_(False)}


#: A training, another one, and what is said to differ.
OTHERS = {
    "learning rate": (a_game, {}, {"lr": 0.1}, "objective of generator is .*lr 0.05.* and here .*lr 0.1"),
    "weight": (a_game, {"objective": scaled()}, {"objective": 2 * scaled()}, "'scaled, .*'2 \\* scaled"),
    "argument": (a_game, {"objective": scaled(1.0)}, {"objective": scaled(2.0)}, "'scaled, .*scaled.by=2.0"),
    "function as argument": (a_game, {"objective": scaled()}, {"objective": scaled(how=torch.square)}, "objective"),
    "lambda as argument": (
        a_game, {"objective": scaled(how=lambda x: 2 * abs(x))}, {"objective": scaled(how=lambda x: 3 * abs(x))},
        "objective",
    ),
    "another game": (a_game, {"objective": gan()}, {"objective": gan(HINGE)}, "objective"),
    "outputs": (a_game, {}, {"outputs": OtherOutputs}, "outputs"),
    "network": (a_game, {}, {"networks": {"generator": nn.Conv2d(1, 1, 3, padding=1)}}, "learning networks"),
    "teacher": (a_game, {"networks": frozen(1)}, {"networks": frozen(2)}, "frozen teacher"),
    "no teacher": (a_game, {"networks": frozen(1)}, {}, "frozen teacher is .* and here 'absent'"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "first", "second", "told"), OTHERS.values(), ids=OTHERS)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, monkeypatch, make, first, second, told):
    monkeypatch.setattr(Outputs, "discriminate", lambda outputs, picture: picture, raising=False)
    path = tmp_path / "training.ckpt"
    with pytest.raises(Stopped):
        trained(make(**first), Checkpoint(path, seconds=0.0), StopAfter(1))
    with pytest.raises(GancompError, match=f"belongs to another training: its .*{told}"):
        trained(make(**second), Checkpoint(path))
    assert trained(make(**first), Checkpoint(path)).step == 20


@pytest.mark.parametrize(
    "changes", [{"schedule": constant_rate}, {"seed": 1}, {"ema": 0.9}, {"lr": 1e-3}], ids=lambda c: next(iter(c))
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path, changes):
    config = short_config(20, 4)
    batches = [
        Batches(pictures(), 4, each.seed, paired=True) for each in (config, dataclasses.replace(config, **changes))
    ]
    fit(a_game(), batches[0], config, [Checkpoint(tmp_path / "a.ckpt")])
    with pytest.raises(GancompError, match="another training: its (configuration|schedule|pictures)"):
        fit(a_game(), batches[1], dataclasses.replace(config, **changes), [Checkpoint(tmp_path / "a.ckpt")])


@pytest.mark.parametrize(("first", "second"), [(2.0, 3.0), ([1, 2], [1, 3])])
def test_the_values_that_a_term_takes_from_around_it_count(tmp_path, first, second):
    def closed(around):
        @term()
        def error(outputs):
            return (outputs.fake - outputs.target).abs().mean() * torch.tensor(around).sum()

        return error()

    trained(a_game(closed(first)), Checkpoint(tmp_path / "a.ckpt"))
    with pytest.raises(GancompError, match="another training"):
        trained(a_game(closed(second)), Checkpoint(tmp_path / "a.ckpt"))


def test_what_has_no_complete_text_cannot_be_checkpointed_but_trained(tmp_path):
    class Opaque:
        def __call__(self, difference):
            return difference.abs()

    game = a_game(scaled(how=Opaque()))
    with pytest.raises(GancompError, match="Opaque has no complete text; turn it into a frozen dataclass, or give it"):
        trained(game, Checkpoint(tmp_path / "a.ckpt"))
    assert trained(game).step == 20


def test_frozen_networks_are_not_in_the_checkpoint_and_stay_as_they_are(tmp_path):
    path = tmp_path / "a.ckpt"
    with pytest.raises(Stopped):
        trained(a_game(networks=frozen(1)), Checkpoint(path, seconds=0.0), StopAfter(3))
    assert set(load_state(path)["networks"]) == {"generator"}
    resumed = trained(a_game(networks=frozen(1)), Checkpoint(path))
    assert torch.equal(resumed.models["teacher"].weight, frozen(1)["teacher"].weight)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    config, around = short_config(2, 2), [Checkpoint(tmp_path / "training.ckpt")]
    train_pix2pix(load_task("edges2shoes"), SMALL, config, callbacks=around)
    wider = dataclasses.replace(SMALL, blocks=2)
    with pytest.raises(GancompError, match="another training: its learning networks"):
        train_pix2pix(load_task("edges2shoes"), wider, config, callbacks=around)


def test_a_checkpoint_is_not_continued_on_other_pictures(tmp_path):
    trained(a_game(), Checkpoint(tmp_path / "training.ckpt"))
    others = PictureSet(*[255 - pictures().sources] * 2)
    with pytest.raises(GancompError, match="another training: its pictures"):
        trained(a_game(), Checkpoint(tmp_path / "training.ckpt"), pairs=others)


def test_the_way_out_of_a_diverged_training_works(tmp_path):
    with pytest.raises(TrainingDiverged, match="another checkpoint file"):
        trained(a_game(exploding(math.nan)), Checkpoint(tmp_path / "a.ckpt", seconds=0.0))
    assert trained(a_game(lr=0.01), Checkpoint(str(tmp_path / "b.ckpt"))).step == 20


TWO_PROCESSES = """
import sys, torch
from lightning_fabric import Fabric
from gancomp_core.data import load_task
from gancomp_core.nets import ResnetArchitecture
from gancomp_core.train import TrainConfig, save_weights, train_pix2pix
torch.set_num_threads(1)
count, path = int(sys.argv[1]), sys.argv[2]
fabric = Fabric(accelerator="cpu", devices=count, strategy="ddp" if count > 1 else "auto", precision="32-true")
fabric.launch()
config = TrainConfig(4, 4, precision="32-true", ema=0.5, discriminator_width=8, progress=False, fabric=fabric)
trained = train_pix2pix(load_task("edges2shoes"), ResnetArchitecture("8_8_8_8_8_8_8_8", 1, False, 1, 1), config)
if fabric.is_global_zero:
    save_weights(trained.averaged["generator"], path)
"""


def test_two_processes_train_what_one_trains_on_the_same_batches(tmp_path):
    script = tmp_path / "two.py"  # a file, because the second process is started from it
    script.write_text(TWO_PROCESSES)
    painted, x = [], load_task("edges2shoes").test.batch(slice(0, 4)).source
    for count in (1, 2):
        path = tmp_path / f"{count}.safetensors"
        subprocess.run([sys.executable, script, str(count), path], cwd=REPOSITORY, check=True, capture_output=True)
        with torch.no_grad():
            painted.append(load_weights(ResnetGenerator(SMALL), path)(x))
    torch.testing.assert_close(*painted, rtol=0, atol=2e-3)
    assert (painted[0] - ResnetGenerator(SMALL)(x)).abs().max() > 0.1


# --- callbacks


class Counting(Callback):
    """Counts the steps; a checkpoint keeps the number."""

    def __init__(self, label="Counting"):
        self.label, self.count, self.events = label, 0, []

    @property
    def name(self):
        return self.label

    def begin(self, training):
        self.events.append(f"begin {training.step}")

    def before_step(self, training):
        self.events.append(f"before {training.step}")

    def after_step(self, training):
        self.count += 1
        self.events.append(f"after {training.step}")

    def end(self, training):
        self.events.append(f"end {training.step}")

    def close(self):
        self.events.append("close")

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_callbacks_are_called_around_the_steps():
    counting = Counting()
    trained(a_game(), counting, steps=2)
    assert counting.events == ["begin 0", "before 0", "after 1", "before 1", "after 2", "end 2", "close"]


def test_checkpoints_keep_the_state_of_callbacks_and_left_trainings_close_them(tmp_path):
    first, second = Counting(), Counting()
    with pytest.raises(Stopped):
        trained(a_game(), Checkpoint(tmp_path / "a.ckpt", seconds=0.0), first, StopAfter(3))
    assert first.events[-2:] == ["after 3", "close"]
    trained(a_game(), Checkpoint(tmp_path / "a.ckpt"), second)
    assert second.count == 20
    assert second.events[0] == "begin 0"


def test_two_callbacks_of_one_name_are_refused():
    with pytest.raises(GancompError, match="two callbacks named 'Counting'; give each its own name"):
        trained(a_game(), Counting(), Counting())
    assert trained(a_game(), Counting("one"), Counting("other")).step == 20


def test_evaluations_draw_a_curve_and_keep_the_best_weights(tmp_path):
    def bias_of(network):
        return abs(network.bias.item() - 0.1)

    def watch():
        return Evaluate(bias_of, every=6)

    straight = watch()
    whole = trained(a_game(), straight)
    assert list(straight.curve) == [6, 12, 18, 20]
    assert straight.curve[20] == bias_of(whole.averaged["generator"])
    assert straight.best_step == min(straight.curve, key=straight.curve.get)
    again = nn.Conv2d(1, 1, 1)
    again.load_state_dict(straight.best)
    assert bias_of(again) == min(straight.curve.values())

    second = watch()
    with pytest.raises(Stopped):
        trained(a_game(), Checkpoint(tmp_path / "a.ckpt", seconds=0.0), watch(), StopAfter(13))
    trained(a_game(), Checkpoint(tmp_path / "a.ckpt"), second)
    assert (second.curve, second.best_step) == (straight.curve, straight.best_step)
    assert all(torch.equal(tensor, straight.best[name]) for name, tensor in second.best.items())


def test_measuring_neither_counts_as_training_nor_changes_it():
    def slow(network):
        torch.manual_seed(3)
        time.sleep(0.1)
        return 0.0

    watch = Evaluate(slow, every=1)
    watched, alone = trained(a_game(), watch), trained(a_game())
    assert_same_weights(watched, alone)
    assert len(watch.curve) == 20
    assert watched.seconds < 20 * 0.1


def test_a_training_in_two_parts_is_the_same(tmp_path):
    straight = trained(a_game())
    resumed = in_two_parts(lambda callbacks: trained(a_game(), *callbacks), tmp_path / "a.ckpt", 7)
    assert_same_weights(straight, resumed)
    assert straight.history.equals(resumed.history)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "training.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(GancompError, match=r"training\.ckpt cannot be read"):
        trained(a_game(), Checkpoint(tmp_path / "training.ckpt"))


class Malicious:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_a_checkpoint_that_hides_code_is_refused_unrun(tmp_path, capfd):
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Malicious(), protocol=2))
    torch.save({"step": Malicious()}, tmp_path / "evil2.ckpt")
    for name in ("evil.ckpt", "evil2.ckpt"):
        with pytest.raises(GancompError, match="cannot be read"):
            load_state(tmp_path / name)
    assert "must never run" not in capfd.readouterr().out


@pytest.mark.parametrize("field", [{"steps": 0}, {"batch_size": 0}, {"ema": 1.0}])
def test_impossible_configurations_are_refused(field):
    with pytest.raises(GancompError, match="needs steps >= 1"):
        dataclasses.replace(TrainConfig(10), **field)


def test_weights_survive_the_disk_with_what_is_said_about_them(tmp_path):
    net = ResnetGenerator(SMALL)
    save_weights(net, tmp_path / "net.safetensors", {"architecture": SMALL.as_dict()})
    found = ResnetArchitecture.from_dict(read_about(tmp_path / "net.safetensors")["architecture"])
    again = load_weights(ResnetGenerator(found), tmp_path / "net.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_headers_of_other_programs_are_read_as_words(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"format": "pt"})
    assert read_about(tmp_path / "other.safetensors") == {"format": "pt"}


def test_weights_of_another_architecture_name_the_first_tensor_that_does_not_fit(tmp_path):
    save_weights(ResnetGenerator(SMALL), tmp_path / "net.safetensors")
    other = ResnetGenerator(dataclasses.replace(SMALL, channels=ChannelConfig.uniform(16)))
    with pytest.raises(GancompError, match=r"'stages.stem.0.weight' is 8x1x7x7 in the file and 16x1x7x7"):
        load_weights(other, tmp_path / "net.safetensors")
    with pytest.raises(GancompError, match=r"'stages.block2.body.0.weight' is absent in the file"):
        load_weights(ResnetGenerator(dataclasses.replace(SMALL, blocks=2)), tmp_path / "net.safetensors")


@pytest.mark.parametrize("content", [b"", b"this is text", b"\xff" * 100])
def test_unreadable_weights_are_named(tmp_path, content):
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(GancompError, match=r"net\.safetensors cannot be read"):
        load_weights(ResnetGenerator(SMALL), tmp_path / "net.safetensors")
    with pytest.raises(GancompError, match="There are no weights at"):
        load_weights(ResnetGenerator(SMALL), tmp_path / "absent.safetensors")


FULL_DISK = """
import resource, signal, sys, torch
from pathlib import Path
from gancomp_core.errors import GancompError
from gancomp_core.train.checkpoints import save_state, save_weights
folder = Path(sys.argv[1])
small, large = torch.nn.Linear(2, 2), torch.nn.Linear(2000, 2000)
save_state({"step": 1}, folder / "a.ckpt"); save_weights(small, folder / "a.safetensors")
for save in (
    lambda: save_state(large.state_dict(), folder / "a.ckpt"),
    lambda: save_weights(large, folder / "a.safetensors"),
):
    try:
        save()
    except GancompError as error:
        print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tiny file system, which needs Linux")
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tiny file system needs root")
    try:
        done = subprocess.run([sys.executable, "-c", FULL_DISK, disk], capture_output=True, text=True)
        assert done.stdout.count("The disk is full") == 2, done.stdout + done.stderr
        assert sorted(path.name for path in disk.iterdir()) == ["a.ckpt", "a.safetensors"]
        assert load_state(disk / "a.ckpt") == {"step": 1}
        load_weights(nn.Linear(2, 2), disk / "a.safetensors")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_saving_where_nothing_can_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GancompError, match="could not be written"):
        save_state({}, tmp_path / "file" / "a.ckpt")


def test_batch_moves_to_a_device():
    assert Batch(torch.zeros(1), torch.zeros(1)).to("cpu").source.device.type == "cpu"
