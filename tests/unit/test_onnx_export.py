"""Exported generators: the same pictures, any size, nothing half-written."""

import logging

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from factories import refused
from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator, export_onnx, onnx_cost, onnx_latency
from gancomp_core.nets import ResnetArchitecture, ResnetGenerator


def plain_net():
    """The layers generators are made of: reflection padding, instance norm as GroupNorm, transposed convolution."""
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, 8, 7),
        nn.GroupNorm(8, 8, affine=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1, output_padding=1),
        nn.Tanh(),
    )


def resnet(separable):
    return ResnetGenerator(ResnetArchitecture("8_8_8_8_8_8_8_8", blocks=1, separable=separable))


NETS = {"plain": plain_net, "resnet": lambda: resnet(False), "separable resnet": lambda: resnet(True)}


@pytest.mark.parametrize("name", NETS)
def test_the_exported_network_gives_the_same_pictures_at_every_size(name, tmp_path):
    module = NETS[name]().eval()
    generator = OnnxGenerator(export_onnx(module, tmp_path / "net.onnx", (1, 3, 32, 32)), threads=1)
    for shape in ((1, 3, 32, 32), (5, 3, 32, 32), (2, 3, 48, 20), (1, 3, 64, 96)):
        x = torch.rand(shape) * 2 - 1
        with torch.inference_mode():
            torch.testing.assert_close(generator(x), module(x), rtol=0, atol=1e-4)


def test_arrays_are_taken_too_and_tensors_come_back(tmp_path):
    generator = OnnxGenerator(export_onnx(nn.Conv2d(1, 1, 3), tmp_path / "net.onnx", (1, 1, 8, 8)))
    picture = np.zeros((1, 1, 8, 8), dtype=np.float64)
    assert generator(picture).dtype == torch.float32


def test_a_fixed_file_takes_its_own_shape_alone(tmp_path):
    generator = OnnxGenerator(export_onnx(nn.Conv2d(1, 1, 3), tmp_path / "net.onnx", (1, 1, 8, 8), dynamic=False))
    assert generator(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 6, 6)
    with pytest.raises(GancompError, match=r"net\.onnx cannot take pictures of shape \[1, 1, 16, 16\].*\[1, 1, 8, 8\]"):
        generator(torch.zeros(1, 1, 16, 16))


def written(path, *inputs):
    """A file that adds its inputs up, each given as (name, kind, shape), and multiplies their last side."""
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    picture = helper.make_tensor_value_info("picture", inputs[0][1], inputs[0][2])
    last = inputs[0][2][3] if isinstance(inputs[0][2][3], int) else 8
    weight = helper.make_tensor("weight", inputs[0][1], [last, last], np.eye(last).flatten())
    nodes = [
        helper.make_node("Sum", [name for name, *_ in inputs], ["sum"]),
        helper.make_node("MatMul", ["sum", "weight"], ["picture"]),
    ]
    graph = helper.make_graph(nodes, "sum", infos, [picture], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
FOREIGN = {
    "two inputs": (
        [("source", FLOAT, [1, 3, "h", "w"]), ("style", FLOAT, [1, 3, 1, 1])],
        "2 inputs .*'style'.*constants",
    ),
    "half": ([("source", HALF, [1, 3, "h", "w"])], r"float16.*only float32 .*export the network again"),
    "fixed size": ([("source", FLOAT, [1, 3, 16, 24])], r"the fixed shape \[1, 3, 16, 24\] alone.*dynamic=True"),
    "channels last": ([("source", FLOAT, ["n", "h", "w", 3])], r"channels last, .*permute\(0, 2, 3, 1\)"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_others_are_refused_with_the_right_way_out(name, tmp_path):
    inputs, said = FOREIGN[name]
    path = written(tmp_path / "net.onnx", *inputs)
    x = torch.zeros(1, 3, 8, 8)
    for use in (lambda: OnnxGenerator(path)(x), lambda: onnx_latency(path, x.shape), lambda: onnx_cost(path, x.shape)):
        with refused(r"^net\.onnx ", said):
            use()
    if name == "channels last":
        assert OnnxGenerator(path)(x.permute(0, 2, 3, 1)).shape == (1, 8, 8, 3)


def test_pictures_of_other_numbers_are_refused_with_the_way_out(tmp_path):
    network, x = resnet(False), torch.zeros(1, 3, 16, 16)
    path = export_onnx(network, tmp_path / "net.onnx", x.shape)
    for run in (network, OnnxGenerator(path)):
        with refused(r"takes float32 pictures.* not uint8 ones; convert .*\.float\(\) / 127\.5 - 1"):
            run(x.to(torch.uint8))
    with refused("float32 weights and was given float16 pictures"):
        network(x.half())
    with refused("float16 weights and was given float32 pictures"):
        resnet(False).half()(x)
    with torch.autocast("cpu", torch.bfloat16):
        network(x.bfloat16())


def test_a_bad_opset_is_refused(tmp_path):
    for opset in (17, 24):
        with refused(f"opset 18 to 23, not {opset}"):
            export_onnx(nn.Identity(), tmp_path / "net.onnx", (1, 3, 8, 8), opset=opset)


def test_export_is_silent_and_keeps_the_mode(tmp_path, capfd, caplog):
    module = plain_net().train()
    with caplog.at_level(logging.INFO):
        export_onnx(module, tmp_path / "net.onnx", (1, 3, 16, 16))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert not caplog.records
    assert module.training
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_failed_export_leaves_the_old_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    with pytest.raises(GancompError, match=r"Conv2d could not be exported .* shape \(1, 3, 8, 8\)"):
        export_onnx(nn.Conv2d(1, 1, 3), path, (1, 3, 8, 8))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_bad_shape_a_missing_file_and_no_onnx_file_are_told_apart(tmp_path):
    with pytest.raises(GancompError, match="such as"):
        export_onnx(nn.Identity(), tmp_path / "net.onnx", (3, 8, 8))
    with pytest.raises(GancompError, match="There is no file"):
        OnnxGenerator(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_text("no network")
    with pytest.raises(GancompError, match="is not an ONNX file"):
        OnnxGenerator(tmp_path / "net.onnx")
    with pytest.raises(GancompError, match="threads is a whole number from 1"):
        OnnxGenerator(tmp_path / "net.onnx", threads=0)
