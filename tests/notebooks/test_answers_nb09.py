"""The facts behind notebook 09's checks are those of the library."""

import pytest
import torch
from safetensors.torch import save_file

from gancomp_core.course.exercises import nb09
from gancomp_core.importers import Assumptions, import_checkpoint


@pytest.mark.parametrize(("ngf", "blocks", "norm"), [(8, 2, ""), (16, 1, "m"), (8, 3, "s")])
def test_the_shapes_are_those_of_a_file_that_the_library_reads(ngf, blocks, norm, tmp_path):
    shapes = nb09.cyclegan_shapes(ngf, blocks, norm=norm, prefix="module.")
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path / "foreign.safetensors")
    assume = Assumptions(norm_at_test="picture" if "m" in norm else None)  # as CycleGAN runs
    found = import_checkpoint(tmp_path / "foreign.safetensors", assume=assume).architecture
    assert (found.channels.entries[0], found.blocks, "instance") == nb09.read_shapes(shapes)


def test_the_market_is_open_but_not_a_lottery():
    """Neither the largest network nor the best score of the search is hard to beat, and nothing is perfect."""
    answer, search = nb09.db_lost(nb09.choose_network), nb09.db_lost(nb09.best_seen)
    largest = nb09.db_lost(lambda offers, limits: max(nb09.fitting(offers, limits), key=lambda i: offers[i]["macs"]))
    assert 0.1 < answer < 0.85 * min(search, largest)


def test_a_stub_has_no_score_yet():
    def stub(offers, limits):
        raise NotImplementedError

    assert nb09.score(stub) is None
    assert nb09.score(nb09.best_seen) == nb09.db_lost(nb09.best_seen)
