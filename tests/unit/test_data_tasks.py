"""The shipped task edges2shoes: what it holds, and what happens when its files do not."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from factories import copied
from gancomp_core.data import load_task, task_names
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, sha256

SHIPPED = REPOSITORY / "data" / "edges2shoes"
FILES = ["photos.png", "edges.png", "labels.npy", "manifest.json"]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the shipped files that may be damaged."""
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    return copied(SHIPPED, FILES, tmp_path)


def test_edges2shoes_has_the_promised_splits_and_shapes():
    task = load_task("edges2shoes")
    assert [len(part) for part in (task.train, task.search, task.test)] == [16_500, 1_500, 3_000]
    assert (task.paired, task.size, task.source_channels, task.target_channels) == (True, 32, 1, 1)
    assert task.test.sources[:5].shape == task.test.targets[torch.tensor([3, 1, 4, 1, 5])].shape == (5, 1, 32, 32)
    assert task.test.targets[:5].dtype == torch.uint8


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
    spec = importlib.util.spec_from_file_location("build", SHIPPED / "build.py")
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


def test_fingerprint_is_the_same_in_another_process():
    command = "from gancomp_core.data import load_task; print(load_task('edges2shoes').fingerprint)"
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert other.stdout.strip() == load_task("edges2shoes").fingerprint


def test_unknown_task_lists_the_known_ones():
    assert "edges2shoes" in task_names()
    with pytest.raises(GancompError, match="no task 'edges2shoe'; the shipped ones are: 'edges2shoes'"):
        load_task("edges2shoe")
    with pytest.raises(GancompError, match="no public set 'public:edges2shoe'; those there are: .*horse2zebra"):
        load_task("public:edges2shoe")


@pytest.mark.parametrize("name", FILES)
def test_missing_file_names_the_command_that_restores_it(copy, name):
    (copy / name).unlink()
    with pytest.raises(GancompError, match=f"{name} is missing; `git checkout -- data/edges2shoes/{name}`"):
        load_task("edges2shoes")


@pytest.mark.parametrize("name", FILES)
def test_file_cut_in_half_names_the_command_that_restores_it(copy, name):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(GancompError, match=f"{name} is damaged; `git checkout -- data/edges2shoes/{name}`"):
        load_task("edges2shoes")


def test_one_flipped_bit_is_noticed_and_a_restored_file_loads_again(copy):
    good = (copy / "edges.png").read_bytes()
    (copy / "edges.png").write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    with pytest.raises(GancompError, match="edges.png is damaged"):
        load_task("edges2shoes")
    (copy / "edges.png").write_bytes(good)
    assert len(load_task("edges2shoes").train) == 16_500


@pytest.mark.parametrize("text", ["{}", "[]", "\ufeff{", '{"splits": 3}'])
def test_manifest_with_other_content_is_called_damaged(copy, text):
    (copy / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(GancompError, match="manifest.json is damaged"):
        load_task("edges2shoes")


def test_missing_data_folder_says_how_to_name_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(GancompError, match="set GANCOMP_DATA"):
        load_task("edges2shoes")


def test_manifest_records_licence_source_and_checksums():
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"]["licence"] == "MIT"
    assert "Zalando" in manifest["source"]["attribution"]
    assert len(manifest["inputs"]) == 4
    assert all(sha256(SHIPPED / name) == digest for name, digest in manifest["outputs"].items())
    assert "Zalando SE" in (SHIPPED / "LICENSE").read_text(encoding="utf-8")


def test_shipped_files_stay_small():
    sizes = {path.name: path.stat().st_size for path in Path(SHIPPED).iterdir() if path.is_file()}
    assert max(sizes.values()) < 8_000_000
    assert sum(sizes.values()) < 9_000_000
