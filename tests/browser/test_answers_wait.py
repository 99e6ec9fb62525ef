"""Predictions in JupyterLab: running all cells spoils nothing, an answer or a button opens what waits for it."""

import json

import pytest
from lab import open_and_run
from playwright.sync_api import expect

CELLS = [
    "import matplotlib.pyplot as plt\nfrom gancomp_core.course import predict, reveal, show, tell",
    "predict('t/1', 'How many?', unit='G MACs', low=0, high=1000)",
    "predict('t/2', 'Which?', ['teacher', 'student'])",
    "show(plt.figure(figsize=(3, 2)), alt='A bar of 50')\nreveal('t/1', 50)\ntell('It is **50**, as the bar says.')",
    "reveal('t/2', 'student')\ntell('It is the student.')",
]


@pytest.fixture
def opened(new_page, lab):
    """All cells of a small notebook have run; a first visit by default as wide as a telephone would show it."""

    def run(width=1280):
        page = new_page(viewport={"width": width, "height": 1100})
        open_and_run(page, lab, lab.put("predictions.ipynb", CELLS))
        return page

    return run


def stored(lab):
    known = json.loads(lab.predictions.read_text())["predictions"] if lab.predictions.exists() else []
    return {each["id"]: (each["answer"], each["truth"], each["counts"]) for each in known}


def cell(page, number):
    return page.locator(".jp-CodeCell").nth(number)


def button(place, name):
    return place.get_by_role("button", name=name, exact=True)


@pytest.mark.parametrize("width", [1280, 390])
def test_an_answer_opens_the_rest_of_its_cell(opened, lab, width):
    page = opened(width)
    question, answer = cell(page, 1), cell(page, 3)
    assert stored(lab) == {}
    expect(button(answer, "Show it without a guess")).to_be_visible()
    assert answer.locator("img").count() == 0
    assert "It is 50" not in answer.locator(".jp-Cell-outputArea").inner_text()

    sure = question.get_by_role("slider", name="How sure are you, in percent, to be within a factor of 2?")
    assert sure.get_attribute("aria-valuetext") == "70 %"
    expect(cell(page, 2).get_by_role("radiogroup", name="Which?")).to_be_visible()

    button(question, "Record my prediction").click()
    expect(question.get_by_role("alert")).to_have_text("Type a number first.")
    question.get_by_label("Your number, G MACs").fill("2000")
    button(question, "Record my prediction").click()
    expect(question.get_by_role("alert")).to_contain_text("out of range; type a number from 0 to 1,000 G MACs.")
    assert stored(lab) == {}

    question.get_by_label("Your number, G MACs").fill("62,5")
    button(question, "Record my prediction").click()
    expect(question.get_by_role("alert")).to_have_text("Recorded: 62.5 G MACs, 70 % sure. The answer is open below.")
    expect(answer.get_by_role("alert")).to_contain_text("Too high by a factor of 1.25")
    expect(answer.locator("img[alt='A bar of 50']")).to_be_visible()
    expect(answer).to_contain_text("as the bar says.")
    assert stored(lab) == {"t/1": (62.5, 50, True)}
    for each in page.locator(".widget-button:visible").all():  # nothing is cut off
        assert each.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_an_answer_can_be_seen_without_a_guess_and_then_no_guess_counts(opened, lab):
    page = opened()
    question, answer = cell(page, 2), cell(page, 4)
    button(answer, "Show it without a guess").click()
    expect(answer.get_by_role("alert")).to_have_text("No prediction recorded; the answer is student.")
    expect(button(answer, "Show it without a guess")).to_be_hidden()
    question.get_by_label("teacher").check()
    button(question, "Record my prediction").click()
    expect(question.get_by_role("alert")).to_contain_text("it does not count for your calibration")
    assert stored(lab) == {"t/2": ("teacher", "student", False)}
    button(question, "Answer again").click()
    expect(question.get_by_role("alert")).to_contain_text("Your prediction is removed: teacher.")
    assert stored(lab) == {"t/2": (None, "student", False)}
    expect(question.get_by_label("teacher")).not_to_be_checked()


def test_after_an_answer_the_cell_shows_the_comparison_at_once(opened, lab):
    page = opened()
    cell(page, 2).get_by_label("student").check()
    button(cell(page, 2), "Record my prediction").click()
    expect(cell(page, 4).get_by_role("alert")).to_contain_text("Right. You were 70 % sure.")
    open_and_run(page, lab, "predictions.ipynb")
    expect(cell(page, 4)).to_contain_text("Right. You were 70 % sure.")
    expect(cell(page, 4)).to_contain_text("It is the student.")
    expect(cell(page, 2).get_by_role("alert")).to_have_text("Recorded: student, 70 % sure.")


BLIND = """import torch
from gancomp_core.course import blind_test

pictures = torch.linspace(-1, 1, 12).reshape(12, 1, 1, 1).expand(12, 1, 32, 32)
test = blind_test({"real": pictures, "teacher": pictures, "small student": pictures})"""


@pytest.mark.parametrize("width", [848, 390])
def test_the_blind_test_says_of_each_picture_what_it_was(new_page, lab, width):
    page = new_page(viewport={"width": width, "height": 1100})
    open_and_run(page, lab, lab.put("blind.ipynb", [BLIND, "print(test.answers[0])"]))
    output = cell(page, 0).locator(".jp-Cell-outputArea")
    button(output, "How did I do?").click()
    expect(output.get_by_role("alert")).to_have_text("Choose a maker under at least one picture first.")
    first = cell(page, 1).locator(".jp-OutputArea-output").inner_text().strip()
    menu = output.get_by_label("No. 1", exact=True)
    menu.select_option(next(name for name in ("real", "teacher") if name != first))
    button(output, "How did I do?").click()
    expect(output.get_by_text(f"✗ Wrong: {first}")).to_be_visible()
    menu.select_option(first)
    button(output, "How did I do?").click()
    expect(output.get_by_text(f"✓ Right: {first}")).to_be_visible()
    expect(output.get_by_role("alert")).to_contain_text("1 of 12 right")
    assert output.locator("img").count() == 12
    assert output.evaluate("element => element.scrollWidth <= element.clientWidth")
