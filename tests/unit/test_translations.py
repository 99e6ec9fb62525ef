"""Translated notebooks have the code of their originals, and say that they are drafts."""

import copy
import importlib.util
import re

import nbformat
import pytest

LANGUAGES = ("ko", "zh")


@pytest.fixture(scope="module")
def tool(repository):
    spec = importlib.util.spec_from_file_location("translations", repository / "tools" / "translations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=LANGUAGES)
def both(request, repository):
    """A translation and its original."""
    path = repository / "notebooks" / "translations" / request.param / "00_start_here.ipynb"
    return nbformat.read(path, 4), nbformat.read(repository / "notebooks" / path.name, 4)


def test_code_cells_are_those_of_the_original(both):
    translated, original = ([(c.id, c.source) for c in each.cells if c.cell_type == "code"] for each in both)
    assert translated == original, "python tools/translations.py brings them in step"


def test_each_cell_of_prose_is_translated_and_keeps_formulas_and_links(both):
    translated, original = both
    assert [c.id for c in translated.cells[1:]] == [c.id for c in original.cells]
    for ours, its in zip(translated.cells[1:], original.cells, strict=True):
        if its.cell_type == "markdown":
            assert ours.source != its.source, its.id
            for parts in (r"\$\$.*?\$\$", r"https://[^)]*", "<details>"):
                assert re.findall(parts, ours.source, re.DOTALL) == re.findall(parts, its.source, re.DOTALL), its.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_translation_says_that_it_is_a_draft(language, repository):
    word = {"ko": "초안", "zh": "草稿"}[language]
    folder = repository / "docs" / "translations" / language
    notebook = nbformat.read(repository / "notebooks" / "translations" / language / "00_start_here.ipynb", 4)
    for text in (
        notebook.cells[0].source,
        *((folder / f"{name}.md").read_text("utf-8") for name in ("README", "glossary")),
    ):
        assert f"> **{word}" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_glossary_has_every_term_and_links_lead_somewhere(language, repository):
    folder = repository / "docs" / "translations" / language
    terms = re.findall(
        r"^(?!  )(?!`)([\w][^\n]*)\n  \S", (repository / "docs" / "glossary.md").read_text("utf-8"), re.M
    )
    rows = re.findall(r"^\| ([^|]+) \|", (folder / "glossary.md").read_text("utf-8"), re.M)[1:]
    assert rows == terms
    for name in ("README", "glossary"):
        for link in re.findall(r"\]\(([^)#]+)", (folder / f"{name}.md").read_text("utf-8")):
            assert (folder / link).exists(), link


def test_a_changed_original_is_named_and_its_code_taken_over(tool, both):
    translated, original = both
    assert tool.in_step(translated, original)[0].cells == translated.cells
    changed = copy.deepcopy(original)
    prose = next(cell for cell in changed.cells if cell.cell_type == "markdown")
    code = next(cell for cell in changed.cells if cell.cell_type == "code")
    prose.source += " More."
    code.source += "\nmore = 1"
    before = tool.in_step(translated, original)[1]
    refreshed, stale = tool.in_step(translated, changed)
    assert set(stale) - set(before) == {prose.id}
    assert next(cell for cell in refreshed.cells if cell.id == code.id).source.endswith("more = 1")
    assert tool.in_step(*tool.in_step(translated, changed, done=True)[:1], changed)[1] == []
