"""The site as a visitor has it: built once, then read in a browser, from a server and from files."""

import functools
import html.parser
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from filelock import FileLock

from gancomp_core.files import REPOSITORY

PAGES = ("index.html", "notebooks/04_supernet_search.html", "notebooks/08_benchmarking.html", "api/measure.html")
SIZES = ((1280, 900), (800, 900), (390, 844))

pytestmark = pytest.mark.slow


def build(folder, *arguments):
    command = [sys.executable, "-m", "sphinx", "--fresh-env", "--fail-on-warning", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, *arguments, "docs", folder], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site. Workers that test at the same time share it."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    with FileLock(shared / "site.lock"):
        if not (shared / "site" / "index.html").exists():
            build(shared / "site")
    return shared / "site"


class Handler(SimpleHTTPRequestHandler):
    """As hosts of static pages do it: 404.html in place of what is not there."""

    def send_error(self, code, message=None, explain=None):
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pages_fit_the_window_in_both_schemes(new_page, site, size, scheme):
    page = new_page(viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme)
    for name in PAGES:
        page.goto((site / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], name
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(part) for part in paper.strip("rgb()").split(",")[:3]) > 380
        assert bright == (scheme == "light"), (name, paper)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_serious_violation(new_page, address, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = new_page(color_scheme=scheme, reduced_motion="reduce")
    page.goto(address + name)
    page.wait_for_function("!document.documentElement.classList.contains('no-js')")
    found = axe.run(page).response["violations"]
    serious = [
        (violation["id"], node["html"][:200])
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert serious == []


def test_the_swipe_moves_by_keyboard_and_mouse_and_shows_what_is_chosen(new_page, site):
    page = new_page(reduced_motion="reduce")
    page.goto((site / "index.html").as_uri())
    at = "getComputedStyle(document.querySelector('[data-swipe]')).getPropertyValue('--at')"
    handle = page.get_by_role("slider", name="Swipe between the teacher and the compressed network")
    handle.focus()
    assert page.evaluate(at) == "50%"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(at) == "52%"
    assert handle.get_attribute("aria-valuetext") == "52 % teacher, 48 % compressed"
    page.keyboard.press("End")
    assert page.evaluate(at) == "100%"
    box = handle.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 10)
    assert 20 < float(page.evaluate(at).rstrip("%")) < 30
    before = page.locator(".student img").evaluate("image => image.src")
    page.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".student img").evaluate("image => image.src") != before
    assert page.locator(".student img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    assert "20" in page.locator(".swipe .caption").inner_text()


def test_the_swipe_sweeps_once_but_not_for_those_who_ask_for_less_motion(new_page, site):
    moved = "getComputedStyle(document.querySelector('[data-swipe]')).getPropertyValue('--at') !== '50%'"
    page = new_page()
    page.goto((site / "index.html").as_uri())
    page.wait_for_function(moved)
    still = new_page(reduced_motion="reduce")
    still.goto((site / "index.html").as_uri())
    still.wait_for_timeout(500)
    assert not still.evaluate(moved)


def test_the_commands_are_copied(new_page, address):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(address)
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").endswith("make lab")


def search(page, start):
    page.set_default_timeout(60_000)
    page.goto(start)
    page.get_by_role("searchbox").fill("supernet")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results a[href*='04_supernet_search']")


def test_a_search_finds_a_notebook_on_a_server(new_page, address):
    search(new_page(), address)


def test_a_search_finds_a_notebook_in_files_without_a_network(browser, site):
    # not watched: Sphinx's script asks for an extract of each page it found, which browsers refuse to read from files
    context = browser.new_context(offline=True)
    search(context.new_page(), (site / "index.html").as_uri())
    context.close()


def test_drawing_code_is_folded_and_opens_by_keyboard(new_page, site):
    folded = [path for path in (site / "notebooks").glob("*.html") if "tag_hide-input" in path.read_text("utf-8")]
    for path in folded[:1]:
        page = new_page()
        page.goto(path.as_uri())
        fold = page.locator(".tag_hide-input details").first
        assert fold.evaluate("fold => fold.open") is False
        fold.locator("summary").focus()
        page.keyboard.press("Enter")
        assert fold.evaluate("fold => fold.open") is True


def test_a_deeper_section_is_folded_opens_by_keyboard_and_where_an_address_leads_into_it(new_page, site):
    path = next(path for path in sorted(site.glob("notebooks/*.html")) if 'class="deeper"' in path.read_text("utf-8"))
    page = new_page()
    page.goto(path.as_uri())
    folds = page.locator("details.deeper")
    opened = "folds => folds.map(fold => fold.open)"
    assert not any(folds.evaluate_all(opened))
    folds.first.locator("> summary").focus()
    page.keyboard.press("Enter")
    assert folds.evaluate_all(opened)[0]
    name = folds.last.locator("xpath=..").get_attribute("id")
    page.goto(f"{path.as_uri()}#{name}")
    page.wait_for_function("[...document.querySelectorAll('details.deeper')].at(-1).open")
    without = new_page(java_script_enabled=False)
    without.goto(path.as_uri())
    without.locator("details.deeper > summary").first.click()
    assert without.locator("details.deeper").first.get_attribute("open") is not None


def test_a_page_that_is_not_there_leads_back(new_page, address, watch):
    page = new_page()
    for wrong in ("nothing.html", "notebooks/nothing.html"):
        page.goto(address + wrong)
        page.wait_for_function("document.querySelector('.sidebar-drawer').offsetWidth < 700")  # its styles are found
        page.wait_for_function(
            f"document.querySelector('article a[href]:not(.headerlink)').href === '{address}index.html'"
        )
        page.get_by_role("link", name="The front page").click()
        page.wait_for_url(f"{address}index.html")
    watch.complaints.clear()  # the server does say 404


def test_a_notebook_is_downloaded_as_it_is_committed(site):
    for notebook in (REPOSITORY / "notebooks").glob("[0-9]*.ipynb"):
        assert (site / "notebooks" / notebook.name).read_bytes() == notebook.read_bytes()
        assert f'href="{notebook.name}" download' in (site / "notebooks" / f"{notebook.stem}.html").read_text("utf-8")


def test_a_repository_brings_buttons_and_links_to_files_and_none_brings_none(site, tmp_path):
    page = "notebooks/00_start_here.html"
    for without in (site / "index.html", site / page):
        assert "colab" not in without.read_text("utf-8").lower().replace("on colab", "")
    with FileLock(site.parent / "site.lock"):
        build(tmp_path / "site", "-D", "repository=https://github.com/owner/gancomp")
    for name in ("index.html", page):
        written = (tmp_path / "site" / name).read_text("utf-8")
        assert "colab.research.google.com/github/owner/gancomp/blob/main/notebooks/00_start_here.ipynb" in written
        assert "mybinder.org/v2/gh/owner/gancomp/main?urlpath=lab/tree/notebooks/00_start_here.ipynb" in written
    assert "https://github.com/owner/gancomp/blob/main/data/README.md" in (tmp_path / "site/about.html").read_text(
        "utf-8"
    )


class Reader(html.parser.HTMLParser):
    """Collects what a page links to, loads, names and shows."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.loads, self.images, self.meta, self.levels = set(), [], [], [], {}, []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.update(filter(None, (found.get("id"), found.get("name") if tag == "a" else None)))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("img", "script") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "shortcut icon"):
            self.loads.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag == "meta":
            self.meta[found.get("name") or found.get("property")] = found.get("content")


@pytest.fixture(scope="module")
def readers(site):
    """Every page of the site, read."""
    found = {}
    for path in site.rglob("*.html"):
        found[path] = Reader()
        found[path].feed(path.read_text("utf-8"))
    return found


def test_every_link_leads_somewhere(readers):
    broken = []
    for path, reader in readers.items():
        for link in {*reader.links, *reader.loads}:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.exists() and (
                not parts.fragment or target not in readers or unquote(parts.fragment) in readers[target].ids
            )
            if not there and link != "#":
                broken.append((path.name, link))
    assert broken == []


def test_no_page_loads_anything_from_elsewhere(readers):
    loaded = {load for reader in readers.values() for load in reader.loads}
    assert {load for load in loaded if urlsplit(load).scheme not in ("", "data") or load.startswith("//")} == set()


def test_every_picture_has_words_beside_it(readers):
    without = [
        (path.name, image.get("src", "")[:60])
        for path, r in readers.items()
        for image in r.images
        if "alt" not in image
    ]
    assert without == []


def test_pages_say_what_they_are_about(readers, site):
    for name in (*PAGES, "compress.html", "glossary.html"):
        meta = readers[site / name].meta
        assert 40 < len(meta["description"]) <= 202, name
        assert meta["og:title"], name
        assert (site / name).parent.joinpath(meta["og:image"]).resolve() == site / "_images" / "landing" / "preview.png"


def test_the_sidebar_numbers_the_chapters(readers, site):
    written = (site / "compress.html").read_text("utf-8")
    for path in (REPOSITORY / "notebooks").glob("[0-9]*.ipynb"):
        assert f'href="notebooks/{path.stem}.html">{path.stem[:2]} ' in written
