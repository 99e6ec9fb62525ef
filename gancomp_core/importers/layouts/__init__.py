"""The layouts of checkpoints that are read; each is a file of this folder."""

from gancomp_core.importers.layouts.base import Built, Layout
from gancomp_core.importers.layouts.johnson import TransformerNet
from gancomp_core.importers.layouts.pix2pixhd import LocalEnhancer
from gancomp_core.importers.layouts.row import Row
from gancomp_core.importers.layouts.spade import SpadeBlocks
from gancomp_core.importers.layouts.super_resolution import Rrdb, Srvgg, VdsrRow
from gancomp_core.importers.layouts.unet import NestedUnet, NumberedUnet

__all__ = ["LAYOUTS", "Built", "Layout"]

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
