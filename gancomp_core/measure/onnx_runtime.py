"""onnxruntime, loaded in this one place, with its telemetry off."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gancomp_core.errors import GancompError, shown

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

LARGEST_TENSOR = 2**28  # numbers that a graph may ask for in one tensor: 1 GB in float32
LARGEST_PADDING = 2**14  # pixels at one side of a picture; several such layers add up to more than the memory
ENDLESS = ("Loop", "Scan", "SequenceMap")
#: Attributes by which onnxruntime divides; a 0 in them ends its process.
POSITIVE = ("group", "strides", "dilations", "kernel_shape", "blocksize", "num_groups", "num_outputs", "num_heads")

#: From 1.29 on, onnxruntime queues events and sends them over the network, the first one when it is imported; this
#: variable, read then, turns all of that off. Windows does not read it, but heeds ``disable_telemetry_events``.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def onnx_runtime(part: str = "") -> ModuleType:
    """The package onnxruntime, with its telemetry off.

    Args:
        part: A sub-package to import instead, such as "quantization".

    Returns:
        The module.

    Raises:
        GancompError: When onnxruntime is not installed.
    """
    os.environ.update(NO_TELEMETRY)
    try:
        package = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise GancompError(
            "Running ONNX files needs the package onnxruntime; pip install onnxruntime, or run the module in PyTorch."
        ) from error
    package.disable_telemetry_events()
    return importlib.import_module(f"onnxruntime.{part}") if part else package


def check_graph(path: Path) -> None:
    """Refuse what onnxruntime would run for ever, into all memory or into a division by 0; what else is wrong it says.

    Raises:
        GancompError: For a graph with a loop, for one with a tensor of more than 2**28 numbers, for layers with
            strides, groups or the like below 1, and for layers that pad by more than 2**14 pixels.
    """
    import onnx  # slow to import, and only this needs it

    try:
        model = onnx.load(str(path), load_external_data=False)
        why = _danger(model) or _danger(onnx.shape_inference.infer_shapes(_light(model), data_prop=True))
    except Exception:  # no ONNX file, or one whose shapes do not fit
        return
    if why:
        raise GancompError(f"{path.name} {why}; export a generator of pictures without it.")


def _danger(model: ModelProto) -> str:
    for graph in _graphs(model.graph):
        if loops := [node.op_type for node in graph.node if node.op_type in ENDLESS]:
            return f"has a {loops[0]}, which may never end"
        if why := _divisors_below_one(graph) or _padding_too_large(graph):
            return why
        sizes = {each.name: each.dims for each in graph.initializer}
        for value in (*graph.value_info, *graph.output):
            sizes[value.name] = [side.dim_value for side in value.type.tensor_type.shape.dim]
        for name, sides in sizes.items():
            if math.prod(sides) > LARGEST_TENSOR:
                return f"has a tensor '{shown(name)}' of {math.prod(sides):,} numbers; {LARGEST_TENSOR:,} are allowed"
    return ""


def _divisors_below_one(graph: GraphProto) -> str:
    for node in graph.node:
        for each in node.attribute:
            numbers = [each.i] if each.type == each.INT else list(each.ints)
            if each.name in POSITIVE and min(numbers, default=1) < 1:
                return f"has a {shown(node.op_type)} whose {each.name} is {min(numbers)}, and it is at least 1"
    return ""


def _padding_too_large(graph: GraphProto) -> str:
    for node in graph.node:
        for each in node.attribute:
            most = max(each.ints, default=0)
            if each.name in ("pads", "output_padding") and most > LARGEST_PADDING:
                return f"has a {shown(node.op_type)} that pads by {most:,} pixels; {LARGEST_PADDING:,} are allowed"
    return ""


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for attribute in (each for node in graph.node for each in node.attribute):
        for inner in (attribute.g, *attribute.graphs):
            if inner.node:
                yield from _graphs(inner)


def _light(model: ModelProto) -> ModelProto:
    """Without the weights, which shapes do not depend on, and the shapes that the file states, which may be wrong."""
    model.graph.ClearField("value_info")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 1000:
            tensor.ClearField("raw_data")
    return model
