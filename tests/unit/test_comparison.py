"""Networks of any origin side by side: modules of anyone, ONNX files of anyone, one table and their pictures."""

from __future__ import annotations

import base64
import io
import math
import re

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from factories import a_task, map_task, negative_task, random_resnet, refused, squares_task, uint8_noise
from gancomp_core import compare, comparison, zoo
from gancomp_core.data import PictureSet
from gancomp_core.measure import cost, evaluate_generator, export_onnx, onnx_cost
from gancomp_core.measure.onnx_cost import kernel_macs
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import VdsrArchitecture, build


class Own(nn.Module):
    """A generator that no library knows: two convolutions and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))

    def forward(self, x):
        return torch.tanh(x + self.inner(x))


class Spectral(nn.Module):
    """One with an operation whose products cannot be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.ones(16, 9))

    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.filter, s=x.shape[-2:])


@pytest.fixture(scope="module")
def task():
    return negative_task()


@pytest.fixture
def untimed(monkeypatch):
    """Nothing is exported and timed: that takes seconds for each network."""
    monkeypatch.setattr(comparison._Contestant, "times", lambda self, shape, folder: {"ms": 1.0, "p95_ms": 2.0})


def png(html):
    """The pictures in a page."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


def test_modules_and_files_of_any_origin_are_measured_alike(task, tmp_path):
    ours, own = random_resnet(), Own().train()
    file = export_onnx(own, tmp_path / "own.onnx", (1, 1, 16, 16))
    small = export_int8(ours, tmp_path / "ours.onnx", task.calibration(8))
    found = compare(ours, own, file, str(small), task=task)
    table = found.table
    assert list(table.index) == ["ResnetGenerator", "Own", "own", "ours"]
    assert table.macs.tolist()[:3] == [cost(ours, 16, 16).macs, 2 * 4 * 9 * 256, 2 * 4 * 9 * 256]
    assert table.params.tolist()[1:3] == [77, 77]
    assert table["bytes"].tolist()[1:] == [4 * 77, file.stat().st_size, small.stat().st_size]
    assert (table.ms > 0).all()
    assert (table.p95_ms >= table.ms).all()
    assert table.torch_ms.notna().tolist() == [True, True, False, False]
    assert table.loc["ResnetGenerator", "kid"] == evaluate_generator(ours, task).kid.value
    assert table.loc["Own", "psnr"] == pytest.approx(table.loc["own", "psnr"], abs=1e-3)
    assert "fd" not in table, "too few pictures for one"
    assert found.notes == ()
    assert own.training, "left as it was"
    assert list(found.rows) == ["given", *table.index, "real"]


def test_it_prints_and_draws_itself(task, untimed):
    found = compare(Own(), Own(), task=task, names=["<b>one</b>", "two"], shown=5)
    assert "1/" not in str(found).splitlines()[1], "the first is what the others are compared with"
    assert "40 pictures of the test split" in str(found)
    page = found._repr_html_()
    assert "<b>one" not in page
    assert page.count("&lt;b&gt;one&lt;/b&gt;") == 3, "in the table, beside its pictures, in their alt text"
    assert len(png(page)) == 4
    assert {picture.size for picture in png(page)} == {(5 * 16 * 2, 16 * 2)}
    assert found.pictures.size == (5 * 16 * 2, 4 * 16 * 2)


def test_shares_are_of_the_first_network(task, untimed):
    wide, narrow = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)), nn.Conv2d(1, 1, 1)
    shown = compare(wide, narrow, task=task).readable
    assert shown.MACs.tolist() == ["36.9 k", "256 (1/144)"]
    assert compare(narrow, wide, task=task).readable.MACs.tolist() == ["256", "36.9 k (144 times)"]


def test_what_cannot_be_counted_or_exported_is_said_and_the_rest_measured(task):
    found = compare(Own(), Spectral(), task=task)
    assert math.isnan(found.table.loc["Spectral", "macs"])
    assert found.table.loc["Spectral", "torch_ms"] > 0
    assert "Spectral: its MACs are not counted." in str(found)
    assert "its MACs are not counted" in found._repr_html_()


@pytest.mark.parametrize("unpaired", [True, False])
def test_scores_are_those_that_the_task_has(unpaired, untimed):
    small = squares_task() if unpaired else negative_task()
    assert ("psnr" in compare(Own(), task=small).table) != unpaired


def test_maps_are_painted_and_small_photos_enlarged(untimed):
    maps = map_task(12, 4)
    network = nn.Conv2d(3, 3, 1)
    assert compare(network, task=maps).rows["given"].shape == (8, 3, 16, 16)
    photos = a_task(PictureSet(uint8_noise(12, 3, 16, 16), uint8_noise(12, 3, 64, 64)))
    found = compare(build(VdsrArchitecture(scale=4)), task=photos)
    assert list(found.rows) == ["small photo", "bicubic", "Vdsr", "original"]
    assert found.table.psnr_y.notna().all()


def test_mistakes_are_explained_before_anything_slow(task, tmp_path):
    with refused("needs at least one network"):
        compare(task=task)
    with refused("Network 2 is a ZooModel"):
        compare(Own(), zoo.load("edges2shoes/small_student"), task=task)
    with refused("There is no file"):
        compare(tmp_path / "missing.onnx", task=task)
    (tmp_path / "text.onnx").write_text("no graph")
    with refused("is not an ONNX file"):
        compare(tmp_path / "text.onnx", task=task)
    with refused("2 networks and 1 names"):
        compare(Own(), Own(), task=task, names=["one"])
    with refused("'Conv2d' does not take sources of 'small'"):
        compare(nn.Conv2d(3, 1, 1), task=task)
    with refused("made pictures of shape"):
        compare(nn.Conv2d(1, 2, 1), task=task)
    with refused("returns a tuple"):
        compare(type("Two", (Own,), {"forward": lambda self, x: (x, x)})(), task=task)


# --- what an ONNX file multiplies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["edges2shoes/small_student", "photos_x4/agd"])
def test_a_float_file_costs_what_its_network_does(name, tmp_path):
    network = zoo.load(name).generator
    shape = (network.architecture.in_channels, 32, 32)
    file = export_onnx(network, tmp_path / "network.onnx", (1, *shape))
    found, known = onnx_cost(file, (1, *shape)), cost(network, 32, 32)
    assert found.macs == known.macs == onnx_cost(file, (3, *shape)).macs
    assert found.params == pytest.approx(known.params, rel=0.001)  # norms that learn are left out
    assert found.bytes == file.stat().st_size


def test_matrix_products_count_whoever_wrote_the_file(tmp_path):
    weight = numpy_helper.from_array(np.ones((16, 8), np.float32), "weight")
    bias = numpy_helper.from_array(np.ones(4, np.float32), "bias")
    small = numpy_helper.from_array(np.ones((4, 512), np.float32), "small")
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["y"]),  # 4 x 16 rows of 16 pixels, to 8 numbers each
        helper.make_node("Flatten", ["y"], ["flat"]),
        helper.make_node("Gemm", ["flat", "small", "bias"], ["z"], transB=1),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 4, 16, 16]), ("z", ["n", 4]))
    ]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], [weight, bias, small])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "x.onnx")
    found = onnx_cost(tmp_path / "x.onnx", (2, 4, 16, 16))
    assert found.macs == 64 * 8 * 16 + 4 * 512
    assert found.params == 16 * 8 + 4 * 512 + 4


def onnx_graph(path, nodes, constants, shapes):
    """A file of these nodes; the first of ``shapes`` is its input and the second its output."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "graph", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_weights_of_a_matrix_that_come_out_of_integers_count_without_their_scales(tmp_path):
    constants = {
        "q": np.ones((16, 8), np.int8),
        "scale": np.float32(0.1),
        "zero": np.int8(0),
        "w": np.ones((8, 2), np.float32),
    }
    nodes = [("DequantizeLinear", ["q", "scale", "zero"], ["real"]), ("MatMul", ["x", "real"], ["y"])]
    nodes += [("MatMul", ["y", "w"], ["z"])]
    path = onnx_graph(tmp_path / "x.onnx", nodes, constants, {"x": ["n", 1, 4, 16], "z": ["n", 1, 4, 2]})
    found = onnx_cost(path, (3, 1, 4, 16))
    assert (found.macs, found.params) == (4 * 16 * 8 + 4 * 8 * 2, 16 * 8 + 8 * 2)
    assert isinstance(found.macs, int)
    for batch in (1, 3):
        of_each = kernel_macs(onnx.load(path), np.zeros((batch, 1, 4, 16), np.float32))
        assert of_each == {"y": batch * 4 * 16 * 8, "z": batch * 4 * 8 * 2}


def test_a_matrix_product_of_pictures_has_no_weights(tmp_path):
    path = onnx_graph(tmp_path / "x.onnx", [("MatMul", ["x", "x"], ["y"])], {}, {"x": [1, 1, 4, 4], "y": [1, 1, 4, 4]})
    found = onnx_cost(path, (1, 1, 4, 4))
    assert (found.macs, found.params) == (4 * 4 * 4, 0)


def test_a_packed_last_convolution_counts_with_its_zeros(tmp_path):
    network = random_resnet()
    file = export_int8(network, tmp_path / "int8.onnx", torch.rand(8, 1, 16, 16) * 2 - 1)
    tail = 8 * 49 * 16 * 16  # a 7 x 7 kernel of 8 channels at every pixel; packed, 8 x 8
    assert onnx_cost(file, (1, 1, 16, 16)).macs == cost(network, 16, 16).macs + tail * 64 // 49 - tail


def test_a_shape_that_a_file_cannot_take_is_told(tmp_path):
    file = export_onnx(Own(), tmp_path / "own.onnx", (1, 1, 16, 16))
    with refused("cannot take pictures of shape"):
        onnx_cost(file, (1, 3, 16, 16))
    with refused("There is no file"):
        onnx_cost(tmp_path / "missing.onnx", (1, 1, 16, 16))
