"""Modules and float files of others in integers: close to the float network, or what stayed float is named."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from factories import refused, smooth
from gancomp_core import zoo
from gancomp_core.data import load_task
from gancomp_core.measure import OnnxGenerator, export_onnx
from gancomp_core.methods.quantization import export_int8, export_int8_within, psnr_to_float
from gancomp_core.methods.quantization.graph import Graph
from gancomp_core.nets import plain_torch


class Blur(nn.Module):
    """CUT's upsampling: a transposed convolution with a fixed kernel in a buffer."""

    def __init__(self, channels):
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.register_buffer("filt", (line[:, None] * line).repeat(channels, 1, 1, 1))

    def forward(self, x):
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=len(self.filt))


class Skip(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.cat([x, self.inner(x)], 1)


def around(*middle, channels=16, norm=nn.InstanceNorm2d):
    first = [nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5), norm(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), norm(16)]
    return nn.Sequential(*first, *middle, nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh())


KINDS = {
    "instance norm": lambda: around(nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.InstanceNorm2d(8), channels=8),
    "batch norm": lambda: around(nn.ReLU(), nn.Upsample(scale_factor=2), norm=nn.BatchNorm2d),
    "resize": lambda: around(nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear")),
    "blur": lambda: around(nn.ReLU(), Blur(16)),
    "prelu": lambda: around(nn.PReLU(), nn.Upsample(scale_factor=2)),
    "leaky relu": lambda: around(nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2)),
    "pixel shuffle": lambda: around(nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.PixelShuffle(2), channels=8),
    "skip": lambda: around(
        Skip(nn.Sequential(nn.Conv2d(16, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1))),
        nn.Upsample(scale_factor=2), channels=24,
    ),
}  # fmt: skip


def network(kind):
    torch.manual_seed(0)
    made = KINDS[kind]()
    x = smooth(8, 3, 32, 32)
    with torch.no_grad():
        for _ in range(20):
            made.train()(x)  # running statistics, where there are some
    return made.eval(), x


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_keeps_40_db(kind, tmp_path):
    made, x = network(kind)
    found = export_int8_within(made, tmp_path / "int8.onnx", x)
    assert found.reached, str(found)
    with torch.no_grad():
        assert psnr_to_float(found.path, made, x).mean() >= 39.9
    assert sum(found.in_float.values()) <= 0.5


def test_the_layers_that_cost_most_stay_float_and_are_named(tmp_path):
    made, x = network("pixel shuffle")
    all_in = export_int8_within(made, tmp_path / "all.onnx", x, least_psnr=0)
    assert all_in.in_float == {}
    assert all_in.sensitivity.empty
    wanted = all_in.psnr + 2
    told = []
    found = export_int8_within(
        made, tmp_path / "a.onnx", x, least_psnr=wanted, progress=lambda *each: told.append(each)
    )
    assert found.reached
    assert found.psnr_integer == all_in.psnr
    assert set(found.in_float) < set(found.sensitivity.layer)
    assert "sensitivity" in {stage for stage, _ in told}
    for layer, share in found.in_float.items():
        assert f"{layer} ({share:.0%} of the MACs)" in str(found)
    # rounded alone, each layer costs less than all of them do
    assert found.sensitivity.psnr.min() > all_in.psnr
    least = export_int8_within(made, tmp_path / "b.onnx", x, least_psnr=200, most_float=0.1)
    assert not least.reached
    assert sum(least.in_float.values()) <= 0.1
    assert str(least).endswith("the 200 dB asked for were not reached")
    with refused("0 to 1, not 2"):
        export_int8_within(made, tmp_path / "c.onnx", x, most_float=2)


def test_trained_weights_keep_40_db_as_a_plain_module_and_as_a_file(tmp_path):
    generator, task = zoo.load("edges2shoes/small_student").generator, load_task("edges2shoes")
    x, known = task.test.batch(slice(0, 8)).source, task.calibration(16)
    made = plain_torch(generator)
    floating = export_onnx(made, tmp_path / "float.onnx", tuple(known.shape))
    for source in (made, floating):
        found = export_int8_within(source, tmp_path / "int8.onnx", known)
        assert found.reached, str(found)
        assert psnr_to_float(found.path, floating, x).mean() >= 40


def test_a_float_file_of_anyone_becomes_integer(tmp_path):
    """Older operators, constants as nodes, weights that are inputs as well, one picture at a time, its own range."""
    made, x = network("batch norm")
    path = export_onnx(made, tmp_path / "float.onnx", (1, 3, 32, 32), dynamic=False)
    model = onnx.load(path)
    weights = model.graph.initializer
    nodes = [helper.make_node("Constant", [], [each.name], value=each) for each in weights[:2]]
    model.graph.input.extend(
        helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in weights[2:]
    )
    del weights[:2]
    for node in model.graph.node:
        node.name = ""
    model.graph.node.extend(nodes)
    ordered = [*nodes, *model.graph.node[: -len(nodes)]]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
    onnx.save(model, path)
    expected = OnnxGenerator(path)(x[:1])
    whole = export_int8(path, tmp_path / "int8.onnx", x)
    assert Graph(whole).of("QuantizeLinear")
    assert 35 < psnr_to_float(whole, lambda _: expected, x[:1]).mean() < 100


def test_files_that_cannot_become_integer_are_told_why(tmp_path):
    made, x = network("batch norm")
    path = export_onnx(made, tmp_path / "float.onnx", (2, 3, 32, 32))
    whole = export_int8(path, tmp_path / "int8.onnx", x)
    with refused(r"int8\.onnx is quantized already; give the float file"):
        export_int8(whole, tmp_path / "again.onnx", x)
    model = onnx.load(path)
    model.graph.initializer.append(
        numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]).astype("float16"), "half")
    )
    assert model.graph.initializer[-1].data_type == TensorProto.FLOAT16
    onnx.save(model, tmp_path / "half.onnx")
    with refused(r"half\.onnx holds float16 numbers \('half'\).*again in float32"):
        export_int8(tmp_path / "half.onnx", tmp_path / "a.onnx", x)
    with refused("There is no file"):
        export_int8(tmp_path / "none.onnx", tmp_path / "a.onnx", x)
