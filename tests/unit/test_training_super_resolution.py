"""Super-resolution and the segmenter: what they learn, what they equal in plain PyTorch, and what they refuse."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factories import a_task, assert_same_weights, in_two_parts, map_task, refused, short_config, stripes
from gancomp_core import nets
from gancomp_core.data import Batches, PictureSet
from gancomp_core.data.photos import shrink
from gancomp_core.errors import GancompError
from gancomp_core.nets import RrdbArchitecture, Segmenter, SegmenterArchitecture, VdsrArchitecture
from gancomp_core.train import Checkpoint
from gancomp_core.train.config import linear_decay
from gancomp_core.train.outputs import PairedOutputs, preview
from gancomp_core.train.segmentation import train_segmenter
from gancomp_core.train.super_resolution import train_super_resolution

RRDB = RrdbArchitecture(blocks=1, width=8, growth=8)
VDSR = VdsrArchitecture(layers=3, width=8, scale=4)


def photos(**changes):
    large = stripes()
    return a_task(PictureSet(shrink(large, 4), large), **changes)


def enlarge(architecture=RRDB, steps=3, task=None, batch_size=2, callbacks=(), **changes):
    config = short_config(steps, batch_size, seed=1, **{"crop": 16, **changes})
    return train_super_resolution(task or photos(), architecture, config, callbacks=callbacks)


def maps(**changes):
    return map_task(12, 4, **changes)


def segment(steps=3, task=None, classes=3, batch_size=2, lr=None):
    architecture, config = SegmenterArchitecture(classes, width=4), short_config(steps, batch_size, lr=lr)
    return train_segmenter(task or maps(), architecture, config)


# --- super-resolution


@pytest.mark.parametrize("architecture", [RRDB, VDSR], ids=["RRDBNet", "VDSR"])
def test_training_equals_one_written_out_in_plain_pytorch(architecture):
    trained = enlarge(architecture, lr=1e-3)
    plain = nets.build(architecture, seed=1)
    adam = torch.optim.Adam(plain.parameters(), 1e-3, (0.9, 0.999))
    batches, losses = Batches(photos().train, 2, 1, paired=True, crop=16, scale=4), []
    for step in range(3):
        adam.param_groups[0]["lr"] = 1e-3 * linear_decay(step, 3)
        batch = batches.at(step)
        assert (batch.source.shape, batch.target.shape) == ((2, 3, 4, 4), (2, 3, 16, 16))
        loss = (plain(batch.source) - batch.target).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert list(trained.history.reconstruction) == pytest.approx(losses, abs=1e-5)
    for one, other in zip(trained.models["generator"].parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert trained.objective == "reconstruction"


def distance(network, batch):
    with torch.no_grad():
        return F.l1_loss(network(batch.source), batch.target).item()


# an untrained VDSR is a bicubic enlargement, which is hard to beat
@pytest.mark.parametrize(("architecture", "share"), [(RRDB, 0.5), (VDSR, 0.97)], ids=["RRDBNet", "VDSR"])
def test_super_resolution_learns(architecture, share):
    trained = enlarge(architecture, steps=60, batch_size=4, lr=4e-3)
    batch = photos().test.batch(slice(0, 12))
    untrained = nets.build(architecture, seed=1)
    assert distance(trained.averaged["generator"], batch) < share * distance(untrained, batch)
    if architecture is RRDB:
        assert trained.history.reconstruction.iloc[-1] < 0.5 * trained.history.reconstruction.iloc[0]


def test_whole_pictures_are_enlarged_after_training_on_squares():
    trained = enlarge()
    assert trained.averaged["generator"](photos().test.batch(slice(0, 2)).source).shape == (2, 3, 32, 32)


def test_its_preview_shows_source_generated_and_target_of_one_size():
    outputs = PairedOutputs({"generator": nets.build(RRDB)}, photos().train.batch(slice(0, 3)))
    assert preview(outputs).size == (3 * 32 * 2, 3 * 32 * 2)


def test_super_resolution_in_parts_is_the_same(tmp_path):
    straight = enlarge()
    assert_same_weights(straight, in_two_parts(lambda callbacks: enlarge(callbacks=callbacks), tmp_path / "a.ckpt", 2))


def test_a_checkpoint_with_another_crop_is_refused(tmp_path):
    enlarge(callbacks=[Checkpoint(tmp_path / "a.ckpt")])
    with pytest.raises(GancompError, match="another training"):
        enlarge(crop=8, callbacks=[Checkpoint(tmp_path / "a.ckpt")])


@pytest.mark.parametrize("changes", [{"scale": 1}, {"paired": False}], ids=["equal sizes", "unpaired"])
def test_tasks_that_cannot_be_enlarged_are_named_with_one_that_can(changes):
    with refused("'tiny'") as caught:
        enlarge(task=photos(**changes))
    said = str(caught.value)
    assert "needs a task whose targets are larger than their sources" in said
    assert "choose 'photos_x4' or 'public:DIV2K'" in said


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        (dataclasses.replace(RRDB, scale=2), "enlarges 4 times.* this architecture 2 times"),
        (dataclasses.replace(VDSR, scale=1), "enlarges 4 times.* this architecture 1 times"),
        (dataclasses.replace(RRDB, out_channels=1), "from 3 channels to 3.* from 3 to 1"),
        (dataclasses.replace(VDSR, channels=1), "from 3 channels to 3.* from 1 to 1"),
    ],
)
def test_an_architecture_of_another_scale_or_other_channels_is_told_those_of_the_task(architecture, told):
    with refused("'tiny'", told, "give the architecture the task's numbers"):
        enlarge(architecture)


@pytest.mark.parametrize(
    ("crop", "told"),
    [
        (18, "crop is 18 pixels; it must be a multiple of the scale 4"),
        (64, "square of 16 pixels cannot be cut from pictures of .8, 8.; choose a smaller crop"),
    ],
)
def test_an_impossible_crop_is_refused(crop, told):
    with pytest.raises(GancompError, match=told):
        enlarge(crop=crop)


# --- the segmenter


def test_the_segmenter_learns_to_read_maps():
    trained = segment(steps=80, batch_size=4, lr=2e-2)
    history = trained.history
    assert history.cross_entropy.iloc[0] > 0.8  # chance is log 3
    assert history.cross_entropy.iloc[-5:].mean() < 0.3 * history.cross_entropy.iloc[0]
    batch = maps().test.batch(slice(0, 12))
    right = trained.averaged["generator"](batch.target).argmax(1) == batch.source.argmax(1)
    assert right.float().mean() > 0.9


def test_its_loss_is_the_mean_cross_entropy_of_all_pixels():
    trained = segment(steps=1)
    batch = Batches(maps().train, 2, 0, paired=True).at(0)
    network = new_segmenter().train()
    chances = network(batch.target).softmax(1)
    expected = -chances[batch.source > 0].log().mean()
    assert trained.history.cross_entropy[0] == pytest.approx(expected.item(), abs=1e-5)


def new_segmenter(seed=0):
    torch.manual_seed(seed)
    return Segmenter(SegmenterArchitecture(3, width=4))


def test_the_averaged_segmenter_has_statistics_of_its_own():
    trained = segment()
    average, batches = trained.averaged["generator"], Batches(maps().train, 2, 0, paired=True)
    first = next(module for module in average.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        seen = [average.whole[0](batches.at(step).target) for step in range(32)]
    means = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    torch.testing.assert_close(first.running_mean, means, rtol=1e-4, atol=1e-5)
    assert not average.training


def test_a_segmenter_depends_on_the_seed_alone_and_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = segment()
    assert torch.equal(torch.rand(1), expected)
    second = segment()
    for key, tensor in first.averaged["generator"].state_dict().items():
        assert torch.equal(tensor, second.averaged["generator"].state_dict()[key])


def test_one_small_picture_a_step_is_enough_for_a_segmenter():
    assert segment(steps=2, batch_size=1).history.notna().all(axis=None)


def test_a_task_without_maps_is_named_with_one_that_has_them():
    with refused("learns from semantic maps, and the sources of 'tiny' are none", "choose 'landcover2satellite'"):
        segment(task=maps(palette=()))


def test_a_segmenter_of_too_few_classes_is_told_how_many():
    told = "'tiny' has pictures of 3 channels and maps of 3 classes, .* takes 3 and knows 2"
    with refused(told, "give its architecture the task's numbers"):
        segment(classes=2)
