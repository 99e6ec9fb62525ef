import dataclasses
import math
import pickle
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gancomp_core.data import Batch, Batches, PictureSet, load_task
from gancomp_core.errors import GancompError, TrainingDiverged
from gancomp_core.files import REPOSITORY
from gancomp_core.nets import ChannelConfig, PatchDiscriminator, ResnetArchitecture, ResnetGenerator, initialise
from gancomp_core.train import (
    Objective,
    Player,
    Settings,
    critic,
    gan,
    objectives,
    reconstruction,
    train,
    train_pix2pix,
)
from gancomp_core.train.checkpoints import load_state, load_weights, read_about, save_state, save_weights
from gancomp_core.train.loop import linear_decay
from gancomp_core.train.pix2pix import PairedScene, build

SMALL = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1, in_channels=1, out_channels=1)


class Scene:
    """The smallest scene: a linear map, and its input as target."""

    def __init__(self, models, batch):
        self.fake, self.target = models["generator"](batch.source), batch.target


def pictures(count=8):
    grey = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return PictureSet(grey, grey)


def fit(objective=None, steps=20, lr=0.05, **options):
    torch.manual_seed(0)
    models = {"generator": nn.Conv2d(1, 1, 1)}
    player = Player("generator", ("generator",), objective or reconstruction(), lr, (0.9, 0.999))
    batches = Batches(pictures(), 4, seed=0, paired=True)
    settings = Settings(steps, batch_size=4, precision="32-true", ema=options.pop("ema", 0.5))
    return train(models, Scene, [player], batches, settings, progress=False, **options)


def test_an_objective_is_the_weighted_sum_of_its_terms_and_prints_like_one():
    one = Objective(((1.0, "one", lambda scene: torch.tensor(1.0)),))
    scene = Objective(((1.0, "scene", lambda scene: torch.tensor(scene)),))
    total, parts = (one + 3 * (one.__class__(scene.terms)))(2.0)
    assert total.item() == 7.0
    assert {name: value.item() for name, value in parts.items()} == {"one": 1.0, "scene": 2.0}
    assert str(gan() + 50 * reconstruction()) == "gan_lsgan + 50 * reconstruction"
    assert str(2 * (gan() + 5 * reconstruction())) == "2 * gan_lsgan + 10 * reconstruction"


def test_objectives_can_be_scaled_from_either_side():
    assert str(gan() * 2) == str(2 * gan()) == "2 * gan_lsgan"


def test_two_terms_of_one_name_are_refused_because_one_would_hide_the_other():
    with pytest.raises(GancompError, match="two terms of one name"):
        gan() + 10 * gan()


@pytest.mark.parametrize("most", [8 * 24 * 24 - 1, 8 * 24 * 24])
def test_real_and_fake_pictures_are_judged_alike_together_and_apart(most, monkeypatch):
    monkeypatch.setattr(objectives, "TOGETHER", most)
    critic, seen = initialise(PatchDiscriminator(1, 8, 2), 0), []
    critic.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    real, fake = torch.rand(2, 8, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    scores = objectives.scores_of_both(critic, real, fake)
    assert seen == ([16] if most == 8 * 24 * 24 else [8, 8])
    for found, pictures in zip(scores, (real, fake), strict=True):
        torch.testing.assert_close(found, critic(pictures), rtol=1e-4, atol=1e-5)


def test_two_players_with_a_term_of_one_name_are_refused():
    models = {"generator": nn.Conv2d(1, 1, 1), "other": nn.Conv2d(1, 1, 1)}
    players = [Player(name, (name,), reconstruction()) for name in models]
    with pytest.raises(GancompError, match="Two players"):
        train(models, Scene, players, Batches(pictures(), 4, 0, True), Settings(2, batch_size=4), progress=False)


def test_batches_and_settings_must_agree():
    player = Player("generator", ("generator",), reconstruction())
    with pytest.raises(GancompError, match="make both from the same settings"):
        train({"generator": nn.Conv2d(1, 1, 1)}, Scene, [player], Batches(pictures(), 2, 0, True), Settings(2))


def test_weights_that_the_user_froze_stay_frozen():
    task = load_task("edges2shoes")
    models = build(task, SMALL, critic_width=8)
    models["generator"].stages.stem.requires_grad_(False)
    before = models["generator"].stages.stem[0].weight.clone()
    players = [Player("d", ("discriminator",), critic()), Player("g", ("generator",), gan())]
    batches = Batches(task.train, 2, 0, True)
    trained = train(models, PairedScene, players, batches, Settings(3, batch_size=2), progress=False)
    assert torch.equal(trained.models["generator"].stages.stem[0].weight, before)


def test_a_training_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    settings = Settings(2, batch_size=2)
    train_pix2pix(load_task("edges2shoes"), SMALL, settings, critic_width=8, progress=False)
    assert torch.equal(torch.rand(1), expected)


def test_pix2pix_refuses_unpaired_tasks_and_tiny_pictures():
    task = load_task("edges2shoes")
    for wrong in (dataclasses.replace(task, paired=False), dataclasses.replace(task, size=8)):
        with pytest.raises(GancompError, match="paired task with pictures of one size, at least 16"):
            train_pix2pix(wrong, SMALL, Settings(1))


def test_a_script_without_a_log_sees_the_progress_on_its_terminal():
    code = (
        "from tests.unit.test_training import *; "
        "train_pix2pix(load_task('edges2shoes'), SMALL, Settings(2, batch_size=2), critic_width=8)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert "step 2 of 2" in done.stderr, done.stderr


def test_training_lowers_the_loss():
    history = fit(steps=200).history
    assert history.reconstruction.iloc[-1] < 0.2 * history.reconstruction.iloc[0]


def test_learning_rate_stays_then_falls_to_zero():
    assert [linear_decay(step, 100) for step in (0, 50, 75)] == [1.0, 1.0, 0.5]
    assert linear_decay(99, 100) == pytest.approx(0.02)


def test_loop_equals_the_same_game_written_out_in_plain_pytorch():
    task, settings = load_task("edges2shoes"), Settings(5, batch_size=4, seed=1, precision="32-true", ema=0.9)
    torch.set_num_threads(1)
    ours = train_pix2pix(task, SMALL, settings, critic_width=8, lr=1e-3, progress=False)

    models = build(task, SMALL, seed=1, critic_width=8)
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
        assert (g(x) - build(task, SMALL, seed=1, critic_width=8)["generator"](x)).abs().max() > 0.1


def test_critic_learns_nothing_from_the_generators_turn_and_the_other_way_round():
    task = load_task("edges2shoes")
    models = build(task, SMALL, critic_width=8)
    scene = PairedScene(models, task.train.batch(slice(0, 2)))
    critic()(scene)[0].backward()
    assert all(p.grad is None for p in models["generator"].parameters())
    assert all(p.grad is not None for p in models["discriminator"].parameters())


def test_averaged_weights_lie_between_start_and_end():
    trained = fit(ema=0.9, steps=30)
    average, last = trained.averaged["generator"].weight, trained.models["generator"].weight
    assert not torch.equal(average, last)
    assert fit(ema=0.0).averaged["generator"].weight.equal(fit(ema=0.0).models["generator"].weight)


def exploding(step_value):
    calls = []

    def term(scene):
        calls.append(None)
        return reconstruction()(scene)[0] * (step_value if len(calls) == 8 else 1.0)

    return Objective(((1.0, "fragile", term),))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_an_exploding_loss_stops_with_step_term_and_last_good_checkpoint(tmp_path, value):
    checkpoint = tmp_path / "training.ckpt"
    with pytest.raises(TrainingDiverged, match="step 7.*'fragile'.*training.ckpt") as caught:
        fit(exploding(value), checkpoint=checkpoint, checkpoint_seconds=0.0)
    assert (caught.value.step, caught.value.term, caught.value.checkpoint) == (7, "fragile", checkpoint)
    saved = load_state(checkpoint)
    assert saved["step"] == 7
    assert all(torch.isfinite(t).all() for t in saved["models"]["generator"].values())


def test_losses_are_written_beside_the_checkpoint(tmp_path):
    trained = fit(checkpoint=tmp_path / "training.ckpt")
    assert list(pd.read_csv(tmp_path / "training.csv").step) == list(trained.history.step)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    fit(checkpoint=tmp_path / "training.ckpt")
    with pytest.raises(GancompError, match="another training"):
        fit(lr=0.1, checkpoint=tmp_path / "training.ckpt")


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    settings, path = Settings(2, batch_size=2), tmp_path / "training.ckpt"
    train_pix2pix(load_task("edges2shoes"), SMALL, settings, critic_width=8, checkpoint=path, progress=False)
    wider = dataclasses.replace(SMALL, blocks=2)
    with pytest.raises(GancompError, match="another training"):
        train_pix2pix(load_task("edges2shoes"), wider, settings, critic_width=8, checkpoint=path, progress=False)


def test_a_checkpoint_is_not_continued_on_other_pictures(tmp_path):
    fit(checkpoint=tmp_path / "training.ckpt")
    player = Player("generator", ("generator",), reconstruction(), 0.05, (0.9, 0.999))
    others = PictureSet(*[255 - pictures().sources] * 2)
    settings = Settings(20, batch_size=4, precision="32-true", ema=0.5)
    with pytest.raises(GancompError, match="another training"):
        train(
            {"generator": nn.Conv2d(1, 1, 1)}, Scene, [player], Batches(others, 4, 0, True), settings,
            checkpoint=tmp_path / "training.ckpt", progress=False,
        )  # fmt: skip


def test_a_checkpoint_beyond_the_wanted_step_is_refused(tmp_path):
    fit(checkpoint=tmp_path / "training.ckpt", until=10)
    with pytest.raises(GancompError, match="step 10, beyond 5"):
        fit(checkpoint=tmp_path / "training.ckpt", until=5)


def test_the_way_out_of_a_diverged_training_works(tmp_path):
    with pytest.raises(TrainingDiverged, match="another checkpoint file"):
        fit(exploding(math.nan), checkpoint=tmp_path / "a.ckpt", checkpoint_seconds=0.0)
    assert fit(lr=0.01, checkpoint=str(tmp_path / "b.ckpt")).step == 20


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "training.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(GancompError, match=r"training\.ckpt cannot be read"):
        fit(checkpoint=tmp_path / "training.ckpt")


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
def test_impossible_settings_are_refused(field):
    with pytest.raises(GancompError, match="needs steps >= 1"):
        dataclasses.replace(Settings(10), **field)


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
