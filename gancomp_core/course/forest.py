"""The claim ledger as one picture: every effect with its interval, on the claimed side or on the other."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from gancomp_core import files
from gancomp_core.course.figures import MARKERS, PALETTE, use_style
from gancomp_core.lab.benchmark import STATUSES, Effect, effects, pages
from gancomp_core.lab.benchmark.verdicts import NO_EFFECT, UNDECIDED
from gancomp_core.measure.statistics import ENOUGH_SEEDS, significant

INK, SOFT, PAGE, SHADE = "#1f2328", "#59636e", "#fefefe", "#e2eefb"
STYLE = """<style>
  svg { --ink: #1f2328; --soft: #59636e; --page: #ffffff; --shade: #e2eefb; }
  @media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --soft: #a5b0bc; --page: #16191d; --shade: #16304f; } }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif !important; }
</style>"""


def forest() -> Figure:
    """Each effect as its distance from the bound toward the claimed side, which is shaded; statuses stand beside."""
    whole = effects()
    untested = whole.corrected.isna()
    order = 4 * whole.status.map(STATUSES.index) + 2 * untested + whole.p
    whole = whole.loc[order.sort_values().index]
    with mpl.rc_context():
        use_style()
        mpl.rcParams.update({"text.color": INK, "axes.edgecolor": SOFT, "axes.labelcolor": INK, "xtick.color": INK})
        mpl.rcParams.update({"ytick.color": INK, "font.size": 9.5, "figure.facecolor": PAGE, "axes.facecolor": "none"})
        high = 0.52 * len(whole) + 0.7
        figure, axes = plt.subplots(figsize=(10, high), layout="none")
        figure.subplots_adjust(left=0.37, right=0.67, top=1 - 0.1 / high, bottom=0.6 / high)
        for place, each in enumerate(whole.itertuples()):
            of, kind = each.effect, STATUSES.index(each.status)
            color, inside = (SOFT, PAGE) if each.status == UNDECIDED else (PALETTE[4 * (kind % 2)],) * 2
            look: dict[str, Any] = {"fmt": MARKERS[kind], "color": color, "mfc": inside, "capsize": 3}
            axes.errorbar(_for_the_claim(of), place, xerr=of.interval.half_width, **look)
            axes.text(
                1.02, place, _words(each.status, of, each.notes), transform=axes.get_yaxis_transform(), va="center"
            )
        limit = 1.05 * max(abs(_for_the_claim(of)) + of.interval.half_width for of in whole.effect)
        axes.axvspan(0, limit, color=SHADE, zorder=-1)
        axes.axvline(0, color=INK, linewidth=1)
        claims = whole.paper + ": " + whole.claim
        labels = [textwrap.fill(each, 50, max_lines=3, placeholder=" ...") for each in claims]
        axes.set_yticks(range(len(whole)), labels)
        axes.set(xlim=(-limit, limit), ylim=(len(whole) - 0.5, -0.5))
        axes.set_xlabel("against the claim  ←  % beyond the bound, with 95 % interval  →  for the claim (shaded)")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    return figure


def _for_the_claim(of: Effect) -> float:
    beyond = of.interval.mean - of.than
    return beyond if of.claimed == "higher" else -beyond


def _words(status: str, of: Effect, notes: str) -> str:
    mean, half = (significant(value, 2) for value in (of.interval.mean, of.interval.half_width))
    seeds = of.interval.seeds
    why = " (other network)" if of.obstacle else " (too few seeds)" if seeds < ENOUGH_SEEDS else ""
    status = status.replace(" d", f" {of.margin:g} %") if status == NO_EFFECT else status
    more = [f"asked: {of.claimed} than {of.than:+g}"] if of.than else []
    more += ["unequal steps"] if "unequal steps" in notes else []
    first = f"{status}{why}: {'+' * (of.interval.mean > 0)}{mean} ± {half} % (n = {seeds})"
    return "\n".join([first, *([", ".join(more)] if more else [])])


def forest_alt() -> str:
    """The picture in words: what it shows, then each effect with its status and interval."""
    whole = effects()
    said = [
        f"{each.paper}, {each.claim}: {_words(each.status, each.effect, each.notes)}".replace("\n", ", ")
        for each in whole.itertuples()
    ]
    return f"{pages.alt()} {'; '.join(said)}."


def forest_svg() -> str:
    """The picture as text that can be searched, in the reader's light or dark colors."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "claims"}):
        figure, drawn = forest(), io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": pages.alt()})
        plt.close(figure)
    text = drawn.getvalue()
    for color, name in ((INK, "ink"), (SOFT, "soft"), (PAGE, "page"), (SHADE, "shade")):
        text = text.replace(color, f"var(--{name})")
    return text.replace("<defs>", STYLE + "\n <defs>", 1)


def write_forest() -> None:
    """Write the picture of the README and of the documentation again."""
    with files.atomic_write(pages.PICTURE) as temporary:
        temporary.write_text(forest_svg(), encoding="utf-8", newline="\n")
