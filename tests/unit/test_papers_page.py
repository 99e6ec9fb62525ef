"""The page with the papers' tables: costs that this library counts, and figures of the shipped networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gancomp_core import zoo
from gancomp_core.lab.benchmark import costs

PAGE = (Path(__file__).parents[2] / "docs" / "papers.md").read_text(encoding="utf-8")
TEACHER = "teacher ResNet-9 n64"
#: MACs as printed, and the network of ours that stands for the row.
ROWS = {
    "56.8 G": TEACHER,
    "2.55 G": "horse2zebra retrained",
    "4.81 G": "edges2shoes paper",
    "4.99 G": "edges2shoes retrained",
    "5.59 G": "cityscapes retrained",
    "281 G": "GauGAN cityscapes n64 (36 label channels)",
    "31.2 G": "GauGAN cityscapes retrained (36 label channels)",
}


def rows() -> list[list[str]]:
    """Cells of every row of the page's first table that states both counts."""
    section = PAGE.split("## Once-for-all")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [cells for cells in found if cells[4].endswith(" G")]


def test_every_true_count_on_the_page_is_what_we_count():
    counted = costs()
    assert {cells[3] for cells in rows()} == set(ROWS)
    for cells in rows():
        assert f"{counted.macs[ROWS[cells[3]]] / 1e9:.2f} G" == cells[4]
        digits = len(cells[5].split(" ")[0].split(".")[1])
        assert f"{counted.params[ROWS[cells[3]]] / 1e6:.{digits}f} M" == cells[5]


def test_ratios_in_the_text_are_those_of_the_counts():
    macs = costs().macs
    assert f"of 11.8 is {macs[TEACHER] / macs['edges2shoes paper']:.1f}" in PAGE.replace("\n", " ")
    mobile = "mobile ResNet-9 n64"
    assert f"{macs[mobile] / 1e9:.2f} G true MACs" in PAGE.replace("\n", " ")
    assert macs[mobile] / macs[TEACHER] == pytest.approx(0.25, abs=0.03)


def test_the_photographs_are_scored_as_the_card_says():
    quality = zoo.card("photos_x4/agd")["quality"]
    stated = [f"{quality[name]:.2f} dB" for name in ("psnr_y_photos", "bicubic_psnr_y_photos")]
    stated.append(f"standard deviation of {quality['psnr_y_spread_photos']:.1f} dB")
    assert all(re.search(re.escape(each), PAGE.replace("\n", " ")) for each in stated)
