"""The schematics of the course, all in one style, drawn from the real objects wherever there is one.

Each function returns a figure for :func:`gancomp_core.course.show`; the first line of its docstring, ``alt(function)``,
says in words what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Rectangle
from torch import Tensor

from gancomp_core.course.figures import OPERATOR_STYLES, PALETTE
from gancomp_core.errors import GancompError
from gancomp_core.measure import wavelet_transform
from gancomp_core.methods.feature_distillation import tap_channels
from gancomp_core.methods.once_for_all import only, shrinking_stages
from gancomp_core.methods.quantization import Range, asymmetric
from gancomp_core.nets import ArchitectureSpace, ResnetArchitecture
from gancomp_core.nets.agd import AgdLayer
from gancomp_core.nets.channel_config import kept_blocks

BLUE, ORANGE, GREEN, PINK = PALETTE[:4]
GRAY, INK = "#777777", "#222222"
PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85}
Point = tuple[float, float]

#: The way through the course: notebook, what it adds, its place on the map.
STOPS = (
    ("00", "cost, time,\nquality", (0.0, 0.0)),
    ("01", "one network\nholds many", (1.0, 0.0)),
    ("02", "pairs from\nthe teacher", (2.0, 0.75)),
    ("03", "imitate\nfeatures", (3.0, 0.75)),
    ("06", "imitate\nfine detail", (4.0, 0.75)),
    ("04", "search under\na budget", (2.5, -0.75)),
    ("05", "search by\ngradients", (3.5, -0.75)),
    ("07", "8-bit\nintegers", (5.0, 0.0)),
    ("08", "what holds?\nwith seeds", (6.0, 0.0)),
    ("09", "your own\ngenerator", (7.0, 0.0)),
)


def alt(schematic: Callable[..., Figure]) -> str:
    """The first line of a schematic's docstring, for readers who cannot see it."""
    return (schematic.__doc__ or "").strip().splitlines()[0]


def course_map(here: str = "") -> Figure:
    """The course as a map: measure, build a supernet, distill and search, round to integers, test, compress your own.

    Args:
        here: Number of a notebook, "00" to "09", to be marked "you are here"; none if empty.

    Returns:
        The figure.

    Raises:
        GancompError: For another number.
    """
    places = {number: place for number, _, place in STOPS}
    if here and here not in places:
        raise GancompError(f"There is no notebook {here!r} on the map; name one of {', '.join(sorted(places))}.")
    figure, axes = _canvas(10, 2.7, (-0.5, 7.5), (-1.5, 1.25))
    joins = ["00 01", "01 02", "02 03", "03 06", "01 04", "04 05", "06 07", "05 07", "07 08", "08 09"]
    for one, two in (join.split() for join in joins):
        _arrow(axes, _beside(places[one], 0.43), _beside(places[two], -0.43))
    for text, place in (("distill", (1.15, 0.85)), ("search", (1.6, -0.85))):
        axes.text(*place, text, ha="center", va="center", color=GRAY, fontsize=10, style="italic")
    for number, text, place in STOPS:
        there = number == here
        _box(axes, place, 0.86, 0.86, f"{number}\n{text}", BLUE if there else "white", "white" if there else INK, 9.5)
        if there:
            axes.text(place[0], place[1] - 0.55, "you are here", ha="center", va="top", fontsize=10, color=BLUE)
    return figure


def residual_block(channels: int = 256, side: int = 64) -> Figure:
    """A residual block, and the same block made separable: each 3x3 layer becomes a depthwise and a 1x1 layer.

    Args:
        channels: Channels of the block.
        side: Height and width of its features, in pixels.

    Returns:
        The figure, with the multiplications of each layer.
    """
    figure, axes = _canvas(10, 3.1, (-1.15, 6.6), (-1.3, 1.35))
    dense, depthwise, pointwise = channels**2 * 9, channels * 9, channels**2
    rows = (
        (0.7, "dense", [("3x3", dense), ("3x3", dense)]),
        (-0.7, "separable", [("3x3\ndepthwise", depthwise), ("1x1", pointwise)] * 2),
    )
    for y, name, layers in rows:
        axes.text(-1.1, y, name, va="center", fontsize=11, weight="bold")
        step = 5.2 / len(layers)
        _arrow(axes, (-0.1, y), (0.15, y))
        for i, (text, weights) in enumerate(layers):
            x, color = 0.15 + step * (i + 0.5), ORANGE if "depth" in text else BLUE
            _box(axes, (x, y), step * 0.72, 0.46, text, color, _ink(color), 10)
            axes.text(x, y - 0.31, f"{weights * side**2 / 1e6:,.0f} M MACs", ha="center", va="top", fontsize=9.5)
            _arrow(axes, (x + step * 0.36, y), (x + step * 0.64 if i + 1 < len(layers) else 5.5, y))
        _around(axes, y)
        total = sum(weights for _, weights in layers) * side**2
        axes.text(5.85, y, f"= {total / 1e6:,.0f} M", va="center", fontsize=10)
    return figure


def elastic_choices(space: ArchitectureSpace, kernels: Sequence[int] = (3, 5, 7)) -> Figure:
    """Three ways to hold small networks in a large one: centers of kernels, first blocks of thirds, leading channels.

    Args:
        space: Its widest network gives blocks and channels.
        kernels: Sizes of kernels, ascending.

    Returns:
        The figure.
    """
    widest, narrowest = space.widest, space.narrowest
    assert isinstance(widest, ResnetArchitecture)
    assert isinstance(narrowest, ResnetArchitecture)
    figure, panels = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
    size = kernels[-1]
    for kernel, color in zip(reversed(kernels), (BLUE, ORANGE, GREEN), strict=False):
        low = (size - kernel) / 2
        panels[0].add_patch(Rectangle((low, low), kernel, kernel, facecolor=color, edgecolor="white", linewidth=2))
        panels[0].text(low + 0.15, low + kernel - 0.15, f"{kernel}x{kernel}", va="top", color=_ink(color), fontsize=10)
    panels[0].set(xlim=(-0.2, size + 0.2), ylim=(-0.2, size + 0.2), aspect="equal", title="Kernel: keep the center")
    kept = set(kept_blocks(narrowest.blocks, widest.blocks))
    for block in range(widest.blocks):
        stays, x = block in kept, block + block // (widest.blocks // 3) * 0.5
        _box(panels[1], (x, 0), 0.8, 1.2, f"b{block + 1}", BLUE if stays else "white", "white" if stays else GRAY, 9.5)
    panels[1].set(xlim=(-0.7, widest.blocks + 0.7), ylim=(-1.5, 1.5), title="Depth: first blocks of each third")
    importance = 1.0 / (1 + 0.35 * np.arange(16))
    colors = [BLUE if channel < 8 else "white" for channel in range(16)]
    panels[2].bar(range(16), importance, color=colors, edgecolor=GRAY, width=0.8)
    panels[2].axvline(7.5, color=INK, linestyle="--", linewidth=1)
    panels[2].text(7.8, 0.9, "cut here for half\nthe channels", fontsize=10, va="top")
    panels[2].set(title="Width: sort, keep the leading", xlabel="channels, most important first")
    for axes in panels:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return figure


def shrinking(space: ArchitectureSpace) -> Figure:
    """Progressive shrinking as stairs: each stage trains the networks of the stage before, and smaller ones.

    Args:
        space: The space that is trained.

    Returns:
        The figure, with the number of networks of every stage.
    """
    stages = {"full": only(space.widest), **shrinking_stages(space)}
    figure, axes = _canvas(10, 2.6, (-0.1, len(stages) + 0.1), (0, len(stages) + 0.6))
    for step, part in enumerate(stages.values()):
        for level, freed in enumerate(list(stages)[: step + 1]):
            color = GRAY if level == 0 else BLUE
            axes.add_patch(Rectangle((step, level), 0.97, 0.95, facecolor=color, alpha=1 if level == step else 0.35))
            words = "full network" if level == 0 else f"{freed} varies"
            ink = INK if level < step else "white"
            axes.text(step + 0.48, level + 0.47, words, ha="center", va="center", fontsize=9.5, color=ink)
        count = f"{part.size:,} network{'s' if part.size > 1 else ''}"
        axes.text(step + 0.48, step + 1.05, count, ha="center", va="bottom", fontsize=9.5, weight="bold")
    return figure


def pairs_from_a_teacher() -> Figure:
    """CycleGAN has no pairs and needs a way there and back; a trained teacher turns each source into a pair."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
    for axes, title in ((left, "The teacher learned without pairs"), (right, "The student gets pairs")):
        _plain(axes, (-0.7, 4.7), (-1.2, 1.2))
        axes.set_title(title)
    _box(left, (0, 0), 1.1, 0.6, "source x", "white", INK)
    _box(left, (2, 0.6), 1.1, 0.6, "G", BLUE, "white")
    _box(left, (4, 0), 1.1, 0.6, "picture", "white", INK)
    _box(left, (2, -0.6), 1.1, 0.6, "B, back", ORANGE, INK)
    for start, end in (((0.4, 0.3), (1.4, 0.6)), ((2.6, 0.6), (3.6, 0.3)), ((3.6, -0.3), (2.6, -0.6))):
        _arrow(left, start, end)
    _arrow(left, (1.4, -0.6), (0.4, -0.3))
    left.text(2, 0, "B(G(x)) must be x again", ha="center", va="center", fontsize=9.5, color=INK)
    _box(right, (0, 0), 1.1, 0.6, "source x", "white", INK)
    _box(right, (2, 0.6), 1.3, 0.6, "teacher", BLUE, "white")
    _box(right, (2, -0.6), 1.3, 0.6, "student", GREEN, "white")
    _box(right, (4, 0.6), 1.2, 0.6, r"target $\tilde{y}$", "white", INK)
    _box(right, (4, -0.6), 1.2, 0.6, "picture", "white", INK)
    for start, end in (((0.4, 0.3), (1.35, 0.6)), ((0.4, -0.3), (1.35, -0.6)), ((2.65, 0.6), (3.4, 0.6))):
        _arrow(right, start, end)
    _arrow(right, (2.65, -0.6), (3.4, -0.6))
    right.annotate("", (4, -0.28), (4, 0.28), arrowprops={"arrowstyle": "<->", "color": PALETTE[4], "linewidth": 1.6})
    right.text(4.1, 0, "L1", va="center", fontsize=10, color=PALETTE[4])
    return figure


def taps_and_adaptors(teacher: ResnetArchitecture, student: ResnetArchitecture) -> Figure:
    """Teacher and student side by side: at each tap a 1x1 convolution widens the student's features for comparison.

    Args:
        teacher: The teacher, which has the taps.
        student: A student with as many stages to compare.

    Returns:
        The figure, with the channels at each tap.
    """
    count = len(teacher.taps)
    figure, axes = _canvas(10, 2.9, (-1.3, count + 0.1), (-1.5, 1.45))
    rows = ((0.95, "teacher", teacher, BLUE), (-0.95, "student", student, GREEN))
    for y, name, network, color in rows:
        axes.text(-1.25, y, name, va="center", fontsize=11, weight="bold")
        _arrow(axes, (-0.55, y), (count, y))
        for i, (tap, width) in enumerate(zip(network.taps, tap_channels(network), strict=True)):
            _box(axes, (i + 0.3, y), 0.72, 0.52, f"{tap}\n{width} ch", color, "white", 10)
    for i in range(count):
        x = i + 0.3
        _box(axes, (x, -0.15), 0.72, 0.42, "1x1 adaptor", "white", INK, 9.5)
        _arrow(axes, (x, -0.68), (x, -0.37))
        axes.annotate("", (x, 0.68), (x, 0.07), arrowprops={"arrowstyle": "<->", "color": PALETTE[4], "linewidth": 1.6})
        axes.text(x + 0.05, 0.37, "squared distance", va="center", fontsize=9.5, color=PALETTE[4])
    return figure


def two_clouds(seed: int = 0) -> Figure:
    """Two clouds of features: the Frechet distance adds the distance of their centers and the difference in spread.

    Args:
        seed: Seed of the points.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    draw = np.random.default_rng(seed)
    clouds = (
        ("real pictures", (0.0, 0.0), (1.0, 0.55), BLUE, "o"),
        ("painted pictures", (3.2, 0.7), (0.5, 0.9), ORANGE, "^"),
    )
    for name, center, spread, color, marker in clouds:
        points = draw.normal(center, spread, (120, 2))
        axes.scatter(points[:, 0], points[:, 1], s=14, color=color, marker=marker, alpha=0.5, label=name, linewidths=0)
        axes.add_patch(
            Ellipse(
                center, 4 * spread[0], 4 * spread[1], facecolor="none", edgecolor=color, linewidth=2, linestyle="--"
            )
        )
        axes.plot(*center, marker="+", color=INK, markersize=12, markeredgewidth=2)
    axes.annotate("", (3.2, 0.7), (0, 0), arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 1.5})
    axes.text(1.75, 0.16, "distance of the centers", ha="center", va="top", rotation=9, fontsize=9)
    axes.set(xlabel="one feature", ylabel="another feature", xticks=[], yticks=[], ylim=(-2.4, 3.6))
    axes.grid(False)
    axes.legend(loc="upper left")
    return figure


def super_cell(layer: AgdLayer) -> Figure:
    """A layer of AGD's supernet: every operator runs, their outputs are mixed by alpha, and gamma chooses the width.

    Args:
        layer: The layer and its choices.

    Returns:
        The figure.
    """
    count = len(layer.operators)
    high = 0.75 * count
    figure, axes = _canvas(10, 0.75 * count + 0.7, (-0.8, 8.2), (-high / 2 - 0.45, high / 2 + 0.45))
    _box(axes, (0, 0), 1.1, 0.6, "features", "white", INK)
    for i, operator in enumerate(layer.operators):
        y = high / 2 - 0.75 * (i + 0.5)
        _arrow(axes, (0.55, 0), (1.6, y))
        color, _ = OPERATOR_STYLES[operator]
        _box(axes, (2.4, y), 1.6, 0.5, operator, color, _ink(color), 11)
        _arrow(axes, (3.2, y), (4.3, 0))
        axes.text(3.75, y / 2 + 0.14 * np.sign(y), rf"$\alpha_{{{i + 1}}}$", ha="center", va="center", fontsize=11)
    _box(axes, (4.6, 0), 0.6, 0.6, "+", "white", INK, 14)
    _arrow(axes, (4.9, 0), (5.5, 0))
    most = max(layer.widths)
    for i, width in enumerate(layer.widths):
        axes.add_patch(
            Rectangle(
                (5.6 + 0.38 * i, -width / most * 0.9), 0.3, 1.8 * width / most, facecolor=BLUE, alpha=0.35 + 0.1 * i
            )
        )
        axes.text(5.75 + 0.38 * i, -width / most * 0.9 - 0.06, str(width), ha="center", va="top", fontsize=10)
    axes.text(5.55, 1.02, r"width by $\gamma$, one is drawn", fontsize=11, va="bottom")
    return figure


def wavelet_pyramid(picture: Tensor, levels: int = 2) -> Figure:
    """A picture and its wavelet transform: the low band shrinks into the corner, details stand around it by direction.

    Args:
        picture: float32 [C, H, W] in [-1, 1]; H and W divisible by 2 to the number of levels.
        levels: Levels of the transform.

    Returns:
        The figure.
    """
    gray = picture.detach().mean(0)
    pyramid = wavelet_transform(gray, "haar", levels)
    mosaic = pyramid.low / 2**levels
    for level in range(levels - 1, -1, -1):  # details three times as strong as the low band, to be seen
        horizontal, vertical, diagonal = (3 * band / 2 ** (level + 1) for band in pyramid.details[level])
        mosaic = torch.cat([torch.cat([mosaic, vertical], 1), torch.cat([horizontal, diagonal], 1)], 0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.6), layout="constrained")
    for axes, pixels, title in ((left, gray.numpy(), "picture"), (right, mosaic.numpy(), "its bands, details x3")):
        axes.imshow(pixels, vmin=-1, vmax=1, cmap="gray")
        axes.set(xticks=[], yticks=[], title=title)
        axes.grid(False)
    side = gray.shape[0]
    for level in range(1, levels + 1):
        at = side / 2**level
        right.plot([at - 0.5, at - 0.5], [-0.5, 2 * at - 0.5], color=ORANGE, linewidth=1)
        right.plot([-0.5, 2 * at - 0.5], [at - 0.5, at - 0.5], color=ORANGE, linewidth=1)
    half = side / 2
    for text, x, y in (("vertical edges", 1, 0), ("horizontal edges", 0, 1), ("diagonal", 1, 1)):
        right.text(x * half + half / 2, y * half + half * 0.93, text, ha="center", va="bottom", fontsize=9, bbox=PLATE)
    return figure


def affine_line(low: float = -0.8, high: float = 1.6, bits: int = 3) -> Figure:
    """Affine quantization: real numbers of a range go to whole numbers, zero has one of its own, the rest is clipped.

    Args:
        low: Lower end of the range.
        high: Upper end.
        bits: Bits of the whole numbers.

    Returns:
        The figure.
    """
    by = asymmetric(Range(torch.tensor(low), torch.tensor(high)), bits)
    figure, axes = _canvas(10, 2.2, (low - 0.75, high + 0.75), (-0.5, 1.5))
    axes.plot([low - 0.7, high + 0.7], [1, 1], color=INK, linewidth=1)
    axes.plot([low, high], [1, 1], color=BLUE, linewidth=5, solid_capstyle="butt")
    axes.text(low - 0.7, 1.17, "real", fontsize=10)
    axes.text(low - 0.7, -0.05, "whole", fontsize=10, va="center")
    scale, zero = float(by.scale), int(by.zero_point)
    for q in range(by.least, by.greatest + 1):
        real = scale * (q - zero)
        axes.plot([real, real], [0.1, 0.94], color=GRAY, linewidth=0.8, linestyle=":")
        axes.plot(real, 1, "|", color=INK, markersize=9)
        text = f"{real:.2f}" if q != zero else "0"
        axes.text(real, 1.17, text, ha="center", fontsize=10)
        color = ORANGE if q == zero else BLUE
        _box(axes, (real, -0.05), scale * 0.7, 0.3, str(q), color, _ink(color), 10)
    for x, sign in ((low - 0.45, 1), (high + 0.45, -1)):
        axes.annotate(
            "clipped",
            (x + sign * 0.4, 0.6),
            (x - sign * 0.1, 0.6),
            va="center",
            ha="center",
            fontsize=10,
            arrowprops={"arrowstyle": "->"},
        )
    return figure


# --- what they are drawn with ----------------------------------------------------------------------------------------


def _canvas(width: float, height: float, across: Point, up: Point) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    _plain(axes, across, up)
    return figure, axes


def _plain(axes: Axes, across: Point, up: Point) -> None:
    axes.set(xlim=across, ylim=up, xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _box(
    axes: Axes, middle: Point, wide: float, high: float, text: str, color: str, ink: str, size: float = 10
) -> None:
    corner = (middle[0] - wide / 2, middle[1] - high / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            wide,
            high,
            "round,pad=0,rounding_size=0.06",
            facecolor=color,
            zorder=3,
            edgecolor=GRAY if color == "white" else color,
        )  # fmt: skip
    )
    axes.text(*middle, text, ha="center", va="center", color=ink, fontsize=size, zorder=4)


def _ink(color: str) -> str:
    """The color of words on a box: dark on the light ones of the palette."""
    return INK if color in (ORANGE, PINK) else "white"


def _arrow(axes: Axes, start: Point, end: Point) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GRAY, "linewidth": 1.3, "shrinkA": 0})


def _beside(place: Point, by: float) -> Point:
    return place[0] + by, place[1]


def _around(axes: Axes, y: float) -> None:
    """The shortcut of a residual block."""
    axes.plot([0, 0, 5.6, 5.6], [y, y + 0.42, y + 0.42, y + 0.12], color=GRAY, linewidth=1.3)
    axes.text(
        5.6, y, "+", ha="center", va="center", fontsize=14, bbox={"boxstyle": "circle", "fc": "white", "ec": GRAY}
    )
