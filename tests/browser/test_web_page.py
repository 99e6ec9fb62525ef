"""The web page of an executed notebook, opened from its file without a network."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from gancomp_core.course import notebook_files as files
from gancomp_core.course import web_page

START = files.NOTEBOOKS / "00_start_here.ipynb"


@pytest.fixture
def opened(new_page, watch, tmp_path):
    target = tmp_path / "page.html"
    web_page.write(files.read_notebook(START), target, START.parent)
    page = new_page(offline=True)
    page.goto(target.as_uri())
    page.wait_for_load_state("networkidle")
    yield page
    assert [url for url in watch.requests if not url.startswith("data:")] == [target.as_uri()]


def test_the_page_of_a_notebook_asks_for_nothing_has_its_title_and_draws_its_formulas(opened):
    assert opened.title() == "Start here: what a GAN costs, and how we will know when it is cheaper"
    formulas = opened.locator("math")
    assert formulas.count() > 10
    assert not any("$" in text for text in opened.locator(".jp-RenderedMarkdown").all_inner_texts())
    sizes = formulas.evaluate_all("all => all.map(each => each.getBoundingClientRect().height)")
    assert min(sizes) > 5
    assert opened.locator("merror").count() == 0


def test_the_page_of_a_notebook_has_no_serious_breach_of_accessibility(opened):
    found = Axe().run(opened).response["violations"]
    serious = {each["id"]: [node["html"] for node in each["nodes"]][:3] for each in found if each["impact"] in
               ("serious", "critical")}  # fmt: skip
    assert serious == {}
