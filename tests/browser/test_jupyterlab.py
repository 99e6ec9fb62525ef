"""As a reader does it: JupyterLab in a real browser, run all cells, drag a slider, type a number, predict."""

import json

from lab import changed, drag, open_and_run, open_notebook, status_after

TINY = """
import matplotlib.pyplot as plt
from gancomp_core.course import Slider, explore, predict, show

def draw(power):
    figure, axes = plt.subplots(figsize=(5, 3))
    axes.plot([x**power for x in range(5)])
    return figure

explore(draw, alt="x to the power {power}", power=Slider("Power", 1, 9, 2), height=320)
"""


def test_a_slider_a_number_box_and_a_prediction_work_in_jupyterlab(page, lab):
    cells = [TINY, "predict('t/1', 'Which?', ['teacher', 'student'])", "show(draw(3), alt='A cubic')"]
    open_and_run(page, lab, lab.put("tiny.ipynb", cells))
    assert status_after(page, lambda: drag(page, page.locator(".noUi-handle").first, 80)).startswith("drawn: Power ")
    page.get_by_label("Power", exact=True).first.fill("9")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelector('.gancomp-status').innerText.startsWith('drawn: Power 9 ')")
    assert page.locator('img[alt="x to the power 9"]').count() == 1
    assert page.locator('img[alt="A cubic"]').count() == 1
    page.get_by_label("student").check()
    page.get_by_role("button", name="Record my prediction").click()
    page.wait_for_selector("text=Recorded: student, 70 % sure.")
    assert json.loads(lab.predictions.read_text())["predictions"][0]["answer"] == "student"


def test_a_notebook_that_was_only_opened_is_not_changed(page, lab):
    """Whatever version of Python it was written by."""
    open_notebook(page, lab, lab.put("tiny.ipynb", ["1 + 1"]))
    assert not changed(page)
    page.evaluate("window.jupyterapp.commands.execute('notebook:insert-cell-below')")
    assert changed(page)
