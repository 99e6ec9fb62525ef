"""How well pictures show their semantic maps."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from gancomp_core.data import PictureSet, Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.measure import (
    class_iou,
    confusion,
    evaluate_segmentation,
    evaluate_semantic,
    labels_of,
    mean_iou,
    pixel_accuracy,
)

COLORS = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])


class Reader(nn.Module):
    """The perfect segmenter of pictures painted in COLORS: scores are likeness to each."""

    def forward(self, x):
        assert not self.training
        return torch.einsum("nchw,kc->nkhw", x, COLORS)


def paint(maps):
    return torch.einsum("nkhw,kc->nchw", (maps + 1) / 2, COLORS)


def semantic_task(classes=4, palette=True):
    """Random maps of 8 px; real pictures are the maps painted in COLORS."""
    draw = torch.Generator().manual_seed(0)

    def split(count):
        labels = torch.randint(classes, (count, 8, 8), generator=draw)
        maps = nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).to(torch.uint8) * 255
        pictures = ((paint(maps / 127.5 - 1) + 1) * 127.5).round().to(torch.uint8)
        return PictureSet(maps, pictures)

    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)) if palette else ()
    names = ("roof", "lawn", "lake", "sand")
    return Task("maps", True, 8, 4, 3, split(12), split(6), split(10), "maps", class_names=names, palette=colors)


# --- measures ---


def test_measures_are_those_of_a_hand_computed_example():
    truth = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
    predicted = torch.tensor([[[0, 1, 1], [1, 1, 0]]])
    found = confusion(predicted, truth, 4)
    assert found.tolist() == [[1, 1, 0, 0], [0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert class_iou(found).tolist()[:3] == pytest.approx([1 / 3, 3 / 4, 0])
    assert math.isnan(class_iou(found)[3])  # neither side has it
    assert mean_iou(found) == pytest.approx((1 / 3 + 3 / 4 + 0) / 3)
    assert pixel_accuracy(found) == pytest.approx(4 / 6)


def test_measures_agree_with_sets_of_pixels():
    draw = torch.Generator().manual_seed(1)
    truth, predicted = (torch.randint(6, (3, 20, 20), generator=draw) for _ in range(2))
    predicted = torch.where(torch.rand(truth.shape, generator=draw) < 0.7, truth, predicted)
    expected = []
    for k in range(6):
        here, there = (set(map(tuple, (labels == k).nonzero().tolist())) for labels in (truth, predicted))
        expected.append(len(here & there) / len(here | there))
    assert mean_iou(confusion(predicted, truth, 6)) == pytest.approx(sum(expected) / 6)
    assert pixel_accuracy(confusion(predicted, truth, 6)) == pytest.approx(float((predicted == truth).float().mean()))


def test_pixels_without_a_class_do_not_count():
    truth, predicted = torch.tensor([[[0, 1, -1]]]), torch.tensor([[[0, 0, 1]]])
    assert confusion(predicted, truth, 2).tolist() == [[1, 0], [1, 0]]
    maps = torch.full((1, 2, 1, 3), -1.0)
    maps[0, 0, 0, 0] = maps[0, 1, 0, 1] = 1
    assert labels_of(maps).tolist() == [[[0, 1, -1]]]
    assert labels_of(((maps + 1) * 127.5).to(torch.uint8)).tolist() == [[[0, 1, -1]]]


def test_impossible_labels_are_refused():
    with pytest.raises(GancompError, match="go from 0 to 4, but they are 0 to 3"):
        confusion(torch.tensor([0, 4]), torch.tensor([0, 1]), 4)
    with pytest.raises(GancompError, match=r"shape \[2\] and the true ones \[3\]"):
        confusion(torch.zeros(2), torch.zeros(3), 4)


# --- networks ---


def test_a_perfect_generator_is_read_as_well_as_real_pictures():
    found = evaluate_semantic(paint, semantic_task(), Reader().train())
    assert found.miou == found.accuracy == found.real.miou == 1
    assert found.per_class == {"roof": 1, "lawn": 1, "lake": 1, "sand": 1}
    expected = {"miou": 1, "accuracy": 1, "real_miou": 1, "real_accuracy": 1, "samples": 10}
    assert {key: value for key, value in found.as_dict().items() if "majority" not in key} == expected


def test_scores_stand_beside_those_of_always_answering_the_most_frequent_class():
    task = semantic_task()
    labels = labels_of(task.test.sources)
    found, most = evaluate_semantic(paint, task, Reader()), labels.flatten().mode().values
    constant = confusion(torch.full_like(labels, int(most)), labels, 4)
    assert found.majority.accuracy == found.as_dict()["majority_accuracy"] == pixel_accuracy(constant)
    assert found.majority.miou == found.as_dict()["majority_miou"] == pytest.approx(mean_iou(constant))
    assert f"always the most frequent class: mIoU {mean_iou(constant):.3f}" in str(found)


@pytest.mark.parametrize("split", ["test", "search"])
def test_the_split_asked_for_is_the_one_that_is_scored(split):
    task, seen = semantic_task(), []

    def watch(maps):
        seen.append(labels_of(maps))
        return paint(maps)

    found = evaluate_semantic(watch, task, Reader(), split)
    pictures = getattr(task, split)
    assert torch.equal(torch.cat(seen), labels_of(pictures.sources))
    assert (found.split, found.samples) == (split, len(pictures))

    blank = PictureSet(pictures.sources, torch.zeros_like(pictures.targets))
    spoilt = dataclasses.replace(task, **{split: blank})
    other = "search" if split == "test" else "test"
    assert evaluate_segmentation(Reader(), spoilt, split=split).accuracy < 1
    assert evaluate_segmentation(Reader(), spoilt, split=other).accuracy == 1


def test_a_generator_that_paints_one_class_wrong_is_graded_by_class():
    def forgets_sand(maps):
        maps = maps.clone()
        maps[:, 2] = torch.maximum(maps[:, 2], maps[:, 3])
        maps[:, 3] = -1
        return paint(maps)

    task = semantic_task()
    found = evaluate_semantic(forgets_sand, task, Reader())
    labels = labels_of(task.test.sources)
    lake, sand = (float((labels == k).sum()) for k in (2, 3))
    assert found.per_class == pytest.approx({"roof": 1, "lawn": 1, "lake": lake / (lake + sand), "sand": 0})
    assert found.miou == pytest.approx((2 + lake / (lake + sand)) / 4)
    assert found.accuracy == pytest.approx(1 - sand / labels.numel())
    assert found.real.accuracy == 1


def test_a_class_that_no_map_has_is_left_out():
    found = evaluate_semantic(paint, semantic_task(classes=3), Reader())
    assert set(found.per_class) == {"roof", "lawn", "lake"}
    assert found.miou == 1


def test_a_segmenter_is_scored_on_the_real_pictures_of_a_task():
    task, segmenter = semantic_task(), Reader().train()
    found = evaluate_segmentation(segmenter, task, batch_size=3)
    assert segmenter.training
    assert found == evaluate_segmentation(segmenter, task)
    assert found.as_dict() == {"miou": 1, "accuracy": 1}
    assert str(found) == "mIoU 1.000, pixel accuracy 100.0%"


def test_mistakes_are_told_in_a_sentence():
    task = semantic_task()
    with pytest.raises(GancompError, match="no semantic maps"):
        evaluate_semantic(paint, load_task("edges2shoes"), Reader())
    with pytest.raises(GancompError, match="no semantic maps"):
        evaluate_segmentation(Reader(), semantic_task(palette=False))
    with pytest.raises(GancompError, match="'test' or 'search', not 'train'"):
        evaluate_semantic(paint, task, Reader(), split="train")
    with pytest.raises(GancompError, match="'test' or 'search', not 'train'"):
        evaluate_segmentation(Reader(), task, split="train")
    halved = nn.Sequential(Reader(), nn.AvgPool2d(2))
    with pytest.raises(GancompError, match=r"scores of shape \[10, 4, 4, 4\] for maps of \[10, 8, 8\]"):
        evaluate_segmentation(halved, task)
    more = nn.Sequential(Reader(), nn.ConstantPad3d((0, 0, 0, 0, 0, 1), -9))
    for evaluate in (lambda: evaluate_semantic(paint, task, more), lambda: evaluate_segmentation(more, task)):
        with pytest.raises(GancompError, match="knows 5 classes and the task has 4; the numbers must be equal"):
            evaluate()
    with pytest.raises(GancompError, match=r"shape \[10, 3, 4, 4\] where the task's targets have \[10, 3, 8, 8\]"):
        evaluate_semantic(lambda maps: paint(maps)[..., ::2, ::2], task, Reader())
    with pytest.raises(GancompError, match="NaN or infinite"):
        evaluate_semantic(lambda maps: paint(maps) * math.nan, task, Reader())
