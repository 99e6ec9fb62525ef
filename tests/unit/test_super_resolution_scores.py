"""Scores of super-resolution in the field's convention."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from gancomp_core.data import PictureSet, Task, load_task, to_float, to_uint8
from gancomp_core.data.photos import Photo, whole_photos
from gancomp_core.errors import GancompError
from gancomp_core.measure import bicubic, evaluate_super_resolution, luma, psnr_y, ssim_y
from gancomp_core.measure.statistics import paired_interval


@pytest.fixture(scope="module")
def photo():
    """A real picture, uint8 [1, 3, 96, 112]: smooth, with edges."""
    coarse = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return to_uint8(nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic"))


def noisy(pictures, amount):
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    return (to_float(pictures) + amount * noise).clamp(-1, 1)


def as_array(pictures):
    """The first picture as others want it: uint8 [H, W, C]."""
    return to_uint8(pictures)[0].permute(1, 2, 0).numpy()


# --- measures ---


def test_luma_is_that_of_the_definition():
    black, white, red = (torch.tensor(c).view(1, 3, 1, 1) for c in ([-1.0] * 3, [1.0] * 3, [1.0, -1.0, -1.0]))
    assert [float(luma(x)) for x in (black, white, red)] == pytest.approx([16, 235, 81.481])


def test_luma_agrees_with_scikit_image(photo):
    np.testing.assert_allclose(luma(to_float(photo))[0, 0], rgb2ycbcr(as_array(to_float(photo)))[..., 0], atol=1e-9)


def test_luma_of_gray_is_that_of_its_rgb_copy_and_sees_eight_bits_alone():
    gray = torch.linspace(-1.2, 1.2, 50).view(1, 1, 5, 10)
    torch.testing.assert_close(luma(gray), luma(gray.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(luma(gray), luma(to_float(to_uint8(gray))))


@pytest.mark.parametrize("border", [0, 4])
def test_scores_agree_with_scikit_image(photo, border):
    generated, target = noisy(photo, 0.1), to_float(photo)
    inner = slice(border, -border or None)
    a, b = (rgb2ycbcr(as_array(x))[inner, inner, 0] for x in (generated, target))
    expected = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert float(ssim_y(generated, target, border)) == pytest.approx(expected, abs=1e-9)
    expected = peak_signal_noise_ratio(a, b, data_range=255)
    assert float(psnr_y(generated, target, border)) == pytest.approx(expected, abs=1e-9)


def test_each_picture_has_its_own_score(photo):
    target = to_float(photo).expand(3, -1, -1, -1)
    generated = torch.cat([noisy(photo, amount) for amount in (0.3, 0.1, 0)])
    psnrs, ssims = psnr_y(generated, target, 4), ssim_y(generated, target, 4)
    assert psnrs[0] < psnrs[1] < psnrs[2] == math.inf
    assert ssims[0] < ssims[1] < ssims[2] == 1


def test_what_happens_in_the_border_does_not_count(photo):
    target, generated = to_float(photo), noisy(photo, 0.1)
    framed = generated.clone()
    framed[..., :4, :] = 1
    framed[..., -4:] = -1
    assert psnr_y(framed, target, 4) == psnr_y(generated, target, 4)
    assert psnr_y(framed, target, 3) < psnr_y(generated, target, 3)


def test_borders_that_leave_nothing_are_refused(photo):
    with pytest.raises(GancompError, match="at least 11 x 11"):
        ssim_y(to_float(photo), to_float(photo), 43)
    with pytest.raises(GancompError, match="border of -1 pixels"):
        psnr_y(to_float(photo), to_float(photo), -1)
    with pytest.raises(GancompError, match="must have the same shape"):
        psnr_y(to_float(photo), to_float(photo)[..., 1:], 4)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_pillows(photo, scale):
    """In floating point: in 8 bits Pillow clips between its two passes, at overshooting edges."""
    ours = bicubic(to_float(photo), scale)[0, 0]
    channel = Image.fromarray(photo[0, 0].numpy().astype(np.float32), "F")
    theirs = np.asarray(channel.resize((112 * scale, 96 * scale), Image.Resampling.BICUBIC)).clip(0, 255)
    np.testing.assert_allclose((ours + 1) * 127.5, theirs, atol=0.01)


# --- a network ---


def small_task(scale=2, labels=True, seed=0):
    """Eight crops of four photos, sources 16 px."""
    draw = torch.Generator().manual_seed(seed)

    def split(count):
        sources = torch.randint(0, 256, (count, 3, 4, 4), generator=draw).float()
        large = nn.functional.interpolate(sources / 127.5 - 1, size=16 * scale, mode="bilinear")
        small = nn.functional.avg_pool2d(large, scale)
        names = torch.arange(count) // 2 if labels else None
        return PictureSet(to_uint8(small), to_uint8(large), names)

    return Task("small", True, 16 * scale, 3, 3, split(8), split(8), split(8), "x", ("a", "b", "c", "d"), scale=scale)


def photos_of(task):
    batch = zip(task.test.sources.split(1), task.test.targets.split(1), strict=True)
    return [Photo(f"photo {i}", *pair) for i, pair in enumerate(batch)][:3]


class Nearest(nn.Module):
    def forward(self, x):
        assert not self.training
        return nn.functional.interpolate(x, scale_factor=2)


def test_bicubic_has_no_gain_over_itself():
    task = small_task()
    found = evaluate_super_resolution(lambda x: bicubic(x, 2), task, photos=photos_of(task))
    numbers = found.as_dict()
    assert (numbers["photos"], numbers["crops"]) == (3, 8)
    assert numbers["psnr_y_gain_photos"] == numbers["ssim_y_gain_crops"] == 0
    assert numbers["psnr_y_photos"] == numbers["bicubic_psnr_y_photos"]
    assert all(isinstance(value, float) and math.isfinite(value) for value in numbers.values())


def test_a_worse_network_loses_and_the_table_says_where():
    task = small_task()
    network = Nearest().train()
    found = evaluate_super_resolution(network, task, photos=photos_of(task), batch_size=3)
    assert network.training
    assert found.as_dict()["psnr_y_gain_crops"] < 0
    table = found.table()
    assert list(table.kind) == ["photo"] * 3 + ["crop"] * 8
    assert list(table.picture)[:5] == ["photo 0", "photo 1", "photo 2", "a", "a"]
    batch = task.test.batch(slice(5, 6))
    assert table.psnr_y[3 + 5] == pytest.approx(float(psnr_y(network.eval()(batch.source), batch.target, 2)))
    assert table.psnr_y_gain.tolist() == (table.psnr_y - table.bicubic_psnr_y).tolist()


def test_crops_of_one_photo_do_not_count_as_independent():
    task = small_task()
    found = evaluate_super_resolution(Nearest(), task)
    gains = found.table("crop").psnr_y_gain
    half_width = found.as_dict()["psnr_y_gain_interval_crops"]
    assert half_width == pytest.approx(paired_interval(gains, groups=[0, 0, 1, 1, 2, 2, 3, 3]).half_width)
    alone = evaluate_super_resolution(Nearest(), small_task(labels=False)).as_dict()
    assert alone["psnr_y_gain_interval_crops"] == pytest.approx(paired_interval(gains).half_width)
    assert "photos" not in alone


def test_a_perfect_network_and_a_single_photo_have_scores_without_an_interval():
    task = small_task()
    perfect = evaluate_super_resolution(lambda _: to_float(task.test.targets), task, batch_size=8)
    assert perfect.as_dict()["psnr_y_crops"] == math.inf
    assert perfect.as_dict()["ssim_y_crops"] == 1
    one = evaluate_super_resolution(Nearest(), task, photos=photos_of(task)[:1])
    assert "psnr_y_gain_interval_photos" not in one.as_dict()
    assert "1 photo: PSNR-Y" in str(one)
    assert "+-" not in str(one).partition(";")[0]


def test_quality_reads_as_a_sentence():
    task = small_task()
    found = evaluate_super_resolution(Nearest(), task, photos=photos_of(task))
    photos, crops = str(found).split("; ")
    for kind, sentence in (("photo", photos), ("crop", crops)):
        psnrs, ssims = found.table(kind).psnr_y, found.table(kind).ssim_y
        assert f"PSNR-Y {psnrs.mean():.1f} +- {psnrs.std():.1f} dB (" in sentence
        assert f"SSIM-Y {ssims.mean():.3f} +- {ssims.std():.3f} (" in sentence
    assert photos.startswith("x2: 3 photos: ")


def test_each_picture_is_listed_by_its_own_name_in_plain_values():
    task = small_task()
    found = evaluate_super_resolution(Nearest(), task, photos=photos_of(task))
    listed, table = found.pictures(), found.table()
    assert [each["name"] for each in listed][2:6] == ["photo 2", "a, crop 1", "a, crop 2", "b, crop 1"]
    assert list(listed[0]) == ["name", "psnr_y", "bicubic_psnr_y", "ssim_y", "bicubic_ssim_y"]
    assert [each["bicubic_ssim_y"] for each in listed] == table.bicubic_ssim_y.tolist()
    assert json.loads(json.dumps(listed)) == listed


def test_search_looks_at_no_test_picture():
    task = load_task("photos_x4")
    seen = []

    def watch(x):
        seen.append(x)
        return bicubic(x, 4)

    found = evaluate_super_resolution(watch, task, "search")
    assert torch.equal(torch.cat(seen), task.search.batch(slice(None)).source)
    assert (found.split, set(found.table().kind)) == ("search", {"crop"})
    tested = {task.label_names[label] for label in task.test.labels.tolist()}
    assert not set(found.table().picture) & (tested | {photo.name for photo in whole_photos()})


def test_mistakes_are_told_in_a_sentence():
    task = small_task()
    with pytest.raises(GancompError, match="'test' or 'search', not 'train'"):
        evaluate_super_resolution(Nearest(), task, "train")
    with pytest.raises(GancompError, match="has scale 1"):
        evaluate_super_resolution(Nearest(), load_task("edges2shoes"))
    with pytest.raises(GancompError, match=r"shape \[8, 3, 16, 16\] where the task's targets have \[8, 3, 32, 32\]"):
        evaluate_super_resolution(lambda x: x, task)
    with pytest.raises(GancompError, match="NaN or infinite"):
        evaluate_super_resolution(lambda x: bicubic(x, 2) * math.nan, task)


def test_shipped_photos_are_scored_whole_and_in_crops():
    found = evaluate_super_resolution(lambda x: bicubic(x, 4), load_task("photos_x4"))
    table = found.table()
    assert set(table.kind) == {"photo", "crop"}
    assert set(table[table.kind == "crop"].picture) <= set(table[table.kind == "photo"].picture)
    assert table.psnr_y.between(15, 50).all()
