"""Architecture parameters of an AGD search, what they cost, and the price of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.agd import AgdArchitecture, Picked, operator_layers
from gancomp_core.nets.blueprint import Channels
from gancomp_core.train.callbacks import Callback, State

if TYPE_CHECKING:
    from gancomp_core.train.loop import Training

REACH = 8.0  # by how much a two-sided controller may raise or lower its price
UPDATES = 100  # how often a search writes down its preferences, and the controller may change the price


class MacTable:
    """Exact MACs of every choice: for each layer [operators, input widths, output widths].

    The numbers come from the blueprint of each operator with columns of widths, so the sum over a derived network is
    its cost. ``height`` and ``width`` are those of the input picture.
    """

    def __init__(self, architecture: AgdArchitecture, height: int, width: int) -> None:
        self.architecture, self.tables = architecture, list[Tensor]()
        before: tuple[int, ...] = (architecture.in_channels,)
        size = (height, width)
        for layer in architecture.layers:
            channels = _column(before, 1), _column(layer.widths, 0)
            found = [operator_layers(name, *channels, architecture.normed, size) for name in layer.operators]
            macs = [torch.as_tensor(sum(each.macs for each in layers), dtype=torch.float64) for layers in found]
            self.tables.append(torch.stack(macs))
            before, size = layer.widths, found[0][-1].size
        tail = architecture.blueprint(height, width).layer("tail")
        self.tail = torch.tensor([float(tail.macs // before[-1] * c_in) for c_in in before], dtype=torch.float64)

    def exact(self, operators: Sequence[int], widths: Sequence[int]) -> int:
        """MACs of one network: for each layer the index of its operator, and of its width."""
        places = zip(self.tables, operators, (0, *widths), widths, strict=False)
        return int(sum(float(table[o, i, j]) for table, o, i, j in places) + float(self.tail[widths[-1]]))

    def of_operators(self, shares: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
        """Expected MACs when operators are drawn with these shares, at fixed widths; differentiable in the shares."""
        places = zip(self.tables, shares, (0, *widths), widths, strict=False)
        return sum(share.double() @ table[:, i, j] for table, share, i, j in places) + self.tail[widths[-1]]

    def of_widths(self, operators: Sequence[int], shares: Sequence[Tensor]) -> Tensor:
        """Expected MACs when widths are drawn with these shares, with fixed operators; differentiable in the shares."""
        ours = [share.double() for share in shares]
        places = zip(self.tables, operators, (ours[0].new_ones(1), *ours), ours, strict=False)
        return sum(i @ table[o] @ j for table, o, i, j in places) + self.tail @ ours[-1]

    @property
    def widest(self) -> int:
        """MACs of the costliest network."""
        return self.exact([int(table[:, -1, -1].argmax()) for table in self.tables], [-1] * len(self.tables))

    @property
    def narrowest(self) -> int:
        """MACs of the cheapest network."""
        return self.exact([int(table[:, 0, 0].argmin()) for table in self.tables], [0] * len(self.tables))


def _column(widths: Sequence[int], dim: int) -> Channels:
    """Numbers of channels along one of two dimensions."""
    return Channels("", cast(int, np.expand_dims(np.array(widths, dtype=np.int64), dim)))


@dataclass(frozen=True)
class Controller:
    """Keeps a search within a range of MACs, by a price on them.

    ``low`` and ``high`` bound the MACs of the derived network. As published (``two_sided`` False), the ``price``
    doubles at every update at which that network is above the range and halves when it is below. That cannot lift a
    network that is below because cheap operators learn faster, and a price that has halved often comes back late. So by
    default a price that has become small turns negative, and MACs are rewarded; within the range it becomes small
    again; and it is never larger or smaller than its start by more than ``REACH``. A price of 0 stays 0: then MACs cost
    nothing. The price weighs ``on_operators`` of the expected MACs over operators and the rest over widths, both as a
    share of ``high``; a quarter as published for translation, 2/7 for super-resolution. Preferences learn at
    ``choice_lr``, after the first share ``warm_up`` of the steps, which trains the weights alone.
    """

    low: float
    high: float
    price: float = 0.05
    on_operators: float = 0.25
    two_sided: bool = True
    choice_lr: float = 2e-2
    warm_up: float = 0.25

    def next_price(self, price: float, macs: float) -> float:
        """The price after an update at which the derived network has this many ``macs``."""
        sign = int(macs > self.high) - int(macs < self.low)
        if not self.two_sided:
            return price * 2.0**sign
        least, most = self.price / REACH, self.price * REACH
        if price * sign > 0:  # the right way already
            return sign * min(2 * abs(price), most)
        if abs(price) / 2 >= least:
            return price / 2
        return sign * least if sign else price

    def __post_init__(self) -> None:
        shares = (self.on_operators, self.warm_up)
        if not 0 < self.low < self.high or self.price < 0 or not all(0 <= share <= 1 for share in shares):
            raise GancompError(
                f"A controller needs 0 < low < high MACs, a price from 0, on_operators and warm_up from 0 to 1, not "
                f"low {self.low:g}, high {self.high:g}, price {self.price:g}, {self.on_operators:g} and "
                f"{self.warm_up:g}."
            )


class Choices(nn.Module):
    """The preferences of a search, layer by layer.

    ``operators`` and ``widths`` are logits, one vector per layer; all start equal except for a tiny bias toward what
    costs more, so that the first derived network is the costliest.
    """

    def __init__(self, table: MacTable) -> None:
        super().__init__()
        self.table = table
        self.operators = nn.ParameterList(nn.Parameter(_ranked(costs[:, -1, -1])) for costs in table.tables)
        self.widths = nn.ParameterList(nn.Parameter(_ranked(costs[0, -1])) for costs in table.tables)

    def shares(self, kind: str) -> list[Tensor]:
        """The probabilities of each layer's "operators" or "widths"."""
        return [each.softmax(0) for each in self._logits(kind)]

    def best(self, kind: str) -> list[int]:
        """The index of each layer's most probable operator, or width."""
        return [int(each.argmax()) for each in self._logits(kind)]

    def _logits(self, kind: str) -> nn.ParameterList:
        return self.operators if kind == "operators" else self.widths

    def derived(self) -> AgdArchitecture:
        """The network of the most probable choices."""
        return self.table.architecture.chosen(self.best("operators"), self.best("widths"))

    def drawn(self) -> list[Picked]:
        """Operators mixed by their probabilities, widths drawn by a straight-through Gumbel softmax (temperature 1)."""
        found = []
        for layer, shares, logits in zip(
            self.table.architecture.layers, self.shares("operators"), self.widths, strict=True
        ):
            one_hot = F.gumbel_softmax(logits, tau=1.0, hard=True)
            width = layer.widths[int(one_hot.argmax())]
            found.append(Picked(shares, width, kept_channels(one_hot, layer.widths, width)))
        return found

    def at(self, which: Callable[[Sequence[int]], int]) -> list[Picked]:
        """Operators mixed, and of each layer's widths the one that ``which`` takes, such as ``max``."""
        layers = self.table.architecture.layers
        shares = self.shares("operators")
        return [Picked(share, which(layer.widths)) for layer, share in zip(layers, shares, strict=True)]

    def macs(self) -> int:
        """MACs of the network of the most probable choices."""
        return self.table.exact(self.best("operators"), self.best("widths"))

    def expected_macs(self, on_operators: float) -> Tensor:
        """Expected MACs, differentiable: over operators with this weight, over widths with the rest; float64."""
        over_operators = self.table.of_operators(self.shares("operators"), self.best("widths"))
        over_widths = self.table.of_widths(self.best("operators"), self.shares("widths"))
        return on_operators * over_operators + (1 - on_operators) * over_widths


@dataclass
class PriceControl(Callback):
    """Sets the price of MACs during a search by its controller, and writes down how the preferences move.

    Of all steps, ``updates`` evenly spaced ones (:data:`UPDATES`, or all where there are fewer) are preceded by an
    update. Checkpoints keep the price and the record.
    """

    choices: Choices = field(repr=False)
    controller: Controller
    steps: int
    updates: int = UPDATES
    price: float = field(init=False, repr=False)
    step: int = field(default=0, init=False, repr=False)
    record: list[list[float]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.updates, self.price = min(self.updates, self.steps), self.controller.price

    def before_step(self, training: Training) -> None:
        self.update()

    def update(self) -> None:
        """Before a step: where an update is due, write down what is preferred and set the price."""
        if self.step * self.updates % self.steps < self.updates:
            self.record.append(now := self._now())
            if self.step:  # nothing has been learned before the first step
                self.price = self.controller.next_price(self.price, now[1])
        self.step += 1

    def penalty(self) -> Tensor:
        """The price times the expected MACs, as a share of the controller's ``high``."""
        expected = self.choices.expected_macs(self.controller.on_operators)
        return (self.price * expected / self.controller.high).float()

    @torch.no_grad()
    def _now(self) -> list[float]:
        """A row of the record: step, MACs, price, then all probabilities."""
        shares = torch.cat([*self.choices.shares("operators"), *self.choices.shares("widths")])
        return [float(self.step), float(self.choices.macs()), self.price, *shares.tolist()]

    def history(self) -> pd.DataFrame:
        """The record as a table: a row for each update, layer, kind ("operator" or "width") and choice.

        Columns: step, macs, price, layer, kind, choice, probability. The last update is what is preferred now.
        """
        layers = self.choices.table.architecture.layers
        names = [(layer.name, "operator", choice) for layer in layers for choice in layer.operators]
        names += [(layer.name, "width", str(choice)) for layer in layers for choice in layer.widths]
        rows = []
        for step, macs, price, *shares in [*self.record, self._now()]:
            now = {"step": int(step), "macs": int(macs), "price": price}
            for (layer, kind, choice), share in zip(names, shares, strict=True):
                rows.append({**now, "layer": layer, "kind": kind, "choice": choice, "probability": share})
        return pd.DataFrame(rows)

    def state_dict(self) -> State:
        return {"price": self.price, "step": self.step, "record": self.record}

    def load_state_dict(self, state: State) -> None:
        self.price, self.step, self.record = state["price"], state["step"], state["record"]


def _ranked(costs: Tensor) -> Tensor:
    """Logits that are nearly equal and rank as the costs do."""
    return 1e-3 * costs.argsort().argsort().float()


def kept_channels(one_hot: Tensor, widths: Sequence[int], width: int) -> Tensor:
    """For each of ``width`` channels the sum of the choices that keep it: ones [width] that carry the gradient.

    Args:
        one_hot: [choices], 1 at the drawn choice and 0 elsewhere; its gradient says how the loss would change if a
            little of each choice were mixed in.
        widths: Channels of each choice; a choice of w keeps channels 0 to w - 1.
        width: Channels of the drawn choice.

    Returns:
        float [width].
    """
    channels = torch.arange(width)
    keeps = torch.stack([channels < each for each in widths]).to(one_hot.dtype)
    return one_hot @ keeps
