"""The tasks made of maps of the planet: where their tiles come from, and what happens when a map is damaged."""

import hashlib
import importlib.util
import json

import numpy as np
import pytest
import torch
from PIL import Image

from factories import copied
from gancomp_core.data import Batches, load_task, planet
from gancomp_core.files import REPOSITORY

SHIPPED = REPOSITORY / "data" / "planet"
MAPS = [planet.COVER, planet.SUMMER, planet.WINTER]
SPLITS = ("train", "search", "test")


@pytest.fixture(scope="module")
def cover_task():
    return load_task("landcover2satellite")


@pytest.fixture(scope="module")
def season_task():
    return load_task("summer2winter")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the shipped files that may be damaged."""
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    return copied(SHIPPED, [*MAPS, "manifest.json"], tmp_path)


def taken_columns(bands, map_width):
    """Every column of the map that a tile of these bands covers."""
    return {x + offset for x in bands.columns(map_width) for offset in range(planet.TILE)}


def gaps_between(one, other, map_width):
    """Least distance in columns from one set to the other, the map being round."""
    first, second = (np.array(sorted(columns)) for columns in (one, other))
    distance = np.abs(first[:, None] - second[None])
    return int(np.minimum(distance, map_width - distance).min()) - 1


# --- what the tasks hold ---------------------------------------------------------------------------------------------


def test_every_class_has_a_name_and_a_color_of_its_own(cover_task):
    assert len(cover_task.class_names) == len(cover_task.palette) == len(set(cover_task.palette)) == 10
    assert cover_task.class_names[0] == "water"


@pytest.mark.parametrize("split", SPLITS)
def test_every_pixel_is_of_exactly_one_class(cover_task, split):
    sources = getattr(cover_task, split).sources[:]
    assert sources.dtype == torch.uint8
    assert ((sources == 255).sum(1) == 1).all()
    assert ((sources == 0).sum(1) == 9).all()


@pytest.mark.parametrize("split", SPLITS)
def test_every_tile_has_three_classes_and_a_third_of_land(cover_task, split):
    shares = (getattr(cover_task, split).sources[:] == 255).float().mean((2, 3))
    assert ((shares >= planet.SHARE).sum(1) >= 3).all()
    assert (shares[:, 0] <= 0.7).all()


def test_every_class_is_in_every_split(cover_task):
    for split in SPLITS:
        shares = (getattr(cover_task, split).sources[:] == 255).float().mean((0, 2, 3))
        assert (shares > 0.002).all()


def test_one_hot_maps_stay_small_in_memory(cover_task):
    sources = cover_task.train.sources
    assert sources.maps.nbytes == len(sources) * 64 * 64


def test_one_hot_by_slice_and_by_numbers_is_the_same():
    pictures = planet.OneHot(torch.tensor([[[0, 1]], [[2, 2]], [[1, 0]]], dtype=torch.uint8), 3)
    assert len(pictures) == 3
    assert pictures[0:1].tolist() == [[[[255, 0]], [[0, 255]], [[0, 0]]]]
    assert torch.equal(pictures[torch.tensor([2, 1])], pictures[:][[2, 1]])


def test_batches_mirror_map_and_picture_alike(cover_task):
    batch = Batches(cover_task.train, 32, seed=0, paired=True).at(0)
    assert ((batch.source == 1).sum(1) == 1).all()
    bright, ice = batch.target.mean(1), batch.source[:, 8] == 1
    assert bright[ice].mean() > bright[~ice].mean() + 0.5


# --- no pixel is in two splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [("train", "search"), ("train", "test"), ("search", "test")])
def test_land_cover_splits_lie_a_tile_apart(one, other):
    columns = [taken_columns(planet.COVER_BANDS[name], 5400) for name in (one, other)]
    assert gaps_between(*columns, 5400) >= planet.TILE


@pytest.mark.parametrize("training", ["train sources", "train targets"])
@pytest.mark.parametrize("held_out", ["search", "test"])
def test_seasons_held_out_lie_a_tile_apart_from_training(training, held_out):
    columns = [taken_columns(planet.SEASON_BANDS[name], 4096) for name in (training, held_out)]
    assert gaps_between(*columns, 4096) >= planet.TILE


def test_no_place_is_on_both_training_sides_or_in_search_and_test():
    taken = {name: taken_columns(bands, 4096) for name, bands in planet.SEASON_BANDS.items()}
    assert not taken["train sources"] & taken["train targets"]
    assert gaps_between(taken["search"], taken["test"], 4096) >= planet.TILE


@pytest.mark.parametrize("bands", [planet.COVER_BANDS, planet.SEASON_BANDS])
def test_tiles_of_search_and_test_do_not_overlap(bands):
    for name in ("search", "test"):
        columns = sorted(bands[name].columns(5400))
        assert min(np.diff(columns)) >= planet.TILE
        assert bands[name].stride == planet.TILE  # which is the distance of rows, too


def test_tiles_end_where_the_map_does():
    assert planet.Bands(0, 128, period=100).columns(170) == [0, 64, 100]


# --- the maps lie on top of each other -------------------------------------------------------------------------------


def dark_blue(pictures):
    """Where a satellite picture shows water: blue above red."""
    pixels = pictures.int()
    return pixels[:, 2] > pixels[:, 0] + 8


def test_water_of_the_land_cover_is_blue_on_the_satellite_picture(cover_task):
    water = cover_task.test.sources[:][:, 0] == 255
    agreement = (dark_blue(cover_task.test.targets[:]) == water).float().mean()
    moved = (dark_blue(cover_task.test.targets[:]).roll(4, 2) == water).float().mean()
    assert agreement > 0.95
    assert agreement > moved


def test_coasts_of_summer_and_winter_are_the_same(season_task):
    seas = [dark_blue(side[:]) for side in (season_task.test.sources, season_task.test.targets)]
    agreement = (seas[0] == seas[1]).float().mean()
    assert agreement > 0.95
    assert agreement > (seas[0].roll(4, 2) == seas[1]).float().mean()


def test_winter_is_whiter_than_summer(season_task):
    summer, winter = (side[:].float().mean((1, 2, 3)) for side in (season_task.test.sources, season_task.test.targets))
    assert winter.mean() > summer.mean()


# --- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["landcover2satellite", "summer2winter"])
def test_loading_twice_gives_the_same_tiles(name):
    one, two = (getattr(planet, name)(REPOSITORY / "data") for _ in range(2))
    assert one.fingerprint == two.fingerprint
    for split in SPLITS:
        first, second = getattr(one, split), getattr(two, split)
        assert torch.equal(first.sources[:50], second.sources[:50])
        assert torch.equal(first.targets[:], second.targets[:])


def test_another_tiling_has_another_fingerprint(cover_task, monkeypatch):
    monkeypatch.setattr(planet, "GAMMA", 0.7)
    assert planet.landcover2satellite(REPOSITORY / "data").fingerprint != cover_task.fingerprint


def test_land_cover_does_without_the_winter(copy):
    (copy / planet.WINTER).unlink()
    assert len(load_task("landcover2satellite").test) == 208


# --- the shipped files -----------------------------------------------------------------------------------------------


def test_pixels_of_the_land_cover_are_those_of_the_manifest():
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    with Image.open(SHIPPED / planet.COVER) as picture:
        pixels = np.array(picture)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == manifest["pixels"][planet.COVER]


def test_photos_are_those_of_their_packages_byte_by_byte():
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    given = {name.rsplit("/")[-1]: digest for name, digest in manifest["inputs"].items()}
    assert all(given[name] == manifest["outputs"][name] for name in (planet.SUMMER, planet.WINTER))


def test_every_igbp_class_is_merged_into_one_of_ours():
    manifest = json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    assert sorted(number for entry in manifest["classes"] for number in entry["igbp"]) == list(range(17))


def test_merging_takes_the_class_with_the_largest_area(monkeypatch):
    spec = importlib.util.spec_from_file_location("build_planet", SHIPPED / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    monkeypatch.setattr(build, "GRID", (3, 3))
    igbp = np.full((4, 4), 15, np.uint8)
    igbp[:, 3] = 10  # fills the last of three columns, each a column and a third wide, to three quarters
    assert build.merged(igbp).tolist() == [[8, 8, 6]] * 3
