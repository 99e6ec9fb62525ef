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
