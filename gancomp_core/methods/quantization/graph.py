"""An ONNX graph for rewriting: which node makes a tensor, which ones read it, which values are constant."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from gancomp_core.files import atomic_write

Array = np.ndarray[Any, np.dtype[Any]]
#: What the attributes of a convolution are when they are left out; the shape of its kernel is that of its weights.
DEFAULTS = {"auto_pad": b"NOTSET", "dilations": [1, 1], "group": 1, "pads": [0, 0, 0, 0], "strides": [1, 1]}


class Graph:
    """A model read from a file that :func:`gancomp_core.measure.export_onnx` wrote.

    ``nodes`` are in the order in which they run; ``arrays`` holds the constants by name. Both may be changed, and
    :meth:`save` writes their current content. ``source`` and ``picture`` are the names of input and output.
    """

    def __init__(self, path: Path | str) -> None:
        self.model = onnx.load(str(path))
        self.nodes = list(self.model.graph.node)
        self.arrays: dict[str, Array] = {
            each.name: numpy_helper.to_array(each).copy() for each in self.model.graph.initializer
        }
        self.source: str = self.model.graph.input[0].name
        self.picture: str = self.model.graph.output[0].name

    def of(self, *kinds: str) -> list[NodeProto]:
        """The nodes of these operators."""
        return [node for node in self.nodes if node.op_type in kinds]

    def maker(self, tensor: str) -> NodeProto | None:
        """The node that makes a tensor; None for the source and for constants."""
        return next((node for node in self.nodes if tensor in node.output), None)

    def only_reader(self, tensor: str) -> NodeProto | None:
        """The node that reads a tensor, if it is the only one; else None."""
        readers = [node for node in self.nodes if tensor in node.input]
        return readers[0] if len(readers) == 1 and tensor != self.picture else None

    def constant(self, name: str, array: Array) -> str:
        """Add a constant under a name that begins with ``name``; returns the name."""
        taken = self.arrays.keys() | {tensor for node in self.nodes for tensor in (*node.input, *node.output)}
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        found = next(each for each in names if each not in taken)
        self.arrays[found] = array
        return found

    def insert(self, node: NodeProto, *, before: Sequence[NodeProto] = (), after: Sequence[NodeProto] = ()) -> None:
        """Insert nodes that run right before and right after a node."""
        place = next(index for index, other in enumerate(self.nodes) if other is node)
        self.nodes[place : place + 1] = [*before, node, *after]

    def compact(self) -> None:
        """Store equal constants once, leave out redundant attributes, and give tensors short names.

        Together these take as much room as a layer of a small network.
        """
        first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        same = {
            name: first.setdefault((array.dtype.str, array.shape, array.tobytes()), name)
            for name, array in self.arrays.items()
        }
        numbers = itertools.count()
        short: defaultdict[str, str] = defaultdict(lambda: f"{next(numbers):x}")
        short.update({"": "", self.source: self.source, self.picture: self.picture})
        for node in self.nodes:
            node.name = ""
            if node.op_type in ("Conv", "ConvTranspose"):
                _leave_out_defaults(node)
            node.input[:] = [short[same.get(tensor, tensor)] for tensor in node.input]
            node.output[:] = [short[tensor] for tensor in node.output]
        self.arrays = {short[name]: array for name, array in self.arrays.items() if name in short}

    def save(self, path: Path | str, also: Sequence[str] = ()) -> Path:
        """Write the model atomically, without unused constants; tensors in ``also`` become outputs as well."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for field in ("node", "initializer", "value_info"):
            model.graph.ClearField(field)
        used = {tensor for node in self.nodes for tensor in node.input}
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(array, name) for name, array in self.arrays.items() if name in used
        )
        model.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in also)
        with atomic_write(path) as temporary:
            onnx.save(model, str(temporary))
        return Path(path)


def attribute(node: NodeProto, name: str) -> Any:
    """An attribute of a convolution as a plain value."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), DEFAULTS[name])


def set_attributes(node: NodeProto, **values: list[int]) -> None:
    """Replace attributes of a node, or add them."""
    kept = [each for each in node.attribute if each.name not in values]
    node.ClearField("attribute")
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])


def _leave_out_defaults(node: NodeProto) -> None:
    stated = [
        each
        for each in node.attribute
        if each.name != "kernel_shape" and helper.get_attribute_value(each) != DEFAULTS.get(each.name)
    ]
    node.ClearField("attribute")
    node.attribute.extend(stated)
