"""Networks that were made for pictures of another value range."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gancomp_core.errors import one_of

#: The value ranges in which networks take and make pictures, by name.
RANGES = {"[-1, 1]": (-1.0, 1.0), "[0, 1]": (0.0, 1.0), "[0, 255]": (0.0, 255.0)}


class OtherRange(nn.Module):
    """A network made for pictures of another range, wrapped to be used with pictures in [-1, 1] like every one here.

    The conversion is not folded into the first convolution: its padding is zero, which is black to a network for
    [0, 1] and would become gray.

    Args:
        net: The network.
        takes: The range of its input, one of :data:`RANGES`.
        makes: The range of its output; None for the same.

    Raises:
        GancompError: For a range of another name.
    """

    def __init__(self, net: nn.Module, takes: str = "[0, 1]", makes: str | None = None) -> None:
        super().__init__()
        self.net = net
        self.takes, self.makes = (one_of(name, RANGES, "value range") for name in (takes, makes or takes))
        self.architecture: Any = getattr(net, "architecture", None)

    def forward(self, x: Tensor) -> Tensor:
        (low, high), (least, most) = RANGES[self.takes], RANGES[self.makes]
        made: Tensor = self.net((x + 1) * ((high - low) / 2) + low)
        return (made - least) * (2 / (most - least)) - 1

    def extra_repr(self) -> str:
        return f"takes={self.takes}, makes={self.makes}"
