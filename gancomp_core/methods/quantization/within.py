"""Integer kernels that stay close to the float network: the layers that cost most are left in float, and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import torch
from onnx import helper
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.files import scratch
from gancomp_core.measure import psnr
from gancomp_core.measure.onnx_cost import kernel_macs
from gancomp_core.measure.onnx_export import OPSET, OnnxGenerator
from gancomp_core.methods.quantization.affine import RangeEstimator, min_max, mse, rows, symmetric
from gancomp_core.methods.quantization.graph import Graph
from gancomp_core.methods.quantization.int8 import Fitted, Progress, fitted, foreign_explained, kernel_output
from gancomp_core.methods.quantization.report import psnr_to_float

PROBED = 8  # pictures on which closeness is measured
ROUNDS = 4


@dataclass(frozen=True)
class Int8File:
    """An int8 file and how close it is.

    Attributes:
        path: The file.
        psnr: Mean PSNR in dB to the float network on some of the calibration pictures.
        psnr_integer: The same with every layer in integers that can be.
        least_psnr: What was asked for.
        in_float: Layers that were left in float, each with the share of all MACs that it takes.
        sensitivity: A row for each layer as of :func:`kernel_sensitivity`; empty where the file was close at once.
    """

    path: Path
    psnr: float
    psnr_integer: float
    least_psnr: float
    in_float: dict[str, float]
    sensitivity: pd.DataFrame

    @property
    def reached(self) -> bool:
        """Whether it is as close as was asked for."""
        return self.psnr >= self.least_psnr

    def __str__(self) -> str:
        said = f"{self.path.name} is {self.psnr:.1f} dB from the float network"
        if self.in_float:
            kept = ", ".join(f"{layer} ({share:.0%} of the MACs)" for layer, share in self.in_float.items())
            said += f" ({self.psnr_integer:.1f} dB with all in integers); left in float: {kept}"
        return said if self.reached else f"{said}; the {self.least_psnr:g} dB asked for were not reached"


def export_int8_within(
    generator: nn.Module | Path | str,
    path: Path | str,
    calibration: Tensor,
    *,
    least_psnr: float = 40.0,
    most_float: float = 0.5,
    estimator: RangeEstimator = mse,
    reduce_range: bool = False,
    floating: Path | str | None = None,
    opset: int = OPSET,
    progress: Progress | None = None,
) -> Int8File:
    """Write a generator with integer kernels, except for the layers that move its pictures too far.

    Where the pictures are further away than ``least_psnr``, each layer is rounded alone, and those that cost most
    error for each MAC stay float until the errors of the others, which are taken to add up, are small enough.

    Args:
        generator: As for :func:`export_int8`, like all arguments that are not named here.
        path: Where to write the file.
        calibration: Source pictures; the first ones also say how close the file is.
        least_psnr: Mean PSNR to the float network in dB, with a peak of 2.
        most_float: Share of all MACs, 0 to 1, that may be left in float besides what always is.
        estimator: Chooses ranges.
        reduce_range: 7-bit weights.
        floating: A float file of the same generator.
        opset: The version of ONNX's operators.
        progress: Is also called with the stage "sensitivity".

    Returns:
        The file, and what it took.

    Raises:
        GancompError: For a share outside 0 to 1, and as :func:`export_int8` does.
    """
    if not 0 <= most_float <= 1:
        raise GancompError(f"The share of MACs that may stay float is 0 to 1, not {most_float:g}; 0.5 is the default.")
    known = {"estimator": estimator, "floating": floating, "opset": opset, "progress": progress}
    with foreign_explained(generator), fitted(generator, calibration, **known) as ready:  # type: ignore[arg-type]
        probes = ready.calibration[:PROBED]

        def write(in_float: Sequence[str] = ()) -> float:
            made = ready.write(path, in_float, reduce_range)
            return float(psnr_to_float(made, ready.file, probes).mean())

        first = found = write()
        chosen, table = list[str](), pd.DataFrame()
        if found < least_psnr:
            table = kernel_sensitivity(ready, probes)
            allowed = target = 4 * 10 ** (-least_psnr / 10)
            for _ in range(ROUNDS):
                more = _worst(table, target, most_float)
                if more == chosen:
                    break
                chosen = more
                found = write(chosen)
                if found >= least_psnr:
                    break
                target *= 0.9 * allowed / (4 * 10 ** (-found / 10))
    shares = dict(zip(table.get("node", ()), table.get("share", ()), strict=True))
    kept = {ready.layers[node]: float(shares[node]) for node in chosen}
    return Int8File(Path(path), found, first, least_psnr, kept, table)


def _worst(table: pd.DataFrame, target: float, most_float: float) -> list[str]:
    """The layers with most error for each MAC, so many that the errors of the others add up to the target at most."""
    left, share, chosen = table.mse.sum(), 0.0, list[str]()
    for row in table.sort_values("worth", ascending=False).itertuples():
        if left > target and share + row.share <= most_float:
            chosen.append(str(row.node))
            left, share = left - row.mse, share + row.share
    return chosen


def kernel_sensitivity(ready: Fitted, pictures: Tensor) -> pd.DataFrame:
    """What each integer kernel alone does to the pictures: its input, weights and output rounded, all else float.

    Args:
        ready: The float graph and its ranges.
        pictures: Sources [N, C, H, W].

    Returns:
        A row for each kernel: ``layer``, its ``node``, its ``share`` of all MACs, the mean squared error ``mse``
        between the pictures of both networks, ``psnr`` in dB, and ``worth``, the error for its share.
    """
    expected = OnnxGenerator(ready.file)(pictures)
    macs = kernel_macs(onnx.load(str(ready.file)), pictures[:1].numpy())
    total, found = sum(macs.values()), []
    with scratch() as folder:
        for done, (name, layer) in enumerate(ready.layers.items()):
            ready.progress("sensitivity", done / len(ready.layers))
            graph = Graph(ready.file)
            node = next(each for each in graph.nodes if each.name == name)
            share = macs[node.output[0]] / total
            _round_alone(graph, node, ready)
            made = OnnxGenerator(graph.save(folder / "alone.onnx"))(pictures)
            error = float((made - expected).square().mean())
            found.append((layer, name, share, error, float(psnr(made, expected).mean()), error / share))
    return pd.DataFrame(found, columns=["layer", "node", "share", "mse", "psnr", "worth"])


def _round_alone(graph: Graph, node: onnx.NodeProto, ready: Fitted) -> None:
    weight = graph.arrays[node.input[1]]
    ends = rows(torch.from_numpy(weight), 0)
    rounded = symmetric(min_max(ends), axis=0).rounded(torch.from_numpy(weight))
    node.input[1] = graph.constant("rounded", rounded.numpy())
    reads, writes = node.input[0], kernel_output(graph, node)
    last = graph.maker(writes)
    assert last is not None
    last.output[0] = f"{writes}_whole"
    before, node.input[0] = _rounding(graph, reads, f"{reads}_read", ready)
    graph.insert(node, before=before)
    after, _ = _rounding(graph, writes, writes, ready, given=last.output[0])
    graph.insert(last, after=after)


def _rounding(
    graph: Graph, tensor: str, made: str, ready: Fitted, given: str | None = None
) -> tuple[list[onnx.NodeProto], str]:
    """The nodes that round a tensor by its map, and the name of what they make."""
    by = ready.maps[tensor]
    scale = graph.constant("scale", by.scale.numpy())
    zero = graph.constant("zero", by.zero_point.numpy().astype(np.uint8))
    quantize = helper.make_node("QuantizeLinear", [given or tensor, scale, zero], [f"{made}_8"])
    return [quantize, helper.make_node("DequantizeLinear", [f"{made}_8", scale, zero], [made])], made
