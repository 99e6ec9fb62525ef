"""Wavelet transforms of pictures: differentiable, and equal to PyWavelets.

A level of the transform is linear in the rows and in the columns of a picture, so it is a product with a matrix on
either side. The matrices are PyWavelets' transforms of the unit vectors; that settles filters, phases and borders.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pywt
import torch
from torch import Tensor

from gancomp_core.errors import GancompError, one_of

#: How a picture is continued beyond its border.
MODES = ("zero", "symmetric", "reflect", "periodization")


class Details(NamedTuple):
    """The high-frequency bands of one level, [..., h, w] each: PyWavelets' cH, cV and cD.

    In the letters of papers, which disagree about the first two, they are LH, HL and HH.

    Attributes:
        horizontal: Responds to horizontal edges (high frequencies down the columns).
        vertical: Responds to vertical edges.
        diagonal: Responds to both.
    """

    horizontal: Tensor
    vertical: Tensor
    diagonal: Tensor


@dataclass(frozen=True)
class Pyramid:
    """A transformed picture.

    Attributes:
        low: What is left at the coarsest level, [..., h, w].
        details: Details of all levels, finest first.
    """

    low: Tensor
    details: tuple[Details, ...]


def wavelet_transform(pictures: Tensor, wavelet: str = "haar", levels: int = 3, mode: str = "symmetric") -> Pyramid:
    """The discrete wavelet transform of pictures, equal to ``pywt.wavedec2(pictures, wavelet, mode, levels)``.

    Half precision is computed in float32, also under autocast. Source: Mallat, IEEE TPAMI 11 (1989).

    Args:
        pictures: float32 or float64 [..., H, W], of any range, at least 2 x 2 pixels.
        wavelet: Any discrete wavelet of PyWavelets, such as "haar", "db3" or "bior4.4"
            (``pywt.wavelist(kind="discrete")``).
        levels: Number of levels, at least 1.
        mode: How a picture is continued beyond its border, one of :data:`MODES`.

    Returns:
        The pyramid.

    Raises:
        GancompError: For an unknown wavelet or mode, fewer than one level, and pictures that are too small.
    """
    _check(pictures, wavelet, levels, mode)
    low = pictures if pictures.dtype == torch.float64 else pictures.float()
    details = []
    with torch.autocast(pictures.device.type, enabled=False):
        for _ in range(levels):
            even = low.shape[-2] % 2 == 0 and low.shape[-1] % 2 == 0
            low, found = _haar_level(low) if wavelet == "haar" and even else _level(low, wavelet, mode)
            details.append(found)
    return Pyramid(low, tuple(details))


def inverse_wavelet_transform(
    pyramid: Pyramid, size: tuple[int, int], wavelet: str = "haar", mode: str = "symmetric"
) -> Tensor:
    """The pictures of which a pyramid was made.

    Args:
        pyramid: The transformed pictures.
        size: Their height and width.
        wavelet: The wavelet of the transform.
        mode: The border mode of the transform.

    Returns:
        Pictures [..., H, W].
    """
    sizes = [size, *(details.diagonal.shape[-2:] for details in pyramid.details)]
    picture = pyramid.low
    with torch.autocast(picture.device.type, enabled=False):
        for details, (height, width) in zip(reversed(pyramid.details), reversed(sizes[:-1]), strict=True):
            picture = picture[..., : details.diagonal.shape[-2], : details.diagonal.shape[-1]]
            rows, columns = (
                _synthesis(length, wavelet, mode, picture.dtype, picture.device) for length in picture.shape[-2:]
            )
            above = torch.cat([picture, details.vertical], -1) @ columns.T
            below = torch.cat([details.horizontal, details.diagonal], -1) @ columns.T
            picture = (rows @ torch.cat([above, below], -2))[..., :height, :width]
    return picture


def band_errors(
    pictures: Tensor, targets: Tensor, wavelet: str = "haar", levels: int = 3, mode: str = "symmetric"
) -> dict[str, float]:
    """Errors of pictures by frequency band.

    Each is the mean absolute difference of the coefficients, divided by the mean absolute coefficient of the targets: 0
    for equal bands, about 1 where a band is missing. Source: the first experiment of Zhang et al., CVPR 2022 (arXiv
    2203.06321).

    Args:
        pictures: [N, C, H, W].
        targets: The same shape.
        wavelet: As for :func:`wavelet_transform`.
        levels: Number of levels, at least 1.
        mode: Border mode.

    Returns:
        Errors of "low", then "level 3" down to "level 1", which holds the finest details.
    """
    made, wanted = (wavelet_transform(side, wavelet, levels, mode) for side in (pictures, targets))
    errors = {"low": _relative([made.low], [wanted.low])}
    for level in range(levels, 0, -1):
        errors[f"level {level}"] = _relative(made.details[level - 1], wanted.details[level - 1])
    return errors


def _relative(ours: tuple[Tensor, ...] | list[Tensor], theirs: tuple[Tensor, ...] | list[Tensor]) -> float:
    difference = sum((a - b).abs().double().sum() for a, b in zip(ours, theirs, strict=True))
    return float(difference / sum(b.abs().double().sum() for b in theirs))


def _haar_level(x: Tensor) -> tuple[Tensor, Details]:
    """Haar's matrices have two numbers in a row; sums and differences of neighbors do the same, faster."""
    above_left, above_right = x[..., ::2, ::2], x[..., ::2, 1::2]
    below_left, below_right = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    above, below = above_left + above_right, below_left + below_right
    above_step, below_step = above_left - above_right, below_left - below_right
    details = Details((above - below) / 2, (above_step + below_step) / 2, (above_step - below_step) / 2)
    return (above + below) / 2, details


def _level(x: Tensor, wavelet: str, mode: str) -> tuple[Tensor, Details]:
    height, width = x.shape[-2:]
    rows, columns = (_analysis(length, wavelet, mode, x.dtype, x.device) for length in (height, width))
    low_rows, high_rows = rows.chunk(2)
    across = x @ columns.T  # low and high frequencies side by side
    low, vertical = (low_rows @ across).chunk(2, dim=-1)
    horizontal, diagonal = (high_rows @ across).chunk(2, dim=-1)
    return low, Details(horizontal, vertical, diagonal)


@functools.lru_cache(maxsize=256)
def _analysis(length: int, wavelet: str, mode: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[2 * coefficients, length]: low-pass rows above high-pass rows."""
    return _constant(np.concatenate(pywt.dwt(np.eye(length), wavelet, mode, axis=0)), dtype, device)


@functools.lru_cache(maxsize=256)
def _synthesis(length: int, wavelet: str, mode: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[samples, 2 * length]: contributions of the low-pass coefficients, then of the high-pass ones."""
    ones, zeros = np.eye(length), np.zeros((length, length))
    parts = (pywt.idwt(*pair, wavelet, mode, axis=0) for pair in ((ones, zeros), (zeros, ones)))
    return _constant(np.concatenate(list(parts), axis=1), dtype, device)


def _constant(values: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # else it could not serve a training later
        return torch.tensor(values, dtype=dtype, device=device)


def _check(pictures: Tensor, wavelet: str, levels: int, mode: str) -> None:
    if wavelet not in _discrete():
        raise GancompError(
            f"There is no discrete wavelet '{wavelet}'; choose one of PyWavelets', such as "
            "'haar', 'db3', 'sym4', 'coif2' or 'bior4.4'."
        )
    one_of(mode, MODES, "border mode")
    if levels < 1:
        raise GancompError(f"A wavelet transform has at least 1 level, not {levels}; 3 is the usual number.")
    if pictures.ndim < 2 or min(pictures.shape[-2:]) < 2 or not pictures.is_floating_point():
        raise GancompError(
            "A wavelet transform takes floating-point pictures [..., H, W] of at least 2 x 2 pixels, not "
            f"{pictures.dtype} of shape {list(pictures.shape)}; convert or enlarge them."
        )


@functools.cache
def _discrete() -> frozenset[str]:
    return frozenset(pywt.wavelist(kind="discrete"))
