"""Exercises of notebook 09: a foreign file, a number that can be trusted, a network to buy, a report, an assumption."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.course.answers import NotDoneYet, Parts, Value, Wrong, number, shown
from gancomp_core.course.exercise import Attempt, Exercise, Refusal, call, noise

# --- a foreign state dict --------------------------------------------------------------------------------------------

Shapes = Mapping[str, tuple[int, ...]]
Facts = tuple[int, int, str]


def _blocks_of(shapes: Shapes) -> set[int]:
    return {int(found[1]) for name in shapes if (found := re.search(r"model\.(\d+)\.conv_block", name))}


def _kernels(shapes: Shapes) -> list[tuple[int, ...]]:
    return [shape for shape in shapes.values() if len(shape) == 4]


def _norm(shapes: Shapes) -> str:
    scaled = {name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 1}
    remembered = {name.removesuffix(".running_mean") for name in shapes if name.endswith(".running_mean")}
    return "batch" if scaled & remembered else "instance"


def _reading(
    width: Callable[[Shapes], int] = lambda shapes: _kernels(shapes)[0][0],
    depth: Callable[[Shapes], int] = lambda shapes: len(_blocks_of(shapes)),
    norm: Callable[[Shapes], str] = _norm,
) -> Callable[[Shapes], Facts]:
    return lambda shapes: (width(shapes), depth(shapes), norm(shapes))


def read_shapes(shapes: Shapes) -> Facts:
    return _reading()(shapes)


def _norm_word(value: object, *arguments: object) -> str:
    if value not in ("batch", "instance"):
        raise Wrong(f"'batch' or 'instance' is wanted, and your function returns {value!r:.60}.")
    return str(value)


def cyclegan_shapes(
    ngf: int, blocks: int, *, norm: str = "", bias: bool = True, prefix: str = "", channels: tuple[int, int] = (3, 3)
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a ResNet generator as the CycleGAN code saves it.

    Args:
        ngf: Channels of the first layer.
        blocks: Number of residual blocks.
        norm: What each norm stores: "" nothing, "s" scale and shift, "m" mean and variance, "sm" both.
        bias: Whether convolutions have one.
        prefix: In front of every name.
        channels: Of the input and of the output.
    """
    found: dict[str, tuple[int, ...]] = {}

    def layer(place: str, weight: tuple[int, ...], out: int, normed: bool = True) -> None:
        head, _, last = place.rpartition(".")
        after = f"{prefix}model.{head + '.' if head else ''}{int(last) + 1}"
        found[f"{prefix}model.{place}.weight"] = weight
        if bias or not normed:
            found[f"{prefix}model.{place}.bias"] = (out,)
        if normed and "s" in norm:
            found.update({f"{after}.weight": (out,), f"{after}.bias": (out,)})
        if normed and "m" in norm:
            found.update({f"{after}.running_mean": (out,), f"{after}.running_var": (out,)})
            found[f"{after}.num_batches_tracked"] = ()

    into, out = channels
    layer("1", (ngf, into, 7, 7), ngf)
    layer("4", (2 * ngf, ngf, 3, 3), 2 * ngf)
    layer("7", (4 * ngf, 2 * ngf, 3, 3), 4 * ngf)
    for place in range(10, 10 + blocks):
        for within in ("1", "5"):
            layer(f"{place}.conv_block.{within}", (4 * ngf, 4 * ngf, 3, 3), 4 * ngf)
    layer(f"{10 + blocks}", (4 * ngf, 2 * ngf, 3, 3), 2 * ngf)
    layer(f"{13 + blocks}", (2 * ngf, ngf, 3, 3), ngf)
    layer(f"{17 + blocks}", (out, ngf, 7, 7), out, normed=False)
    return found


READ_SHAPES = Exercise(
    reference=read_shapes,
    kind=Parts(("ngf", "blocks", "norm"), (number, number, _norm_word)),
    inputs=[
        (cyclegan_shapes(64, 9),),
        (cyclegan_shapes(24, 6, channels=(1, 3)),),
        (cyclegan_shapes(32, 6, norm="sm", bias=False),),
        (cyclegan_shapes(64, 9, norm="m"),),
        (cyclegan_shapes(48, 4, norm="s", prefix="module.", channels=(4, 1)),),
        (cyclegan_shapes(16, 12, norm="sm"),),
    ],
    mutants={
        "Your ngf is the number of channels that the first layer reads; the shape of a convolution begins with those "
        "that it writes.": _reading(width=lambda shapes: _kernels(shapes)[0][1]),
        "Your ngf is what the last layer writes, the channels of the picture; the first layer has ngf.": _reading(
            width=lambda shapes: _kernels(shapes)[-1][0]
        ),
        "Your ngf is the widest layer, 4 * ngf: two layers have doubled it by then.": _reading(
            width=lambda shapes: max(shape[0] for shape in _kernels(shapes))
        ),
        "You count convolutions: every residual block has two.": _reading(
            depth=lambda shapes: sum("conv_block" in name and len(shape) == 4 for name, shape in shapes.items())
        ),
        "You count tensors: how many a block has depends on its norm and its biases. Count the different numbers "
        "before `.conv_block`.": _reading(depth=lambda shapes: sum("conv_block" in name for name in shapes)),
        "That is the place of the last block in the row; the first block stands at 10.": _reading(
            depth=lambda shapes: max(_blocks_of(shapes))
        ),
        "One block is missing: from 10 to 18 there are nine.": _reading(
            depth=lambda shapes: max(_blocks_of(shapes)) - min(_blocks_of(shapes))
        ),
        "A stored mean does not make a BatchNorm: old InstanceNorms stored one, too, and never used it. BatchNorm "
        "stores a mean *and* a weight.": _reading(
            norm=lambda shapes: "batch" if any("running_mean" in name for name in shapes) else "instance"
        ),
        "A weight of one axis does not make a BatchNorm: an InstanceNorm may have one. BatchNorm stores a mean as "
        "well.": _reading(
            norm=lambda shapes: (
                "batch"
                if any(name.endswith("weight") and len(shape) == 1 for name, shape in shapes.items())
                else "instance"
            )
        ),
        "You always say 'instance'; look for layers with `weight` and `running_mean`.": _reading(
            norm=lambda shapes: "instance"
        ),
        "You take the missing bias of the convolutions for a sign of BatchNorm; some files keep it. Look at the norms "
        "themselves.": _reading(
            norm=lambda shapes: (
                "instance"
                if any(name.endswith("conv_block.1.bias") or name.endswith("model.1.bias") for name in shapes)
                else "batch"
            )
        ),
    },
)

# --- can this number be trusted? -------------------------------------------------------------------------------------

Limits = Mapping[str, int]
ANSWERS = ("yes", "too few pictures", "no more than the floor")
NEEDED: Limits = {"psnr": 10, "ssim": 10, "kid": 100, "fd": 3000}


def _judging(
    enough: Callable[[int, int], bool] = lambda pictures, needed: pictures >= needed,
    above: Callable[[float, float, float], bool] = lambda value, half, floor: value - half > floor,
    floor_first: bool = False,
    needed: Callable[[str, Limits], int] = lambda score, limits: limits[score],
) -> Callable[..., str]:
    def judge(score: str, pictures: int, value: float, half_width: float, floor: float | None, limits: Limits) -> str:
        if score not in limits:
            raise ValueError(f"there is no score {score!r}")
        few = "" if enough(pictures, needed(score, limits)) else "too few pictures"
        low = "" if floor is None or above(value, half_width, floor) else "no more than the floor"
        return ((low or few) if floor_first else (few or low)) or "yes"

    return judge


def trusted(score: str, pictures: int, value: float, half_width: float, floor: float | None, limits: Limits) -> str:
    return _judging()(score, pictures, value, half_width, floor, limits)


def _answer(value: object, *arguments: object) -> str:
    if value not in ANSWERS:
        raise Wrong(f"one of {', '.join(map(repr, ANSWERS))} is wanted; you return {value!r:.60}.")
    return str(value)


TRUSTED = Exercise(
    reference=trusted,
    kind=_answer,
    inputs=[
        ("psnr", 239, 31.2, 0.4, None, NEEDED),
        ("psnr", 9, 31.2, 2.5, None, NEEDED),
        ("psnr", 10, 31.2, 2.5, None, NEEDED),
        ("kid", 239, 0.176, 0.043, 0.077, NEEDED),
        ("kid", 239, 0.097, 0.043, 0.077, NEEDED),
        ("kid", 40, 0.176, 0.043, 0.077, NEEDED),
        ("kid", 100, 0.176, 0.043, 0.077, NEEDED),
        ("kid", 99, 0.060, 0.043, 0.077, NEEDED),
        ("kid", 500, 0.061, 0.010, 0.077, NEEDED),
        ("kid", 500, 0.070, 0.010, 0.077, NEEDED),
        ("kid", 500, 0.500, 0.250, 0.250, NEEDED),  # the interval touches the floor
        ("fd", 239, 402.0, 0.0, 310.0, NEEDED),
        ("fd", 3000, 68.4, 2.1, 21.0, NEEDED),
        ("ssim", 400, 0.0, 0.0, None, NEEDED),
        ("ssim", 15, 0.91, 0.02, None, {"ssim": 20}),
    ],
    refusals=[Refusal(("fid", 5000, 30.0, 1.0, 10.0, NEEDED), "`limits` has no 'fid', so nothing is known about it")],
    mutants={
        "Exactly as many pictures as are needed are enough: only *fewer* are too few.": _judging(
            enough=lambda pictures, needed: pictures > needed
        ),
        "The number of pictures does not matter in your version; `limits[score]` says how many are needed.": _judging(
            enough=lambda pictures, needed: True
        ),
        "You ask every score for the same number of pictures; a mean over pictures needs few, a distance between sets "
        "many: `limits[score]`.": _judging(needed=lambda score, limits: min(limits.values())),
        "You ask every score for as many pictures as the hardest one; take `limits[score]`.": _judging(
            needed=lambda score, limits: max(limits.values())
        ),
        "The limits are in your code; use the ones that are given.": _judging(
            needed=lambda score, limits: NEEDED[score]
        ),
        "The value lies above the floor, and its interval reaches below: compare value - half_width.": _judging(
            above=lambda value, half, floor: value > floor
        ),
        "You add the half width; the *lower* end of the interval has to clear the floor.": _judging(
            above=lambda value, half, floor: value + half > floor
        ),
        "You hold the half width itself against the floor; the end of the interval is value - half_width.": _judging(
            above=lambda value, half, floor: half > floor
        ),
        "Upside down: a distance *below* the floor is the one that says nothing.": _judging(
            above=lambda value, half, floor: value + half < floor
        ),
        "An interval that just touches the floor does not clear it: ask for more, not for at least.": _judging(
            above=lambda value, half, floor: value - half >= floor
        ),
        "The floor is never asked for in your version; a distance that does not clear it says nothing.": _judging(
            above=lambda value, half, floor: True
        ),
        "With too few pictures the floor is not known either: test for the pictures first.": _judging(floor_first=True),
    },
)

# --- which network to buy --------------------------------------------------------------------------------------------

Offer = Mapping[str, float]
SEARCH_PICTURES = 8
OFFERS, MARKETS = 24, 100
OWN_DB, NOISE_DB = 0.6, 0.7  # what a network is worth beyond its MACs; how far off the score of the search is


def market(seed: int) -> tuple[list[dict[str, float]], dict[str, float], list[float]]:
    """Networks on offer, the limits, and what each is worth in dB on held-out pictures.

    Quality grows with the logarithm of the MACs and has a part of its own; the search sees it through the noise of
    :data:`SEARCH_PICTURES` pictures. Milliseconds follow MACs and layers, kB the weights.
    """
    rng = random.Random(seed)
    offers, held_out = [], []
    for _ in range(OFFERS):
        macs, layers = 2 ** rng.uniform(1.0, 6.0), rng.randint(9, 23)
        quality = 24.0 + 0.6 * math.log2(macs) + rng.gauss(0.0, OWN_DB)
        ms = (0.05 * macs + 0.04 * layers) * rng.uniform(0.9, 1.1)
        seen = quality + rng.gauss(0.0, NOISE_DB)
        offers.append({"macs": macs, "ms": ms, "kB": 12.0 * macs**0.8 * rng.uniform(0.8, 1.2), "psnr": seen})
        held_out.append(quality)
    limits = {"ms": sorted(offer["ms"] for offer in offers)[14], "kB": sorted(offer["kB"] for offer in offers)[16]}
    return offers, limits, held_out


def fitting(offers: Sequence[Offer], limits: Offer) -> list[int]:
    """Places of the offers that keep every limit."""
    return [i for i, offer in enumerate(offers) if all(offer[name] <= most for name, most in limits.items())]


def best_seen(offers: Sequence[Offer], limits: Offer) -> int:
    """What a search does by itself: of all that fits, the best score on the few pictures of the search."""
    return max(fitting(offers, limits), key=lambda i: offers[i]["psnr"])


def choose_network(offers: Sequence[Offer], limits: Offer) -> int:
    """One answer among many: of all that fits, the score drawn half-way to a line through score and log MACs."""
    x = torch.tensor([math.log(offer["macs"]) for offer in offers], dtype=torch.float64)
    y = torch.tensor([offer["psnr"] for offer in offers], dtype=torch.float64)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    guess = 0.5 * y + 0.5 * (y.mean() + slope * (x - x.mean()))
    return max(fitting(offers, limits), key=lambda i: float(guess[i]))


def db_lost(attempt: Attempt, markets: Sequence[int] = range(MARKETS)) -> float:
    """How many dB a choice loses on held-out pictures against the best network that fits, on average.

    Raises:
        Wrong: A choice is none of the offers, or does not keep the limits.
    """
    lost = 0.0
    for seed in markets:
        offers, limits, held_out = market(seed)
        fits = fitting(offers, limits)
        lost += max(held_out[i] for i in fits) - held_out[_place(call(attempt, (offers, limits)), offers, limits)]
    return lost / len(markets)


def _place(chosen: object, offers: Sequence[Offer], limits: Offer) -> int:
    if isinstance(chosen, Mapping):
        raise Wrong("Your function returns the offer itself; return its place in the list, a whole number.")
    if isinstance(chosen, bool) or not isinstance(chosen, int):
        raise Wrong(f"The place of an offer is wanted, a whole number, and your function returns {shown(chosen)}.")
    if not 0 <= chosen < len(offers):
        raise Wrong(f"There are offers 0 to {len(offers) - 1}, and your function chooses {chosen}.")
    for name, most in limits.items():
        if offers[chosen][name] > most:
            raise Wrong(
                f"Your choice needs {offers[chosen][name]:.2f} {name}, and {most:.2f} are allowed; leave out what "
                "breaks any of the limits before you choose."
            )
    return chosen


def _beats_the_search(attempt: Attempt) -> None:
    lost, bar = db_lost(attempt), db_lost(best_seen)
    if lost > bar:
        raise Wrong(
            f"Every choice keeps its limits, but it loses {lost:.2f} dB on held-out pictures, and the best score of "
            f"the search loses {bar:.2f}; look at score and MACs of all offers together."
        )
    if lost > 0.85 * bar:
        raise Wrong(
            f"On held-out pictures you lose {lost:.2f} dB, little less than the best score of the search with "
            f"{bar:.2f}: a score of {SEARCH_PICTURES} pictures is mostly luck. What do the other offers say about it?"
        )


CHOOSE_NETWORK = Exercise(reference=choose_network, also=_beats_the_search)

# --- why not to ship -------------------------------------------------------------------------------------------------

Report = Mapping[str, Any]
Row = Mapping[str, float]
FEWEST_PICTURES, COLLAPSED, INT8_MAY_COST = 10, 0.1, 1.0  # pictures; share of the teacher's variety; dB


def _free(row: Row, shipped: Row) -> bool:
    return row["ms"] <= shipped["ms"] and row["psnr"] >= shipped["psnr"]


def _objections(
    shipped: str = "student_int8",
    free: Callable[[Row, Row], bool] = _free,
    free_rows: Sequence[str] = ("teacher_int8", "teacher_half"),
    against: str = "student",
    slower: Callable[[float, float], bool] = lambda ours, theirs: ours >= theirs,
    collapsed: Callable[[float, float], bool] = lambda ours, theirs: ours < COLLAPSED * theirs,
    floor: Callable[[float, float], bool] = lambda kid, floor: kid < floor,
    few: Callable[[int], bool] = lambda pictures: pictures < FEWEST_PICTURES,
    copying: Callable[[float, float], bool] = lambda copy, ours: copy >= ours,
    broken: Callable[[float, float], bool] = lambda ours, theirs: ours < theirs - INT8_MAY_COST,
) -> Callable[[Report], list[str]]:
    """The objections to a report with one of them replaced."""

    def object_to(report: Report) -> list[str]:
        rows, held = report["rows"], report["rows"][shipped]
        int8, kid = rows["student_int8"], report["kid"]
        found = {
            "too few pictures": few(report["pictures"]),
            "constant": collapsed(int8["variety"], rows["teacher"]["variety"]),
            "int8 is no faster": slower(int8["ms"], rows[against]["ms"]),
            "int8 is broken": broken(int8["psnr"], rows["student"]["psnr"]),
            "free is as good": any(free(rows[name], held) for name in free_rows if name in rows),
            "copying is as good": "copy" in rows and copying(rows["copy"]["psnr"], held["psnr"]),
            "below the floor": kid is not None and floor(*kid),
        }
        return [reason for reason, holds in found.items() if holds]

    return object_to


def why_not_ship(report: Report) -> list[str]:
    return _objections()(report)


OBJECTIONS = ("too few pictures", "constant", "int8 is no faster", "int8 is broken", "free is as good",
              "copying is as good", "below the floor")  # fmt: skip


def _words(value: object, *arguments: object) -> tuple[Value, ...]:
    if not isinstance(value, list | tuple | set):
        raise Wrong(f"a list of objections is wanted, empty where there is none; you return {value!r:.60}.")
    if other := [word for word in value if word not in OBJECTIONS]:
        raise Wrong(f"the objections are {', '.join(map(repr, OBJECTIONS))}; {other[0]!r:.40} is none of them.")
    return tuple(word for word in OBJECTIONS if word in value)


def _report(pictures: int = 200, kid: tuple[float, float] | None = (0.110, 0.080), **changes: object) -> Report:
    """A report that gives no reason against shipping, with some of its rows changed or (None) taken away."""
    rows: dict[str, object] = {
        "teacher": {"ms": 12.0, "kB": 4448.0, "psnr": math.inf, "variety": 0.24},
        "teacher_int8": {"ms": 4.4, "kB": 1127.0, "psnr": 42.0, "variety": 0.24},
        "teacher_half": {"ms": 3.1, "kB": 4448.0, "psnr": 24.5, "variety": 0.23},
        "student": {"ms": 2.0, "kB": 330.0, "psnr": 28.6, "variety": 0.22},
        "student_int8": {"ms": 1.1, "kB": 91.0, "psnr": 28.3, "variety": 0.22},
        "copy": {"psnr": 19.0, "variety": 0.21},
    }
    for name, change in changes.items():
        if isinstance(change, dict):
            rows[name] = {**rows[name], **change}  # type: ignore[dict-item]
        else:
            del rows[name]
    return {"pictures": pictures, "kid": kid, "rows": rows}


WHY_NOT_SHIP = Exercise(
    reference=why_not_ship,
    kind=_words,
    inputs=[
        (_report(),),
        (_report(student_int8={"ms": 2.6}),),
        (_report(student_int8={"ms": 2.0}),),
        (_report(student_int8={"psnr": 24.4, "ms": 3.2}, student={"psnr": 25.0, "ms": 3.9}),),
        (_report(student_int8={"psnr": 24.5, "ms": 3.1}, student={"psnr": 25.0, "ms": 3.9}),),
        (_report(student_int8={"psnr": 23.0}, student={"psnr": 23.4}),),  # worse than half size, and faster
        (_report(student_int8={"ms": 4.4}, student={"ms": 8.0}),),
        (_report(student_int8={"psnr": 18.4, "variety": 0.004}, student={"psnr": 18.4, "variety": 0.004}),),
        (_report(student_int8={"variety": 0.015}),),
        (_report(student_int8={"variety": 0.05}),),
        (_report(student_int8={"ms": 3.5}, student={"ms": 3.9}),),  # half size is faster, and worse
        (_report(student_int8={"ms": 3.5}, student={"ms": 3.9}, teacher_int8=None),),
        (_report(student_int8={"psnr": 21.0}),),
        (_report(student_int8={"psnr": 27.7}),),
        (_report(kid=(0.041, 0.080)),),
        (_report(kid=None, copy=None),),
        (_report(pictures=10, kid=None),),
        (_report(pictures=6, kid=None, teacher_half=None, teacher_int8=None),),
        (_report(student_int8={"psnr": 19.0}, student={"psnr": 19.8}),),
        (_report(pictures=4, kid=(0.05, 0.09), student_int8={"ms": 5.0, "psnr": 17.0, "variety": 0.0}, copy=None),),
        (_report(teacher_half={"psnr": 28.4}, student_int8={"ms": 3.2}, student={"ms": 3.5}),),
        (_report(teacher_half={"psnr": 28.5, "ms": 1.5}),),  # as good as the float student, slower than the int8 one
        (_report(teacher_half=None, student_int8={"ms": 4.5}, student={"ms": 9.0}),),
        # just beyond a limit, or exactly at it
        (_report(student_int8={"psnr": 27.2, "variety": 0.0225}),),
        (_report(kid=(0.080, 0.080), student_int8={"psnr": 28.0}, student={"psnr": 29.0}),),
    ],
    mutants={
        "A report may give several reasons; return all of them, and not the first alone.": lambda report: why_not_ship(
            report
        )[:1],
        "What ships is the int8 file: hold `student_int8` against the free networks and the copy.": _objections(
            shipped="student"
        ),
        "A free network that is faster *or* better is no objection by itself; it has to be no slower and no worse, "
        "both.": _objections(free=lambda row, ours: row["ms"] <= ours["ms"] or row["psnr"] >= ours["psnr"]),
        "You compare the pictures alone; a free network that takes longer is no substitute.": _objections(
            free=lambda row, ours: row["psnr"] >= ours["psnr"]
        ),
        "You compare the times alone; a free network with worse pictures is no substitute.": _objections(
            free=lambda row, ours: row["ms"] <= ours["ms"]
        ),
        "Where a free network is exactly as fast and as good, it wins: it cost no training.": _objections(
            free=lambda row, ours: row["ms"] < ours["ms"] and row["psnr"] > ours["psnr"]
        ),
        "PSNR is better when larger; your comparison with the free networks is upside down.": _objections(
            free=lambda row, ours: row["ms"] <= ours["ms"] and row["psnr"] <= ours["psnr"]
        ),
        "There are two free networks; you look at `teacher_int8` alone.": _objections(free_rows=("teacher_int8",)),
        "There are two free networks; you look at `teacher_half` alone.": _objections(free_rows=("teacher_half",)),
        "You hold the time of int8 against the teacher's; the float student is what int8 has to beat.": _objections(
            against="teacher"
        ),
        "An int8 file that takes as long as float is no faster either: the objection holds for a tie.": _objections(
            slower=lambda ours, theirs: ours > theirs
        ),
        "A network that has collapsed still leaves a little noise, so ask for less than a tenth of the teacher's "
        "variety, and not for zero.": _objections(collapsed=lambda ours, theirs: ours == 0),
        "You compare the variety with 0.1; the limit is a tenth of the *teacher's* variety.": _objections(
            collapsed=lambda ours, theirs: ours < COLLAPSED
        ),
        "A distance above its floor is the usual case; one *below* it is too good to be true.": _objections(
            floor=lambda kid, floor: kid > floor
        ),
        "The floor is missing from your list: a KID below it is too good to be true.": _objections(
            floor=lambda kid, floor: False
        ),
        "Ten pictures are enough; fewer are too few.": _objections(few=lambda pictures: pictures <= FEWEST_PICTURES),
        "A student that copies its input is useless even where the two are exactly as good.": _objections(
            copying=lambda copy, ours: copy > ours
        ),
        "The copy of the input is missing from your list; it is the cheapest network of all.": _objections(
            copying=lambda copy, ours: False
        ),
        "Int8 always costs a little; it is broken where it loses more than 1 dB to the float student.": _objections(
            broken=lambda ours, theirs: ours < theirs
        ),
    },
)

# --- the wrong assumption --------------------------------------------------------------------------------------------

Assumed = Mapping[str, str]
Choices = Mapping[str, Sequence[str]]
Network = Callable[[Tensor], Tensor]
NEAR = 0.01  # of pictures in [-1, 1]: a reference that was saved in 256 levels is off by less than half of it


class Rebuild:
    """Builds one small network from the same weights, as an import does under different assumptions."""

    def __init__(self, seed: int) -> None:
        self.first, self.second = (
            0.5 * noise(6, 3, 3, 3, seed=seed + 1),
            0.4 * noise(3, 6, 3, 3, seed=seed + 2),
        )

    def __repr__(self) -> str:
        return "the file's network"

    def __call__(self, padding: str = "reflect", activation: str = "relu", last: str = "tanh") -> Network:
        """The network under these assumptions."""
        acts: dict[str, Network] = {"relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2)}
        ends: dict[str, Network] = {
            "tanh": torch.tanh,
            "none": lambda x: x.clamp(-1, 1),
            "sigmoid": lambda x: 2 * torch.sigmoid(x) - 1,
        }
        act, end = acts[activation], ends[last]

        def padded(x: Tensor) -> Tensor:
            return F.pad(x, (1, 1, 1, 1)) if padding == "zeros" else F.pad(x, (1, 1, 1, 1), mode=padding)

        def run(x: Tensor) -> Tensor:
            return end(F.conv2d(padded(act(F.conv2d(padded(x), self.first))), self.second))

        return run


CHOICES: Choices = {
    "padding": ("reflect", "replicate", "zeros"),
    "activation": ("relu", "leaky_relu"),
    "last": ("tanh", "sigmoid", "none"),
}


def _combinations(choices: Choices) -> Iterator[dict[str, str]]:
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _changed(combination: Assumed, choices: Choices) -> dict[str, str]:
    return {name: value for name, value in combination.items() if value != choices[name][0]}


def _searching(
    error: Callable[[Tensor], Tensor] = lambda gap: gap.abs().max(),
    most_changes: int = 9,
    fewest: bool = True,
    said: Callable[[dict[str, str], Choices], dict[str, str]] = _changed,
) -> Callable[[Callable[..., Network], Choices, Tensor, Tensor], dict[str, str]]:
    """The search with one step of it replaced; where nothing fits, a ValueError."""

    def search(rebuild: Callable[..., Network], choices: Choices, picture: Tensor, painted: Tensor) -> dict[str, str]:
        tried = [each for each in _combinations(choices) if len(_changed(each, choices)) <= most_changes]
        fits = [each for each in tried if float(error(rebuild(**each)(picture) - painted)) <= NEAR]
        if not fits:
            raise ValueError(f"none of {len(tried)} combinations paints this picture")
        best = min(fits, key=lambda each: len(_changed(each, choices)) * (1 if fewest else -1))
        return said(best, choices)

    return search


def wrong_assumption(
    rebuild: Callable[..., Network], choices: Choices, picture: Tensor, painted: Tensor
) -> dict[str, str]:
    return _searching()(rebuild, choices, picture, painted)


def _pairs(value: object, *arguments: object) -> tuple[Value, ...]:
    if not isinstance(value, Mapping):
        raise Wrong(f"a dictionary such as {{'padding': 'zeros'}} is wanted, and you return {value!r:.60}.")
    return tuple((str(name), str(given)) for name, given in sorted(value.items()))


def _case(seed: int, size: int = 24, scale: float = 1.0, **truth: str) -> tuple[Rebuild, Choices, Tensor, Tensor]:
    rebuild, picture = Rebuild(seed), noise(1, 3, size, size, seed=seed).mul(scale).clamp(-1, 1)
    painted = rebuild(**truth)(picture).add(1).mul(127.5).round().div(127.5).sub(1)  # as a file keeps it
    return rebuild, CHOICES, picture, painted


def _positive(seed: int) -> tuple[Rebuild, Choices, Tensor, Tensor]:
    """A network in which no activation is ever negative, so that "relu" and "leaky_relu" are the same."""
    rebuild, choices, picture, _ = _case(seed)
    rebuild.first, picture = rebuild.first.abs(), picture.abs()
    return rebuild, choices, picture, rebuild(padding="zeros")(picture)


def _one_sided(seed: int, last: str) -> tuple[Rebuild, Choices, Tensor, Tensor]:
    """A network whose pictures are never dark, so that each end is brighter than another at every pixel."""
    rebuild, choices, picture, _ = _case(seed)
    rebuild.first, rebuild.second = 0.02 * rebuild.first.abs(), rebuild.second.abs()
    return rebuild, choices, picture.abs(), rebuild(last=last)(picture.abs())


WRONG_ASSUMPTION = Exercise(
    reference=wrong_assumption,
    kind=_pairs,
    inputs=[
        _case(1),
        _case(2, padding="replicate", size=96, scale=0.03),
        _case(3, last="none"),
        _case(4, activation="leaky_relu"),
        _case(5, padding="zeros", last="sigmoid"),
        _case(6, padding="zeros", activation="leaky_relu", last="none"),
        _positive(7),
        _one_sided(10, "none"),
        _one_sided(11, "sigmoid"),
    ],
    refusals=[
        Refusal(
            (Rebuild(8), CHOICES, noise(1, 3, 16, 16, seed=8), noise(1, 3, 16, 16, seed=9).clamp(-1, 1)),
            "No combination paints this picture, so the file or the picture is another one",
        )
    ],
    mutants={
        "The mean difference hides the padding, which only changes pixels at the edge; take the largest "
        "one.": _searching(error=lambda gap: gap.abs().mean()),
        "You do not look at the edge of the picture, and there alone the padding is visible.": _searching(
            error=lambda gap: gap[..., 4:-4, 4:-4].abs().max()
        ),
        "You take the largest difference without its sign; a pixel that is too dark counts as well.": _searching(
            error=lambda gap: gap.mean()
        ),
        "Several combinations paint the picture; take the one that changes least.": _searching(fewest=False),
        "Return only what has to change, and not what was right already.": _searching(said=lambda each, choices: each),
        "You return the values that were assumed; wanted are the ones that paint the picture.": _searching(
            said=lambda each, choices: {name: choices[name][0] for name in _changed(each, choices)}
        ),
    },
)

EXERCISES = [READ_SHAPES, TRUSTED, CHOOSE_NETWORK, WHY_NOT_SHIP, WRONG_ASSUMPTION]


def score(attempt: Attempt) -> float | None:
    """dB that a learner's choice loses on held-out pictures; None while it is a stub or breaks a limit."""
    try:
        return db_lost(attempt)
    except (NotDoneYet, Wrong):
        return None
