"""What tests do in a real browser: start JupyterLab, run a notebook, move a slider; and what a page may not do."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from gancomp_core.files import REPOSITORY

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
STATUS = "window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status"
CHANGED = """async () => {
  const context = window.jupyterapp.shell.currentWidget.context, kernel = context.sessionContext.session.kernel;
  await Promise.all([kernel.info, kernel.spec]);  // what JupyterLab writes into a notebook that is open
  await new Promise(resolve => setTimeout(resolve));
  return context.model.dirty;
}"""
SETTLED_MS = 300
PATIENCE_MS = 180_000  # of a step that takes a second on a quiet machine
TOO_WIDE = """() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].flatMap((cell, number) =>
  [...cell.querySelectorAll('.jp-OutputArea-output')].flatMap(output => {
    const right = output.getBoundingClientRect().right + 1;
    const bad = [output, ...output.querySelectorAll('*')].filter(element => {
        const box = element.getBoundingClientRect();
        const hides = getComputedStyle(element).overflowX !== 'visible';
        return box.width && (box.right > right || (hides && element.scrollWidth > element.clientWidth + 1));
    });
    return bad.filter(element => !bad.includes(element.parentElement)).map(element =>
        `cell ${number}, ${element.scrollWidth} px in ${output.clientWidth}: ${element.outerHTML.slice(0, 150)}`);
  }))"""
JUPYTERLABS_OWN = {  # what JupyterLab says by itself (a pattern for the whole text): why
    r"Plugin \S+ (\(.*\) took .* to|is taking too long to) activate\.": "it starts slowly while every core is busy",
    r"(http://127\.0\.0\.1:\d+|file://)/\S+: net::ERR_ABORTED": "a test that leaves a page cuts off what it loads",
}


def find_chromium() -> str | None:
    """Chromium, Chrome or Edge: on the path, or where macOS and Windows keep them."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
    found = next(filter(None, map(shutil.which, names)), None)
    places = [Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")]
    for folder in filter(None, (os.environ.get("ProgramFiles"), os.environ.get("ProgramFiles(x86)"))):
        places += [Path(folder, "Google/Chrome/Application/chrome.exe")]
        places += [Path(folder, "Microsoft/Edge/Application/msedge.exe")]
    return found or next((str(place) for place in places if place.exists()), None)


@dataclass
class Watch:
    """What pages ask for and complain of."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def over(self, page):
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("requestfailed", lambda request: self._complain(f"{request.url}: {request.failure}"))
        page.on("response", lambda response: response.ok or self._bad(response))
        page.on("console", lambda message: message.type in ("error", "warning") and self._complain(message.text))
        page.on("pageerror", lambda error: self._complain(str(error)))

    def _bad(self, response):
        if response.status >= 400:
            self._complain(f"{response.url}: {response.status}")

    def _complain(self, text):
        if not any(re.fullmatch(own, text, re.DOTALL) for own in JUPYTERLABS_OWN):
            self.complaints.append(text)

    def elsewhere(self):
        """Requests that leave the machine."""
        parts = [(urlsplit(url), url) for url in self.requests]
        within = ("data", "blob", "file", "about")
        return [url for part, url in parts if part.scheme not in within and part.hostname != "127.0.0.1"]


@dataclass(frozen=True)
class Lab:
    """A JupyterLab on a folder of its own."""

    address: str
    folder: Path

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.json"

    def put(self, name, cells):
        """Write a notebook, given whole or as the sources of its code cells, and return its name."""
        if isinstance(cells, list):
            cells = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=KERNEL)
        nbformat.write(cells, self.folder / "notebooks" / name)
        return name

    def clear(self):
        """End every kernel and forget every prediction, for the next test."""
        for session in json.loads(self._api("sessions")):
            self._api(f"sessions/{session['id']}", method="DELETE")
        self.predictions.unlink(missing_ok=True)

    def peak_mb(self):
        """The most memory that a kernel took so far; what it takes now where the system does not say."""
        kernels = [each for each in psutil.Process().children(recursive=True) if "ipykernel_launcher" in each.cmdline()]
        peaks = []
        for kernel in kernels:
            status = Path(f"/proc/{kernel.pid}/status")
            peak = status.exists() and re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            peaks.append(int(peak[1]) / 1000 if peak else kernel.memory_info().rss / 1e6)
        return max(peaks)

    def _api(self, path, method="GET"):
        return urllib.request.urlopen(urllib.request.Request(f"{self.address}/api/{path}", method=method)).read()


@contextlib.contextmanager
def running_lab(folder):
    """JupyterLab with empty settings, on a free port, its notebooks in ``folder / "notebooks"``."""
    (folder / "notebooks").mkdir()
    for plugin, values in {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }.items():
        path = (folder / "settings" / "@jupyterlab" / plugin).with_suffix(".jupyterlab-settings")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = Lab(f"http://127.0.0.1:{port}", folder)
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "GANCOMP_PREDICTIONS": str(lab.predictions),
    }
    environment.pop("MPLBACKEND", None)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += [
        "--IdentityProvider.token=",
        "--ServerApp.disable_check_xsrf=True",
        "--LabApp.expose_app_in_browser=True",
        "--ServerApp.contents_manager_class=tools.lab_contents.Contents",  # as in `make lab`
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder / "notebooks", env=environment, stdout=log, stderr=log)
        try:
            _wait_for(f"{lab.address}/api/status", server)
            yield lab
        finally:
            server.terminate()
            server.wait(timeout=20)


def _wait_for(address, server, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(address, timeout=2).read()
        time.sleep(0.3)
    raise AssertionError("JupyterLab did not start")


def open_notebook(page, lab, name):
    """Open a notebook in the single-document mode and wait until its kernel can be asked."""
    page.goto(f"{lab.address}/doc/tree/{name}", wait_until="commit")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(f"{STATUS} === 'idle'")


def changed(page):
    """Whether JupyterLab takes the notebook for changed."""
    return page.evaluate(CHANGED)


def run_all(page, minutes=3.0):
    """Run all cells, wait until the kernel has nothing to do, and refuse errors and warnings among the outputs."""
    page.evaluate(
        "window.ranAll = undefined;"
        "window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ranAll = true; })"
    )
    page.wait_for_function(f"window.ranAll && {STATUS} === 'idle'", timeout=minutes * 60_000)
    bad = ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr")
    selector = ", ".join(f".jp-OutputArea-output[data-mime-type='{kind}']" for kind in bad)
    assert page.locator(selector).all_text_contents() == []


def folded(page):
    """How many headings are folded. Running all cells unfolds the last section, for its last cell becomes active."""
    return page.locator(".jp-collapseHeadingButton.jp-mod-collapsed").count()


def unfold(page):
    """Open every section that is folded below its heading."""
    page.evaluate("window.jupyterapp.commands.execute('notebook:expand-all-headings')")
    page.wait_for_function("!document.querySelector('.jp-collapseHeadingButton.jp-mod-collapsed')")


def open_and_run(page, lab, name, minutes=3.0):
    open_notebook(page, lab, name)
    run_all(page, minutes)


def saved(page, lab, name):
    """The open notebook, as JupyterLab saves it."""
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    return nbformat.read(lab.folder / "notebooks" / name, as_version=4)


def drag(page, handle, right):
    """Move a handle with the mouse, ``right`` pixels to the right."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y, steps=8)
    page.mouse.up()


def drag_to(page, handle, share):
    """Move the handle of a slider with the mouse to ``share`` of its way."""
    handle.scroll_into_view_if_needed()
    box, way = handle.bounding_box(), handle.locator("xpath=ancestor::*[contains(@class, 'noUi-base')]").bounding_box()
    drag(page, handle, way["x"] + share * way["width"] - (box["x"] + box["width"] / 2))


def status_after(page, action, explorer=None):
    """What an explorer (the first if none is given) says once that differs from what it said before ``action``."""
    from playwright.sync_api import expect

    label = (explorer or page).locator(".gancomp-status").first
    before = label.text_content()
    action()
    expect(label).not_to_have_text(before, timeout=PATIENCE_MS)
    return label.text_content()


def redrawn(page, explorer, action):
    """The same once it stays as it is: a drag draws several pictures."""
    said, before = status_after(page, action, explorer), None
    while said != before:
        page.wait_for_function(f"{STATUS} === 'idle'")
        page.wait_for_timeout(SETTLED_MS)
        said, before = explorer.locator(".gancomp-status").text_content(), said
    return said


def pictures(page, name):
    """Screenshots of the whole notebook, a page each, in the folder GANCOMP_BROWSER_PICTURES if that is set."""
    if folder := os.environ.get("GANCOMP_BROWSER_PICTURES"):
        notebook = page.locator(".jp-WindowedPanel-outer").first
        height, seen = notebook.evaluate("e => [e.scrollHeight, e.clientHeight]")
        for number, top in enumerate(range(0, height, seen)):
            notebook.evaluate("(e, top) => e.scrollTo(0, top)", top)
            page.wait_for_timeout(200)
            page.screenshot(path=Path(folder, f"{name}-{page.viewport_size['width']}-{number:02}.png"))


def too_wide(page):
    """What reaches out of an output on the right, or is cut off there or has to be scrolled sideways."""
    return page.evaluate(TOO_WIDE)


def violations(page, selector):
    """What axe finds serious or critical within ``selector``: rule, its meaning, and the first elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context={"include": [selector]}, options={"resultTypes": ["violations"]})
    return [
        f"{each['id']}: {each['help']}: {len(each['nodes'])} of {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]
