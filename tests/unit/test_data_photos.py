"""The shipped task photos_x4: what it holds, whose photos they are, and what happens when a file is missing."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from factories import copied
from gancomp_core.data import Batches, load_task
from gancomp_core.data.photos import more_photos, photos_x4, shrink, whole_photos
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, sha256

SHIPPED = REPOSITORY / "data" / "photos"
MANIFEST = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
FILES = [photo["file"] for photo in MANIFEST["photos"]]
BICUBIC = Image.Resampling.BICUBIC


@pytest.fixture
def copy(tmp_path):
    """A folder ``data`` with a copy of the shipped photos that may be damaged."""
    return copied(SHIPPED, [*FILES, "manifest.json"], tmp_path).parent


@pytest.fixture(scope="module")
def task():
    return load_task("photos_x4")


def splits(task):
    return task.train, task.search, task.test


def bicubic(picture, scale):
    """A picture (uint8 [3, h, w]) by the textbook: Pillow's antialiased bicubic interpolation."""
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    small = image.resize((image.width // scale, image.height // scale), BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


# --- what it holds ----------------------------------------------------------------------------------------------------


def test_no_photo_is_in_two_splits(task):
    photos = [{task.label_names[label] for label in part.labels.tolist()} for part in splits(task)]
    assert [len(names) for names in photos] == [7, 2, 6]
    assert len(set.union(*photos)) == 15
    assert len({photo["input"]["sha256"] for photo in MANIFEST["photos"]}) == 15


def test_no_tile_is_there_twice(task):
    tiles = torch.cat([part.targets[:] for part in splits(task)])
    assert len({tile.numpy().tobytes() for tile in tiles}) == len(tiles)


def test_source_is_the_bicubic_reduction_of_its_target(task):
    for part in splits(task):
        assert torch.equal(part.sources[5], bicubic(part.targets[5], 4))


def test_tiles_have_detail_that_bicubic_enlargement_loses(task):
    for part in (task.train, task.search):
        small = shrink(part.targets[:], 4).permute(0, 2, 3, 1).numpy()
        large = np.stack([np.asarray(Image.fromarray(pixels).resize((192, 192), BICUBIC)) for pixels in small])
        error = part.targets[:].permute(0, 2, 3, 1).numpy() - large.astype(np.float64)
        assert np.sqrt((error**2).mean((1, 2, 3))).min() > 3  # 3.5 before compression


def test_pixels_are_those_the_manifest_promises():
    for photo in MANIFEST["photos"]:
        with Image.open(SHIPPED / photo["file"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert Path(photo["file"]).stem == photo["name"]
        assert photo["pixels"] == hashlib.sha256(pixels.tobytes()).hexdigest(), photo["name"]


def test_the_same_pictures_come_each_time(task):
    again = photos_x4(REPOSITORY / "data")
    assert again.fingerprint == task.fingerprint
    assert torch.equal(again.train.sources[:], task.train.sources[:])
    assert torch.equal(again.test.targets[:], task.test.targets[:])


def test_super_resolution_has_no_way_back(task):
    with pytest.raises(GancompError, match="'photos_x4' goes one way only"):
        task.reversed()


# --- training squares -------------------------------------------------------------------------------------------------


def test_cut_source_is_the_reduction_of_the_cut_target_away_from_its_edges(task):
    batch = Batches(task.train, 16, seed=0, paired=True, crop=96, scale=4).at(2)
    assert (batch.source.shape, batch.target.shape) == ((16, 3, 24, 24), (16, 3, 96, 96))
    expected = torch.nn.functional.interpolate(batch.target, scale_factor=0.25, mode="bicubic", antialias=True)
    inner = (..., slice(3, -3), slice(3, -3))
    assert (batch.source[inner] - expected.clamp(-1, 1)[inner]).abs().max() < 3 * 2 / 255  # roundings of 8 bits


def test_cut_squares_differ_from_step_to_step_and_come_again(task):
    batches = Batches(task.train, 4, seed=0, paired=True, crop=96, scale=4)
    assert torch.equal(batches.at(7).source, batches.at(7).source)
    assert not torch.equal(batches.at(7).source, batches.at(8).source)


# --- whole test pictures ----------------------------------------------------------------------------------------------


def test_whole_test_pictures_are_four_times_larger_than_their_sources():
    photos = whole_photos()
    assert [photo.name for photo in photos] == ["astronaut", "cat", "coffee", "rocket", "camera", "brick"]
    for photo in photos:
        assert photo.source.dtype == photo.target.dtype == torch.uint8
        assert photo.target.shape == (1, 3, 4 * photo.source.shape[2], 4 * photo.source.shape[3])
        assert torch.equal(photo.source[0], bicubic(photo.target[0], 4))


def test_test_tiles_are_squares_of_the_whole_test_pictures(task):
    for photo in whole_photos():
        label = task.label_names.index(photo.name)
        tile = task.test.targets[:][task.test.labels == label][0]
        rows, columns = (side // 192 for side in photo.target.shape[2:])
        top, left = (photo.target.shape[2] - rows * 192) // 2, (photo.target.shape[3] - columns * 192) // 2
        assert torch.equal(tile, photo.target[0, :, top : top + 192, left : left + 192])
        assert (task.test.labels == label).sum() == rows * columns


def test_test_pictures_are_stored_without_loss():
    skimage_data = pytest.importorskip("skimage.data")
    astronaut = whole_photos()[0].target[0].permute(1, 2, 0).numpy()
    assert np.array_equal(astronaut, skimage_data.astronaut())


# --- more test pictures -----------------------------------------------------------------------------------------------

MORE = REPOSITORY / "data" / "photos_more"
MORE_MANIFEST = json.loads((MORE / "manifest.json").read_text(encoding="utf-8"))


def test_twenty_test_pictures_are_all_different_and_of_a_width_and_height_that_the_scale_divides():
    photos = [*whole_photos(), *more_photos()]
    assert len({photo.name for photo in photos}) == len({photo.target.numpy().tobytes() for photo in photos}) == 20
    inputs = {photo["input"]["sha256"] for photo in [*MANIFEST["photos"], *MORE_MANIFEST["photos"]]}
    assert len(inputs) == 29  # none of them is trained on
    for photo in photos:
        assert torch.equal(photo.source[0], bicubic(photo.target[0], 4))
        assert photo.target.shape == (1, 3, 4 * photo.source.shape[2], 4 * photo.source.shape[3])


def test_more_pictures_are_what_their_manifest_says_and_small():
    pixels = {photo.name: photo.target[0].permute(1, 2, 0).numpy().tobytes() for photo in more_photos()}
    for photo in MORE_MANIFEST["photos"]:
        assert photo["pixels"] == hashlib.sha256(pixels[photo["name"]]).hexdigest()
    assert {path.name for path in MORE.glob("*.webp")} == {photo["file"] for photo in MORE_MANIFEST["photos"]}
    assert sum(path.stat().st_size for path in MORE.iterdir() if path.is_file()) < 2_500_000


def test_more_pictures_allow_any_use_with_attribution_at_most():
    lines = (MORE / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    assert {photo["licence"] for photo in MORE_MANIFEST["photos"]} == {"CC0-1.0", "CC-BY-2.0", "public domain"}
    for photo in MORE_MANIFEST["photos"]:
        (line,) = [line for line in lines if line.startswith(f"| `{photo['file']}` |")]
        facts = [photo[name] for name in ("author", "title", "source", "origin")]
        assert all(fact in line for fact in [*facts, MORE_MANIFEST["licences"][photo["licence"]]])


def test_a_damaged_picture_of_more_is_refused(tmp_path):
    folder = copied(MORE, [*(photo["file"] for photo in MORE_MANIFEST["photos"]), "manifest.json"], tmp_path)
    assert len(more_photos(tmp_path)) == 14
    damaged = folder / "sheep.webp"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(GancompError, match=r"sheep\.webp"):
        more_photos(tmp_path)


# --- whose photos they are --------------------------------------------------------------------------------------------


def test_every_licence_allows_any_use_with_attribution_at_most():
    assert {photo["licence"] for photo in MANIFEST["photos"]} == {"CC0-1.0", "CC-BY-4.0", "public domain"}


def test_attribution_names_author_title_and_licence_of_every_file():
    lines = (SHIPPED / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    for photo in MANIFEST["photos"]:
        (line,) = [line for line in lines if line.startswith(f"| `{photo['file']}` |")]
        facts = [photo["author"], photo["title"], photo["input"]["file"], MANIFEST["licences"][photo["licence"]]]
        assert all(fact in line for fact in facts)


def test_shipped_photos_stay_small():
    assert all(sha256(SHIPPED / photo["file"]) == photo["sha256"] for photo in MANIFEST["photos"])
    assert sum(path.stat().st_size for path in SHIPPED.iterdir() if path.is_file()) < 4_000_000


# --- when a file is missing or damaged --------------------------------------------------------------------------------


def test_test_pictures_need_no_training_photos(copy):
    (copy / "photos" / "stream.webp").unlink()
    assert len(whole_photos(copy)) == 6
