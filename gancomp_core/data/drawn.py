"""Edges as a person would draw them: fewer lines, bent, in short straight strokes, with gaps, by another pen.

Edges of photographs follow every pixel of an outline and mark every fold. A drawing does neither, so a network that
learned from edges alone paints drawings badly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from gancomp_core.data.pictures import PictureSet
from gancomp_core.data.shipped import fingerprint
from gancomp_core.data.tasks import Task
from gancomp_core.tensor_cache import cached

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]  # (x, y) of each

VERSION = 1  # of what as_drawn does to edges; another one draws all sources again
BEND = 0.9  # pixels of a 32 px picture by which parts of a drawing are out of place, at most on average
SHAKE = 0.4  # likewise of each corner of a stroke
GAPS = 0.15  # the largest share of strokes left out
EMPTIED, OUTLINED = 0.4, 0.25  # how often areas are drawn as their outline, and a drawing is its outline alone
AROUND = [(-1, 0), (0, 1), (1, 0), (0, -1), (-1, 1), (1, 1), (1, -1), (-1, -1)]  # neighbors, nearest first
CLOCKWISE = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def drawn_task(task: Task, variants: int) -> Task:
    """A task whose sources are drawings: training sources as they are and drawn in other ways, the others drawn once.

    Args:
        task: A paired task with sources of one channel, dark lines on white.
        variants: How many times each training picture appears, at least 1; the first time with its own source.

    Returns:
        The task; its targets are those of ``task``.
    """
    mark = fingerprint("drawn", VERSION, task.fingerprint, variants)

    def drawn(split: str, seed: int) -> Tensor:
        sources = getattr(task, split).sources
        key = ("drawn", str(VERSION), task.fingerprint, split, str(seed))
        return cached("drawn", key, lambda: torch.stack([as_drawn(each, (seed, i)) for i, each in enumerate(sources)]))

    train = task.train
    sources = torch.cat([train.sources[:], *(drawn("train", seed) for seed in range(1, variants))])
    targets = train.targets[:].repeat(variants, 1, 1, 1)
    search, test = (PictureSet(drawn(split, 0), getattr(task, split).targets) for split in ("search", "test"))
    made = PictureSet(sources, targets)
    return replace(task, name=f"{task.name}_drawn", train=made, search=search, test=test, fingerprint=mark)


def as_drawn(edges: Tensor, seed: int | tuple[int, ...]) -> Tensor:
    """The edges of one picture as someone would draw them.

    Lines become chains of short straight strokes whose corners are out of place, some strokes are missing, areas may be
    outlined instead of filled, all that is not the outline may be missing, and the pen may be thin or thick.

    Args:
        edges: uint8 [1, H, W], dark lines and areas on white.
        seed: Of everything random: the same seed draws the same.

    Returns:
        uint8 [1, H, W], 0 where something is drawn and 255 elsewhere.
    """
    rng, ink = np.random.default_rng(seed), edges[0].numpy() < 128
    unit, skill = len(ink) / 32, rng.uniform(0.25, 1.0)
    areas = _areas(ink, unit)
    lines = ink & ~areas
    if rng.random() < EMPTIED:
        lines, areas = ink & ~ndimage.binary_erosion(areas, iterations=2), np.zeros_like(areas)
    found = strokes(thinned(lines))
    if rng.random() < OUTLINED:
        found = _outer(found, ink)
    bend = _bend(ink.shape, skill * BEND * unit, rng)
    pen = max(1, round(unit * rng.uniform(0.6, 1.75)))
    picture = Image.fromarray(np.where(_moved(areas, bend), 0, 255).astype(np.uint8))
    draw, gaps = ImageDraw.Draw(picture), skill * rng.uniform(0, GAPS)
    for stroke in found:
        if len(stroke) < 4 * unit and rng.random() < 0.5:
            continue
        corners = _corners(stroke, rng, unit)
        columns, rows = corners.astype(int).T
        corners = corners + bend[:, rows, columns].T + rng.normal(0, skill * SHAKE * unit / 2, corners.shape)
        for start, end in zip(corners, corners[1:], strict=False):
            if rng.random() >= gaps:
                draw.line([*start.round(), *end.round()], fill=0, width=pen)
    return torch.from_numpy(np.array(picture))[None]


def thinned(ink: Mask) -> Mask:
    """Lines of one pixel in the middle of thicker ones (Zhang and Suen, Communications of the ACM 27(3), 1984)."""
    ink, before = np.pad(ink, 1), -1
    while before != ink.sum():
        before = ink.sum()
        for first in (True, False):
            around = np.stack([np.roll(ink, (-y, -x), (0, 1)) for y, x in CLOCKWISE])
            north, east, south, west = around[::2]
            count, starts = around.sum(0), (~around & np.roll(around, -1, 0)).sum(0)
            kept = (north & east & south) | (east & south & west)
            if not first:
                kept = (north & east & west) | (north & south & west)
            ink = ink & ~((count >= 2) & (count <= 6) & (starts == 1) & ~kept)
    thin: Mask = ink[1:-1, 1:-1]
    return thin


def strokes(lines: Mask) -> list[Points]:
    """Lines of one pixel as paths from pixel to pixel, each as long as it goes; together they visit every pixel.

    Args:
        lines: [H, W].

    Returns:
        Paths of float64 [n, 2], (x, y) of each pixel; those that meet others end on a pixel of the other.
    """
    places = [(int(y), int(x)) for y, x in np.argwhere(lines)]
    everything, left, found = set(places), set(places), []

    def near(place: tuple[int, int], among: set[tuple[int, int]]) -> list[tuple[int, int]]:
        return [there for y, x in AROUND if (there := (place[0] + y, place[1] + x)) in among]

    for start in sorted(places, key=lambda place: len(near(place, everything)) > 1):  # from ends, then from loops
        if start not in left:
            continue
        left.remove(start)
        path = [*near(start, everything - left - {start})[:1], start]
        while ahead := near(path[-1], left):
            left.remove(ahead[0])
            path.append(ahead[0])
        path += [there for there in near(path[-1], everything) if there not in path[-3:]][:1]
        found.append(np.array([(x, y) for y, x in path], dtype=np.float64))
    return found


def _areas(ink: Mask, unit: float) -> Mask:
    """What is wider than lines and the crossings of lines."""
    wide, _ = ndimage.label(ndimage.binary_opening(ink, iterations=round(1.5 * unit)))
    large: Mask = (np.bincount(wide.ravel()) > 15 * unit**2)[wide] & (wide > 0)
    areas: Mask = ndimage.binary_dilation(large) & ink
    return areas


def _outer(found: list[Points], ink: Mask) -> list[Points]:
    """The strokes that are mostly beside the paper around the drawing."""
    outside, _ = ndimage.label(~np.pad(ink, 1))
    beside = ndimage.binary_dilation(outside == outside[0, 0], iterations=3)[1:-1, 1:-1]
    return [stroke for stroke in found if beside[stroke[:, 1].astype(int), stroke[:, 0].astype(int)].mean() > 0.5]


def _corners(stroke: Points, rng: np.random.Generator, unit: float) -> Points:
    """Some points of a stroke, the first and the last among them."""
    steps = rng.integers(round(2 * unit), round(6 * unit), len(stroke)).cumsum()
    return stroke[[0, *steps[steps < len(stroke) - 1], len(stroke) - 1]]


def _bend(shape: tuple[int, ...], pixels: float, rng: np.random.Generator) -> Points:
    """Shifts along x and y for each pixel, [2, H, W], which change slowly over a picture."""
    coarse = torch.from_numpy(rng.normal(0, pixels, (1, 2, 4, 4)))
    shifts: Points = torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[0].numpy()
    return shifts


def _moved(areas: Mask, bend: Points) -> Mask:
    rows, columns = np.indices(areas.shape)
    moved: Mask = ndimage.map_coordinates(areas, [rows - bend[1], columns - bend[0]], order=0)
    return moved
