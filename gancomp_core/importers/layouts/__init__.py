"""The layouts of checkpoints that are read; each is a file of this folder."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from gancomp_core.errors import shown
from gancomp_core.importers.layouts.base import Built, Layout
from gancomp_core.importers.layouts.johnson import TransformerNet
from gancomp_core.importers.layouts.pix2pixhd import LocalEnhancer
from gancomp_core.importers.layouts.row import Row
from gancomp_core.importers.layouts.spade import SpadeBlocks
from gancomp_core.importers.layouts.super_resolution import Rrdb, Srvgg, VdsrRow
from gancomp_core.importers.layouts.unet import NestedUnet, NumberedUnet

__all__ = ["LAYOUTS", "Built", "Layout", "unread"]

#: Tried in this order; the first that fits builds the network.
LAYOUTS: tuple[Layout, ...] = (
    LocalEnhancer(),  # holds a row
    Row(),
    NestedUnet(),
    NumberedUnet(),
    SpadeBlocks(),
    Rrdb(),
    Srvgg(),
    VdsrRow(),
    TransformerNet(),
)


def unread(tensors: Mapping[str, Tensor]) -> str:
    """What to say of tensors that no layout fits: what they probably are, or the first name that does not fit."""
    names = list(tensors)
    if any(re.match(r"(net\.)?stages\.stem\.", f"stages.{name}") for name in names if name.startswith("stem.")):
        return "holds weights of this library, which gancomp_core.zoo loads"
    kernels = [tensor for tensor in tensors.values() if tensor.ndim == 4]
    if (
        kernels
        and kernels[0].shape[-1] == 4
        and kernels[-1].shape[0] == 1
        and all(before.shape[0] == after.shape[1] for before, after in zip(kernels, kernels[1:], strict=False))
    ):
        return "is probably a discriminator (convolutions that end in one channel); import the generator"
    misfit = Row().misfit(tensors)
    what = f": '{shown(misfit.name)}' {misfit.why}" if misfit else ""
    return f"is of no layout that is read{what}; docs/importing.md lists the layouts, and open_teacher takes any module"
