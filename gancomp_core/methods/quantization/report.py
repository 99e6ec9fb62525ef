"""Size of a compressed generator, and how close its pictures are to those of its float network, in one table."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.measure import OnnxGenerator, cost, psnr
from gancomp_core.measure.running import measuring

Network = Callable[[Tensor], Tensor] | Path | str
BATCH = 16


@dataclass(frozen=True)
class Report:
    """One compressed form of a generator.

    Attributes:
        name: Its name in tables.
        bytes: Size of its file.
        bytes_xz: Size of the file after xz.
        psnr_mean: Mean PSNR between its pictures and the float network's, in dB, peak 2.
        psnr_worst: The same for the worst picture.
        macs: MACs of one picture, which rounding and zeros do not change.
    """

    name: str
    bytes: int
    bytes_xz: int
    psnr_mean: float
    psnr_worst: float
    macs: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.bytes / 1e6:.3f} MB ({self.bytes_xz / 1e6:.3f} MB after xz), PSNR to float "
            f"{self.psnr_mean:.1f} dB (worst picture {self.psnr_worst:.1f})"
        )


def report(name: str, network: Network, generator: nn.Module, pictures: Tensor, content: bytes | Path | str) -> Report:
    """Measure a compressed form of a generator.

    Args:
        name: Its name in tables.
        network: What runs: a module, or an ONNX file.
        generator: The float network to compare with.
        pictures: Sources [N, C, H, W] in [-1, 1].
        content: The file, or its content.

    Returns:
        The report.
    """
    found = psnr_to_float(network, generator, pictures)
    size, packed = compressed_bytes(content)
    macs = cost(generator, pictures.shape[2], pictures.shape[3]).macs
    return Report(name, size, packed, float(found.mean()), float(found.min()), macs)


def table(reports: Iterable[Report]) -> pd.DataFrame:
    """Reports as rows, with ``smaller`` and ``smaller_xz``: how many times smaller than the first one each is."""
    found = pd.DataFrame([asdict(each) for each in reports])
    for column in ("bytes", "bytes_xz"):
        found[column.replace("bytes", "smaller")] = found[column].iloc[0] / found[column]
    return found


def psnr_to_float(network: Network, reference: Network, pictures: Tensor) -> Tensor:
    """PSNR of each picture between two networks.

    Args:
        network: A module (run in eval mode on the CPU), a function, or the path of an ONNX file.
        reference: The same.
        pictures: Sources [N, C, H, W] in [-1, 1], at least one.

    Returns:
        dB, float32 [N], infinite where both pictures are equal.

    Raises:
        GancompError: For no pictures.
    """
    if len(pictures) < 1:
        raise GancompError("Two networks are compared on at least 1 picture, not 0; take those of the test split.")
    threads = torch.get_num_threads()
    first, second = (
        OnnxGenerator(each, threads) if isinstance(each, Path | str) else each for each in (network, reference)
    )
    with measuring("cpu", first, second):
        found = [psnr(first(batch), second(batch)) for batch in pictures.split(BATCH)]
    return torch.cat([each.reshape(-1) for each in found])


def compressed_bytes(content: bytes | Path | str) -> tuple[int, int]:
    """File size and xz-compressed size in bytes.

    Args:
        content: The path of a file, or its content.

    Returns:
        Both sizes.
    """
    held = content if isinstance(content, bytes) else Path(content).read_bytes()
    return len(held), len(lzma.compress(held))
