"""How well a picture shows the semantic map it was made from: a segmenter labels it, and the labels are compared.

A segmenter is any module that maps float32 pictures [N, 3, H, W] in [-1, 1] to class scores [N, C, H, W]. Label maps
are int64 [N, H, W]; a pixel below 0 has no class and does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancomp_core.data import Task
from gancomp_core.errors import GancompError
from gancomp_core.measure.running import check_output, measuring, scored_split


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Number of pixels of each true class (row) that were predicted as each class (column).

    Args:
        predicted: Label maps, int64 [N, H, W].
        truth: Label maps of the same shape; pixels below 0 are skipped.
        classes: Number of classes.

    Returns:
        int64 [classes, classes].

    Raises:
        GancompError: For different shapes, and for classes outside 0 to ``classes`` - 1.
    """
    if predicted.shape != truth.shape:
        raise GancompError(
            f"The predicted label maps have shape {list(predicted.shape)} and the true ones {list(truth.shape)}; "
            "compare maps of the same pictures and size."
        )
    known = truth >= 0
    predicted, truth = predicted[known].long(), truth[known].long()
    for name, labels in (("predicted", predicted), ("true", truth)):
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise GancompError(
                f"The {name} classes go from {int(labels.min())} to {int(labels.max())}, but they are 0 to "
                f"{classes - 1}; give a segmenter and maps of the same {classes} classes."
            )
    return torch.bincount(truth * classes + predicted, minlength=classes * classes).view(classes, classes)


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of every class: float64 [C], NaN for a class that neither side has."""
    matrix = confusion.double()
    hits = matrix.diagonal()
    return hits / (matrix.sum(0) + matrix.sum(1) - hits)


def mean_iou(confusion: Tensor) -> float:
    """Mean intersection over union, over the classes that occur in the truth or in the prediction."""
    return float(class_iou(confusion).nanmean())


def pixel_accuracy(confusion: Tensor) -> float:
    """Share of the pixels that have the right class, in [0, 1]."""
    return float(confusion.diagonal().sum() / confusion.sum())


@dataclass(frozen=True)
class SegmentationScore:
    """Accuracy of predicted label maps.

    Attributes:
        miou: Mean intersection over union, in [0, 1].
        accuracy: Share of pixels that have the right class.
        per_class: Intersection over union of each class; NaN where a class does not occur.
    """

    miou: float
    accuracy: float
    per_class: tuple[float, ...]

    @classmethod
    def of(cls, confusion: Tensor) -> SegmentationScore:
        """The score of a confusion matrix."""
        return cls(mean_iou(confusion), pixel_accuracy(confusion), tuple(class_iou(confusion).tolist()))

    def as_dict(self) -> dict[str, float]:
        """Flat numbers for a table."""
        return {"miou": self.miou, "accuracy": self.accuracy}

    def __str__(self) -> str:
        return f"mIoU {self.miou:.3f}, pixel accuracy {self.accuracy:.1%}"


def evaluate_segmentation(
    segmenter: nn.Module,
    task: Task,
    split: str = "test",
    device: torch.device | str = "cpu",
    batch_size: int = 64,
) -> SegmentationScore:
    """Score a segmenter on the real pictures of a task, whose maps are known.

    Args:
        segmenter: Run in eval mode on ``device``; its mode and device are restored.
        task: A task whose sources are semantic maps.
        split: "test" or "search".
        device: Where the segmenter runs.
        batch_size: Pictures in a batch.

    Returns:
        The score.

    Raises:
        GancompError: For a task without semantic maps, for another split, and for a segmenter whose classes are not
            those of the task.
    """
    _check_semantic(task)
    pictures, device, classes = scored_split(task, split), torch.device(device), len(_class_names(task))
    with measuring(device, segmenter):
        batches = map(pictures.batch, torch.arange(len(pictures)).split(batch_size))
        parts = (_read(segmenter, batch.target, labels_of(batch.source), device, classes) for batch in batches)
        return SegmentationScore.of(_total(parts))


@dataclass(frozen=True)
class SegmentationQuality:
    """How well generated pictures show their maps, as a segmenter labels them, with its score on the real pictures.

    Attributes:
        task: Name of the task.
        split: "test" or "search".
        samples: Number of pictures.
        generated: The generator's score.
        real: The segmenter's score on the real pictures of the same maps. It is no upper bound: pictures that are more
            typical than real ones are labeled better.
        majority: The score of always answering the most frequent class of these maps.
        class_names: Names of the classes of ``per_class``.
    """

    task: str
    split: str
    samples: int
    generated: SegmentationScore
    real: SegmentationScore
    majority: SegmentationScore
    class_names: tuple[str, ...]

    @property
    def miou(self) -> float:
        return self.generated.miou

    @property
    def accuracy(self) -> float:
        return self.generated.accuracy

    @property
    def per_class(self) -> dict[str, float]:
        """IoU of the generated pictures by class; classes that do not occur are left out."""
        pairs = zip(self.class_names, self.generated.per_class, strict=True)
        return {name: value for name, value in pairs if not math.isnan(value)}

    def as_dict(self) -> dict[str, float]:
        """Flat numbers for a table; ``real_*`` on real pictures, ``majority_*`` for the most frequent class."""
        parts = {"": self.generated, "real_": self.real, "majority_": self.majority}
        numbers = {f"{part}{name}": value for part, score in parts.items() for name, value in score.as_dict().items()}
        return numbers | {"samples": float(self.samples)}

    def __str__(self) -> str:
        compared = f"real pictures, for comparison: {self.real}; always the most frequent class: {self.majority}"
        return f"{self.generated} ({compared}; {self.samples:,} pictures)"


def evaluate_semantic(
    generator: Callable[[Tensor], Tensor],
    task: Task,
    segmenter: nn.Module,
    split: str = "test",
    device: torch.device | str = "cpu",
    batch_size: int = 64,
) -> SegmentationQuality:
    """Run a generator over the maps of a split, label its pictures with a segmenter, and compare with the maps.

    Modules run in eval mode on ``device`` in float32; their modes and devices are restored.

    Args:
        generator: Maps semantic maps [N, C, H, W] to pictures [N, 3, H, W] in [-1, 1].
        task: A task whose sources are semantic maps.
        segmenter: Maps pictures to class scores [N, classes, H, W].
        split: "test" or "search".
        device: Where modules run.
        batch_size: Pictures in a batch.

    Returns:
        The quality.

    Raises:
        GancompError: For a task without semantic maps, for another split, for pictures or scores of another size, and
            for a segmenter whose classes are not those of the task.
    """
    _check_semantic(task)
    pictures, device, names = scored_split(task, split), torch.device(device), _class_names(task)
    generated, real = [], []
    with measuring(device, segmenter, generator):
        for indices in torch.arange(len(pictures)).split(batch_size):
            batch = pictures.batch(indices)
            truth = labels_of(batch.source)
            made = generator(batch.source.to(device)).float()
            check_output(made, batch.target)
            generated.append(_read(segmenter, made.clamp(-1, 1), truth, device, len(names)))
            real.append(_read(segmenter, batch.target, truth, device, len(names)))
    matrices = _total(generated), _total(real), _always_the_most_frequent(_total(real))
    made_score, real_score, majority = map(SegmentationScore.of, matrices)
    return SegmentationQuality(task.name, split, len(pictures), made_score, real_score, majority, names)


def labels_of(maps: Tensor) -> Tensor:
    """Label maps of semantic maps [N, C, H, W], in which channel i is high where class i is.

    Returns:
        int64 [N, H, W]; -1 for a pixel without any class (all channels at most at the middle of the range).
    """
    values, labels = maps.max(1)
    middle = 0 if maps.is_floating_point() else 127
    return labels.masked_fill(values <= middle, -1)


def _check_semantic(task: Task) -> None:
    if not task.palette:
        raise GancompError(
            f"The sources of '{task.name}' are no semantic maps; measure mIoU on a task with a palette, such as "
            "'landcover2satellite'."
        )


def _class_names(task: Task) -> tuple[str, ...]:
    return task.class_names or tuple(str(i) for i in range(task.source_channels))


def _always_the_most_frequent(confusion: Tensor) -> Tensor:
    """The confusion matrix, for the same truth, of always answering its most frequent class."""
    pixels = confusion.sum(1)
    matrix = torch.zeros_like(confusion)
    matrix[:, pixels.argmax()] = pixels
    return matrix


def _read(segmenter: nn.Module, pictures: Tensor, truth: Tensor, device: torch.device, classes: int) -> Tensor:
    """The confusion matrix of one batch; ``classes`` is the number that the segmenter must have."""
    if not pictures.isfinite().all():
        raise GancompError(
            "The pictures hold NaN or infinite values, so they show no map; check the generator that made them."
        )
    scores = segmenter(pictures.to(device))
    if scores.ndim != 4 or scores.shape[0] != len(truth) or scores.shape[2:] != truth.shape[1:]:
        raise GancompError(
            f"The segmenter gave scores of shape {list(scores.shape)} for maps of {list(truth.shape)}; it must give "
            "[N, classes, H, W] at the size of the maps."
        )
    if scores.shape[1] != classes:
        raise GancompError(
            f"The segmenter knows {scores.shape[1]} classes and the task has {classes}; "
            "the numbers must be equal, so use a segmenter that was trained on this task."
        )
    return confusion(scores.argmax(1).cpu(), truth, classes)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)
