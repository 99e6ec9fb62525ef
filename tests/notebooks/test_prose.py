"""Numbers that stand in prose are held against what they speak of."""

import nbformat
import pytest

from gancomp_core import zoo
from gancomp_core.course import notebook_files as files
from gancomp_core.data import load_task
from gancomp_core.lab import find
from gancomp_core.nets import ChannelConfig
from gancomp_core.nets.efficientnet_lite import FEATURES


@pytest.fixture(scope="module")
def start_here():
    notebook = nbformat.read(files.NOTEBOOKS / "00_start_here.ipynb", as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_notebook_00_speaks_of_the_shipped_data_and_networks(start_here):
    task, teacher, student = (
        load_task("edges2shoes"), zoo.load("edges2shoes/teacher"), zoo.load("edges2shoes/small_student"),
    )  # fmt: skip
    assert f"{len(task.train):,} shoes" in start_here
    assert f"all {len(task.test):,} test shoes" in start_here
    assert f"{FEATURES:,} numbers" in start_here
    big, small = teacher.generator.architecture, student.generator.architecture
    assert "half as wide, half as deep" in start_here
    assert (2 * small.channels.entries[0], 2 * small.blocks) == (big.channels.entries[0], big.blocks)
    assert "twice as wide as our teacher, nine blocks instead of six" in start_here
    assert (big.channels.entries[0], big.blocks) == (32, 6)


def test_notebook_00_counts_the_recorded_seeds(start_here):
    for width in (8, 16):
        found = find("edges2shoes", "plain", network={"channels": str(ChannelConfig.uniform(width)), "blocks": 3})
        assert len(found) == 5
    assert "five seeds each" in start_here
