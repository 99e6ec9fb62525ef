"""How good generated pictures are: Frechet distance and KID in a stated feature space, PSNR and SSIM to a target.

Pictures are float32 NCHW in [-1, 1], grey or colour. The feature space is EfficientNet-Lite0's (ImageNet, 1280 pooled
features) by one protocol: clamp to [-1, 1], grey repeated to RGB, bilinear without antialiasing to 96 x 96 pixels,
``(v - 127) / 128`` of v in [0, 255], float32. A distance measured so is called FD-EfficientNet-Lite0; it is no FID,
whose features are Inception's (:func:`true_fid`), and the two scales have nothing to do with each other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.kid import poly_mmd

from gancomp_core import files
from gancomp_core.data import PictureSet, Task, to_float, to_uint8
from gancomp_core.errors import GancompError
from gancomp_core.measure.running import evaluating
from gancomp_core.nets.efficientnet_lite import FEATURES, EfficientNetLite0, load_efficientnet_lite0, weights_hash

NAME = "FD-EfficientNet-Lite0"
PROTOCOL = "96px-bilinear-fp32-1"
"""Part of every cached feature's key; changes with the protocol above."""

log = logging.getLogger("gancomp")

Pictures = Tensor | Iterable[Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


# --- features -----------------------------------------------------------------------------------------------------


class PictureFeatures(nn.Module):
    """Pictures [N, 1 or 3, H, W] in [-1, 1] to features [N, 1280], by the protocol; a ``feature`` for torchmetrics."""

    num_features = FEATURES

    def __init__(self, network: EfficientNetLite0 | None = None) -> None:
        super().__init__()
        self.network = network or load_efficientnet_lite0()

    def forward(self, pictures: Tensor) -> Tensor:
        _check_pictures(pictures)
        x = F.interpolate(pictures.float().clamp(-1, 1), size=(96, 96), mode="bilinear", align_corners=False)
        x = (x + 1) * (127.5 / 128) - 127 / 128
        features: Tensor = self.network(x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
        return features


def extract_features(pictures: Pictures, batch_size: int = 32, device: torch.device | str = "cpu") -> Tensor:
    """EfficientNet-Lite0 features of pictures: float32 [N, 1280] on the CPU.

    ``pictures`` is one tensor [N, 1 or 3, H, W] in [-1, 1] or an iterable of such tensors (batches of any length, each
    of its own size). On a CPU, batches go to one worker for each of PyTorch's threads: measured faster than sharing
    each batch among the threads, above all on a busy machine, and the numbers do not depend on the thread count.
    """
    if batch_size < 1:
        raise GancompError(f"batch_size is a whole number from 1, not {batch_size}; 32 is fast on a CPU.")
    _feature_module(str(torch.device(device)))  # loaded once, before several threads ask for it
    extract = functools.partial(_features_of_batch, device=torch.device(device))
    batches = _batches(pictures, batch_size)
    found = list(map(extract, batches) if torch.device(device).type != "cpu" else _in_threads(extract, batches))
    if not found:
        raise GancompError(
            "There are no pictures to take features of; pass at least one tensor of shape [N, 1 or 3, H, W]."
        )
    return torch.cat(found)


@functools.lru_cache(maxsize=2)
def _feature_module(device: str) -> PictureFeatures:
    return PictureFeatures().to(device).eval()


def _features_of_batch(pictures: Tensor, device: torch.device) -> Tensor:
    module = _feature_module(str(device))
    # full float32 on a GPU too, so that values of different machines can be compared; nobody's autocast applies
    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(allow_tf32=False),
        torch.autocast(device.type, enabled=False),
    ):
        features = module(pictures.to(device, torch.float32))
    if not features.isfinite().all():
        raise GancompError(
            "The pictures hold NaN or infinite values, so they have no features; look at the generator that made them."
        )
    return features.cpu().clone()  # a clone outside inference mode is an ordinary tensor


def _batches(pictures: Pictures, batch_size: int) -> Iterator[Tensor]:
    for group in [pictures] if isinstance(pictures, Tensor) else pictures:
        _check_pictures(group)
        yield from group.split(batch_size)


def _in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) ...]``, each item on one thread, as many items at once as PyTorch is allowed threads."""
    threads = torch.get_num_threads()
    if threads == 1:
        return [function(item) for item in items]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)


def _check_pictures(pictures: Tensor) -> None:
    if (
        pictures.ndim != 4
        or pictures.shape[1] not in (1, 3)
        or not pictures.is_floating_point()
        or 0 in pictures.shape[2:]
    ):
        raise GancompError(
            "Pictures are float tensors of shape [N, 1 or 3, H, W] with values in [-1, 1], not "
            f"{list(pictures.shape)} of {pictures.dtype}; convert 8-bit pictures by v / 127.5 - 1."
        )


# --- distances between two sets -------------------------------------------------------------------------------------


def frechet_distance(generated: Pictures, reference: Pictures) -> float:
    """Frechet distance between the Gaussians fitted to two sets: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    Both arguments are features [N, D] (any D, the same for both) or pictures, of which EfficientNet-Lite0 features are
    taken. Exact, float64. Heusel et al. 2017 (arXiv 1706.08500), eq. 6. Raises :class:`GancompError` for fewer than two
    samples or different widths. With 1280 features it means little below some 3,000 pictures: compare it with the
    distance between two sets of real pictures of the same size.
    """
    a, b = _two_feature_sets(generated, reference)
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = (a - mean_a) / math.sqrt(len(a) - 1), (b - mean_b) / math.sqrt(len(b) - 1)  # covariance = a^T a
    distance = (mean_a - mean_b).square().sum() + a.square().sum() + b.square().sum() - 2 * _trace_of_root(a, b)
    return max(float(distance), 0.0)  # rounding may leave -1e-10 for a set against itself


def _trace_of_root(a: Tensor, b: Tensor) -> Tensor:
    """tr((A^T A B^T B)^(1/2)): the square roots of the eigenvalues of a symmetric matrix as small as can be.

    For any L with L L^T = A^T A, the matrix L^T (B^T B) L has the eigenvalues of the product; L is A^T where there are
    fewer samples than features, else a Cholesky factor, else (features that never vary) an eigendecomposition.
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
    return torch.linalg.eigvalsh(half.T @ half).clamp_min(0).sqrt().sum()


def kid(
    generated: Pictures, reference: Pictures, subsets: int = 50, subset_size: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance (unbiased squared MMD, cubic kernel) as mean and standard deviation over random subsets.

    Arguments as for :func:`frechet_distance`; unlike that, the value does not depend on the number of samples in
    expectation. Equals torchmetrics' ``KernelInceptionDistance`` over these features with the same draw of subsets.
    Binkowski et al. 2018 (arXiv 1801.01401).
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
        raise GancompError("The features hold NaN or infinite values; look at the generator that made the pictures.")
    return features.cpu()


def true_fid(generated: Pictures, reference: Pictures) -> float:
    """FID as published: Frechet distance in Inception-v3's 2048 features, by torchmetrics and torch-fidelity.

    Pictures as for :func:`extract_features`, rounded to 8 bits. Raises :class:`GancompError` when the package is not
    installed or its weights (some 90 MB, fetched from the internet once) cannot be had; :func:`frechet_distance`
    needs neither.
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
        for batch in _batches(pictures, 50):
            metric.update(to_uint8(batch.float()).expand(-1, 3, -1, -1), real=real)
    return float(metric.compute())


# --- distances between a picture and its target ---------------------------------------------------------------------


def psnr(generated: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture in dB: float32 [N]; infinite where the two are equal.

    Both are float [N, C, H, W] in [-1, 1]; the peak is the whole range, 2.
    """
    _check_pair(generated, target)
    return peak_signal_noise_ratio(generated.float(), target.float(), data_range=2.0, reduction="none", dim=(1, 2, 3))


def ssim(generated: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each picture: float32 [N], 1 where the two are equal (Gaussian window, sigma 1.5).

    Both are float [N, C, H, W] in [-1, 1], at least 11 pixels high and wide.
    """
    _check_pair(generated, target)
    if min(generated.shape[2:]) < 11:
        raise GancompError(
            "SSIM needs pictures of at least 11 x 11 pixels, the size of its window, "
            f"not {list(generated.shape[2:])}; use psnr instead."
        )
    # torchmetrics returns no batch axis for a single picture
    found = structural_similarity_index_measure(generated.float(), target.float(), data_range=2.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.reshape(len(generated))


def _check_pair(generated: Tensor, target: Tensor) -> None:
    if generated.shape != target.shape or generated.ndim != 4 or len(generated) == 0:
        raise GancompError(
            "Picture and target must have the same shape [N, C, H, W] with N of at least 1, "
            f"not {list(generated.shape)} and {list(target.shape)}; compare pictures with their own targets."
        )


# --- the evaluation of a generator ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distance:
    """A distance between generated and real pictures, beside the one between real and real (the floor).

    One value and one floor for each evaluation seed; a seed draws the real pictures that both are measured against.
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
        """Mean distance of real pictures from real pictures, equally many: what a perfect generator would get."""
        return _mean(self.floors)

    def __str__(self) -> str:
        seeds = f"{len(self.seeds)} seed" + ("s" if len(self.seeds) != 1 else "")
        spread = f" +- {_significant(self.spread, 2)}" if len(self.seeds) > 1 else ""  # one seed shows no spread
        basis = f"real against real {_significant(self.floor)}; {self.samples:,} pictures, {seeds}"
        return f"{self.name} {_significant(self.value)}{spread} ({basis})"


@dataclass(frozen=True)
class Quality:
    """The quality of one generator on one split of a task.

    ``distance`` is the Frechet distance with its floor; ``kid_values`` has one value a seed and ``kid_interval`` is the
    mean standard deviation over subsets; PSNR (dB) and SSIM are mean and standard deviation over the pictures, and None
    where the task is unpaired.
    """

    task: str
    split: str
    distance: Distance
    kid_values: tuple[float, ...]
    kid_interval: float
    psnr: float | None = None
    psnr_spread: float | None = None
    ssim: float | None = None
    ssim_spread: float | None = None

    @property
    def kid(self) -> float:
        """Mean over the seeds."""
        return _mean(self.kid_values)

    def as_dict(self) -> dict[str, float]:
        """Flat numbers for a table; PSNR and SSIM only where the task is paired."""
        numbers = {
            "fd": self.distance.value,
            "fd_spread": self.distance.spread,
            "fd_floor": self.distance.floor,
            "kid": self.kid,
            "kid_spread": _spread(self.kid_values),
            "kid_interval": self.kid_interval,
            "samples": float(self.distance.samples),
            "seeds": float(len(self.distance.seeds)),
        }
        paired = {
            "psnr": self.psnr,
            "psnr_spread": self.psnr_spread,
            "ssim": self.ssim,
            "ssim_spread": self.ssim_spread,
        }
        return numbers | {name: value for name, value in paired.items() if value is not None}

    def __str__(self) -> str:
        text = f"{self.distance}, KID {_significant(self.kid)} +- {_significant(self.kid_interval, 2)}"
        if self.psnr is not None and self.ssim is not None:
            text += f", PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}"
        return text


def evaluate_generator(
    generator: Callable[[Tensor], Tensor],
    task: Task,
    split: str = "test",
    seeds: Sequence[int] = (0, 1, 2),
    n: int | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
) -> Quality:
    """Run a generator over a split's sources and measure the pictures it makes.

    ``generator`` maps float32 [N, C, H, W] in [-1, 1] to pictures of the same kind: a module (run in eval mode
    on ``device``, float32, without gradients; its mode and its own device are restored) or any function, such as an
    ``OnnxGenerator``. ``n`` takes that many pictures of the split, spread evenly over it; all by default. For each of
    ``seeds`` as many real pictures as there are outputs (or all there are) are drawn from ``task.train``: outputs and
    the split's own real pictures (the floor) are both measured against them. Features of real pictures are kept in the
    cache folder, so a second generator costs only its own; where that folder cannot be written, a warning is logged.

    Raises :class:`GancompError` for an unknown split, no seeds, fewer than 2 pictures, and a generator whose pictures
    have the wrong shape or are not finite.
    """
    pictures = _split(task, split)
    seeds = tuple(seeds)
    if not seeds:
        raise GancompError("An evaluation needs at least one seed, such as seeds=(0, 1, 2).")
    chosen = _spread_evenly(len(pictures), n)
    outputs, similarity = _run(generator, pictures, chosen, task.paired, torch.device(device), batch_size)
    features = extract_features(outputs, device=device)
    real = _real_features(task, split, chosen, device)
    draws = [_draw(len(task.train.targets), len(chosen), seed) for seed in seeds]
    references = [_real_features(task, "train", drawn, device) for drawn in draws]

    def measure(i: int) -> tuple[float, float, tuple[float, float]]:
        subset_size = max(2, min(500, len(features) // 2, len(references[i]) // 2))
        return (
            frechet_distance(features, references[i]),
            _floor(task, split, chosen, draws[i], real, references[i], device),
            kid(features, references[i], subset_size=subset_size, seed=seeds[i]),
        )

    values, floors, kids = zip(*_in_threads(measure, range(len(seeds))), strict=True)
    distance = Distance(NAME, values, floors, len(chosen), seeds)
    interval = _mean([deviation for _, deviation in kids])
    return Quality(task.name, split, distance, tuple(mean for mean, _ in kids), interval, **similarity)


def _split(task: Task, split: str) -> PictureSet:
    if split not in ("test", "search"):
        raise GancompError(
            f"A generator is evaluated on the split 'test' or 'search', not {split!r}; "
            "the training pictures are the reference."
        )
    return task.test if split == "test" else task.search


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
    generator: Callable[[Tensor], Tensor],
    pictures: PictureSet,
    chosen: Tensor,
    paired: bool,
    device: torch.device,
    batch_size: int,
) -> tuple[list[Tensor], dict[str, float]]:
    """All outputs, on the CPU, and mean and spread of their likeness to the paired targets (nothing if unpaired)."""
    state = evaluating(generator, device) if isinstance(generator, nn.Module) else contextlib.nullcontext()
    outputs, psnrs, ssims = [], [], []
    with state, torch.inference_mode():
        for indices in chosen.split(batch_size):
            batch = pictures.batch(indices)
            with torch.autocast(device.type, enabled=False):
                output = generator(batch.source.to(device)).float().clamp(-1, 1).cpu()
            _check_output(output, batch.target)
            outputs.append(output)
            if paired:
                psnrs.append(psnr(output, batch.target))
                ssims.append(ssim(output, batch.target))
    similarity: dict[str, float] = {}
    for name, found in (("psnr", psnrs), ("ssim", ssims)) if paired else ():
        each = torch.cat(found).double()
        similarity |= {name: float(each.mean()), f"{name}_spread": float(each.std())}
    return outputs, similarity


def _check_output(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise GancompError(
            f"The generator made pictures of shape {list(output.shape)} where the task's targets have "
            f"{list(target.shape)}; evaluate it on the task that it was made for."
        )
    if not output.isfinite().all():
        raise GancompError(
            "The generator made NaN or infinite pictures, so it has no quality to measure; "
            "train it again with a lower learning rate."
        )


# --- real pictures: measured once, kept -----------------------------------------------------------------------------


def _real_features(task: Task, split: str, indices: Tensor, device: torch.device | str) -> Tensor:
    """Features of real target pictures, from the cache folder where they have been taken before."""
    targets = (task.train if split == "train" else _split(task, split)).targets
    return _kept(
        ("features", torch.device(device).type, task.fingerprint, split, _digest(indices)),
        lambda: extract_features((to_float(targets[some]) for some in indices.split(256)), device=device),
    )


def _floor(
    task: Task,
    split: str,
    chosen: Tensor,
    drawn: Tensor,
    real: Tensor,
    reference: Tensor,
    device: torch.device | str,
) -> float:
    """Frechet distance of a split's real pictures from the drawn training pictures, kept likewise."""
    key = ("floor", torch.device(device).type, task.fingerprint, split, _digest(chosen), _digest(drawn))
    return float(_kept(key, lambda: torch.tensor([frechet_distance(real, reference)], dtype=torch.float64)))


def _kept(key: tuple[str, ...], make: Callable[[], Tensor]) -> Tensor:
    """The tensor kept under ``key`` (weights and protocol belong to it); made and stored when missing or unreadable.

    A cache that cannot be written to costs time, not the value: it is warned of.
    """
    digest = hashlib.sha256("\n".join((*key, weights_hash(), PROTOCOL)).encode()).hexdigest()
    path = files.cache_root() / "features" / f"{key[0]}-{digest[:32]}.safetensors"
    try:
        return safetensors.torch.load_file(path)["value"]
    except (OSError, KeyError, safetensors.SafetensorError):
        value = make()
    try:
        with files.atomic_write(path) as temporary:
            safetensors.torch.save_file({"value": value.contiguous()}, temporary)
    except (GancompError, OSError, safetensors.SafetensorError):
        _warn_of_cache(path.parent)
    return value


@functools.cache  # once for each folder: an evaluation keeps several tensors, and all of them fail alike
def _warn_of_cache(folder: Path) -> None:
    log.warning(
        "Features of real pictures cannot be kept in %s (no permission, or the disk is full), so every evaluation "
        "takes them again; set GANCOMP_CACHE to a folder that can be written to.",
        folder,
    )


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


def _significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, never in scientific notation from 1e-4 up: 1234, 12.3, 0.0123."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{decimals}f}"
