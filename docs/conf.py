"""The course as web pages: a landing page, executed notebooks, API reference. Needs no network to build or to read."""

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
import landing  # noqa: E402
import leaderboard  # noqa: E402
import site_pages  # noqa: E402

from gancomp_core import __version__  # noqa: E402
from gancomp_core.course.notebook_files import read_notebook, with_alt_text  # noqa: E402
from gancomp_core.course.pad.page import write_page  # noqa: E402
from gancomp_core.course.states import STATIC  # noqa: E402

# Where the project is published; empty for nowhere. From it follow the buttons for Colab and Binder and the links to
# source files. For a single build: make site ARGS="-D repository=https://github.com/owner/name".
repository = ""
branch = "main"
html_baseurl = ""  # where the site is published, such as "https://owner.github.io/name/"; previews of links need it

project = "gancomp"
author = "gancomp contributors"
copyright = f"2026, {author}"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["notebooks/solutions/**", "translations/**", "**/.*"]
nb_execution_mode = "off"  # the notebooks are committed executed; the site shows what was committed
nb_code_prompt_show = "Show the code"  # of cells tagged hide-input
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js = {}  # widgets are live in Jupyter only; their static twins stand below them
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "html_image"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]

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
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
templates_path = ["_templates"]
html_additional_pages = {"404": "404.html"}
html_copy_source = False
ACCENT = {"light": "#b3400c", "dark": "#ff9a62"}
html_theme_options = {
    f"{scheme}_css_variables": {
        **{f"color-brand-{use}": color for use in ("primary", "content", "visited")},
        "color-sidebar-link-text--top-level": "var(--color-foreground-primary)",
    }
    for scheme, color in ACCENT.items()
}
html_math_renderer = "mathml"


def write_api_pages(*_: object) -> None:
    api_pages.write(HERE / "api")


def write_leaderboard(*_: object) -> None:
    leaderboard.write(HERE / "leaderboard.md")


def copy_notebooks(*_: object) -> None:
    """Sphinx reads only what lies below this folder."""
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for notebook in sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb")):
        shown = site_pages.numbered(with_alt_text(read_notebook(notebook)), notebook.stem)
        nbformat.write(site_pages.linked(shown), target / notebook.name)


def add_files(app, error) -> None:
    """Each notebook as it is committed, beside its page; and the drawing page."""
    if error or app.builder.format != "html":
        return
    for notebook in (REPOSITORY / "notebooks").glob("[0-9]*.ipynb"):
        shutil.copyfile(notebook, Path(app.outdir) / "notebooks" / notebook.name)
    write_page(Path(app.outdir) / "demo")


def finish_page(app, pagename: str, templatename: str, context: dict, doctree) -> str | None:
    """Last touches to a page; the front page has a template of its own."""
    pictures = "_images/landing"
    preview = f"{pictures}/preview.png"
    preview = html_baseurl + preview if html_baseurl else context["pathto"](preview, 1)

    about = site_pages.description(doctree) if doctree else ""
    title = nodes.unescape(context.get("title", project))
    context["metatags"] = context.get("metatags", "") + site_pages.meta_tags(
        title, about, context.get("pageurl") or "", preview
    )
    for part in ("body", "furo_navigation_tree"):
        context[part] = site_pages.repaired(context.get(part) or "")
    address = site_pages.checked_repository(app.config.repository)
    context["repository"] = address
    if pagename == app.config.root_doc:
        context |= landing.context(Path(app.outdir) / pictures)
        context["running"] = site_pages.running(address, app.config.branch, "notebooks/00_start_here.ipynb")
        return "landing.html"
    if pagename.startswith("notebooks/"):
        where = site_pages.running(address, app.config.branch, f"{pagename}.ipynb")
        bar = app.builder.templates.render("notebook_bar.html", {"file": f"{pagename[10:]}.ipynb", "running": where})
        context["body"] = site_pages.below_title(context["body"], bar)
    return None


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
    app.connect("config-inited", write_leaderboard)
    app.connect("config-inited", add_moving_figures)
    app.connect("autodoc-process-docstring", api_pages.describe_data)
    app.connect("missing-reference", api_pages.resolve)
    app.add_post_transform(site_pages.FileLinks)
    app.add_post_transform(site_pages.FoldedSections)
    app.add_post_transform(site_pages.NumberColumns)
    app.add_config_value("repository", "", "html")
    app.add_config_value("branch", "main", "html")
    app.connect("html-page-context", finish_page, priority=900)  # after furo's own, which makes the sidebar
    app.connect("build-finished", add_files)
