"""Plausible wrong answers to the exercises of notebook 07: exercise -> fault -> function. Each must be refused."""

import torch


def _affine(scale=None, zero=None, act=torch.round, clamp=True, give=None):
    """An affine map with one step of it replaced."""

    def answer(x, low, high, bits):
        low, high, steps = min(low, 0.0), max(high, 0.0), 2**bits - 1
        size = scale(low, high, bits) if scale else (high - low) / steps
        point = zero(low, high, size, steps) if zero else round(-low / size)
        q = act(x / size) + point
        q = q.clamp(0, steps) if clamp else q
        return give(q, size, point) if give else (q, size, point)

    return answer


def _no_zero(x, low, high, bits):
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    return ((x / scale).round() + zero).clamp(0, 2**bits - 1), scale, zero


def _wholes(of):
    """The right scale and zero point, other whole numbers."""

    def answer(x, low, high, bits):
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / (2**bits - 1)
        zero = round(-low / scale)
        return of(x / scale, zero, bits, scale), scale, zero

    return answer


def _choose(score=None, kept=None, give=None):
    """A search for a range with one step of it replaced."""

    def answer(values, shares, bits):
        def ends(share):
            return kept(values, share) if kept else (values.min().item() * share, values.max().item() * share)

        def error(share):
            low, high = ends(share)
            found = _reals(values, low, high, bits) - values
            return score(values, found, low, high, bits) if score else found.square().mean().item()

        share = min(shares, key=error)
        return give(share, ends(share)) if give else ends(share)

    return answer


def _reals(values, low, high, bits):
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / (2**bits - 1), 1e-30)
    zero = round(-low / scale)
    return (((values / scale).round() + zero).clamp(0, 2**bits - 1) - zero) * scale


def _inside(values, found, low, high, bits):
    kept = (values >= low) & (values <= high)
    return found[kept].square().mean().item()


def _middle(values, share):
    low, high = values.min().item(), values.max().item()
    return (low + high) / 2 - (high - low) / 2 * share, (low + high) / 2 + (high - low) / 2 * share


def _quantiles(values, share):
    return values.quantile((1 - share) / 2).item(), values.quantile((1 + share) / 2).item()


def _channels(peak=None, steps=None, act=torch.round, back=True, own=True, guard=1e-12):
    def answer(weight, axis, bits):
        others = [dim for dim in range(4) if dim != axis]
        top = peak(weight, axis, others) if peak else weight.abs().amax(others, keepdim=True)
        scale = top / (steps(bits) if steps else 2 ** (bits - 1) - 1)
        scale = scale.clamp(min=guard) if guard else scale
        least, greatest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        q = act(weight / scale).clamp(least, greatest)
        return q * scale if back else q

    return answer


def _dims(axis):
    return [dim for dim in range(4) if dim != axis]


def _asymmetric(weight, axis, bits):
    low, high = (end(_dims(axis), keepdim=True) for end in (weight.amin, weight.amax))
    scale = ((high.clamp(min=0) - low.clamp(max=0)) / (2**bits - 1)).clamp(min=1e-12)
    zero = (-low.clamp(max=0) / scale).round()
    return (((weight / scale).round() + zero).clamp(0, 2**bits - 1) - zero) * scale


def _stairs(x, scale, zero, least, greatest):
    return (((x / scale).round() + zero).clamp(least, greatest) - zero) * scale


def _mask(x, scale, zero, least, greatest):
    return ((x >= (least - zero) * scale) & (x <= (greatest - zero) * scale)).float()


def _through(gradient):
    """The right values, with the gradient of another function."""

    def answer(x, scale, zero, least, greatest):
        path = gradient(x, scale, _mask(x, scale, zero, least, greatest))
        return _stairs(x.detach(), scale, zero, least, greatest) + path - path.detach()

    return answer


WRONG_ANSWERS = {
    "affine_quantize": {
        "256 steps": _affine(scale=lambda low, high, bits: (high - low) / 2**bits),
        "a range without 0": _no_zero,
        "scale upside down": _affine(
            scale=lambda low, high, bits: (2**bits - 1) / (high - low), zero=lambda *_: 0, clamp=False
        ),
        "symmetric scale": _affine(scale=lambda low, high, bits: max(-low, high) / (2 ** (bits - 1) - 1)),
        "always 8 bits": _affine(scale=lambda low, high, bits: (high - low) / 255),
        "zero point not whole": _affine(zero=lambda low, high, scale, steps: -low / scale),
        "zero point negative": _affine(zero=lambda low, high, scale, steps: -round(-low / scale)),
        "zero point from above": _affine(zero=lambda low, high, scale, steps: round(high / scale)),
        "zero point in the middle": _affine(zero=lambda low, high, scale, steps: (steps + 1) // 2),
        "zero point 0": _affine(zero=lambda *_: 0),
        "zero point cut off": _affine(zero=lambda low, high, scale, steps: int(-low / scale)),
        "no clamp": _affine(clamp=False),
        "cut off": _wholes(lambda s, zero, bits, scale: (s + zero).int().clamp(0, 2**bits - 1)),
        "rounded up": _wholes(lambda s, zero, bits, scale: (s + zero).ceil().clamp(0, 2**bits - 1)),
        "not rounded": _wholes(lambda s, zero, bits, scale: (s + zero).clamp(0, 2**bits - 1)),
        "zero point not added": _wholes(lambda s, zero, bits, scale: s.round().clamp(0, 2**bits - 1)),
        "zero point subtracted": _wholes(lambda s, zero, bits, scale: (s.round() - zero).clamp(0, 2**bits - 1)),
        "reals": _wholes(lambda s, zero, bits, scale: ((s.round() + zero).clamp(0, 2**bits - 1) - zero) * scale),
        "clamped at 2**bits": _wholes(lambda s, zero, bits, scale: (s.round() + zero).clamp(0, 2**bits)),
        "clamped as signed": _wholes(
            lambda s, zero, bits, scale: (s.round() + zero).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        ),
        "wraps around": _wholes(lambda s, zero, bits, scale: (s.round() + zero) % 2**bits),
        "q alone": _affine(give=lambda q, scale, zero: q),
        "q and scale": _affine(give=lambda q, scale, zero: (q, scale)),
        "other order": _affine(give=lambda q, scale, zero: (scale, zero, q)),
    },
    "clipping_range": {
        "absolute error": _choose(lambda values, found, low, high, bits: found.abs().mean().item()),
        "largest error": _choose(lambda values, found, low, high, bits: found.abs().max().item()),
        "always 8 bits": _choose(
            lambda values, found, low, high, bits: (_reals(values, low, high, 8) - values).square().mean().item()
        ),
        "inside alone": _choose(_inside),
        "around the middle": _choose(kept=_middle),
        "percentile": _choose(kept=_quantiles),
        "square of the mean": _choose(lambda values, found, low, high, bits: found.mean().square().item()),
        "share": _choose(give=lambda share, ends: share),
        "upside down": _choose(give=lambda share, ends: (ends[1], ends[0])),
        "share and range": _choose(give=lambda share, ends: (share, *ends)),
        "place": lambda values, shares, bits: 3,
    },
    "round_by_channel": {
        "one scale": _channels(peak=lambda weight, axis, others: weight.abs().max().view(1, 1, 1, 1)),
        "axis 0": lambda weight, axis, bits: _channels()(weight, 0, bits),
        "axis 1": lambda weight, axis, bits: _channels()(weight, 1, bits),
        "axes exchanged": lambda weight, axis, bits: _channels()(weight, 1 - axis, bits),
        "asymmetric": _asymmetric,
        "128": _channels(steps=lambda bits: 2 ** (bits - 1)),
        "255": _channels(steps=lambda bits: 2**bits - 1),
        "half steps": _channels(steps=lambda bits: (2**bits - 1) / 2),
        "no absolute value": _channels(
            peak=lambda weight, axis, others: weight.amax(others, keepdim=True).clamp(min=1e-9)
        ),
        "mean": _channels(peak=lambda weight, axis, others: weight.abs().mean(others, keepdim=True)),
        "cut off": _channels(act=torch.trunc),
        "rounded down": _channels(act=torch.floor),
        "whole numbers": _channels(back=False),
        "not rounded": lambda weight, axis, bits: weight * 1.0,
        "always 8 bits": lambda weight, axis, bits: _channels()(weight, axis, 8),
        "scales": lambda weight, axis, bits: weight.abs().amax(_dims(axis)) / (2 ** (bits - 1) - 1),
        "dead channel": _channels(guard=0),
    },
    "straight_through": {
        "whole numbers": lambda x, scale, zero, least, greatest: ((x / scale).round() + zero).clamp(least, greatest),
        "no clamp": lambda x, scale, zero, least, greatest: (x / scale).round() * scale,
        "cut off": lambda x, scale, zero, least, greatest: (
            (((x / scale).trunc() + zero).clamp(least, greatest) - zero) * scale
        ),
        "no zero point": lambda x, scale, zero, least, greatest: (x / scale).round().clamp(least, greatest) * scale,
        "zero point stays": lambda x, scale, zero, least, greatest: (
            ((x / scale).round() + zero).clamp(least, greatest) * scale
        ),
        "not rounded": lambda x, scale, zero, least, greatest: x.clamp(
            (least - zero) * scale, (greatest - zero) * scale
        ),
        "identity": lambda x, scale, zero, least, greatest: x * 1.0,
        "never subtracted": lambda x, *of: _stairs(x, *of) + x,
        "detached": lambda x, *of: _stairs(x.detach(), *of),
        "zero everywhere": _stairs,
        "one everywhere": _through(lambda x, scale, mask: x),
        "upside down": _through(lambda x, scale, mask: x * (1 - mask)),
        "wrong sign": _through(lambda x, scale, mask: -x * mask),
        "scale": _through(lambda x, scale, mask: x * scale * mask),
        "one over scale": _through(lambda x, scale, mask: x / scale * mask),
        "twice": _through(lambda x, scale, mask: 2 * x * mask),
        "cubic": _through(lambda x, scale, mask: x**3 * mask),
    },
}
