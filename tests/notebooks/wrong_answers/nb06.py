"""Plausible wrong answers to the exercises of notebook 06: exercise -> fault -> function. Each must be refused."""

import math

import torch

from gancomp_core.measure import wavelet_transform

ROOT = math.sqrt(2)


def _even(signal):
    return signal[..., ::2]


def _odd(signal):
    return signal[..., 1::2]


def _step(signal):
    return (_even(signal) + _odd(signal)) / ROOT, (_even(signal) - _odd(signal)) / ROOT


def _down(picture):
    return tuple(part.transpose(-1, -2) for part in _step(picture.transpose(-1, -2)))


def _bands(picture):
    low, high = _step(picture)
    (ll, horizontal), (vertical, diagonal) = _down(low), _down(high)
    return ll, horizontal, vertical, diagonal


def _weighted(*weights):
    return lambda picture: tuple(w * band for w, band in zip(weights, _bands(picture), strict=True))


def _gaps(student, teacher, levels=3):
    made, wanted = (wavelet_transform(picture, "haar", levels) for picture in (student, teacher))
    pairs = zip(made.details, wanted.details, strict=True)
    return [torch.stack(a) - torch.stack(b) for a, b in pairs]


def _low(student, teacher, levels=3):
    return wavelet_transform(student, "haar", levels).low - wavelet_transform(teacher, "haar", levels).low


def _loss(student, teacher, levels=3):
    return sum(gap.abs().mean() for gap in _gaps(student, teacher.detach(), levels))


def _sizes(student, teacher):
    made, wanted = (wavelet_transform(picture) for picture in (student, teacher.detach()))
    pairs = zip(made.details, wanted.details, strict=True)
    return sum((torch.stack(a).abs() - torch.stack(b).abs()).abs().mean() for a, b in pairs)


def _half_detached(student, teacher):
    gaps = _gaps(student, teacher.detach())
    return gaps[0].abs().mean() + sum(gap.abs().mean() for gap in gaps[1:]).detach()


WRONG_ANSWERS = {
    "haar_step": {
        "averages": lambda s: ((_even(s) + _odd(s)) / 2, (_even(s) - _odd(s)) / 2),
        "not scaled": lambda s: (_even(s) + _odd(s), _even(s) - _odd(s)),
        "sign": lambda s: (_step(s)[0], -_step(s)[1]),
        "high not scaled": lambda s: (_step(s)[0], _even(s) - _odd(s)),
        "low not scaled": lambda s: (_even(s) + _odd(s), _step(s)[1]),
        "low averaged": lambda s: ((_even(s) + _odd(s)) / 2, _step(s)[1]),
        "exchanged": lambda s: _step(s)[::-1],
        "halves": lambda s: (
            (s.chunk(2, -1)[0] + s.chunk(2, -1)[1]) / ROOT,
            (s.chunk(2, -1)[0] - s.chunk(2, -1)[1]) / ROOT,
        ),
        "begins at 1": lambda s: _step(s.roll(-1, -1)),
        "absolute": lambda s: (_step(s)[0], _step(s)[1].abs()),
        "separated only": lambda s: (_even(s), _odd(s)),
        "subsampled": lambda s: (_even(s) * ROOT, _step(s)[1]),
        "every neighbour": lambda s: ((s[..., 1:] + s[..., :-1]) / ROOT, (s[..., :-1] - s[..., 1:]) / ROOT),
        "rolled": lambda s: ((s + s.roll(-1, -1)) / ROOT, (s - s.roll(-1, -1)) / ROOT),
        "first axis": lambda s: ((s[::2] + s[1::2]) / ROOT, (s[::2] - s[1::2]) / ROOT),
        "one tensor": lambda s: torch.cat(_step(s), -1),
        "low alone": lambda s: (_step(s)[0],),
        "numbers": lambda s: (_step(s)[0].tolist(), _step(s)[1].tolist()),
        "detached": lambda s: tuple(part.detach() for part in _step(s)),
        "numpy": lambda s: tuple(torch.from_numpy(part.numpy()) for part in _step(s)),
    },
    "haar_bands": {
        "horizontal and vertical exchanged": lambda p: (_bands(p)[0], _bands(p)[2], _bands(p)[1], _bands(p)[3]),
        "backwards": lambda p: _bands(p)[::-1],
        "diagonal second": lambda p: (_bands(p)[0], _bands(p)[3], _bands(p)[1], _bands(p)[2]),
        "averages": _weighted(0.5, 0.5, 0.5, 0.5),
        "not scaled": _weighted(2, 2, 2, 2),
        "scaled once": _weighted(ROOT, ROOT, ROOT, ROOT),
        "below minus above": _weighted(1, -1, 1, -1),
        "right minus left": _weighted(1, 1, -1, -1),
        "both signs": _weighted(1, -1, -1, 1),
        "sign of diagonal": _weighted(1, 1, 1, -1),
        "sign of horizontal": _weighted(1, -1, 1, 1),
        "sign of vertical": _weighted(1, 1, -1, 1),
        "absolute": lambda p: (_bands(p)[0], *(band.abs() for band in _bands(p)[1:])),
        "quarters": lambda p: tuple(quarter for half in p.chunk(2, -2) for quarter in half.chunk(2, -1)),
        "pixels of squares": lambda p: tuple(p[..., i::2, j::2] for i in (0, 1) for j in (0, 1)),
        "subsampled": lambda p: (2 * p[..., ::2, ::2], *_bands(p)[1:]),
        "columns only": lambda p: (*_step(p), *_step(p)),
        "rows only": lambda p: (*_down(p), *_down(p)),
        "on its side": lambda p: tuple(band.transpose(-1, -2) for band in _bands(p)),
        "three bands": lambda p: _bands(p)[:3],
        "nested": lambda p: (_bands(p)[0], _bands(p)[1:]),
        "stacked": lambda p: torch.stack(_bands(p)),
        "detached": lambda p: tuple(band.detach() for band in _bands(p)),
    },
    "wavelet_loss": {
        "low too": lambda s, t: _loss(s, t) + _low(s, t.detach()).abs().mean(),
        "low alone": lambda s, t: _low(s, t.detach()).abs().mean(),
        "finest alone": lambda s, t: _loss(s, t, 1),
        "coarsest alone": lambda s, t: _gaps(s, t.detach())[-1].abs().mean(),
        "two levels": lambda s, t: _loss(s, t, 2),
        "four levels": lambda s, t: _loss(s, t, 4),
        "squares": lambda s, t: sum(gap.square().mean() for gap in _gaps(s, t.detach())),
        "roots": lambda s, t: sum(gap.square().mean().sqrt() for gap in _gaps(s, t.detach())),
        "no absolute value": lambda s, t: sum(gap.mean() for gap in _gaps(s, t.detach())),
        "absolute value of means": lambda s, t: sum(gap.mean().abs() for gap in _gaps(s, t.detach())),
        "sums": lambda s, t: sum(gap.abs().sum() for gap in _gaps(s, t.detach())),
        "mean of levels": lambda s, t: _loss(s, t) / 3,
        "sum of bands": lambda s, t: 3 * _loss(s, t),
        "one mean": lambda s, t: torch.cat([gap.flatten() for gap in _gaps(s, t.detach())]).abs().mean(),
        "no diagonal": lambda s, t: sum(gap[:2].abs().mean() for gap in _gaps(s, t.detach())),
        "horizontal alone": lambda s, t: sum(gap[0].abs().mean() for gap in _gaps(s, t.detach())),
        "sizes": _sizes,
        "pixels": lambda s, t: (s - t.detach()).abs().mean(),
        "negative": lambda s, t: -_loss(s, t),
        "teacher learns": lambda s, t: sum(gap.abs().mean() for gap in _gaps(s, t)),
        "student detached": lambda s, t: _loss(s.detach(), t),
        "half detached": _half_detached,
        "a number": lambda s, t: _loss(s, t).item(),
        "by level": lambda s, t: torch.stack([gap.abs().mean() for gap in _gaps(s, t.detach())]),
    },
}
