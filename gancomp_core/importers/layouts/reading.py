"""The tensors of one file as a layout reads them, with errors that name the tensor at fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError, shown
from gancomp_core.importers.assumptions import Assumptions, Value

COUNTER = "num_batches_tracked"
STATISTICS = ("running_mean", "running_var", COUNTER)
AT_TEST: tuple[Value, ...] = ("picture", "running")


@dataclass(frozen=True)
class Reading:
    """Tensors by name from ``source``, read as ``what``."""

    tensors: Mapping[str, Tensor]
    source: str
    what: str

    def side(self, name: str, axis: int = 0, kernel: int | None = None) -> int:
        """The number of channels along an axis of a convolution's weights, whose kernel may have to have one size."""
        shape = self.get(name).shape
        if len(shape) != 4 or (kernel and shape[2:] != (kernel, kernel)):
            wanted = f"a kernel of {kernel} x {kernel}" if kernel else "the four axes of a convolution"
            raise self.wrong(name, f"is {sides(shape)}, and {self.what} has {wanted} there")
        return shape[axis]

    def get(self, name: str) -> Tensor:
        if name not in self.tensors:
            first = ", ".join(map(shown, list(self.tensors)[:4]))
            raise GancompError(
                f"{self.source} looks like {self.what}, but lacks '{name}' (it begins with {first}); "
                "it is a variant that is not read, or parts of it were left out."
            )
        return self.tensors[name]

    def wrong(self, name: str, why: str) -> GancompError:
        return GancompError(
            f"The tensor '{shown(name)}' in {self.source} {why}; it is a variant that is not read, or the file is "
            "damaged."
        )

    def count(self, pattern: str) -> int:
        """How many different numbers the first group of a pattern has among the names; they must be consecutive."""
        found = {int(match[1]) for name in self.tensors if (match := re.match(pattern, name))}
        if found and max(found) - min(found) + 1 != len(found):
            gap = next(number for number in range(min(found), max(found)) if number not in found)
            raise GancompError(
                f"{self.source} looks like {self.what}, but number {gap} of its {len(found)} blocks is missing; "
                "it is damaged, or parts of it were left out."
            )
        return len(found)

    def settled(
        self, assume: Assumptions, left_open: Mapping[str, tuple[Value, ...]], fixed: Mapping[str, Value]
    ) -> dict[str, Value]:
        """The fields that the tensors leave open, with the value given or the first of those possible.

        Raises:
            GancompError: For a given value that this layout cannot have.
        """
        for name, value in assume.given.items():
            possible = left_open.get(name, (fixed[name],) if name in fixed else ())
            if value not in possible:
                has = f"{name} {' or '.join(map(str, possible))}" if possible else f"no {name} to choose"
                raise GancompError(
                    f"{self.source} is {self.what}, which has {has}, and {name}={value!r} was assumed; leave it out."
                )
        return {name: assume.given.get(name, possible[0]) for name, possible in left_open.items()}

    def statistics(self) -> bool:
        """Whether norms stored running statistics."""
        return any(name.endswith("running_mean") for name in self.tensors)

    def fill(self, network: nn.Module, theirs: Callable[[str], str] = str, skip: Iterable[str] = ()) -> tuple[str, ...]:
        """Give a network its weights; everything is checked first.

        Args:
            network: With tensors on the device "meta".
            theirs: The name in the file of a tensor of the network.
            skip: Names that the network does not need, beside statistics of norms.

        Returns:
            The names that were skipped.
        """
        found, used = {}, set()
        for ours, wanted in network.state_dict().items():
            used.add(name := theirs(ours))
            found[ours] = torch.tensor(0) if name.endswith(COUNTER) else self._checked(name, tuple(wanted.shape))
        left = [name for name in self.tensors if name not in used]
        skipped = tuple(name for name in left if name.endswith(STATISTICS) or name in skip)
        if extra := [name for name in left if name not in skipped]:
            raise GancompError(
                f"{self.source} looks like {self.what}, but holds {len(extra)} tensors more, such as "
                f"'{shown(extra[0])}'; it is a variant that is not read, or more was saved than the generator."
            )
        network.load_state_dict(found, assign=True)
        return skipped

    def _checked(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self.get(name)
        if tuple(tensor.shape) != shape:
            raise self.wrong(name, f"is {sides(tensor.shape)}, and by the other tensors it should be {sides(shape)}")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise self.wrong(name, "holds numbers that are not finite floating-point numbers")
        return tensor.detach().contiguous().clone()  # of its own, not a view of something larger


def sides(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
