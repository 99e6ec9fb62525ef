"""Supernets: what a step trains, that it equals its plain computation, and where a supernet begins."""

import copy
import dataclasses
import functools
import random

import pytest
import torch
import torch.nn.functional as F

from factories import assert_same_weights, in_two_parts, noise_task, random_resnet, short_config, weights_digest
from gancomp_core import nets, zoo
from gancomp_core.data import Batches, load_task
from gancomp_core.errors import GancompError
from gancomp_core.methods import once_for_all
from gancomp_core.methods.feature_distillation import (
    OBJECTIVE,
    Adaptors,
    DistillationOutputs,
    distil,
    feature_kd,
    game,
    tap_channels,
)
from gancomp_core.methods.once_for_all import (
    SupernetOutputs,
    all_at_once,
    from_teacher,
    only,
    preview,
    progressive_shrinking,
    sandwich,
    shrinking_stages,
    train_supernet,
    uniform,
    warm_start,
)
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    PatchDiscriminator,
    ResnetArchitecture,
    ResnetGenerator,
    SearchSpace,
    SpadeArchitecture,
    SpadeGenerator,
    initialize,
)
from gancomp_core.train import Checkpoint, gan, reconstruction
from gancomp_core.train.checkpoints import load_state

TEACHER = ResnetArchitecture(ChannelConfig.uniform(16), 3, in_channels=1, out_channels=1)
SPACE = ArchitectureSpace(TEACHER, SearchSpace(((16, 8),) * 8))
teacher = functools.partial(random_resnet, TEACHER)


def fit(elastic, steps=2, lr=None, **options):
    return train_supernet(elastic, teacher(), noise_task(), short_config(steps, lr=lr), **options)


def outputs_of(sampler, space=SPACE):
    models = game(nets.build(space), teacher(), noise_task(), short_config()).networks
    return models, SupernetOutputs(models, Batches(noise_task().train, 3, 0, True).at(0), sampler, taps={})


# --- what a step trains


def test_a_step_trains_the_networks_that_its_sampler_draws():
    narrow, wide = SPACE.narrowest, SPACE.widest
    models, outputs = outputs_of(lambda rng: [narrow, wide])
    for part, architecture in zip(outputs.parts, (narrow, wide), strict=True):
        assert torch.equal(part.fake, models["generator"].extract(architecture)(outputs.source))


def test_weights_outside_the_networks_of_a_step_get_no_gradient():
    _, outputs = outputs_of(lambda rng: [SPACE.narrowest])
    OBJECTIVE.over("parts", "mean")(outputs)[0].backward()
    stem = outputs.networks["generator"].full.stages.stem[0].weight
    assert stem.grad[8:].abs().max() == 0 < stem.grad[:8].abs().max()


def test_uniform_and_sandwich_draw_from_the_space():
    assert len(uniform(SPACE, 3)(random.Random(0))) == 3
    drawn = {uniform(SPACE)(random.Random(seed))[0] for seed in range(40)}
    assert len(drawn) > 30
    assert all(architecture in SPACE for architecture in drawn)
    assert sandwich(SPACE, 2)(random.Random(1))[:2] == [SPACE.widest, SPACE.narrowest]
    assert len(sandwich(SPACE, 2)(random.Random(1))) == 4


def test_an_objective_over_networks_is_the_mean_of_theirs():
    _, outputs = outputs_of(lambda rng: [SPACE.narrowest, SPACE.widest])
    objective = gan() + 50 * reconstruction() + 0.25 * feature_kd()
    total, values = objective.over("parts", "mean")(outputs)
    each = [objective(part) for part in outputs.parts]
    torch.testing.assert_close(total, (each[0][0] + each[1][0]) / 2)
    torch.testing.assert_close(values["feature_kd"], (each[0][1]["feature_kd"] + each[1][1]["feature_kd"]) / 2)
    assert (
        str(objective.over("parts", "mean")) == str(objective) == "gan_lsgan + 50 * reconstruction + 0.25 * feature_kd"
    )


def test_the_teacher_looks_at_a_batch_once_for_all_networks():
    models, outputs = outputs_of(lambda rng: [SPACE.narrowest, SPACE.widest])
    calls = []
    models["teacher"].register_forward_hook(lambda *_: calls.append(1))
    OBJECTIVE.over("parts", "mean")(outputs)
    assert len(calls) == 1


# --- feature distillation


def test_feature_distillation_equals_its_plain_computation():
    models, outputs = outputs_of(lambda rng: [SPACE.narrowest])
    x, expected = outputs.source, 0.0
    student = models["generator"].extract(SPACE.narrowest)
    for tap, (mine, theirs) in enumerate(zip(student.architecture.taps, TEACHER.taps, strict=True)):
        f, g = student(x, features=[mine])[1][mine], models["teacher"](x, features=[theirs])[1][theirs]
        layer = models["adaptors"].layers[tap]
        expected = expected + F.mse_loss(F.conv2d(f, layer.weight[:, : f.shape[1]], layer.bias), g)
    torch.testing.assert_close(feature_kd()(outputs.parts[0])[0], expected)


def test_features_of_a_student_at_half_the_resolution_are_enlarged():
    space = ArchitectureSpace(TEACHER, SearchSpace(((16,),) * 8), resolutions=(0.5,))
    _, outputs = outputs_of(uniform(space), space)
    assert outputs.parts[0].features[0].shape[2:] == (2, 2)
    assert torch.isfinite(feature_kd()(outputs.parts[0])[0])


def test_adaptors_take_the_leading_channels():
    adaptors = initialize(Adaptors([8, 8], [4, 4]), 0)
    features = [torch.randn(2, 5, 3, 3) for _ in range(2)]
    padded = [torch.cat([f, torch.zeros(2, 3, 3, 3)], dim=1) for f in features]
    for ours, whole in zip(adaptors(features), adaptors(padded), strict=True):
        torch.testing.assert_close(ours, whole)


@pytest.mark.parametrize(
    "network",
    [ResnetGenerator(TEACHER), SpadeGenerator(SpadeArchitecture("8_4_2_2_2_4_4_8", upsampling="normal", middles=1))],
)
def test_the_channels_at_the_taps_are_those_of_the_features(network):
    a = network.architecture
    size = 16 if isinstance(a, ResnetArchitecture) else 64
    _, features = network(torch.zeros(2, a.in_channels, size, size), features=a.taps)
    assert [features[tap].shape[1] for tap in a.taps] == tap_channels(a)


def test_networks_with_different_numbers_of_taps_are_named():
    with pytest.raises(GancompError, match="3 taps and the teacher 4"):
        Adaptors([8] * 3, [8] * 4)


def test_adaptors_learn_with_the_student_and_the_teacher_does_not():
    student, before = initialize(ResnetGenerator(SPACE.narrowest), 1), teacher()
    trained = distil(student, before, noise_task(), short_config())
    begun = game(student, before, noise_task(), short_config()).networks["adaptors"]
    assert not torch.equal(trained.models["adaptors"].layers[0].weight, begun.layers[0].weight)
    for name, weight in teacher().state_dict().items():
        assert torch.equal(trained.models["teacher"].state_dict()[name], weight)
        assert torch.equal(before.state_dict()[name], weight)


def test_without_feature_distillation_there_are_no_adaptors():
    objective = gan() + reconstruction()
    trained = distil(ResnetGenerator(SPACE.narrowest), teacher(), noise_task(), short_config(), objective=objective)
    assert set(trained.models) == {"generator", "teacher", "discriminator"}
    assert list(trained.history) == ["step", "critic_lsgan", "gan_lsgan", "reconstruction"]


def test_a_critic_to_go_on_from_is_copied():
    given = initialize(PatchDiscriminator(2, 8, 2), 7)
    before = copy.deepcopy(given)
    trained = distil(ResnetGenerator(TEACHER), teacher(), noise_task(), short_config(), discriminator=given)
    pairs = list(zip(before.parameters(), given.parameters(), strict=True))
    assert all(torch.equal(old, new) for old, new in pairs)
    learned = list(trained.models["discriminator"].parameters())
    assert 0 < (learned[0] - pairs[0][0]).abs().max() < 0.01


def test_a_task_without_pairs_is_refused():
    with pytest.raises(GancompError, match="'tiny' has no pairs to distil with"):
        train_supernet(nets.build(SPACE), teacher(), noise_task(paired=False), short_config())


# --- the whole training


def test_a_supernet_of_one_network_trains_as_that_network_distilled():
    one = ArchitectureSpace(TEACHER, SearchSpace(((16,),) * 8))
    elastic = nets.build(one, seed=5)
    alone = elastic.extract()
    ours = train_supernet(elastic, teacher(), noise_task(), short_config(3)).models["generator"]
    distil(alone, teacher(), noise_task(), short_config(3))
    for name, weight in alone.state_dict().items():
        torch.testing.assert_close(ours.full.state_dict()[name], weight, rtol=1e-4, atol=1e-6)


def test_a_supernet_learns():
    history = fit(nets.build(SPACE), steps=120, lr=1e-3, sampler=sandwich(SPACE)).history
    assert history.reconstruction.iloc[-5:].mean() < 0.9 * history.reconstruction.iloc[:5].mean()
    assert history.feature_kd.iloc[-5:].mean() < 0.9 * history.feature_kd.iloc[:5].mean()


def test_a_training_in_parts_draws_the_same_networks(tmp_path):
    whole, seeds = fit(nets.build(SPACE), steps=4), iter([0, 9])
    resumed = in_two_parts(
        lambda callbacks: fit(nets.build(SPACE, next(seeds)), steps=4, callbacks=callbacks), tmp_path / "a.ckpt", 2
    )
    assert_same_weights(whole, resumed)


def test_the_preview_has_a_row_for_each_network():
    _, outputs = outputs_of(sandwich(SPACE))
    assert preview(outputs).height >= 5 * 16


# --- progressive shrinking


ELASTIC = ArchitectureSpace(
    ResnetArchitecture(ChannelConfig.uniform(16), 6, in_channels=1, out_channels=1),
    SearchSpace(((16, 8),) * 8),
    depths=(3, 6),
    kernels=(3, 5),
)


def test_progressive_shrinking_frees_kernels_then_depths_then_widths():
    stages = shrinking_stages(ELASTIC)
    assert list(stages) == ["kernel", "depth", "width"]
    assert [len(stage) for stage in stages.values()] == [8, 16, 16 * 2**8]
    assert len(only(ELASTIC.widest)) == 1
    assert only(ELASTIC.widest).widest == ELASTIC.widest
    assert all(architecture in ELASTIC for stage in stages.values() for architecture in list(stage)[:16])


def test_a_space_without_elastic_kernels_has_no_stage_for_them():
    assert list(shrinking_stages(SPACE)) == ["width"]


def test_progressive_shrinking_takes_as_many_steps_as_asked_for(tmp_path):
    path = tmp_path / "a.ckpt"
    trained = progressive_shrinking(noise_task(), ELASTIC, short_config(11), callbacks=[Checkpoint(path)])
    steps = [load_state(path.with_suffix(f".{name}.ckpt"))["step"] for name in ("full", "kernel", "depth", "width")]
    assert steps == [4, 2, 2, 3]
    assert trained.averaged["generator"].space == ELASTIC
    again = progressive_shrinking(noise_task(), ELASTIC, short_config(11), callbacks=[Checkpoint(path)])
    for name, weight in trained.averaged["generator"].state_dict().items():
        assert torch.equal(again.averaged["generator"].state_dict()[name], weight)


def test_all_at_once_needs_no_teacher():
    trained = all_at_once(noise_task(), ELASTIC, short_config())
    assert "teacher" not in trained.models
    assert trained.objective == "gan_lsgan + 50 * reconstruction"


def test_a_supernet_of_the_course_begins_as_its_teacher():
    given = zoo.load("edges2shoes/teacher")
    task = load_task("edges2shoes")
    space = only(given.generator.architecture)
    begun = from_teacher(task, space, short_config(1, 2, lr=0.0), teacher="edges2shoes/teacher")
    x = task.test.batch(slice(0, 4)).source
    with torch.inference_mode():
        torch.testing.assert_close(begun.models["generator"](x), given.generator(x), atol=1e-4, rtol=1e-3)


def test_progressive_shrinking_begins_as_its_teacher_and_learns_from_it_in_every_stage(monkeypatch):
    given, task = zoo.load("edges2shoes/teacher").generator, load_task("edges2shoes")
    space = dataclasses.replace(only(given.architecture), kernels=(3, 5), depths=(3, 6))
    mentors = []

    def noted(elastic, mentor, *others, **options):
        mentors.append(mentor)
        return train_supernet(elastic, mentor, *others, **options)

    monkeypatch.setattr(once_for_all, "train_supernet", noted)
    shrunk = progressive_shrinking(task, space, short_config(4, 2, lr=0.0), teacher="edges2shoes/teacher")
    assert len(mentors) == 3
    assert all(mentor.architecture == given.architecture for mentor in mentors)
    assert {weights_digest(mentor) for mentor in mentors} == {weights_digest(given)}
    x, elastic = task.test.batch(slice(0, 4)).source, shrunk.models["generator"]
    elastic.activate(space.widest)
    with torch.inference_mode():
        torch.testing.assert_close(elastic(x), given(x), atol=1e-3, rtol=1e-2)


# --- where a supernet begins


def test_a_supernet_as_wide_as_a_trained_network_begins_as_it():
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(warm_start(SPACE, teacher())(x), teacher()(x), atol=1e-5, rtol=1e-4)


def test_larger_kernels_begin_with_zeros_around_the_trained_ones():
    space = ArchitectureSpace(TEACHER, SearchSpace(((16,),) * 8), kernels=(3, 5, 7))
    elastic, x = warm_start(space, teacher()), torch.randn(2, 1, 16, 16)
    for kernel in (7, 5, 3):
        elastic.activate(dataclasses.replace(space.base, kernels=(kernel,) * 3))
        torch.testing.assert_close(elastic(x), teacher()(x), atol=1e-5, rtol=1e-4)


def test_a_narrower_supernet_begins_with_the_most_important_channels():
    narrow = ArchitectureSpace(TEACHER, SearchSpace(((8,),) * 8))
    given = teacher()
    with torch.no_grad():  # the next layer listens to the odd channels of the stem alone
        given.stages.down1[0].weight[:, ::2] = 0
    stem = warm_start(narrow, given).full.stages.stem[0].weight
    odd = given.stages.stem[0].weight[1::2]
    assert all(any(torch.equal(row, other) for other in odd) for row in stem)


def test_a_shallower_supernet_begins_with_the_first_blocks_of_each_third():
    deep = initialize(ResnetGenerator(dataclasses.replace(TEACHER, blocks=6)), 1)
    shallow = warm_start(only(dataclasses.replace(TEACHER, blocks=3)), deep).extract()
    whole = warm_start(only(deep.architecture), deep).extract()
    for at, of in enumerate((1, 3, 5), start=1):
        ours, theirs = (net.stages.get_submodule(f"block{n}").state_dict() for net, n in ((shallow, at), (whole, of)))
        assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_a_supernet_wider_than_the_trained_network_is_refused():
    with pytest.raises(GancompError, match="cannot begin as"):
        warm_start(ArchitectureSpace(TEACHER, SearchSpace(((24, 16),) * 8)), teacher())


def test_warm_start_leaves_the_trained_network_alone():
    given = teacher()
    warm_start(SPACE, given)
    assert all(torch.equal(weight, given.state_dict()[name]) for name, weight in teacher().state_dict().items())


def test_blocks_of_another_kind_begin_fresh_and_alike_each_time():
    space = dataclasses.replace(SPACE, separable=(False, True))
    first, again = (warm_start(space, teacher()) for _ in range(2))
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in first.state_dict().items())
    dense = warm_start(SPACE, teacher())
    x = torch.rand(1, 1, 32, 32) * 2 - 1
    assert torch.equal(first.extract(SPACE.widest)(x), dense.extract(SPACE.widest)(x))


def test_the_adaptors_learn_only_where_features_are_compared():
    with_features, without = (
        game(teacher(1), teacher(), noise_task(), short_config(), each).groups for each in (OBJECTIVE, gan())
    )
    assert [group.networks for group in with_features] == [("discriminator",), ("generator", "adaptors")]
    assert without[1].networks == ("generator",)


def test_outputs_of_a_distillation_are_paired_outputs_with_features():
    models = game(teacher(1), teacher(), noise_task(), short_config()).networks
    outputs = DistillationOutputs(models, Batches(noise_task().train, 3, 0, True).at(0), taps={})
    assert torch.equal(outputs.fake, models["generator"](outputs.source))
    assert len(outputs.features) == len(outputs.teacher_features) == 4
