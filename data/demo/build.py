"""Build the networks of the drawing page from the shipped pictures and teachers (for maintainers).

Run ``python data/demo/build.py``. It trains what the cache folder does not hold yet, about two hours on two cores, and
can be killed and started again; then it writes the ONNX files, the examples and ``manifest.json``, the picture
``drawings.webp``, and ``scores.json``, and prints these scores. ``--only shoes`` builds one task and leaves the other.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from PIL import Image, ImageDraw
from torch import Tensor

from gancomp_core import zoo
from gancomp_core.data import Task, load_task, to_float, to_uint8
from gancomp_core.files import atomic_write, sha256
from gancomp_core.lab.drawing import DEMOS, Demo
from gancomp_core.measure import (
    OnnxGenerator,
    evaluate_generator,
    export_onnx,
    extract_features,
    kid,
    latency,
    machine_class,
)
from gancomp_core.methods.quantization import export_int8, psnr_to_float
from gancomp_core.methods.quantization.affine import Range, rows, symmetric
from gancomp_core.methods.quantization.graph import Graph
from gancomp_core.nets import Generator

FOLDER = Path(__file__).resolve().parent
TITLES = {"shoes": "Shoes", "emoji": "Emoji"}
PENS = {"shoes": 1, "emoji": 3}  # pixels of a line that suits the sources
TEACHER_BITS = 6  # of its weights, with a scale for each output channel
CUT_BITS = 5  # of the ten behind the point of float16, in which students store their float weights: files pack better
#: Test pictures whose sources the page offers to begin with, and what they show.
EXAMPLES = {
    "shoes": {
        700: "a boot with a heel", 900: "a sneaker", 1300: "a sandal with a heel", 2300: "an ankle boot",
        200: "a low shoe", 1750: "a sandal", 1450: "a boot with a buckle", 2850: "a running shoe",
    },
    "emoji": {
        169: "a laughing face", 24: "a tulip", 195: "a fox", 30: "cherries",
        79: "a pig", 162: "a scooter", 29: "a pear", 66: "a house",
    },
}  # fmt: skip
SCORED = 150  # test pictures
HEADLINE = FOLDER.parent / "results" / "headline.onnx"
Painter = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=DEMOS, help="build this task alone")
    parser.add_argument("--no-scores", action="store_true", help="stop before the networks are scored")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    chosen = [options.only] if options.only else list(DEMOS)
    made = {name: entry(DEMOS[name]) for name in chosen}
    tasks = known("manifest.json", "tasks") | made
    write("manifest.json", {"tasks": [tasks[name] for name in DEMOS if name in tasks]})
    with atomic_write(FOLDER / "drawings.webp") as temporary:
        stacked([grid(DEMOS[name], tasks[name]) for name in DEMOS if name in tasks]).save(temporary, "WEBP", quality=90)
    if not options.no_scores:
        scored = {name: scores_of(DEMOS[name], tasks[name]) for name in chosen}
        found = known("scores.json", "tasks") | scored
        write("scores.json", {"tasks": [found[name] for name in DEMOS if name in found]})
        report(tasks, found)


def known(file: str, part: str) -> dict[str, Any]:
    """What a file holds already, by task."""
    path = FOLDER / file
    return {each["name"]: each for each in json.loads(path.read_text())[part]} if path.exists() else {}


def write(file: str, content: dict[str, Any]) -> None:
    with atomic_write(FOLDER / file) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def entry(demo: Demo) -> dict[str, Any]:
    """The files of one task, and what the manifest says of them."""
    task, size = demo.task, demo.task.size
    networks = [network(demo, "teacher", demo.teacher, "teacher")]
    for number, student in enumerate(demo.students, start=1):
        networks += [network(demo, f"student{number}", student, kind) for kind in ("float32", "int8")]
    stages = ["teacher", "supernet", *(f"student{number}" for number in range(1, len(demo.students) + 1))]
    return {
        "name": demo.name,
        "title": TITLES[demo.name],
        "size": [size, size],
        "input": {"channels": task.source_channels, "pen": PENS[demo.name]},
        "output": {"channels": task.target_channels},
        "networks": networks,
        "examples": examples(demo),
        "drawings": [path.relative_to(FOLDER).as_posix() for path in drawing_files(demo)],
        "made": {
            "command": "python data/demo/build.py",
            "data": task.fingerprint,
            "seed": 0,
            "steps": dict(zip(stages, (*demo.steps, *demo.choices.values()), strict=True)),
            "minutes": {stage: round(demo.minutes(stage), 1) for stage in stages},
            "machine": machine_class(),
        },
    }


# --- files ------------------------------------------------------------------------------------------------------------


def network(demo: Demo, name: str, generator: Generator, kind: str) -> dict[str, Any]:
    """Write a network ("teacher", "float32" or "int8") and describe its file."""
    size, macs = demo.task.size, generator.architecture.cost(demo.task.size, demo.task.size).macs
    path = FOLDER / (f"{demo.name}-teacher.onnx" if kind == "teacher" else f"{demo.name}-{name}-{kind}.onnx")
    weights = sha256(demo.folder / f"{name}.safetensors")[:16]
    whole, rounded = (demo.folder / f"{name}-{form}-{weights}.onnx" for form in ("float32", "int8"))
    if not whole.exists():
        export_onnx(generator, whole, (1, demo.task.source_channels, size, size))
    if kind == "int8":
        if not rounded.exists():
            export_int8(generator, rounded, demo.task.calibration(64), floating=whole)
        shutil.copyfile(rounded, path)
    else:
        with_small_weights(whole, path, TEACHER_BITS if kind == "teacher" else 16)
    likeness = psnr_to_float(path, generator, demo.task.test.batch(slice(0, 100)).source)
    notes = {"teacher": f"weights stored in {TEACHER_BITS} bits", "float32": "weights stored in 11 bits"}
    return {
        "name": name,
        "title": "Teacher" if kind == "teacher" else f"Student {name.removeprefix('student')}",
        "file": path.name,
        "kind": "teacher" if kind == "teacher" else "student",
        "precision": "int8" if kind == "int8" else "float32",
        **({"note": notes[kind]} if kind in notes else {}),
        "macs": macs,
        "params": sum(each.numel() for each in generator.parameters()),
        "bytes": path.stat().st_size,
        "bytes_gzip": len(gzip.compress(path.read_bytes(), 9)),
        "bytes_float32": whole.stat().st_size,
        "sha256": sha256(path),
        "opset": 20,
        "psnr_to_float32": round(float(likeness.mean()), 1),
    }


def with_small_weights(floating: Path, path: Path, bits: int) -> None:
    """A float file whose weights are stored in 16 bits, or in fewer with a scale for each channel; sums stay float32.

    The Cast and Mul of constants are computed once, when the file is loaded.
    """
    graph = Graph(floating)
    for node in graph.of("Conv", "ConvTranspose"):
        weight = torch.from_numpy(graph.arrays[node.input[1]])
        if bits == 16:
            stored, before = graph.constant("stored", rounded_halves(weight.numpy())), []
        else:
            axis = 0 if node.op_type == "Conv" else 1  # a transposed one has [inputs, outputs, ...]
            channels = rows(weight, axis)
            by = symmetric(Range(channels.amin(1), channels.amax(1)), bits=bits, axis=axis)
            scale = graph.constant("scale", by.scale.view([-1 if dim == axis else 1 for dim in range(4)]).numpy())
            stored = graph.constant("stored", by.quantize(weight).numpy().astype(np.int8))
            before = [helper.make_node("Mul", [f"{stored}_float", scale], [f"{stored}_scaled"])]
        cast = helper.make_node("Cast", [stored], [f"{stored}_float"], to=TensorProto.FLOAT)
        graph.insert(node, before=[cast, *before])
        node.input[1] = [cast, *before][-1].output[0]
    graph.compact()
    graph.save(path)


def rounded_halves(weights: np.ndarray) -> np.ndarray:
    """Weights in float16, the last ``CUT_BITS`` bits of each zero."""
    bits = weights.astype(np.float16).view(np.int16).astype(np.int32)
    step = 1 << CUT_BITS
    return ((bits + step // 2) // step * step).astype(np.int16).view(np.float16)


def examples(demo: Demo) -> list[dict[str, Any]]:
    """Sources of some test pictures in black and white, to begin with."""
    sources, found = load_task(demo.of).test.sources, []
    for index, title in EXAMPLES[demo.name].items():
        path = FOLDER / "examples" / f"{demo.name}_{index:04}.png"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as temporary:
            Image.fromarray(sources[index : index + 1][0, 0].numpy() >= 128).convert("L").save(
                temporary, "PNG", optimize=True
            )
        found.append({"file": path.relative_to(FOLDER).as_posix(), "title": title})
    return found


# --- scores -----------------------------------------------------------------------------------------------------------


def drawing_files(demo: Demo) -> list[Path]:
    return sorted((FOLDER / "drawings").glob(f"{demo.name}_*.png"))


def drawings(demo: Demo) -> Tensor:
    """The drawings of a task, float32 [N, 1, H, W] in [-1, 1]."""
    found = [np.array(Image.open(path).convert("L")) for path in drawing_files(demo)]
    return to_float(torch.from_numpy(np.stack(found))[:, None])


def before(demo: Demo) -> dict[str, Painter]:
    """The networks that ship for the same task, which never saw a drawing."""
    found: dict[str, Painter] = {"shipped teacher": zoo.load(f"{demo.of}/teacher").generator}
    return found | ({"headline": OnnxGenerator(HEADLINE, threads=1)} if demo.name == "shoes" else {})


def nearest(painter: Painter, sources: Tensor, task: Task) -> Tensor:
    """For each source, the cosine distance of its painted picture to the nearest real test picture, in features."""
    made, real = (F.normalize(each) for each in (painted_features(painter, sources), real_features(task)))
    return 1 - (made @ real.T).amax(1)


def painted_features(painter: Painter, sources: Tensor) -> Tensor:
    with torch.inference_mode():
        return extract_features(torch.cat([painter(part).clamp(-1, 1) for part in sources.split(16)]))


KEPT: dict[str, Tensor] = {}


def real_features(task: Task) -> Tensor:
    if task.name not in KEPT:
        KEPT[task.name] = extract_features(to_float(task.test.targets[:]))
    return KEPT[task.name]


def home(demo: Demo, task: Task) -> float:
    """The distance that 95 of 100 pictures keep which the shipped teacher paints of search edges, its home ground."""
    sources = to_float(task.search.sources[:300])
    return float(nearest(before(demo)["shipped teacher"], sources, task).quantile(0.95))


def scores_of(demo: Demo, task: dict[str, Any]) -> dict[str, Any]:
    """The scores of all networks of a task, and of those that ship for the task of its pictures."""
    files = [each["file"] for each in task["networks"]]
    painters: dict[str, Painter] = {file: OnnxGenerator(FOLDER / file, threads=1) for file in files}
    painters |= before(demo)
    near = home(demo, load_task(demo.of))
    return {"name": demo.name, "near": near} | {name: scores(demo, painter) for name, painter in painters.items()}


def scores(demo: Demo, painter: Painter) -> dict[str, Any]:
    """How well a network paints edges of test pictures, the same drawn, and the drawings of ``drawings``."""
    clean, found = load_task(demo.of), dict[str, Any]()
    count = min(SCORED, len(clean.test))
    for name, task in (("edges", clean), ("drawn", demo.task)):
        quality = evaluate_generator(painter, task, seeds=(0,), n=count, frechet=False).as_dict()
        found[name] = {each: round(quality[each], 4) for each in ("kid", "psnr", "perceptual")}
    sources = drawings(demo)
    teacher = OnnxGenerator(FOLDER / f"{demo.name}-teacher.onnx", threads=1)
    distances = nearest(painter, sources, clean)
    made = painted_features(painter, sources)
    found["drawings"] = {
        "kid": round(kid(made, real_features(clean), subsets=200, subset_size=len(made))[0], 4),
        "nearest": [round(each, 4) for each in distances.tolist()],
        "psnr_to_teacher": round(float(psnr_to_float(painter, teacher, sources).clamp(max=99).mean()), 2),
    }
    return found


def report(tasks: dict[str, Any], scored: dict[str, Any]) -> None:
    """Print a table for each task."""
    for name, task in tasks.items():
        files, lines = {each["file"]: each for each in task["networks"]}, []
        found = dict(scored[name])
        near = found.pop("near")
        del found["name"]
        for file, score in found.items():
            line: dict[str, Any] = {"network": file.removesuffix(".onnx")}
            if file in files:
                each, session = files[file], OnnxGenerator(FOLDER / file, threads=1)
                picture = np.ones((1, task["input"]["channels"], *task["size"]), np.float32)
                ms = latency(functools.partial(session.run, picture), threads=1).median_ms
                line |= {"M MACs": each["macs"] / 1e6, "kB": each["bytes"] / 1e3, "gzip": each["bytes_gzip"] / 1e3}
                line |= {"ms": ms, "PSNR to float32": each["psnr_to_float32"]}
            for on in ("edges", "drawn"):
                line |= {f"{on} {of}": value for of, value in score[on].items()}
            distances = score["drawings"]["nearest"]
            line |= {"drawings KID": score["drawings"]["kid"], "distance": np.mean(distances)}
            line |= {"near": sum(one <= near for one in distances)}
            lines.append(line | {"PSNR to teacher": score["drawings"]["psnr_to_teacher"]})
        print(f"\n{task['title']}: a picture is near a real one within a distance of {near:.3f}")
        print(pd.DataFrame(lines).round(3).to_string(index=False))
    networks = [each for task in tasks.values() for each in task["networks"]]
    for kind in ("teacher", "student"):
        print(f"{kind}s, compressed:", sum(each["bytes_gzip"] for each in networks if each["kind"] == kind), "bytes")


# --- the picture ------------------------------------------------------------------------------------------------------


def grid(demo: Demo, task: dict[str, Any]) -> Image.Image:
    """A column for each drawing; rows: the drawing, networks that never saw one, the teacher, students in int8."""
    sources, zoom, teacher = drawings(demo), 64 // task["size"][0], task["networks"][0]["macs"]
    painters: dict[str, Painter] = {"drawing": lambda given: given, **before(demo)}
    for each in task["networks"]:
        if each["kind"] == "teacher" or each["precision"] == "int8":
            label = "teacher" if each["kind"] == "teacher" else f"1/{teacher / each['macs']:.1f} of MACs"
            painters[label] = OnnxGenerator(FOLDER / each["file"], threads=1)
    made = []
    for label, painter in painters.items():
        with torch.inference_mode():
            row = to_uint8(painter(sources)).expand(-1, 3, -1, -1)
        pictures = torch.cat(list(row), dim=2).permute(1, 2, 0).numpy()
        picture = Image.fromarray(pictures)
        picture = picture.resize((zoom * picture.width, zoom * picture.height), Image.Resampling.NEAREST)
        line = Image.new("RGB", (100 + picture.width, picture.height + 2), "white")
        line.paste(picture, (100, 0))
        ImageDraw.Draw(line).text((4, picture.height // 2 - 5), label, fill="black")
        made.append(line)
    return stacked(made)


def stacked(pictures: list[Image.Image]) -> Image.Image:
    """Pictures below each other."""
    whole = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), "white")
    below = 0
    for each in pictures:
        whole.paste(each, (0, below))
        below += each.height
    return whole


if __name__ == "__main__":
    main()
