"""What no tensor of a checkpoint shows, and what an import reports about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from gancomp_core.errors import GancompError

Value = str | float | bool

#: The values of each field; ``check_against`` tries them all, the likeliest first.
CHOICES: dict[str, tuple[Value, ...]] = {
    "padding": ("reflect", "replicate", "zeros"),
    "padding_ends": ("reflect", "replicate", "zeros"),
    "activation": ("relu", "leaky_relu", "leaky_relu_0.01", "elu", "gelu", "silu", "prelu"),
    "last": ("tanh", "sigmoid", "none"),
    "norm": ("instance", "none", "batch", "group", "layer"),
    "norm_at_test": ("picture", "running"),
    "residual": (False, True),
    "upsample": ("nearest", "bilinear", "bilinear_aligned"),
    "eps": (1e-5, 1e-3),
    "shrink": (32, 64),
    "front": ("padding", "dropout"),
}


class Unclear(GancompError):
    """A file can be read in two ways, neither of which is the usual one.

    Attributes:
        field: The field of :class:`Assumptions` that decides.
        values: What it can be.
    """

    def __init__(self, message: str, field: str, values: tuple[Value, ...]) -> None:
        super().__init__(message)
        self.field, self.values = field, values


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What to assume where no tensor shows it; None takes the layout's default, which the import reports.

    Attributes:
        padding: How the convolutions in residual blocks see beyond the edge: "reflect", "replicate" or "zeros".
        padding_ends: The same for the first and last convolution and those behind a resize.
        activation: Between layers: "relu", "leaky_relu" (slope 0.2), "leaky_relu_0.01", "elu", "gelu",
            "silu" or, where its slopes are stored, "prelu".
        last: After the last convolution: "tanh", "sigmoid" or "none".
        norm: "instance", "batch", "group" (32 groups, or one per channel below), "group:N", "layer" (one group)
            or "none".
        norm_at_test: Whether a norm uses the "picture"'s own statistics or the stored "running" ones.
        residual: Whether the network's input is added to its output, as DeblurGAN does.
        upsample: How a resize in front of a convolution fills in: "nearest", "bilinear", or "bilinear_aligned" at the
            corners.
        eps: What a norm adds to the variance, above 0 and at most 0.1.
        shrink: How many times smaller than the picture the first map of a SPADE generator is, 32 or 64.
        front: What a layer without tensors in front of a convolution is that halves the size: "padding" or "dropout".
    """

    padding: str | None = None
    padding_ends: str | None = None
    activation: str | None = None
    last: str | None = None
    norm: str | None = None
    norm_at_test: str | None = None
    residual: bool | None = None
    upsample: str | None = None
    eps: float | None = None
    shrink: int | None = None
    front: str | None = None

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            if name == "norm" and isinstance(value, str) and re.fullmatch(r"group:[1-9]\d{0,3}", value):
                continue
            if name == "eps":
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 0.1:
                    raise GancompError(f"eps is a number above 0 and at most 0.1, not {value!r}; 1e-5 is usual.")
            elif value not in CHOICES[name] or isinstance(value, bool) != (name == "residual"):
                allowed = ", ".join(map(repr, CHOICES[name]))
                raise GancompError(f"An import cannot assume {name}={value!r}; choose one of {allowed}.")

    @property
    def given(self) -> dict[str, Value]:
        """The fields that are not None."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


@dataclass(frozen=True)
class Imported:
    """How a checkpoint was read; ``str()`` of it is one sentence for the user.

    Attributes:
        format: The kind of file, such as "a zip file of torch.save".
        layout: What the network is.
        part: Which of the file's networks this is; None where it holds one.
        assumed: What no tensor showed, by field of :class:`Assumptions`.
        skipped: Tensors and objects of the file that the network does not need.
        folded: Weights that spectral or weight norm kept in pieces, now one tensor.
    """

    format: str
    layout: str
    part: str | None = None
    assumed: Mapping[str, Value] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = [f"Read as {self.layout} from {self.format}"]
        if self.part:
            said[0] += f", part '{self.part}'"
        if self.assumed:
            values = ", ".join(f"{name} {_plain(value)}" for name, value in self.assumed.items())
            said.append(f"assumed, because no tensor shows it: {values}")
        for what, names in (("left out", self.skipped), ("folded", self.folded)):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                said.append(f"{what}: {', '.join(names[:3])}{more}")
        return "; ".join(said) + "."


def _plain(value: Value) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
