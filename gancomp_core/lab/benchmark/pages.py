"""The ledger and the headline for readers: the README's part, and the page of all claims with its tables."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from gancomp_core import files
from gancomp_core.lab.benchmark.claims import effects, ledger, power
from gancomp_core.lab.benchmark.compressed import WEIGHT_FORMS
from gancomp_core.lab.benchmark.rows import HEADLINES, TASKS, TEACHER
from gancomp_core.lab.benchmark.tables import FLOAT, headline, table
from gancomp_core.lab.benchmark.timing import THREADS
from gancomp_core.lab.benchmark.verdicts import CONTRADICTED, NO_EFFECT, SHOWN, STATUSES, UNDECIDED

BEGINS = "<!-- claims: written by gancomp benchmark claims --write -->"
ENDS = "<!-- end of claims -->"
PICTURE = files.REPOSITORY / "docs" / "claims.svg"
AIM = "The aim, for paired shoes: 20 times fewer MACs, 10 times faster, FD at most 1.15 times the teacher's."

MEANS = {
    NO_EFFECT: "interval within ±d, 3 % unless the claim says otherwise",
    UNDECIDED: "the interval holds the claim and its opposite, too few seeds count, or the runs do not test the claim",
}
PAGE = """# What of the papers holds here

Written by `gancomp benchmark claims --write` from the recorded results; [the rule](decisions/verdicts.md) defines each
status and says when it was made.

![{alt}](claims.svg)

## The effects

The picture and this table show the claims that have an interval. Effects are in percent, with 95 % intervals over the
seeds that count, or over networks if the claim is about many networks. *Asked* is the claimed direction, with its bound
if that is not zero. *d* is the largest effect that counts as none. *p* is the p-value of no difference from the bound,
for this claim alone; *corrected* is the same after Holm's correction for all tested claims. It is empty if fewer than
five seeds count, or if the runs do not test the claim.

{effects}

## Every claim

{said}

The evidence is that of all recorded seeds. Seeds that chose a setting do not count for the status; the notes then give
the effect without them.

{ledger}

## What the undecided claims would take

The table gives the numbers of seeds that decide a claim with a chance of 80 %. *Spread* is the standard deviation of a
seed's difference. *To show d* and *to show none* hold for this claim alone at 5 %, if the true effect is d, or zero; if
the claim names a bound, d is the distance to it. *Of all* is enough either way, corrected for all claims. *Minutes* are
those of one seed of both sides, as recorded, and *hours* those of the missing seeds. `gancomp benchmark power` prints
the same table. Left out are claims that need other runs instead of more, and claims whose effect is too close to their
bound: more seeds would hardly decide them.

{power}
"""


def for_readme() -> str:
    """What the README shows: the course's own headline, the picture of all effects, and what they come to."""
    best = "\n".join(f"- {headline(task)}" for task in HEADLINES)
    words = (
        "What the cheapest networks of the benchmark reach, in 8 bits, beside their teachers in float32. A time is the "
        "median over the rounds of timing, with its quartiles. Forms of a teacher that multiply alike should take "
        f"equal times; at worst theirs differ by {_clock_scatter():.0f} %, so smaller differences mean nothing."
    )
    picture = f"![{alt()}](docs/claims.svg)"
    page = "[All claims with evidence](docs/claims.md), [the rule](docs/decisions/verdicts.md)."
    return "\n".join(["", words, "", best, "", AIM, "", picture, "", *said(), "", page, "", ""])


def alt() -> str:
    """The text alternative of the picture; :func:`page` has every number of it."""
    of = ledger().loc[effects().index].status.value_counts()
    return f"Forest plot of {of.sum()} effects with 95 % intervals and what the papers claim: " + _counted(of)


def said() -> list[str]:
    """What the ledger comes to: a line for each status."""
    book, lines = ledger(), []
    for status in STATUSES:
        some = book[book.status == status]
        marks = some.notes.str.extract(r"(unequal steps: [^;]*)", expand=False)
        marked = some.claim + (" (" + marks + ")").fillna("")
        which = "; ".join(marked) if status in (SHOWN, CONTRADICTED) else MEANS.get(status, "")
        lines.append(f"- **{len(some)} {status}**" + (f": {which}." if which else "."))
    return lines


def in_notebook(number: int) -> str:
    """What the ledger says of the claims that a notebook is about, by status."""
    book = ledger()
    by_status = book[book.notebook == number].groupby("status").claim
    found = {status: "; ".join(by_status.get_group(status)) for status in STATUSES if status in by_status.groups}
    words = ". ".join(f"**{status}**: {which}" for status, which in found.items())
    return f"*The papers' claims of this notebook, as the ledger of notebook 08 decides them.* {words}."


def _counted(of: pd.Series) -> str:
    return ", ".join(f"{of[status]} {status}" for status in STATUSES if status in of) + "."


def page() -> str:
    """The page of the documentation: picture, its numbers, every claim, and what the undecided ones would take."""
    return PAGE.format(
        alt=alt(),
        effects=_markdown(_effects()),
        said="\n".join(said()),
        ledger=_markdown(ledger()[["paper", "claim", "status", "evidence", "notes"]]),
        power=_markdown(power().round({"spread": 1, "minutes": 1, "hours": 1})),
    )


def _effects() -> pd.DataFrame:
    """The twin of the picture in text."""
    rows = []
    for each in effects().itertuples():
        of, asked = each.effect, each.effect.claimed
        row = {"claim": f"{each.paper}: {each.claim}", "asked": f"{asked} than {of.than:+g}" if of.than else asked}
        row |= {"effect": f"{of.interval.mean:+.1f} ± {of.interval.half_width:.1f}", "seeds": of.interval.seeds}
        row |= {"d": f"{of.margin:g}" if of.margin else ""}
        row |= {name: "" if pd.isna(p) else f"{p:.1g}" for name, p in (("p", each.p), ("corrected", each.corrected))}
        rows.append(row | {"status": each.status})
    return pd.DataFrame(rows)


def _markdown(table: pd.DataFrame) -> str:
    lines: list[Iterable[object]] = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join('' if pd.isna(cell) else str(cell) for cell in line)} |" for line in lines)


def write_pages() -> None:
    """Write the README's part and the page again, from the ledger as it is written down."""
    files.write_between(files.REPOSITORY / "README.md", BEGINS, ENDS, for_readme())
    with files.atomic_write(files.REPOSITORY / "docs" / "claims.md") as temporary:
        temporary.write_text(page(), encoding="utf-8", newline="\n")


def _clock_scatter() -> float:
    """By how many percent the times of a teacher in float32 and in :data:`WEIGHT_FORMS` differ at most."""
    teachers = [table(task).loc[TEACHER].loc[[FLOAT, *WEIGHT_FORMS]] for task in TASKS]
    times = [rows[f"times_faster_{threads}_median"] for rows in teachers for threads in THREADS]
    return max(float(100 * (ratio.max() / ratio.min() - 1)) for ratio in times)
