"""Plausible wrong answers to the exercises of notebook 02; every check must refuse all of its own."""

import math

import torch
import torch.nn.functional as F


def _cycle_detached(x, y, there, back):
    return F.l1_loss(back(there(x).detach()), x) + F.l1_loss(there(back(y).detach()), y)


def _cycle_without_gradient(x, y, there, back):
    with torch.no_grad():
        return F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)


def _cycle_frozen_back(x, y, there, back):
    back.requires_grad_(False)
    return F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)


def _paint(teacher, source):
    with torch.no_grad():
        return teacher.eval()(source)


def _exchanged(student, teacher, source):
    with torch.no_grad():
        picture = student(source)
    return F.l1_loss(picture, teacher.eval()(source))


def _all_without_gradient(student, teacher, source):
    with torch.no_grad():
        return F.l1_loss(student(source), teacher.eval()(source))


def _no_eval(student, teacher, source):
    with torch.no_grad():
        picture = teacher(source)
    return F.l1_loss(student(source), picture)


def _leaves_eval(student, teacher, source):
    loss = F.l1_loss(student(source), _paint(teacher, source))
    student.eval()
    return loss


def _in_bytes(student, teacher, source):
    picture = _paint(teacher, source).add(1).mul(127.5).round()
    return F.l1_loss(student(source).add(1).mul(127.5), picture)


def _unsigned_bytes(student, teacher, source):
    picture = _paint(teacher, source).add(1).mul(127.5).round()
    return F.l1_loss(student(source), picture)


def _error(decibels):
    return 10 ** (-decibels / 20)


def _decibels(error):
    return math.inf if error == 0 else -20 * math.log10(error)


def _worst(taught, teacher):
    return _decibels(_error(taught) + _error(teacher))


def _best(taught, teacher):
    return _decibels(abs(_error(taught) - _error(teacher)))


def _squares(taught, teacher):
    ours, theirs = 10 ** (-taught / 10), 10 ** (-teacher / 10)
    gap = abs(ours - theirs)
    return -10 * math.log10(ours + theirs), math.inf if gap == 0 else -10 * math.log10(gap)


def _no_absolute_value(taught, teacher):
    gap = _error(teacher) - _error(taught)
    return _worst(taught, teacher), math.nan if gap < 0 else _decibels(gap)


def _large_but_finite(taught, teacher):
    return _worst(taught, teacher), -20 * math.log10(abs(_error(taught) - _error(teacher)) + 1e-12)


WRONG_ANSWERS = {
    "cycle_loss": {
        "only there": lambda x, y, there, back: F.l1_loss(back(there(x)), x),
        "only back": lambda x, y, there, back: F.l1_loss(there(back(y)), y),
        "mean of both": lambda x, y, there, back: (F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)) / 2,
        "weighted": lambda x, y, there, back: 10 * (F.l1_loss(back(there(x)), x) + F.l1_loss(there(back(y)), y)),
        "strangers": lambda x, y, there, back: F.l1_loss(there(x), y) + F.l1_loss(back(y), x),
        "no return": lambda x, y, there, back: F.l1_loss(there(x), x) + F.l1_loss(back(y), y),
        "wrong order": lambda x, y, there, back: F.l1_loss(there(back(x)), x) + F.l1_loss(back(there(y)), y),
        "identity": lambda x, y, there, back: F.l1_loss(there(y), y) + F.l1_loss(back(x), x),
        "with the fake": lambda x, y, there, back: (
            F.l1_loss(back(there(x)), there(x)) + F.l1_loss(there(back(y)), back(y))
        ),
        "mixed up": lambda x, y, there, back: F.l1_loss(back(there(x)), y) + F.l1_loss(there(back(y)), x),
        "squares": lambda x, y, there, back: F.mse_loss(back(there(x)), x) + F.mse_loss(there(back(y)), y),
        "no absolute value": lambda x, y, there, back: (back(there(x)) - x + there(back(y)) - y).mean(),
        "sum": lambda x, y, there, back: (back(there(x)) - x).abs().sum() + (there(back(y)) - y).abs().sum(),
        "by the batch": lambda x, y, there, back: (
            (back(there(x)) - x).abs().sum() / len(x) + (there(back(y)) - y).abs().sum() / len(y)
        ),
        "a map": lambda x, y, there, back: (back(there(x)) - x).abs() + (there(back(y)) - y).abs(),
        "two numbers": lambda x, y, there, back: (F.l1_loss(back(there(x)), x), F.l1_loss(there(back(y)), y)),
        "detached half way": _cycle_detached,
        "no gradient": _cycle_without_gradient,
        "one way frozen": _cycle_frozen_back,
    },
    "pseudo_pair_loss": {
        "no eval": _no_eval,
        "both in eval": lambda s, t, x: F.l1_loss(s.eval()(x), _paint(t, x)),
        "modes exchanged": lambda s, t, x: F.l1_loss(s.eval()(x), t.train()(x).detach()),
        "the source": lambda s, t, x: F.l1_loss(s(x), x),
        "teacher and source": lambda s, t, x: F.l1_loss(_paint(t, x), x),
        "a way back": lambda s, t, x: F.l1_loss(s(_paint(t, x)), x),
        "after the teacher": lambda s, t, x: F.l1_loss(s(_paint(t, x)), _paint(t, x)),
        "squares": lambda s, t, x: F.mse_loss(s(x), _paint(t, x)),
        "root": lambda s, t, x: F.mse_loss(s(x), _paint(t, x)).sqrt(),
        "no absolute value": lambda s, t, x: (s(x) - _paint(t, x)).mean(),
        "sum": lambda s, t, x: F.l1_loss(s(x), _paint(t, x), reduction="sum"),
        "by the batch": lambda s, t, x: F.l1_loss(s(x), _paint(t, x), reduction="sum") / len(x),
        "bytes": _in_bytes,
        "bytes on one side": _unsigned_bytes,
        "sign": lambda s, t, x: -F.l1_loss(s(x), _paint(t, x)),
        "no no_grad": lambda s, t, x: F.l1_loss(s(x), t.eval()(x)),
        "exchanged": _exchanged,
        "no gradient at all": _all_without_gradient,
        "leaves eval": _leaves_eval,
        "each picture": lambda s, t, x: (s(x) - _paint(t, x)).abs().mean((1, 2, 3)),
    },
    "hidden_range": {
        "best first": lambda s, t: (_best(s, t), _worst(s, t)),
        "squared errors": _squares,
        "never better": lambda s, t: (_worst(s, t), t),
        "the better of both": lambda s, t: (_worst(s, t), max(s, t)),
        "the worse of both": lambda s, t: (min(s, t), _best(s, t)),
        "worse and better": lambda s, t: (min(s, t), max(s, t)),
        "independent in the worst": lambda s, t: (_decibels(math.hypot(_error(s), _error(t))), _best(s, t)),
        "decibels": lambda s, t: (abs(s - t), s + t),
        "decibels with a sign": lambda s, t: (t - s, t + s),
        "errors": lambda s, t: (_error(s) + _error(t), abs(_error(s) - _error(t))),
        "sign": lambda s, t: (-_worst(s, t), -_best(s, t)),
        "natural": lambda s, t: (_worst(s, t) * math.log(10), _best(s, t) * math.log(10)),
        "twice the worst": lambda s, t: (_worst(s, t), _worst(s, t)),
        "only the worst": _worst,
        "no absolute value": _no_absolute_value,
        "never infinite": _large_but_finite,
        "words": lambda s, t: ("bad", "good"),
        "one decibel off": lambda s, t: (_worst(s, t) - 1, _best(s, t) + 1),
    },
}
