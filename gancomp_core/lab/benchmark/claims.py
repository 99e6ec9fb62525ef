"""The claim ledger: what the four papers claim, and what the recorded results say to it.

    gancomp benchmark claims            # every claim and its status
    gancomp benchmark claims --write    # decide all again; the file, the README, the page and its picture
    gancomp benchmark power             # how many more seeds the undecided ones take

``data/claims.yml`` holds for each claim a ``test``, which names the results that decide, and the status, evidence and
notes that the test gave. The rule is in :mod:`gancomp_core.lab.benchmark.verdicts`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from gancomp_core import files, zoo
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError, explaining
from gancomp_core.files import Json
from gancomp_core.lab import catalogue, results
from gancomp_core.lab.benchmark.published import costs
from gancomp_core.lab.benchmark.rows import TEACHER, row
from gancomp_core.lab.benchmark.tables import by_seed, scores
from gancomp_core.lab.benchmark.verdicts import (
    CONTRADICTED,
    COUNTED,
    LEVEL,
    MARGIN,
    PAPER_ONLY,
    UNDECIDED,
    Effect,
    alone,
    holm,
    together,
)
from gancomp_core.lab.experiment import Experiment
from gancomp_core.lab.recording import steps_of
from gancomp_core.lab.searches import agd_searches_of
from gancomp_core.measure import paired_interval
from gancomp_core.measure.statistics import ENOUGH_SEEDS, PairedInterval, significant
from gancomp_core.nets import sort_channels

DEEPEST = 20  # lists and mappings within each other in the ledger


@dataclass(frozen=True)
class Found:
    """What the results say to a claim.

    Attributes:
        evidence: The numbers, in words.
        status: Of a claim without an interval.
        effect: What decides any other claim.
        notes: What else a reader should know.
        minutes: What one more seed takes, both sides together.
    """

    evidence: str
    status: str = ""
    effect: Effect | None = None
    notes: tuple[str, ...] = ()
    minutes: float = 0.0


@dataclass(frozen=True)
class Claim:
    """One line of the ledger. ``test`` has a "kind" of :data:`KINDS` and what that kind needs."""

    paper: str
    claim: str
    notebook: int
    test: Json
    status: str = ""
    evidence: str = ""
    notes: Sequence[str] = ()

    def found(self) -> Found:
        """What the results of today say to it."""
        given = {key: value for key, value in self.test.items() if key != "kind"}
        if (kind := self.test.get("kind")) not in KINDS:
            raise GancompError(f"The claim '{self.claim}' is of kind '{kind}'; choose one of {', '.join(KINDS)}.")
        with explaining(
            lambda error: (
                f"The test of the claim '{self.claim}' cannot be done ({error}); compare its entries with "
                f"those of other claims of the kind '{kind}'."
            ),
            *(AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError),
        ):
            return KINDS[kind](**given)


def claims() -> list[Claim]:
    """The ledger as it is written down; raises :class:`GancompError` where the file cannot be read."""
    try:
        text = _path().read_text(encoding="utf-8")
        _check_structure(text)
        found = [Claim(**each) for each in yaml.safe_load(text)]
        if not all(isinstance(each.test, dict) and isinstance(each.notes, list | tuple) for each in found):
            raise ValueError("a test or notes of another kind")
        return found
    except (OSError, yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise GancompError(
            f"The claims in {_path()} cannot be read ({' '.join(str(error).split())[:200]}); 'git checkout -- "
            "data/claims.yml' restores the shipped file."
        ) from error


def _check_structure(text: str) -> None:
    """Refuse what a small file can exhaust a reader of YAML with, event by event."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases, with which a small file can stand for an endless one")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} lists and mappings within each other")


def decided(some: Sequence[Claim]) -> list[Claim]:
    """These claims with status, evidence and notes as the results of today give them, all tested at once."""
    found = [each.found() for each in some]
    effects = [each.effect for each in found if each.effect]
    statuses, level = iter(together(effects)), _level(effects)
    corrected = dict(zip(map(id, effects), _corrected(effects), strict=True))
    lines = []
    for claim, what in zip(some, found, strict=True):
        status, notes = what.status, list(what.notes)
        if effect := what.effect:
            status = next(statuses)
            if (single := alone(effect)) != status:
                p = effect.p_difference
                notes.insert(0, f"alone: {single} (p {p:.2g}, corrected {corrected[id(effect)]:.2g})")
            if status == UNDECIDED and not effect.obstacle:
                notes.insert(0, _missing(effect, level))
        lines.append(replace(claim, status=status, evidence=what.evidence, notes=notes))
    return lines


def _missing(effect: Effect, level: float) -> str:
    """How many more seeds an undecided claim takes."""
    seeds = effect.interval.seeds
    first = f"{ENOUGH_SEEDS - seeds} more before it is tested, " if seeds < ENOUGH_SEEDS else ""
    far = f"{effect.aim:g} % from none" if effect.margin else f"none from {effect.than:+g} %"
    if not (more := effect.missing(level)):
        return f"seeds: {seeds} tell {far}; the effect is too close to the bound"
    return f"seeds: {first}{more:,} more would tell {far}"


def _corrected(effects: Sequence[Effect]) -> list[float]:
    """Corrected p-values of the differences; 1 where a claim is not tested."""
    tested = iter(holm([each.p_difference for each in effects if each.tested]))
    return [next(tested) if each.tested else 1.0 for each in effects]


def _level(effects: Sequence[Effect]) -> float:
    """The level that suffices for any claim of the ledger, wherever Holm's order puts it."""
    return LEVEL / max(sum(not each.obstacle for each in effects), 1)


def ledger() -> pd.DataFrame:
    """The written claims: ``paper``, ``claim``, ``notebook``, ``status``, ``evidence`` and ``notes`` (one text)."""
    book = pd.DataFrame([asdict(each) for each in claims()]).drop(columns="test")
    return book.assign(notes=book.notes.str.join("; "))


def effects() -> pd.DataFrame:
    """The claims with an interval, as written and as measured by the seeds that count.

    Columns: those of :func:`ledger`, ``effect`` (:class:`Effect`), ``p`` of its difference from the bound,
    ``corrected`` for all claims (none where it is not tested), and ``minutes`` of one more seed.
    """
    found = {place: what for place, each in enumerate(claims()) if (what := each.found()).effect}
    book = ledger().loc[list(found)]
    of = [what.effect for what in found.values() if what.effect]
    corrected = [p if each.tested else math.nan for each, p in zip(of, _corrected(of), strict=True)]
    p_values = [each.p_difference for each in of]
    return book.assign(effect=of, p=p_values, corrected=corrected, minutes=[each.minutes for each in found.values()])


def power() -> pd.DataFrame:
    """What it takes to decide the undecided claims with a chance of 80 %, the cheapest first.

    Columns: ``paper``, ``claim``, ``seeds`` that count, ``spread`` of a seed's difference and ``d``, in percent;
    ``to show d`` and ``to show none``, seeds for this claim alone at 5 %; ``of all`` seeds that decide either way among
    all claims of the ledger; ``minutes`` of one seed, both sides together, as recorded; ``hours`` of the seeds that are
    missing. Claims that need other runs, not more, are left out, and effects too close to a bound for any number.
    """
    whole, rows = effects(), []
    level = _level(list(whole.effect))
    for each in whole[whole.status == UNDECIDED].itertuples():
        if (effect := each.effect).obstacle:
            continue
        if not (missing := effect.missing(level)):
            continue
        one, seeds = effect.needed(LEVEL), effect.interval.seeds
        row = {"paper": each.paper, "claim": each.claim, "seeds": seeds, "spread": effect.spread}
        row |= {"d": effect.aim, "to show d": one[0], "to show none": one[-1] if effect.margin else None}
        rows.append(row | {"of all": seeds + missing, "minutes": each.minutes, "hours": missing * each.minutes / 60})
    return pd.DataFrame(rows).sort_values("hours", ignore_index=True)


def write_claims() -> None:
    """Decide every claim again, and write the file; :mod:`gancomp_core.lab.benchmark.pages` shows it."""
    head = "".join(line for line in _path().read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    text = yaml.safe_dump([asdict(each) for each in decided(claims())], sort_keys=False, allow_unicode=True, width=120)
    with files.atomic_write(_path()) as temporary:
        temporary.write_text(head + text, encoding="utf-8", newline="\n")


def _path() -> Path:
    return files.data_root() / "claims.yml"


def _difference(
    ours: Any,
    theirs: Any,
    claimed: str,
    score: str = "fd",
    than: float = 0.0,
    margin: float = MARGIN,
    where: str = "",
    fewer: float = 0.0,
    note: str = "",
) -> Found:
    """By how many percent scores lie above others, paired by seed.

    ``ours`` and ``theirs`` name results as :func:`_values` reads them, or are lists of such names, pair by pair; then
    the seeds are what is independent. Seeds that chose a setting are in the evidence and not in the effect. A claim of
    a network with so many times ``fewer`` MACs than its teacher is not tested as long as ours has less than nine tenths
    of that.
    """
    if not isinstance(ours, list):
        ours, theirs = [ours], [theirs]
    pairs = [_paired(one, other, score) for one, other in zip(ours, theirs, strict=True)]
    differences = pd.concat([100 * (one / other - 1) for one, other in pairs])
    interval = _interval(differences)
    what = score.upper() if len(score) <= 3 else score.replace("_", " ")
    asked = f", asked: {claimed} than {than:+g} %" if than else ""
    evidence = f"{what} {_spread(interval)} ({interval.seeds} seeds; {where or _place(ours[0], theirs[0])}{asked})"
    arms = [[each for named in arm for each in _experiments(named)] for arm in (ours, theirs)]
    obstacle, notes = "", [*_about(arms), *([note] if note else [])]
    if fewer:
        has = _times_fewer_macs(ours[0])
        evidence += f", with {significant(has, 3)} times fewer MACs (claimed: {significant(fewer, 3)})"
        if has < 0.9 * fewer:
            obstacle = f"another network is needed: this one saves {significant(has, 2)} times"
            notes.insert(0, obstacle)
    if chose := _seeds_that_chose(arms):
        interval = _interval(differences[~differences.index.isin(chose)])
        those = " and ".join(map(str, sorted(chose)))
        notes.append(f"seed {those} chose the setting: {_spread(interval)} without it ({interval.seeds} seeds)")
    bound: Json = {"than": than, "margin": None if than else margin}
    effect = Effect(interval=interval, claimed=claimed, obstacle=obstacle, **bound)
    return Found(evidence, effect=effect, notes=tuple(notes), minutes=sum(map(_minutes, arms)))


def _interval(differences: pd.Series) -> PairedInterval:
    return paired_interval(list(differences), list(differences.index))


def _spread(interval: PairedInterval) -> str:
    sign = "+" if interval.mean > 0 else ""
    return f"{sign}{significant(interval.mean, 2)} ± {significant(interval.half_width, 2)} %"


def _about(arms: Sequence[Sequence[Experiment]]) -> list[str]:
    """What the specifications of the two sides say against a comparison: one teacher, and unequal steps."""
    notes = []
    if any(each[model] for arm in arms for each in arm for model in ("teacher", "supernet", "model")):
        notes.append("for this teacher")
    ours, theirs = ({_steps(each) for each in arm} for arm in arms)
    if ours != theirs:
        notes.append("unequal steps: " + " against ".join(" or ".join(sorted(side)) for side in (ours, theirs)))
    return notes


def _steps(of: Experiment) -> str:
    before = int(zoo.card(str(of["supernet"]))["settings"]["steps"]) if of["supernet"] else 0
    return f"{steps_of(of):,}" + (f" after a supernet of {before:,}" if before else "")


def _seeds_that_chose(arms: Sequence[Sequence[Experiment]]) -> set[int]:
    """The seeds of the plans by which the settings of these experiments' plans were chosen."""
    plans = {catalogue.LIST["settled"].get(each.name) for arm in arms for each in arm} - {None}
    return {each.seed for plan in plans for each in catalogue.planned(plan)}


def _minutes(arm: Sequence[Experiment]) -> float:
    """Recorded minutes of one seed of one side; networks out of one supernet share its training."""
    rows = [found for each in arm if (found := results.row(each.key)) is not None]
    if not rows:
        return 0.0
    recorded = pd.DataFrame(rows)
    by_seed = recorded.groupby("seed").minutes
    return float((by_seed.mean() if (recorded.kind == "supernet").all() else by_seed.sum()).mean())


def _times_fewer_macs(named: Json) -> float:
    """By how much the teacher of a task costs more than what :func:`_values` reads."""
    task = _experiments(named)[0].task
    teacher = float(scores(row(task, TEACHER)).macs.iloc[0])
    if "entry" in named:
        return teacher / float(scores(row(*named["entry"])).macs.iloc[0])
    recorded = (results.row(each.key) for each in _experiments(named))
    return teacher / max(float(found["macs"]) for found in recorded if found is not None)


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


def _experiments(named: Json) -> Sequence[Experiment]:
    """What :func:`_values` reads."""
    if "runs" in named:
        return catalogue.Query(named["runs"], named["with"]).experiments()
    return row(*(named["entry"] if "entry" in named else (named["teacher"], TEACHER))).experiments


def _costs(networks: list[str]) -> Found:
    """Whether every figure that was printed of these networks is what we count."""
    counted = _counted(networks)
    agreeing = int(counted.agrees.sum())
    evidence = f"{agreeing} of {len(counted)} networks to the digit (data/results/published_costs.csv)"
    return _counts(evidence, agreeing == len(counted))


def _counts(evidence: str, agrees: bool) -> Found:
    return Found(evidence, COUNTED if agrees else CONTRADICTED)


def _counted(networks: list[str]) -> pd.DataFrame:
    """Costs of published networks; raises :class:`GancompError` with their names where one is unknown."""
    counted = costs()
    if unknown := [name for name in networks if name not in counted.index]:
        raise GancompError(f"No published network is called '{unknown[0]}'; choose of {', '.join(counted.index)}.")
    return counted.loc[networks]


def _ratios(networks: list[str], printed: Mapping[str, list[float]], within: float) -> Found:
    """Whether the least and the largest of some ratios lie within ``within`` percent of those printed."""
    counted = _counted(networks)
    said, off = [], []
    for name, ends in printed.items():
        found = (counted[name].min(), counted[name].max())
        off += [abs(one / other - 1) for one, other in zip(found, ends, strict=True)]
        said.append(f"{_span(found)} times fewer {NAMES[name]} (printed: {_span(ends)}, asked: within {within:g} %)")
    if "times_fewer_macs" not in printed:
        said.append(f"{_span((counted.times_fewer_macs.min(), counted.times_fewer_macs.max()))} times by true MACs")
    return _counts(", ".join(said), max(off) <= within / 100)


def _gigamacs(printed: Mapping[str, float], within: float) -> Found:
    """Whether networks cost what is printed, in 10^9 MACs, within ``within`` percent."""
    counted = _counted(list(printed)).macs / 1e9
    off = max(abs(counted[name] / each - 1) for name, each in printed.items())
    said = [f"{counted[name]:,.2f} G MACs (printed: {each:,.2f})" for name, each in printed.items()]
    return _counts(f"{', '.join(said)}, asked: within {within:g} %", off <= within / 100)


NAMES = {
    "times_fewer_macs": "MACs",
    "times_fewer_published_macs": "MACs by the paper's count",
    "times_fewer_params": "parameters",
}


def _span(ends: Iterable[float]) -> str:
    low, high = (significant(end, 3) for end in ends)
    return low if low == high else f"{low} to {high}"


def _int8(most: float) -> Found:
    """Whether int8 adds at most so many percent to the set distance (FD, else KID), over all networks."""
    rows = results.rows("int8")
    grown = {score: 100 * (rows[f"int8_{score}"] / rows[f"float_{score}"] - 1) for score in ("fd", "kid")}
    growth = grown["fd"].fillna(grown["kid"])
    interval = paired_interval(list(growth), list(rows.task + rows.name))
    spread = f"{interval.mean:+.1f} ± {interval.half_width:.1f} %"
    evidence = (
        f"FD (KID of emoji) of int8 against float {spread} over {interval.seeds} networks, at most "
        f"{growth.max():+.1f} %"
    )
    effect = Effect(interval=interval, claimed="lower", than=most, margin=None)
    return Found(evidence + " (data/results/results.parquet)", effect=effect)


def _enlarging() -> Found:
    """AGD's network against VDSR, as their model cards score them."""
    searched, older = (zoo.card(f"photos_x4/{name}") for name in ("agd", "vdsr"))
    gain = searched["quality"]["psnr_y_photos"] - older["quality"]["psnr_y_photos"]
    macs, params = (searched["cost"][name] / older["cost"][name] - 1 for name in ("macs", "params"))
    evidence = (
        f"{gain:+.2f} dB with {100 * macs:+.1f} % MACs and {100 * params:+.1f} % parameters; one training each, "
        f"{searched['quality']['photos']:.0f} photos (photos_x4)"
    )
    return Found(evidence, UNDECIDED, notes=(f"{ENOUGH_SEEDS - 1} more seeds of both before it is tested",))


def _controllers(priced: str, free: str) -> Found:
    """Whether searches with a price on MACs look at networks within their range more often than those without one.

    ``priced`` and ``free`` name two searches with several seeds, which differ in the price alone. Their shares of looks
    within the range are compared, in percentage points and paired by seed. The evidence counts all recorded searches.
    """
    every = _looks(*catalogue.names("agd")).groupby("priced")
    of = {price: f"{each.ended.sum()} of {len(each)}" for price, each in every}
    spans = {price: _span((each.within.min(), each.within.max())) for price, each in every}
    evidence = (
        f"{of[True]} searches with a price end in their range, {of[False]} without; they are in it at {spans[True]} % "
        f"and {spans[False]} % of the looks (data/results/artefacts)"
    )
    ours, theirs = (_looks(name).set_index("seed") for name in (priced, free))
    points = (ours.within - theirs.within).dropna()
    if (missing := ENOUGH_SEEDS - len(points)) > 0:
        more = f"{missing} more pairs of searches, with a price and without one, before it is tested"
        return Found(evidence, UNDECIDED, notes=(more,))
    interval = _interval(points)
    evidence += f"; {_spread(interval)} of the looks ({interval.seeds} seeds; {priced} against {free})"
    effect = Effect(interval=interval, claimed="higher")
    return Found(evidence, effect=effect, minutes=float(ours.minutes.mean() + theirs.minutes.mean()))


def _looks(*names: str) -> pd.DataFrame:
    """A row for each recorded search of AGD with these names, without those at random.

    Columns: ``seed``, whether MACs have a price (``priced``), the share of looks ``within`` the range in percent,
    whether it ``ended`` within, and ``minutes``.
    """
    found = {}
    for search in (each for name in names for each in agd_searches_of(name)):
        if search.row and not search.experiment["networks"]:
            bounds = search.controller
            within = search.history.groupby("step").macs.first().between(bounds.low, bounds.high)
            row = {"seed": search.experiment.seed, "priced": bool(bounds.price), "within": 100 * float(within.mean())}
            found[search.experiment.key] = {**row, "ended": bool(within.iloc[-1]), "minutes": search.row["minutes"]}
    return pd.DataFrame(found.values(), columns=["seed", "priced", "within", "ended", "minutes"])


@torch.inference_mode()
def _sub_networks() -> Found:
    """Whether a sub-network that runs in the supernet paints what it paints when cut out of it."""
    supernet: Any = zoo.load("edges2shoes/supernet").generator
    pictures = load_task("edges2shoes").test.batch(slice(0, 8)).source
    space, worst = supernet.space, 0.0
    for architecture in (space.widest, space.narrowest, space.sample(random.Random(0))):
        supernet.activate(architecture)
        alone = supernet.extract(architecture).eval()
        worst = max(worst, float((supernet(pictures) - alone(pictures)).abs().max()))
    return _counts(f"largest difference of a pixel {worst:g} (edges2shoes/supernet)", worst == 0)


@torch.inference_mode()
def _sorting() -> Found:
    """Whether sorting channels by importance leaves what a network paints."""
    generator = zoo.load("edges2shoes/teacher").generator
    pictures = load_task("edges2shoes").test.batch(slice(0, 8)).source
    before = generator(pictures)
    sort_channels(generator)
    worst = float((generator(pictures) - before).abs().max())
    # sums of floats in another order differ in their last digits
    return _counts(f"largest difference of a pixel {worst:.0e} (edges2shoes/teacher)", worst < 1e-4)


def _paper_only(why: str) -> Found:
    return Found(why, PAPER_ONLY)


KINDS: dict[str, Callable[..., Found]] = {
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
