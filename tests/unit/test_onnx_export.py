"""Exported generators: the same pictures, any size, nothing half-written."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator, export_onnx
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
