"""The course as web pages: README, executed notebooks, API reference. Needs no network to build or to read."""

import shutil
import sys
from pathlib import Path

import nbformat
from docutils import nodes
from latex2mathml.converter import convert

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(REPOSITORY), str(HERE)]

import api_pages  # noqa: E402

from gancomp_core import __version__  # noqa: E402
from gancomp_core.course.notebook_files import read_notebook, with_alt_text  # noqa: E402
from gancomp_core.course.states import STATIC  # noqa: E402

project = "gancomp"
author = "gancomp contributors"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["notebooks/solutions/**", "**/.*"]
nb_execution_mode = "off"  # the notebooks are committed executed; the site shows what was committed
nb_ipywidgets_js = {}  # widgets are live in Jupyter only; their static twins stand below them
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "html_image"]
myst_heading_anchors = 4
# The README also links to folders and source files of the repository, which are no pages of the site.
suppress_warnings = ["myst.xref_missing", "myst.header"]

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "gancomp"
html_copy_source = False
html_math_renderer = "mathml"


def write_api_pages(*_: object) -> None:
    api_pages.write(HERE / "api")


def copy_notebooks(*_: object) -> None:
    """Sphinx reads only what lies below this folder."""
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for notebook in sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb")):
        nbformat.write(with_alt_text(read_notebook(notebook)), target / notebook.name)


def add_moving_figures(app, config) -> None:
    """The script and the style of the explorers in the notebooks."""
    config.html_static_path.append(str(STATIC))
    app.add_js_file("explorer.js", loading_method="defer")
    app.add_css_file("explorer.css")


def inline_formula(page, node: nodes.math) -> None:
    page.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display_formula(page, node: nodes.math_block) -> None:
    page.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app) -> None:
    # Browsers draw MathML themselves, so formulas need neither scripts nor a network.
    app.add_html_math_renderer("mathml", (inline_formula, None), (display_formula, None))
    app.connect("config-inited", copy_notebooks)
    app.connect("config-inited", write_api_pages)
    app.connect("config-inited", add_moving_figures)
    app.connect("autodoc-process-docstring", api_pages.describe_data)
    app.connect("missing-reference", api_pages.resolve)
