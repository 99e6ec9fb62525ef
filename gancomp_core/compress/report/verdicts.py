"""What the numbers say in sentences: what is good, what is not, and what they cannot say. Each is computed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gancomp_core.compress.pictures import HELD
from gancomp_core.compress.report.numbers import (
    FD_MINIMUM,
    INTERVAL_MINIMUM,
    KID_MINIMUM,
    SSIM_WINDOW,
    Network,
    Numbers,
)
from gancomp_core.measure import bootstrap_interval
from gancomp_core.measure.statistics import significant
from gancomp_core.methods.architecture_search.budget import amount

if TYPE_CHECKING:
    from gancomp_core.compress.plan import Finished

COLLAPSED = 0.1  # of the teacher's variety
GOOD, BAD, NOTE = "good", "not good", "note"


@dataclass(frozen=True)
class Verdict:
    """A sentence, and whether it says something "good", "not good", or is a "note"."""

    kind: str
    text: str


def headline(numbers: Numbers) -> str:
    """The result in one sentence, with the student's 8-bit file as what is delivered."""
    teacher, plain, small = (numbers.networks[key] for key in ("teacher", "student", "student_int8"))
    parts = []
    if teacher.macs and plain.macs:
        parts.append(f"{than(teacher.macs, plain.macs, 'fewer', 'more')} multiplications")
    if teacher.times:
        clock = f"{teacher.ms:.3g} ms became {small.ms:.3g} ms on one thread in {small.times[0].runtime}"
        parts.append(f"{than(teacher.ms, small.ms, 'faster', 'slower')} on this machine ({clock})")
    parts.append(f"{size(small.bytes)} instead of {size(teacher.bytes)}")
    return (
        f"{', '.join(parts)}; on {len(numbers.indices):,} held-out pictures PSNR {small.mean('psnr'):.1f} dB to the "
        "teacher."
    )


def than(before: float, after: float, less: str, more: str) -> str:
    """A ratio in words: "12 times fewer", "1.3 times slower"."""
    return f"{significant(max(before / after, after / before))} times {less if after <= before else more}"


def size(count: float | None) -> str:
    """A number of bytes in words."""
    if not count:
        return "an unknown size"
    power = min(int(math.log10(count)) // 3, 3)
    return f"{significant(count / 1000**power)} {('bytes', 'kB', 'MB', 'GB')[power]}"


def all_verdicts(finished: Finished, numbers: Numbers) -> list[Verdict]:
    """All sentences, in the order of their weight: what is not good first, notes last."""
    found = [
        *_collapse(numbers),
        *_budget(finished, numbers),
        *_baselines(finished, numbers),
        *_free_teacher(finished, numbers),
        *_integers(numbers),
        *_floor(numbers),
        *_too_few(finished, numbers),
        *(Verdict(NOTE, text) for text in numbers.notes),
    ]
    return sorted(found, key=lambda each: (BAD, GOOD, NOTE).index(each.kind))


def _collapse(numbers: Numbers) -> Iterator[Verdict]:
    teacher, student = numbers.networks["teacher"].variety, numbers.networks["student_int8"].variety
    share = student / teacher if teacher > 0 else 1.0
    if share < COLLAPSED:
        yield Verdict(
            BAD,
            f"The student has collapsed: it makes nearly the same picture of everything (its pictures vary {share:.1%} "
            "as much as the teacher's); train longer or raise the budget.",
        )


def limits(finished: Finished, network: Network, file: Network) -> list[tuple[bool, str]]:
    """Each limit of the budget: whether a network and its 8-bit file keep it, and the numbers in words."""
    plan = finished.plan
    timed = min((each.median_ms for each in file.times if each.runtime == plan.runtime), default=None)
    measured = {
        "macs": network.macs,
        "params": network.params,
        "latency_ms": timed,  # on as many threads as are best
        "file_bytes": file.bytes,
    }
    found = []
    for name, most in dataclasses.asdict(plan.limits).items():
        value, unit = measured[name], name.removeprefix("file_")
        if most is not None:
            words = "an unknown amount" if value is None else amount(unit, value)
            found.append((value is not None and value <= most, f"{words} of at most {amount(unit, most)}"))
    return found


def _budget(finished: Finished, numbers: Numbers) -> Iterator[Verdict]:
    for kept, words in limits(finished, numbers.networks["student"], numbers.networks["student_int8"]):
        asked = f"The budget ({finished.plan.asked})"
        yield Verdict(GOOD if kept else BAD, f"{asked} {'was' if kept else 'was not'} kept: {words}.")


def _baselines(finished: Finished, numbers: Numbers) -> Iterator[Verdict]:
    """The student against running the teacher at half size, and against copying the input."""
    student, scale = numbers.networks["student_int8"], finished.plan.space.base.scale
    for key, name in (
        ("teacher_half", "running the teacher at half size, a quarter of its work"),
        ("copy", "copying the input" if scale == 1 else f"{'enlarging' if scale > 1 else 'shrinking'} the input alone"),
    ):
        other = numbers.networks.get(key)
        if other is None or other.to_teacher is None:
            continue
        closer = {score: _closer(student, other, score) for score in ("psnr", "perceptual")}
        words = (
            f"PSNR {student.mean('psnr'):.1f} against {other.mean('psnr'):.1f} dB, perceptual distance "
            f"{significant(student.mean('perceptual'))} against {significant(other.mean('perceptual'))}"
        )
        if all(sign > 0 for sign in closer.values()):
            yield Verdict(GOOD, f"The student is closer to the teacher than {name}: {words}.")
        elif all(sign < 0 for sign in closer.values()):
            yield Verdict(BAD, f"The student is worse than {name}: {words}.")
        else:
            yield Verdict(BAD, f"The student is not clearly better than {name}: {words}.")


def _closer(one: Network, other: Network, score: str) -> int:
    """1 where ``one`` is closer to the teacher, -1 where ``other`` is, 0 where the interval includes zero."""
    assert one.to_teacher is not None
    assert other.to_teacher is not None
    pairs = zip(one.to_teacher.scores[score].each, other.to_teacher.scores[score].each, strict=True)
    gains = [(a - b) * (-1 if score == "perceptual" else 1) for a, b in pairs]
    low, high = bootstrap_interval(gains) if len(gains) > 1 else (gains[0], gains[0])
    return int(low > 0) - int(high < 0)


def _free_teacher(finished: Finished, numbers: Numbers) -> Iterator[Verdict]:
    """The teacher in int8 without training: is it fast enough already, and what does the student add?"""
    free, student = numbers.networks.get("teacher_int8"), numbers.networks["student_int8"]
    if free is None:
        return
    closeness = f"at PSNR {free.mean('psnr'):.1f} dB to the float teacher" if free.to_teacher else "(not scored)"
    if all(kept for kept, _ in limits(finished, numbers.networks["teacher"], free)):
        yield Verdict(
            BAD,
            f"The teacher in int8 without any training keeps the budget already ({free.ms:.3g} ms, {size(free.bytes)}) "
            f"{closeness}: take that, or ask for less.",
        )
    gain = than(free.ms, student.ms, "faster", "slower")
    yield Verdict(
        GOOD if student.ms < free.ms else BAD,
        f"The teacher in int8 without any training takes {free.ms:.3g} ms {closeness}; the student is {gain}.",
    )


def _integers(numbers: Numbers) -> Iterator[Verdict]:
    plain, small = numbers.networks["student"], numbers.networks["student_int8"]
    loss = plain.mean("psnr") - small.mean("psnr")
    cost = f"and costs {loss:.2f} dB" if loss >= 0.005 else "and costs no PSNR"
    yield Verdict(
        GOOD if small.ms < plain.ms else BAD,
        f"The student in int8 is {than(plain.ms, small.ms, 'faster', 'slower')} than in float32 on this machine "
        f"({plain.ms:.3g} and {small.ms:.3g} ms), {cost}.",
    )


def _floor(numbers: Numbers) -> Iterator[Verdict]:
    quality = numbers.networks["student_int8"].to_teacher
    for name, found in (("KID", quality.kid), ("the Frechet distance", quality.frechet)) if quality else ():
        if found is not None and found.value <= found.floor:
            yield Verdict(
                NOTE,
                f"The student's {name.removeprefix('the ')} ({significant(found.value)}) is not above its floor "
                f"({significant(found.floor)}), the distance between the teacher's own pictures: read it as equal, not "
                "as better.",
            )
        elif found is not None and found.value - found.floor <= found.half_width:
            yield Verdict(
                NOTE,
                f"With these pictures {name} cannot tell the student from the teacher: {significant(found.value)}, "
                f"floor {significant(found.floor)}, ± {significant(found.half_width, 2)}.",
            )


def _too_few(finished: Finished, numbers: Numbers) -> Iterator[Verdict]:
    count = len(numbers.indices)
    for name, least in (("interval", INTERVAL_MINIMUM), ("KID", KID_MINIMUM)):
        if count < least:
            yield Verdict(NOTE, f"There is no {name}: it needs {least:,} held-out pictures, and {count:,} were scored.")
    if count < FD_MINIMUM:
        most = f"of a folder at most {HELD['test'][1]:,} are held out"
        yield Verdict(NOTE, f"There is no Frechet distance: it needs {FD_MINIMUM:,} held-out pictures, and {most}.")
    if count < numbers.held_out:
        share = "as many as the report's share of the minutes allows"
        yield Verdict(NOTE, f"{count:,} of {numbers.held_out:,} held-out pictures were scored, {share}.")
    if finished.task.size < SSIM_WINDOW:
        yield Verdict(NOTE, f"There is no SSIM: it needs pictures of {SSIM_WINDOW} x {SSIM_WINDOW} pixels.")
