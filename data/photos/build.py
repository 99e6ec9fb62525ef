"""Build the pictures of the task photos_x4 from Debian's lomiri-wallpapers-16.04 and scikit-image (for maintainers).

Run ``python data/photos/build.py [--from FOLDER] [--to FOLDER]``. It needs scikit-image, whose package holds the test
pictures; loading the result does not. Same inputs give the same pixels with one version of libwebp; the manifest
holds their SHA-256, so any later change shows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image

from gancomp_core.files import atomic_write, sha256

SIZE, SCALE = 192, 4  # of a tile in pixels, between the sides of a pair
DETAIL = 3.5  # tiles that bicubic x4 restores better than this error (of 255) have nothing to teach
QUALITY = 89  # of the WebP sheets: about 39 dB from the reduced photo, most of it colour; 92 would cost 400 kB more
BLUR = 12  # pixels that stand for a tile that is not used
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS

DEBIAN = {
    "package": "lomiri-wallpapers-16.04 (Debian)",
    "version": "20.04.0-2",
    "upstream": "https://gitlab.com/ubports/development/core/lomiri-wallpapers",
}
SKIMAGE = {
    "package": "scikit-image (PyPI)",
    "version": "0.26.0",
    "upstream": "https://github.com/scikit-image/scikit-image",
}
LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}


@dataclass(frozen=True)
class Photo:
    """One input: its name here, the split it belongs to, its file in the package, and whose it is."""

    name: str
    split: str
    file: str
    sha256: str
    title: str
    author: str
    licence: str
    reduced: int = 2  # how many times smaller each side becomes, which leaves camera noise and blur behind

    @property
    def output(self) -> str:
        return f"{self.name}.webp"

    @property
    def origin(self) -> dict[str, str]:
        return SKIMAGE if self.split == "test" else DEBIAN


# Not taken from the package: share-alike photos, and umang_by_Abhishek_Mudgal.jpg, a smooth gradient.
PHOTOS = [
    Photo(
        "stream",
        "train",
        "life_by_Aitzol_Berasategi.jpg",
        "4c119350ead80201fe256850c3d316309ddfb4bdf10b235ce982dcde0c667c05",
        "life",
        "Aitzol Berasategi",
        "CC-BY-4.0",
    ),
    Photo(
        "mountains",
        "train",
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "414d0072b2f6f2c555deafeaef6e45c4fed6fa9ad26eba6560ca8803959cf97a",
        "picosdeeuropa",
        "Aitzol Berasategi",
        "CC-BY-4.0",
    ),
    Photo(
        "meadow",
        "train",
        "aitzgorri_by_Aitzol_Berasategi.jpg",
        "66268e7b48f8854d36a28765fac6e23ec1aee251daa6da1f64715f201020ad36",
        "aitzgorri",
        "Aitzol Berasategi",
        "CC-BY-4.0",
    ),
    Photo(
        "sunset",
        "train",
        "sunset_by_Aitzol_Berasategi.jpg",
        "474dab6a4b9f94dc76c29dfe30e9f5db4af0fd2e33fe5d695f8152b371efca18",
        "sunset",
        "Aitzol Berasategi",
        "CC-BY-4.0",
    ),
    Photo(
        "fig",
        "train",
        "Picture_0B_by_freespace.jpg",
        "c8c0ab18e48d9e0419fe42881112137f3afafc27dfddc29ec3a6d54c56d225ad",
        "Picture 0B",
        'Trevor "Freespace"',
        "CC-BY-4.0",
    ),
    Photo(
        "dandelions",
        "train",
        "seeding_by_Clements_Engelhardt.jpg",
        "a5634d1ab5e41a3568e92d4a894a500c92b891f9ff734e50bd224d6e185a605f",
        "seeding",
        "Clemens Engelhardt",
        "CC0-1.0",
    ),
    Photo(
        "wine",
        "train",
        "Wine_by_Jakkub_Mede.jpg",
        "d2e96e6d4da40dd804b3d0ce295e94de04a2d7d9b6785d42cd9d92ba58bced74",
        "Wine",
        "Jakub Mede",
        "CC-BY-4.0",
    ),
    Photo(
        "brushes",
        "search",
        "Picture_1A_by_freespace.jpg",
        "89e86af38d04daaef975665dc2127e9fa76f0fd68f4eea105a2d0ae3390b010b",
        "Picture 1A",
        'Trevor "Freespace"',
        "CC-BY-4.0",
        reduced=1,  # small and sharp as it is
    ),
    Photo(
        "dogs",
        "search",
        "friends_by_Aitzol_Berasategi.jpg",
        "cc40e313c74e421edffe3403def413c16878ce14661cce7ec5915baeab35538d",
        "friends",
        "Aitzol Berasategi",
        "CC-BY-4.0",
    ),
    Photo(
        "astronaut",
        "test",
        "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "Eileen Collins",
        "NASA",
        "public domain",
        reduced=1,
    ),
    Photo(
        "cat",
        "test",
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "Chelsea the cat",
        "Stefan van der Walt",
        "CC0-1.0",
        reduced=1,
    ),
    Photo(
        "coffee",
        "test",
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "Coffee cup (courtesy of Pikolo Espresso Bar)",
        "Rachel Michetti",
        "CC0-1.0",
        reduced=1,
    ),
    Photo(
        "rocket",
        "test",
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "Launch of DSCOVR on a Falcon 9",
        "SpaceX",
        "public domain",
        reduced=1,
    ),
    Photo(
        "camera",
        "test",
        "camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "Camera (grey)",
        "Lav Varshney",
        "CC0-1.0",
        reduced=1,
    ),
    Photo(
        "brick",
        "test",
        "brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "Bricks25 (grey)",
        "CC0Textures",
        "CC0-1.0",
        reduced=1,
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="origin", type=Path, default=Path("/usr/share/backgrounds"))
    parser.add_argument("--to", dest="folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    inputs = {photo.name: verified(photo, options.origin) for photo in PHOTOS}
    records = [record(photo, inputs[photo.name], options.folder) for photo in PHOTOS]
    write_manifest(options.folder, records)
    write_attribution(options.folder)
    save_samples(options.folder)


def verified(photo: Photo, debian: Path) -> Path:
    """The input file; stop unless it is the one this script was written for."""
    folder = Path(skimage.__file__).parent / "data" if photo.split == "test" else debian
    path, package = folder / photo.file, photo.origin["package"]
    if not path.is_file():
        raise SystemExit(f"{path} is missing; install {package} {photo.origin['version']} or pass --from.")
    if sha256(path) != photo.sha256:
        raise SystemExit(f"{path} differs from {package} {photo.origin['version']}; expected SHA-256 {photo.sha256}.")
    return path


def record(photo: Photo, path: Path, folder: Path) -> dict[str, Any]:
    """Write the file of one photo; return what the manifest says of it."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if photo.split == "test":
        picture, tiles = whole(picture), None
        options = {"lossless": True, "quality": 100}  # PSNR is measured on these; here quality means effort
    else:
        picture, tiles = sheet(reduce(picture, photo.reduced))
        options = {"quality": QUALITY}
    with atomic_write(folder / photo.output) as temporary:
        picture.save(temporary, "WEBP", method=6, **options)
    with Image.open(folder / photo.output) as stored:
        pixels = np.asarray(stored.convert("RGB"))
    return {
        "name": photo.name,
        "split": photo.split,
        "file": photo.output,
        **({} if tiles is None else {"tiles": tiles, "reduced": photo.reduced}),
        "pixels": hashlib.sha256(pixels.tobytes()).hexdigest(),  # of the decoded ones: it outlives a change of format
        "sha256": sha256(folder / photo.output),
        "title": photo.title,
        "author": photo.author,
        "licence": photo.licence,
        "source": photo.origin["package"],
        "input": {"file": photo.file, "sha256": photo.sha256},
    }


def reduce(picture: Image.Image, factor: int) -> Image.Image:
    return picture.resize((picture.width // factor, picture.height // factor), LANCZOS) if factor > 1 else picture


def whole(picture: Image.Image) -> Image.Image:
    """The picture without the last rows and columns that the scale leaves over."""
    return picture.crop((0, 0, picture.width // SCALE * SCALE, picture.height // SCALE * SCALE))


def sheet(photo: Image.Image) -> tuple[Image.Image, list[int]]:
    """The tiles of a photo, left where they are, and the numbers of the detailed ones, row by row.

    The others are blurred away rather than left out: WebP shares colours between neighbours, and true neighbours do no
    harm to each other's edges. Outer rows and columns without detail go.
    """
    columns, rows = photo.width // SIZE, photo.height // SIZE
    left, top = (photo.width - columns * SIZE) // 2, (photo.height - rows * SIZE) // 2
    corners = [[(left + column * SIZE, top + row * SIZE) for column in range(columns)] for row in range(rows)]
    detailed = np.array([[detail(tile_at(photo, corner)) >= DETAIL for corner in row] for row in corners])
    for row, column in np.argwhere(~detailed):
        tile = tile_at(photo, corners[row][column])
        photo.paste(tile.resize((BLUR, BLUR), BICUBIC).resize(tile.size, BICUBIC), corners[row][column])
    (first_row, first_column), (last_row, last_column) = np.argwhere(detailed).min(0), np.argwhere(detailed).max(0)
    (x, y), (right, bottom) = corners[first_row][first_column], corners[last_row][last_column]
    kept = detailed[first_row : last_row + 1, first_column : last_column + 1]
    return photo.crop((x, y, right + SIZE, bottom + SIZE)), np.flatnonzero(kept).tolist()


def tile_at(photo: Image.Image, corner: tuple[int, int]) -> Image.Image:
    return photo.crop((*corner, corner[0] + SIZE, corner[1] + SIZE))


def detail(tile: Image.Image) -> float:
    """Root mean square error, of 255, after bicubic reduction and enlargement by the scale: what there is to learn."""
    small = tile.resize((SIZE // SCALE, SIZE // SCALE), BICUBIC)
    error = np.asarray(tile, np.float64) - np.asarray(small.resize(tile.size, BICUBIC), np.float64)
    return float(np.sqrt(np.mean(error**2)))


def write_manifest(folder: Path, records: list[dict[str, Any]]) -> None:
    manifest = {
        "task": "photos_x4",
        "size": SIZE,
        "scale": SCALE,
        "photos": records,
        "tiles": {"least_detail": DETAIL, "webp_quality": QUALITY},
        "sources": [DEBIAN, SKIMAGE],
        "licences": LICENCES,
    }
    with atomic_write(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def write_attribution(folder: Path) -> None:
    lines = [
        "# Whose photos these are",
        "",
        "| file | split | title | author | licence | original file |",
        "|---|---|---|---|---|---|",
    ]
    for photo in PHOTOS:
        licence = f"[{photo.licence}]({LICENCES[photo.licence]})"
        original = f"`{photo.file}` of {photo.origin['package']} {photo.origin['version']}"
        lines.append(f"| `{photo.output}` | {photo.split} | {photo.title} | {photo.author} | {licence} | {original} |")
    lines += [
        "",
        "Changes made: photos of the splits train and search were reduced by the factor that `manifest.json` names, had"
        " the tiles",
        "without detail blurred, and were compressed anew. Test pictures lost at most three rows and columns; the"
        " grey ones are",
        "stored as RGB. The authors endorse neither this project nor what its networks make of their photos.",
        "",
        "The licences are those that the packages state:"
        f" [lomiri-wallpapers]({DEBIAN['upstream']}) in its copyright file",
        f"(copyright of each author, 2018), [scikit-image]({SKIMAGE['upstream']}) in the documentation of",
        "`skimage.data`. None of the photos comes with a warranty.",
    ]
    with atomic_write(folder / "ATTRIBUTION.md") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# file, left and upper edge in pixels: one of each kind of texture
SAMPLES = [
    ("stream.webp", 640, 300),
    ("meadow.webp", 1060, 370),
    ("fig.webp", 620, 380),
    ("dogs.webp", 280, 350),
    ("brushes.webp", 400, 300),
]
SAMPLE = 128  # pixels a side


def save_samples(folder: Path) -> None:
    """Targets over their sources, enlarged by bicubic interpolation."""
    result = Image.new("RGB", (len(SAMPLES) * SAMPLE, 2 * SAMPLE))
    for column, (file, x, y) in enumerate(SAMPLES):
        with Image.open(folder / file) as opened:
            target = opened.convert("RGB").crop((x, y, x + SAMPLE, y + SAMPLE))
        result.paste(target, (column * SAMPLE, 0))
        small = target.resize((SAMPLE // SCALE, SAMPLE // SCALE), BICUBIC)
        result.paste(small.resize(target.size, BICUBIC), (column * SAMPLE, SAMPLE))
    with atomic_write(folder / "samples.webp") as path:
        result.save(path, "WEBP", quality=90, method=6)


if __name__ == "__main__":
    main()
