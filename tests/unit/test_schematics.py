"""The schematics draw real objects: the counts on them are those of the library."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.text import Text

from gancomp_core.course import figures, schematics
from gancomp_core.errors import GancompError
from gancomp_core.measure.cost import layer_costs
from gancomp_core.methods.once_for_all import shrinking_stages
from gancomp_core.nets import ArchitectureSpace, ResnetArchitecture, SearchSpace, build
from gancomp_core.nets.agd import translation_supernet

WIDE = ResnetArchitecture("16_16_16_16_16_16_16_16", blocks=6)
SPACE = ArchitectureSpace(WIDE, SearchSpace([(16, 8)] * 8), depths=(3, 6), separable=(False, True))
CELL = next(layer for layer in translation_supernet(24, 6).layers if len(layer.operators) > 1)
DRAWN = {
    "course_map": lambda: schematics.course_map("04"),
    "residual_block": schematics.residual_block,
    "elastic_choices": lambda: schematics.elastic_choices(SPACE),
    "shrinking": lambda: schematics.shrinking(SPACE),
    "pairs_from_a_teacher": schematics.pairs_from_a_teacher,
    "taps_and_adaptors": lambda: schematics.taps_and_adaptors(WIDE, ResnetArchitecture("8_8_8_8_8_8_8_8", blocks=3)),
    "two_clouds": schematics.two_clouds,
    "super_cell": lambda: schematics.super_cell(CELL),
    "wavelet_pyramid": lambda: schematics.wavelet_pyramid(torch.linspace(-1, 1, 3 * 64).view(3, 8, 8)),
    "affine_line": schematics.affine_line,
}


def words(figure):
    return " ".join(text.get_text() for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize("name", DRAWN)
def test_each_is_drawn_and_has_words(name):
    figure = DRAWN[name]()
    assert len(schematics.alt(getattr(schematics, name)).split()) >= 10
    figure.canvas.draw()
    plt.close(figure)


@pytest.mark.parametrize("name", [*DRAWN, "operator_diagram"])
def test_letters_are_at_least_9_pixels_high_on_a_page_of_700_pixels(name):
    with plt.rc_context():
        figures.use_style()
        figure = DRAWN[name]() if name in DRAWN else figures.operator_diagram(64, 64)
        shrunk = min(1.0, 700 / (100 * figure.get_figwidth()))
        said = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        assert said
        assert min(text.get_fontsize() * 100 / 72 * shrunk for text in said) >= 9
    plt.close(figure)


def test_the_map_marks_one_stop_and_refuses_others():
    figure = schematics.course_map("09")
    assert words(figure).count("you are here") == 1
    plt.close(figure)
    with pytest.raises(GancompError, match="no notebook '10' on the map"):
        schematics.course_map("10")


def test_the_block_costs_what_the_library_counts():
    for separable in (False, True):
        with torch.device("meta"):
            network = build(ResnetArchitecture("64_64_64_64_64_64_64_64", blocks=9, separable=separable))
        block = sum(layer.macs for layer in layer_costs(network, 256, 256) if ".block1." in f".{layer.name}.") / 1e6
        assert f"= {block:,.0f} M" in words(schematics.residual_block(256, 64))
    plt.close("all")


def test_the_stairs_count_the_networks_of_each_stage():
    said = words(schematics.shrinking(SPACE))
    assert all(f"{part.size:,} network" in said for part in shrinking_stages(SPACE).values())
    plt.close("all")


def test_the_line_gives_zero_a_number_of_its_own():
    figure = schematics.affine_line(-0.8, 1.6, bits=3)
    assert " 0 " in f" {words(figure)} "
    plt.close(figure)
