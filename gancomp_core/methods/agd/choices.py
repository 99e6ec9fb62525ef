"""What an AGD search chooses: preferences for operators and widths, what they cost, and the price of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.errors import GancompError
from gancomp_core.nets.agd import AgdArchitecture, Picked, draft_operator
from gancomp_core.nets.blueprint import PICTURE, Channels, Draft

REACH = 8.0  # by how much a two-sided controller may raise or lower its price
LOOKS = 100  # how often a search writes down its preferences, and the controller may change the price


class MacTable:
    """MACs of every choice: for each layer [operators, widths that come in, widths that go out], exactly.

    ``height`` and ``width`` are those of the picture that goes in. The numbers come from the blueprint of each operator
    with columns of widths, so the sum over a derived network is its cost.
    """

    def __init__(self, architecture: AgdArchitecture, height: int, width: int) -> None:
        self.architecture, self.tables = architecture, list[Tensor]()
        before: tuple[int, ...] = (architecture.in_channels,)
        size = (height, width)
        for layer in architecture.layers:
            found = []
            for operator in layer.operators:
                draft = Draft(size)
                draft.stage(layer.name, operator, (), PICTURE)
                draft_operator(draft, operator, "", _column(before, 1), _column(layer.widths, 0), architecture.normed)
                found.append(torch.as_tensor(draft.blueprint.cost.macs, dtype=torch.float64))
            self.tables.append(torch.stack(found))
            before, size = layer.widths, draft.size
        tail = architecture.blueprint(height, width).layer("tail")
        self.tail = torch.tensor([float(tail.macs // before[-1] * c_in) for c_in in before], dtype=torch.float64)

    def exact(self, operators: Sequence[int], widths: Sequence[int]) -> int:
        """MACs of one network: for each layer the place of its operator, and of its width."""
        places = zip(self.tables, operators, (0, *widths), widths, strict=False)
        return int(sum(float(table[o, i, j]) for table, o, i, j in places) + float(self.tail[widths[-1]]))

    def of_operators(self, shares: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
        """Expected MACs when operators are drawn with these shares, at fixed widths; differentiable in the shares."""
        places = zip(self.tables, shares, (0, *widths), widths, strict=False)
        return sum(share.double() @ table[:, i, j] for table, share, i, j in places) + self.tail[widths[-1]]  # type: ignore[return-value]

    def of_widths(self, operators: Sequence[int], shares: Sequence[Tensor]) -> Tensor:
        """Expected MACs when widths are drawn with these shares, with fixed operators; differentiable in the shares."""
        ours = [share.double() for share in shares]
        places = zip(self.tables, operators, (ours[0].new_ones(1), *ours), ours, strict=False)
        return sum(i @ table[o] @ j for table, o, i, j in places) + self.tail @ ours[-1]  # type: ignore[return-value]

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
    doubles at every look at which that network is above the range and halves when it is below. That cannot lift a
    network that is below because cheap operators learn faster, and a price that has halved often comes back late. So by
    default a price that has become small turns negative, and MACs are rewarded; within the range it becomes small
    again; and it is never larger or smaller than its start by more than ``REACH``. A price of 0 stays 0: then MACs cost
    nothing. The price weighs ``on_operators`` of the expected MACs over operators and the rest over widths, both as a
    share of ``high``; a quarter as published for translation, 2/7 for super-resolution.
    """

    low: float
    high: float
    price: float = 0.05
    on_operators: float = 0.25
    two_sided: bool = True

    def next_price(self, price: float, macs: float) -> float:
        """The price after a look at which the derived network has so many ``macs``."""
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
        if not 0 < self.low < self.high or self.price < 0 or not 0 <= self.on_operators <= 1:
            raise GancompError(
                f"A controller needs 0 < low < high MACs, a price from 0 and on_operators from 0 to 1, not low "
                f"{self.low:g}, high {self.high:g}, price {self.price:g} and {self.on_operators:g}."
            )


class Choices(nn.Module):
    """The preferences of a search, layer by layer, the price of MACs, and a record of both.

    ``operators`` and ``widths`` are logits, one vector a layer; all start equal but for a hair in favour of what costs
    more, so that what is derived first is the costliest network. Every one of ``looks`` looks writes
    down the probabilities and the MACs of the network that the largest of them make.
    """

    price: Tensor
    record: Tensor
    step: Tensor

    def __init__(self, table: MacTable, controller: Controller, steps: int, looks: int = LOOKS) -> None:
        super().__init__()
        self.table, self.controller, self.steps = table, controller, steps
        self.operators = nn.ParameterList(nn.Parameter(_hair(costs[:, -1, -1])) for costs in table.tables)
        self.widths = nn.ParameterList(nn.Parameter(_hair(costs[0, -1])) for costs in table.tables)
        self.looks = min(looks, steps)
        self.register_buffer("price", torch.tensor(controller.price, dtype=torch.float64))
        # a row a look: step, MACs, price, then all probabilities
        columns = 3 + sum(len(p) for p in self.parameters())
        self.register_buffer("record", torch.full((self.looks, columns), torch.nan, dtype=torch.float64))
        self.register_buffer("step", torch.tensor(0))

    def shares(self, kind: str) -> list[Tensor]:
        """The probabilities of each layer's "operators" or "widths"."""
        return [each.softmax(0) for each in self._logits(kind)]

    def best(self, kind: str) -> list[int]:
        """The place of each layer's most probable operator, or width."""
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

    def budget(self) -> Tensor:
        """The price times the expected MACs, as a share of the controller's ``high``."""
        on_operators = self.table.of_operators(self.shares("operators"), self.best("widths"))
        on_widths = self.table.of_widths(self.best("operators"), self.shares("widths"))
        part = self.controller.on_operators
        return self.price * (part * on_operators + (1 - part) * on_widths) / self.controller.high

    @torch.no_grad()
    def look(self) -> None:
        """One step has come: when a look is due, write down what is preferred and set the price anew."""
        number = int(self.step) * self.looks // self.steps
        if int(self.step) * self.looks % self.steps < self.looks:
            self.record[number] = now = self._now()
            if number:  # nothing has been learned before the first look
                self.price.fill_(self.controller.next_price(float(self.price), float(now[1])))
        self.step += 1

    def _now(self) -> Tensor:
        """A row of the record."""
        macs = self.table.exact(self.best("operators"), self.best("widths"))
        head = torch.tensor([float(self.step), float(macs), float(self.price)], dtype=torch.float64)
        return torch.cat([head, *self.shares("operators"), *self.shares("widths")])

    def history(self) -> pd.DataFrame:
        """The record as a table: a row for each look, layer, kind ("operator" or "width") and choice.

        Columns: step, macs, price, layer, kind, choice, probability. The last look is at what is preferred now.
        """
        layers = self.table.architecture.layers
        names = [(layer.name, "operator", choice) for layer in layers for choice in layer.operators]
        names += [(layer.name, "width", str(choice)) for layer in layers for choice in layer.widths]
        rows = []
        looks = self.record[~self.record[:, 0].isnan()]
        for step, macs, price, *shares in [*looks.tolist(), self._now().tolist()]:
            now = {"step": int(step), "macs": int(macs), "price": price}
            for (layer, kind, choice), share in zip(names, shares, strict=True):
                rows.append({**now, "layer": layer, "kind": kind, "choice": choice, "probability": share})
        return pd.DataFrame(rows)


def _hair(costs: Tensor) -> Tensor:
    """Logits that are nearly equal and rank as the costs do."""
    return 1e-3 * costs.argsort().argsort().float()


def kept_channels(one_hot: Tensor, widths: Sequence[int], width: int) -> Tensor:
    """For each of ``width`` channels the sum of the choices that keep it: [width] ones, which carry the gradient.

    A choice of w channels keeps channels 0 to w - 1. ``one_hot`` [choices] is 1 at the drawn choice and 0 elsewhere;
    its gradient says how the loss would change if a little of each choice were mixed in.
    """
    channels = torch.arange(width)
    keeps = torch.stack([channels < each for each in widths]).to(one_hot.dtype)
    return one_hot @ keeps
