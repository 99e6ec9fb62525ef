"""What a layout is: a way to read a network from names and shapes of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from gancomp_core.importers.assumptions import Assumptions, Value


@dataclass(frozen=True)
class Built:
    """A network that a layout built.

    Attributes:
        network: With its weights; float32 [N, C, H, W] in [-1, 1] to the same.
        layout: What it is, such as "ResNet generator, 2 halvings, 9 blocks".
        assumed: Every field of :class:`Assumptions` that the tensors leave open, with the value used, given or default.
            ``check_against`` varies these and no others.
        skipped: Names of tensors that were not used.
    """

    network: nn.Module
    layout: str
    assumed: dict[str, Value] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


class Layout(Protocol):
    """A kind of checkpoint.

    Tensors arrive tidied: no component of the dotted names is common to all of them (``module.model.1.weight`` is
    ``1.weight`` where every name begins with ``module.model.``), leftovers of profilers are dropped, spectral and
    weight norm are folded, and everything that is floating-point is float32. ``num_batches_tracked`` stays.
    """

    name: str

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether these tensors are of this layout, by names and shapes: cheap, and never an error."""

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        """The network with these weights.

        Args:
            tensors: Tidied tensors by name, for which ``fits`` is true.
            assume: What the user knows about the network.
            source: Name of the file in errors.

        Returns:
            The network and what was assumed.

        Raises:
            GancompError: Naming the tensor that does not fit, the assumption that the file contradicts, or the option
                to give where the file can be read in two ways.
        """
