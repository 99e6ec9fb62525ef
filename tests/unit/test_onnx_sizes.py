"""Files that take pictures of any size: the same pictures as before where sides fit, and no seam where they do not."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from gancomp_core.measure import OnnxGenerator, export_onnx
from gancomp_core.measure.onnx_sizes import take_any_size
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, build

SMALL = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1, in_channels=1, out_channels=1)


@pytest.mark.parametrize(("scale", "height", "width"), [(1, 37, 50), (1, 40, 32), (2, 32, 41), (0.5, 37, 50)])
def test_the_picture_is_that_of_the_repeated_border(tmp_path, scale, height, width):
    network, step = build(replace(SMALL, scale=scale), 0).eval(), 8 if scale < 1 else 4
    path = export_onnx(network, tmp_path / "a.onnx", (1, 1, 32, 32))
    take_any_size(path, step, Fraction(scale))
    picture = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    grown = F.pad(picture, (0, -width % step, 0, -height % step), mode="replicate")
    with torch.inference_mode():
        expected = network(grown)[..., : int(height * scale), : int(width * scale)]
    made = OnnxGenerator(path)(picture)
    assert made.shape == expected.shape
    assert (made - expected).abs().max() < 1e-4


def test_an_int8_file_does_it_too(tmp_path):
    network = build(SMALL, 0).eval()
    pictures = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    path = export_int8(network, tmp_path / "a.onnx", pictures)
    before = OnnxGenerator(path)(pictures)
    take_any_size(path, 4)
    assert torch.equal(OnnxGenerator(path)(pictures), before)
    assert OnnxGenerator(path)(pictures[..., :30, :29]).shape == (8, 1, 30, 29)
