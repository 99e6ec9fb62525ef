"""Checks of notebook 05: straight-through draws, kept channels, expected multiply-accumulates, the price on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.course.checks import Attempt, Cases, Suspect, Wrong, call, compare, compare_tensors, exercise

#: A plausible mistake as a function of the same arguments, and the words that point to it.
Mistake = tuple[Callable[..., Tensor], str]


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _shares(count: int, seed: int) -> Tensor:
    return _random(count, seed=seed).double().softmax(0)


# --- a straight-through draw -----------------------------------------------------------------------------------------


def _hard(scores: Tensor) -> Tensor:
    return F.one_hot(scores.argmax(), len(scores)).to(scores.dtype)


def _soft(logits: Tensor, gumbel: Tensor) -> Tensor:
    return (logits + gumbel).softmax(0)


def _sample(logits: Tensor, gumbel: Tensor) -> Tensor:
    soft = _soft(logits, gumbel)
    return _hard(soft) + soft - soft.detach()


def _gumbel(count: int, seed: int) -> Tensor:
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(seed)).clamp(1e-6, 1 - 1e-6)
    return -(-uniform.log()).log()


_DRAWS: list[Mistake] = [
    (
        _soft,
        "That is the soft draw, a mixture of all widths. A network has *one* width: let the forward value be hard, 1 "
        "at the largest place and 0 elsewhere.",
    ),
    (
        lambda logits, gumbel: logits.softmax(0),
        "That is the softmax of the preferences, without noise and without a draw.",
    ),
    (
        lambda logits, gumbel: _hard(logits),
        "The noise is not used: you always take the favourite, so that no other width would ever be tried.",
    ),
    (
        lambda logits, gumbel: _hard(gumbel),
        "The preferences are not used: your draw follows the noise alone, so that nothing could be learned.",
    ),
    (
        lambda logits, gumbel: _hard(logits - gumbel),
        "The noise is subtracted; add it. It leans to one side, so the sign changes how often each choice is drawn.",
    ),
    (
        lambda logits, gumbel: _hard(logits * gumbel),
        "The noise is multiplied; Gumbel's trick *adds* it to the preferences.",
    ),
    (
        lambda logits, gumbel: _hard(logits.softmax(0) + gumbel),
        "The noise comes too late: add it to the logits, before the softmax and not after it.",
    ),
    (
        lambda logits, gumbel: _hard(-(logits + gumbel)),
        "Your 1 stands at the *smallest* place; take the largest.",
    ),
    (
        lambda logits, gumbel: _hard(logits + gumbel) + _soft(logits, gumbel),
        "The soft draw is added and never taken away: the values must be exactly 0 and 1. Subtract a detached copy.",
    ),
    (
        lambda logits, gumbel: _hard(logits + gumbel) * _soft(logits, gumbel),
        "Your draw holds the probability at its place, and not 1: multiplied by this the channels would shrink.",
    ),
    (
        lambda logits, gumbel: logits + gumbel,
        "That is the noisy preference itself; the draw is still to come: 1 at its largest place, 0 elsewhere.",
    ),
]


@exercise("straight_through_sample")
def straight_through_sample(attempt: Attempt) -> None:
    given = {n: (_random(5, seed=n), _gumbel(5, seed=100 + n)) for n in range(12)}
    for logits, gumbel in given.values():
        _is_a_vector(call(attempt, logits, gumbel))
    if any(not torch.equal(*(call(attempt, *pair).detach() for _ in range(2))) for pair in given.values()):
        raise Wrong(
            "Two calls with the same numbers draw differently: use the noise that is given, `gumbel`, and draw none "
            "of your own."
        )
    compare_tensors(attempt, _sample, {f"draw {n + 1} of 5 widths": pair for n, pair in given.items()}, _DRAWS)
    for pair in list(given.values())[:4]:
        _passes_the_soft_gradient(attempt, *pair)


def _is_a_vector(value: Any) -> None:
    if not isinstance(value, Tensor):
        raise Wrong(
            f"For 5 logits a tensor of 5 numbers is wanted, and your function returns a {type(value).__name__}."
        )
    if value.ndim == 0:
        raise Wrong(
            "Your function returns the *place* of the draw, one number; wanted is a vector with a 1 at that place: "
            "F.one_hot makes it."
        )
    if value.shape != (5,):
        raise Wrong(f"For 5 logits a vector of 5 numbers is wanted; yours has the shape {list(value.shape)}.")


def _passes_the_soft_gradient(attempt: Attempt, logits: Tensor, gumbel: Tensor) -> None:
    """The gradient of the draw is that of the soft one, tried with a random pull on its entries."""
    pull, ours = _random(len(logits), seed=7), logits.clone().requires_grad_()
    drawn = attempt(ours, gumbel)
    if not drawn.requires_grad:
        raise Wrong(
            "The values are right, but no gradient reaches the preferences: argmax has none. Add the soft draw and "
            "subtract a detached copy of it."
        )
    (gradient,) = torch.autograd.grad((drawn * pull).sum(), ours)

    def of(scores: Callable[[Tensor], Tensor]) -> Tensor:
        again = logits.clone().requires_grad_()
        (found,) = torch.autograd.grad((scores(again) * pull).sum(), again)
        return found

    right = of(lambda again: _soft(again, gumbel))
    guesses = [
        (
            0 * right,
            "The values are right, but the gradient is zero: soft minus soft cancels. Detach exactly one of the two.",
        ),
        (
            -right,
            "The values are right, but the gradient points backwards: you detach the copy that is added; detach the "
            "one that is subtracted.",
        ),
        (
            pull,
            "The values are right, but the gradient goes around the softmax: the choices would not compete. Put the "
            "softmax of the noisy preferences in.",
        ),
        (
            of(lambda again: again.softmax(0)),
            "The values are right, but the gradient is that of a softmax without the noise; the same noise belongs in "
            "both.",
        ),
        (
            of(lambda again: (again + gumbel).log_softmax(0)),
            "The values are right, but the gradient is that of the logarithm of the softmax.",
        ),
        (2 * right, "The values are right, but the gradient is twice too large: add the soft draw once."),
    ]
    if torch.allclose(gradient, right, rtol=1e-4, atol=1e-6):
        return
    for guess, hint in guesses:
        if torch.allclose(gradient, guess, rtol=1e-4, atol=1e-6):
            raise Wrong(hint)
    raise Wrong("The values are right, but the gradient is not that of softmax(logits + gumbel).")


# --- which channels a choice keeps -----------------------------------------------------------------------------------


def _keeps(widths: Sequence[int], width: int, last: int = 0) -> Tensor:
    """[choices, width] of 0 and 1."""
    channels = torch.arange(width)
    return torch.stack([channels < each + last for each in widths]).float()


def _kept(one_hot: Tensor, widths: Sequence[int], width: int) -> Tensor:
    return one_hot @ _keeps(widths, width)


_KEPT: list[Mistake] = [
    (
        lambda one_hot, widths, width: torch.ones(width),
        "Ones, whatever the choices are: the *sum of the choices that keep a channel* is wanted, so that each of them "
        "can hear of it.",
    ),
    (
        lambda one_hot, widths, width: one_hot @ _keeps(widths, width, 1),
        "Off by one: a choice of 4 channels keeps those numbered 0 to 3. Compare with <, not with <=.",
    ),
    (
        lambda one_hot, widths, width: one_hot @ _keeps(widths, width, -1),
        "Off by one: a choice of 4 channels keeps channel number 3 as well.",
    ),
    (
        lambda one_hot, widths, width: one_hot @ (1 - _keeps(widths, width)),
        "The comparison is upside down: you add up the choices that *drop* a channel.",
    ),
    (
        lambda one_hot, widths, width: one_hot[list(widths).index(width)].expand(width),
        "All channels get the drawn choice alone; a wider choice keeps them, too, and a narrower one the first of "
        "them.",
    ),
    (
        lambda one_hot, widths, width: one_hot.sum().expand(width),
        "Every choice is added to every channel; a narrow choice does not keep the last ones.",
    ),
    (
        lambda one_hot, widths, width: (one_hot @ _keeps(widths, width)).flip(0),
        "The channels are counted from the wrong end: a narrow choice keeps the *first* ones.",
    ),
    (
        lambda one_hot, widths, width: one_hot @ _keeps(widths, width) / len(widths),
        "That is the mean over the choices; add them up, for a drawn one-hot to give ones.",
    ),
    (
        lambda one_hot, widths, width: (one_hot[:, None] * _keeps(widths, width)).amax(0),
        "You take the largest of the choices that keep a channel; add them up.",
    ),
]


@exercise("kept_channels")
def kept_channels(attempt: Attempt) -> None:
    mixed, widths = torch.tensor([0.1, 0.25, 0.4, 0.05, 0.3]), (2, 3, 5, 6, 8)
    value = call(attempt, mixed, widths, 5)
    shapes = {
        (8,): "These are all channels of the widest choice; only the first `width` of them are there.",
        (5, 5): "That has a row for each choice; add the rows up, each times its entry of one_hot.",
        (5, 1): "A vector is wanted, without a further axis.",
        (1, 5): "A vector is wanted, without a further axis.",
    }
    shape = tuple(getattr(value, "shape", ()))
    if isinstance(value, Tensor) and shape != (5,):
        raise Wrong(f"For width=5 the shape [5] is right, and yours is {list(shape)}. {shapes.get(shape, '')}".strip())
    cases = {
        "width=5": (mixed, widths, 5),
        "width=8": (mixed.flip(0), widths, 8),
        "width=3": (torch.tensor([0.5, 0.3, 0.6]), (1, 3, 4), 3),
    }
    compare_tensors(attempt, _kept, cases, _KEPT)
    drawn = torch.tensor([0.0, 1.0, 0.0], requires_grad=True)
    kept = attempt(drawn, (2, 4, 6), 4)
    if not kept.requires_grad:
        raise Wrong(
            "The values are right, but no gradient reaches one_hot, and this is what the ones are for; leave "
            "`.detach()`, `.tolist()` and `.item()` out."
        )
    (gradient,) = torch.autograd.grad((kept * torch.tensor([1.0, 10, 100, 1000])).sum(), drawn)
    if gradient.tolist() != [11, 1111, 1111]:
        raise Wrong(
            "The values are right, but the gradient of one_hot is not: every choice must hear of all channels that it "
            f"keeps, [11, 1111, 1111] in our trial; yours is {gradient.tolist()}."
        )


# --- what a network costs on the average -----------------------------------------------------------------------------


def _layers(shares: Sequence[Tensor], tables: Sequence[Tensor]) -> list[Tensor]:
    before = [torch.ones(1, dtype=torch.float64), *shares]
    return [i @ table @ j for i, table, j in zip(before, tables, shares, strict=False)]


def _expected(shares: Sequence[Tensor], tables: Sequence[Tensor]) -> Tensor:
    return torch.stack(_layers(shares, tables)).sum()


def _wrongly(layer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The sum over layers of something else than the expectation."""

    def mistake(shares: Sequence[Tensor], tables: Sequence[Tensor]) -> Tensor:
        before = [torch.ones(1, dtype=torch.float64), *shares]
        return torch.stack([layer(i, t, j) for i, t, j in zip(before, tables, shares, strict=False)]).sum()

    return mistake


_EXPECTED: list[Mistake] = [
    (
        _wrongly(lambda i, table, j: table[i.argmax(), j.argmax()]),
        "That is the cost of the most probable network alone. It jumps and has no gradient; weigh *every* width with "
        "its share.",
    ),
    (
        _wrongly(lambda i, table, j: table.mean()),
        "The shares play no part: that is the plain mean of the tables.",
    ),
    (
        _wrongly(lambda i, table, j: table[-1] @ j),
        "You reckon with the widest input; what comes in has the width that the layer *before* drew, with its shares.",
    ),
    (
        _wrongly(lambda i, table, j: i @ table[:, -1]),
        "You reckon with the widest output; weigh the outputs with the layer's own shares.",
    ),
    (
        _wrongly(lambda i, table, j: (table @ j).sum()),
        "The inputs are summed without their shares: only one of them comes in at a time.",
    ),
    (
        _wrongly(lambda i, table, j: (i @ table).sum()),
        "The outputs are summed without their shares: only one of them is drawn at a time.",
    ),
    (
        _wrongly(lambda i, table, j: table.mean(0) @ j),
        "All inputs count alike; weigh them with the shares of the layer before.",
    ),
    (
        _wrongly(lambda i, table, j: i @ table.mean(1)),
        "All outputs count alike; weigh them with the layer's own shares.",
    ),
    (
        _wrongly(lambda i, table, j: j @ table @ j if len(i) > 1 else table[0] @ j),
        "Off by one: the rows of a table are the widths that come *in*, with the shares of the layer before; you use "
        "the layer's own twice.",
    ),
    (
        _wrongly(lambda i, table, j: j @ table @ i if len(i) > 1 else table[0] @ j),
        "The two sides are exchanged: rows belong to the width that comes in, columns to the one that goes out.",
    ),
    (
        _wrongly(lambda i, table, j: i.softmax(0) @ table @ j.softmax(0)),
        "The shares are probabilities already; a second softmax makes them nearly equal.",
    ),
    (
        lambda shares, tables: torch.stack(_layers(shares, tables)[1:]).sum(),
        "The first layer is missing: its table has one row, because a picture always has the same channels.",
    ),
    (
        lambda shares, tables: torch.stack(_layers(shares, tables)[:-1]).sum(),
        "The last layer is missing; every share has a table, and the last share one, too.",
    ),
    (
        lambda shares, tables: torch.stack(_layers(shares, tables)),
        "Your function returns the cost of each layer; a network runs all of them, so one sum is wanted.",
    ),
    (
        lambda shares, tables: torch.stack(_layers(shares, tables)).mean(),
        "That is the mean over the layers; a network runs all of them, so add them up.",
    ),
    (
        lambda shares, tables: torch.stack(_layers(shares, tables)).prod(),
        "The layers are multiplied; they run one after the other, so their costs add up.",
    ),
]


@exercise("expected_macs")
def expected_macs(attempt: Attempt) -> None:
    cases = {}
    for number, widths in enumerate([(3, 3), (4, 4, 4), (5, 5, 5, 5)]):
        shares = [_shares(each, seed=10 * number + place) for place, each in enumerate(widths)]
        sizes = zip((1, *widths), widths, strict=False)
        tables = [
            1000 * (1 + _random(*size, seed=90 + 7 * number + place).double().abs()) for place, size in enumerate(sizes)
        ]
        cases[f"{len(widths)} layers"] = (shares, tables)
    compare_tensors(attempt, _expected, cases, _EXPECTED)
    shares, tables = cases["3 layers"]
    learning = [share.clone().requires_grad_() for share in shares]
    value = attempt(learning, tables)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise Wrong(
            "The number is right, but no gradient passes to the shares, so that no price could move them; leave "
            "`.item()`, `float()` and `.detach()` out."
        )
    ours = torch.autograd.grad(value, learning, allow_unused=True)
    again = [share.clone().requires_grad_() for share in shares]
    theirs = torch.autograd.grad(_expected(again, tables), again)
    for number, (got, right) in enumerate(zip(ours, theirs, strict=True), start=1):
        if got is None or not torch.allclose(got, right):
            raise Wrong(
                f"The number is right, but its gradient for layer {number} is not: a width costs twice, as output of "
                "its layer and as input of the next. Is one of the two detached?"
            )


# --- the price -------------------------------------------------------------------------------------------------------


def _price(price: float, macs: float, low: float, high: float) -> float:
    return price * (2.0 if macs > high else 0.5 if macs < low else 1.0)


_LOOKS = (
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
)
_PRICES = Cases(("price", "macs", "low", "high"), [(look, _price(*look)) for look in _LOOKS])


@exercise("next_price")
def next_price(attempt: Attempt) -> None:
    suspects = [
        Suspect(
            lambda price, macs, low, high: price * (0.5 if macs > high else 2.0 if macs < low else 1.0),
            "Upside down: a network that is too dear needs a *higher* price, one that is too cheap a lower one.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (2.0 if macs > high else 0.5),
            "Within the range the price must rest; yours falls there as well, and the network grows out of it again.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (0.5 if macs < low else 2.0),
            "Within the range the price must rest; yours rises there as well, and the network shrinks out of it again.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (2.0 if macs > (low + high) / 2 else 0.5),
            "You aim at the middle of the range and change the price at every look; within the range it must rest.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (2.0 if macs >= high else 0.5 if macs <= low else 1.0),
            "A network exactly at a border is within the range: compare with > and <.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (2.0 if macs > high else 1.0),
            "The price can only rise; below the range it has to halve, or the network stays too small.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (0.5 if macs < low else 1.0),
            "The price can only fall; above the range it has to double, or the network stays too large.",
        ),
        Suspect(
            lambda price, macs, low, high: _price(price or 1e-3, macs, low, high),
            "You revive a price of 0. Doubling leaves 0 at 0: a dead controller stays dead, and that is the trap which "
            "this section shows.",
        ),
        Suspect(
            lambda price, macs, low, high: price * macs / high,
            "You scale the price with the MACs; the rule knows three answers alone: double, half, the same.",
        ),
        Suspect(
            lambda price, macs, low, high: price + (1.0 if macs > high else -0.5 if macs < low else 0.0),
            "You add and subtract; the rule multiplies: by 2 above the range, by a half below it.",
        ),
        Suspect(
            lambda price, macs, low, high: 2.0 if macs > high else 0.5 if macs < low else 1.0,
            "That is the factor alone; multiply the present price by it.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (10.0 if macs > high else 0.1 if macs < low else 1.0),
            "The right directions with a factor of 10; the rule doubles and halves.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (2.0 if macs > high else -0.5 if macs < low else 1.0),
            "Below the range your price becomes negative, so that MACs would be rewarded; halve it.",
        ),
        Suspect(
            lambda price, macs, low, high: price * (2.0 if macs > high else 0.0 if macs < low else 1.0),
            "Below the range your price drops to 0, from where no doubling brings it back; halve it.",
        ),
        Suspect(
            lambda price, macs, low, high: price,
            "The price never changes; compare the MACs with both ends of the range.",
        ),
    ]
    compare(attempt, _PRICES, suspects)
