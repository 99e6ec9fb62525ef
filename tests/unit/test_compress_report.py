"""The report of a compression: what it measures, what it says of it, and the files that it writes."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from factories import a_task, finished_compression, random_resnet, resnet, stripes, uint8_noise
from gancomp_core.compress.report import page, write_report
from gancomp_core.compress.report.chart import front
from gancomp_core.compress.report.code import python
from gancomp_core.compress.report.numbers import (
    HalfSize,
    HeldOut,
    Network,
    Notes,
    Numbers,
    Quality,
    Score,
    SetScore,
    contestants,
)
from gancomp_core.compress.report.verdicts import all_verdicts, headline, size, than
from gancomp_core.compress.stages import PairedScore
from gancomp_core.compress.teachers import open_teacher
from gancomp_core.data import PictureSet, load_task, to_float
from gancomp_core.data.picture_files import decode
from gancomp_core.measure import Latency, OnnxGenerator, cost, export_onnx, onnx_cost, psnr
from gancomp_core.nets import ArchitectureSpace, ResnetGenerator, SearchSpace, build

NAMED = '<img src=x onerror="alert(1)"> & co'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A teacher of the zoo and a network that has learned nothing, on twelve held-out pictures."""
    teacher = dataclasses.replace(open_teacher("flat2gloss/teacher"), name=NAMED)
    sources = load_task("flat2gloss").train.sources[:24][..., 16:48, 16:48]
    student = random_resnet(resnet(8, in_channels=3, out_channels=3))
    return finished_compression(teacher, sources, student, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def report(finished: Any) -> Path:
    return write_report(finished)


@pytest.fixture(scope="module")
def facts(report: Path) -> Any:
    return json.loads((report.parent / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


# ---- the files ------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_needs_no_other_file_and_shows_foreign_text_as_text(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    tags = Tags(text).found
    assert len(text) < 6_000_000
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:").startswith("data:image/webp;base64,") or tag != "img"
        assert tag not in ("link", "iframe", "object", "base")
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; co" in text


def test_the_page_can_be_read_without_seeing_it(report: Path) -> None:
    tags = Tags(report.read_text(encoding="utf-8")).found
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    assert all(attributes["aria-label"] for tag, attributes in tags if tag in ("input", "svg"))
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    names = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert {attributes["aria-labelledby"] for _, attributes in tags if "aria-labelledby" in attributes} <= names


def test_the_numbers_are_those_of_the_library(finished: Any, facts: Any) -> None:
    networks, test = facts["networks"], finished.task.test
    assert facts["schema"] == 1
    for key, network in (("teacher", finished.teacher.network), ("student", finished.student)):
        expected = cost(network, 32, 32)
        assert networks[key]["macs"] == networks[key]["macs_by_torch"] == expected.macs
        assert networks[key]["params"] == expected.params
    assert networks["student_int8"]["bytes"] == finished.files["int8"].stat().st_size
    made = OnnxGenerator(finished.files["int8"])(to_float(test.sources[:]))
    each = psnr(made.clamp(-1, 1), to_float(test.targets[:]))
    assert networks["student_int8"]["to_teacher"]["scores"]["psnr"]["each"] == pytest.approx(each.tolist(), abs=0.02)
    times = networks["student_int8"]["times"]
    assert all(low <= each["median_ms"] <= high for each in times for low, high in [each["quartiles_ms"]])


def test_the_teacher_is_really_run_at_half_size_for_a_quarter_of_the_work(finished: Any, facts: Any) -> None:
    whole, half = facts["networks"]["teacher"], facts["networks"]["teacher_half"]
    assert half["macs"] == pytest.approx(whole["macs"] / 4)
    sources, targets = (to_float(side[:]) for side in (finished.task.test.sources, finished.task.test.targets))
    small = F.interpolate(sources, scale_factor=0.5, mode="area")
    made = F.interpolate(finished.teacher.paint(small), scale_factor=2.0, mode="bilinear")
    expected = float(psnr(made, targets).mean())
    assert half["to_teacher"]["scores"]["psnr"]["mean"] == pytest.approx(expected, abs=0.02)


def test_a_black_box_of_another_range_is_counted_timed_and_rounded_to_8_bits(finished: Any, tmp_path: Path) -> None:
    convolutions = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 3, 3, padding=1)
    network = torch.nn.Sequential(*convolutions, torch.nn.Sigmoid())
    box = open_teacher(export_onnx(network, tmp_path / "box.onnx", (1, 3, 32, 32)))
    assert box.value_range == "[0, 1]"
    notes, pictures = Notes(), to_float(finished.task.test.sources[:4])
    found = {each.key: each for each in contestants(dataclasses.replace(finished, teacher=box), tmp_path, notes)}
    assert not notes
    for key in ("teacher", "teacher_int8"):
        assert (found[key].paints(pictures) - box.paint(pictures)).abs().mean() < 2 / 127.5
        assert onnx_cost(found[key].file, (1, 3, 32, 32)).macs >= cost(network, 32, 32, 3).macs


def test_a_student_that_has_learned_nothing_is_called_bad(facts: Any) -> None:
    bad = " ".join(each["text"] for each in facts["verdicts"] if each["kind"] == "not good")
    assert "worse than copying the input" in bad
    assert "worse than running the teacher at half size" in bad
    notes = " ".join(each["text"] for each in facts["verdicts"] if each["kind"] == "note")
    assert "There is no KID: it needs 100 held-out pictures, and 12 were scored." in notes


def test_the_card_holds_the_facts_and_its_front_matter_is_plain(report: Path, facts: Any) -> None:
    text = (report.parent / "card.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["base_model_name"] == NAMED
    assert not re.search(r"(?<!\\)[<>]", body.replace("->", ""))
    for each in (facts["machine"], facts["files"]["int8"]["sha256"], facts["rights"], *facts["code"]["python"]):
        assert each in body
    assert "There are few pictures." in body
    assert "bad.png: is cut off" in body


@pytest.mark.parametrize("channels", [(3, 3), (1, 1)])
def test_the_lines_of_python_run_and_do_what_the_library_does(
    channels: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_resnet(resnet(8, in_channels=channels[0], out_channels=channels[1]))
    file = export_onnx(network, tmp_path / "student.onnx", (1, channels[0], 32, 32))
    Image.fromarray(np.asarray(stripes(1, 48)[0].permute(1, 2, 0))).crop((0, 0, 48, 40)).save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(python("student.onnx", (32, 32), channels)), {})
    source = decode(tmp_path / "picture.png", 32, channels[0])
    expected = (OnnxGenerator(file)(to_float(source[None])).clamp(-1, 1)[0] + 1) * 127.5
    made = np.asarray(Image.open(tmp_path / "made.png"), np.float32)
    assert made == pytest.approx(np.squeeze(expected.permute(1, 2, 0).numpy()), abs=0.51)


def test_pictures_fit_on_the_page_however_large_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = {"teacher": to_float(uint8_noise(2, 3, 192, 192))}
    monkeypatch.setattr(page, "STORED", ((512, None), (512, 60), (64, 60)))
    for most, found in ((10**6, (512, None)), (60_000, (512, 60)), (8_000, (64, 60))):
        monkeypatch.setattr(page, "MOST_BYTES", most)
        uris, *stored = page._encoded(noise)
        assert tuple(stored) == found
        assert sum(len(uri) for uri in uris["teacher"]) * 3 / 4 < most + 100


@pytest.mark.parametrize("channels", [2, 4])
def test_two_and_four_channels_are_scored_on_what_can_be_seen(channels: int) -> None:
    pictures = PictureSet(uint8_noise(4, 3, 16, 16), uint8_noise(4, channels, 16, 16, seed=1))
    task = a_task(pictures)
    scores = HeldOut(task, torch.arange(4)).judge(lambda sources: torch.zeros(len(sources), channels, 16, 16))
    assert scores["to_teacher"].scores.keys() == {"psnr", "perceptual", "ssim"}
    supernet = build(ArchitectureSpace(resnet(8, out_channels=channels, in_channels=3), SearchSpace(((8,),) * 8)))
    assert PairedScore(supernet, task, 4)(supernet.space.widest) > 0


def test_the_chart_marks_the_chosen_network_and_the_budget() -> None:
    import pandas as pd

    table = pd.DataFrame({"macs": [1e6, 2e6, 3e6], "score": [0.3, 0.1, 0.2]})
    drawn = front(table, 2e6, 2.5e6, "distance <x>")
    assert "budget: 2.5 M MACs" in drawn
    assert "The chosen one has 2 M MACs and a score of 0.1" in drawn
    assert "distance &lt;x&gt;" in drawn
    assert len(re.search('points="([^"]*)"', drawn)[1].split()) == 2  # the third network is beaten in both
    assert "NaN" not in front(table.head(1), 1e6, None, "distance")


# ---- what is said of numbers ----------------------------------------------------------------------------------------

COUNT = 120


def network(key: str, ms: float, dB: float, **changes: Any) -> Network:
    """A row of the report whose pictures differ by some dB."""
    spread = np.linspace(-0.5, 0.5, COUNT)
    scores = {"psnr": Score.of((dB + spread).tolist()), "perceptual": Score.of((1 / dB + spread / 1000).tolist())}
    if key == "teacher":
        scores = {}
    values = {
        "macs": 100_000_000, "params": 1000, "bytes": 4000, "variety": 0.3,
        "times": (Latency(ms, ms, 9, 1, "cpu", "onnxruntime", (ms, ms)),),
        "to_teacher": Quality(scores, SetScore(0.2, 0.01, 0.1), None),
    }  # fmt: skip
    return Network(key=key, name=key, **values | changes)


def said(finished: Any, *changed: Network, kind: str | None = None, held_out: int = COUNT, **limits: float) -> str:
    """The verdicts on a good result in which some networks are replaced."""
    usual = (
        network("teacher", 100.0, 60.0), network("teacher_int8", 50.0, 45.0), network("teacher_half", 30.0, 20.0),
        network("student", 10.0, 30.0, macs=8_000_000), network("student_int8", 5.0, 29.0, macs=8_000_000, bytes=1000),
        network("copy", math.nan, 15.0, times=()),
    )  # fmt: skip
    networks = {each.key: each for each in (*usual, *changed)}
    plan = dataclasses.replace(
        finished.plan, limits=dataclasses.replace(finished.plan.limits, **{"macs": 1e7} | limits)
    )
    numbers = Numbers(networks, torch.arange(COUNT), held_out, ())
    found = all_verdicts(dataclasses.replace(finished, plan=plan), numbers)
    return "\n".join(each.text for each in found if kind in (None, each.kind))


def test_nothing_bad_is_said_of_a_good_result(finished: Any) -> None:
    assert said(finished, kind="not good") == ""
    assert "was kept: 8 M MACs of at most 10 M MACs" in said(finished, kind="good")
    assert "the student is 10.0 times faster" in said(finished, kind="good")


@pytest.mark.parametrize(
    ("changed", "limits", "words"),
    [
        (network("teacher_half", 30.0, 35.0), {}, "worse than running the teacher at half size"),
        (network("copy", math.nan, 35.0), {}, "worse than copying the input"),
        (network("student_int8", 12.0, 29.0), {}, "1.20 times slower than in float32"),
        (network("student_int8", 5.0, 29.0, variety=0.02), {}, "has collapsed"),
        (network("student", 5.0, 29.0, macs=12_000_000), {}, "was not kept: 12 M MACs of at most 10 M MACs"),
        (network("student_int8", 5.0, 29.0), {"latency_ms": 4.0}, "was not kept: 5 ms of at most 4 ms"),
        (network("student_int8", 5.0, 29.0), {"file_bytes": 3000.0}, "was not kept: 4 kB of at most 3 kB"),
        (network("teacher_int8", 50.0, 45.0), {"macs": 1e9, "latency_ms": 60.0}, "keeps the budget already (50 ms"),
        (network("teacher_int8", 4.0, 45.0), {}, "the student is 1.25 times slower"),
    ],
)
def test_what_is_not_good_is_said(finished: Any, changed: Network, limits: dict[str, float], words: str) -> None:
    assert words in said(finished, changed, kind="not good", **limits)


def test_a_distance_at_its_floor_is_read_as_equal(finished: Any) -> None:
    close = network("student_int8", 5.0, 29.0)
    at_floor = dataclasses.replace(
        close, to_teacher=dataclasses.replace(close.to_teacher, kid=SetScore(0.09, 0.01, 0.1))
    )
    assert "KID (0.0900) is not above its floor (0.100)" in said(finished, at_floor, kind="note")
    near = dataclasses.replace(close, to_teacher=dataclasses.replace(close.to_teacher, kid=SetScore(0.105, 0.01, 0.1)))
    assert "KID cannot tell the student from the teacher" in said(finished, near, kind="note")
    assert "of 500 held-out pictures were scored" in said(finished, held_out=500, kind="note")


def test_the_best_free_one_is_the_fastest_that_is_as_close_as_the_student() -> None:
    def best(*free: Network) -> str | None:
        networks = {each.key: each for each in (network("student_int8", 5.0, 29.0), *free)}
        found = Numbers(networks, torch.arange(COUNT), COUNT, ()).best_free
        return found.key if found else None

    assert best(network("teacher_int8", 50.0, 45.0), network("teacher_half", 30.0, 20.0)) == "teacher_int8"
    assert best(network("teacher_int8", 50.0, 45.0), network("teacher_half", 30.0, 30.0)) == "teacher_half"
    assert best(network("teacher_int8", 50.0, 25.0), network("teacher_half", 30.0, 20.0)) == "teacher_int8"
    assert best() is None


def test_the_headline_says_which_way_a_ratio_goes() -> None:
    rows = (
        network("teacher", 10.0, 60.0),
        network("student", 4.0, 30.0, macs=8_000_000),
        network("student_int8", 12.0, 29.0),
    )
    text = headline(Numbers({each.key: each for each in rows}, torch.arange(COUNT), COUNT, ()))
    assert text.startswith("12.5 times fewer multiplications, 1.20 times slower on this machine")
    assert text.endswith("on 120 held-out pictures PSNR 29.0 dB to the teacher.")
    assert than(1.0, 2.0, "fewer", "more") == "2.00 times more"
    assert [size(count) for count in (None, 999, 66_172, 4_445_382)] == [
        "an unknown size",
        "999 bytes",
        "66.2 kB",
        "4.45 MB",
    ]


def test_half_size_keeps_the_size_of_pictures() -> None:
    assert HalfSize(random_resnet(resnet(8)))(torch.zeros(1, 1, 16, 24)).shape == (1, 1, 16, 24)
    assert isinstance(random_resnet(), ResnetGenerator)
