"""An ONNX file as a module: onnxruntime runs it, and pictures go in and out as everywhere here."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gancomp_core.compress.value_ranges import USUAL, Evidence, between
from gancomp_core.errors import GancompError, shown
from gancomp_core.files import sha256
from gancomp_core.measure.onnx_runtime import check_graph, onnx_runtime
from gancomp_core.measure.running import first_line
from gancomp_core.methods.quantization.graph import Array, Graph
from gancomp_core.nets.ranges import RANGES

Step = tuple[str, list[float], dict[str, Any]]  # an operator, the numbers that it takes as well, and its attributes
TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}
FLOATS = ("float32", "float16")  # the second becomes the first in a file that is written
MOST_CHANNELS = 6  # of the last axis of pictures [N, H, W, C]
PASSED_ON = {"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}  # same numbers
SUMS = ("Add", "Sub", "Mul", "Div")
BOUNDED = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0)}


class OnnxModule(nn.Module):
    """A network in an ONNX file, on the CPU: float pictures [N, C, H, W] of its own range to its outputs by name.

    Files that take [N, H, W, C], float16, float64 or uint8, or a fixed number of pictures, get that.

    Args:
        path: The file.
        constants: Values of the inputs that are no pictures, by name.

    Attributes:
        output: The one output that is computed; None computes all.
        channels: That it takes, where the file says so.
        size: Height and width that it takes, where the file says so.

    Raises:
        GancompError: For a file that onnxruntime does not run, and for inputs without a value.
    """

    def __init__(self, path: Path, constants: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.path, self.session = path, _session(path)
        inputs = {each.name: each for each in self.session.get_inputs()}
        self.constants = {name: _constant(inputs, name, value, path) for name, value in (constants or {}).items()}
        picture = _picture_input([each for name, each in inputs.items() if name not in self.constants], path)
        self.picture, self.dtype = str(picture.name), TYPES[picture.type]
        self.count, *sides = (side if isinstance(side, int) and side > 0 else None for side in picture.shape)
        first, _, last = sides
        self.channels_last = last is not None and last <= MOST_CHANNELS and (first is None or first > MOST_CHANNELS)
        self.channels = sides.pop(2 if self.channels_last else 0)
        self.size = (sides[0], sides[1]) if sides[0] and sides[1] else None
        self.types = {each.name: each.type for each in self.session.get_outputs()}
        self.output: str | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> OnnxModule:
        return self  # a session cannot be copied

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        made = [self._run(group) for group in x.split(self.count or max(1, len(x)))]
        joined = {name: torch.cat([each[name] for each in made]) for name in made[0]}
        return joined[self.output] if self.output else joined

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        kept = len(x)
        if self.count and kept < self.count:  # a file for so many pictures alone
            x = torch.cat([x, x[-1:].expand(self.count - kept, -1, -1, -1)])
        found = {name: torch.from_numpy(np.atleast_1d(made))[:kept] for name, made in self._raw(x).items()}
        found = {name: made.movedim(-1, 1) if _channels_last(made) else made for name, made in found.items()}
        return {name: made.float() if _of_pixels(made) else made for name, made in found.items()}

    def _raw(self, x: Tensor) -> dict[str, Any]:
        x = x.round().clamp(0, 255) if self.dtype == "uint8" else x
        x = x.movedim(1, -1) if self.channels_last else x
        feeds = {self.picture: np.ascontiguousarray(x.detach().cpu().numpy().astype(self.dtype)), **self.constants}
        names = [self.output] if self.output else list(self.types)
        return dict(zip(names, self.session.run(names, feeds), strict=True))

    def input_evidence(self) -> Evidence:
        """The range that it takes, where its kind of numbers shows it."""
        return Evidence("[0, 255]", "it takes uint8 numbers") if self.dtype == "uint8" else Evidence()

    def output_evidence(self) -> Evidence:
        """The range of its output, where its kind of numbers or its last operation shows it."""
        if self.types[self.output or ""] == "tensor(uint8)":
            return Evidence("[0, 255]", "it makes uint8 numbers")
        last = _last_operation(self.path, self.output or "")
        return between(last[1], last[2], last[0], self.path.stem) if last else Evidence()

    @functools.cached_property
    def digest(self) -> str:
        """Of the file, of the files beside it that hold its weights, and of the constants."""
        found = hashlib.sha256("".join(map(sha256, (self.path, *_weight_files(self.path)))).encode())
        for name, value in sorted(self.constants.items()):
            found.update(f"{name} {value.dtype} {value.shape}".encode() + value.tobytes())
        return found.hexdigest()

    def write(self, path: Path, takes: str, makes: str, example: Tensor) -> None:
        """Write the same network as one file from float32 [N, C, H, W] in [-1, 1] to the same.

        Args:
            path: Where to write it.
            takes: The range that the network itself takes.
            makes: The range of what it makes.
            example: One picture that it takes.

        Raises:
            GancompError: For a network that takes several pictures at once.
        """
        if self.count not in (None, 1):
            raise GancompError(
                f"{self.path.name} takes {self.count} pictures at once; export it for one to count its costs."
            )
        before, after = self._conversions(takes, makes, self._raw(example)[self.output or ""])
        graph, output = Graph(self.path), self.output or ""
        graph.arrays |= self.constants
        _use_float32(graph)
        source, picture = "pictures in" if before else self.picture, "pictures out" if after else output
        graph.nodes[:0] = _chain(graph, source, before, self.picture)
        graph.nodes += _chain(graph, output, after, picture)
        graph.model.ir_version = max(graph.model.ir_version, 4)  # from which on constants are no inputs
        model, size = graph.model.graph, self.size or (None, None)
        model.ClearField("input")
        model.ClearField("output")
        model.input.append(
            helper.make_tensor_value_info(source, TensorProto.FLOAT, (self.count, example.shape[1], *size))
        )
        model.output.append(helper.make_tensor_value_info(picture, TensorProto.FLOAT, None))
        graph.save(path)

    def _conversions(self, takes: str, makes: str, made: Array) -> tuple[list[Step], list[Step]]:
        """What happens to pictures in [-1, 1] before they go in, and to those that come out as ``made`` did."""
        (low, high), (least, most) = RANGES[takes], RANGES[makes]
        before: list[Step] = []
        if takes != USUAL:
            before += [("Add", [1], {}), ("Mul", [(high - low) / 2], {}), ("Add", [low], {})]
        if self.dtype == "uint8":
            before += [("Round", [], {}), ("Clip", [0, 255], {})]
        if self.dtype not in FLOATS:
            before += [("Cast", [], {"to": helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))})]
        if self.channels_last:
            before += [("Transpose", [], {"perm": [0, 2, 3, 1]})]
        after: list[Step] = [("Transpose", [], {"perm": [0, 3, 1, 2]})] if _channels_last(made) else []
        if str(made.dtype) not in FLOATS:
            after += [("Cast", [], {"to": TensorProto.FLOAT})]
        if makes != USUAL:
            after += [("Sub", [least], {}), ("Mul", [2 / (most - least)], {}), ("Sub", [1], {})]
        return before, after

    def extra_repr(self) -> str:
        return f"{self.path.name}, input={self.picture!r}, output={self.output!r}"


def _chain(graph: Graph, taken: str, steps: list[Step], last: str) -> list[NodeProto]:
    """Nodes that lead from one tensor to another."""
    nodes = []
    for left, (kind, by, attributes) in zip(reversed(range(len(steps))), steps, strict=True):
        more = [graph.constant("number", np.array(number, np.float32)) for number in by]
        made = f"{taken}.{left}" if left else last
        nodes.append(helper.make_node(kind, [taken, *more], [made], **attributes))
        taken = made
    return nodes


def _use_float32(graph: Graph) -> None:
    """Compute in float32 what is computed in float16, as onnxruntime does on most CPUs anyway."""
    graph.arrays = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in graph.arrays.items()
    }
    for each in (each for node in graph.nodes for each in node.attribute):
        if each.name == "to" and each.i == TensorProto.FLOAT16:
            each.i = TensorProto.FLOAT
        elif each.t.data_type == TensorProto.FLOAT16:
            each.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each.t).astype(np.float32)))


def _channels_last(made: Tensor | Array) -> bool:
    return made.ndim == 4 and made.shape[3] <= 4 < made.shape[1]


def _of_pixels(made: Tensor) -> bool:
    return made.is_floating_point() or made.dtype == torch.uint8


def _session(path: Path) -> Any:
    runtime = onnx_runtime()
    check_graph(path)
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    try:
        if missing := [each.name for each in _weight_files(path) if not each.is_file()]:
            raise GancompError(
                f"{path} keeps its weights in {', '.join(map(shown, missing))}, which is missing; put it beside "
                "the file, or export the network into one file."
            )
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except GancompError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise GancompError(
            f"onnxruntime does not run {path} ({first_line(error)[:200]}); export the network again, with standard "
            "operators alone."
        ) from error


def _weight_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its weights."""
    tensors = _tensors(onnx.load(str(path), load_external_data=False).graph)
    entries = (entry for tensor in tensors for entry in tensor.external_data if entry.key == "location")
    return sorted({path.parent / entry.value for entry in entries})


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for attribute in (each for node in graph.node for each in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def _constant(inputs: Mapping[str, Any], name: str, value: object, path: Path) -> np.ndarray[Any, Any]:
    if name not in inputs:
        raise GancompError(f"{path} has no input {name!r} to be constant; it has {', '.join(map(repr, inputs))}.")
    kind = inputs[name].type.removeprefix("tensor(").removesuffix(")")
    sides = [side if isinstance(side, int) else 1 for side in inputs[name].shape]
    try:
        array = np.asarray(value, dtype={"float": "float32", "double": "float64"}.get(kind, kind))
        if array.ndim not in (0, len(sides)):
            raise ValueError("another number of sides")
        return np.broadcast_to(array, array.shape or sides).copy()  # a number goes everywhere
    except (TypeError, ValueError) as error:
        raise GancompError(
            f"The input {name!r} of {path} is {kind} {inputs[name].shape}, and {str(value)[:40]!r} is not; give "
            "a number or an array."
        ) from error


def _picture_input(inputs: list[Any], path: Path) -> Any:
    likely = [each for each in inputs if len(each.shape) == 4 and each.type in TYPES]
    listed = ", ".join(f"{each.name!r} {each.type} {each.shape}" for each in inputs)
    if len(inputs) == 1 and likely:
        return likely[0]
    if len(inputs) > 1:
        raise GancompError(
            f"{path} takes {len(inputs)} inputs ({listed}), and a teacher takes pictures alone; give the others values "
            "by open_teacher(..., constants={'name': value})."
        )
    raise GancompError(
        f"{path} takes {listed or 'nothing'}, and a teacher takes pictures [N, C, H, W] or [N, H, W, C] of float or "
        "uint8 numbers; export it so."
    )


def _last_operation(path: Path, output: str) -> tuple[str, float, float] | None:
    """The tanh, sigmoid or clip that bounds an output, and its ends after what is added or multiplied behind it."""
    graph = onnx.load(str(path), load_external_data=False).graph
    makers = {name: node for node in graph.node for name in node.output}
    numbers = {each.name: each for each in graph.initializer if not each.external_data}
    numbers |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}

    def number(name: str) -> float | None:
        found = numpy_helper.to_array(numbers[name]) if name in numbers else np.empty(0)
        return float(found.flat[0]) if found.size == 1 else None

    after: list[tuple[str, float, bool]] = []
    while (node := makers.get(output)) is not None:
        first, second, third = (*(number(each) for each in node.input[:3]), None, None, None)[:3]
        if node.op_type in PASSED_ON:
            output = node.input[0]
        elif node.op_type in SUMS and first is None and second is not None:
            after.append((node.op_type, second, False))
            output = node.input[0]
        elif node.op_type in SUMS and first is not None and second is None:
            after.append((node.op_type, first, True))
            output = node.input[1]
        elif node.op_type == "Clip" and second is not None and third is not None:
            return "Clip", _applied(second, after), _applied(third, after)
        else:
            ends = BOUNDED.get(node.op_type)
            return ends and (node.op_type, _applied(ends[0], after), _applied(ends[1], after))
    return None


def _applied(value: float, after: list[tuple[str, float, bool]]) -> float:
    """What the operations after it make of a number; those that ran last stand first."""
    for kind, by, constant_first in reversed(after):
        a, b = (by, value) if constant_first else (value, by)
        value = {"Add": a + b, "Sub": a - b, "Mul": a * b, "Div": a / (b or math.nan)}[kind]
    return value
