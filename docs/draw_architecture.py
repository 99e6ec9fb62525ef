"""Draw docs/architecture.svg: `python docs/draw_architecture.py`.

One file for light and dark pages: it has a background of its own and follows the reader's color scheme.
"""

from __future__ import annotations

import itertools
from html import escape
from pathlib import Path

WIDTH, LEFT, RIGHT, ROW, GAP, HEAD = 980, 150, 650, 52, 10, 58

# (part, name, what it holds), from the top down; a part is drawn as a band behind its rows
LAYERS = [
    ("Command", "cli.py", "one command and its sub-commands"),
    ("Course", "course/", "exercises, predictions, widgets, figures, notebook runner"),
    ("Laboratory", "lab/", "experiments, kinds, results, benchmark, claims"),
    ("Library", "verbs.py", "load, train, search, fine-tune, export, compare"),
    ("Library", "methods/", "distillation, supernets, search, AGD, wavelets, integers"),
    ("Library", "zoo/  |  importers/", "shipped weights  |  other people's checkpoints"),
    ("Library", "train/", "one loop, objectives, callbacks, checkpoints"),
    ("Library", "measure/", "cost, latency, quality, statistics, ONNX"),
    ("Library", "nets/  |  data/", "architectures, layers, spaces  |  tasks, batches"),
    ("Library", "executors, files, errors", "workers, paths, atomic writes, one-sentence errors"),
]

# (what is on disk, its contents, the layer beside which it stands, "r" read, "w" written, "rw" both)
DISK = [
    ("notebooks/", "00 to 09, solutions", "course/", "rw"),
    ("data/results/", "every recorded run", "lab/", "rw"),
    ("data/zoo/", "weights and cards", "zoo/  |  importers/", "r"),
    (".cache/", "checkpoints, features", "train/", "rw"),
    ("data/<task>/", "shipped pictures", "nets/  |  data/", "r"),
]

STYLE = """
  svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #8c959f; --box: #f6f8fa;
        --command: #f1e5fb; --course: #ddf4e4; --laboratory: #fff0d6; --library: #dbeafe; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #16191d; --ink: #e6edf3; --soft: #a5b0bc; --line: #7d8590; --box: #21262d;
          --command: #35264a; --course: #173a28; --laboratory: #443413; --library: #16304f; }
  }
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink); font-size: 15px; }
  .name { font-weight: 600; } .small { fill: var(--soft); font-size: 13px; } .part { font-weight: 600; font-size: 14px; }
  .line { stroke: var(--line); stroke-width: 1.5; fill: none; } .box { fill: var(--box); stroke: var(--line); }
"""  # noqa: E501


def drawing() -> str:
    """The whole picture as SVG."""
    height = HEAD + len(LAYERS) * (ROW + GAP) + 26
    tops = {name: HEAD + number * (ROW + GAP) for number, (_, name, _) in enumerate(LAYERS)}
    title = "The layers of gancomp, from the command line down to files and errors, and the folders that they read"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title><style>{STYLE}</style>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" style="fill: var(--line)"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" rx="12" style="fill: var(--page)"/>',
        f'<text class="small" x="{LEFT}" y="32">Imports point downward only</text>',
        f'<text class="small" x="{RIGHT + 90}" y="32">On disk</text>',
    ]
    for part, rows in itertools.groupby(LAYERS, key=lambda layer: layer[0]):
        names = [name for _, name, _ in rows]
        top, tall = tops[names[0]] - GAP / 2, len(names) * (ROW + GAP)
        parts += [
            f'<rect x="16" y="{top}" width="{RIGHT}" height="{tall - 2}" rx="8" style="fill: var(--{part.lower()})"/>',
            f'<text class="part" x="28" y="{top + tall / 2 + 5}">{part}</text>',
        ]
    for _, name, holds in LAYERS:
        y = tops[name]
        parts += [
            f'<rect class="box" x="{LEFT}" y="{y}" width="{RIGHT - LEFT + 4}" height="{ROW - 2}" rx="6"/>',
            f'<text class="name" x="{LEFT + 14}" y="{y + 21}">{escape(name)}</text>',
            f'<text class="small" x="{LEFT + 14}" y="{y + 40}">{escape(holds)}</text>',
        ]
    for name, holds, beside, way in DISK:
        y = tops[beside]
        ends = ('marker-start="url(#tip)" ' if "r" in way else "") + ('marker-end="url(#tip)"' if "w" in way else "")
        parts += [
            f'<path class="line" d="M{RIGHT + 8} {y + 25} H{RIGHT + 86}" {ends}/>',
            f'<rect class="box" x="{RIGHT + 90}" y="{y}" width="222" height="{ROW - 2}" rx="22"/>',
            f'<text class="name" x="{RIGHT + 108}" y="{y + 21}">{escape(name)}</text>',
            f'<text class="small" x="{RIGHT + 108}" y="{y + 40}">{escape(holds)}</text>',
        ]
    arrow = f'<path class="line" d="M{LEFT - 16} {HEAD} V{height - 34}" marker-end="url(#tip)"/>'
    return "\n".join([*parts, arrow, "</svg>", ""])


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(drawing(), encoding="utf-8")
