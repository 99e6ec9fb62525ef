"""PSNR and SSIM of super-resolution in the field's convention, and a network's gain over bicubic enlargement.

Pictures are rounded to 8 bits, then compared in luma alone (the Y of BT.601's YCbCr in its studio range, 16 to 235, as
MATLAB's ``rgb2ycbcr`` computes it, itself not rounded), with a border of ``scale`` pixels cut off on every side; the
peak is 255. Papers have used this convention since SRCNN, so values can be compared with theirs, picture by picture.
Tables made with MATLAB are 0.01 to 0.04 dB lower, because its ``rgb2ycbcr`` rounds the Y of 8-bit pictures:
bicubic enlargement of Set5 by 4 scores 28.431 dB here and 28.418 dB with Y rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from gancomp_core.data import PictureSet, Task, to_float, to_uint8
from gancomp_core.data.photos import Photo, whole_photos
from gancomp_core.errors import GancompError
from gancomp_core.measure.features import check_pictures
from gancomp_core.measure.running import check_output, measuring, scored_split
from gancomp_core.measure.similarity import check_pair
from gancomp_core.measure.statistics import paired_interval
from gancomp_core.nets.blocks import enlarge_bicubically

WINDOW, SIGMA = 11, 1.5
PHOTOS, CROPS = "photo", "crop"


# --- measures of one picture ----------------------------------------------------------------------------------------


def luma(pictures: Tensor) -> Tensor:
    """Y of BT.601, after clamping and rounding to 8 bits.

    Y = 16 + 65.481 R + 128.553 G + 24.966 B of R, G, B in [0, 1].

    Args:
        pictures: float [N, 1 or 3, H, W] in [-1, 1], gray or RGB.

    Returns:
        float64 [N, 1, H, W] in [16, 235].
    """
    check_pictures(pictures)
    red, green, blue = to_uint8(pictures).double().div(255).expand(-1, 3, -1, -1).split(1, dim=1)
    y: Tensor = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    return y


def psnr_y(generated: Tensor, target: Tensor, border: int) -> Tensor:
    """Peak signal-to-noise ratio of luma, peak 255.

    Args:
        generated: float [N, 1 or 3, H, W] in [-1, 1].
        target: The same shape and range.
        border: Pixels left out on every side, 0 or more.

    Returns:
        dB, float64 [N], infinite where the two are equal.

    Raises:
        GancompError: For different shapes, and for a border that leaves nothing.
    """
    a, b = _inner_luma(generated, target, border, least=1)
    return 20 * math.log10(255) - 10 * (a - b).square().mean((1, 2, 3)).log10()


def ssim_y(generated: Tensor, target: Tensor, border: int) -> Tensor:
    """Structural similarity of luma.

    Wang et al. 2004: Gaussian window of 11 x 11 pixels, sigma 1.5, only where it lies entirely within the picture;
    range 255.

    Args:
        generated: float [N, 1 or 3, H, W] in [-1, 1].
        target: The same shape and range.
        border: Pixels left out on every side; at least 11 must remain each way.

    Returns:
        float64 [N], 1 where the two are equal.

    Raises:
        GancompError: For different shapes, and for a border that leaves too little.
    """
    a, b = _inner_luma(generated, target, border, least=WINDOW)
    places = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    bell = torch.exp(-places.square() / (2 * SIGMA**2))
    bell /= bell.sum()

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, bell.view(1, 1, -1, 1)), bell.view(1, 1, 1, -1))

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a.square(), mean(b * b) - mean_b.square()
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (likeness / ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2))).mean((1, 2, 3))


def bicubic(source: Tensor, scale: int) -> Tensor:
    """The baseline of every table: bicubic enlargement [N, C, scale * h, scale * w], clamped to [-1, 1]."""
    return enlarge_bicubically(source, scale).clamp(-1, 1)


def _inner_luma(generated: Tensor, target: Tensor, border: int, least: int) -> tuple[Tensor, Tensor]:
    check_pair(generated, target)
    height, width = generated.shape[-2:]
    if border < 0 or min(height, width) - 2 * border < least:
        raise GancompError(
            f"A border of {border} pixels cannot be cut off pictures of {height} x {width}: it is 0 or more and leaves "
            f"at least {least} x {least}; the convention is border = scale."
        )
    a, b = (luma(x)[..., border : height - border, border : width - border] for x in (generated, target))
    return a, b


# --- the evaluation of a network ------------------------------------------------------------------------------------


MEASURES = ("psnr_y", "ssim_y", "bicubic_psnr_y", "bicubic_ssim_y", "psnr_y_gain", "ssim_y_gain")


@dataclass(frozen=True, eq=False)
class SuperResolutionQuality:
    """The quality of one super-resolution network: scores of every whole photo and of every crop of a split.

    Attributes:
        task: Name of the task.
        split: "test" or "search".
        scale: How many times larger the targets are.
        scores: A row for each picture: ``kind`` ("photo" or "crop"), ``picture`` (name of the photo), PSNR-Y in dB and
            SSIM-Y of the network and of bicubic enlargement, and the gains over it.
    """

    task: str
    split: str
    scale: int
    scores: pd.DataFrame

    def table(self, kind: str | None = None) -> pd.DataFrame:
        """The scores of the photos ("photo") or of the crops ("crop") alone; of both without ``kind``."""
        return self.scores if kind is None else self.scores[self.scores.kind == kind].reset_index(drop=True)

    def pictures(self) -> list[dict[str, str | float]]:
        """The scores as plain values, each with the ``name`` of a photo or of a crop, such as "cat, crop 2"."""
        numbers = self.scores.groupby(["kind", "picture"]).cumcount() + 1
        crops = self.scores.picture + ", crop " + numbers.astype(str)
        named = self.scores.assign(name=self.scores.picture.where(self.scores.kind == PHOTOS, crops))
        rows: list[dict[str, str | float]] = named[
            ["name", "psnr_y", "bicubic_psnr_y", "ssim_y", "bicubic_ssim_y"]
        ].to_dict("records")
        return rows

    def as_dict(self) -> dict[str, float]:
        """Flat numbers for a table, each for ``photos`` and for ``crops``.

        ``psnr_y_photos`` is a mean over pictures and ``psnr_y_spread_photos`` the standard deviation over them;
        ``psnr_y_gain_photos`` is the mean difference from bicubic on the same picture and
        ``psnr_y_gain_interval_photos`` the half-width of its 95 % interval. Crops of one photo resemble each other, so
        their interval counts photos, not crops. A spread or an interval that does not exist is left out.
        """
        numbers: dict[str, float] = {}
        for kind in (PHOTOS, CROPS):
            if not (table := self.table(kind)).empty:
                numbers[f"{kind}s"] = float(len(table))
                numbers |= {f"{name}_{kind}s": value for name, value in _summary(table).items()}
        return numbers

    def __str__(self) -> str:
        numbers = self.as_dict()
        parts = [_sentence(numbers, f"{kind}s") for kind in (PHOTOS, CROPS) if f"{kind}s" in numbers]
        return f"x{self.scale}: " + "; ".join(parts)


def _summary(table: pd.DataFrame) -> dict[str, float]:
    numbers = {}
    for measure in MEASURES:
        values = table[measure]
        numbers[measure] = float(values.mean())
        if len(values) < 2 or not all(map(math.isfinite, values)):
            continue
        if not measure.endswith("gain"):
            numbers[f"{measure}_spread"] = float(values.std())
        elif table["picture"].nunique() > 1:
            numbers[f"{measure}_interval"] = paired_interval(list(values), groups=list(table["picture"])).half_width
    return numbers


def _sentence(numbers: dict[str, float], part: str) -> str:
    """Mean and spread of the scores; in brackets the mean gain over bicubic and the half-width of its 95 % interval."""

    def said(name: str, decimals: int, sign: str = "", reach: str = "spread") -> str:
        around = numbers.get(f"{name}_{reach}_{part}")
        after = "" if around is None else f" +- {around:.{decimals}f}"
        return f"{numbers[f'{name}_{part}']:{sign}.{decimals}f}{after}"

    count = int(numbers[part])
    psnr_gain, ssim_gain = said("psnr_y_gain", 2, "+", "interval"), said("ssim_y_gain", 4, "+", "interval")
    return (
        f"{count} {part if count != 1 else part[:-1]}: PSNR-Y {said('psnr_y', 1)} dB ({psnr_gain} over bicubic), "
        f"SSIM-Y {said('ssim_y', 3)} ({ssim_gain})"
    )


def evaluate_super_resolution(
    network: Callable[[Tensor], Tensor],
    task: Task,
    split: str = "test",
    photos: Sequence[Photo] | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 16,
) -> SuperResolutionQuality:
    """Enlarge the crops of a split and, on "test", whole test photos; score them in luma, and bicubic enlargement too.

    A border of ``task.scale`` pixels is left out.

    Args:
        network: Maps float32 [N, C, h, w] in [-1, 1] to [N, C, scale * h, scale * w]: a module (run in eval mode on
            ``device``, in float32; its mode and device are restored) or any function.
        task: A super-resolution task.
        split: "test", or "search" for choosing among networks.
        photos: Whole photos to score as well; None takes the shipped test photos on the test split of ``photos_x4``,
            and no photos elsewhere.
        device: Where modules run.
        batch_size: Crops in a batch.

    Returns:
        The quality.

    Raises:
        GancompError: For a task that does not enlarge, for another split, and for outputs of a wrong shape or with
            values that are not finite.
    """
    if task.scale == 1 or not task.scored_in_pairs:
        raise GancompError(
            f"Super-resolution is measured on pairs whose targets are larger than their sources, and '{task.name}' has "
            f"scale {task.scale}; use 'photos_x4', or evaluate_generator for this task."
        )
    if photos is None:
        photos = whole_photos() if task.name == "photos_x4" and split == "test" else ()
    crops, device = scored_split(task, split), torch.device(device)
    scores: list[pd.DataFrame] = []
    with measuring(device, network):
        for photo in photos:
            pair = to_float(photo.source), to_float(photo.target)
            scores.append(_scores(network, *pair, [photo.name], PHOTOS, task.scale, device))
        for indices in torch.arange(len(crops)).split(batch_size):
            batch, names = crops.batch(indices), _names(crops, task.label_names, indices)
            scores.append(_scores(network, batch.source, batch.target, names, CROPS, task.scale, device))
    return SuperResolutionQuality(task.name, split, task.scale, pd.concat(scores, ignore_index=True))


def _names(crops: PictureSet, label_names: Sequence[str], indices: Tensor) -> list[str]:
    """The photo that each crop was cut from, where the task knows it, else the crop's number."""
    if crops.labels is None or not label_names:
        return [str(int(i)) for i in indices]
    return [label_names[int(label)] for label in crops.labels[indices]]


def _scores(
    network: Callable[[Tensor], Tensor],
    source: Tensor,
    target: Tensor,
    names: Sequence[str],
    kind: str,
    scale: int,
    device: torch.device,
) -> pd.DataFrame:
    output = network(source.to(device)).float().cpu()
    check_output(output, target)
    rows = pd.DataFrame({"kind": kind, "picture": names})
    for prefix, made in (("", output), ("bicubic_", bicubic(source, scale))):
        rows[f"{prefix}psnr_y"], rows[f"{prefix}ssim_y"] = psnr_y(made, target, scale), ssim_y(made, target, scale)
    return rows.assign(psnr_y_gain=rows.psnr_y - rows.bicubic_psnr_y, ssim_y_gain=rows.ssim_y - rows.bicubic_ssim_y)
