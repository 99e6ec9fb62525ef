"""The row: ResNet generators of CycleGAN, pix2pix and GAN Compression, one ``nn.Sequential`` of numbered layers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from gancomp_core.importers.assumptions import Assumptions
from gancomp_core.importers.checkpoint_formats import generator_from_state_dict
from gancomp_core.importers.layouts.base import Built


class Row:
    """ResNet generators as a numbered row of layers."""

    name = "ResNet generator"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return any(re.match(r"(.*\.)?\d+\.conv_block\.\d", name) for name in tensors)

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        whole = {f"model.{name}" if re.match(r"\d", name) else name: value for name, value in tensors.items()}
        network = generator_from_state_dict(whole, source)
        return Built(network, f"{self.name}, {network.architecture.blocks} blocks")
