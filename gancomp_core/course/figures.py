"""One style for every figure of the course: safe for color-blind readers, and nothing is shown by color alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor

from gancomp_core.errors import GancompError
from gancomp_core.nets import Channels, ResnetArchitecture
from gancomp_core.nets.agd import CELL_OPERATORS, operator_layers
from gancomp_core.nets.channel_config import kept_blocks

# Okabe and Ito's palette, told apart with every common kind of color blindness; without its yellow, too pale.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")


def use_style() -> None:
    """Set matplotlib to the course's style for the rest of the session."""
    mpl.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.dpi": 100,
            "figure.figsize": (7.0, 4.0),
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=PALETTE),
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.8,
            "hatch.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 2.0,
            "image.cmap": "gray",
        }
    )


def picture_grid(
    rows: Mapping[str, Tensor | np.ndarray], titles: Sequence[str] | None = None, *, scale: float = 1.0, title: str = ""
) -> Figure:
    """Rows of pictures with labels.

    Args:
        rows: By label: float tensor or array, NCHW in [-1, 1], 1 or 3 channels. All pictures have the same height and
            width; rows may differ in length.
        titles: A title for each column.
        scale: Enlargement; at 1 a picture is about 1 inch high.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        GancompError: For no rows, pictures of different sizes, and another number of titles.
    """
    strips = {label: _as_nhwc(label, pictures) for label, pictures in rows.items()}
    if not strips:
        raise GancompError("picture_grid() got no rows; give it at least one, e.g. {'real': batch.target[:8]}.")
    sizes = {strip.shape[1:3] for strip in strips.values()}
    if len(sizes) > 1:
        raise GancompError(f"picture_grid() needs pictures of one size, and got {sorted(sizes)}; resize them first.")
    (high, wide), columns = sizes.pop(), max(len(strip) for strip in strips.values())
    if titles is not None and len(titles) != columns:
        raise GancompError(f"picture_grid() got {len(titles)} titles for {columns} columns; give one for each column.")
    gap = max(round(high * 0.06), 1)
    canvas = np.ones((len(strips) * (high + gap) - gap, columns * (wide + gap) - gap, 3), np.float32)
    for row, strip in enumerate(strips.values()):
        for column, picture in enumerate(strip):
            top, left = row * (high + gap), column * (wide + gap)
            canvas[top : top + high, left : left + wide] = picture
    labels = 0.11 * max(len(line) for label in strips for line in label.split("\n")) + 0.2
    above = (0.3 if titles else 0.0) + (0.35 if title else 0.0) + 0.05
    inch = scale / high
    figure, axes = plt.subplots(
        figsize=(canvas.shape[1] * inch * 1.0 + labels, canvas.shape[0] * inch + above), layout="constrained"
    )
    axes.imshow(canvas, interpolation="nearest")
    middles = np.arange(len(strips)) * (high + gap) + high / 2 - 0.5
    axes.set_yticks(middles, list(strips))
    across = np.arange(columns) * (wide + gap) + wide / 2 - 0.5
    axes.set_xticks(across if titles else [], list(titles) if titles else [])
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title)
    return figure


def labeled_rows(picture: Image.Image, labels: Sequence[str]) -> Figure:
    """A picture of equally high rows, such as ``zoo.grid(name)``, with the label of each row on its left."""
    high = picture.height / len(labels)
    beside = 0.11 * max(map(len, labels)) + 0.3
    figure, axes = plt.subplots(figsize=(picture.width / 100 + beside, picture.height / 100), layout="constrained")
    axes.imshow(picture, interpolation="nearest")
    axes.set_yticks([high * (row + 0.5) for row in range(len(labels))], labels)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


def bar_by_layer(
    names: Sequence[str],
    values: Sequence[float],
    *,
    unit: str,
    groups: Sequence[str] | None = None,
    title: str = "",
    shares: bool = True,
    legend: bool = True,
) -> Figure:
    """Horizontal bars with their values, one per layer, from the top down.

    Args:
        names: The layers.
        values: Their values.
        unit: Unit of the values.
        groups: A group for each layer, shown by color *and* hatch.
        title: Title of the figure.
        shares: Whether to add each bar's percentage of the sum.
        legend: Whether to name the groups below the figure.

    Returns:
        The figure.
    """
    if len(names) != len(values) or not len(names) or (groups is not None and len(groups) != len(names)):
        raise GancompError("bar_by_layer() needs as many values (and groups) as names, and at least one.")
    kinds = list(dict.fromkeys(groups)) if groups is not None else [""]
    styles = {kind: (PALETTE[i % len(PALETTE)], HATCHES[i % len(HATCHES)]) for i, kind in enumerate(kinds)}
    figure, axes = plt.subplots(figsize=(7.5, 0.27 * len(names) + 1.0), layout="constrained")
    total, places = float(sum(values)) or 1.0, np.arange(len(names))
    for place, value in zip(places, values, strict=True):
        color, hatch = styles[groups[int(place)] if groups is not None else ""]
        axes.barh(place, value, color=color, hatch=hatch, edgecolor="white", height=0.78)
        axes.annotate(
            f"{value:,.3g} ({value / total:.0%})" if shares else f"{value:,.4g}",
            (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_yticks(places, list(names), fontsize=10)
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.16)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.set_title(title)
    if groups is not None and legend:
        handles = [Patch(facecolor=c, hatch=h, edgecolor="white", label=kind) for kind, (c, h) in styles.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), handlelength=2.2)
    return figure


def generator_diagram(architecture: ResnetArchitecture, size: int) -> Figure:
    """A ResNet generator as a row of boxes: height is the picture's side, width its channels (both on root scales).

    Args:
        architecture: The generator.
        size: Height and width of the input in pixels.

    Returns:
        The figure.
    """
    stem, down1, down2, up1, up2 = architecture.channels.ends
    plan = [("input", size, architecture.in_channels), ("stem", size, stem), ("down", size // 2, down1)]
    plan += [("down", size // 4, down2)] + [("", size // 4, down2)] * architecture.blocks
    plan += [("up", size // 2, up1), ("up", size, up2), ("tail", size, architecture.out_channels)]
    figure, axes = plt.subplots(figsize=(9.5, 3.0), layout="constrained")
    left, middle = 0.0, architecture.blocks // 2
    for index, (name, side, channels) in enumerate(plan):
        high, wide = math.sqrt(side), max(0.12 * math.sqrt(channels), 0.3)
        block = 4 <= index < 4 + architecture.blocks
        axes.add_patch(
            Rectangle((left, -high / 2), wide, high, facecolor=PALETTE[2 if block else 0], edgecolor="white")
        )
        if not block or index == 4 + middle:
            label = f"{architecture.blocks} residual blocks" if block else name
            axes.text(left + wide / 2, high / 2 + 0.5, label, ha="center", va="bottom", fontsize=10)
            below = f"{side} px\n{channels} ch"
            axes.text(left + wide / 2, -high / 2 - 0.5, below, ha="center", va="top", fontsize=9)
        left += wide + (0.25 if block and index < 3 + architecture.blocks else 1.6)
    reach = math.sqrt(size) / 2
    axes.set(xlim=(-0.8, left), ylim=(-reach - 5, reach + 3))
    axes.axis("off")
    return figure


def scatter_tradeoff(
    x: Sequence[float],
    y: Sequence[float],
    labels: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    groups: Sequence[str] | None = None,
) -> Figure:
    """Named points, such as quality against cost; labels do not overlap, groups differ by color *and* marker.

    Args:
        x: Values across.
        y: Values up.
        labels: A label for each point.
        xlabel: Name and unit of x.
        ylabel: Name and unit of y.
        groups: A group for each point.

    Returns:
        The figure.
    """
    if not len(x) == len(y) == len(labels) or not len(x):
        raise GancompError(
            f"scatter_tradeoff() got {len(x)} x, {len(y)} y and {len(labels)} labels; give as many of each."
        )
    figure, axes = plt.subplots(layout="constrained")
    kinds = list(dict.fromkeys(groups)) if groups is not None else [""]
    for index, kind in enumerate(kinds):
        mine = [i for i in range(len(x)) if groups is None or groups[i] == kind]
        axes.plot(
            [x[i] for i in mine], [y[i] for i in mine], MARKERS[index % len(MARKERS)], markersize=8,
            color=PALETTE[index % len(PALETTE)], label=kind or None,
        )  # fmt: skip
    axes.margins(0.14)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if groups is not None:
        figure.legend(loc="outside lower center", ncols=min(len(kinds), 4))
    _label_points(figure, axes, x, y, labels)
    return figure


# where a label may stand, best place first: offset in points and the alignment that belongs to it
_PLACES = (
    (8, 5, "left", "bottom"), (8, -5, "left", "top"), (-8, 5, "right", "bottom"), (-8, -5, "right", "top"),
    (0, 10, "center", "bottom"), (0, -10, "center", "top"), (14, 18, "left", "bottom"), (14, -18, "left", "top"),
    (-14, 18, "right", "bottom"), (-14, -18, "right", "top"), (0, 30, "center", "bottom"), (0, -30, "center", "top"),
)  # fmt: skip


def _label_points(figure: Figure, axes: Axes, x: Sequence[float], y: Sequence[float], labels: Sequence[str]) -> None:
    """Each label takes the first place where it covers no point, no other label and no edge; else the least bad one."""
    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    spots = axes.transData.transform(np.column_stack([x, y]))
    taken = [Bbox.from_bounds(left - 6, low - 6, 12, 12) for left, low in spots]
    for name, *spot in zip(labels, x, y, strict=True):
        note = axes.annotate(name, (spot[0], spot[1]), xytext=(0, 0), textcoords="offset points", fontsize=9.5)
        taken.append(_place(note, taken, inside))


def _place(note: Annotation, taken: Sequence[Bbox], inside: Bbox) -> Bbox:
    def at(place: tuple[float, float, str, str]) -> Bbox:
        note.set_position(place[:2])
        note.set(ha=place[2], va=place[3])
        return note.get_window_extent()

    def clash(place: tuple[float, float, str, str]) -> float:
        box = at(place)
        return sum(_overlap(box, other) for other in taken) + 4 * (_overlap(box, box) - _overlap(box, inside))

    return at(min(_PLACES, key=clash))


def _overlap(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else float(shared.width * shared.height)


def _as_nhwc(label: str, pictures: Tensor | np.ndarray) -> np.ndarray:
    """NCHW in [-1, 1] to NHWC RGB in [0, 1]."""
    if isinstance(pictures, Tensor):
        pictures = pictures.detach().cpu().float().numpy()
    array = np.asarray(pictures, dtype=np.float32)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not len(array):
        raise GancompError(
            f"The row {label!r} has shape {tuple(array.shape)}; "
            "picture_grid() wants (pictures, 1 or 3 channels, height, width)."
        )
    array = np.clip(array.transpose(0, 2, 3, 1) * 0.5 + 0.5, 0.0, 1.0)
    return np.repeat(array, 3, axis=3) if array.shape[3] == 1 else array


def channel_bars(architecture: ResnetArchitecture, widest: ResnetArchitecture, axes: Axes | None = None) -> Figure:
    """The channels of a sub-network, layer by layer, inside those of the widest network of its space.

    Filled is what runs, outlined what was cut away; a block that is skipped is only outlined, a separable one hatched.

    Args:
        architecture: The sub-network.
        widest: The widest network of the space.
        axes: Where to draw; None makes a figure.

    Returns:
        The figure.
    """
    if axes is None:
        _, axes = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    most, kept = _layer_channels(widest), _layer_channels(architecture)
    inner = [kept.pop(name) for name in list(kept) if name.startswith("b")]
    names = [f"b{block + 1}" for block in kept_blocks(architecture.blocks, widest.blocks)]
    kept |= dict(zip(names, inner, strict=True))
    separable = {name for block, name in enumerate(names) if architecture.in_third(block)[0]}
    places, used = np.arange(len(most)), [kept.get(name, 0) for name in most]
    kinds = [2 * name.startswith("b") for name in most]
    axes.bar(places, list(most.values()), width=0.82, facecolor="white", edgecolor="#777777", linewidth=1)
    bars = axes.bar(places, used, width=0.82, color=[PALETTE[kind] for kind in kinds])
    for bar, name in zip(bars, most, strict=True):
        bar.set(hatch="///" if name in separable else "", edgecolor="white", linewidth=0)
    for place, channels in zip(places, used, strict=True):
        axes.annotate(
            str(channels) if channels else "skipped", (place, channels), xytext=(0, 2), textcoords="offset points",
            ha="center", va="bottom", fontsize=9, rotation=0 if channels else 90,
        )  # fmt: skip
    axes.set_xticks(places, list(most), fontsize=9)
    axes.grid(axis="x", visible=False)
    axes.set_xlim(-0.6, len(most) - 0.4)
    axes.set_ylim(0, 1.15 * max(most.values()))
    axes.set_ylabel("channels")
    assert isinstance(axes.figure, Figure)
    return axes.figure


def _layer_channels(architecture: ResnetArchitecture) -> dict[str, int]:
    """Channels by layer, in order; a block ("b1" ...) by its inner ones."""
    stem, down1, down2, up1, up2 = architecture.channels.ends
    inner = architecture.channels.inner_widths(architecture.blocks)
    blocks = {f"b{block + 1}": width for block, width in enumerate(inner)}
    return {"stem": stem, "down1": down1, "down2": down2, **blocks, "up1": up1, "up2": up2}


#: Color and hatch of each operator that a search chooses among, in every figure; layers without a choice are blue.
OPERATOR_STYLES = {name: (PALETTE[i], HATCHES[i]) for i, name in enumerate(CELL_OPERATORS, start=1)}


def operator_diagram(c_in: int, c_out: int) -> Figure:
    """The operators of an AGD cell as rows of boxes: each box is a convolution, as high as its output channels."""
    figure, panels = plt.subplots(1, len(CELL_OPERATORS), figsize=(9.5, 2.6), sharey=True, layout="constrained")
    for axes, name in zip(panels, CELL_OPERATORS, strict=True):
        layers, (color, hatch) = operator_layers(name, Channels("", c_in), Channels("", c_out)), OPERATOR_STYLES[name]
        steps = [layer for layer in layers if layer.multiplies]
        heights = [math.sqrt(channels) for channels in (c_in, *(step.writes.width for step in steps))]
        axes.bar(0, heights[0], width=0.3, color="#BBBBBB")
        axes.text(0, heights[0] + 0.3, str(c_in), ha="center", fontsize=10)
        for place, (step, high) in enumerate(zip(steps, heights[1:], strict=True), start=1):
            axes.bar(place, high, width=0.62, color=color, hatch=hatch, edgecolor="white")
            axes.text(place, high + 0.3, str(step.writes.width), ha="center", fontsize=10)
            size = f"{step.kernel}x{step.kernel}"
            below = f"{size}\ndepthwise" if step.depthwise else size
            axes.text(place, -0.5, below, ha="center", va="top", fontsize=9.5)
        if len(steps) > 1:  # the way around
            top, end = max(heights) + 3.2, len(steps) + 0.55
            axes.plot([0.25, 0.25, end, end], [heights[0], top, top, 0], color="black", linewidth=1.2)
            axes.text(end / 2 + 0.1, top + 0.4, "plus the input", ha="center", fontsize=9.5)
        axes.set(xlim=(-0.4, 4), ylim=(-4.5, 2 * math.sqrt(c_in) + 6))
        axes.set_title(name, fontsize=11)
        axes.axis("off")
    return figure


def layer_bars(description: pd.DataFrame, most: Sequence[int] = (), axes: Axes | None = None) -> Figure:
    """The layers of an AGD network: a bar for each, as high as it is wide, named and hatched by its operator.

    Names and widths stand above the outlines, so that no line crosses a word.

    Args:
        description: Columns layer, operator and width, as :func:`gancomp_core.methods.agd.describe` gives them; layers
            without a choice have no name.
        most: The largest width of each layer, to be outlined.
        axes: Where to draw; None makes a figure.

    Returns:
        The figure.
    """
    if axes is None:
        _, axes = plt.subplots(figsize=(max(7.5, 0.32 * len(description)), 3.0), layout="constrained")
    names, operators, widths = (description[column].tolist() for column in ("layer", "operator", "width"))
    axes.bar(range(len(most)), most, width=0.82, facecolor="white", edgecolor="#777777", linewidth=1)
    for place, (name, operator, width) in enumerate(zip(names, operators, widths, strict=True)):
        chosen = operator in OPERATOR_STYLES and name.startswith("cell")
        color, hatch = OPERATOR_STYLES[operator] if chosen else (PALETTE[0], "")
        top = max(width, most[place]) if place < len(most) else width
        axes.bar(place, width, width=0.82, color=color, hatch=hatch, edgecolor="white", linewidth=0)
        axes.annotate(
            f"{width} {operator}" if chosen else str(width), (place, top), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", fontsize=10, rotation=90 if chosen else 0,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names, fontsize=9, rotation=90 if len(names) > 14 else 0)
    axes.grid(axis="x", visible=False)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0, 1.9 * max([*widths, *most]))
    axes.set_ylabel("channels")
    assert isinstance(axes.figure, Figure)
    return axes.figure
