import re

import ipywidgets
import pytest

from gancomp_core.course import ledger as ledger_module
from gancomp_core.course.forest import forest_alt
from gancomp_core.course.ledger import Ledger, table
from gancomp_core.lab.benchmark import effects, ledger


@pytest.fixture(scope="module")
def book():
    return ledger()


def claims_in(page):
    return page.count('<th scope="row"')


def test_the_whole_ledger_is_text_in_a_table(book):
    page = table(book)
    assert claims_in(page) == len(book)
    assert "FD " in page
    assert page.count("<img") == 0


def test_menus_and_words_leave_the_claims_they_name(book):
    shown = Ledger(book)
    assert claims_in(shown.table.value) == len(book)
    shown.menus["status"].value = "undecided"
    undecided = (book["status"] == "undecided").sum()
    assert claims_in(shown.table.value) == undecided
    assert f"{undecided} of {len(book)} claims" in shown.count.value
    shown.menus["status"].value = ledger_module.ALL
    shown.words.value = "WAVELET student"
    fewer = claims_in(shown.table.value)
    assert 0 < fewer < len(book)
    shown.words.value = "no such word ("
    assert "No claim of this kind." in shown.table.value


def test_what_a_claim_says_is_no_markup(book):
    odd = book.head(1).assign(claim="<script>alert(1)</script>")
    assert "<script" not in table(odd)
    assert all("<script" not in each.value for each in Ledger(odd).box.children if isinstance(each, ipywidgets.HTML))


def test_the_words_for_the_forest_hold_every_effect():
    words = forest_alt()
    for each in effects().itertuples():
        assert each.claim in words
    assert words.count("(n = ") == len(effects())


def test_inputs_are_labeled_and_wrap_on_a_narrow_page(book):
    shown = Ledger(book)
    status, paper, words = inputs = [*shown.menus.values(), shown.words]
    assert [each.description for each in inputs] == ["Status", "Paper", "Words"]
    assert words.placeholder == "such as: wavelet"
    assert status.options == (ledger_module.ALL, *book.status.unique())
    assert paper.options == (ledger_module.ALL, *book.paper.unique())
    for each in inputs:
        assert (each.layout.width, each.layout.flex, each.style.description_width) == ("auto", "1 1 220px", "initial")
    assert shown.box.children[0].layout.flex_flow == "row wrap"


def test_a_row_of_the_table_begins_with_its_status_and_has_all_columns(book):
    one = book.head(1).assign(status="S", paper="P", claim="C", evidence="E", notes="N")
    row = table(one).partition("<tbody>")[2]
    assert re.findall(r">([SPCEN0])<", row) == ["S", "P", "C", "E", "N"]


def test_readers_without_a_kernel_see_the_whole_table(book, monkeypatch):
    shown = []
    monkeypatch.setattr(ledger_module, "display_widget", lambda box, fallback: shown.append((box, fallback)))
    ledger_module.show_ledger(book)
    ((box, fallback),) = shown
    assert isinstance(box, ipywidgets.VBox)
    assert fallback == table(book)
