"""The model card: the facts of a report in the style of Hugging Face."""

from __future__ import annotations

import json

from gancomp_core.compress.report.numbers import Numbers
from gancomp_core.compress.report.verdicts import size
from gancomp_core.files import Json
from gancomp_core.measure.similarity import PERCEPTUAL_NAME
from gancomp_core.measure.statistics import significant
from gancomp_core.methods.architecture_search.budget import amount


def model_card(numbers: Numbers, facts: Json) -> str:
    """``card.md``: front matter, what the network is for, how to run it, its numbers and its limits.

    Args:
        numbers: What was measured.
        facts: The content of ``report.json``.
    """
    name = facts["teacher"]["name"]
    front = {
        "license": "other",
        "license_name": "as-the-teacher",
        "library_name": "onnx",
        "pipeline_tag": "image-to-image",
        "tags": ["gan", "model-compression", "knowledge-distillation", "int8", "onnxruntime"],
        "base_model_name": name,
    }
    verdicts = [f"- **{each['kind']}**: {_plain(each['text'])}" for each in facts["verdicts"]]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()),  # JSON is valid YAML
        "---",
        "",
        f"# {_plain(name)}, compressed",
        "",
        _plain(facts["headline"]),
        "",
        "## Intended use",
        "",
        f"The network imitates {_plain(name)} on pictures like those that it learned from: "
        f"{facts['plan']['pictures']['readable']:,} pictures of {facts['size']} x {facts['size']} pixels. On other "
        "pictures nothing is known of it.",
        "",
        "```python",
        *facts["code"]["python"],
        "```",
        "",
        facts["code"]["notes"],
        "",
        "## Numbers",
        "",
        f"{len(numbers.indices):,} held-out pictures, compared with the float teacher's; times on {facts['machine']}.",
        "",
        f"| network | MACs | parameters | file | ms, one thread | PSNR (dB) | SSIM | {PERCEPTUAL_NAME} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(_row(numbers, key) for key in numbers.networks),
        "",
        "## Limits",
        "",
        *verdicts,
        "",
        "## What was assumed",
        "",
        *(f"- {_plain(sentence)}" for sentence in facts["understood"]),
        "",
        "## Rights",
        "",
        facts["rights"],
        "",
        "## Provenance",
        "",
        *(f"- {key}: {_plain(str(value))}" for key, value in facts["provenance"].items()),
    ]
    return "\n".join(lines) + "\n"


def _row(numbers: Numbers, key: str) -> str:
    each = numbers.networks[key]
    scores = [significant(each.mean(score), 4) for score in ("psnr", "ssim", "perceptual")]
    cells = [
        each.name,
        amount("macs", each.macs).removesuffix(" MACs") if each.macs is not None else "",
        f"{each.params:,}" if each.params is not None else "",
        size(each.bytes) if each.bytes else "",
        f"{each.ms:.3g}" if each.times else "",
        *("" if value == "nan" else value for value in scores),
    ]
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """A text from outside as Markdown that shows it and does nothing else."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in text)
    return " ".join(escaped.split())
