"""What the site's own code makes: links, descriptions, buttons, cards and figures."""

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from nbformat.v4 import new_markdown_cell, new_notebook
from PIL import Image

from gancomp_core.lab.benchmark import TASKS, table

pytest.importorskip("sphinx")


@pytest.fixture(scope="module")
def docs(repository):
    """Imports a module of the folder docs."""
    sys.path.insert(0, str(repository / "docs"))
    yield importlib.import_module
    sys.path.remove(str(repository / "docs"))


@pytest.fixture(scope="module")
def pages(docs):
    return docs("site_pages")


@pytest.fixture(scope="module")
def landing(docs):
    return docs("landing")


def test_a_notebook_gets_its_number_before_its_title(pages):
    notebook = new_notebook(cells=[new_markdown_cell("# Search: the best\n\n# not me")])
    assert pages.numbered(notebook, "04_search").cells[0].source == "# 04 Search: the best\n\n# not me"


def test_links_to_headings_are_those_of_the_site_and_no_others_change(pages):
    text = "[one](#Deeper:-One-more), [out](https://a.b/#Deeper:-X), [up](other.md#A-b)"
    notebook = new_notebook(cells=[new_markdown_cell(text)])
    assert pages.linked(notebook).cells[0].source == text.replace("(#Deeper:-One-more)", "(#deeper-one-more)")


def test_a_deeper_section_is_folded_below_its_heading_with_all_that_it_holds(pages):
    text = "T\n=\n\nCore\n----\n\na\n\nDeeper: More\n------------\n\nb\n\nWithin\n~~~~~~\n\nc\n"
    document = publish_doctree(text)
    pages.FoldedSections.run(SimpleNamespace(document=document))
    core, more = (section for section in document.findall(nodes.section) if section.astext()[:4] in ("Core", "Deep"))
    assert not list(core.findall(nodes.raw))
    assert [child.tagname for child in more] == ["title", "raw", "paragraph", "section", "raw"]
    fold = more[1].astext() + more[-1].astext()
    assert fold == f'<details class="deeper"><summary>{pages.SHOW_OR_HIDE} this section</summary></details>'


def test_buttons_follow_from_one_address_and_none_from_none(pages):
    address = pages.checked_repository("https://github.com/some-one/my.course.git/")
    assert address == "https://github.com/some-one/my.course"
    where = pages.running(address, "main", "notebooks/00_start.ipynb")
    assert (
        where["colab"]
        == "https://colab.research.google.com/github/some-one/my.course/blob/main/notebooks/00_start.ipynb"
    )
    assert (
        where["binder"]
        == "https://mybinder.org/v2/gh/some-one/my.course/main?urlpath=lab/tree/notebooks/00_start.ipynb"
    )
    assert "git clone --depth 1 https://github.com/some-one/my.course\n%cd my.course\n" in where["first_cell"]
    assert pages.checked_repository(" ") == ""
    assert pages.running("", "main", "notebooks/00_start.ipynb") == {}


@pytest.mark.parametrize(
    "address", ["github.com/a/b", "https://gitlab.com/a/b", "https://github.com/a", "javascript:x"]
)
def test_an_address_that_is_no_repository_on_github_is_refused_with_the_way_out(pages, address):
    with pytest.raises(Exception, match="https://github.com/owner/name; leave it empty"):
        pages.checked_repository(address)


def test_empty_headers_and_headings_without_a_level_are_put_right(pages):
    page = '<th></th><th class="a"><p></p></th><th>b</th><p role="heading"><span>'
    assert pages.repaired(page) == '<td></td><td class="a"></td><th>b</th><p role="heading" aria-level="2"><span>'


def test_parameters_on_lines_of_their_own_are_no_list_of_definitions(pages):
    page = '<dt>f(\n<dl>\n<dd><em class="sig-param">a</em>,</dd>\n</dl>\n)</dt><dl><dt>b</dt><dd>c</dd></dl>'
    assert pages.repaired(page) == (
        '<dt>f(\n<span class="sig-line"><em class="sig-param">a</em>,</span>\n\n)</dt><dl><dt>b</dt><dd>c</dd></dl>'
    )


def test_a_description_is_the_first_sentence_and_ends_at_a_word(pages):
    long = "A network paints. " + "It costs a great deal. " * 20
    found = pages.description(publish_doctree(f"Title\n=====\n\nshort\n\n{long}"))
    assert found.startswith("A network paints. It costs")
    assert len(found) <= pages.LONGEST + 2
    assert found.endswith(" …")
    assert pages.description(publish_doctree("Title\n=====\n")) == ""


def test_meta_tags_escape_and_leave_out_what_is_not_known(pages):
    tags = pages.meta_tags('a "b"', "x < y", "", "p.png")
    assert '<meta property="og:title" content="a &quot;b&quot;">' in tags
    assert '<meta name="description" content="x &lt; y">' in tags
    assert "og:url" not in tags


@pytest.mark.parametrize(
    ("target", "page", "found"),
    [
        ("../data/README.md", "decisions/index", "data/README.md"),
        ("data/README.md", "about", "data/README.md"),
        ("../docs/claims.md", "notebooks/08_benchmarking", "docs/claims.md"),
        ("verdicts.md", "decisions/clock", "docs/decisions/verdicts.md"),
        ("../../../etc/passwd", "about", None),
        ("nothing.md", "about", None),
        ("", "about", None),
    ],
)
def test_a_link_means_a_file_of_the_repository(pages, target, page, found):
    assert pages.in_repository(target, page) == (Path(found) if found else None)


def test_every_notebook_has_the_picture_that_its_card_names(landing, repository):
    paths = {path.stem: path for path in (repository / "notebooks").glob("[0-9]*.ipynb")}
    assert set(landing.CARDS) == set(paths)
    alts = {stem: landing.card_picture(nbformat.read(path, 4), landing.CARDS[stem])[1] for stem, path in paths.items()}
    assert {stem: alt for stem, alt in alts.items() if not alt.startswith(landing.CARDS[stem])} == {}


def test_a_notebook_without_pictures_gives_no_card(landing):
    with pytest.raises(Exception, match="make run"):
        landing.card_picture(new_notebook(), "anything")


def test_the_figures_are_those_of_the_readme(landing, repository):
    readme = (repository / "README.md").read_text(encoding="utf-8")
    fewer, faster, distance = (figure.value.rstrip("×") for figure in landing.figures(landing.headline("edges2shoes")))
    assert f"{fewer} times fewer MACs" in readme
    assert f"{faster} times faster on 1 thread" in readme
    assert f"FD {distance} +- " in readme


def test_the_numbers_at_full_size_are_those_of_their_page(landing, repository):
    fewer, faster = landing.full_size((repository / "docs" / "compress.md").read_text(encoding="utf-8"))
    assert f"**{fewer} times" not in fewer
    readme = " ".join((repository / "README.md").read_text(encoding="utf-8").split())
    assert f"{fewer} times fewer multiplications, {faster} times faster" in readme
    with pytest.raises(Exception, match="no longer says"):
        landing.full_size("nothing")


def test_pictures_are_taken_apart_and_put_together(landing, tmp_path):
    whole = Image.new("RGB", (4, 2))
    for x in range(4):
        whole.putpixel((x, 0), (x, 0, 0))
        whole.putpixel((x, 1), (x, 9, 0))
    whole.save(tmp_path / "rows.png")
    first, second = landing.squares(tmp_path / "rows.png", 2)
    assert [cell.getpixel((0, 0)) for cell in second] == [(x, 9, 0) for x in range(4)]
    put = landing.mosaic(first[:3], 2)
    assert put.size == (2, 2)
    assert [put.getpixel(at) for at in ((0, 0), (1, 0), (0, 1), (1, 1))] == [
        (0, 0, 0),
        (1, 0, 0),
        (2, 0, 0),
        (255,) * 3,
    ]


def test_a_card_shows_a_figure_without_margins_and_not_too_wide(landing):
    picture = Image.new("RGB", (500, 100), "white")
    picture.paste("black", (10, 20, 480, 60))
    assert landing.framed(picture).size == (round(landing.WIDEST * 40), 40)
    assert landing.framed(Image.new("RGB", (30, 20), "white")).size == (30, 20)


def test_binder_installs_the_pinned_pytorch(repository):
    pinned = (repository / "constraints.txt").read_text().split("torch==")[1].split()[0]
    assert f"pytorch={pinned}" in (repository / ".binder" / "environment.yml").read_text()
    assert "--constraint constraints.txt" in (repository / ".binder" / "postBuild").read_text()


def test_the_leaderboard_has_every_row_and_escapes_names(docs, tmp_path):
    leaderboard = docs("leaderboard")
    leaderboard.write(tmp_path / "leaderboard.md")
    text = (tmp_path / "leaderboard.md").read_text("utf-8")
    found = pd.concat([table(task) for task in TASKS])
    assert text.count("<tr data-about=") == len(found)
    assert f"{found.macs.max() / 1e6:,.1f}</td>" in text
    named = found.reset_index().assign(task="edges2shoes", method='<b>"')
    assert "<b>" not in leaderboard.rows(named)
    assert "&lt;b&gt;" in leaderboard.filters(named.assign(form="<b>"))


def test_every_formula_of_the_notebooks_becomes_mathml_with_no_macro_left(repository):
    convert = pytest.importorskip("latex2mathml.converter").convert
    for path in sorted((repository / "notebooks").glob("0*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                for shown, inline in re.findall(r"\$\$(.+?)\$\$|(?<!\$)\$([^$\n]+)\$", cell.source, re.DOTALL):
                    assert "\\" not in convert(shown or inline), (path.name, shown or inline)


def test_columns_of_numbers_stand_at_the_right_and_the_first_names_the_rows(pages):
    line = "= ======= ===== ========="
    rows = [line, "n cost    seeds words", line, "1 3.1 ms  5     3 of it", "2 12.0 ms none  none here", line]
    document = publish_doctree("\n".join(rows))
    pages.NumberColumns.run(SimpleNamespace(document=document))
    right = [entry.astext() for entry in document.findall(nodes.entry) if "number" in entry["classes"]]
    assert right == ["cost", "seeds", "3.1 ms", "5", "12.0 ms", "none"]
