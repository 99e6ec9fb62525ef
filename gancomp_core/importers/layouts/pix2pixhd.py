"""pix2pixHD's local enhancer, which is not read; its global generator is a row."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gancomp_core.errors import GancompError
from gancomp_core.importers.assumptions import Assumptions
from gancomp_core.importers.layouts.base import Built


class LocalEnhancer:
    """Recognizes the local enhancer, to say what can be imported instead."""

    name = "local enhancer of pix2pixHD"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return "model1_1.1.weight" in tensors and any(name.startswith("model1_2.") for name in tensors)

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        raise GancompError(
            f"{source} is a local enhancer of pix2pixHD, of which only the global generator (netG=global) can be "
            "imported; open the module itself with open_teacher, or import a checkpoint of the global generator."
        )
