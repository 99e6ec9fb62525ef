"""The shipped task edges2shoes: what it holds, and what happens when its files do not."""

import dataclasses
import importlib.util

import pytest
import torch

from gancomp_core.data import load_task, task_names
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY


def test_edges_are_black_lines_on_white_and_shoes_stand_on_white():
    task = load_task("edges2shoes")
    assert task.search.sources[:].unique().tolist() == [0, 255]
    assert 0.05 < (task.search.sources[:] == 0).float().mean() < 0.25
    assert (task.search.targets[:, :, :2] == 255).all()  # the padding


def test_no_photo_is_in_two_splits_or_twice_in_one():
    task = load_task("edges2shoes")
    photos = [photo.numpy().tobytes() for part in (task.train, task.search, task.test) for photo in part.targets[:]]
    assert len(set(photos)) == len(photos) == 21_000


def test_edges_are_those_of_the_photo_with_the_same_index():
    pytest.importorskip("skimage", reason="only rebuilding the pictures needs scikit-image")
    spec = importlib.util.spec_from_file_location("build", REPOSITORY / "data/edges2shoes/build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    task = load_task("edges2shoes")
    for part in (task.train, task.search, task.test):
        for source, target in zip(part.sources[-5:], part.targets[-5:], strict=True):
            assert (source[0].numpy() == build.draw_edges(target[0].numpy())).all()


def test_labels_name_three_classes_of_equal_size():
    task = load_task("edges2shoes")
    assert task.label_names == ("sandal", "sneaker", "ankle boot")
    assert task.test.labels.bincount().tolist() == [1_000, 1_000, 1_000]
    assert len(task.train.labels) == len(task.train)


def test_batch_of_a_slice_is_float_in_minus_one_to_one():
    batch = load_task("edges2shoes").test.batch(slice(10, 14))
    assert batch.source.dtype == batch.target.dtype == torch.float32
    assert len(batch) == 4
    assert batch.source.unique().tolist() == [-1, 1]
    assert batch.target.min() >= -1
    assert batch.target.max() == 1


def test_a_reversed_task_goes_back_over_the_same_pictures():
    task = dataclasses.replace(load_task("edges2shoes"), source_channels=3, hidden_pairs=True)
    back = task.reversed()
    assert (back.name, back.source_channels, back.target_channels) == ("edges2shoes reversed", 1, 3)
    for split in ("train", "search", "test"):
        there, again = getattr(task, split), getattr(back, split)
        assert (again.sources is there.targets, again.targets is there.sources) == (True, True)
        assert again.labels is there.labels
    assert (back.paired, back.hidden_pairs, back.size, back.scale) == (True, True, 32, 1)
    assert back.label_names == task.label_names


def test_a_reversed_task_is_not_taken_for_the_way_there():
    task = load_task("edges2shoes")
    assert task.reversed().fingerprint != task.fingerprint
    assert task.reversed().fingerprint == task.reversed().fingerprint


@pytest.mark.parametrize("changes", [{"palette": ((0, 0, 0),)}, {"scale": 4}], ids=["maps", "enlarging"])
def test_a_task_with_no_way_back_says_so(changes):
    task = dataclasses.replace(load_task("edges2shoes"), **changes)
    with pytest.raises(GancompError, match="The task 'edges2shoes' goes one way only; reverse a task whose sides are"):
        task.reversed()


@pytest.mark.parametrize(("paired", "hidden", "scored"), [(True, False, True), (False, True, True), (False,) * 3])
def test_hidden_pairs_serve_for_scoring(paired, hidden, scored):
    task = dataclasses.replace(load_task("edges2shoes"), paired=paired, hidden_pairs=hidden)
    assert task.scored_in_pairs is scored


def test_a_task_is_read_once_per_process():
    assert load_task("edges2shoes") is load_task("edges2shoes")


def test_unknown_task_lists_the_known_ones():
    assert "edges2shoes" in task_names()
    with pytest.raises(GancompError, match="no task 'edges2shoe'; the shipped ones are: 'edges2shoes'"):
        load_task("edges2shoe")
    with pytest.raises(GancompError, match="no public set 'public:edges2shoe'; those there are: .*horse2zebra"):
        load_task("public:edges2shoe")
