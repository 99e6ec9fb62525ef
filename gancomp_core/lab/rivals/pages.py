"""The rivals for readers: docs/rivals.md with its picture, and the README's lines; all from recorded rows."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from gancomp_core import files
from gancomp_core.lab import results
from gancomp_core.lab.benchmark.rows import TEACHER
from gancomp_core.lab.rivals.rows import OURS
from gancomp_core.lab.rivals.tables import Against, against, table

BEGINS, ENDS = "<!-- rivals: written by python -m gancomp_core.lab.rivals write -->", "<!-- end of rivals -->"
DOCS = files.REPOSITORY / "docs"
#: What a picture draws of each network: its color (of Okabe and Ito's), marker and name.
LOOKS = {"ours": ("#D55E00", "*"), "teacher": ("#0072B2", "o"), "rival": ("#009E73", "s")}
PAGE = """# Training-free baselines and other rivals

Written by `python -m gancomp_core.lab.rivals write` from the recorded results.

A compressed network is worth its training only if it beats what a practitioner gets without training. So each teacher
is measured in every *free form*, which a tool makes of it in seconds, and beside networks that are pruned by the usual
tools or trained from scratch. Scores are those of the benchmark, on the same test pictures. All networks are timed in
turns, in fifteen rounds of changing order, on one thread; *ms* is the median over the rounds. The benchmark was timed
separately, so its speed-ups differ.

## Ours against the float teacher and against its best free form

{said}

*Best free form*: the fastest form of the teacher that needs no training and whose distance is no larger than ours. The
time of ours is that of its int8 file in the faster of the two runtimes.

{pictures}

{tables}

## What the rows are

Rows that the tables lack have not been trained or timed yet.

- **onnxruntime, as advised** pre-processes the graph and gives each channel its scale; *int8 by onnxruntime* takes
  every default of `quantize_static`. NNCF takes its defaults as well. All calibrate with 300 training pictures.
- **default precision, OpenVINO** is bfloat16 where the processor has it. A file in 8 bits runs unchanged in OpenVINO;
  its scores are those in onnxruntime.
- **half resolution**: the teacher gets the means of squares of 2 x 2 pixels, and its picture is enlarged bilinearly.
- **pruned ..., fine-tuned**: the teacher's channels, removed evenly by their L1 norm or by Torch-Pruning's DepGraph,
  all blocks kept (9 % more MACs than ours), then trained for exactly as many steps as ours was fine-tuned, by the same
  objective but for the teacher's pictures, against the teacher's discriminator. Its steps are equal, its minutes are
  fewer: ours also comes from a supernet, which is trained once for all budgets.
- **from scratch, for as long**: our architecture from random weights by its teacher's recipe. Its steps are what fits
  into our minutes of fine-tuning and our share of the supernet's (a fifth for shoes, a third for emoji), by the
  recorded pace of such trainings on one class of machine.
- `python -m gancomp_core.lab.rivals do` trains what is missing, and continues after an interruption.

## To measure it yourself

    .venv/bin/pip install -e '.[rivals]'           # in the clone
    python -m gancomp_core.lab.rivals do       # scores of free forms, trainings: resumes
    python -m gancomp_core.lab.rivals time     # some minutes, with nothing else to do
    python -m gancomp_core.lab.rivals write    # this page, its pictures, the README's lines

In Python, `latency(network, shape, runtime="openvino")` times a module or a file in any of the runtimes, and
`Budget(latency_ms=0.3, runtime="openvino")` limits a search by it.
"""


def said() -> list[str]:
    """A line for each task that is timed: our network against both, and where a free form wins."""
    lines = []
    for task in OURS:
        if len(results.rows("rival latency", task)):
            found = against(task)
            lines.append(f"- {found}{_loss(found)}")
    return lines


def _loss(found: Against) -> str:
    return ". **The free form wins**" if found.than_free[1] <= 1 else ""


def page() -> str:
    """The page of the documentation."""
    shown = [task for task in OURS if len(results.rows("rival latency", task))]
    pictures = [f"![{alt(task)}](rivals_{task}.svg)" for task in shown]
    tables = [f"## {task}\n\n{_markdown(table(task))}" for task in OURS]
    waits = "*The times are still to be measured on a quiet machine.*"
    return PAGE.format(said="\n".join(said()) or waits, pictures="\n\n".join(pictures), tables="\n\n".join(tables))


def _markdown(whole: pd.DataFrame) -> str:
    digits = {
        "fd": "{:.1f}",
        "kid": "{:.3f}",
        "psnr": "{:.2f}",
        "ms": "{:.2f}",
        "macs": "{:.3g} M",
        "bytes": "{:,.0f} k",
    }
    shown = whole.assign(macs=whole.macs / 1e6, bytes=whole["bytes"] / 1e3)
    names = [name for name in ("seeds", "steps", "macs", "bytes", "fd", "kid", "psnr", "ms") if name in shown]
    lines = [["network", "form", *names], ["---"] * (2 + len(names))]
    for (label, form), values in shown[names].iterrows():
        cells = ["" if pd.isna(values[n]) else digits.get(n, "{:.0f}").format(values[n]) for n in names]
        lines.append([label, form, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def alt(task: str) -> str:
    """The text alternative of a task's picture; the table has every number of it."""
    return f"{task}: distance to real pictures against milliseconds, free forms, our network, rivals"


def picture(task: str) -> Figure:
    """The distance of every rival against its milliseconds; what lies below and to the left is better."""
    whole = table(task)
    name = "fd" if "fd" in whole else "kid"
    whole = whole[whole.ms.notna() & whole[name].notna()]
    figure = Figure(figsize=(9, 6.6), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for number, ((label, form), values) in enumerate(whole.iterrows(), start=1):
        kind = "teacher" if label == TEACHER else "ours" if label == OURS[task] else "rival"
        color, marker = LOOKS[kind]
        spread = [[values.ms - values.low], [values.high - values.ms]]
        what = form if kind == "teacher" else f"{label}: {form}"
        axes.errorbar(
            values.ms, values[name], xerr=spread, fmt=marker, color=color, markersize=11 if kind == "ours" else 7,
            label=f"{number}  {what}",
        )  # fmt: skip
        _number(axes, number, values.ms, values[name])
    axes.set(xscale="log", yscale="log", xlabel="milliseconds for a picture, one thread (quartiles over the rounds)")
    axes.set_ylabel(f"{name.upper()} to real pictures (lower is better)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _number(axes: Axes, number: int, x: float, y: float) -> None:
    axes.annotate(str(number), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8)


def write() -> None:
    """Write the page, the pictures of the tasks that are timed, and the README's lines again."""
    for task in OURS:
        if len(results.rows("rival latency", task)):
            with mpl.rc_context({"svg.hashsalt": task}), files.atomic_write(DOCS / f"rivals_{task}.svg") as temporary:
                picture(task).savefig(temporary, format="svg", metadata={"Date": None, "Title": alt(task)})
    with files.atomic_write(DOCS / "rivals.md") as temporary:
        temporary.write_text(page(), encoding="utf-8", newline="\n")
    if lines := said():
        words = "The same networks against training-free forms of their teachers ([all rivals](docs/rivals.md)):"
        text = "\n".join(["", words, "", *lines, "", ""])
        files.write_between(files.REPOSITORY / "README.md", BEGINS, ENDS, text)
