"""Exercises of notebook 05: straight-through draws, kept channels, expected multiply-accumulates, the price on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.course.answers import tensor
from gancomp_core.course.exercise import Exercise, noise

# --- a straight-through draw -----------------------------------------------------------------------------------------


def _hard(scores: Tensor) -> Tensor:
    return F.one_hot(scores.argmax(), len(scores)).to(scores.dtype)


def _soft(logits: Tensor, gumbel: Tensor) -> Tensor:
    return (logits + gumbel).softmax(0)


def _passing(path: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The right draw, with the gradient of ``path``."""

    def draw(logits: Tensor, gumbel: Tensor) -> Tensor:
        found = path(logits, gumbel)
        return _hard(logits + gumbel) + found - found.detach()

    return draw


def straight_through_sample(logits: Tensor, gumbel: Tensor) -> Tensor:
    return _passing(_soft)(logits, gumbel)


def _gumbel(count: int, seed: int) -> Tensor:
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(seed)).clamp(1e-6, 1 - 1e-6)
    return -(-uniform.log()).log()


STRAIGHT_THROUGH_SAMPLE = Exercise(
    reference=straight_through_sample,
    kind=tensor,
    inputs=[(noise(5, seed=n), _gumbel(5, seed=100 + n)) for n in range(12)],
    gradients=("logits",),
    mutants={
        "That is the soft draw, a mixture of all widths. "
        "A network has *one* width: let the forward value be hard, 1 at the largest place and 0 elsewhere.": _soft,
        "That is the softmax of the preferences, without noise and without a draw.": lambda logits, gumbel: (
            logits.softmax(0)
        ),
        "The noise is not used: you "
        "always take the favorite, so that no other width would ever be tried.": lambda logits, gumbel: _hard(logits),
        "The preferences are not used: "
        "your draw follows the noise alone, so that nothing could be learned.": lambda logits, gumbel: _hard(gumbel),
        "The noise is subtracted; add it. It leans to "
        "one side, so the sign changes how often each choice is drawn.": lambda logits, gumbel: _hard(logits - gumbel),
        "The noise is multiplied; Gumbel's trick *adds* it to the preferences.": lambda logits, gumbel: _hard(
            logits * gumbel
        ),
        "The noise comes too late: add it to the logits, before the softmax and not after it.": lambda logits, gumbel: (
            _hard(logits.softmax(0) + gumbel)
        ),
        "Your 1 stands at the *smallest* place; take the largest.": lambda logits, gumbel: _hard(-logits - gumbel),
        "The soft draw is added and never taken away: the values must be exactly "
        "0 and 1. Subtract a detached copy.": lambda logits, gumbel: _hard(logits + gumbel) + _soft(logits, gumbel),
        "Your draw holds the probability at its place, and not 1: multiplied "
        "by this the channels would shrink.": lambda logits, gumbel: _hard(logits + gumbel) * _soft(logits, gumbel),
        "That is the noisy preference itself; "
        "the draw is still to come: 1 at its largest place, 0 elsewhere.": lambda logits, gumbel: logits + gumbel,
        "Your function returns the *place* of the draw, one number; wanted "
        "is a vector with a 1 at that place: F.one_hot makes it.": lambda logits, gumbel: (logits + gumbel).argmax(),
        "The values are right, but no gradient reaches the preferences: argmax has "
        "none. Add the soft draw and subtract a detached copy of it.": lambda logits, gumbel: _hard(logits + gumbel),
        "The values are right, but the gradient is zero: soft minus soft cancels. Detach exactly one "
        "of the two.": lambda logits, gumbel: _hard(logits + gumbel) + _soft(logits, gumbel) - _soft(logits, gumbel),
        "The values are right, but the gradient points backwards: you detach the copy "
        "that is added; detach the one that is subtracted.": _passing(lambda logits, gumbel: -_soft(logits, gumbel)),
        "The values are right, but the gradient goes around the softmax: the choices "
        "would not compete. Put the softmax of the noisy preferences in.": _passing(lambda logits, gumbel: logits),
        "The values are right, but the gradient is that of a softmax "
        "without the noise; the same noise belongs in both.": _passing(lambda logits, gumbel: logits.softmax(0)),
        "The values are right, but the gradient is that of the logarithm of the softmax.": _passing(
            lambda logits, gumbel: (logits + gumbel).log_softmax(0)
        ),
        "The values are right, but the gradient is twice too large: add the soft draw once.": _passing(
            lambda logits, gumbel: 2 * _soft(logits, gumbel)
        ),
    },
)

# --- which channels a choice keeps -----------------------------------------------------------------------------------


def _keeps(widths: Sequence[int], width: int, more: int = 0) -> Tensor:
    """[choices, width] of 0 and 1."""
    return torch.stack([torch.arange(width) < each + more for each in widths]).float()


def kept_channels(one_hot: Tensor, widths: Sequence[int], width: int) -> Tensor:
    return one_hot @ _keeps(widths, width)


KEPT_CHANNELS = Exercise(
    reference=kept_channels,
    kind=tensor,
    inputs=[
        (torch.tensor([0.1, 0.25, 0.4, 0.05, 0.3]), (2, 3, 5, 6, 8), 5),
        (torch.tensor([0.3, 0.05, 0.4, 0.25, 0.1]), (2, 3, 5, 6, 8), 8),
        (torch.tensor([0.5, 0.3, 0.6]), (1, 3, 4), 3),
    ],
    gradients=("one_hot",),
    mutants={
        "Ones, for all choices: the *sum of the choices that keep a "
        "channel* is wanted, so that each of them gets its gradient.": lambda one_hot, widths, width: torch.ones(width),
        "Off by one: a choice of 4 channels keeps those numbered "
        "0 to 3. Compare with <, not with <=.": lambda one_hot, widths, width: one_hot @ _keeps(widths, width, 1),
        "Off by one: a choice of 4 channels keeps channel number 3 as well.": lambda one_hot, widths, width: (
            one_hot @ _keeps(widths, width, -1)
        ),
        "The comparison is upside down: you add up the choices that *drop* a channel.": lambda one_hot, widths, width: (
            one_hot @ (1 - _keeps(widths, width))
        ),
        "All channels get the drawn choice alone; a wider choice keeps them, too, and a narrower "
        "one the first of them.": lambda one_hot, widths, width: one_hot[list(widths).index(width)].expand(width),
        "Every choice is added to every channel; "
        "a narrow choice does not keep the last ones.": lambda one_hot, widths, width: one_hot.sum().expand(width),
        "The channels are counted from the wrong end: a narrow "
        "choice keeps the *first* ones.": lambda one_hot, widths, width: kept_channels(one_hot, widths, width).flip(0),
        "That is the mean over the choices; add them up, for a drawn "
        "one-hot to give ones.": lambda one_hot, widths, width: kept_channels(one_hot, widths, width) / len(widths),
        "You take the largest of the choices that keep a channel; add them up.": lambda one_hot, widths, width: (
            one_hot[:, None] * _keeps(widths, width)
        ).amax(0),
        "These are all channels of the widest choice; only "
        "the first `width` of them are there.": lambda one_hot, widths, width: one_hot @ _keeps(widths, max(widths)),
        "That has a row for each choice; add the rows "
        "up, each times its entry of one_hot.": lambda one_hot, widths, width: one_hot[:, None] * _keeps(widths, width),
        "A vector is wanted, without a further axis in front.": lambda one_hot, widths, width: (
            one_hot[None] @ _keeps(widths, width)
        ),
        "A vector is wanted, without a further axis at the end.": lambda one_hot, widths, width: kept_channels(
            one_hot, widths, width
        )[:, None],
        "The values are right, but the gradient of one_hot is zero: every choice must hear of all channels that "
        "it keeps.": lambda one_hot, widths, width: kept_channels(one_hot.detach(), widths, width) + 0 * one_hot.sum(),
    },
)

# --- what a network costs on the average -----------------------------------------------------------------------------

Shares = Sequence[Tensor]
Layer = Callable[[Tensor, Tensor, Tensor], Tensor]


def _layers(shares: Shares, tables: Shares, cost: Layer = lambda i, table, j: i @ table @ j) -> Tensor:
    before = [torch.ones(1, dtype=torch.float64), *shares]
    return torch.stack([cost(i, table, j) for i, table, j in zip(before, tables, shares, strict=False)])


def _summed(cost: Layer) -> Callable[[Shares, Shares], Tensor]:
    """The sum over layers of something else than the expectation."""
    return lambda shares, tables: _layers(shares, tables, cost).sum()


def expected_macs(shares: Shares, tables: Shares) -> Tensor:
    return _layers(shares, tables).sum()


def _network(number: int, widths: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Shares and tables of layers with this number of widths each."""
    shares = [noise(each, seed=10 * number + place).double().softmax(0) for place, each in enumerate(widths)]
    sizes = enumerate(zip((1, *widths), widths, strict=False))
    return shares, [1000 * (1 + noise(*size, seed=90 + 7 * number + place).double().abs()) for place, size in sizes]


EXPECTED_MACS = Exercise(
    reference=expected_macs,
    kind=tensor,
    inputs=[_network(0, (3, 3)), _network(1, (4, 4, 4)), _network(2, (5, 5, 5, 5))],
    gradients=("shares",),
    mutants={
        "That is the cost of the most probable network alone. It jumps and has "
        "no gradient; weigh *every* width with its share.": _summed(lambda i, table, j: table[i.argmax(), j.argmax()]),
        "The shares play no part: that is the plain mean of the tables.": _summed(lambda i, table, j: table.mean()),
        "You take the widest input; what comes "
        "in has the width that the layer *before* drew, with its shares.": _summed(lambda i, table, j: table[-1] @ j),
        "You take the widest output; weigh the outputs with the layer's own shares.": _summed(
            lambda i, table, j: i @ table[:, -1]
        ),
        "The inputs are summed without their shares: only one of them comes in at a time.": _summed(
            lambda i, table, j: (table @ j).sum()
        ),
        "The outputs are summed without their shares: only one of them is drawn at a time.": _summed(
            lambda i, table, j: (i @ table).sum()
        ),
        "All inputs count alike; weigh them with the shares of the layer before.": _summed(
            lambda i, table, j: table.mean(0) @ j
        ),
        "All outputs count alike; weigh them with the layer's own shares.": _summed(
            lambda i, table, j: i @ table.mean(1)
        ),
        "Off by one: the rows of a table are the widths that come *in*, with the shares of the layer before; "
        "you use the layer's own twice.": _summed(lambda i, table, j: j @ table @ j if len(i) > 1 else table[0] @ j),
        "The two sides are exchanged: rows belong to the width that comes in, "
        "columns to the one that goes out.": _summed(lambda i, table, j: j @ table @ i if len(i) > 1 else table[0] @ j),
        "The shares are probabilities already; a second softmax makes them nearly equal.": _summed(
            lambda i, table, j: i.softmax(0) @ table @ j.softmax(0)
        ),
        "The first layer is missing: its table has one row, "
        "because a picture always has the same channels.": lambda shares, tables: _layers(shares, tables)[1:].sum(),
        "The last layer is missing; every share has a table, and the last share one, too.": lambda shares, tables: (
            _layers(shares, tables)[:-1].sum()
        ),
        "Your function returns the cost of each layer; a network runs all of them, so one sum is wanted.": _layers,
        "That is the mean over the layers; a network runs all of them, so add them up.": lambda shares, tables: _layers(
            shares, tables
        ).mean(),
        "The layers are multiplied; they run one after the other, so their costs add up.": lambda shares, tables: (
            _layers(shares, tables).prod()
        ),
        "The number is right, but its gradient is not: a width costs twice, as output of its "
        "layer and as input of the next. You detach the input.": _summed(lambda i, table, j: i.detach() @ table @ j),
        "The number is right, but its gradient is not: a width costs twice, as output of its "
        "layer and as input of the next. You detach the output.": _summed(lambda i, table, j: i @ table @ j.detach()),
    },
)

# --- the price -------------------------------------------------------------------------------------------------------


def _controlled(above: float = 2.0, below: float = 0.5, within: float = 1.0) -> Callable[..., float]:
    return lambda price, macs, low, high: price * (above if macs > high else below if macs < low else within)


def next_price(price: float, macs: float, low: float, high: float) -> float:
    return _controlled()(price, macs, low, high)


NEXT_PRICE = Exercise(
    reference=next_price,
    inputs=[
        (0.05, 6e6, 4e6, 5e6),
        (0.05, 3e6, 4e6, 5e6),
        (0.05, 4.4e6, 4e6, 5e6),
        (0.05, 4.6e6, 4e6, 5e6),
        (0.05, 4e6, 4e6, 5e6),
        (0.05, 5e6, 4e6, 5e6),
        (0.8, 2.5e7, 4e6, 5e6),
        (3.0, 1e6, 2e6, 9e6),
        (0.0, 6e6, 4e6, 5e6),
        (0.0, 3e6, 4e6, 5e6),
    ],
    mutants={
        "Upside down: "
        "a network that is too dear needs a *higher* price, one that is too cheap a lower one.": _controlled(0.5, 2.0),
        "Within the range the "
        "price must rest; yours falls there as well, and the network grows out of it again.": _controlled(within=0.5),
        "Within the range the "
        "price must rest; yours rises there as well, and the network shrinks out of it again.": _controlled(within=2.0),
        "You aim at the middle of the range and change the price every time; within "
        "the range it must rest.": lambda price, macs, low, high: price * (2.0 if macs > (low + high) / 2 else 0.5),
        "A network exactly at a border is within the range: compare with > and <.": lambda price, macs, low, high: (
            price * (2.0 if macs >= high else 0.5 if macs <= low else 1.0)
        ),
        "The price can only rise; below the range it has to halve, or the network stays too small.": _controlled(
            below=1.0
        ),
        "The price can only fall; above the range it has to double, or the network stays too large.": _controlled(
            above=1.0
        ),
        "You revive a price of 0. Doubling leaves 0 at 0: a dead controller stays dead, and that is "
        "the trap which this section shows.": lambda price, macs, low, high: next_price(price or 1e-3, macs, low, high),
        "You scale the price with the MACs; the "
        "rule knows three answers alone: double, half, the same.": lambda price, macs, low, high: price * macs / high,
        "You add and subtract; the rule multiplies: by 2 above the range, by a "
        "half below it.": lambda price, macs, low, high: price + (1.0 if macs > high else -0.5 if macs < low else 0.0),
        "That is the factor alone; multiply the present price by it.": lambda price, macs, low, high: next_price(
            1.0, macs, low, high
        ),
        "The right directions with a factor of 10; the rule doubles and halves.": _controlled(10.0, 0.1),
        "Below the range your price becomes negative, so that MACs would be rewarded; halve it.": _controlled(
            below=-0.5
        ),
        "Below the range your price drops to 0, from where no doubling brings it back; halve it.": _controlled(
            below=0.0
        ),
        "The price never changes; compare the MACs with both ends of the range.": lambda price, macs, low, high: price,
    },
)

EXERCISES = [STRAIGHT_THROUGH_SAMPLE, KEPT_CHANNELS, EXPECTED_MACS, NEXT_PRICE]
