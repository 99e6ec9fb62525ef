"""Build the pictures of the task edges2shoes from the Debian package dataset-fashion-mnist (for maintainers).

Run ``python data/edges2shoes/build.py [--from FOLDER] [--to FOLDER]``. It needs scikit-image; loading the result does
not. Same inputs give the same pixels; the manifest holds their SHA-256, so any later change shows.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.feature import canny

from gancomp_core.files import atomic_write, sha256

SOURCE = {
    "package": "dataset-fashion-mnist (Debian)",
    "version": "0.0~git20200523.55506a9-1",
    "upstream": "https://github.com/zalandoresearch/fashion-mnist",
    "licence": "MIT",
    "attribution": "Fashion-MNIST, copyright 2017 Zalando SE",
}
INPUTS = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
CLASSES = {"sandal": 5, "sneaker": 7, "ankle boot": 9}  # their numbers in Fashion-MNIST; here they become 0, 1, 2
SIZE = 32
COLUMNS = 150  # of the sheets; 21,000 pictures fill 140 rows
SEARCH = 1_500
SPLIT_SEED = 20_240_607
EDGES = {"sigma": 1.0, "low_threshold": 0.08, "high_threshold": 0.2}  # of photos scaled to [0, 1]; chosen by eye


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="origin", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--to", dest="folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    verify_inputs(options.origin)
    photos, labels, splits = shoes(options.origin)
    edges = np.stack([draw_edges(photo) for photo in photos])
    write(options.folder, photos, edges, labels, splits)


def verify_inputs(folder: Path) -> None:
    """Stop unless the four files of the package are the ones this script was written for."""
    for name, expected in INPUTS.items():
        if not (folder / name).is_file():
            raise SystemExit(f"{folder / name} is missing; install the package {SOURCE['package']} or pass --from.")
        if sha256(folder / name) != expected:
            raise SystemExit(f"{folder / name} differs from version {SOURCE['version']}; expected SHA-256 {expected}.")


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file: big-endian header (type, rank, dimensions), then bytes."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def shoes(folder: Path) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Photos (uint8, N x 32 x 32), labels (uint8, N) in the order train, search, test, and the size of each split."""
    photos, labels = one_part(folder, "train")
    order = np.random.Generator(np.random.PCG64(SPLIT_SEED)).permutation(len(photos))
    test_photos, test_labels = one_part(folder, "t10k")
    splits = {"train": len(photos) - SEARCH, "search": SEARCH, "test": len(test_photos)}
    return np.concatenate([photos[order], test_photos]), np.concatenate([labels[order], test_labels]), splits


def one_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    classes = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    numbers = np.array(list(CLASSES.values()))
    chosen = np.isin(classes, numbers)
    photos = 255 - images[chosen]  # Fashion-MNIST negated its photos: shoes stand on white again
    border = (SIZE - photos.shape[-1]) // 2
    padded = np.pad(photos, ((0, 0), (border, border), (border, border)), constant_values=255)
    return padded, np.searchsorted(numbers, classes[chosen]).astype(np.uint8)


def draw_edges(photo: np.ndarray) -> np.ndarray:
    """Canny edges as black lines (0) on white (255)."""
    return np.where(canny(photo / 255.0, **EDGES), 0, 255).astype(np.uint8)


def sheet(pictures: np.ndarray) -> np.ndarray:
    """All pictures side by side, row by row: (140 * 32) x (150 * 32)."""
    rows = len(pictures) // COLUMNS
    grid = pictures.reshape(rows, COLUMNS, SIZE, SIZE)
    return grid.transpose(0, 2, 1, 3).reshape(rows * SIZE, COLUMNS * SIZE)


def write(folder: Path, photos: np.ndarray, edges: np.ndarray, labels: np.ndarray, splits: dict[str, int]) -> None:
    with atomic_write(folder / "photos.png") as path:
        # lossless WebP would be 2 % smaller and is read by fewer programs
        Image.fromarray(sheet(photos)).save(path, "PNG", optimize=True)
    with atomic_write(folder / "edges.png") as path:
        Image.fromarray(sheet(edges)).convert("1", dither=Image.Dither.NONE).save(path, "PNG", optimize=True)
    with atomic_write(folder / "labels.npy") as path, path.open("wb") as file:
        np.save(file, labels, allow_pickle=False)
    save_samples(folder / "samples.webp", photos, edges, labels)
    manifest = {
        "task": "edges2shoes",
        "size": SIZE,
        "columns": COLUMNS,
        "splits": splits,
        "classes": list(CLASSES),
        "pixels": {"photos": digest(photos), "edges": digest(edges)},
        "outputs": {name: sha256(folder / name) for name in ("photos.png", "edges.png", "labels.npy")},
        "edges": {"function": "skimage.feature.canny", **EDGES},
        "split_seed": SPLIT_SEED,
        "duplicates": duplicates(photos, splits),
        "source": SOURCE,
        "inputs": INPUTS,
    }
    with atomic_write(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def digest(pixels: np.ndarray) -> str:
    """SHA-256 of the decoded pixels: it outlives a change of the file format."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def duplicates(photos: np.ndarray, splits: dict[str, int]) -> dict[str, int]:
    """How many photos are exact copies of another one, within a split and across splits."""
    names = np.repeat(list(splits), list(splits.values()))
    seen: dict[bytes, set[str]] = {}
    counts = {"within a split": 0, "search also in train": 0, "test also in train": 0, "test also in search": 0}
    for photo, split in zip(photos, names, strict=True):
        earlier = seen.setdefault(photo.tobytes(), set())
        for other in earlier:
            counts["within a split" if other == split else f"{split} also in {other}"] += 1
        earlier.add(str(split))
    return counts


def save_samples(path: Path, photos: np.ndarray, edges: np.ndarray, labels: np.ndarray) -> None:
    """Twelve columns of edges over photos, four of each class, three times enlarged."""
    chosen = np.concatenate([np.flatnonzero(labels == label)[:8] for label in range(len(CLASSES))])
    rows = [sheet_row(pictures[part]) for part in (chosen[0::2], chosen[1::2]) for pictures in (edges, photos)]
    picture = Image.fromarray(np.concatenate(rows))
    with atomic_write(path) as temporary:
        picture.resize((picture.width * 3, picture.height * 3), Image.Resampling.NEAREST).save(
            temporary, "WEBP", lossless=True
        )


def sheet_row(pictures: np.ndarray) -> np.ndarray:
    return np.concatenate(list(pictures), axis=1)


if __name__ == "__main__":
    main()
