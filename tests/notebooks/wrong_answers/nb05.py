"""Plausible wrong answers to the exercises of notebook 05: exercise -> fault -> function. Each must be refused."""

import torch
import torch.nn.functional as F


def _hard(scores):
    return F.one_hot(scores.argmax(), len(scores)).float()


def _soft(logits, gumbel):
    return (logits + gumbel).softmax(0)


def _own_noise(logits, gumbel):
    return F.gumbel_softmax(logits, hard=True)


def _keeps(widths, width):
    return torch.stack([torch.arange(width) < each for each in widths]).float()


def _per_layer(layer):
    def wrong(shares, tables):
        before = [torch.ones(1).double(), *shares]
        return sum(layer(i, table, j) for i, table, j in zip(before, tables, shares, strict=False))

    return wrong


def _costs(shares, tables):
    before = [torch.ones(1).double(), *shares]
    return [i @ table @ j for i, table, j in zip(before, tables, shares, strict=False)]


def _input_detached(shares, tables):
    before = [torch.ones(1).double(), *(share.detach() for share in shares)]
    return sum(i @ table @ j for i, table, j in zip(before, tables, shares, strict=False))


def _controlled(above=2.0, below=0.5, within=1.0):
    def next_price(price, macs, low, high):
        return price * (above if macs > high else below if macs < low else within)

    return next_price


WRONG_ANSWERS = {
    "straight_through_sample": {
        "soft": _soft,
        "softmax of the preferences": lambda logits, gumbel: logits.softmax(0),
        "no noise": lambda logits, gumbel: _hard(logits),
        "noise alone": lambda logits, gumbel: _hard(gumbel),
        "noise subtracted": lambda logits, gumbel: _hard(logits - gumbel),
        "noise multiplied": lambda logits, gumbel: _hard(logits * gumbel),
        "noise after the softmax": lambda logits, gumbel: _hard(logits.softmax(0) + gumbel),
        "smallest": lambda logits, gumbel: _hard(-logits - gumbel),
        "never subtracted": lambda logits, gumbel: _hard(logits + gumbel) + _soft(logits, gumbel),
        "probability at the place": lambda logits, gumbel: _hard(logits + gumbel) * _soft(logits, gumbel),
        "no draw": lambda logits, gumbel: logits + gumbel,
        "place": lambda logits, gumbel: (logits + gumbel).argmax(),
        "number": lambda logits, gumbel: int((logits + gumbel).argmax()),
        "a column": lambda logits, gumbel: _hard(logits + gumbel)[:, None],
        "noise of its own": _own_noise,
        "argmax alone": lambda logits, gumbel: _hard(logits + gumbel),
        "cancels": lambda logits, gumbel: _hard(logits + gumbel) + _soft(logits, gumbel) - _soft(logits, gumbel),
        "wrong one detached": lambda logits, gumbel: (
            _hard(logits + gumbel) + _soft(logits, gumbel).detach() - _soft(logits, gumbel)
        ),
        "softmax forgotten": lambda logits, gumbel: _hard(logits + gumbel) + logits - logits.detach(),
        "gradient without noise": lambda logits, gumbel: (
            _hard(logits + gumbel) + logits.softmax(0) - logits.softmax(0).detach()
        ),
        "logarithm": lambda logits, gumbel: (
            _hard(logits + gumbel) + (logits + gumbel).log_softmax(0) - (logits + gumbel).log_softmax(0).detach()
        ),
        "twice": lambda logits, gumbel: (
            _hard(logits + gumbel) + 2 * (_soft(logits, gumbel) - _soft(logits, gumbel).detach())
        ),
        "another temperature": lambda logits, gumbel: (
            _hard(logits + gumbel) + ((logits + gumbel) / 3).softmax(0) - ((logits + gumbel) / 3).softmax(0).detach()
        ),
    },
    "kept_channels": {
        "ones": lambda one_hot, widths, width: torch.ones(width),
        "one too many": lambda one_hot, widths, width: one_hot @ _keeps([each + 1 for each in widths], width),
        "one too few": lambda one_hot, widths, width: one_hot @ _keeps([each - 1 for each in widths], width),
        "dropped": lambda one_hot, widths, width: one_hot @ (1 - _keeps(widths, width)),
        "drawn choice alone": lambda one_hot, widths, width: one_hot[widths.index(width)].expand(width),
        "all choices": lambda one_hot, widths, width: one_hot.sum().expand(width),
        "from the end": lambda one_hot, widths, width: (one_hot @ _keeps(widths, width)).flip(0),
        "mean": lambda one_hot, widths, width: (one_hot[:, None] * _keeps(widths, width)).mean(0),
        "largest": lambda one_hot, widths, width: (one_hot[:, None] * _keeps(widths, width)).amax(0),
        "all channels": lambda one_hot, widths, width: one_hot @ _keeps(widths, widths[-1]),
        "not summed": lambda one_hot, widths, width: one_hot[:, None] * _keeps(widths, width),
        "a row": lambda one_hot, widths, width: one_hot[None] @ _keeps(widths, width),
        "detached": lambda one_hot, widths, width: one_hot.detach() @ _keeps(widths, width),
        "numbers": lambda one_hot, widths, width: (one_hot.detach() @ _keeps(widths, width)).tolist(),
        "half detached": lambda one_hot, widths, width: (
            one_hot.detach() @ _keeps(widths, width) + 0 * one_hot.sum() * torch.ones(width)
        ),
    },
    "expected_macs": {
        "most probable": _per_layer(lambda i, table, j: table[i.argmax(), j.argmax()]),
        "plain mean": _per_layer(lambda i, table, j: table.mean()),
        "widest input": _per_layer(lambda i, table, j: table[-1] @ j),
        "widest output": _per_layer(lambda i, table, j: i @ table[:, -1]),
        "inputs summed": _per_layer(lambda i, table, j: (table @ j).sum()),
        "outputs summed": _per_layer(lambda i, table, j: (i @ table).sum()),
        "inputs alike": _per_layer(lambda i, table, j: table.mean(0) @ j),
        "outputs alike": _per_layer(lambda i, table, j: i @ table.mean(1)),
        "own shares twice": _per_layer(lambda i, table, j: j @ table @ j if len(i) == len(j) else i @ table @ j),
        "exchanged": _per_layer(lambda i, table, j: j @ table @ i if len(i) == len(j) else i @ table @ j),
        "softmax again": _per_layer(lambda i, table, j: i.softmax(0) @ table @ j.softmax(0)),
        "first layer missing": lambda shares, tables: sum(_costs(shares, tables)[1:]),
        "last layer missing": lambda shares, tables: sum(_costs(shares, tables)[:-1]),
        "mean of layers": lambda shares, tables: sum(_costs(shares, tables)) / len(tables),
        "product": lambda shares, tables: torch.stack(_costs(shares, tables)).prod(),
        "by layer": lambda shares, tables: torch.stack(_costs(shares, tables)),
        "a number": lambda shares, tables: sum(_costs(shares, tables)).item(),
        "input detached": _input_detached,
    },
    "next_price": {
        "upside down": _controlled(0.5, 2.0),
        "falls within": _controlled(within=0.5),
        "rises within": _controlled(within=2.0),
        "aims at the middle": lambda price, macs, low, high: price * (2.0 if macs > (low + high) / 2 else 0.5),
        "borders": lambda price, macs, low, high: price * (2.0 if macs >= high else 0.5 if macs <= low else 1.0),
        "only rises": _controlled(below=1.0),
        "only falls": _controlled(above=1.0),
        "revived": lambda price, macs, low, high: _controlled()(price or 1e-3, macs, low, high),
        "proportional": lambda price, macs, low, high: price * macs / high,
        "adds": lambda price, macs, low, high: price + (1 if macs > high else -0.5 if macs < low else 0),
        "factor alone": lambda price, macs, low, high: _controlled()(1.0, macs, low, high),
        "factor 10": _controlled(10.0, 0.1),
        "negative": _controlled(below=-0.5),
        "drops to zero": _controlled(below=0.0),
        "never": lambda price, macs, low, high: price,
        "a word": lambda price, macs, low, high: "double" if macs > high else "half",
    },
}
