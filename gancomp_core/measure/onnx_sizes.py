"""ONNX files for pictures of any height and width: the border is repeated up to a multiple, and cut off again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from gancomp_core.files import atomic_write


def take_any_size(path: Path, step: int, scale: Fraction = Fraction(1)) -> None:
    """Let a file's network take pictures whose sides are no multiples of ``step``, in place.

    Pictures grow at their right and lower border, by repetition of the last column and row, before the network sees
    them; what it makes of the rest is cut off.

    Args:
        path: An ONNX file of one picture input [N, C, H, W] and one picture output.
        step: Height and width are multiples of this inside the network, at least 1.
        scale: How many times larger the output is.
    """
    model = onnx.load(path)
    graph = model.graph
    given, made = graph.input[0], graph.output[0]
    inner = {given.name: f"{given.name}_padded", made.name: f"{made.name}_padded"}
    for each in graph.node:
        for names in (each.input, each.output):
            names[:] = [inner.get(name, name) for name in names]
    for each, side in ((given, "{}"), (made, f"{{}} * {scale}")):
        for place, word in ((2, "height"), (3, "width")):
            each.type.tensor_type.shape.dim[place].dim_param = side.format(word) if scale != 1 else word
    del graph.value_info[:]
    numbers = {"step": [step], "none": [0] * 6, "start": [0, 0], "axes": [2, 3]}
    numbers |= {"times": [scale.numerator], "over": [scale.denominator]}
    for name, values in numbers.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"any_size_{name}"))

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        known = [f"any_size_{each}" if each in numbers else each for each in inputs.split()]
        return helper.make_node(kind, known, [output], name=f"any_size/{output}", **attributes)

    before = [
        node("Shape", given.name, "any_size_sides", start=2),
        node("Neg", "any_size_sides", "any_size_negative"),
        node("Mod", "any_size_negative step", "any_size_missing"),
        node("Concat", "none any_size_missing", "any_size_pads", axis=0),
        node("Pad", f"{given.name} any_size_pads", inner[given.name], mode="edge"),
    ]
    after = [
        node("Mul", "any_size_sides times", "any_size_larger"),
        node("Div", "any_size_larger over", "any_size_ends"),
        node("Slice", f"{inner[made.name]} start any_size_ends axes", made.name),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    with atomic_write(path) as temporary:
        onnx.save(model, temporary)
