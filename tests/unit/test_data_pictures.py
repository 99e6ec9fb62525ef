"""Batches are a pure function of seed and step."""

import pytest
import torch

from gancomp_core.data import Batches, PictureSet, to_float, to_uint8
from gancomp_core.errors import GancompError


def numbered(count, side=4):
    """Pictures that say who they are: pixel 0 holds the index, pixel 1 marks the left, the rest is black."""
    pictures = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    pictures[:, 0, 0, 0] = torch.arange(count)
    pictures[:, 0, 1, 0] = 255
    return pictures


def identities(pictures):
    """Index of each picture and whether it was mirrored."""
    pixels = to_uint8(pictures)
    mirrored = pixels[:, 0, 1, -1] == 255
    return torch.where(mirrored, pixels[:, 0, 0, -1], pixels[:, 0, 0, 0]).tolist(), mirrored.tolist()


@pytest.fixture
def pairs():
    return PictureSet(numbered(50), numbered(50))


def equal(one, other):
    return torch.equal(one.source, other.source) and torch.equal(one.target, other.target)


@pytest.mark.parametrize("paired", [True, False])
def test_any_step_is_the_same_in_a_fresh_object_whatever_came_before(pairs, paired):
    running = Batches(pairs, 8, seed=3, paired=paired)
    history = [running.at(step) for step in range(30)]
    for step in (29, 0, 13, 6, 7):
        assert equal(Batches(pairs, 8, seed=3, paired=paired).at(step), history[step])
        assert equal(running.at(step), history[step])


def test_global_random_state_is_neither_used_nor_touched(pairs):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = Batches(pairs, 8, seed=3, paired=True).at(5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert equal(first, Batches(pairs, 8, seed=3, paired=True).at(5))


def test_seeds_and_epochs_have_orders_of_their_own(pairs):
    order = [
        identities(Batches(pairs, 50, seed=seed, paired=True).at(step).source)[0] for seed in (0, 1) for step in (0, 1)
    ]
    assert len({tuple(o) for o in order}) == 4


def test_every_picture_comes_once_per_epoch_and_every_batch_is_full(pairs):
    batches = Batches(pairs, 8, seed=0, paired=True)
    seen = [index for step in range(25) for index in identities(batches.at(step).source)[0]]  # 200 = 4 epochs of 50
    assert len(seen) == 200
    for epoch in range(4):
        assert sorted(seen[50 * epoch : 50 * (epoch + 1)]) == list(range(50))


def test_batch_may_be_larger_than_the_set():
    batch = Batches(PictureSet(numbered(3), numbered(3)), 8, seed=0, paired=True).at(1)
    assert len(batch) == 8
    assert set(identities(batch.source)[0]) == {0, 1, 2}


def test_flips_keep_pairs_together(pairs):
    batches = Batches(pairs, 50, seed=0, paired=True)
    for step in range(4):
        batch = batches.at(step)
        assert identities(batch.source) == identities(batch.target)
        assert 10 < sum(identities(batch.source)[1]) < 40


def test_edges_stay_under_their_photo_when_flipped():
    from gancomp_core.data import load_task

    task = load_task("edges2shoes")
    lookup = {edges.numpy().tobytes(): index for index, edges in enumerate(task.search.sources[:])}
    batch = Batches(task.search, 64, seed=1, paired=True).at(2)
    flipped = 0
    for source, target in zip(to_uint8(batch.source), to_uint8(batch.target), strict=True):
        if source.numpy().tobytes() not in lookup:
            source, target = source.flip(-1).contiguous(), target.flip(-1)
            flipped += 1
        assert torch.equal(task.search.targets[lookup[source.numpy().tobytes()]], target)
    assert 15 < flipped < 50


def test_without_flip_nothing_is_mirrored(pairs):
    batch = Batches(pairs, 50, seed=0, paired=True, flip=False).at(0)
    assert not any(identities(batch.source)[1] + identities(batch.target)[1])


def test_unpaired_sides_have_their_own_order_flips_and_length():
    pictures = PictureSet(numbered(20), numbered(30))
    assert len(pictures) == 20
    batches = Batches(pictures, 10, seed=0, paired=False)
    drawn = [batches.at(step) for step in range(6)]
    sources, targets = ([identities(getattr(batch, side)) for batch in drawn] for side in ("source", "target"))
    assert sources[0][0] != targets[0][0]
    assert sources[0][1] != targets[0][1]
    assert sorted(sum((indices for indices, _ in sources[:2]), [])) == list(range(20))
    assert sorted(sum((indices for indices, _ in targets[:3]), [])) == list(range(30))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_of_all_ranks_are_the_global_batch(pairs, paired, world):
    for step in (0, 6, 11):  # step 6 crosses the end of an epoch
        whole = Batches(pairs, 8, seed=0, paired=paired).at(step)
        shares = [Batches(pairs, 8, seed=0, paired=paired).at(step, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat([share.source for share in shares]), whole.source)
        assert torch.equal(torch.cat([share.target for share in shares]), whole.target)


def test_impossible_requests_are_explained(pairs):
    batches = Batches(pairs, 8, seed=0, paired=True)
    with pytest.raises(GancompError, match="multiple of 3"):
        batches.at(0, rank=0, world=3)
    with pytest.raises(GancompError, match="Rank 2 does not exist among 2 processes; it must be 0 to 1"):
        batches.at(0, rank=2, world=2)
    with pytest.raises(GancompError, match="steps start at 0"):
        batches.at(-1)
    with pytest.raises(GancompError, match="batch size is 0"):
        Batches(pairs, 0, seed=0, paired=True)
    with pytest.raises(GancompError, match="empty"):
        Batches(PictureSet(numbered(0), numbered(0)), 8, seed=0, paired=True)


def test_float_and_back_keeps_every_value():
    values = torch.arange(256, dtype=torch.uint8)
    assert to_float(values).min() == -1
    assert to_float(values).max() == 1
    assert torch.equal(to_uint8(to_float(values)), values)
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_a_batch_is_a_copy(pairs):
    pairs.batch(slice(0, 2)).source.zero_()
    assert torch.equal(pairs.sources, numbered(50))
