"""The claim ledger: what the four papers claim, and what the recorded results say to it.

    gancomp benchmark claims            # every claim and its status
    gancomp benchmark claims --write    # decide all again; the file and the README

``data/claims.yml`` holds for each claim a ``test``, which names the results that decide, and the status and evidence
that the test gave. Statuses: "reproduced" for what is counted or equal, at the papers' own size; "at small scale" for
an effect that at least five paired seeds (or pairs of networks) show here; "not reproduced" where so many do not show
it; "undecided" with fewer, or where a control or the claimed saving is missing; "paper only" for what cannot be tried.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from gancomp_core import files, zoo
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import Json
from gancomp_core.lab import catalogue, results
from gancomp_core.lab.benchmark.compressed import WEIGHT_FORMS
from gancomp_core.lab.benchmark.published import costs
from gancomp_core.lab.benchmark.rows import HEADLINES, TASKS, TEACHER, Row, row
from gancomp_core.lab.benchmark.tables import FLOAT, by_seed, headline, scores, table
from gancomp_core.lab.benchmark.timing import THREADS
from gancomp_core.lab.searches import agd_search_of
from gancomp_core.measure import paired_interval
from gancomp_core.measure.statistics import ENOUGH_SEEDS, PairedInterval, significant
from gancomp_core.nets import sort_channels

REPRODUCED, SMALL_SCALE, NOT_REPRODUCED = "reproduced", "at small scale", "not reproduced"
UNDECIDED, PAPER_ONLY = "undecided", "paper only"
STATUSES = (REPRODUCED, SMALL_SCALE, NOT_REPRODUCED, UNDECIDED, PAPER_ONLY)
BEGINS = "<!-- claims: written by gancomp benchmark claims --write -->"
ENDS = "<!-- end of claims -->"


@dataclass(frozen=True)
class Claim:
    """One line of the ledger. ``test`` has a "kind" of :data:`KINDS` and what that kind needs."""

    paper: str
    claim: str
    test: Json
    status: str = ""
    evidence: str = ""

    def decided(self) -> Claim:
        """The same claim with status and evidence as the results of today give them."""
        given = {key: value for key, value in self.test.items() if key != "kind"}
        if (kind := self.test.get("kind")) not in KINDS:
            raise GancompError(f"The claim '{self.claim}' is of kind '{kind}'; choose one of {', '.join(KINDS)}.")
        status, evidence = KINDS[kind](**given)
        return Claim(self.paper, self.claim, self.test, status, evidence)


def claims() -> list[Claim]:
    """The ledger as it is written down; raises :class:`GancompError` where the file cannot be read."""
    try:
        return [Claim(**each) for each in yaml.safe_load(_path().read_text(encoding="utf-8"))]
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise GancompError(
            f"The claims in {_path()} cannot be read ({error}); 'git checkout -- data/claims.yml' restores the shipped "
            "file."
        ) from error


def ledger() -> pd.DataFrame:
    """The written claims as a table: ``paper``, ``claim``, ``status``, ``evidence``."""
    return pd.DataFrame([asdict(each) for each in claims()]).drop(columns="test")


def for_readme() -> str:
    """What the README shows: the course's own headline, and the ledger."""
    rows = ["| paper | claim | here | evidence |", "|---|---|---|---|"]
    rows += [f"| {each.paper} | {each.claim} | **{each.status}** | {each.evidence} |" for each in claims()]
    best = "\n".join(f"- {headline(task)}" for task in HEADLINES)
    words = (
        "What the cheapest networks of the benchmark reach, in 8 bits, beside their teachers in float32. A time "
        "is that of each network's own quietest round; brackets hold the quartiles of all rounds, whatever else ran. "
        f"Forms of a teacher that multiply alike differ by up to {_clock_scatter():.0f} %: so exact is this clock."
    )
    aim = "The aim, for paired shoes: 20 times fewer MACs, 10 times faster, FD at most 1.15 times the teacher's."
    return "\n".join(["", words, "", best, "", aim, "", *rows, "", ""])


def _clock_scatter() -> float:
    """By how many per cent the times of a teacher in float32 and in :data:`WEIGHT_FORMS` differ at most."""
    teachers = [table(task).loc[TEACHER].loc[[FLOAT, *WEIGHT_FORMS]] for task in TASKS]
    times = [rows[f"ms_{threads}"] for rows in teachers for threads in THREADS]
    return max(float(100 * (ms.max() / ms.min() - 1)) for ms in times)


def write_claims() -> None:
    """Decide every claim again, and write the file and the README's table."""
    head = "".join(line for line in _path().read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    decided = [asdict(each.decided()) for each in claims()]
    text = yaml.safe_dump(decided, sort_keys=False, allow_unicode=True, width=120)
    with files.atomic_write(_path()) as temporary:
        temporary.write_text(head + text, encoding="utf-8", newline="\n")
    files.write_between(files.REPOSITORY / "README.md", BEGINS, ENDS, for_readme())


def _path() -> Path:
    return files.data_root() / "claims.yml"


def verdict(interval: PairedInterval, claimed: str, than: float = 0.0) -> str:
    """What an interval of paired differences says about a claim.

    Args:
        interval: The interval.
        claimed: "lower" or "higher".
        than: What the differences are claimed to be lower or higher than.

    Returns:
        A status.
    """
    if claimed not in ("lower", "higher"):
        raise GancompError(f"A claim says 'lower' or 'higher', not '{claimed}'.")
    if interval.seeds < ENOUGH_SEEDS:
        return UNDECIDED
    beyond = (than - interval.mean) if claimed == "lower" else (interval.mean - than)
    return SMALL_SCALE if beyond > interval.half_width else NOT_REPRODUCED


def _difference(
    ours: Any, theirs: Any, claimed: str, score: str = "fd", than: float = 0.0, where: str = "", fewer: float = 0.0
) -> tuple[str, str]:
    """By how many per cent scores lie above others, paired by seed.

    ``ours`` and ``theirs`` name results as :func:`_values` reads them, or are lists of such names, pair by pair; then
    the seeds are what is independent. A claim of a network with so many times ``fewer`` MACs than its teacher is
    undecided as long as ours has less than nine tenths of that.
    """
    if not isinstance(ours, list):
        ours, theirs = [ours], [theirs]
    pairs = [_paired(one, other, score) for one, other in zip(ours, theirs, strict=True)]
    differences = pd.concat([100 * (one / other - 1) for one, other in pairs])
    interval = paired_interval(list(differences), list(differences.index))
    what = score.upper() if len(score) <= 3 else score.replace("_", " ")
    sign = "+" if interval.mean > 0 else ""
    spread = f"{sign}{significant(interval.mean, 2)} ± {significant(interval.half_width, 2)} %"
    asked = f", asked: {claimed} than {than:+g} %" if than else ""
    evidence = f"{what} {spread} ({interval.seeds} seeds; {where or _place(ours[0], theirs[0])}{asked})"
    if not fewer:
        return verdict(interval, claimed, than), evidence
    has = _times_fewer_macs(row(*ours[0]["entry"]))
    status = verdict(interval, claimed, than) if has >= 0.9 * fewer else UNDECIDED
    return status, f"{evidence}, with {significant(has, 2)} times fewer MACs, not {significant(fewer, 3)}"


def _times_fewer_macs(of: Row) -> float:
    teacher, small = (scores(each).macs.iloc[0] for each in (row(of.task, TEACHER), of))
    return float(teacher / small)


def _paired(ours: Json, theirs: Json, score: str) -> tuple[pd.Series, pd.Series]:
    """The values of the seeds that both have; a teacher, of which there is one, goes with every seed."""
    one, other = _values(ours, score), _values(theirs, score)
    if "teacher" in theirs:
        other = pd.Series(float(other.iloc[0]), index=one.index)
    both = one.index.intersection(other.index)
    return one[both], other[both]


def _place(ours: Json, theirs: Json) -> str:
    """Where the results stand: a plan of runs, or rows of the benchmark."""
    here = str(ours["runs"]) if "runs" in ours else ", ".join(ours["entry"])
    if "entry" in theirs:
        return f"{here} against {theirs['entry'][1]}"
    if "teacher" in theirs:
        return f"{here} against the teacher"
    return here if theirs["runs"] == here else f"{here} against {theirs['runs']}"


def _values(named: Json, score: str) -> pd.Series:
    """Scores by seed of ``{"runs": plan, "with": {...}}``, ``{"entry": [task, label]}`` or ``{"teacher": task}``.

    "a / b" as a score is the one divided by the other.
    """
    if " / " in score:
        above, below = (_values(named, part) for part in score.split(" / "))
        return above / below
    if "teacher" in named:
        named = {"entry": [named["teacher"], TEACHER]}
    if "entry" in named:
        return by_seed(row(*named["entry"]), score)
    return _of_runs(named["runs"], named["with"], score)


def _of_runs(plan: str, wanted: Json, score: str) -> pd.Series:
    """Scores by seed of the recorded experiments of a plan that have these entries."""
    chosen = catalogue.Query(plan, wanted).experiments()
    recorded = {each.seed: found for each in chosen if (found := results.row(each.key)) is not None}
    if not recorded:
        raise GancompError(
            f"No run of '{plan}' with {dict(wanted)} is recorded; 'gancomp runs do \"{plan}\"' trains them."
        )
    return pd.Series({seed: float(found[f"{score}_last"]) for seed, found in recorded.items()})


def _costs(networks: list[str]) -> tuple[str, str]:
    """Whether every figure that was printed of these networks is what we count."""
    counted = _counted(networks)
    agreeing = int(counted.agrees.sum())
    status = REPRODUCED if agreeing == len(counted) else NOT_REPRODUCED
    return status, f"{agreeing} of {len(counted)} networks to the digit (data/results/published_costs.csv)"


def _counted(networks: list[str]) -> pd.DataFrame:
    """Costs of published networks; raises :class:`GancompError` with their names where one is unknown."""
    counted = costs()
    if unknown := [name for name in networks if name not in counted.index]:
        raise GancompError(f"No published network is called '{unknown[0]}'; choose of {', '.join(counted.index)}.")
    return counted.loc[networks]


def _ratios(networks: list[str], printed: Mapping[str, list[float]], within: float) -> tuple[str, str]:
    """Whether the least and the largest of some ratios lie within ``within`` per cent of those printed."""
    counted = _counted(networks)
    said, off = [], []
    for name, ends in printed.items():
        found = (counted[name].min(), counted[name].max())
        off += [abs(one / other - 1) for one, other in zip(found, ends, strict=True)]
        said.append(f"{_span(found)} times fewer {NAMES[name]} (printed: {_span(ends)}, asked: within {within:g} %)")
    status = REPRODUCED if max(off) <= within / 100 else NOT_REPRODUCED
    if "times_fewer_macs" not in printed:
        said.append(f"{_span((counted.times_fewer_macs.min(), counted.times_fewer_macs.max()))} times by true MACs")
    return status, ", ".join(said)


def _gigamacs(printed: Mapping[str, float], within: float) -> tuple[str, str]:
    """Whether networks cost what is printed, in 10^9 MACs, within ``within`` per cent."""
    counted = _counted(list(printed)).macs / 1e9
    off = max(abs(counted[name] / each - 1) for name, each in printed.items())
    said = [f"{counted[name]:,.2f} G MACs (printed: {each:,.2f})" for name, each in printed.items()]
    return REPRODUCED if off <= within / 100 else NOT_REPRODUCED, f"{', '.join(said)}, asked: within {within:g} %"


NAMES = {
    "times_fewer_macs": "MACs",
    "times_fewer_published_macs": "MACs by the paper's count",
    "times_fewer_params": "parameters",
}


def _span(ends: Iterable[float]) -> str:
    low, high = (significant(end, 3) for end in ends)
    return low if low == high else f"{low} to {high}"


def _int8(most: float) -> tuple[str, str]:
    """Whether int8 adds at most so many per cent to the set distance (FD, else KID), over all networks."""
    rows = results.rows("int8")
    grown = {score: 100 * (rows[f"int8_{score}"] / rows[f"float_{score}"] - 1) for score in ("fd", "kid")}
    growth = grown["fd"].fillna(grown["kid"])
    interval = paired_interval(list(growth), list(rows.task + rows.name))
    sure = verdict(interval, "lower", most)
    spread = f"{interval.mean:+.1f} ± {interval.half_width:.1f} %"
    evidence = (
        f"FD (KID of emoji) of int8 against float {spread} over {interval.seeds} networks, at most "
        f"{growth.max():+.1f} %"
    )
    return sure, evidence + " (data/results/results.parquet)"


def _enlarging() -> tuple[str, str]:
    """AGD's network against VDSR, as their model cards score them."""
    searched, older = (zoo.card(f"photos_x4/{name}") for name in ("agd", "vdsr"))
    gain = searched["quality"]["psnr_y_photos"] - older["quality"]["psnr_y_photos"]
    macs, params = (searched["cost"][name] / older["cost"][name] - 1 for name in ("macs", "params"))
    return UNDECIDED, (
        f"{gain:+.2f} dB with {100 * macs:+.1f} % MACs and {100 * params:+.1f} % parameters; one training each, "
        f"{searched['quality']['photos']:.0f} photos (photos_x4)"
    )


def _controllers() -> tuple[str, str]:
    """Whether searches with a price on MACs end within their range more often than those without one."""
    found: dict[bool, list[bool]] = {True: [], False: []}
    shares: dict[bool, list[float]] = {True: [], False: []}
    for name in catalogue.names("agd"):
        each = agd_search_of(name)
        if each.experiment["networks"]:  # at random
            continue
        looks, bounds = each.history.groupby("step").macs.first(), each.controller
        within = looks.between(bounds.low, bounds.high)
        found[bool(bounds.price)].append(bool(within.iloc[-1]))
        shares[bool(bounds.price)].append(100 * float(within.mean()))
    ends = {priced: sum(ended) / len(ended) for priced, ended in found.items()}
    if min(map(len, found.values())) < ENOUGH_SEEDS:
        status = UNDECIDED
    else:
        status = SMALL_SCALE if ends[True] > ends[False] else NOT_REPRODUCED
    of = {priced: f"{sum(ended)} of {len(ended)}" for priced, ended in found.items()}
    spans = {priced: _span((min(some), max(some))) for priced, some in shares.items()}
    return status, (
        f"{of[True]} searches with a price end in their range, {of[False]} without; they are in it at {spans[True]} % "
        f"and {spans[False]} % of the looks (data/results/artefacts)"
    )


@torch.inference_mode()
def _sub_networks() -> tuple[str, str]:
    """Whether a sub-network that runs in the supernet paints what it paints when cut out of it."""
    supernet: Any = zoo.load("edges2shoes/supernet").generator
    pictures = load_task("edges2shoes").test.batch(slice(0, 8)).source
    space, worst = supernet.space, 0.0
    for architecture in (space.widest, space.narrowest, space.sample(random.Random(0))):
        supernet.activate(architecture)
        alone = supernet.extract(architecture).eval()
        worst = max(worst, float((supernet(pictures) - alone(pictures)).abs().max()))
    return (
        REPRODUCED if worst == 0 else NOT_REPRODUCED
    ), f"largest difference of a pixel {worst:g} (edges2shoes/supernet)"


@torch.inference_mode()
def _sorting() -> tuple[str, str]:
    """Whether sorting channels by importance leaves what a network paints."""
    generator = zoo.load("edges2shoes/teacher").generator
    pictures = load_task("edges2shoes").test.batch(slice(0, 8)).source
    before = generator(pictures)
    sort_channels(generator)
    worst = float((generator(pictures) - before).abs().max())
    # sums of floats in another order differ in their last digits
    return (
        REPRODUCED if worst < 1e-4 else NOT_REPRODUCED
    ), f"largest difference of a pixel {worst:.0e} (edges2shoes/teacher)"


def _paper_only(why: str) -> tuple[str, str]:
    return PAPER_ONLY, why


KINDS: dict[str, Callable[..., tuple[str, str]]] = {
    "difference": _difference,
    "costs": _costs,
    "ratios": _ratios,
    "gigamacs": _gigamacs,
    "int8": _int8,
    "super-resolution": _enlarging,
    "controllers": _controllers,
    "sub-networks": _sub_networks,
    "sorted channels": _sorting,
    "paper": _paper_only,
}
