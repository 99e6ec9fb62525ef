"""Picture quality of a generator: one evaluation for every kind of task.

- Between the set of outputs and real pictures: KID, and where the split has :data:`FD_MINIMUM` pictures or more the
Frechet distance, both with their floor, the same distance of real pictures from real ones
(:mod:`gancomp_core.measure.distances`).
- Between each output and its target, wherever the task has pairs to score with: PSNR, SSIM and a perceptual distance
(:mod:`gancomp_core.measure.similarity`).

Pictures are float32 NCHW in [-1, 1], gray or color; the feature space is described in
:mod:`gancomp_core.measure.features`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gancomp_core.data import PictureSet, Task, to_float
from gancomp_core.errors import GancompError
from gancomp_core.measure.distances import NAME, frechet_distance, frechet_or_kid, kid, subset_size
from gancomp_core.measure.features import PROTOCOL, extract_features, frozen, in_full_precision, in_threads
from gancomp_core.measure.running import check_output, measuring, scored_split
from gancomp_core.measure.similarity import PERCEPTUAL_NAME, PerceptualDistance, psnr, ssim
from gancomp_core.measure.statistics import significant
from gancomp_core.nets.efficientnet_lite import weights_hash
from gancomp_core.tensor_cache import cached

SIMILARITY = ("psnr", "ssim", "perceptual")
FD_MINIMUM = 1000
"""A split of fewer pictures gets no Frechet distance: its 1280 features would be mostly chance."""

BATCH = 64


# --- the evaluation of a generator ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distance:
    """A distance between generated and real pictures, with the one between real and real pictures (the floor).

    Attributes:
        name: Name of the distance.
        values: One value for each seed, which draws the real pictures to compare with.
        floors: The distance of the split's real pictures from the same drawn pictures, for each seed.
        samples: Number of generated pictures.
        seeds: The evaluation seeds.
    """

    name: str
    values: tuple[float, ...]
    floors: tuple[float, ...]
    samples: int
    seeds: tuple[int, ...]

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return _mean(self.values)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds (0 for one seed)."""
        return _spread(self.values)

    @property
    def floor(self) -> float:
        """Mean distance of real pictures from equally many real pictures: what a perfect generator would get."""
        return _mean(self.floors)

    def __str__(self) -> str:
        spread = f" +- {significant(self.spread, 2)}" if len(self.seeds) > 1 else ""  # one seed shows no spread
        basis = f"real against real {significant(self.floor)}; {_basis(self.samples, self.seeds)}"
        return f"{self.name} {significant(self.value)}{spread} ({basis})"


@dataclass(frozen=True)
class Quality:
    """The quality of one generator on one split of a task.

    Attributes:
        task: Name of the task.
        split: "test" or "search".
        distance: The Frechet distance with its floor; None where the split is too small for one.
        kid: KID with its floor, which is about 0 where training and the split are alike; more where they differ, such
            as tiles of another continent.
        kid_interval: Mean standard deviation of KID over subsets.
        psnr: Mean PSNR over the pictures, in dB; None where the task has no pairs for scoring. The same holds for the
            following.
        psnr_spread: Standard deviation of PSNR over the pictures.
        ssim: Mean SSIM over the pictures.
        ssim_spread: Standard deviation of SSIM.
        perceptual: Mean perceptual distance (PD-EfficientNet-Lite0).
        perceptual_spread: Standard deviation of the perceptual distance.
    """

    task: str
    split: str
    distance: Distance | None
    kid: Distance
    kid_interval: float
    psnr: float | None = None
    psnr_spread: float | None = None
    ssim: float | None = None
    ssim_spread: float | None = None
    perceptual: float | None = None
    perceptual_spread: float | None = None

    @property
    def set_distance(self) -> float:
        """What to choose among networks by, lower is better: the Frechet distance where there is one, else KID."""
        return (self.distance or self.kid).value

    def as_dict(self) -> dict[str, float]:
        """Flat numbers for a table; ``fd*`` only where there is a Frechet distance, similarity only with pairs."""
        frechet = {}
        if self.distance:
            frechet = {"fd": self.distance.value, "fd_spread": self.distance.spread, "fd_floor": self.distance.floor}
        numbers = {
            "kid": self.kid.value,
            "kid_spread": self.kid.spread,
            "kid_interval": self.kid_interval,
            "kid_floor": self.kid.floor,
            "samples": float(self.kid.samples),
            "seeds": float(len(self.kid.seeds)),
        }
        paired = {key: getattr(self, key) for name in SIMILARITY for key in (name, f"{name}_spread")}
        return frechet | numbers | {name: value for name, value in paired.items() if value is not None}

    def __str__(self) -> str:
        floor = f"real against real {significant(self.kid.floor, 2)}"
        kid_text = f"{self.kid.name} {significant(self.kid.value)} +- {significant(self.kid_interval, 2)}"
        if self.distance:
            text = f"{self.distance}, {kid_text} ({floor})"
        else:
            text = f"{kid_text} ({floor}; {_basis(self.kid.samples, self.kid.seeds)})"
        if self.psnr is not None and self.ssim is not None:
            text += f", PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}"
        if self.perceptual is not None:
            text += f", {PERCEPTUAL_NAME} {significant(self.perceptual)}"
        return text


def evaluate_generator(
    generator: Callable[[Tensor], Tensor],
    task: Task,
    split: str = "test",
    seeds: Sequence[int] = (0, 1, 2),
    n: int | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = BATCH,
    frechet: bool | None = None,
) -> Quality:
    """Run a generator over a split's sources and measure the pictures it makes.

    For each seed, as many real pictures as there are outputs (or all there are) are drawn from ``task.train``; outputs
    and the split's own real pictures (the floor) are both compared with them. Features of real pictures are cached;
    where the cache folder cannot be written, a warning is logged. KID draws 50 subsets, each of 500 pictures or half of
    the outputs, whichever is less. Outputs are compared with their own targets wherever the task has pairs for scoring
    (``task.scored_in_pairs``).

    Args:
        generator: Maps float32 [N, C, H, W] in [-1, 1] to pictures of the same kind: a module (run in eval mode on
            ``device``, in float32; its mode and device are restored) or any function, such as an ``OnnxGenerator``, or
            ``lambda x: x`` for the score of copying the source.
        task: The task.
        split: "test" or "search".
        seeds: Evaluation seeds, at least one.
        n: Number of pictures, spread evenly over the split; None takes all.
        device: Where modules run.
        batch_size: Pictures in a batch.
        frechet: Whether to measure the Frechet distance; None measures it where the whole split has at least
            :data:`FD_MINIMUM` pictures.

    Returns:
        The quality.

    Raises:
        GancompError: For an unknown split, no seeds, fewer than 2 pictures, and pictures of a wrong shape or with
            values that are not finite.
    """
    pictures = scored_split(task, split)
    seeds = tuple(seeds)
    if not seeds:
        raise GancompError("An evaluation needs at least one seed, such as seeds=(0, 1, 2).")
    chosen = _spread_evenly(len(pictures), n)
    outputs = _run(generator, pictures, chosen, torch.device(device), batch_size)
    similarity = _similarity(outputs, pictures, chosen, torch.device(device)) if task.scored_in_pairs else {}
    features = extract_features(outputs, device=device)
    real = _real_features(task, split, chosen, device)
    draws = [_draw(len(task.train.targets), len(chosen), seed) for seed in seeds]
    references = [_real_features(task, "train", drawn, device) for drawn in draws]
    with_frechet = len(pictures) >= FD_MINIMUM if frechet is None else frechet

    def measure(i: int) -> tuple[tuple[float, float], float, float, float]:
        reference, seed = references[i], seeds[i]
        size = subset_size(features, reference)
        drawn = (*_pictures_key(task, split, chosen, device), _digest(draws[i]))
        return (
            kid(features, reference, subset_size=size, seed=seed),
            _floor(
                ("kidfloor", *drawn, str(size), str(seed)), lambda: kid(real, reference, subset_size=size, seed=seed)[0]
            ),
            frechet_distance(features, reference) if with_frechet else 0.0,
            _floor(("floor", *drawn), lambda: frechet_distance(real, reference)) if with_frechet else 0.0,
        )

    kids, kid_floors, values, floors = zip(*in_threads(measure, range(len(seeds))), strict=True)
    return Quality(
        task.name,
        split,
        Distance(NAME, values, floors, len(chosen), seeds) if with_frechet else None,
        Distance("KID", tuple(mean for mean, _ in kids), kid_floors, len(chosen), seeds),
        _mean([deviation for _, deviation in kids]),
        **similarity,
    )


def set_distance(
    generator: Callable[[Tensor], Tensor],
    task: Task,
    split: str = "test",
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> float:
    """``evaluate_generator(..., seeds=(seed,)).set_distance``, without measuring anything else.

    Args:
        generator: As for :func:`evaluate_generator`.
        task: The task.
        split: "test" or "search".
        seed: The evaluation seed.
        device: Where modules run.

    Returns:
        The Frechet distance or, on small splits, KID; lower is better.

    Raises:
        GancompError: As :func:`evaluate_generator` does.
    """
    pictures = scored_split(task, split)
    chosen = _spread_evenly(len(pictures), None)
    features = extract_features(_run(generator, pictures, chosen, torch.device(device), BATCH), device=device)
    reference = _real_features(task, "train", _draw(len(task.train.targets), len(chosen), seed), device)
    return frechet_or_kid(features, reference, len(pictures) >= FD_MINIMUM, seed)


def likeness(
    generator: Callable[[Tensor], Tensor],
    task: Task,
    split: str = "test",
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """PSNR, SSIM and perceptual distance of the outputs from their own targets, without any distance between sets.

    Args:
        generator: As for :func:`evaluate_generator`.
        task: A task with pairs, at least for scoring.
        split: "test" or "search".
        device: Where modules run.

    Returns:
        "psnr" (dB), "ssim" and "perceptual" as means over the pictures, and "..._spread" of each.

    Raises:
        GancompError: For a task without pairs, and as :func:`evaluate_generator` does.
    """
    pictures = scored_split(task, split)
    if not task.scored_in_pairs:
        raise GancompError(f"'{task.name}' has no pairs, so its outputs have no targets; use set_distance.")
    chosen = _spread_evenly(len(pictures), None)
    outputs = _run(generator, pictures, chosen, torch.device(device), BATCH)
    return _similarity(outputs, pictures, chosen, torch.device(device))


def _spread_evenly(length: int, n: int | None) -> Tensor:
    count = length if n is None else n
    if not 2 <= count <= length:
        raise GancompError(
            f"n is the number of pictures to evaluate on, from 2 to the split's {length}, not {count}; "
            "leave it out for all of them."
        )
    return torch.arange(count) * length // count


def _draw(length: int, count: int, seed: int) -> Tensor:
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))[:count].sort().values


def _run(
    generator: Callable[[Tensor], Tensor], pictures: PictureSet, chosen: Tensor, device: torch.device, batch_size: int
) -> list[Tensor]:
    """All outputs, on the CPU, in batches."""
    outputs = []
    with measuring(device, generator):
        for indices in chosen.split(batch_size):
            batch = pictures.batch(indices)
            output = generator(batch.source.to(device)).float().cpu()
            check_output(output, batch.target)
            outputs.append(output.clamp(-1, 1))
    return outputs


def _similarity(
    outputs: Sequence[Tensor], pictures: PictureSet, chosen: Tensor, device: torch.device
) -> dict[str, float]:
    """Mean and spread over the pictures of the outputs' similarity to their own targets."""
    pairs = zip(outputs, chosen.split([len(output) for output in outputs]), strict=True)

    def measure(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        output, target = pair[0], to_float(pictures.targets[pair[1]])
        perceptual = in_full_precision(PerceptualDistance, device, output, target)
        return psnr(output, target), ssim(output, target), perceptual

    frozen(PerceptualDistance, str(device))  # before several threads ask for it
    similarity: dict[str, float] = {}
    found = zip(*in_threads(measure, pairs), strict=True)
    for name, values in zip(SIMILARITY, found, strict=True):
        each = torch.cat(values).double()
        similarity |= {name: float(each.mean()), f"{name}_spread": float(each.std())}
    return similarity


# --- real pictures: measured once, cached ----------------------------------------------------------------------------


def _real_features(task: Task, split: str, indices: Tensor, device: torch.device | str) -> Tensor:
    """Features of real target pictures, from the cache where they were computed before."""
    targets = (task.train if split == "train" else scored_split(task, split)).targets
    return _cached(
        ("features", *_pictures_key(task, split, indices, device)),
        lambda: extract_features((to_float(targets[some]) for some in indices.split(256)), device=device),
    )


def _floor(key: tuple[str, ...], measure: Callable[[], float]) -> float:
    """A distance of real pictures from real ones, cached likewise."""
    return float(_cached(key, lambda: torch.tensor([measure()], dtype=torch.float64)))


def _pictures_key(task: Task, split: str, indices: Tensor, device: torch.device | str) -> tuple[str, ...]:
    return torch.device(device).type, task.fingerprint, split, _digest(indices)


def _cached(key: tuple[str, ...], make: Callable[[], Tensor]) -> Tensor:
    """The cached tensor of a key, to which the weights of the feature network and the protocol belong."""
    return cached("features", (*key, weights_hash(), PROTOCOL), make)


def _digest(indices: Tensor) -> str:
    return hashlib.sha256(indices.to(torch.int64).numpy().tobytes()).hexdigest()


# --- small numbers --------------------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _basis(samples: int, seeds: Sequence[int]) -> str:
    return f"{samples:,} pictures, {len(seeds)} seed" + ("s" if len(seeds) != 1 else "")
