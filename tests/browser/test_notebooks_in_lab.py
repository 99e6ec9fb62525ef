"""The notebooks as a reader uses them: in JupyterLab, in the fast profile, each run once.

``GANCOMP_BROWSER_PICTURES=FOLDER`` keeps pictures of every page, at 1280 and at 800 pixels.
"""

import re

import nbformat
import pytest
from lab import changed, drag_to, folded, open_notebook, pictures, redrawn, run_all, saved, too_wide, unfold, violations

from factories import fixed_cells
from gancomp_core.course import notebook_files as files

COSTS = files.read_costs()
LONGEST_FIRST = sorted(files.choose([]), key=lambda path: -COSTS[path.stem]["fast"].minutes)
MISTAKES = {  # an exercise of each notebook, what to change in its solution, and words of the hint for that mistake
    "00": ("separable_saving", "dense / (depthwise + pointwise)", "(depthwise + pointwise) / dense", "Upside down"),
    "01": ("channels_to_keep", "next_weight.abs().sum((0,", "own_weight.abs().sum((1,", "wanted are the weights of"),
    "02": ("pseudo_pair_loss", "    teacher.eval()\n", "", "Your teacher paints in training mode"),
    "03": ("logit_loss", "temperature**2 * divergence", "divergence", "The factor temperature ** 2 is missing"),
    "04": ("dominates", " and a != b", "", "a network dominates its own twin"),
    "05": ("straight_through_sample", "hard + soft - soft.detach()", "soft", "That is the soft draw"),
    "06": ("haar_step", "2**0.5, (first - second) / 2**0.5", "2, (first - second) / 2", "divide by the square root"),
    "07": ("affine_quantize", "min(low, 0.0), max(high, 0.0)", "low, high", "0 must have a number of its own"),
    "08": ("pareto_front", "sorted(kept, key=lambda i: costs[i])", "kept", "wanted is ascending order of cost"),
    "09": ("read_shapes", "len(blocks)", "2 * len(blocks)", "You count convolutions"),
}


@pytest.mark.slow
@pytest.mark.notebooks
@pytest.mark.parametrize("path", LONGEST_FIRST, ids=lambda path: path.stem)
def test_a_notebook_in_the_hands_of_a_reader(path, page, lab, subtests, record_property):
    """One run of all cells serves all that is tried on it; a subtest that fails stops none of the others.

    Its exercises are empty but for one; tests/notebooks/test_execution.py runs notebooks whose exercises are solved.
    """
    open_notebook(page, lab, lab.put(path.name, _fast(path)))
    with subtests.test("a notebook that was only opened is not changed"):
        assert not changed(page)
    with subtests.test("deeper sections are folded below their headings"):
        assert folded(page) == len(files.tagged(files.read_notebook(path), "deeper"))
    run_all(page, minutes=15)
    unfold(page)
    executed = files.cleaned(saved(page, lab, path.name))
    record_property("redraws", f"{path.stem[:2]}\n{executed.cells[-1].outputs[0].text}")
    pictures(page, path.stem[:2])
    with subtests.test("fixed cells say what they said, within the memory that was promised"):
        assert lab.peak_mb() < 4000
        assert fixed_cells(executed) == fixed_cells(files.read_notebook(path)) != []
    with subtests.test("nothing is wider than its cell at 1280 pixels"):
        assert too_wide(page) == []
    for explorer in page.locator(".gancomp-explorer").all():
        for control in explorer.locator(".noUi-handle, select, input[type=checkbox]").all():
            with subtests.test("a control moves its picture", control=_name(control)):
                _move(page, explorer, control)
    with subtests.test("a question refuses no answer, and opens its reveal for one"):
        _predict(page)
    with subtests.test("an exercise says what is wrong, and what is right"):
        _exercise(page, path, *MISTAKES[path.stem[:2]])
    if page.get_by_text("How did I do?").count():
        with subtests.test("the blind test wants a choice and counts"):
            _blind_test(page)
    with subtests.test("no serious violation of accessibility"):
        assert violations(page, ".jp-OutputArea-output") == []
    with subtests.test("nothing is wider than its cell at 800 pixels"):
        page.set_viewport_size({"width": 800, "height": 1100})
        pictures(page, path.stem[:2])
        assert [each for each in too_wide(page) if "<table" not in each] == []  # many columns need a scroll bar there


def _fast(path):
    """The committed notebook, set to the fast profile; a last cell moves every control to both ends and the middle."""
    notebook = files.read_notebook(path)
    [parameters] = files.tagged(notebook, "parameters")
    parameters.source = parameters.source.replace('PROFILE = "standard"', 'PROFILE = "fast"')
    drive = "from gancomp_core.course import drive_all_widgets\n\n_ = drive_all_widgets()"
    notebook.cells.append(nbformat.v4.new_code_cell(drive))
    return notebook


def _name(control):
    """What stands beside a control: the text of the row it is in."""
    row = control.locator("xpath=ancestor::*[normalize-space()][1]")
    return " ".join(row.text_content().split())[:40]


def _move(page, explorer, control):
    """Move a control in every way it has, and back: each draws, and not always the same picture."""
    kind = control.evaluate("element => element.type || 'slider'")
    if kind == "checkbox":
        ways = [control.click, control.click]
    elif kind == "select-one":
        start = control.evaluate("element => element.selectedIndex")
        last = control.locator("option").count() - 1
        ways = [lambda: control.select_option(index=last if start < last else 0)]
        ways.append(lambda: control.select_option(index=start))
    else:
        ways = _of_a_slider(page, control)
    picture = explorer.locator("img").first
    seen = {picture.get_attribute("src")}
    for way in ways:
        said = redrawn(page, explorer, way)
        assert said.startswith("drawn: ")
        seen.add(picture.get_attribute("src"))
    assert len(seen) > 1


def _of_a_slider(page, handle):
    """By mouse to the other side, by keys to the ends, by the number box to where it stood."""
    box = handle.locator("xpath=ancestor::*[.//input][1]").locator("input")
    start = box.input_value()
    now, low, high = (float(handle.get_attribute(f"aria-value{which}")) for which in ("now", "min", "max"))
    up = now < (low + high) / 2

    def type_a_number():
        box.fill(start)
        page.keyboard.press("Tab")

    ends = ["Home", "End"] if up else ["End", "Home"]
    keys = [lambda key=key: handle.press(key) for key in ends]
    return [lambda: drag_to(page, handle, 0.8 if up else 0.2), *keys, type_a_number]


def _predict(page):
    """The first question of the notebook: no answer is refused, any answer opens what waits for it."""
    form = page.locator(".widget-vbox:has(> .widget-html:has-text('Predict first.'))").first
    button = form.get_by_role("button", name="Record my prediction")
    waiting = page.get_by_role("button", name="Show it without a guess").count()
    button.click()
    form.get_by_text(re.compile(r"Choose an answer first\.|Type a number first\.")).wait_for()
    assert page.get_by_role("button", name="Show it without a guess").count() == waiting > 0
    if form.get_by_role("radio").count():
        form.get_by_role("radio").first.check()
    else:
        number = form.get_by_role("textbox")
        number.fill(re.search(r"to ([\d.,]+)", number.get_attribute("placeholder"))[1].replace(",", ""))
    button.click()
    form.get_by_text("Recorded: ").wait_for()
    page.get_by_text("Your prediction: ").first.wait_for()


def _exercise(page, path, name, right, wrong, hint):
    cells = files.read_notebook(path).cells
    [at] = [number for number, cell in enumerate(cells) if f"exercise:{name}" in files.tags(cell)]
    [tried] = [number for number, cell in enumerate(cells) if f"check.{name}({name})" in cell.source]
    cell, check = (page.locator(".jp-Notebook .jp-Cell").nth(number) for number in (at, tried))
    [solutions] = (files.NOTEBOOKS / "solutions").glob(f"{path.stem}*")
    given = files.read_notebook(solutions)
    [solution] = files.tagged(given, f"solution:{name}")
    imports = "".join(f"{cell.source}\n" for cell in files.tagged(given, "exercise-setup"))
    assert right in solution.source
    for source, verdict, words in [
        (imports + solution.source.replace(right, wrong), "wrong", hint),
        (imports + solution.source, "passed", "Well done."),
    ]:
        cell.locator(".cm-content").click()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.insert_text(source)
        page.keyboard.press("Shift+Enter")
        check.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        check.locator(".jp-OutputArea").get_by_text(f"{name}: {verdict}.").wait_for()
        assert words in check.locator(".jp-OutputArea").inner_text()


def _blind_test(page):
    button = page.get_by_role("button", name="How did I do?")
    test = page.locator(".jp-OutputArea-output").filter(has=button)
    button.click()
    test.get_by_text("Choose a maker under at least one picture first.").wait_for()
    for menu in test.locator("select").all():
        menu.select_option(label="real")
    button.click()
    test.get_by_text(re.compile(r"4 of 12 right")).wait_for()
