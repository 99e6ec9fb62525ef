"""The layouts of checkpoints that are read; each is a file of this folder."""

from gancomp_core.importers.layouts.base import Built, Layout, UnitRange
from gancomp_core.importers.layouts.row import Row

__all__ = ["LAYOUTS", "Built", "Layout", "UnitRange"]

#: Tried in this order; the first that fits builds the network.
LAYOUTS: tuple[Layout, ...] = (Row(),)
