"""SECURITY.md, held: nothing foreign runs, nothing is fetched unchecked or listens to others, no name is markup."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import pytest

from gancomp_core.course import checks, ledger, output, reveals, states, widgets
from gancomp_core.course import predictions as asked
from gancomp_core.data import downloads, public
from gancomp_core.data.downloads import Archive
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY

# --- what the code never calls


def sources() -> list[Path]:
    return sorted((REPOSITORY / "gancomp_core").rglob("*.py"))


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str, str]:
    return {each.arg or "": ast.unparse(each.value) for each in call.keywords}


NEVER = re.compile(
    r"(c?[pP]ickle|dill|joblib|cloudpickle|marshal|shelve)\.(loads?|open|Unpickler)|(pd|pandas)\.read_pickle|eval|exec|compile"
    r"|__import__|os\.(system|popen|exec\w+|spawn\w+)|subprocess\.(getoutput|getstatusoutput)|commands\.\w+"
    r"|yaml\.(unsafe_load\w*|full_load\w*|load_all)|(xml|ElementTree|ET|minidom|sax|lxml|etree)\.\w*(parse|fromstring)\w*"
    r"|torch\.(hub\.load|jit\.load|package\.\w+)|tarfile\.\w+\.extract(all)?|shutil\.unpack_archive|ctypes\.\w+"
)
ONLY_WITH = {
    "torch.load": ("weights_only", "True"),
    "np.load": ("allow_pickle", "False"),
    "numpy.load": ("allow_pickle", "False"),
}


def test_the_library_calls_nothing_that_runs_what_a_file_says():
    found = []
    for path in sources():
        for name, call in calls(path):
            given, place = keywords(call), f"{path.relative_to(REPOSITORY)}:{call.lineno} {name}"
            wanted = ONLY_WITH.get(name)
            if (
                NEVER.fullmatch(name)
                or (wanted and given.get(wanted[0]) != wanted[1])
                or given.get("shell", "False") != "False"
            ):
                found.append(place)
            loader = [*map(ast.unparse, call.args[1:]), given.get("Loader", "")]
            if name == "yaml.load" and not any("SafeLoader" in each for each in loader):
                found.append(place)
    assert not found


def test_the_search_finds_what_it_is_for(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "pickle.load(f)\neval('1')\nos.system('x')\nET.parse(f)\nxml.dom.minidom.parseString(x)\nmodel.eval()"
    )
    assert [bool(NEVER.fullmatch(name)) for name, _ in calls(path)].count(True) == 4
    assert not NEVER.fullmatch("model.eval")
    assert not NEVER.fullmatch("re.compile")


def test_the_only_unpickler_makes_nothing_that_a_file_names():
    derived = [
        (path.name, ast.unparse(base))
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if "Unpickler" in ast.unparse(base)
    ]
    assert derived == [("pickles.py", "pickle._Unpickler")]  # tests/faults/test_foreign_files.py shows what it does


def test_processes_are_started_by_words_and_never_by_a_line_of_text():
    for path in sources():
        for name, call in calls(path):
            if name.startswith("subprocess.") and call.args:
                assert isinstance(call.args[0], ast.List | ast.Name | ast.Starred), f"{path}:{call.lineno}"


# --- downloads


def test_every_address_is_https_and_has_a_checksum():
    archives = [archive for chosen in public._SETS.values() for archive in chosen.archives]
    assert archives
    for archive in archives:
        assert archive.base is None or archive.base.startswith("https://"), archive
        assert archive.sha256 is None or re.fullmatch("[0-9a-f]{64}", archive.sha256), archive
    unchecked = sorted(archive.file for archive in archives if archive.base and not archive.sha256)
    assert unchecked == sorted(TRUSTED_ON_FIRST_USE), "a set without a checksum is named in SECURITY.md"
    security = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    assert all(name in security for name in unchecked)
    for path in sources():
        plain = re.findall(r"http://(?!127\.0\.0\.1|localhost|www\.w3\.org)[\w.]+", path.read_text(encoding="utf-8"))
        assert not plain, path


TRUSTED_ON_FIRST_USE = ("edges2shoes.tar.gz", "maps.tar.gz", "facades.tar.gz", *["benchmark.tar"] * 4)
KNOWN, UNKNOWN = Archive("a.zip", "https://example.org", "0" * 64), Archive("a.zip", "https://example.org")


@pytest.mark.parametrize("mirror", ["https://example.org/x", "http://127.0.0.1:8000/x", "http://localhost/x"])
def test_a_mirror_is_https_or_this_machine(monkeypatch, mirror):
    monkeypatch.setenv("GANCOMP_MIRROR", mirror)
    assert downloads._address(UNKNOWN, Path("a.zip")) == f"{mirror}/a.zip"


def test_a_mirror_without_encryption_serves_only_what_has_a_checksum(monkeypatch):
    monkeypatch.setenv("GANCOMP_MIRROR", "http://example.org/x")
    assert downloads._address(KNOWN, Path("a.zip")) == "http://example.org/x/a.zip"
    with pytest.raises(GancompError, match="https"):
        downloads._address(UNKNOWN, Path("a.zip"))


# --- servers


def other_address() -> str:
    """An address of this machine by which others would reach it; empty where it has none."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def test_jupyterlab_listens_on_loopback_and_asks_for_its_token(tmp_path):
    """The words of `make lab`, with a port of its own and without a browser."""
    sys.path.insert(0, str(REPOSITORY))
    import make

    said: list[list[str]] = []
    original, make.call = make.call, lambda command: said.append(command) or 0
    try:
        root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        make.lab(sys.executable, ["--no-browser", "--ServerApp.port_retries=50", *root])
    finally:
        make.call = original
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    process = subprocess.Popen(said[0], cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL)
    try:
        about = written(tmp_path, process)
        assert about["url"].startswith(("http://localhost:", "http://127.0.0.1:"))
        assert about["token"], "a token is asked for"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{about['port']}/api/contents", timeout=60)
        assert refused.value.code == 403
        if (address := other_address()) and not address.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((address, about["port"]), timeout=10)
    finally:
        process.terminate()
        process.wait(60)


def written(folder: Path, process: subprocess.Popen[bytes]) -> dict[str, object]:
    """What a Jupyter server writes of itself once it listens."""
    for _ in range(1200):
        for path in folder.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):
                return dict(json.loads(path.read_text(encoding="utf-8")))
        assert process.poll() is None, "the server ended"
        time.sleep(0.1)
    raise AssertionError("the server did not begin to listen")


def test_nothing_in_the_library_listens():
    for path in sources():
        for name, call in calls(path):
            listens = re.search(r"(HTTPServer|TCPServer|\.listen|start_server|create_server)$", name)
            assert not listens, f"{path}:{call.lineno}"
        assert "0.0.0.0" not in path.read_text(encoding="utf-8"), path


# --- markup

NASTY = "\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;'</title></style><b>"
Maker = Callable[[Path], str]


class Elements(HTMLParser):
    """The elements of a page, and what their attributes ask to run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.theirs: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("src") == "x" or any(name.startswith("on") for name in values):
            self.theirs.append(f"{tag} {values}")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script" and data.strip().startswith("alert"):
            self.theirs.append(data)


def made_ledger(folder: Path) -> str:
    import pandas as pd

    row = dict.fromkeys(("status", "paper", "claim", "evidence", "notes"), NASTY)
    return ledger.table(pd.DataFrame([row]))


def made_state(folder: Path) -> str:
    from matplotlib.figure import Figure

    def draw(level: float) -> Figure:
        return Figure(figsize=(1, 1), facecolor=(level, 0, 0))

    with mock.patch.dict(os.environ, GANCOMP_STATES="1"):
        made = widgets.explore(draw, alt=NASTY, title=NASTY, level=widgets.Slider(NASTY, 0, 1, 0, unit=NASTY))
    return states.figure(made.states)


def made_question(folder: Path) -> str:
    form = asked.PredictionForm(asked.Prediction("q", NASTY, (NASTY, "b"), NASTY), None)
    return form.as_html()


def made_reveal(folder: Path) -> str:
    return reveals.Reveal(asked.Prediction("q", NASTY, (NASTY, "b"), NASTY), NASTY).as_html()


def made_verdict(folder: Path) -> str:
    return checks._formatted(NASTY)


def made_words(folder: Path) -> str:
    return output.as_html({"text/plain": NASTY})


def made_edition(folder: Path) -> str:
    """A page of a notebook that a learner has run: what it printed and what its errors say."""
    from nbformat import v4

    from gancomp_core.course import web_page

    outputs = [
        v4.new_output("stream", text=NASTY),
        v4.new_output("display_data", {"text/plain": NASTY}),
        v4.new_output("error", ename=NASTY, evalue=NASTY, traceback=[NASTY]),
    ]
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(f"name = {NASTY!r}", outputs=outputs), v4.new_markdown_cell("# A")]
    )
    web_page.write(notebook, folder / "a.html", folder)
    return (folder / "a.html").read_text(encoding="utf-8")


MAKERS: list[Maker] = [made_ledger, made_state, made_question, made_reveal, made_verdict, made_words]
MAKERS += [made_edition]


@pytest.mark.parametrize("make_page", MAKERS)
def test_what_is_typed_or_named_becomes_no_element(tmp_path, make_page):
    page = make_page(tmp_path)
    assert "alert(1)" in page, "the name is shown"
    assert Elements(page).theirs == []


def test_the_search_for_their_elements_finds_them():
    assert len(Elements(f"<p>{NASTY}</p>").theirs) == 2
