"""The page that paints, as files: complete, small enough, and one sentence where something is missing."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest
import torch

from factories import refused
from gancomp_core import cli, files
from gancomp_core.course import DrawingPad
from gancomp_core.course.pad import demo, page
from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator

MOST_PAGE, MOST_STUDENTS = 6_000_000, 1_000_000  # bytes, packed by gzip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return page.write_page(tmp_path_factory.mktemp("pad")).parent


def of_script(path):
    """The bytes that a script of the page keeps."""
    name, packed = re.fullmatch(r"\(.*\)\[(\".*\")\] = (\".*\");\n", path.read_text(encoding="utf-8")).groups()
    assert f"{json.loads(name)}.js" == path.name
    return gzip.decompress(base64.b64decode(json.loads(packed)))


def test_the_page_keeps_runtime_and_networks_byte_for_byte(written):
    runtime = files.data_root() / "onnxruntime_web"
    for name in page.RUNTIME:
        assert of_script(written / "files" / f"{name}.js") == gzip.decompress((runtime / f"{name}.gz").read_bytes())
    for task in demo.demo_tasks():
        for facts in task["networks"]:
            assert of_script(written / "files" / f"{facts['file']}.js") == demo.network_file(facts).read_bytes()


def test_the_page_and_its_students_are_small(written):
    packed = {path.name: len(gzip.compress(path.read_bytes())) for path in written.rglob("*") if path.is_file()}
    assert sum(packed.values()) < MOST_PAGE, packed
    students = {facts["file"] for task in demo.demo_tasks() for facts in task["networks"] if facts["kind"] == "student"}
    assert sum(packed[f"{name}.js"] for name in students) < MOST_STUDENTS


def test_the_page_names_no_address_and_no_file_beyond_its_own(written):
    text = (written / "index.html").read_text(encoding="utf-8")
    assert "http" not in text
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", text) == ["data:,"]
    assert "import {" not in text.replace("import { Pad", ""), "all parts of the script stand in the page"


def test_drawings_are_unpacked_as_they_were_packed():
    for task in demo.demo_tasks():
        height, width = task["size"]
        for example, start in zip(task["examples"], demo.starting_drawings(task), strict=True):
            drawn = demo.lines(demo.demo_folder() / example["file"])
            assert drawn.shape == (height, width)
            assert (demo.unpacked(start["pixels"], height * width) == drawn.ravel()).all()
            assert example["title"]


@pytest.mark.parametrize("lost", ["demo/manifest.json", "onnxruntime_web/ort.wasm.bundle.min.mjs.gz"])
def test_a_missing_file_is_named_in_one_sentence(lost, tmp_path, monkeypatch):
    for folder in ("demo", "onnxruntime_web"):
        shutil.copytree(files.data_root() / folder, tmp_path / folder)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    (tmp_path / lost).unlink()
    with refused(f"{lost.split('/')[1]} is missing; `git checkout -- data/{lost}`"):
        page.write_page(tmp_path / "page")


def test_a_network_that_was_changed_is_refused(tmp_path, monkeypatch):
    shutil.copytree(files.data_root() / "demo", tmp_path / "demo")
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    facts = demo.demo_tasks()[0]["networks"][0]
    (tmp_path / "demo" / facts["file"]).write_bytes(b"something else")
    with refused("is damaged"):
        demo.network_file(facts)


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path / "here")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "here" / "index.html")


# ---- the pad in JupyterLab ----


def test_a_drawing_is_painted_by_both_networks_in_the_kernel():
    pad = DrawingPad()
    task = demo.demo_task("shoes")
    pixels = np.zeros(task["size"], np.uint8)
    pixels[8:20, 5] = 1
    pad.drawing = pixels.tobytes()
    (teacher,) = (facts for facts in task["networks"] if facts["kind"] == "teacher")
    numbers = torch.from_numpy(1 - 2 * pixels.astype(np.float32))[None, None]
    expected = OnnxGenerator(demo.network_file(teacher))(numbers)
    assert torch.allclose(pad.pictures["teacher"], expected, atol=1e-4)
    assert np.frombuffer(pad.teacher_picture, np.float32).size == expected.numel()
    assert "ms in the kernel" in pad.facts["student"]


def test_another_student_paints_the_same_drawing():
    pad = DrawingPad()
    pad.student = torch.nn.Conv2d(1, 3, 3, padding=1)
    assert pad.pictures["student"].shape == (1, 3, 32, 32)
    pad.student = torch.negative
    assert torch.equal(pad.pictures["student"] == -1, pad.pictures["student"] < 0)
    answers = pad.facts["answer"]
    pad.drawing = b"half a message"
    assert pad.facts["answer"] == answers


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("nowhere.onnx", "There is no file nowhere.onnx"),
        (torch.nn.Conv2d(3, 3, 1), r"does not paint a drawing of shape \[1, 1, 32, 32\].*takes one gray picture"),
        (torch.nn.Conv2d(1, 2, 1), r"makes \[1, 2, 32, 32\]"),
        (torch.nn.Conv2d(1, 1, 3, stride=2), "same height and width"),
    ],
)
def test_a_network_that_does_not_paint_drawings_is_refused(network, words):
    with pytest.raises(GancompError, match=words):
        DrawingPad(student=network)


def test_readers_without_a_kernel_see_three_pictures():
    shown, _ = DrawingPad()._repr_mimebundle_()
    assert shown["text/html"].count("<img ") == 3
    assert 'alt="what the student paints of it"' in shown["text/html"]
