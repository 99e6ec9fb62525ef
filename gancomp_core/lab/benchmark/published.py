"""The papers' networks at full size, without training: what they cost, to the digit, and how long they take here."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from gancomp_core import files
from gancomp_core.errors import GancompError
from gancomp_core.files import Json, scratch
from gancomp_core.measure import Cost, cost, export_onnx, onnx_latency
from gancomp_core.methods.quantization import export_int8
from gancomp_core.nets import (
    ChannelConfig,
    PatchDiscriminator,
    ResnetArchitecture,
    RrdbArchitecture,
    SpadeArchitecture,
    UnetArchitecture,
    VdsrArchitecture,
    build_generator,
    initialize,
)

#: The published network that each kind of published network makes cheaper.
TEACHERS = {
    "resnet": "teacher ResNet-9 n64",
    "mobile": "teacher ResNet-9 n64",
    "spade": "GauGAN cityscapes n64 (36 label channels)",
}


@dataclass(frozen=True)
class Published:
    """A network of a paper and what the paper prints; None where it prints nothing.

    ``published_macs`` follow the papers' own convention, ``true_macs`` ours (:mod:`gancomp_core.measure.cost`).
    """

    name: str
    family: str
    config: str
    separable: bool
    legacy: bool
    height: int
    width: int
    published_macs: int | None
    true_macs: int | None
    params: int | None

    @property
    def architecture(self) -> Any:
        """The architecture of a generator; None for discriminators, which have none here."""
        if self.family == "spade":
            return SpadeArchitecture(ChannelConfig.parse(self.config), separable=self.separable)
        if self.family in ("resnet", "mobile"):
            return ResnetArchitecture(ChannelConfig.parse(self.config, legacy=self.legacy), separable=self.separable)
        return {"rrdb": RrdbArchitecture(), "vdsr": VdsrArchitecture(), "unet": UnetArchitecture()}.get(self.family)

    def build(self) -> nn.Module:
        """The network with random weights, as large as published."""
        if self.family == "patchgan":
            return PatchDiscriminator(3, width=64 if "ndf 64" in self.name else 32)
        return build_generator(self.architecture.as_dict())

    def cost(self) -> Cost:
        with torch.device("meta"):
            network = self.build()
        return cost(network, self.height, self.width)


def published() -> list[Published]:
    """Every published network of which the papers or their code tell cost or size."""
    lines = (files.data_root() / "results" / "published_costs.csv").read_text(encoding="utf-8").splitlines()
    return [_parsed(row) for row in csv.DictReader(line for line in lines if not line.startswith("#"))]


def _parsed(row: dict[str, str]) -> Published:
    height, width = map(int, row["size"].split("x"))
    figures = (int(row[name]) if row[name] else None for name in ("published_macs", "true_macs", "params"))
    separable, legacy = row["blocks"] == "separable", row["rule"] == "legacy"
    return Published(row["name"], row["family"], row["config"], separable, legacy, height, width, *figures)


def costs() -> pd.DataFrame:
    """Every published network costed now, beside what was printed; ``agrees`` where each printed figure is met.

    ``times_fewer_macs`` and ``times_fewer_params`` are counted from the network that it makes cheaper, true MACs.
    """
    return _costs().copy()


@functools.cache
def _costs() -> pd.DataFrame:
    found = {each.name: (each, each.cost()) for each in published()}
    rows = []
    for each, now in found.values():
        pairs = ((each.published_macs, now.published_macs), (each.true_macs, now.macs), (each.params, now.params))
        row: Json = {"network": each.name, "macs": now.macs, "published_macs": now.published_macs}
        row |= {"params": now.params, "printed_macs": each.published_macs}
        row["agrees"] = all(printed in (None, counted) for printed, counted in pairs)
        if each.family in TEACHERS:
            whole = found[TEACHERS[each.family]][1]
            row |= {
                "times_fewer_macs": whole.macs / now.macs,
                "times_fewer_published_macs": whole.published_macs / now.published_macs,
                "times_fewer_params": whole.params / now.params,
            }
        rows.append(row)
    return pd.DataFrame(rows).set_index("network")


def milliseconds(name: str, threads: int = 1, repeats: int = 3) -> dict[str, float]:
    """Latency on this machine of a published generator in onnxruntime.

    Weights are random, which changes no time; the network has its published size and takes one picture. A large
    generator takes seconds.

    Args:
        name: Name of the generator.
        threads: onnxruntime's threads.
        repeats: Measured calls.

    Returns:
        Medians "float32" and "int8" in milliseconds.

    Raises:
        GancompError: For a name that is not a generator.
    """
    known = {each.name: each for each in published() if each.architecture is not None}
    if name not in known:
        raise GancompError(f"There is no published generator '{name}'; choose one of {', '.join(known)}.")
    network = known[name]
    generator = initialize(network.build(), seed=0).eval()
    shape = (1, getattr(network.architecture, "in_channels", 3), network.height, network.width)
    # ranges of a small picture do for timing
    small = torch.rand(1, shape[1], 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with scratch() as folder:
        floating = export_onnx(generator, folder / "float32.onnx", small.shape)
        whole = export_int8(generator, folder / "int8.onnx", small, floating=floating)
        how: Json = {"threads": threads, "repeats": repeats, "warmup": 1, "min_seconds": 0.0}
        ways = {"float32": floating, "int8": whole}
        return {form: onnx_latency(path, shape, **how).median_ms for form, path in ways.items()}
