"""The drawing pad as a web page that works from a file, offline: networks run by ONNX Runtime Web in the browser."""

from __future__ import annotations

import base64
import gzip
import html
import json
from importlib import resources
from pathlib import Path
from string import Template

from gancomp_core import files
from gancomp_core.course.pad.demo import demo_tasks, network_file, starting_drawings
from gancomp_core.data.shipped import damage_explained, read_manifest, verified
from gancomp_core.files import Json

RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
PAINTER = Template(
    """<div class="card painter"><h2 id="$side-title">&nbsp;</h2>
<canvas class="painting" id="$side-picture" role="img" aria-label="$label"></canvas>
<p class="time"><b id="$side-ms">…</b> ms a picture</p><div class="track"><div id="$side-bar"></div></div>
<dl><dt>Multiplications</dt><dd id="$side-macs"></dd><dt>File</dt><dd id="$side-bytes"></dd></dl>
<p class="note" id="$side-note"></p></div>"""
)
LABELS = {"teacher": "What the teacher paints", "student": "What the compressed network paints"}


def write_page(folder: Path | str) -> Path:
    """Write the page that paints into a folder: ``index.html``, and scripts in ``files`` that it loads when needed.

    It asks for nothing outside the folder and opens from ``file://``.

    Args:
        folder: Made where it is missing; files of an older page are written over.

    Returns:
        The path of ``index.html``.

    Raises:
        GancompError: When a shipped file is missing or damaged, and when the folder cannot be written to.
    """
    folder = Path(folder)
    tasks = demo_tasks()
    runtime = files.data_root() / "onnxruntime_web"
    manifest = read_manifest(runtime)
    for name in RUNTIME:
        _write_script(folder, name, verified(runtime, manifest, f"{name}.gz").read_bytes())
    for task in tasks:
        for facts in task["networks"]:
            _write_script(folder, facts["file"], gzip.compress(network_file(facts).read_bytes(), 9, mtime=0))
    with damage_explained(runtime / "manifest.json"):
        version = str(manifest["version"])
    text = _page([task | {"examples": starting_drawings(task)} for task in tasks], version)
    return _write(folder / "index.html", text)


def script(*names: str) -> str:
    """Files of JavaScript as one module: each may use what those before it export."""
    return "\n".join(
        "".join(line for line in _asset(name).splitlines(keepends=True) if '} from "./' not in line) for name in names
    )


def style(*names: str) -> str:
    """Style sheets as one."""
    return "\n".join(map(_asset, names))


def _page(tasks: list[Json], version: str) -> str:
    demo = json.dumps({"tasks": tasks, "runtime": {"files": RUNTIME}}).replace("<", "\\u003c")
    return Template(_asset("page.html")).substitute(
        css=style("pad.css", "page.css"),
        painters="\n".join(PAINTER.substitute(side=side, label=label) for side, label in LABELS.items()),
        demo=demo,
        version=html.escape(version),
        script=script("pad.js", "page.js"),
    )


def _write_script(folder: Path, name: str, data: bytes) -> None:
    """A file as a script that keeps it, in base64, under its name: pages opened from a file can load nothing else."""
    text = f"(globalThis.gancompFiles ??= {{}})[{json.dumps(name)}] = {json.dumps(base64.b64encode(data).decode())};\n"
    _write(folder / "files" / f"{name}.js", text)


def _write(path: Path, text: str) -> Path:
    with files.atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
