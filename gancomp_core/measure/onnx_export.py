"""A generator as an ONNX file, for any runtime, and such a file as a generator."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gancomp_core import files
from gancomp_core.errors import GancompError, at_least
from gancomp_core.measure.onnx_runtime import check_graph, onnx_runtime
from gancomp_core.measure.running import check_float32, check_input_shape, copied, device_of, evaluating, first_line
from gancomp_core.nets.blocks import is_instance_norm

if TYPE_CHECKING:
    from onnx import ModelProto

Array = np.ndarray[Any, np.dtype[np.float32]]


#: The versions of ONNX's operators that torch writes and that onnxruntime 1.22 and newer reads.
OPSETS = range(18, 24)
OPSET = 20


def export_onnx(
    module: nn.Module, path: Path | str, input_shape: Sequence[int], dynamic: bool = True, *, opset: int = OPSET
) -> Path:
    """Write a module with one picture input and one picture output as an ONNX file.

    Input and output are named ``source`` and ``picture``. The file is written atomically, nothing is printed, and the
    module is left as it was. InstanceNorm, which the library writes as GroupNorm with one group per channel, becomes
    one node of the graph instead of six.

    Args:
        module: The network.
        path: Where to write the file.
        input_shape: (N, C, H, W), an example that the module accepts.
        dynamic: Whether the file takes any number of pictures of any height and width that the module takes, instead of
            only this shape.
        opset: The version of ONNX's operators, 18 to 23, for a runtime that reads no newer ones.

    Returns:
        The path.

    Raises:
        GancompError: When the module cannot be exported at that shape, for one that is not in float32, and for another
            opset.
    """
    path = Path(path)
    check_input_shape(input_shape)
    check_opset(opset)
    check_float32(module)
    # an example of one picture would fix the number of pictures to one
    example = torch.zeros(
        (max(input_shape[0], 2) if dynamic else input_shape[0], *input_shape[1:]), device=device_of(module)
    )
    import onnx  # slow to import, and only an export needs it

    try:
        with silence(), evaluating(_with_plain_norms(module)) as exported:
            model = _exported(exported, example, dynamic, opset)
            with files.atomic_write(path) as temporary:
                onnx.save(_without_comments(model), temporary)
    except GancompError:
        raise
    except Exception as error:  # the exporter raises many kinds
        raise GancompError(
            f"{type(module).__name__} could not be exported to ONNX with inputs of shape {tuple(input_shape)} "
            f"({first_line(error)}); give a shape that the module can take, or try dynamic=False."
        ) from error
    return path


def check_opset(opset: int) -> None:
    """Raise :class:`GancompError` unless files of this opset can be written."""
    if opset not in OPSETS:
        raise GancompError(
            f"An ONNX file is written with opset {OPSETS[0]} to {OPSETS[-1]}, not {opset!r}; leave it out for {OPSET}, "
            "or convert the file with onnx.version_converter for an older runtime."
        )


def _exported(module: nn.Module, example: Tensor, dynamic: bool, opset: int) -> ModelProto:
    """The graph of a module: of any size, or of multiples of a power of two where layers join maps of several sizes."""
    export: Callable[..., Any] = functools.partial(
        torch.onnx.export, module, (example,), dynamo=True, input_names=["source"], output_names=["picture"],
        opset_version=opset, verbose=False,
    )  # fmt: skip
    *first, last = _any_size(example) if dynamic else [None]
    for sides in first:
        with contextlib.suppress(Exception):  # the exporter raises many kinds; what is wrong, the last attempt raises
            return cast("ModelProto", export(dynamic_shapes=sides).model_proto)
    return cast("ModelProto", export(dynamic_shapes=last).model_proto)


def _any_size(example: Tensor) -> list[Any]:
    """What the exporter is told of the sizes of pictures: nothing; then that they are multiples of a power of two."""
    free, (height, width) = torch.export.Dim.DYNAMIC, example.shape[2:]
    found: list[Any] = [({0: free, 2: free, 3: free},)]
    step = math.gcd(height, width) & -math.gcd(height, width)
    while step > 1 and min(height, width) // step < 2:
        step //= 2
    if step > 1:
        rows, columns = (torch.export.Dim(name, min=2, max=2**16) for name in ("rows", "columns"))
        found.append(({0: free, 2: step * rows, 3: step * columns},))
    return found


class _PlainInstanceNorm(nn.Module):
    """The same function as a GroupNorm with one group per channel, in a form for which the exporter has a node."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return torch.instance_norm(x, self.weight, self.bias, None, None, True, 0.0, self.eps, False)


def _with_plain_norms(module: nn.Module) -> nn.Module:
    """A copy in which every GroupNorm that is an InstanceNorm is written as one."""
    found = nn.Sequential(copied(module))  # a parent for a module that is a norm itself
    for parent in list(found.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.GroupNorm) and is_instance_norm(child):
                setattr(parent, name, _PlainInstanceNorm(child))
    return found[0]


def _without_comments(model: ModelProto) -> ModelProto:
    """The model without the exporter's notes on where each node came from: a tenth of a small file."""
    for noted in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        noted.doc_string = ""
        del noted.metadata_props[:]
    return model


class OnnxGenerator:
    """An exported generator, run by onnxruntime on the CPU: takes a tensor or array [N, C, H, W] and returns a tensor.

    Args:
        path: The ONNX file.
        threads: onnxruntime's thread count; None leaves the choice to onnxruntime.

    Raises:
        GancompError: When the file is missing or not an ONNX file, when it takes anything but float32 pictures, and
            when onnxruntime is not installed.
    """

    def __init__(self, path: Path | str, threads: int | None = None) -> None:
        self.path = Path(path)
        if threads is not None:
            at_least(1, threads, "threads", "leave it out for onnxruntime's own choice")
        self.session = _session(self.path, threads)
        self.input_name = check_onnx_input(self.session, self.path.name)

    def __call__(self, pictures: Tensor | Array) -> Tensor:
        array = pictures.detach().cpu().numpy() if isinstance(pictures, Tensor) else pictures
        if not np.issubdtype(array.dtype, np.floating):
            raise GancompError(
                f"{self.path.name} takes float32 pictures, of this library in [-1, 1], not {array.dtype} ones; convert "
                "whole numbers of 0 to 255 with pictures.float() / 127.5 - 1."
            )
        try:
            return torch.from_numpy(self.run(np.ascontiguousarray(array, dtype=np.float32)))
        except Exception as error:  # onnxruntime's own kinds, by shape and by node
            raise shape_refused(self.session, self.path.name, array.shape, error) from error

    def run(self, array: Array) -> Array:
        """Run on float32 [N, C, H, W] without conversions; returns the same kind. This is what latency times."""
        output: Array = self.session.run(None, {self.input_name: array})[0]
        return output


def check_onnx_input(session: Any, name: str) -> str:
    """The name of the one input of a file, which takes float32 pictures.

    Raises:
        GancompError: For several inputs, and for one of other numbers or of other than four sides.
    """
    inputs = session.get_inputs()
    listed = ", ".join(f"'{each.name}' {each.type} {each.shape}" for each in inputs)
    if len(inputs) != 1:
        raise GancompError(
            f"{name} has {len(inputs)} inputs ({listed}), and only a file with one input is run here; make the others "
            "constants of the file, or give their values to open_teacher(..., constants={'name': value})."
        )
    if inputs[0].type != "tensor(float)" or len(inputs[0].shape) not in (0, 4):
        raise GancompError(
            f"{name} takes {listed}, and only float32 pictures [N, C, H, W] are run here; export the network again "
            "in float32, with a picture as its input."
        )
    found: str = inputs[0].name
    return found


def shape_refused(session: Any, name: str, shape: Sequence[int], error: Exception) -> GancompError:
    """Why a file did not take pictures of a shape, and which ones it takes."""
    declared = session.get_inputs()[0].shape
    fixed = [side for side in declared if isinstance(side, int)]
    fits = len(shape) == len(declared) and all(
        not isinstance(side, int) or side == given for side, given in zip(declared, shape, strict=False)
    )
    way_out = "give the size it was made for, such as a multiple of 4, 32 or 64 pixels"
    if not fits:
        way_out = f"it takes {declared}, so give it that"
        if len(fixed) == 4:
            way_out = f"it takes the fixed shape {declared} alone, so give it that, or export it with dynamic=True"
        elif len(shape) == 4 and isinstance(declared[3], int) and declared[3] == shape[1]:
            way_out = f"it takes channels last, {declared}, so give it pictures.permute(0, 2, 3, 1)"
    return GancompError(f"{name} cannot take pictures of shape {list(shape)} ({first_line(error)}); {way_out}.")


def _session(path: Path, threads: int | None) -> Any:
    onnxruntime = onnx_runtime()
    if not path.is_file():
        raise GancompError(f"There is no file {path}; write it with export_onnx first.")
    check_graph(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise GancompError(
            f"{path} is not an ONNX file that onnxruntime can read; write it again with export_onnx."
        ) from error


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppress what onnx's tools report by print, logging and warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
