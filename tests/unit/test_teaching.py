"""The table of the notebooks in docs/teaching.md says what the notebooks say of themselves."""

import re

import pytest

from gancomp_core.course.notebook_files import choose, read_notebook

COURSE = choose([])


def counted(cells):
    """The exercises and the predictions of some cells."""
    exercises = sum(tag.startswith("exercise:") for cell in cells for tag in cell.metadata.get("tags", []))
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return exercises, len(re.findall(r"^\s*predict\(", code, re.MULTILINE))


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "teaching.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem[:2])
def test_the_table_has_the_minutes_exercises_and_predictions_of_each_notebook(page, path):
    cells = read_notebook(path).cells
    first_deeper = next(i for i, cell in enumerate(cells) if cell.source.startswith("## Going deeper"))
    core, deeper = counted(cells[:first_deeper]), counted(cells[first_deeper:])
    reading = re.search(r"about (\d+) minutes", cells[0].source)[1]
    row = f"| {path.stem[:2]} | {reading} | {core[0]} + {deeper[0]} | {core[1]} + {deeper[1]} |\n"
    assert row in page


def test_the_page_says_how_many_exercises_there_are(page):
    total = sum(counted(read_notebook(path).cells)[0] for path in COURSE)
    assert f"ten notebooks with {total} exercises" in page
