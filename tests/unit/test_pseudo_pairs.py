"""Pseudo pairs: the teacher's pictures as targets, made once, and a critic that still sees real ones."""

import dataclasses
import functools

import pytest
import torch
import torch.nn.functional as F

from factories import random_resnet, short_config
from gancomp_core import files
from gancomp_core.data import Batches, PictureSet, to_float
from gancomp_core.data.tasks import Task
from gancomp_core.errors import GancompError
from gancomp_core.measure import evaluate_generator
from gancomp_core.methods import teacher_pictures as module
from gancomp_core.methods.feature_distillation import OBJECTIVE, game
from gancomp_core.methods.pseudo_pairs import PseudoPairOutputs, RealPictures, distil_unpaired, pseudo_pairs
from gancomp_core.methods.teacher_pictures import taught_by
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, ResnetGenerator, initialize
from gancomp_core.train.pix2pix import new_discriminator

TEACHER = ResnetArchitecture(ChannelConfig.uniform(8), 3, in_channels=1, out_channels=1)
teacher = functools.partial(random_resnet, TEACHER)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))


@pytest.fixture
def task():
    generator = torch.Generator().manual_seed(0)
    sources, targets = (torch.randint(0, 256, (n, 1, 16, 16), generator=generator).to(torch.uint8) for n in (12, 9))
    scored = PictureSet(sources[:8], targets[:8])
    return Task("tiny", False, 16, 1, 1, PictureSet(sources, targets), scored, scored, "tiny", hidden_pairs=True)


def test_every_source_gets_what_the_teacher_makes_of_it(task):
    paired = pseudo_pairs(task, teacher())
    assert paired.paired
    assert len(paired.train) == 12, "sources without a partner have one now"
    batch = paired.train.batch(slice(0, 12))
    with torch.no_grad():
        torch.testing.assert_close(batch.target, teacher()(batch.source), atol=1 / 255, rtol=0)
    assert torch.equal(paired.train.sources, task.train.sources)


def test_pictures_are_made_once_for_the_same_weights(task, monkeypatch):
    first, other = pseudo_pairs(task, teacher()), pseudo_pairs(task, teacher(4))
    assert first.fingerprint != other.fingerprint
    assert len(list((files.cache_root() / "pseudo_pairs").iterdir())) == 6
    monkeypatch.setattr(module, "in_threads", None)  # nothing is painted any more
    again = pseudo_pairs(task, teacher())
    assert torch.equal(again.train.targets, first.train.targets)
    assert again.fingerprint == first.fingerprint


def test_the_fingerprint_is_that_of_weights_and_architecture(task):
    changed = teacher()
    with torch.no_grad():
        changed.stages.stem[0].weight[0, 0, 0, 0] += 1e-6
    affine = initialize(ResnetGenerator(dataclasses.replace(TEACHER, affine=True)), 3, std=0.1)
    assert taught_by(teacher(), task) == taught_by(teacher(), task)
    assert len({taught_by(network, task) for network in (teacher(), changed, affine)}) == 3


def test_a_teacher_is_perfect_on_its_own_pictures_and_not_on_real_ones(task):
    ours = evaluate_generator(teacher(), pseudo_pairs(task, teacher()), seeds=(0,), frechet=False)
    real = evaluate_generator(teacher(), task, seeds=(0,), frechet=False)
    assert ours.psnr > 45
    assert real.psnr < 20


def test_the_student_follows_the_teacher_and_the_critic_sees_real_pictures(task):
    paired = pseudo_pairs(task, teacher())
    begun = new_discriminator(task, width=8, conditional=False)
    models = game(teacher(1), teacher(), paired, short_config(), discriminator=begun).networks
    real = RealPictures(task.train.targets, task.fingerprint)
    outputs = PseudoPairOutputs(models, Batches(paired.train, 4, 0, True).at(0), real, taps={})
    real = to_float(task.train.targets)
    assert all(any(torch.equal(picture, other) for other in real) for picture in outputs.real)
    torch.testing.assert_close(
        outputs.discriminate_both()[0], models["discriminator"](outputs.real), atol=1e-5, rtol=1e-4
    )
    assert torch.equal(outputs.teacher_picture, outputs.target)
    value = OBJECTIVE(outputs)[1]["reconstruction"]
    torch.testing.assert_close(value, F.l1_loss(outputs.fake, outputs.target))


def test_training_goes_toward_the_teachers_pictures(task):
    student = teacher(1)
    given = new_discriminator(task, width=8, conditional=False)
    before = {name: value.clone() for name, value in given.state_dict().items()}
    trained = distil_unpaired(student, teacher(), task, short_config(30, 4, lr=3e-3), discriminator=given)
    distance = trained.history.reconstruction
    assert distance.iloc[-5:].mean() < 0.8 * distance.iloc[:5].mean()
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items()), (
        "a copy goes on learning"
    )


def test_a_teacher_of_another_task_is_refused(task):
    colors = initialize(ResnetGenerator(dataclasses.replace(TEACHER, out_channels=3)), 3)
    with pytest.raises(GancompError, match=r"pictures of shape \[3, 16, 16\], and 'tiny' needs \[1, 16, 16\]"):
        pseudo_pairs(task, colors)
