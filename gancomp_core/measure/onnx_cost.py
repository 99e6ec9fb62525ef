"""What an ONNX file multiplies, counted on its graph: anyone's file, in float or in 8 bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gancomp_core.errors import GancompError
from gancomp_core.measure.onnx_export import Array, check_onnx_input, shape_refused
from gancomp_core.measure.onnx_runtime import check_graph, onnx_runtime
from gancomp_core.measure.running import first_line

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: The operators that multiply weights, each with the place of the weights among its inputs.
WEIGHTS_AT = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3, "Gemm": 1, "MatMul": 1}
WEIGHTS_AT |= {"MatMulInteger": 1, "QLinearMatMul": 3}
BIAS_AT = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "QLinearConv": 8}


@dataclass(frozen=True)
class OnnxCost:
    """What one picture costs in an ONNX file.

    Attributes:
        macs: Multiply-accumulates of convolutions and matrix products, as the graph does them. A last convolution that
            :func:`gancomp_core.methods.quantization.export_int8` packed counts with the zeros it multiplies.
        params: Weights and biases of those layers, in whichever format.
        bytes: Size of the file.
    """

    macs: int
    params: int
    bytes: int


def onnx_cost(path: Path | str, input_shape: Sequence[int]) -> OnnxCost:
    """Count what an ONNX file multiplies for one picture, by running it once and looking at every shape.

    Args:
        path: A file with one input.
        input_shape: (pictures, channels, height, width) of an input that it takes.

    Raises:
        GancompError: When the file is missing or not an ONNX file, and when it cannot take this shape.
    """
    import onnx  # slow to import, and only this needs it

    path = Path(path)
    if not path.is_file():
        raise GancompError(f"There is no file {path}; write it with export_onnx first.")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # onnx and protobuf raise many kinds
        raise GancompError(
            f"{path.name} is not an ONNX file ({first_line(error)}); write it again with export_onnx."
        ) from error
    check_graph(path)
    shapes = _shapes(model, np.zeros(tuple(input_shape), np.float32), path.name)
    nodes = list(_multiplying(model))
    macs = sum(_macs(node, shapes) for node in nodes)
    makers = {tensor: node for node in model.graph.node for tensor in node.output}
    constants = {each.name: math.prod(each.dims) for each in model.graph.initializer}
    stored: dict[str, int] = {}
    for node in nodes:
        for place in (WEIGHTS_AT[node.op_type], BIAS_AT.get(node.op_type, len(node.input))):
            if place < len(node.input):
                stored |= _largest_constant(node.input[place], makers, constants)
    return OnnxCost(macs // input_shape[0], sum(stored.values()), path.stat().st_size)


def _multiplying(model: ModelProto) -> Iterator[NodeProto]:
    return (node for node in model.graph.node if node.op_type in WEIGHTS_AT)


def kernel_macs(model: ModelProto, example: Array) -> dict[str, int]:
    """What each multiplying layer of a graph costs for a batch, by the name of the tensor that it writes."""
    nodes = list(_multiplying(model))
    shapes = _shapes(model, example, "The graph")
    return {node.output[0]: _macs(node, shapes) for node in nodes}


def _shapes(model: ModelProto, example: Array, name: str) -> Mapping[str, tuple[int, ...]]:
    """The shapes of everything that a multiplying layer reads or writes."""
    import onnx

    runtime = onnx_runtime()
    constants = {each.name: tuple(each.dims) for each in model.graph.initializer}
    wanted = dict.fromkeys(
        tensor
        for node in _multiplying(model)
        for tensor in (node.input[0], node.input[WEIGHTS_AT[node.op_type]], node.output[0])
        if tensor not in constants
    )
    own = {each.name for each in model.graph.input}
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name not in own)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise GancompError(
            f"onnxruntime cannot read {name} ({first_line(error)}); write the file again with export_onnx."
        ) from error
    source = check_onnx_input(session, name)
    names = [each.name for each in session.get_outputs()]
    try:
        found = session.run(names, {source: example}) if names else []
    except Exception as error:
        raise shape_refused(session, name, example.shape, error) from error
    return constants | {source: example.shape} | {name: out.shape for name, out in zip(names, found, strict=True)}


def _macs(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Each output needs a product for every weight that reaches it; of a transposed convolution each input does."""
    weight, output = shapes[node.input[WEIGHTS_AT[node.op_type]]], shapes[node.output[0]]
    if node.op_type == "ConvTranspose":
        return math.prod(shapes[node.input[0]]) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(output) * math.prod(weight[1:])
    return math.prod(output) * shapes[node.input[0]][-1]


def _largest_constant(tensor: str, makers: Mapping[str, NodeProto], constants: Mapping[str, int]) -> dict[str, int]:
    """The constant that a tensor is made of, its name and size: the others upstream are scales and shapes."""
    found, waiting = {}, [tensor]
    while waiting:
        name = waiting.pop()
        if name in constants:
            found[name] = constants[name]
        elif name in makers:
            waiting += makers[name].input
    best = max(found, key=found.__getitem__, default=None)
    return {best: found[best]} if best else {}
