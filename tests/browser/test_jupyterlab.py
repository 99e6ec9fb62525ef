"""As a reader does it: JupyterLab in a real browser, run all cells, drag a slider, type a number, predict."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from gancomp_core.files import REPOSITORY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM and "CI" not in os.environ, reason="no Chromium or Chrome on the path"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
START = REPOSITORY / "notebooks" / "00_start_here.ipynb"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
TINY = """
import matplotlib.pyplot as plt
from gancomp_core.course import Slider, explore, predict, show

def draw(power):
    figure, axes = plt.subplots(figsize=(5, 3))
    axes.plot([x**power for x in range(5)])
    return figure

explore(draw, alt="x to the power {power}", power=Slider("Power", 1, 9, 2), height=320)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on a folder of its own: the address, and the folder the notebooks are put in."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    settings = folder / "settings" / "@jupyterlab"
    for plugin, values in {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }.items():
        path = (settings / plugin).with_suffix(".jupyterlab-settings")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "GANCOMP_PREDICTIONS": str(folder / "predictions.json"),
    }
    environment.pop("MPLBACKEND", None)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
    command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder / "notebooks", env=environment, stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status", server)
            yield f"http://127.0.0.1:{port}", folder
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


@pytest.fixture
def page(lab):
    assert CHROMIUM, "no Chromium or Chrome on the path, and CI=true asks for one: apt-get install chromium"
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = browser.new_page(viewport={"width": 1300, "height": 1100})
        made.set_default_timeout(60_000)
        yield made
        browser.close()


def open_and_run(page, lab, name, minutes=3.0):
    """Open a notebook in the single-document mode, run all its cells, and wait until the kernel has nothing to do."""
    page.goto(f"{lab[0]}/doc/tree/{name}", wait_until="commit")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    state = "() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status"
    page.wait_for_function(f"({state})() === 'idle'")
    run = "async () => { await window.jupyterapp.commands.execute('notebook:run-all-cells'); return 'done'; }"
    page.set_default_timeout(minutes * 60_000)
    assert page.evaluate(run) == "done"
    page.wait_for_function(f"({state})() === 'idle'", timeout=minutes * 60_000)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    page.set_default_timeout(60_000)


def drag(page, handle, right):
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y, steps=8)
    page.mouse.up()


def status_after(page, action):
    """What the first explorer says it has drawn, once that differs from what it said before ``action``."""
    label = page.locator(".gancomp-status").first
    before = label.inner_text()
    action()
    page.wait_for_function("([old]) => document.querySelector('.gancomp-status').innerText !== old", arg=[before])
    return label.inner_text()


def test_a_slider_a_number_box_and_a_prediction_work_in_jupyterlab(page, lab):
    cells = [TINY, "predict('t/1', 'Which?', ['teacher', 'student'])", "show(draw(3), alt='A cubic')"]
    nbformat.write(
        new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=KERNEL),
        lab[1] / "notebooks" / "tiny.ipynb",
    )
    open_and_run(page, lab, "tiny.ipynb")
    assert status_after(page, lambda: drag(page, page.locator(".noUi-handle").first, 80)).startswith("drawn: Power ")
    page.get_by_label("Power", exact=True).first.fill("9")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelector('.gancomp-status').innerText.startsWith('drawn: Power 9 ')")
    assert page.locator('img[alt="x to the power 9"]').count() == 1
    assert page.locator('img[alt="A cubic"]').count() == 1
    page.get_by_label("student").check()
    page.get_by_role("button", name="Record my prediction").click()
    page.wait_for_selector("text=Recorded: student, 70 % sure.")
    assert json.loads((lab[1] / "predictions.json").read_text())["predictions"][0]["answer"] == "student"
    if picture := os.environ.get("GANCOMP_BROWSER_PICTURES"):
        page.screenshot(path=f"{picture}/tiny.png")


@pytest.mark.slow
@pytest.mark.skipif(not START.exists(), reason="notebook 00 is not there yet")
def test_notebook_00_runs_and_its_slider_redraws(page, lab):
    notebook = nbformat.read(START, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace('PROFILE = "standard"', 'PROFILE = "fast"')
    nbformat.write(notebook, lab[1] / "notebooks" / START.name)
    open_and_run(page, lab, START.name, minutes=6)
    assert page.locator(".gancomp-status").count() >= 1
    said = status_after(page, lambda: drag(page, page.locator(".gancomp-explorer .noUi-handle").first, 60))
    assert said.startswith("drawn: ")
    if picture := os.environ.get("GANCOMP_BROWSER_PICTURES"):
        page.screenshot(path=f"{picture}/00.png")
