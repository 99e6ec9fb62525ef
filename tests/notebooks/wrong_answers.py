"""Wrong answers that no mutant of an exercise covers, by exercise and fault; and mutants written in another way."""

import math
import random
import statistics

import numpy as np
import torch
import torch.nn.functional as F

from gancomp_core.course.exercises import nb01, nb02, nb03, nb04, nb05, nb06, nb07, nb08, nb09


def _frozen_back(x, y, there, back):
    back.requires_grad_(False)
    return nb02.cycle_loss(x, y, there, back)


def _redrawn(genes, choices, rate, rng):
    return tuple(rng.choice(v) if rng.random() < rate else gene for gene, v in zip(genes, choices, strict=True))


def _each_gene(new):
    def answer(genes, choices, rate, rng):
        pairs = zip(genes, choices, strict=True)
        return tuple(new(gene, values, rng) if rng.random() < rate else gene for gene, values in pairs)

    return answer


def _in_place(genes, choices, rate, rng):
    genes[0] = rng.choice(choices[0])
    return genes


def _neighbor(gene, values, rng):
    return values[min(max(values.index(gene) + rng.choice((-1, 1)), 0), len(values) - 1)]


def _one_gene(genes, choices, rate, rng):
    place = rng.randrange(len(genes))
    new = rng.choice(choices[place]) if rng.random() < rate else genes[place]
    return (*genes[:place], new, *genes[place + 1 :])


def _fits(networks, budget):
    return [n for n in networks if all(n[name] <= limit for name, limit in budget.items())]


def _curt(networks, budget):
    if not _fits(networks, budget):
        raise ValueError("impossible")
    return nb04.best_within(networks, budget)


def _best_score(networks, budget):
    return min(n["score"] for n in _fits(networks, budget))


def _third_word(shapes):
    blocks = {int(name.split(".")[1]) for name in shapes if "conv_block" in name}
    return nb09.read_shapes(shapes)[0], len(blocks), nb09.read_shapes(shapes)[2]


def _trusts_the_unknown(score, pictures, value, half_width, floor, limits):
    return nb09.trusted(score, pictures, value, half_width, floor, limits) if score in limits else "yes"


def _closest_assumptions(rebuild, choices, picture, painted):
    tried = list(nb09._combinations(choices))
    return nb09._changed(min(tried, key=lambda each: (rebuild(**each)(picture) - painted).abs().max()), choices)


def _exact_assumptions(rebuild, choices, picture, painted):
    fits = [each for each in nb09._combinations(choices) if torch.equal(rebuild(**each)(picture), painted)]
    return nb09._changed(fits[0], choices)


def _median_of_what_is_left(otherwise):
    return lambda times, warmup: statistics.median(times[warmup:]) if times[warmup:] else otherwise


def _other_temperature(logits, gumbel):
    soft = ((logits + gumbel) / 3).softmax(0)
    return F.one_hot((logits + gumbel).argmax(), 5) + soft - soft.detach()


def _half_detached(student, teacher):
    gaps = nb06._gaps(student, teacher)
    return gaps[0].abs().mean() + sum(gap.abs().mean() for gap in gaps[1:]).detach()


def _cubic(x, *of):
    path = nb07._clipped(x, *of) ** 3
    return nb07._stairs(x.detach(), *of) + path - path.detach()


def _nearest(known, scores, asked):
    return scores[np.abs(asked[:, None] - known).sum(-1).argmin(1)] + 1e-6 * asked.sum(1)


def _by_spread(known, scores, asked):
    with np.errstate(all="ignore"):
        return ((asked - known.mean(0)) / (0 * known.std(0))).sum(1) + scores.sum()


WRONG_ANSWERS = {
    "conv_macs": {
        "no groups argument": lambda i, o, k, h, w: i * o * k * k * h * w,
        "text": lambda i, o, k, h, w, groups=1: f"{i * o * k * k * h * w // groups} MACs",
        "in millions": lambda i, o, k, h, w, groups=1: i * o * k * k * h * w / groups / 1e6,
    },
    "separable_saving": {"text": lambda i, o, k: f"{i * o * k * k / (i * k * k + i * o):.1f} times"},
    "frechet_1d": {"array": lambda a, s, b, t: np.array([(a - b) ** 2, (s - t) ** 2])},
    "median_latency": {
        "zero for nothing": _median_of_what_is_left(0.0),
        "nan for nothing": _median_of_what_is_left(math.nan),
        "IndexError for nothing": lambda times, warmup: times[warmup:][0] and statistics.median(times[warmup:]),
    },
    "smaller_kernel": {
        "one direction": lambda k, s, m: k[..., (k.shape[-1] - s) // 2 : (k.shape[-1] + s) // 2],
        "kernel detached": lambda k, s, m: nb01.smaller_kernel(k.detach(), s, m),
        "matrix detached": lambda k, s, m: nb01.smaller_kernel(k, s, m.detach()),
        "list": lambda k, s, m: nb01.smaller_kernel(k, s, m).tolist(),
        "half a matrix": lambda k, s, m: nb01.smaller_kernel(k, s, (m + torch.eye(s**2)) / 2),
    },
    "blocks_that_run": {
        "flags": lambda d, f: [block in nb01.blocks_that_run(d, f) for block in range(f)],
        "a number": lambda d, f: d,
        "names": lambda d, f: [f"block{block}" for block in nb01.blocks_that_run(d, f)],
    },
    "channels_to_keep": {
        "importances": lambda own, after, count: after.abs().sum((0, 2, 3)).sort(descending=True).values[:count],
        "flags": lambda own, after, count: after.abs().sum((0, 2, 3)) > 0,
        "one too few": lambda own, after, count: nb01.channels_to_keep(own, after, count - 1),
    },
    "channel_importance": {
        "a number": lambda features, weight: weight.abs().mean(),
        "the filters": lambda features, weight: weight.abs().sum((1, 2, 3))[:64],
        "an order": lambda features, weight: nb01.channel_importance(features, weight).argsort(),
        "all alike": lambda features, weight: torch.ones(features.shape[1]),
        "by chance": lambda features, weight: torch.rand(features.shape[1]),
        "L1 once more": lambda features, weight: nb01._l1(weight),
        "upside down": lambda *of: -nb01.channel_importance(*of),
        "spread of nothing": lambda features, weight: features.std((0, 2, 3)) / (0 * weight).sum((0, 2, 3)),
    },
    "cycle_loss": {
        "two numbers": lambda x, y, there, back: (F.l1_loss(back(there(x)), x), F.l1_loss(there(back(y)), y)),
        "no gradient": lambda *of: nb02.cycle_loss(*of).detach(),
        "one way frozen": _frozen_back,
    },
    "pseudo_pair_loss": {"a number": lambda s, t, x: nb02.pseudo_pair_loss(s, t, x).item()},
    "hidden_range": {
        "only the worst": nb02._worst,
        "never infinite": lambda s, t: (nb02._worst(s, t), min(nb02._best(s, t), 240.0)),
        "words": lambda s, t: ("bad", "good"),
        "one decibel off": lambda s, t: (nb02._worst(s, t) - 1, nb02._best(s, t) + 1),
    },
    "logit_loss": {"a number": lambda s, t, T: nb03.logit_loss(s, t, T).item()},
    "feature_loss": {
        "a list": lambda w, o, t: [F.mse_loss(adapt(a), b) for adapt, a, b in zip(w, o, t, strict=True)],
        "a float": lambda w, o, t: nb03.feature_loss(w, o, t).item(),
    },
    "train_taps": {
        "last loss": lambda *given: nb03.train_taps(*given)[-1],
        "one step too few": lambda s, a, x, w, n, lr: nb03.train_taps(s, a, x, w, n - 1, lr),
        "twice the rate": lambda s, a, x, w, n, lr: nb03.train_taps(s, a, x, w, n, 2 * lr),
        "graphs kept": lambda s, a, x, w, n, lr: [nb03.feature_loss(a, s(x), w) for _ in range(n)],
    },
    "narrower_chain": {
        "in the order of their places": lambda w, n: [part.flip(0) for part in nb03.narrower_chain(w, n)],
        "last layer forgotten": lambda w, n: nb03.narrower_chain(w, n)[:-1],
        "the places": lambda w, n: nb03._orders(w, n, nb03._l1)[0],
    },
    "dominates": {"a number": lambda a, b: b[1] - a[1], "nobody": lambda a, b: False},
    "mutate": {
        "list": lambda *of: list(_redrawn(*of)),
        "in place": _in_place,
        "generator": lambda g, c, r, rng: (rng.choice(v) for v in c),
        "places": _each_gene(lambda gene, values, rng: rng.randrange(len(values))),
        "another's choices": _each_gene(lambda gene, values, rng: rng.choice((40, 28))),
        "all choices": _each_gene(lambda gene, values, rng: values),
        "in between": _each_gene(lambda gene, values, rng: (min(values) + max(values)) / 2 + 0.25),
        "doubled": _each_gene(lambda gene, values, rng: 1_000 * (gene + 1)),
        "upside down": lambda g, c, r, rng: _redrawn(g, c, 1 - r, rng),
        "always": lambda g, c, r, rng: _redrawn(g, c, 1.0, rng),
        "never": lambda g, c, r, rng: g,
        "global random": lambda g, c, r, rng: _redrawn(g, c, r, random),
        "seeded": lambda g, c, r, rng: _redrawn(g, c, r, random.Random(0)),
        "one gene": _one_gene,
        "neighbors": _each_gene(_neighbor),
        "one coin": lambda g, c, r, rng: tuple(map(rng.choice, c)) if rng.random() < r else g,
        "half the rate": lambda g, c, r, rng: _redrawn(g, c, r if r in (0, 1) else r / 2, rng),
        "only those that mutate": lambda g, c, r, rng: tuple(rng.choice(v) for v in c if rng.random() < r),
    },
    "rank_correlation": {"matrix": np.corrcoef},
    "predict_scores": {
        "one number": lambda known, scores, asked: scores.mean(),
        "guesses for the known": lambda known, scores, asked: scores,
        "all alike": lambda known, scores, asked: np.full(len(asked), scores.mean()),
        "a rule": lambda known, scores, asked: -asked[:, -1],
        "by chance": lambda known, scores, asked: np.random.default_rng().normal(size=len(asked)),
        "upside down": lambda *of: -nb04.predict_scores(*of),
        "nearest network": _nearest,
        "spread of nothing": _by_spread,
    },
    "best_within": {
        "the score": _best_score,
        "min of nothing": lambda ns, b: min(_fits(ns, b), key=lambda n: n["score"]),
        "none": lambda ns, b: min(_fits(ns, b), key=lambda n: n["score"], default=None),
        "curt": _curt,
    },
    "straight_through_sample": {
        "a column": lambda logits, gumbel: nb05._hard(logits + gumbel)[:, None],
        "noise of its own": lambda logits, gumbel: F.gumbel_softmax(logits, hard=True),
        "another temperature": _other_temperature,
    },
    "kept_channels": {
        "detached": lambda one_hot, *of: nb05.kept_channels(one_hot.detach(), *of),
        "numbers": lambda *of: nb05.kept_channels(*of).tolist(),
    },
    "expected_macs": {"a number": lambda *of: nb05.expected_macs(*of).item()},
    "next_price": {"a word": lambda price, macs, low, high: "double" if macs > high else "half"},
    "haar_step": {
        "one tensor": lambda s: torch.cat(nb06.haar_step(s), -1),
        "low alone": lambda s: (nb06.haar_step(s)[0],),
        "numbers": lambda s: tuple(part.tolist() for part in nb06.haar_step(s)),
        "numpy": lambda s: tuple(torch.from_numpy(part.numpy()) for part in nb06.haar_step(s)),
    },
    "haar_bands": {
        "three bands": lambda p: nb06.haar_bands(p)[:3],
        "nested": lambda p: (nb06.haar_bands(p)[0], nb06.haar_bands(p)[1:]),
        "stacked": lambda p: torch.stack(nb06.haar_bands(p)),
        "detached": lambda p: nb06.haar_bands(p.detach()),
    },
    "wavelet_loss": {"half detached": _half_detached, "a number": lambda s, t: nb06.wavelet_loss(s, t).item()},
    "affine_quantize": {
        "q alone": lambda *of: nb07.affine_quantize(*of)[0],
        "q and scale": lambda *of: nb07.affine_quantize(*of)[:2],
        "other order": lambda *of: nb07.affine_quantize(*of)[::-1],
    },
    "clipping_range": {
        "share": lambda values, shares, bits: shares[5],
        "share and range": lambda values, shares, bits: (shares[5], *nb07.clipping_range(values, shares, bits)),
        "place": lambda values, shares, bits: 3,
    },
    "round_by_channel": {"dead channel": nb07._in_steps(torch.round, dead=0.0)},
    "straight_through": {"cubic": _cubic},
    "choose_range": {
        "the high end": lambda values, bits: float(values.max()),
        "exchanged": lambda values, bits: nb07.choose_range(values, bits)[::-1],
        "infinite": lambda values, bits: (-math.inf, math.inf),
        "by chance": lambda values, bits: (float(values.min()), float(values.max()) * random.random()),
        "the whole range": lambda values, bits: (float(values.min()), float(values.max())),
        "three deviations": lambda values, bits: (float(-3 * values.std()), float(3 * values.std())),
    },
    "paired_ratio_interval": {
        "one number": lambda a, b: 100 * (math.exp(nb08._logs(a, b).mean()) - 1),
        "three numbers": lambda a, b: (*nb08.paired_ratio_interval(a, b), len(a)),
        "twice too wide": nb08._with_half(lambda d: 2 * nb08._half(d)),
    },
    "pareto_front": {
        "values": lambda costs, scores: [(costs[i], scores[i]) for i in nb08.pareto_front(costs, scores)],
        "mask": lambda costs, scores: [i in nb08.pareto_front(costs, scores) for i in range(len(costs))],
        "a number": lambda costs, scores: len(nb08.pareto_front(costs, scores)),
        "floats": lambda costs, scores: [float(i) for i in nb08.pareto_front(costs, scores)],
    },
    "verdict": {
        "not reproduced": lambda ours, theirs, claimed, d: "not reproduced",
        "true or false": lambda *of: nb08.verdict(*of) == "shown",
    },
    "read_shapes": {
        "split at dots": _third_word,
        "one number": lambda shapes: 64,
        "a class": lambda shapes: (*nb09.read_shapes(shapes)[:2], "BatchNorm2d"),
    },
    "trusted": {"a flag": lambda *of: nb09.trusted(*of) == "yes", "never refused": _trusts_the_unknown},
    "wrong_assumption": {
        "closest": _closest_assumptions,
        "one at a time": nb09._searching(most_changes=1),
        "pairs": lambda *of: list(nb09.wrong_assumption(*of).items()),
        "exactly": _exact_assumptions,
    },
    "choose_network": {
        "score": lambda offers, limits: offers[nb09.best_seen(offers, limits)]["psnr"],
        "offer": lambda offers, limits: offers[nb09.best_seen(offers, limits)],
        "from one": lambda offers, limits: len(offers),
        "no limits": lambda offers, limits: max(range(len(offers)), key=lambda i: offers[i]["psnr"]),
        "one limit": lambda offers, limits: nb09.best_seen(offers, {"ms": limits["ms"]}),
        "the search's": nb09.best_seen,
        "largest": lambda offers, limits: max(nb09.fitting(offers, limits), key=lambda i: offers[i]["macs"]),
    },
    "why_not_ship": {
        "no copy": lambda report: [name for name in ["copying is as good"] if report["rows"]["copy"]["psnr"] > 28],
        "a sentence": lambda report: "It should not be shipped.",
        "own words": lambda report: ["collapsed"],
    },
}


def _macs_counted_twice(c_in, c_out, kernel, height, width, groups=1):
    layer = torch.nn.Conv2d(c_in, c_out, kernel, groups=groups, bias=False, device="meta")
    return 2 * layer.weight.numel() * height * width


def _pops_the_warm_up(times_ms, warmup):
    for _ in range(warmup):
        times_ms.pop(0)
    return statistics.median(times_ms)


def _returned_too_early(adaptors, ours, theirs):
    for adapt, a, b in zip(adaptors, ours, theirs, strict=True):
        return F.mse_loss(adapt(a), b.detach())


def _always_256_steps(x, low, high, bits):
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 2**bits
    zero_point = round(-low / scale)
    return torch.from_numpy(np.clip(np.rint(x.numpy() / scale) + zero_point, 0, 2**bits - 1)), scale, zero_point


def _normal_interval(a, b):
    d = np.log(a) - np.log(b)
    return tuple(100 * np.expm1(d.mean() + sign * 1.959964 * d.std(ddof=1) / len(d) ** 0.5) for sign in (-1, 1))


#: Exercise, answer, words of the hint that it gets although no mutant is written like that.
WRITTEN_IN_ANOTHER_WAY = [
    ("conv_macs", _macs_counted_twice, "You have FLOPs"),
    ("median_latency", _pops_the_warm_up, "changes the caller's list"),
    ("smaller_kernel", lambda k, s, m: F.pad(k, [(s - k.shape[-1]) // 2] * 4), "the matrix does nothing yet"),
    ("pseudo_pair_loss", lambda s, t, x: (s(x) - t(x).detach()).abs().mean(), "paints in training mode"),
    ("logit_loss", lambda s, t, T: F.mse_loss(s, s) + nb03.logit_loss(t, s, T), "The two are exchanged"),
    ("feature_loss", _returned_too_early, "a return inside the loop"),
    ("rank_correlation", lambda x, y: np.corrcoef([x, y])[1, 0], "Pearson's"),
    ("straight_through_sample", lambda logits, gumbel: int((logits + gumbel).argmax()), "the *place* of the draw"),
    ("haar_step", lambda s: (s[..., ::2] + s[..., 1::2], s[..., ::2] - s[..., 1::2]), "not scaled yet"),
    ("affine_quantize", _always_256_steps, "between 256 numbers lie 255 steps"),
    ("paired_ratio_interval", _normal_interval, "1.96"),
]
