"""How small a compressed generator is, and how close its pictures stay to those of its float network: one table."""

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

    ``bytes`` is what its file takes, ``bytes_xz`` the same after xz; ``psnr_mean`` and ``psnr_worst`` (dB) compare each
    picture with that of the float network, peak 2; ``macs`` are those of one picture, which rounding and zeros leave as
    they are.
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
    """Measure a compressed form of ``generator`` on source pictures [N, C, H, W] in [-1, 1].

    ``network`` runs it (a module, or an ONNX file); ``content`` is its file, or what such a file would hold.
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
    """PSNR in dB of each picture, float32 [N]; infinite where both networks paint the same.

    Both are modules (run in eval mode on the CPU), functions, or paths of ONNX files; ``pictures`` are their sources
    [N, C, H, W] in [-1, 1].
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
    """What a file takes, and what it takes after xz, which finds zeros and repetitions; in bytes.

    ``content`` is the path of the file, or what it would hold.
    """
    held = content if isinstance(content, bytes) else Path(content).read_bytes()
    return len(held), len(lzma.compress(held))
