"""What every page of the site gets besides furo: numbers, downloads, descriptions, links that lead somewhere."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from nbformat import NotebookNode
from sphinx.addnodes import pending_xref
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

REPOSITORY = Path(__file__).resolve().parent.parent
FIRST_CELL = """!git clone --depth 1 {address}
%cd {name}
!pip install --quiet -e ".[lab]\""""
NUMBER = re.compile(r"\W{0,2}\d[\W\d_]*(?:[^\W\d_]{1,4}[\W\d_]*){0,2}")  # as in tables: "1,204 kB", "3.1 to 4.0 ms"
NOTHING = ("", "-", "\N{EN DASH}", "none", "nan")
LONGEST = 200  # characters of a description: what search engines and previews show


def numbered(notebook: NotebookNode, stem: str) -> NotebookNode:
    """The notebook with its number before its title, in place: "# 04 Supernet search: ..."."""
    first = notebook.cells[0]
    first.source = re.sub(r"^# ", f"# {stem[:2]} ", first.source, count=1)
    return notebook


def linked(notebook: NotebookNode) -> NotebookNode:
    """The notebook with links to its own headings as the site names them, in place: "#Deeper:-A-b" -> "#deeper-a-b"."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\(#([^)]+)\)", lambda found: f"](#{_slug(found[1])})", cell.source)
    return notebook


def _slug(anchor: str) -> str:
    return re.sub(r"[^\w-]", "", anchor.lower())


# ---- where to run a notebook ---------------------------------------------------------------------------------------


def checked_repository(address: str) -> str:
    """The address of a repository on GitHub without a slash at its end; none stays none.

    Args:
        address: Such as ``https://github.com/owner/name``, or nothing.

    Returns:
        The same, tidied.

    Raises:
        ConfigError: For anything else: Colab opens notebooks from GitHub alone.
    """
    address = address.strip().rstrip("/").removesuffix(".git")
    if address and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise ConfigError(
            f"repository = {address!r} is not of the form https://github.com/owner/name; leave it empty for none."
        )
    return address


def running(repository: str, branch: str, notebook: str) -> dict[str, str]:
    """Where a notebook runs without an installation: addresses for Colab and Binder, and Colab's first cell.

    Args:
        repository: As :func:`checked_repository` returns it; empty for none.
        branch: The branch that is shown.
        notebook: The notebook's path in the repository.

    Returns:
        "colab", "binder", "first_cell"; empty without a repository.
    """
    if not repository:
        return {}
    owner = urlsplit(repository).path.strip("/")
    return {
        "colab": f"https://colab.research.google.com/github/{owner}/blob/{branch}/{notebook}",
        "binder": f"https://mybinder.org/v2/gh/{owner}/{branch}?urlpath=lab/tree/{notebook}",
        "first_cell": FIRST_CELL.format(address=repository, name=owner.rpartition("/")[2]),
    }


# ---- HTML ----------------------------------------------------------------------------------------------------------


def repaired(page: str) -> str:
    """HTML with what screen readers stumble over put right.

    Empty header cells, headings without a level, and lists of parameters that are definitions of nothing.
    """
    page = re.sub(r"<th(?P<rest>[^>]*)>\s*(?:<p></p>)?\s*</th>", r"<td\g<rest>></td>", page)
    page = re.sub(r'<dl>\s*(<dd><em class="sig-param">.*?)</dl>', _as_lines, page, flags=re.DOTALL)
    return page.replace('role="heading">', 'role="heading" aria-level="2">')


def _as_lines(parameters: re.Match[str]) -> str:
    return parameters[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def below_title(page: str, bar: str) -> str:
    """The page's HTML with ``bar`` after its first title."""
    return page.replace("</h1>", f"</h1>\n{bar}", 1)


def description(doctree: nodes.document) -> str:
    """The first paragraph of a page that is a sentence, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        words = " ".join(paragraph.astext().split())
        if words.endswith((".", "!", "?")) and len(words) > 40:
            return words if len(words) <= LONGEST else words[:LONGEST].rsplit(" ", 1)[0] + " …"
    return ""


def meta_tags(title: str, about: str, address: str, preview: str) -> str:
    """The tags that search engines and messengers read.

    Args:
        title: Of the page.
        about: One or two sentences.
        address: Where the page will be; empty if nobody knows yet.
        preview: The address of the picture, whole or from the page.

    Returns:
        HTML for the head.
    """
    tags = [("name", "description", about), ("property", "og:title", title), ("property", "og:description", about)]
    tags += [("property", "og:type", "website"), ("property", "og:site_name", "gancomp")]
    tags += [("property", "og:url", address), ("property", "og:image", preview)]
    tags += [("name", "twitter:card", "summary_large_image")]
    return "\n".join(f'<meta {kind}="{name}" content="{html.escape(value)}">' for kind, name, value in tags if value)


# ---- links ---------------------------------------------------------------------------------------------------------


def in_repository(target: str, page: str) -> Path | None:
    """The file of the repository that a link means, whether written for its own folder or for the root; else none.

    Args:
        target: The link without its anchor, such as ``../data/README.md``.
        page: The page's name in the documentation, such as ``decisions/index``.

    Returns:
        The path from the root of the repository.
    """
    for folder in ("docs" / Path(page).parent, Path(page).parent, Path()):
        whole = Path(os.path.normpath(folder / target))
        if target and ".." not in whole.parts and (REPOSITORY / whole).exists():
            return whole
    return None


class FileLinks(SphinxPostTransform):
    """A link to a file becomes one to the page that shows it, else to the repository, else words that are no link."""

    default_priority = 8  # before myst's own, which knows pages alone and warns of the rest

    def run(self, **options: object) -> None:
        for node in list(self.document.findall(pending_xref)):
            if node["reftype"] == "myst" and node.get("refdomain") is None:
                target, _, anchor = node["reftarget"].partition("#")
                if found := in_repository(target, node["refdoc"]):
                    node.replace_self(self._link(found, anchor, node))

    def _link(self, path: Path, anchor: str, node: pending_xref) -> nodes.Node:
        words = node[0].deepcopy()
        if page := _page_of(path, self.env):
            return make_refnode(self.app.builder, node["refdoc"], page, anchor, words)
        if not self.config.repository:
            return words
        kind = "tree" if (REPOSITORY / path).is_dir() else "blob"
        address = f"{checked_repository(self.config.repository)}/{kind}/{self.config.branch}/{path.as_posix()}"
        return nodes.reference("", "", words, refuri=address + (f"#{anchor}" if anchor else ""), internal=False)


SHOW_OR_HIDE = '<span class="when-closed">Show</span><span class="when-open">Hide</span>'


class FoldedSections(SphinxPostTransform):
    """A notebook's section "Deeper: ..." is folded below its heading; the browser unfolds it, without a script too."""

    default_priority = 900

    def run(self, **options: object) -> None:
        for section in self.document.findall(nodes.section):
            if section[0].astext().startswith("Deeper: "):
                start = f'<details class="deeper"><summary>{SHOW_OR_HIDE} this section</summary>'
                section[1:] = [
                    nodes.raw("", start, format="html"),
                    *section[1:],
                    nodes.raw("", "</details>", format="html"),
                ]


class NumberColumns(SphinxPostTransform):
    """Columns of numbers get the class "number", which aligns them at the right."""

    default_priority = 900

    def run(self, **options: object) -> None:
        for table in self.document.findall(nodes.tgroup):
            rows = [list(row.findall(nodes.entry)) for row in table.findall(nodes.row)]
            if len({len(row) for row in rows}) > 1:
                continue  # cells that span columns
            for cells in list(zip(*rows, strict=True))[1:]:  # the first names the rows
                words = [cell.astext().strip() for cell in cells if not isinstance(cell.parent.parent, nodes.thead)]
                if any(map(NUMBER.fullmatch, words)) and all(w in NOTHING or NUMBER.fullmatch(w) for w in words):
                    for cell in cells:
                        cell["classes"].append("number")


def _page_of(path: Path, env: BuildEnvironment) -> str | None:
    """The page of the site that shows a file of the repository."""
    shown = {"README.md": "about", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
    name = shown.get(path.as_posix()) or path.with_suffix("").as_posix().removeprefix("docs/")
    return name if name in env.found_docs else None
