"""Plausible wrong answers to the exercises of notebook 03: exercise -> fault -> function. Each must be refused."""

import torch
import torch.nn.functional as F


def _log_p(picture, temperature):
    return torch.log_softmax(picture.flatten(2) / temperature, dim=-1)


def _divergence(p, q):
    return F.kl_div(q, p, reduction="none", log_target=True).sum(-1)


def _squares(adaptors, ours, theirs):
    return [(adapt(a) - b.detach()) ** 2 for adapt, a, b in zip(adaptors, ours, theirs, strict=True)]


def _returned_too_early(adaptors, ours, theirs):
    loss = 0
    for adapt, a, b in zip(adaptors, ours, theirs, strict=True):
        loss = loss + F.mse_loss(adapt(a), b.detach())
        return loss


def _without_gradient(adaptors, ours, theirs):
    with torch.no_grad():
        return sum(square.mean() for square in _squares(adaptors, ours, theirs))


def _student_detached(adaptors, ours, theirs):
    return _squares_sum(adaptors, [feature.detach() for feature in ours], theirs)


def _squares_sum(adaptors, ours, theirs):
    return sum(square.mean() for square in _squares(adaptors, ours, theirs))


def _ranked(following, width):
    return following.abs().sum((0, 2, 3)).argsort(descending=True)[:width]


def _chain(weights, widths, rank=_ranked, outputs_of=lambda places: places, inputs_of=lambda places: places):
    made, kept = [], torch.arange(weights[0].shape[1])
    for layer, weight in enumerate(weights):
        places = rank(weights[layer + 1], widths[layer]) if layer < len(widths) else torch.arange(len(weight))
        made.append(weight[outputs_of(places)][:, inputs_of(kept)])
        kept = places
    return made


WRONG_ANSWERS = {
    "logit_loss": {
        "exchanged": lambda s, t, T: T**2 * _divergence(_log_p(s, T), _log_p(t, T)).mean(),
        "no factor": lambda s, t, T: _divergence(_log_p(t, T), _log_p(s, T)).mean(),
        "factor not squared": lambda s, t, T: T * _divergence(_log_p(t, T), _log_p(s, T)).mean(),
        "temperature forgotten": lambda s, t, T: T**2 * _divergence(_log_p(t, 1), _log_p(s, 1)).mean(),
        "over the channels": lambda s, t, T: (
            T**2 * _divergence((t / T).log_softmax(1).movedim(1, -1), (s / T).log_softmax(1).movedim(1, -1)).mean()
        ),
        "batchmean": lambda s, t, T: (
            T**2 * F.kl_div(_log_p(s, T), _log_p(t, T), reduction="batchmean", log_target=True)
        ),
        "mean over pixels": lambda s, t, T: (
            T**2 * F.kl_div(_log_p(s, T), _log_p(t, T), reduction="none", log_target=True).mean()
        ),
        "one distribution for all channels": lambda s, t, T: (
            T**2 * _divergence((t.flatten(1) / T).log_softmax(-1), (s.flatten(1) / T).log_softmax(-1)).mean()
        ),
        "cross-entropy": lambda s, t, T: -(T**2) * (_log_p(t, T).exp() * _log_p(s, T)).sum(-1).mean(),
        "pixels compared": lambda s, t, T: (s - t).abs().mean(),
        "probabilities given as logarithms": lambda s, t, T: (
            T**2 * F.kl_div(_log_p(s, T).exp(), _log_p(t, T).exp(), reduction="none").sum(-1).mean()
        ),
    },
    "feature_loss": {
        "no adaptors": lambda w, o, t: sum(F.mse_loss(a, b[:, : a.shape[1]]) for a, b in zip(o, t, strict=True)),
        "mean over taps": lambda w, o, t: _squares_sum(w, o, t) / len(o),
        "absolute": lambda w, o, t: sum(square.sqrt().mean() for square in _squares(w, o, t)),
        "summed squares": lambda w, o, t: sum(square.sum() for square in _squares(w, o, t)),
        "returned too early": _returned_too_early,
        "last tap": lambda w, o, t: _squares(w, o, t)[-1].mean(),
        "no gradient": _without_gradient,
        "student detached": _student_detached,
        "teacher not detached": lambda w, o, t: sum(
            F.mse_loss(adapt(a), b) for adapt, a, b in zip(w, o, t, strict=True)
        ),
        "a list": lambda w, o, t: [square.mean() for square in _squares(w, o, t)],
        "without bias": lambda w, o, t: sum(
            F.mse_loss(F.conv2d(a, adapt.weight), b.detach()) for adapt, a, b in zip(w, o, t, strict=True)
        ),
        "a float": lambda w, o, t: _squares_sum(w, o, t).item(),
    },
    "narrower_chain": {
        "inputs stay": lambda w, n: [
            weight[_ranked(w[i + 1], n[i])] if i < len(n) else weight for i, weight in enumerate(w)
        ],
        "leading inputs": lambda w, n: _chain(w, n, inputs_of=lambda kept: torch.arange(len(kept))),
        "leading channels": lambda w, n: _chain(w, n, rank=lambda following, width: torch.arange(width)),
        "least important": lambda w, n: _chain(
            w, n, rank=lambda following, width: following.abs().sum((0, 2, 3)).argsort()[:width]
        ),
        "squares": lambda w, n: _chain(
            w, n, rank=lambda f, width: f.square().sum((0, 2, 3)).argsort(descending=True)[:width]
        ),
        "no absolute values": lambda w, n: _chain(
            w, n, rank=lambda f, width: f.sum((0, 2, 3)).argsort(descending=True)[:width]
        ),
        "in the order of their places": lambda w, n: _chain(
            w, n, rank=lambda f, width: _ranked(f, width).sort().values
        ),
        "only the first layer": lambda w, n: [_chain(w, n)[0], *w[1:]],
        "last layer forgotten": lambda w, n: _chain(w, n)[:-1],
        "the places": lambda w, n: [_ranked(following, width) for following, width in zip(w[1:], n, strict=True)][0],
    },
}
