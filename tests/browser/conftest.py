"""A JupyterLab for each worker, a browser for each file of tests, and pages that are watched."""

import os
from pathlib import Path

import pytest
from lab import PATIENCE_MS, Watch, find_chromium, running_lab

CHROMIUM = find_chromium()
MISSING = "no Chromium, Chrome or Edge was found; on Debian and Ubuntu 'apt-get install chromium' brings one"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.hookimpl(tryfirst=True)  # before -m chooses by marks
def pytest_collection_modifyitems(items):
    """Every test of this folder is a browser test: without a browser it is skipped, and fails where CI asks for one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(reason=MISSING))


@pytest.fixture(scope="module")
def browser():
    """Closed after each file, because a test outside could not run an event loop of its own beside it."""
    assert CHROMIUM, MISSING
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def watch():
    """What this test's pages ask for and complain of: no complaint, and no request that leaves the machine."""
    watch = Watch()
    yield watch
    assert watch.complaints == []
    assert watch.elsewhere() == []


@pytest.fixture
def new_page(browser, watch):
    """Opens watched pages; takes what playwright's ``new_context`` takes (viewport, color_scheme, offline, ...)."""
    contexts = []

    def open_page(**options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 1100}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MS)
        watch.over(page)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(lab_server):
    """The JupyterLab of this worker; its kernels end with the test."""
    yield lab_server
    lab_server.clear()
