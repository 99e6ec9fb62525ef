"""Real 8-bit kernels: a generator as an ONNX file whose convolutions onnxruntime computes in integers.

Activations are uint8, weights int8 with a scale for each output channel, in the QDQ form. To keep the pictures of a
network with InstanceNorm close to the float network's:

- a channel that is read by an InstanceNorm alone may be shifted and scaled freely, because the norm undoes it; so every
such channel is made to fill the 8 bits, which all channels of a layer share;
- ranges are chosen by their error, not by the largest value that occurs;
- the input of tanh is cut where tanh is within half a gray level of its end;
- the sums of residual blocks stay float; only what convolutions read and write is rounded;
- where quality matters more than time, the last convolution may stay float, too (``integer_tail``).

For speed, the last convolution, whose 3 channels leave the integer kernel's lanes empty, computes four pixels at once
(:func:`pack_tail`; it would make a float network faster, too), and convolutions of very few input channels stay float.
onnxruntime has no integer kernel for transposed convolutions, so they stay float as well. The weights of float kernels
are stored in 8 bits and unpacked when the file is loaded.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import torch
from onnx import NodeProto, TensorProto, helper
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.files import scratch
from gancomp_core.measure.onnx_export import OPSET, OnnxGenerator, export_onnx, silence
from gancomp_core.measure.onnx_runtime import onnx_runtime
from gancomp_core.measure.running import first_line, measuring
from gancomp_core.methods.quantization.affine import (
    AffineMap,
    Range,
    RangeEstimator,
    asymmetric,
    min_max,
    mse,
    rows,
    symmetric,
)
from gancomp_core.methods.quantization.graph import Array, Graph, attribute, set_attributes
from gancomp_core.methods.quantization.simulated import LEAST_INPUTS

MOST_PACKED = 4  # output channels whose fourfold fits into the 16 lanes of an integer kernel
SATURATED = math.atanh(254 / 255)  # from here on tanh is within half a gray level of 1
UNIT = Range(torch.tensor(-1.0), torch.tensor(1.0))  # of pictures, and of channels that fill their range
BATCH = 8
LEAST_OPSET = 13  # from here on, scales may belong to channels
MOST_VALUES = 1 << 19  # of a tensor that are kept for choosing its range
#: Called with the name of a stage of the work and the share of it that is done, 0 to 1.
Progress = Callable[[str, float], None]


def export_int8(
    generator: nn.Module | Path | str,
    path: Path | str,
    calibration: Tensor,
    *,
    estimator: RangeEstimator = mse,
    reduce_range: bool = False,
    integer_tail: bool = True,
    floating: Path | str | None = None,
    opset: int = OPSET,
    progress: Progress | None = None,
) -> Path:
    """Write a generator as an ONNX file with integer kernels.

    The file takes any number of pictures of any height and width that the network takes. It is written atomically.

    Args:
        generator: The float network, or a float ONNX file of anyone's.
        path: Where to write the file.
        calibration: Sources of the kind that the network will get, float32 [N, C, H, W] in [-1, 1] (for a file, in its
            own range); some dozens of training pictures are enough.
        estimator: Chooses the ranges of activations from the values that they take on these pictures.
        reduce_range: Keep the weights within 7 bits, for x86 processors without VNNI, whose 16-bit sums overflow
            otherwise.
        integer_tail: Whether the last convolution, which writes the pictures, is integer as well; if not, pictures are
            closer to the float network's, and slower.
        floating: A file that :func:`gancomp_core.measure.export_onnx` wrote of the same generator; saves some seconds.
        opset: As for :func:`gancomp_core.measure.export_onnx`; a file that is given keeps its own.
        progress: Is called with a stage ("float file", "pictures", "ranges", "kernels") and the share of it that is
            done, 0 to 1.

    Returns:
        The path.

    Raises:
        GancompError: For pictures that cannot calibrate this network, and for a network that cannot be exported.
    """
    with foreign_explained(generator), fitted(
        generator, calibration, estimator=estimator, integer_tail=integer_tail, floating=floating, opset=opset,
        progress=progress,
    ) as ready:  # fmt: skip
        return ready.write(path, reduce_range=reduce_range)


@contextlib.contextmanager
def foreign_explained(generator: nn.Module | Path | str) -> Iterator[None]:
    """What goes wrong inside is said in a sentence where it is about an ONNX file of anyone's."""
    try:
        yield
    except GancompError:
        raise
    except Exception as error:  # of onnx, onnxruntime and numpy, for graphs that make no sense
        if isinstance(generator, nn.Module):
            raise
        raise GancompError(
            f"{Path(generator).name} cannot be written in 8 bits ({first_line(error)[:200]}); export the network "
            "again, with standard operators alone."
        ) from error


@dataclass(frozen=True)
class Fitted:
    """A float graph whose ranges are known, ready to be written with integer kernels.

    Attributes:
        file: The graph as a file, in a folder that lasts as long as :func:`fitted`.
        layers: The convolutions that can be integer: the name of a node and what a reader knows the layer by.
        maps: The maps of their inputs and outputs.
        calibration: Source pictures on the CPU.
        even: Whether every picture has an even height and width.
        progress: As for :func:`export_int8`.
    """

    file: Path
    layers: Mapping[str, str]
    maps: Mapping[str, AffineMap]
    calibration: Tensor
    even: bool
    progress: Progress

    def write(self, path: Path | str, in_float: Collection[str] = (), reduce_range: bool = False) -> Path:
        """Write the file; the convolutions of the nodes ``in_float`` stay float, with their weights as they are."""
        self.progress("kernels", 0.0)
        graph = Graph(self.file)
        kernels = [node for node in graph.of("Conv") if node.name in self.layers and node.name not in in_float]
        whole = {node.input[1] for node in graph.of("Conv") if node.name in in_float}
        if kernels:
            made = self.file.with_name("int8.onnx")
            _insert_integer_kernels(graph, kernels, self.file, made, self.maps, self.calibration, reduce_range)
            graph = Graph(made)
        for node in graph.of("Conv", "ConvTranspose"):
            if node.input[1] in graph.arrays:  # float still
                if node.input[1] not in whole:
                    store_in_8_bits(graph, node)
            elif node.op_type == "Conv" and self.even:
                pack_tail(graph, node)
        graph.compact()
        self.progress("kernels", 1.0)
        return graph.save(path)


@contextlib.contextmanager
def fitted(
    generator: nn.Module | Path | str,
    calibration: Tensor,
    *,
    estimator: RangeEstimator = mse,
    integer_tail: bool = True,
    floating: Path | str | None = None,
    opset: int = OPSET,
    progress: Progress | None = None,
) -> Iterator[Fitted]:
    """The ranges of a generator; arguments and errors as for :func:`export_int8`."""
    if calibration.ndim != 4 or len(calibration) < 1 or not calibration.isfinite().all():
        raise GancompError(
            "An 8-bit network is calibrated with at least one finite source picture [N, C, H, W] in [-1, 1], not with "
            f"a tensor of shape {list(calibration.shape)}; take some dozens of the training set."
        )
    calibration, told = calibration.detach().cpu().float(), progress or _untold
    with scratch() as folder:
        prepared, span = folder / "float.onnx", UNIT
        told("float file", 0.0)
        if isinstance(generator, nn.Module):
            graph = Graph(Path(floating or export_onnx(generator, prepared, tuple(calibration.shape), opset=opset)))
            with measuring("cpu", generator):
                generator(calibration[:1])  # refuses sizes that a graph would take and get wrong
        else:
            graph, span = Graph(simplified(Path(generator), prepared)), min_max(calibration.flatten())
        name_nodes(graph)
        kernels = integer_kernels(graph, integer_tail)
        layers = {node.name: node.input[1].removesuffix(".weight") for node in kernels}
        maps = fit_ranges(graph, kernels, calibration, estimator, told, span)
        graph.save(prepared)
        yield Fitted(prepared, layers, maps, calibration, makes_even_sizes(generator), told)


def simplified(given: Path, made: Path) -> Path:
    """A float ONNX file of anyone's as one that is rewritten here: constants computed, BatchNorm in its convolution.

    Raises:
        GancompError: When it is missing, no ONNX file, takes anything but float32 pictures, or is integer already.
    """
    OnnxGenerator(given, threads=1)  # its checks
    model = onnx.load(str(given))
    versions = {each.domain: each.version for each in model.opset_import}
    if any(node.op_type in ("QLinearConv", "ConvInteger", "DequantizeLinear") for node in model.graph.node):
        raise GancompError(f"{given.name} is quantized already; give the float file that it was made of.")
    halves = [each.name for each in model.graph.initializer if each.data_type == TensorProto.FLOAT16]
    if halves:
        raise GancompError(
            f"{given.name} holds float16 numbers ('{halves[0]}'), and 8-bit ranges are found in float32; export the "
            "network again in float32, with network.float()."
        )
    stored = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in stored]  # older files list their weights as well
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    if versions.get("", OPSET) < LEAST_OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(made)
    runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return made


def name_nodes(graph: Graph) -> None:
    """Give every node a name of its own, by which its layer is chosen."""
    seen = {""}
    for number, node in enumerate(graph.nodes):
        if node.name in seen:
            node.name = f"{node.op_type}_{number}_of_graph"
        seen.add(node.name)


def _untold(stage: str, share: float) -> None:
    return None


def makes_even_sizes(generator: object) -> bool:
    """Whether every picture that a generator makes has an even height and width, according to its architecture."""
    architecture = getattr(generator, "architecture", None)
    step: int = getattr(architecture, "full_multiple", getattr(architecture, "multiple", 1))
    return step % 2 == 0


# --- ranges ---------------------------------------------------------------------------------------------------------


def integer_kernels(graph: Graph, integer_tail: bool = True) -> list[NodeProto]:
    """The convolutions of a float graph that gain from an integer kernel; the very last one only if wanted."""
    nodes = list(graph.of("Conv"))
    return [
        node
        for node in (nodes if integer_tail else nodes[:-1])
        if node.input[1] in graph.arrays and graph.arrays[node.input[1]].shape[1] >= LEAST_INPUTS
    ]


def fit_ranges(
    graph: Graph,
    convolutions: Sequence[NodeProto],
    calibration: Tensor,
    estimator: RangeEstimator,
    progress: Progress = _untold,
    source: Range = UNIT,
) -> dict[str, AffineMap]:
    """The maps of all tensors that these convolutions read and write, by name.

    Channels that are read by an InstanceNorm alone are shifted and scaled in the graph, so that all of a layer's
    channels range from -1 to 1.
    """
    kernels = [(node, node.input[0], kernel_output(graph, node)) for node in convolutions]
    tensors = dict.fromkeys(tensor for _, *both in kernels for tensor in both if tensor != graph.source)
    values = collect(graph, list(tensors), calibration, progress)
    spans = {graph.source: source}
    for done, (node, read, written) in enumerate(kernels):
        progress("ranges", done / len(kernels))
        if read not in spans:
            spans[read] = estimator(values[read].flatten())
        reader = getattr(graph.only_reader(written), "op_type", None)
        if reader == "InstanceNormalization" and written == node.output[0]:  # a ReLU between them undoes no shift
            fill_range(graph, node, values[written], estimator)
            spans[written] = UNIT
            continue
        low, high = estimator(values[written].flatten())
        bound = SATURATED if reader == "Tanh" else math.inf
        spans[written] = Range(low.clamp(min=-bound), high.clamp(max=bound))
    return {tensor: asymmetric(span) for tensor, span in spans.items()}


def kernel_output(graph: Graph, node: NodeProto) -> str:
    """What a convolution writes; if a ReLU follows, the ReLU's output, because the kernel does both."""
    reader = graph.only_reader(node.output[0])
    found: str = reader.output[0] if reader is not None and reader.op_type == "Relu" else node.output[0]
    return found


def fill_range(graph: Graph, node: NodeProto, values: Tensor, estimator: RangeEstimator) -> None:
    """Shift and scale each output channel of a convolution so that its range becomes -1 to 1.

    This changes nothing before an InstanceNorm, which undoes both (except for its epsilon, which matters to channels
    that hardly vary).

    Args:
        graph: The graph, which is changed.
        node: The convolution.
        values: Outputs of its channels [C, K].
        estimator: Chooses the range of each channel.
    """
    middle = (values.amin(1) + values.amax(1)) / 2
    low, high = estimator(values - middle[:, None])
    reach = torch.maximum(-low, high).clamp(min=1e-6).numpy()
    weight = graph.arrays[node.input[1]]
    bias = graph.arrays[node.input[2]] if len(node.input) > 2 else np.zeros(len(reach), np.float32)
    filling = graph.constant("filling", weight / reach[:, None, None, None])
    node.input[1:] = [filling, graph.constant("filling_bias", (bias - middle.numpy()) / reach)]


def collect(graph: Graph, tensors: Sequence[str], pictures: Tensor, progress: Progress = _untold) -> dict[str, Tensor]:
    """Values [C, K] of tensors by channel: evenly spread ones, and the extremes of every picture [C, H, W]."""
    found: dict[str, list[Tensor]] = {tensor: [] for tensor in tensors}
    if not found:  # for which onnxruntime would give all outputs
        return {}
    with scratch() as folder:
        probe = graph.save(folder / "probe.onnx", also=tensors)
        generator = OnnxGenerator(probe, threads=torch.get_num_threads())
    count = generator.session.get_inputs()[0].shape[0]
    batch_size = count if isinstance(count, int) else BATCH  # a file may take so many pictures alone
    pictures = pictures[: max(1, len(pictures) // batch_size) * batch_size] if isinstance(count, int) else pictures
    for done, batch in enumerate(pictures.split(batch_size)):
        progress("pictures", done * batch_size / len(pictures))
        outputs = generator.session.run(list(tensors), {graph.source: batch.numpy()})
        for tensor, output in zip(tensors, outputs, strict=True):
            values = torch.from_numpy(output).flatten(2)  # [n, C, H * W]
            stride = max(1, output.size * len(pictures) // len(batch) // MOST_VALUES)
            # every stride-th of a channel's values as if its pictures were one row, without copying the others
            spread = [each[:, -at * values.shape[2] % stride :: stride] for at, each in enumerate(values)]
            ends = (end(output, axis=(2, 3)) for end in (np.min, np.max))  # several times faster than torch's
            found[tensor] += [torch.cat(spread, 1), *(torch.from_numpy(end).T for end in ends)]
    return {tensor: torch.cat(parts, 1) for tensor, parts in found.items()}


# --- kernels --------------------------------------------------------------------------------------------------------


def _insert_integer_kernels(
    graph: Graph,
    kernels: Sequence[NodeProto],
    given: Path,
    made: Path,
    maps: Mapping[str, AffineMap],
    calibration: Tensor,
    reduce_range: bool,
) -> None:
    """Apply onnxruntime's static quantization to the graph in the file ``given``, with our maps for the activations."""
    quantization = onnx_runtime("quantization")
    behind = [graph.only_reader(node.output[0]) for node in kernels]
    overrides = {
        tensor: [{"scale": each.scale.numpy(), "zero_point": each.zero_point.numpy().astype(np.uint8)}]
        for tensor, each in maps.items()
    }
    with silence():
        quantization.quantize_static(
            given,
            made,
            _Once({graph.source: calibration[:1].numpy()}),  # for ranges that ours replace
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_quantize=[node.name for node in (*kernels, *behind) if node is not None],
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides, "QuantizeBias": False},  # onnxruntime rounds them itself
        )


class _Once:
    """A calibration reader of one batch."""

    def __init__(self, feed: dict[str, Array]) -> None:
        self.feeds = [feed]

    def get_next(self) -> dict[str, Array] | None:
        return self.feeds.pop() if self.feeds else None


def store_in_8_bits(graph: Graph, node: NodeProto) -> None:
    """Store the weights of a float kernel in int8 with a scale for each output channel.

    Cast and Mul of constants are computed once, when onnxruntime loads the file; DequantizeLinear would be computed in
    every run.
    """
    weight = torch.from_numpy(graph.arrays[node.input[1]])
    axis = 0 if node.op_type == "Conv" else 1  # a transposed one has [inputs, outputs, ...]
    by_channel = rows(weight, axis)
    packed = symmetric(Range(by_channel.amin(1), by_channel.amax(1)), axis=axis)
    scale = packed.scale.view([-1 if dim == axis else 1 for dim in range(4)]).numpy()
    whole = graph.constant("stored", packed.quantize(weight).numpy().astype(np.int8))
    cast = helper.make_node("Cast", [whole], [f"{whole}_float"], to=TensorProto.FLOAT)
    scaled = helper.make_node("Mul", [cast.output[0], graph.constant("scale", scale)], [f"{whole}_scaled"])
    graph.insert(node, before=[cast, scaled])
    node.input[1] = scaled.output[0]


def pack_tail(graph: Graph, node: NodeProto) -> None:
    """Let an integer kernel of up to 4 output channels compute squares of 2 x 2 pixels, in 4 times the channels.

    A kernel of k x k at every pixel becomes four shifted copies inside one of (k + 1) x (k + 1) at every second pixel
    each way, and DepthToSpace puts the pixels into place: the same function for pictures of even sizes. The kernel
    computes 16 channels in the time of 3, so this takes about a third of the time. The copies are made when the file is
    loaded. Other convolutions are left alone.
    """
    dequantize = graph.maker(node.input[1])
    if dequantize is None or dequantize.op_type != "DequantizeLinear" or dequantize.input[0] not in graph.arrays:
        return
    weight = graph.arrays[dequantize.input[0]]
    outputs, inputs, kernel, across = weight.shape
    if outputs > MOST_PACKED or kernel != across or kernel % 2 == 0 or not _plain(node):
        return
    stored = graph.constant("tail", weight[:, None])
    shifted = []
    for down, right in itertools.product(range(2), repeat=2):
        pads = graph.constant("shift", np.array([0, 0, 0, down, right, 0, 0, 0, 1 - down, 1 - right], np.int64))
        shifted.append(helper.make_node("Pad", [stored, pads], [f"{stored}_{down}{right}"]))
    joined = helper.make_node("Concat", [each.output[0] for each in shifted], [f"{stored}_joined"], axis=1)
    shape = graph.constant("shape", np.array([4 * outputs, inputs, kernel + 1, kernel + 1], np.int64))
    flat = helper.make_node("Reshape", [joined.output[0], shape], [f"{stored}_flat"])
    graph.insert(dequantize, before=[*shifted, joined, flat])
    repeated = [graph.constant(name, graph.arrays[name].repeat(4)) for name in (*dequantize.input[1:], *node.input[2:])]
    dequantize.input[:] = [flat.output[0], *repeated[:2]]
    node.input[2:] = repeated[2:]
    set_attributes(node, kernel_shape=[kernel + 1, kernel + 1], strides=[2, 2])
    rounding = graph.only_reader(node.output[0])
    last = graph.only_reader(rounding.output[0]) if rounding else None
    assert last is not None  # back to float
    picture, last.output[0] = last.output[0], f"{last.output[0]}_packed"
    unpack = helper.make_node("DepthToSpace", [last.output[0]], [picture], blocksize=2, mode="CRD")
    graph.insert(last, after=[unpack])


def _plain(node: NodeProto) -> bool:
    """Whether a convolution acts at every pixel, on all channels, with equal padding on all sides."""
    ones = attribute(node, "strides") == attribute(node, "dilations") == [1, 1]
    return ones and attribute(node, "group") == 1 and len(set(attribute(node, "pads"))) == 1
