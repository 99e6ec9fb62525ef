"""Distances between two sets of pictures: Frechet distance and KID in EfficientNet-Lite0's features.

A Frechet distance in these features is called FD-EfficientNet-Lite0. It is not an FID, which uses Inception's features
(:func:`true_fid`); the two scales cannot be compared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from gancomp_core.data import to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.measure.features import Pictures, batches_of, extract_features

NAME = "FD-EfficientNet-Lite0"


def frechet_distance(generated: Pictures, reference: Pictures) -> float:
    """Frechet distance between the Gaussians fitted to two sets.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``, exact, in float64. Source: Heusel et al. 2017 (arXiv 1706.08500),
    eq. 6. With 1,280 features it means little below some 3,000 pictures: compare it with the distance between two sets
    of real pictures of the same size.

    Args:
        generated: Features [N, D] (any D, the same for both), or pictures, whose EfficientNet-Lite0 features are
            computed.
        reference: The same, of real pictures.

    Returns:
        The distance, 0 or more; lower is better.

    Raises:
        GancompError: For fewer than two samples, for sets of different width, and for values that are not finite.
    """
    a, b = _two_feature_sets(generated, reference)
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) / math.sqrt(len(a) - 1), (b - mean_b) / math.sqrt(len(b) - 1)  # covariance = a^T a
    distance = (mean_a - mean_b).square().sum() + a.square().sum() + b.square().sum() - 2 * _trace_of_root(a, b)
    return max(float(distance), 0.0)  # rounding may leave -1e-10 for a set against itself


def _trace_of_root(a: Tensor, b: Tensor) -> Tensor:
    """tr((A^T A B^T B)^(1/2)): the square roots of the eigenvalues of the smallest possible symmetric matrix.

    For any L with L L^T = A^T A, the matrix L^T (B^T B) L has the eigenvalues of the product. L is A^T where there are
    fewer samples than features, otherwise a Cholesky factor, or (for features that never vary) an eigendecomposition.
    """
    factor, other = (b, a) if len(b) < len(a) else (a, b)
    if len(factor) > factor.shape[1]:
        covariance = factor.T @ factor
        lower, failed = torch.linalg.cholesky_ex(covariance)
        if failed:
            values, vectors = torch.linalg.eigh(covariance)
            lower = vectors * values.clamp_min(0).sqrt()
        factor = lower.T
    half = other @ factor.T
    eigenvalues: Tensor = torch.linalg.eigvalsh(half.T @ half)
    return eigenvalues.clamp_min(0).sqrt().sum()


def kid(
    generated: Pictures, reference: Pictures, subsets: int = 50, subset_size: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance between two sets: unbiased squared MMD with a cubic kernel.

    In expectation the value does not depend on the number of samples. Equal to torchmetrics'
    ``KernelInceptionDistance`` over these features with the same draw of subsets. Source: Binkowski et al. 2018 (arXiv
    1801.01401).

    Args:
        generated: Features [N, D] or pictures, as for :func:`frechet_distance`.
        reference: The same, of real pictures.
        subsets: Number of random subsets, at least 1.
        subset_size: Samples in each subset, from 2 to the size of the smaller set.
        seed: Seed of the draw of subsets.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        GancompError: For impossible subsets, and as :func:`frechet_distance` does.
    """
    a, b = (features.float() for features in _two_feature_sets(generated, reference))
    smallest = min(len(a), len(b))
    if subsets < 1 or not 2 <= subset_size <= smallest:
        raise GancompError(
            f"KID takes at least 1 subset of 2 to {smallest} samples (the smaller set's size), "
            f"not {subsets} of {subset_size}; lower subset_size or give more pictures."
        )
    draw = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        real = b[torch.randperm(len(b), generator=draw)[:subset_size]]
        fake = a[torch.randperm(len(a), generator=draw)[:subset_size]]
        values.append(poly_mmd(real, fake))
    found = torch.stack(values).double()
    return float(found.mean()), float(found.std(unbiased=False))


def subset_size(generated: Tensor, reference: Tensor) -> int:
    """Size of the KID subsets of an evaluation: 500 pictures, or half of the smaller set."""
    return max(2, min(500, len(generated) // 2, len(reference) // 2))


def frechet_or_kid(generated: Tensor, reference: Tensor, frechet: bool, seed: int) -> float:
    """The number by which an evaluation chooses among networks; lower is better.

    Args:
        generated: Features [N, D].
        reference: Features [M, D] of real pictures.
        frechet: Whether to use the Frechet distance instead of KID.
        seed: Seed of KID's subsets.

    Returns:
        The distance.
    """
    if frechet:
        return frechet_distance(generated, reference)
    return kid(generated, reference, subset_size=subset_size(generated, reference), seed=seed)[0]


def _two_feature_sets(generated: Pictures, reference: Pictures) -> tuple[Tensor, Tensor]:
    a, b = (_as_features(given).double() for given in (generated, reference))
    if a.shape[1] != b.shape[1]:
        raise GancompError(
            f"The two sets have {a.shape[1]} and {b.shape[1]} features a sample; "
            "compare features of one network, such as extract_features gives."
        )
    if min(len(a), len(b)) < 2:
        raise GancompError(
            f"A distance between two sets needs at least 2 samples in each, not {len(a)} and {len(b)}; "
            "some 3,000 make it meaningful."
        )
    return a, b


def _as_features(given: Pictures) -> Tensor:
    features = given if isinstance(given, Tensor) and given.ndim == 2 else extract_features(given)
    if not features.isfinite().all():
        raise GancompError("The features hold NaN or infinite values; check the generator that made the pictures.")
    return features.cpu()


def true_fid(generated: Pictures, reference: Pictures) -> float:
    """FID as published: Frechet distance in Inception-v3's 2,048 features, by torchmetrics and torch-fidelity.

    Args:
        generated: Pictures as for :func:`extract_features`; they are rounded to 8 bits.
        reference: The same, real ones.

    Returns:
        The FID; lower is better.

    Raises:
        GancompError: When torch-fidelity is not installed, or when its weights (some 90 MB, downloaded once) are not
            available. :func:`frechet_distance` needs neither.
    """
    instead = "use frechet_distance (FD-EfficientNet-Lite0) instead, which needs no download"
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance

        metric = FrechetInceptionDistance(feature=2048)
    except ModuleNotFoundError as error:
        raise GancompError(
            f"True FID needs the package torch-fidelity (pip install torch-fidelity); install it, or {instead}."
        ) from error
    except (OSError, RuntimeError) as error:
        raise GancompError(
            "The Inception weights that true FID needs could not be downloaded; connect to the internet and try again, "
            f"or {instead}."
        ) from error
    for pictures, real in ((generated, False), (reference, True)):
        for batch in batches_of(pictures, 50):
            metric.update(to_uint8(batch.float()).expand(-1, 3, -1, -1), real=real)
    return float(metric.compute())
