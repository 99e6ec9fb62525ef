"""The shipped emoji: their splits, sizes and pixels, and what happens when a file is not what it was."""

import hashlib
import json

import pytest
import torch
from PIL import features

from gancomp_core.data import emoji, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY

SHIPPED = REPOSITORY / "data" / "emoji"
ROWS = json.loads((SHIPPED / "names.json").read_text(encoding="utf-8"))
MANIFEST = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))


def of_split(key, split):
    return [row[key] for row in ROWS if row["split"] == split]


def parts(task):
    return task.train, task.search, task.test


# --- splits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["family", "codepoint", "name"])
def test_no_family_codepoint_or_name_is_in_two_splits(key):
    train, search, test = (set(of_split(key, split)) for split in ("train", "search", "test"))
    assert not train & search
    assert not train & test
    assert not search & test


def test_variants_of_one_emoji_share_a_family():
    kin = {row["name"]: row["family"] for row in ROWS}
    for alike in (
        ("judge", "man-judge", "woman-judge"),
        ("man-red-hair", "woman-curly-hair", "person-bald", "boy"),
        ("red-heart", "blue-heart", "pink-heart", "heart-suit"),
        ("one-oclock", "twelve-thirty"),
        ("full-moon", "crescent-moon"),
        ("keycap-0", "keycap-9", "keycap-hashtag"),
        ("red-circle", "green-circle"),
        ("grinning-cat", "cat-face"),
        ("polar-bear", "bear"),
    ):
        assert len({kin[name] for name in alike}) == 1, alike
    assert len({kin[name] for name in ("rocket", "pizza", "judge", "farmer", "full-moon", "red-heart")}) == 6


def test_no_two_splits_hold_pictures_that_look_alike():
    """At 16 pixels, in both styles, nothing in one split is a near copy of something in another."""
    task = load_task("flat2gloss")
    split = torch.cat([torch.full((len(part),), index) for index, part in enumerate(parts(task))])
    distance = torch.zeros(len(split), len(split))
    for side in ("sources", "targets"):
        pixels = torch.cat([getattr(part, side)[:] for part in parts(task)]).float()
        cells = torch.nn.functional.avg_pool2d(pixels, 4).flatten(1)
        distance += torch.cdist(cells, cells) / cells.shape[1] ** 0.5 / 2
    assert distance[split[:, None] != split].min() > 13.5


def test_about_four_fifths_train_and_the_manifest_counts_every_split():
    task = load_task("flat2gloss")
    assert [len(part) for part in parts(task)] == list(MANIFEST["splits"].values())
    assert 0.76 < len(task.train) / 1570 < 0.84
    assert 60 <= len(task.search) < len(task.test)


def test_names_belong_to_the_pictures():
    names = of_split("name", "test")
    task = load_task("lines2gloss")
    assert len(names) == len(task.test)
    train = of_split("name", "train")
    red, green, blue = task.train.targets[train.index("blue-heart")][:, 32, 32].tolist()
    assert blue > max(red, green) + 50


def test_the_halves_of_the_unpaired_task_share_no_family_and_use_every_training_emoji_once():
    task, paired = load_task("flat2gloss_unpaired"), load_task("flat2gloss")
    flat = {picture.numpy().tobytes(): index for index, picture in enumerate(paired.train.sources[:])}
    gloss = {picture.numpy().tobytes(): index for index, picture in enumerate(paired.train.targets[:])}
    mine = [flat[picture.numpy().tobytes()] for picture in task.train.sources[:]]
    theirs = [gloss[picture.numpy().tobytes()] for picture in task.train.targets[:]]
    family = of_split("family", "train")
    assert not {family[i] for i in mine} & {family[i] for i in theirs}
    assert len(mine) + len(theirs) == len(paired.train)
    assert 0.4 < len(mine) / len(paired.train) < 0.6
    assert (task.paired, task.hidden_pairs, task.scored_in_pairs) == (False, True, True)
    assert torch.equal(task.test.targets[:], paired.test.targets[:])


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_small_pixel_is_the_rounded_mean_of_four_large_ones():
    small, large = load_task("flat2gloss").test, load_task("flat2gloss_128").test
    for one, four in ((small.sources, large.sources), (small.targets, large.targets)):
        mean = four[:9].double().unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
        assert torch.equal(one[:9].double(), (mean + 0.5).floor())


@pytest.mark.parametrize("side", ["lines", "flat", "gloss"])
def test_decoded_pixels_are_those_of_the_manifest(side):
    """On every system: a lossy sheet too must decode to the same numbers."""
    pictures = emoji._pictures(SHIPPED, side, MANIFEST["count"], 128).permute(0, 2, 3, 1).contiguous()
    assert hashlib.sha256(pictures.numpy().tobytes()).hexdigest() == MANIFEST["pixels"][side]


def test_both_sides_stand_at_the_same_place_on_white():
    task = load_task("flat2gloss_128")
    flat, gloss = ((255 - side[:].float()).mean(1) for side in (task.test.sources, task.test.targets))
    border = torch.cat([gloss[:, 0], gloss[:, -1], gloss[:, :, 0], gloss[:, :, -1]], 1)
    assert (border < 8).float().mean() > 0.95  # a few touch the border
    place = torch.arange(128.0)
    for axis in (1, 2):
        centers = [(ink.sum(axis) * place).sum(1) / ink.sum((1, 2)) for ink in (flat, gloss)]
        assert (centers[0] - centers[1]).abs().median() < 2.5


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_pillow_without_webp_is_named_and_not_the_file(monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: False)  # no such Pillow can be had as a wheel
    with pytest.raises(GancompError, match="This Pillow cannot read WebP"):
        emoji.emoji_task(REPOSITORY / "data", "flat2gloss")


def test_another_name_or_size_shows_those_there_are():
    with pytest.raises(GancompError, match=r"no emoji task 'gloss2flat'; choose one of 'flat2gloss', 'lines2gloss'"):
        emoji.emoji_task(REPOSITORY / "data", "gloss2flat")
    with pytest.raises(GancompError, match="64 and 128 pixels, not in 256"):
        emoji.emoji_task(REPOSITORY / "data", "flat2gloss", 256)
