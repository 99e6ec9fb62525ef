"""Searches whose networks are real: their pictures are scored, their milliseconds measured."""

import pickle
import random

import pytest
import torch

from gancomp_core.data import PictureSet, Task
from gancomp_core.errors import GancompError
from gancomp_core.measure import evaluate_generator
from gancomp_core.methods.architecture_search import Budget, LatencyTable, SupernetScore, search
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ElasticGenerator,
    ResnetArchitecture,
    SearchSpace,
    SpadeArchitecture,
    initialize,
)
from gancomp_core.train.batch_norm import recalibrate

CHANNELS = SearchSpace(((8, 16), (8, 16), *((8,),) * 6))
RESNET = ArchitectureSpace(ResnetArchitecture(ChannelConfig.uniform(16), 1, in_channels=1, out_channels=1), CHANNELS)
MIXED = ArchitectureSpace(
    ResnetArchitecture(ChannelConfig.uniform(16), 3, in_channels=1, out_channels=1),
    CHANNELS,
    depths=(1, 3),
    kernels=(3, 5),
    separable=(False, True),
    resolutions=(1.0, 0.5),
)
SPADE = ArchitectureSpace(
    SpadeArchitecture(ChannelConfig.uniform(8), label_channels=2), CHANNELS, depths=(1, 2), resolutions=(1.0,)
)


def a_task(size=16, source_channels=1, target_channels=1, search_pictures=30):
    draw = torch.Generator().manual_seed(7)

    def pictures(count):
        def some(channels):
            return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=draw)

        return PictureSet(some(source_channels), some(target_channels))

    sets = (pictures(60), pictures(search_pictures), pictures(4))
    name = f"noise {size} {source_channels} {target_channels} {search_pictures}"
    return Task(name, True, size, source_channels, target_channels, *sets, fingerprint=name)


@pytest.fixture(scope="module")
def task():
    return a_task()


@pytest.fixture(scope="module")
def supernet():
    return initialize(ElasticGenerator(RESNET), seed=1, std=0.2)


@pytest.fixture(scope="module")
def score(supernet, task):
    return SupernetScore(supernet, task, pictures=12)


def test_a_score_is_what_the_evaluation_of_the_extracted_network_says(score, supernet, task):
    for architecture in (RESNET.widest, RESNET.narrowest):
        quality = evaluate_generator(supernet.extract(architecture), task, split="search", seeds=(0,), n=12)
        assert score(architecture) == pytest.approx(quality.set_distance, rel=1e-4)


def test_a_split_large_enough_is_scored_by_frechet_distance(supernet):
    large = a_task(search_pictures=1000)
    quality = evaluate_generator(supernet.extract(RESNET.widest), large, split="search", seeds=(0,), n=8)
    found = SupernetScore(supernet, large, pictures=8)(RESNET.widest)
    assert quality.distance is not None
    assert found == pytest.approx(quality.distance.value, rel=1e-4)


def test_a_search_among_real_sub_networks_finds_the_best_of_all(score, task):
    everything = search(RESNET, score, Budget(macs=1e9), "brute force", pixels=(16, 16))
    assert len(everything) == len(RESNET)
    assert score(everything.best) == everything.best_row.score == everything.table.score.min()


def test_a_score_is_the_same_in_another_process_and_leaves_random_numbers_alone(score):
    before = torch.get_rng_state()
    assert pickle.loads(pickle.dumps(score))(RESNET.widest) == score(RESNET.widest)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_score_does_not_change_when_the_supernet_is_trained_on(supernet, task):
    network = ElasticGenerator(RESNET)
    network.load_state_dict(supernet.state_dict())
    score = SupernetScore(network, task, pictures=12)
    value, key = score(RESNET.narrowest), score.key
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(0.5)
    assert score(RESNET.narrowest) == value
    assert SupernetScore(network, task, pictures=12).key != key
    assert SupernetScore(supernet, task, pictures=12).key == key
    assert SupernetScore(supernet, task, pictures=11).key != key


def test_networks_with_batch_norm_are_calibrated_before_they_are_scored():
    labels = a_task(64, 2, 3, search_pictures=6)
    supernet = initialize(ElasticGenerator(SPADE), seed=1)
    score = SupernetScore(supernet, labels)
    made = score.network(SPADE.narrowest)
    expected = supernet.extract(SPADE.narrowest)
    sources = labels.train.batch(torch.arange(60)).source
    recalibrate(expected, sources.split(16))
    x = labels.search.batch(slice(0, 2)).source
    assert torch.allclose(made(x), expected(x), atol=1e-6)
    assert not torch.allclose(made(x), supernet.extract(SPADE.narrowest).eval()(x), atol=1e-3)
    assert torch.isfinite(torch.tensor(score(SPADE.narrowest)))


def test_a_supernet_of_another_task_is_refused(supernet):
    with pytest.raises(GancompError, match="score it on the task"):
        SupernetScore(supernet, a_task(16, 3, 3))


def test_a_score_on_training_pictures_is_refused(supernet, task):
    with pytest.raises(GancompError, match="'test' or 'search'"):
        SupernetScore(supernet, task, split="train")


def test_a_supernet_that_makes_nan_names_the_network(supernet, task):
    broken = ElasticGenerator(RESNET)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(GancompError, match="ResnetArchitecture.*not finite"):
        SupernetScore(broken, task, pictures=12)(RESNET.widest)


# --- latency tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("space", "pixels"), [(MIXED, (32, 32)), (SPADE, (64, 64))], ids=["resnet", "spade"])
def test_a_latency_table_knows_every_network_of_its_space(space, pixels):
    table = LatencyTable.build(space, pixels, threads=1)
    known = dict(table.stages)
    some = [space.sample(random.Random(seed)) for seed in range(20)]
    assert all(table.predict(architecture) > 0 for architecture in some)
    assert table.stages == known  # nothing was measured for them
    error = table.error(some[:2])
    assert error.networks == 2
    assert error.mean_percent >= 0
    assert "%" in str(error)


def test_a_latency_is_the_sum_of_the_stages():
    table = LatencyTable.build(RESNET, (16, 16), threads=1)
    table.stages = dict.fromkeys(table.stages, 1.0)
    assert table.predict(RESNET.widest) == 7  # stem, two downs, one block, two ups, tail
    assert table.error({RESNET.widest: 7.0, RESNET.narrowest: 14.0}).mean_percent == pytest.approx(25)


def test_a_search_keeps_a_budget_of_milliseconds(score):
    table = LatencyTable.build(RESNET, (16, 16), threads=1)
    limit = sorted(table.predict(architecture) for architecture in RESNET)[1]
    frontier = search(RESNET, score, Budget(latency_ms=limit), "brute force", pixels=table)
    assert frontier.table.latency_ms.max() <= limit
    assert len(frontier) >= 2
    assert len(frontier.pareto("latency_ms")) >= 1
    with pytest.raises(GancompError, match=r"reach from .* ms to .* ms"):
        search(RESNET, score, Budget(latency_ms=1e-6), pixels=table)


def test_a_latency_table_survives_its_file(tmp_path):
    table = LatencyTable.build(RESNET, (16, 16), threads=1)
    table.save(tmp_path / "latency.json")
    assert LatencyTable.load(tmp_path / "latency.json") == table
    (tmp_path / "latency.json").write_text("{}")
    with pytest.raises(GancompError, match="not a latency table"):
        LatencyTable.load(tmp_path / "latency.json")


def test_another_machines_table_is_not_mixed_with_this_ones_milliseconds():
    table = LatencyTable(RESNET.base, (16, 16), 1, "a machine far away")
    with pytest.raises(GancompError, match="another machine"):
        table.predict(RESNET.widest)


def test_a_table_of_other_pictures_is_refused():
    table = LatencyTable(RESNET.base, (16, 16), 1, "")
    with pytest.raises(GancompError, match="measured for networks like"):
        table.predict(ResnetArchitecture(ChannelConfig.uniform(16), 1, in_channels=3))
