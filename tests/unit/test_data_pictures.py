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


def located(count, side, scale):
    """Pictures whose pixels say where they are, in steps of ``scale`` pixels: uint8 [count, 2, side, side]."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([y // scale, x // scale]).expand(count, -1, -1, -1).to(torch.uint8).contiguous()


def corner(square):
    """Row and column that the upper left pixel of a square of :func:`located` says it had."""
    return to_uint8(square)[:, 0, 0].tolist()


@pytest.fixture
def enlarging():
    """Sources of 6 pixels, targets of 24: pixel (y, x) of a source says what the 16 target pixels below it say."""
    return PictureSet(located(40, 6, 1), located(40, 24, 4))


def test_a_square_is_cut_at_the_same_place_of_both_sides(enlarging):
    for flip in (False, True):
        batch = Batches(enlarging, 40, seed=0, paired=True, flip=flip, crop=12, scale=4).at(0)
        assert (batch.source.shape, batch.target.shape) == ((40, 2, 3, 3), (40, 2, 12, 12))
        assert torch.equal(batch.source.repeat_interleave(4, 2).repeat_interleave(4, 3), batch.target)


def test_squares_lie_everywhere_inside_and_differ_from_picture_to_picture(enlarging):
    batches = Batches(enlarging, 40, seed=0, paired=True, flip=False, crop=12, scale=4)
    corners = [tuple(corner(square)) for step in range(20) for square in batches.at(step).source]
    counts = [corners.count((y, x)) for y in range(4) for x in range(4)]
    assert sum(counts) == 800  # none elsewhere
    assert min(counts) > 25  # 50 is the mean
    assert max(counts) < 80


def test_a_square_as_large_as_the_picture_is_the_picture_and_cutting_changes_no_order_and_no_flip(enlarging):
    for step in (0, 3):
        whole = Batches(enlarging, 8, seed=1, paired=True).at(step)
        assert equal(whole, Batches(enlarging, 8, seed=1, paired=True, crop=24, scale=4).at(step))
    large = PictureSet(numbered(30, side=6), numbered(30, side=6))
    whole = Batches(large, 8, seed=1, paired=True).at(2)
    squares = Batches(large, 8, seed=1, paired=True, crop=5).at(2)
    for picture, square in zip(whole.source, squares.source, strict=True):
        assert any(torch.equal(picture[:, y : y + 5, x : x + 5], square) for y in (0, 1) for x in (0, 1))


@pytest.mark.parametrize("paired", [True, False])
def test_cut_squares_depend_on_seed_and_step_alone_and_are_shared_among_ranks(enlarging, paired):
    def batches():
        return Batches(enlarging, 8, seed=0, paired=paired, crop=12, scale=4)

    running = batches()
    for step in (0, 4, 5, 0):  # step 5 begins a new epoch
        whole = running.at(step)
        assert equal(whole, batches().at(step))
        shares = [batches().at(step, rank, 4) for rank in range(4)]
        assert torch.equal(torch.cat([share.source for share in shares]), whole.source)
        assert torch.equal(torch.cat([share.target for share in shares]), whole.target)
    assert not equal(batches().at(0), Batches(enlarging, 8, seed=1, paired=paired, crop=12, scale=4).at(0))


def test_unpaired_sides_are_cut_at_places_of_their_own():
    pictures = PictureSet(located(40, 24, 1), located(40, 24, 1))
    batch = Batches(pictures, 40, seed=0, paired=False, flip=False, crop=8).at(0)
    sources, targets = ([corner(square) for square in side] for side in (batch.source, batch.target))
    assert sum(s == t for s, t in zip(sources, targets, strict=True)) < 5
    assert {y for y, _ in targets} <= set(range(17))
    assert len({tuple(c) for c in targets}) > 30


def smooth(count, size=32):
    """Pictures of one blurred blob each, at places of their own, dark on white."""
    places = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    far = (y - places[:, 0, None, None]).square() + (x - places[:, 1, None, None]).square()
    return (255 - 255 * torch.exp(-8 * far)).round().to(torch.uint8)[:, None]


def test_warp_moves_both_sides_of_a_pair_alike_and_about_every_second_picture():
    blobs = smooth(40)
    plain, warped = (Batches(PictureSet(blobs, blobs), 40, 0, True, False, warp=warp).at(2) for warp in (False, True))
    assert torch.equal(warped.source, warped.target)
    moved = (warped.source - plain.source).abs().amax((1, 2, 3)) > 0.02
    assert 10 < moved.sum() < 30
    assert ((warped.source - plain.source).abs().amax((1, 2, 3))[~moved] < 1e-4).all(), "the others are untouched"
    assert warped.source[:, :, 0].min() > 0.2, "the border is repeated, not filled with black"


def test_warp_is_a_function_of_seed_and_step_and_shared_among_ranks():
    pictures = PictureSet(smooth(40), smooth(40))
    whole = Batches(pictures, 8, seed=1, paired=True, warp=True).at(5)
    shares = [Batches(pictures, 8, seed=1, paired=True, warp=True).at(5, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([share.source for share in shares]), whole.source)
    apart = Batches(pictures, 40, seed=1, paired=False, flip=False, warp=True).at(0)
    assert not torch.equal(apart.source.sort(0).values, apart.target.sort(0).values)


def test_an_impossible_crop_is_explained(enlarging):
    for crop in (0, -4, 10):
        with pytest.raises(GancompError, match=f"crop is {crop} pixels; it must be a multiple of the scale 4, 1 or"):
            Batches(enlarging, 8, seed=0, paired=True, crop=crop, scale=4)
    with pytest.raises(GancompError, match=r"square of 7 pixels cannot be cut .* \[6, 6\]; choose a smaller crop"):
        Batches(enlarging, 8, seed=0, paired=True, crop=28, scale=4).at(0)


def test_a_reversed_set_has_its_sides_exchanged_and_keeps_its_labels():
    labels = torch.arange(20)
    pictures = PictureSet(numbered(20), 255 - numbered(30), labels)
    back = pictures.reversed()
    assert (back.sources is pictures.targets, back.targets is pictures.sources) == (True, True)
    assert back.labels is labels
    assert len(back) == len(pictures) == 20
    there, again = pictures.batch(slice(0, 5)), back.batch(slice(0, 5))
    assert torch.equal(there.source, again.target)
    assert torch.equal(there.target, again.source)


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
