"""ONNX files that pad by more than a picture has pixels are refused before onnxruntime asks for the memory."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from gancomp_core.errors import GancompError
from gancomp_core.measure.onnx_runtime import LARGEST_PADDING, check_graph


def written(path, kind, attribute, numbers):
    """A file with one convolution of 1 channel on pictures of 16 x 16."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [1.0])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 16, 16]) for name in "xy"]
    ends[1].type.tensor_type.ClearField("shape")
    node = helper.make_node(kind, ["x", "w"], ["y"], strides=[1, 1], **{attribute: numbers})
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), str(path))
    return path


@pytest.mark.parametrize(
    ("kind", "attribute", "numbers"),
    [
        ("Conv", "pads", [0, 0, 0, 10**6]),
        ("Conv", "pads", [LARGEST_PADDING + 1, 0, 0, 0]),
        ("ConvTranspose", "output_padding", [0, 10**6]),
    ],
)
def test_a_file_that_pads_by_too_many_pixels_is_refused_in_a_sentence(tmp_path, kind, attribute, numbers):
    with pytest.raises(GancompError, match=rf"^a\.onnx has a {kind} that pads by {max(numbers):,} pixels; 16,384 are"):
        check_graph(written(tmp_path / "a.onnx", kind, attribute, numbers))


@pytest.mark.parametrize("numbers", [[1, 1, 1, 1], [0, 0, 0, LARGEST_PADDING], [-1, -1, -1, -1]])
def test_a_file_that_pads_by_as_much_as_is_allowed_passes(tmp_path, numbers):
    check_graph(written(tmp_path / "a.onnx", "Conv", "pads", numbers))
