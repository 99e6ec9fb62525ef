"""Profiles, predictions, checks, figures and widgets of the course."""

import base64
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from gancomp_core.course import checks, figures, output, widgets
from gancomp_core.course.exercises import nb00
from gancomp_core.course.profiles import Profile
from gancomp_core.errors import GancompError

# --- profiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), [("fast", 60), ("standard", 400), ("full", 5000)])
def test_a_profile_picks_its_own_value(name, steps):
    assert Profile.named(name).pick(fast=60, standard=400, full=5000) == steps


def test_an_unknown_profile_is_told_the_known_ones():
    with pytest.raises(GancompError, match="no profile 'quick'.*'fast', 'standard', 'full'"):
        Profile.named("quick")


def test_a_profile_prints_what_it_means():
    assert str(Profile.named("standard")).startswith("standard profile (a learner's laptop")


# --- checks ---------------------------------------------------------------------------------------------------------


def test_the_reference_macs_are_what_torch_counts():
    for c_in, c_out, kernel, height, width, *rest in (
        given for group in nb00.CONV_MACS.groups for given in group.inputs
    ):
        groups = rest[0] if rest else 1
        layer = torch.nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False, device="meta")
        with FlopCounterMode(display=False) as counter:
            layer(torch.empty(1, c_in, height, width, device="meta"))
        assert counter.get_total_flops() == 2 * nb00.conv_macs(c_in, c_out, kernel, height, width, groups)


def test_the_reference_savings_are_ratios_of_counted_weights():
    for c_in, c_out, kernel in nb00.SEPARABLE_SAVING.inputs:
        dense = torch.nn.Conv2d(c_in, c_out, kernel, bias=False, device="meta").weight.numel()
        depthwise = torch.nn.Conv2d(c_in, c_in, kernel, groups=c_in, bias=False, device="meta").weight.numel()
        pointwise = torch.nn.Conv2d(c_in, c_out, 1, bias=False, device="meta").weight.numel()
        ratio = dense / (depthwise + pointwise)
        assert nb00.separable_saving(c_in, c_out, kernel) == pytest.approx(ratio, rel=1e-12)


def test_the_reference_distances_are_those_of_samples_put_in_order():
    # in one dimension the Frechet distance of Gaussians is the mean squared difference of their sorted samples
    ranks = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
    for mean1, std1, mean2, std2 in nb00.FRECHET_1D.inputs:
        measured = ((mean1 + std1 * ranks) - (mean2 + std2 * ranks)).square().mean().item()
        assert measured == pytest.approx(nb00.frechet_1d(mean1, std1, mean2, std2), rel=2e-4, abs=1e-9)


def test_the_reference_medians_are_numpy_s():
    for times, warmup in (given for group in nb00.MEDIAN_LATENCY.groups for given in group.inputs):
        assert nb00.median_latency(times, warmup) == np.median(times[warmup:])


@pytest.fixture
def quiet(monkeypatch):
    shown = []
    monkeypatch.setattr(checks, "display", lambda bundle, raw: shown.append(bundle))
    return shown


def stub_raises(*_):
    raise NotImplementedError


def stub_returns_ellipsis(*_): ...


@pytest.mark.parametrize("stub", [stub_raises, stub_returns_ellipsis, lambda *_: ...])
def test_a_stub_is_not_done_yet_and_stops_nothing(stub, quiet):
    result = checks.check.frechet_1d(stub)
    assert result.status == "not done yet"
    assert not result.passed
    assert "not done yet" in quiet[0]["text/plain"]


def test_a_right_answer_passes_and_is_shown_once(quiet):
    result = checks.check.frechet_1d(lambda a, s, b, t: (a - b) ** 2 + (s - t) ** 2)
    assert result.passed
    assert len(quiet) == 1
    assert "✓ frechet_1d: passed." in str(result)


def test_an_error_in_the_answer_is_told_with_its_line(quiet):
    def broken(mean1, std1, mean2, std2):
        return mean1 + undefined_name  # noqa: F821

    message = checks.check.frechet_1d(broken).message
    assert "return mean1 + undefined_name" in message
    assert "NameError" in message


@pytest.mark.parametrize(
    ("value", "words"),
    [(math.nan, "nan"), ("9", "a str"), ([9], "a list"), (np.ones(2), "shape (2,)"), (1j, "a complex")],
)
def test_something_that_is_no_number_is_named(value, words, quiet):
    assert words in checks.check.frechet_1d(lambda *_: value).message


def test_a_result_instead_of_the_function_is_explained(quiet):
    assert "without brackets: check.frechet_1d(frechet_1d)" in checks.check.frechet_1d(3.0).message


def test_an_unknown_exercise_lists_the_known_ones():
    with pytest.raises(AttributeError, match="no exercise 'nothing'; there are .*conv_macs"):
        _ = checks.check.nothing


# --- figures --------------------------------------------------------------------------------------------------------


def test_a_grid_takes_gray_and_color_tensors_and_names_its_rows():
    rows = {"gray": torch.zeros(3, 1, 8, 8), "color": np.full((2, 3, 8, 8), 0.5, np.float32)}
    figure = figures.picture_grid(rows, titles=["a", "b", "c"])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gray", "color"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert np.allclose(axes.images[0].get_array()[:8, :8], 0.5)
    plt.close(figure)


@pytest.mark.parametrize(
    ("rows", "words"),
    [({}, "no rows"), ({"a": np.zeros((2, 4, 8, 8))}, "'a' has shape"), ({"a": np.zeros((8, 8))}, "'a' has shape")],
)
def test_a_grid_refuses_what_are_no_pictures(rows, words):
    with pytest.raises(GancompError, match=words):
        figures.picture_grid(rows)


def test_labels_of_a_scatter_keep_clear_of_each_other():
    labels = ["teacher", "teacher, separable", "student", "student with KD"]
    figure = figures.scatter_tradeoff([56, 54, 10, 9.8], [20, 21, 25, 25.2], labels, xlabel="G MACs", ylabel="FD")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(boxes[i].overlaps(boxes[j]) for i in range(4) for j in range(i))
    plt.close(figure)


def test_bars_tell_value_and_share():
    figure = figures.bar_by_layer(["stem", "tail"], [1.0, 3.0], unit="million MACs", groups=["ends", "ends"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1 (25%)", "3 (75%)"]
    plt.close(figure)


def test_a_large_picture_is_brought_below_the_limit():
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="png")
    assert len(output.small_png(buffer.getvalue())) <= output.LARGEST_PICTURE


def test_a_drawing_takes_fewer_colors_and_looks_the_same():
    figure, axes = plt.subplots()
    axes.plot(range(10), label="a line")
    png = output.render(figure)
    small = output.small_png(png)
    before, after = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float) for data in (png, small))
    assert len(small) < 0.7 * len(png)
    assert np.sqrt(((before - after) ** 2).mean()) < 1


def test_a_picture_of_many_colors_keeps_them_where_it_may():
    colors = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colors).save(buffer, format="png")
    assert output.small_png(buffer.getvalue()) == buffer.getvalue()


def test_a_figure_is_shown_with_alt_text_and_closed(monkeypatch):
    shown = []
    monkeypatch.setattr(output, "display", lambda bundle, raw, metadata: shown.append((bundle, metadata)))
    figure = plt.figure(figsize=(2, 1))
    output.show(figure, alt='A "quoted" <sentence>')
    bundle, metadata = shown[0]
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size == (200, 100)
    assert metadata["image/png"]["alt"] == 'A "quoted" <sentence>'
    assert 'alt="A &quot;quoted&quot; &lt;sentence&gt;"' in bundle["text/html"]
    assert not plt.fignum_exists(figure.number)
    with pytest.raises(GancompError, match="alt text"):
        output.show(plt.figure(), alt=" ")
    plt.close("all")


# --- widgets --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_explorers(monkeypatch):
    monkeypatch.setattr(widgets, "_LIVE", {})
    monkeypatch.delenv("GANCOMP_STRICT_WIDGETS", raising=False)


def draw_power(power=1, kind="line"):
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot([x**power for x in range(5)], marker="o" if kind == "points" else None)
    return figure


def explorer(draw=draw_power):
    return widgets.explore(
        draw,
        alt="x to the power {power} as {kind}",
        power=widgets.Slider("Power", 1, 9, 2, unit="times"),
        kind=widgets.Choice("Kind", ["line", "points"]),
    )


def test_a_control_redraws_once_and_says_what_was_drawn():
    made = explorer()
    made.inputs["power"].value = 5
    assert made.drawn == 2
    assert made.status.value.startswith("drawn: Power 5 times; Kind line (picture 2, ")
    assert 'alt="x to the power 5 as line"' in made.picture.value
    assert plt.get_fignums() == []


def test_the_number_box_is_labeled_and_linked_with_its_slider():
    made = explorer()
    box, bar = made.children[0].children
    assert box.description == "Power (times)"
    assert bar.continuous_update  # the picture follows a drag
    box.value = 7
    assert made.values["power"] == 7
    assert made.drawn == 2


def test_a_setting_seen_before_is_not_drawn_again_and_little_is_kept(monkeypatch):
    drawn = []
    made = explorer(lambda power, kind: drawn.append(power) or draw_power(power))
    for power in (5, 2, 5):
        made.inputs["power"].value = power
    assert drawn == [2, 5]
    assert made.drawn == 4
    assert 'alt="x to the power 5 as line"' in made.picture.value
    monkeypatch.setattr(widgets, "KEPT_BYTES", 0)
    made.inputs["power"].value = 7
    assert list(made.kept) == [(7, "line")]


def test_the_number_box_of_a_logarithmic_slider_is_rounded_and_drawn_as_it_says():
    share = widgets.Slider("Share", 1.0, 100.0, 10.0, unit="%", log=True)
    made = widgets.explore(lambda share: draw_power(1), alt="{share} percent", share=share)
    made.inputs["share"].value = 10**1.6010299956639813
    assert made.values == {"share": 39.9}
    assert "39.9 percent" in made.picture.value
    made.built["share"].read.value = 40.0
    assert made.inputs["share"].value == 40.0
    assert "drawn: Share 40 %" in made.status.value


def test_a_failing_setting_is_told_in_words_and_mended_by_the_next():
    made = explorer(lambda power, kind: draw_power(power) if power < 9 else [][1])
    made.inputs["power"].value = 9
    assert "could not be drawn" in made.error.value
    assert "IndexError" in made.error.value
    assert made.status.value.startswith("not drawn")
    made.inputs["power"].value = 3
    assert made.error.value == ""


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("a multiplication *and* its addition", "a multiplication <em>and</em> its addition"),
        ("at the line `return height * widht`", "at the line <code>return height * widht</code>"),
        ("one * two * three, 10 ** (-n / 20), a*b*c", "one * two * three, 10 ** (-n / 20), a*b*c"),
        ("`<b>*x*</b>` <script>", "<code>&lt;b&gt;*x*&lt;/b&gt;</code> &lt;script&gt;"),
        ("a lonely ` and * stay", "a lonely ` and * stay"),
    ],
)
def test_code_and_stress_in_a_message_are_shown_as_such_and_nothing_else(monkeypatch, message, shown):
    pages = []
    monkeypatch.setattr(checks, "display", lambda bundle, **_: pages.append(bundle["text/html"]))
    checks.show_result(checks.CheckResult("conv_macs", "wrong", message))
    assert pages[0].endswith(f"</b> {shown}</div>")


SCRIPT = "<script>alert(1)</script>"


def test_no_script_in_a_label_or_an_error_reaches_the_page():
    def fail(**values):
        raise ValueError(SCRIPT)

    made = widgets.explore(fail, alt="", power=widgets.Slider(SCRIPT, 1, 9, 2), kind=widgets.Choice("Kind", [SCRIPT]))
    assert "could not be drawn" in made.error.value
    assert "<script" not in made.error.value
    assert "<script" not in made._repr_mimebundle_()["text/html"]


def test_in_strict_mode_a_failing_setting_is_raised(monkeypatch):
    monkeypatch.setenv("GANCOMP_STRICT_WIDGETS", "1")
    made = explorer(lambda power, kind: draw_power(power) if power < 9 else [][1])
    with pytest.raises(IndexError):
        made.inputs["power"].value = 9


def test_a_drive_visits_both_ends_and_the_middle_and_comes_back(capsys):
    made = explorer()
    timings = widgets.drive_all_widgets()
    assert [t.value for t in timings if t.control == "Power"] == [1, 9, 5, 2]
    assert [t.value for t in timings if t.control == "Kind"] == ["points", "line"]
    assert made.values == {"power": 2, "kind": "line"}
    assert "aim 150 ms" in capsys.readouterr().out


def test_a_drive_finds_the_setting_that_fails():
    explorer(lambda power, kind: draw_power(power) if power != 9 else [][1])
    with pytest.raises(IndexError):
        widgets.drive_all_widgets()


def test_running_a_cell_again_replaces_its_explorer():
    explorer()
    explorer()
    assert len(widgets._LIVE) == 1


def test_a_logarithmic_slider_goes_from_end_to_end():
    made = widgets.explore(
        lambda power: draw_power(1), alt="{power}", power=widgets.Slider("Rate", 1e-4, 1.0, 0.01, log=True), height=200
    )
    seen = [timing.value for timing in widgets.drive_all_widgets()]
    assert seen == pytest.approx([1e-4, 1.0, 1e-2]) or seen == pytest.approx([1e-4, 1.0, 1e-2, 1e-2])
    assert made.values["power"] == pytest.approx(0.01)


def test_a_reader_without_a_kernel_gets_words():
    bundle = explorer()._repr_mimebundle_()
    assert "an interactive picture (controls: power, kind)" in bundle["text/html"]
    assert output.WIDGET_VIEW in bundle


def test_the_static_twin_draws_each_setting(monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "show", lambda figure, alt: shown.append((output.render(figure), alt)))
    widgets.small_multiples(draw_power, [{"power": p} for p in (1, 2, 3, 4)], alt="Four powers", columns=2)
    png, alt = shown[0]
    assert alt == "Four powers"
    assert Image.open(io.BytesIO(png)).size == (2 * 240 + 12, 2 * (160 + 26))
    widgets.small_multiples(draw_power, [{"power": 1}], alt="One power", titles=[""])
    assert Image.open(io.BytesIO(shown[1][0])).size == (240, 160)


@pytest.mark.parametrize(("inches", "size"), [(5, (812, 2 * 186)), (6, (480, 4 * 186))])
def test_the_static_twin_puts_wide_pictures_below_each_other(monkeypatch, inches, size):
    """Side by side they would be shrunk to the page, and their letters with them."""
    shown = []
    monkeypatch.setattr(widgets, "show", lambda figure, alt: shown.append(output.render(figure)))

    def draw(number):
        return plt.figure(figsize=(inches, 2))

    widgets.small_multiples(draw, [{"number": n} for n in range(4)], alt="Four", columns=2)
    assert Image.open(io.BytesIO(shown[0])).size == size


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: widgets.Slider("Budget", 1, 10, 50), "starts at 50, outside 1 to 10"),
        (lambda: widgets.Slider("Rate", 0, 1, 0.5, log=True), "low must be above 0"),
        (lambda: widgets.Choice("Kind", ["a"], "b"), "its value among them"),
        (lambda: widgets.explore(draw_power, alt="x"), "at least one control"),
        (lambda: widgets.small_multiples(draw_power, [], alt="x"), "at least one setting"),
        (lambda: widgets.small_multiples(draw_power, [{}], alt="x", titles=["a", "b"]), "2 titles for 1"),
    ],
)
def test_a_wrong_widget_is_refused_in_one_sentence(make, words):
    with pytest.raises(GancompError, match=words):
        make()
