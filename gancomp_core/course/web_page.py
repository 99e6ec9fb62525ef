"""An executed notebook as one web page that needs no network: formulas as MathML, pictures and scripts inside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from nbformat import NotebookNode

from gancomp_core.course import states
from gancomp_core.course.notebook_files import with_alt_text
from gancomp_core.files import atomic_write

# nbconvert's page without the scripts it loads from elsewhere; prompts and links that everybody can see
PAGE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js_requirejs %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}<style>
body { --jp-cell-prompt-not-active-opacity: 1; --jp-cell-prompt-not-active-font-color: #595959;
  --jp-mirror-editor-number-color: #006b00; --jp-mirror-editor-comment-color: #2f6570;
  --jp-mirror-editor-operator-color: #8a14e0; }
.jp-RenderedHTMLCommon a:link, .jp-RenderedHTMLCommon a:visited { text-decoration: underline; }
math[display="block"] { margin: 1em 0; }
main { max-width: 1100px; margin: auto; }
</style>{% endblock %}
{% block body_footer %}</main>{{ resources.assets }}</body>{% endblock %}
"""


def write(notebook: NotebookNode, path: Path, folder: Path) -> None:
    """Write the page of a notebook.

    Args:
        notebook: The executed notebook.
        path: The file of the page.
        folder: Where pictures that its text names by relative paths are.
    """
    from nbconvert import HTMLExporter  # slow to import, and not needed to run
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return convert(body, display="block")

        def inline_math(self, body: str) -> str:
            return convert(body)

        def latex_environment(self, name: str, body: str) -> str:
            return convert(f"\\begin{{{name}}}{body}\\end{{{name}}}", display="block")

    def to_html(source: str) -> str:
        renderer = Renderer(escape=False, embed_images=True, exclude_anchor_links=True, path=str(folder))
        return str(MarkdownWithMath(renderer=renderer).render(source))

    exporter = HTMLExporter(raw_template=PAGE)
    exporter.register_filter("markdown2html", to_html)
    about: dict[str, Any] = {"metadata": {"name": title(notebook) or path.stem}, "assets": states.assets()}
    body, _ = exporter.from_notebook_node(with_alt_text(notebook), resources=about)
    with atomic_write(path) as temporary:
        temporary.write_text(body, encoding="utf-8")


def title(notebook: NotebookNode) -> str:
    """The first heading, without its marks; empty where there is none."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return re.sub(r"[*`$]", "", found[1]).strip() if found else ""
