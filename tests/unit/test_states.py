"""Explorers drawn ahead for readers without a kernel."""

import base64
import io
import json

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from gancomp_core.course import output, states, widgets
from gancomp_core.course.notebook_files import cleaned, with_alt_text
from gancomp_core.errors import GancompError


@pytest.fixture(autouse=True)
def ahead(monkeypatch):
    monkeypatch.setattr(widgets, "_LIVE", {})
    monkeypatch.setenv("GANCOMP_STATES", "1")


def draw_level(level, kind="gray", doubled=False):
    """A flat picture 60 x 40 pixels whose gray says the level."""
    figure = plt.figure(figsize=(0.6, 0.4), layout="none", facecolor=str(level / 10))
    return figure


def explorer(draw=draw_level, **controls):
    controls = controls or {"level": widgets.Slider("Level", 0, 10, 3, unit="tenths")}
    return widgets.explore(draw, alt="Level {level}", title="Levels", **controls)


def shown(stored, *, place):
    """The pixels of a state, cut out of the sprite as explorer.js does."""
    sprite = Image.open(io.BytesIO(base64.b64decode(stored["sprite"]))).convert("RGB")
    wide, high = sprite.width // stored["columns"], sprite.height // stored["rows"]
    column, row = divmod(stored["frames"][place], stored["rows"])
    return np.asarray(sprite.crop((column * wide, row * high, (column + 1) * wide, (row + 1) * high)))


def test_each_state_shows_what_the_drawing_function_draws():
    stored = explorer().states
    assert stored["controls"] == [
        {"name": "level", "label": "Level", "kind": "slider", "start": 3,
         "words": [f"{level} tenths" for level in range(11)]},
    ]  # fmt: skip
    assert stored["alts"][7] == "Level 7"
    for place in range(11):
        assert np.abs(shown(stored, place=place).mean() - 25.5 * place) < 1.5
    assert (stored["width"], stored["height"]) == (60, 40)


def test_the_last_control_changes_fastest_and_states_that_look_the_same_share_a_picture():
    level, kind = widgets.Slider("Level", 0, 1, 0), widgets.Choice("Kind", ["gray", "grey", "gris"], "grey")
    stored = explorer(level=level, kind=kind, doubled=widgets.Switch("Doubled", True)).states
    assert stored["frames"] == [0] * 6 + [1] * 6
    assert [control["start"] for control in stored["controls"]] == [0, 1, 1]
    assert stored["controls"][2]["words"] == ["off", "on"]


def test_states_are_the_same_each_time_and_only_drawn_when_asked_for(monkeypatch):
    assert explorer().states == explorer().states
    monkeypatch.delenv("GANCOMP_STATES")
    assert states.STATES not in explorer()._repr_mimebundle_()


@pytest.mark.parametrize(
    ("slider", "most", "stops"),
    [
        (widgets.Slider("Few", 1, 3, 1), 13, [1, 2, 3]),
        (widgets.Slider("Even", 0.0, 10.0, 5.0, 0.1), 5, [0.0, 2.5, 5.0, 7.5, 10.0]),
        (widgets.Slider("Start takes a neighbor's place", 0, 100, 40), 5, [0, 25, 40, 75, 100]),
        (widgets.Slider("By ratio", 1.0, 100.0, 10.0, log=True), 5, [1.0, 3.16, 10.0, 31.6, 100.0]),
        (widgets.Slider("Ends and first value at least", 0, 100, 40), 2, [0, 40, 100]),
        (widgets.Slider("Named", 0, 100, 40, positions=[80, 0]), 5, [0, 40, 80]),
        (widgets.Slider("Fixed", 0, 100, 40, positions=[40]), 5, [40]),
    ],
)
def test_a_slider_stops_at_both_ends_at_its_first_value_and_evenly_between(slider, most, stops):
    assert slider.stops(most) == stops
    assert slider.value in stops


@pytest.mark.parametrize(("low", "value", "high"), [(2.0, 15.0, 100.0), (0.5, 11.0, 100.0), (1.0, 1.0, 9.0)])
def test_the_first_value_of_a_logarithmic_slider_is_a_position_of_its_handle(low, value, high):
    steps = np.log10(value / low) / widgets.Slider("Budget", low, high, value, log=True).pace
    assert steps == pytest.approx(round(steps))


def test_sliders_share_the_pictures_among_them():
    two = {name: widgets.Slider(name, 0, 100, 50) for name in ("a", "b")}
    found = states.positions(two)
    assert [len(stops) for stops in found.values()] == [7, 7]


def test_where_settings_are_too_many_the_last_controls_stand_still():
    many = {name: widgets.Choice(name, list("abcdefgh")) for name in ("x", "y")} | {"z": widgets.Slider("z", 0, 9, 4)}
    assert states.positions(many) == {"x": list("abcdefgh"), "y": ["a"], "z": [4]}


def test_a_position_outside_the_slider_is_refused_in_one_sentence():
    with pytest.raises(GancompError, match="has the position 200, outside 0 to 100"):
        widgets.Slider("Level", 0, 100, 40, positions=[200])


def test_a_setting_that_fails_fails_the_cell():
    with pytest.raises(ZeroDivisionError):
        explorer(lambda level: draw_level(1 / (level - 10) and 1))
    plt.close("all")


def test_noise_stays_below_the_limit_and_keeps_its_grid():
    rng = np.random.default_rng(0)

    def draw_noise(level):
        figure = plt.figure(figsize=(6, 4), layout="none")
        figure.figimage(rng.integers(0, 256, (400, 600, 3), dtype=np.uint8))
        return figure

    stored = explorer(draw_noise, level=widgets.Slider("Level", 1, 8, 1)).states
    assert len(stored["sprite"]) <= states.LARGEST
    sprite = Image.open(io.BytesIO(base64.b64decode(stored["sprite"])))
    assert (sprite.width % stored["columns"], sprite.height % stored["rows"]) == (0, 0)


def test_wide_pictures_stand_in_rows(monkeypatch):
    monkeypatch.setattr(states, "_WIDEST", 200)
    stored = explorer().states
    assert (stored["columns"], stored["rows"]) == (3, 4)
    assert np.abs(shown(stored, place=10).mean() - 255) < 1.5


def test_a_committed_notebook_keeps_states_and_a_web_page_gets_a_figure_instead():
    bundle = explorer()._repr_mimebundle_()
    out = new_output("display_data", bundle)
    notebook = cleaned(new_notebook(cells=[new_code_cell("explore(...)", outputs=[out])]))
    nbformat.validate(notebook)
    kept = notebook.cells[0].outputs[0].data
    assert states.STATES in kept
    assert output.WIDGET_VIEW not in kept
    page = with_alt_text(notebook).cells[0].outputs[0].data
    assert states.STATES not in page
    assert page["text/html"].startswith('<figure class="gancomp-moving">')
    assert 'alt="Level 3"' in page["text/html"]


def test_no_words_of_a_notebook_become_markup():
    script = "</script><script>alert(1)</script>"
    made = widgets.explore(draw_level, alt=script, title=script, level=widgets.Slider(script, 0, 1, 0, unit=script))
    page = states.figure(made.states)
    assert page.count("<script") == page.count("</script>") == 1
    held = page.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(held)["title"] == script
