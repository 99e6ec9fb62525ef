"""Drawings made of edges, and the networks of the drawing page that learned from them."""

import gzip
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image, ImageDraw

from factories import few, squares_task
from gancomp_core.data import load_task, to_float
from gancomp_core.data.drawn import as_drawn, drawn_task, strokes, thinned
from gancomp_core.files import REPOSITORY, sha256
from gancomp_core.lab import drawing
from gancomp_core.measure import OnnxGenerator, onnx_cost
from gancomp_core.methods.quantization import psnr_to_float

DEMO = REPOSITORY / "data" / "demo"
MANIFEST = json.loads((DEMO / "manifest.json").read_text(encoding="utf-8"))
TASKS = {task["name"]: task for task in MANIFEST["tasks"]}
NETWORKS = [(name, each) for name, task in TASKS.items() for each in task["networks"]]
NAME = "8_8_8_8_4_8_8_8 depth=3"
each_network = pytest.mark.parametrize(("task", "network"), NETWORKS, ids=[each["file"] for _, each in NETWORKS])


# ---- drawings of edges -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def edges():
    """A boot of 32 pixels."""
    return load_task("edges2shoes").test.sources[700]


def test_the_same_seed_draws_the_same_and_another_one_something_else(edges):
    before = edges.clone()
    drawn = [as_drawn(edges, seed) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(edges, before)


def test_a_drawing_is_black_and_white_and_near_the_edges_it_was_drawn_from(edges):
    def around(picture, pixels):
        return torch.nn.functional.max_pool2d((picture < 128).float(), 2 * pixels + 1, 1, pixels).bool()

    for seed in range(20):
        drawn = as_drawn(edges, seed)
        assert drawn.shape == edges.shape
        assert set(drawn.unique().tolist()) == {0, 255}
        assert (drawn < 128)[around(edges, 5)].sum() == (drawn < 128).sum()  # nothing far from a line
        assert around(drawn, 6)[edges < 128].float().mean() > 0.4  # and not everything is gone


def test_areas_may_be_drawn_as_their_outline():
    disk = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(disk).ellipse([14, 14, 50, 50], fill=0)
    source = torch.from_numpy(np.array(disk))[None]
    inked = [float((as_drawn(source, seed) < 128).float().mean()) for seed in range(30)]
    full = float((source < 128).float().mean())
    assert max(inked) > 0.8 * full
    assert min(inked) < 0.4 * full


def test_thinning_leaves_one_pixel_of_a_thick_line_and_all_of_a_thin_one():
    thick = np.zeros((16, 16), bool)
    thick[6:9, 2:14] = True
    thin = thinned(thick)
    assert thin.any(0)[4:12].all()
    assert (thin.sum(0) <= 1).all()
    assert (thinned(thin) == thin).all()


def test_strokes_visit_every_pixel_from_neighbor_to_neighbor(edges):
    lines = thinned(edges[0].numpy() < 128)
    found = strokes(lines)
    visited = {tuple(point) for stroke in found for point in stroke.astype(int).tolist()}
    assert visited == {(x, y) for y, x in np.argwhere(lines).tolist()}
    assert max(np.abs(np.diff(stroke, axis=0)).max() for stroke in found if len(stroke) > 1) == 1


def test_a_drawn_task_keeps_targets_and_begins_with_the_sources_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    task = replace(squares_task(), train=few(squares_task(), 6).train)
    task = replace(task, train=replaced_targets(task.train))
    drawn = drawn_task(task, variants=3)
    assert len(drawn.train) == 3 * len(task.train)
    assert torch.equal(drawn.train.sources[: len(task.train)], task.train.sources)
    assert torch.equal(drawn.train.targets, task.train.targets.repeat(3, 1, 1, 1))
    assert not torch.equal(drawn.train.sources[6:12], drawn.train.sources[12:])
    assert torch.equal(drawn.search.targets, task.search.targets)
    assert drawn.fingerprint != task.fingerprint


def replaced_targets(pictures):
    """As many targets as sources."""
    return type(pictures)(pictures.sources, pictures.sources.flip(0))


# ---- trainings -------------------------------------------------------------------------------------------------------


def test_every_stage_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    monkeypatch.setattr(drawing, "load_task", lambda name: few(load_task(name), 12))
    small = replace(drawing.DEMOS["shoes"], variants=2, steps=(2, 2), choices={NAME: 2})
    (student,) = small.students
    assert small.space.name(student.architecture) == NAME
    assert small.minutes("supernet") > 0
    pictures = small.task.test.batch(slice(0, 2)).source
    monkeypatch.setattr(drawing, "fit", None)  # a second time nothing is trained
    monkeypatch.setattr(drawing, "distil", None)
    (again,) = replace(small).students
    assert torch.equal(again(pictures), student(pictures))


# ---- the files of the page -------------------------------------------------------------------------------------------


def test_each_task_has_a_teacher_and_five_students_in_two_precisions_of_falling_cost():
    assert set(TASKS) == set(drawing.DEMOS)
    for task in TASKS.values():
        teacher, *students = task["networks"]
        assert (teacher["kind"], teacher["precision"]) == ("teacher", "float32")
        assert {each["kind"] for each in students} == {"student"}
        macs = [each["macs"] for each in task["networks"] if each["precision"] == "int8"]
        assert len(macs) >= 5
        assert macs == sorted(macs, reverse=True)
        assert teacher["macs"] / macs[0] < 11
        assert teacher["macs"] / macs[-1] > 20
        assert {each["name"] for each in students if each["precision"] == "float32"} == {
            each["name"] for each in students if each["precision"] == "int8"
        }


@each_network
def test_a_file_is_what_the_manifest_says(task, network):
    path, side = DEMO / network["file"], TASKS[task]["size"][0]
    assert path.stat().st_size == network["bytes"]
    assert sha256(path) == network["sha256"]
    model = onnx.load(path)
    assert model.opset_import[0].version == network["opset"]
    assert model.ir_version <= 10
    assert ([each.name for each in model.graph.input], [each.name for each in model.graph.output]) == (
        ["source"],
        ["picture"],
    )
    if network["precision"] == "float32":  # the last layer of an int8 file is packed, with zeros
        assert onnx_cost(path, (1, 1, side, side)).macs == network["macs"]


@each_network
def test_a_file_runs_and_paints(task, network):
    about = TASKS[task]
    given = drawings(task)[:3]
    made = OnnxGenerator(DEMO / network["file"], threads=1)(given)
    assert made.shape == (3, about["output"]["channels"], *about["size"])
    assert made.abs().max() <= 1 + 1e-5  # tanh of onnxruntime is rounded
    assert made.std() > 0.1


@pytest.mark.parametrize("task", TASKS)
def test_students_in_int8_paint_like_those_in_float(task):
    pictures = torch.cat([drawings(task), load_task(drawing.DEMOS[task].of).test.batch(slice(0, 40)).source])
    files = {(each["name"], each["precision"]): DEMO / each["file"] for each in TASKS[task]["networks"]}
    for name in {name for name, precision in files if precision == "int8"}:
        found = psnr_to_float(files[name, "int8"], OnnxGenerator(files[name, "float32"], threads=1), pictures)
        assert found.mean() > 30, name


def test_the_files_are_small_enough_for_a_page():
    sizes = dict.fromkeys(("teacher", "student"), 0)
    for _, each in NETWORKS:
        sizes[each["kind"]] += len(gzip.compress((DEMO / each["file"]).read_bytes()))
    assert sizes["student"] < 1e6
    assert sum(sizes.values()) < 2.6e6


@pytest.mark.parametrize("task", TASKS)
def test_drawings_and_examples_are_black_and_white_and_of_the_size_of_the_network(task):
    about = TASKS[task]
    assert len(about["drawings"]) == 15
    assert len(about["examples"]) >= 6
    assert all(each["title"] for each in about["examples"])
    for file in [*about["drawings"], *(each["file"] for each in about["examples"])]:
        picture = np.array(Image.open(DEMO / file).convert("L"))
        assert list(picture.shape) == about["size"], file
        assert set(np.unique(picture)) == {0, 255}, file


def drawings(task):
    """float32 [15, 1, H, W] in [-1, 1]."""
    found = [np.array(Image.open(DEMO / file).convert("L")) for file in TASKS[task]["drawings"]]
    return to_float(torch.from_numpy(np.stack(found))[:, None])
