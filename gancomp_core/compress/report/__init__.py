"""The report of a compression: a page to look at, the numbers as JSON, and a model card."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gancomp_core import __version__
from gancomp_core.compress.plan import plain
from gancomp_core.compress.report import code
from gancomp_core.compress.report.card import model_card
from gancomp_core.compress.report.numbers import Numbers, measure
from gancomp_core.compress.report.page import WORST, html_page
from gancomp_core.compress.report.verdicts import all_verdicts, headline, size
from gancomp_core.files import Json, atomic_write, sha256
from gancomp_core.measure import machine_class

if TYPE_CHECKING:
    from gancomp_core.compress.plan import Finished

__all__ = ["SCHEMA", "write_report"]

SCHEMA = 1
PACKAGES = ("torch", "onnxruntime", "openvino", "onnx", "numpy")
RIGHTS = (
    "The code that made this network is gancomp, under the MIT license. The network derives from its teacher and from "
    "the pictures it learned from: whether you may use it and pass it on follows from the teacher's license and from "
    "the rights to those pictures. Both are yours to check. License of the teacher, as far as it is known: {}."
)


def write_report(finished: Finished) -> Path:
    """Measure a compression that is done, and write ``report.html``, ``report.json`` and ``card.md``.

    Teacher and student are timed and run on the held-out pictures, beside what the teacher gives without any training:
    its int8 file, and itself at half size.

    Args:
        finished: What :func:`gancomp_core.compress.compress` made; the files go into its folder, each whole or not at
            all.

    Returns:
        The path of ``report.html``, one file that needs no other one and no network.

    Raises:
        GancompError: Where a file cannot be written, and where the student's files do not run.
    """
    numbers = measure(finished)
    facts = _facts(finished, numbers)
    texts = {
        "report.json": json.dumps(facts, indent=1, allow_nan=False) + "\n",
        "card.md": model_card(numbers, facts),
        "report.html": html_page(finished, numbers, facts),
    }
    for name, text in texts.items():
        with atomic_write(finished.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return finished.folder / "report.html"


def _facts(finished: Finished, numbers: Numbers) -> Json:
    """The content of ``report.json``: every number, and everything that is known."""
    plan, teacher, task = finished.plan, finished.teacher, finished.task
    student = numbers.networks["student_int8"].to_teacher
    assert student is not None
    distances = torch.tensor(student.scores["perceptual"].each)
    lines = finished.files["int8"].name, (plan.size, task.size), (task.source_channels, task.target_channels)
    files = {
        key: {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        for key, path in finished.files.items()
    }
    facts: Json = {
        "schema": SCHEMA,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "headline": headline(numbers),
        "verdicts": all_verdicts(finished, numbers),
        "networks": numbers.networks,
        "best_free": numbers.best_free.key if numbers.best_free else None,
        "held_out": numbers.held_out,
        "scored": numbers.indices.tolist(),
        "worst": distances.argsort(descending=True)[:WORST].tolist(),
        "size": plan.size,
        "size_made": task.size,
        "student_macs": numbers.networks["student"].macs,
        "student": finished.student.architecture.as_dict(),
        "frontier": finished.frontier.to_dict("records"),
        "teacher": {
            name: getattr(teacher, name)
            for name in ("name", "kind", "identity", "value_range", "multiple", "smallest", "fixed", "licence")
        },
        "understood": _understood(finished),
        "plan": plan.as_dict(),
        "minutes": finished.minutes,
        "files": files,
        "machine": machine_class(),
        "versions": _versions(),
        "code": {"python": code.python(*lines), "javascript": code.javascript(*lines), "notes": code.NOTES},
        "rights": RIGHTS.format(teacher.licence.rstrip(".") or "unknown"),
    }
    found: Json = plain(facts | {"provenance": _provenance(finished, facts)})
    return found


def _understood(finished: Finished) -> list[str]:
    facts, teacher = finished.plan.pictures, finished.teacher
    skipped = [f"Skipped: {each}" for each in facts.unreadable]
    counts = ", ".join(f"{count:,} {split}" for split, count in finished.plan.painted.items())
    larger = "" if teacher.scale == 1 else f", in pictures {teacher.scale} times as high and wide"
    return [
        f"The teacher takes {teacher.in_channels} channels in {teacher.value_range} and makes {teacher.out_channels}"
        f"{larger}.",
        *teacher.assumed,
        f"{facts.readable:,} pictures were found; used are {counts}. The test pictures were held out: nothing was "
        "trained on them or chosen by them.",
        *finished.plan.warnings,
        *finished.remarks,
        *skipped,
    ]


def _versions() -> dict[str, str]:
    found = {"gancomp": __version__, "python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # openvino is optional
    return found


def _provenance(finished: Finished, facts: Json) -> dict[str, str]:
    plan = finished.plan
    return {
        "teacher": f"{finished.teacher.name} ({finished.teacher.kind}), digest {finished.teacher.identity}",
        "student": finished.student.architecture.summary,
        "pictures": f"{plan.pictures.folder}, digest {plan.pictures.identity}",
        **{
            f"{key} file": f"{each['name']}, {size(each['bytes'])}, SHA-256 {each['sha256']}"
            for key, each in facts["files"].items()
        },
        "budget": plan.asked,
        "seed": str(plan.seed),
        "opset": str(plan.opset),
        "machine": facts["machine"],
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    }
