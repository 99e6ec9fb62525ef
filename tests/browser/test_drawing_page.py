"""The pad as a reader uses it: the page from its file without a network, and the widget in JupyterLab."""

import time

import numpy as np
import pytest
import torch
from lab import open_and_run

from gancomp_core.course.pad import demo
from gancomp_core.course.pad.page import write_page
from gancomp_core.measure import OnnxGenerator

LAB_STROKE_MS = 400  # on two quiet cores; from the pen to the new pictures
PADS = "from gancomp_core.course import DrawingPad\npad = DrawingPad()\npad"


# From a copy: a browser warns of a page that reads its own canvas often.
PIXELS = """canvas => {
    const { width, height } = canvas;
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    return Array.from(context.getImageData(0, 0, width, height).data);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("pad")).as_uri()


@pytest.fixture
def opened(new_page, address):
    def open_page(**options):
        page = new_page(offline=True, **options)
        page.goto(address)
        painted(page)
        return page

    return open_page


def painted(page):
    """Wait until both pictures show what is drawn and both networks are warm."""
    page.wait_for_function("document.querySelectorAll('[id$=-picture][aria-busy=false]').length === 2")


def pixels(page, selector):
    canvas = page.locator(selector)
    height, width = canvas.evaluate("e => [e.height, e.width]")
    return np.array(canvas.evaluate(PIXELS), np.uint8).reshape(height, width, 4)[..., :3]


def drawn(page, size=32):
    """The drawing, 1 where a line is: the middle of each of its squares on the canvas."""
    shown = pixels(page, ".pad-canvas")[..., 0]
    cell = shown.shape[0] // size
    return (shown[cell // 2 :: cell, cell // 2 :: cell] < 128).astype(np.uint8)


def after(page, side, action):
    """What a side paints after ``action``, which must differ from what it painted before."""
    painted(page)
    before = pixels(page, f"#{side}-picture")
    action()
    painted(page)
    made = pixels(page, f"#{side}-picture")
    assert (made != before).any(), f"the {side} paints what it painted before"
    return made


def drag(page, *points, size=32, button="left"):
    """Draw through the middles of pixels (column, row)."""
    canvas = page.locator(".pad-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [
        (box["x"] + (x + 0.5) * box["width"] / size, box["y"] + (y + 0.5) * box["height"] / size) for x, y in points
    ]
    page.mouse.move(*places[0])
    page.mouse.down(button=button)
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up(button=button)


def tool(page, name):
    return page.get_by_role("group", name="Drawing tools").get_by_role("button", name=name)


def test_a_line_drawn_with_the_mouse_is_painted_by_both_networks(opened):
    page = opened()
    tool(page, "Clear").click()
    for side in ("student", "teacher"):
        after(page, side, lambda: drag(page, (4, 20), (28, 20)))
        tool(page, "Undo").click()
    drag(page, (4, 20), (28, 20))
    expected = np.zeros((32, 32), np.uint8)
    expected[20, 4:29] = 1
    assert (drawn(page) == expected).all()


def test_tools_do_what_their_names_say(opened):
    page = opened()
    start = drawn(page)
    assert start.any(), "the page begins with a drawing"
    tool(page, "Clear").click()
    assert not drawn(page).any()
    drag(page, (8, 8), (24, 8), (24, 24), (8, 24), (8, 8))
    assert drawn(page).sum() == 64
    tool(page, "Fill").click()
    drag(page, (15, 15))
    assert drawn(page).sum() == 17 * 17
    tool(page, "Eraser").click()
    drag(page, (16, 4), (16, 28))
    assert drawn(page).sum() == 17 * 14, "three pixels wide"
    tool(page, "Pencil").click()
    drag(page, (9, 10), (14, 10), button="right")
    assert drawn(page)[9:12, 9:15].sum() == 0, "the right button erases"
    page.get_by_label("Brush size in pixels").fill("2")
    drag(page, (2, 29), (5, 29))
    assert drawn(page)[29:31, 2:7].all()
    for _ in range(5):
        tool(page, "Undo").click()
    assert not drawn(page).any()
    tool(page, "Undo").click()
    assert (drawn(page) == start).all()
    assert tool(page, "Undo").is_disabled()


def test_one_draws_by_keys_alone(opened):
    page = opened()
    page.locator(".pad-canvas").focus()
    for key in ("c", "ArrowLeft", "Space", "ArrowDown", "ArrowDown", "Shift+ArrowRight", "Space", "ArrowRight"):
        page.keyboard.press(key)
    made = drawn(page)
    assert made.sum() == 7
    assert made[16:19, 15].all()
    assert made[18, 15:20].all()
    page.keyboard.press("Control+z")
    assert not drawn(page).any()


def test_a_finger_draws(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True)
    tool(page, "Clear").tap()
    box = page.locator(".pad-canvas").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert drawn(page).sum() == 1


def test_a_starting_drawing_replaces_the_drawing(opened):
    page = opened()
    starts = demo.starting_drawings(demo.demo_tasks()[0])
    page.get_by_role("button", name=f"Start from {starts[1]['title']}").first.click()
    assert (drawn(page).ravel() == demo.unpacked(starts[1]["pixels"], 32 * 32)).all()


def test_slider_and_switch_swap_the_student(opened):
    page = opened()
    slider = page.get_by_role("slider", name="Budget")
    seen = set()
    for place in range(int(slider.get_attribute("max")) + 1):
        slider.fill(str(place))
        seen.add((page.inner_text("#student-macs"), page.inner_text("#student-bytes")))
        assert page.inner_text("#student-macs") in page.inner_text("#budget-text")
        assert slider.get_attribute("aria-valuetext") == page.inner_text("#budget-text")
    networks = [facts for facts in demo.demo_tasks()[0]["networks"] if facts["kind"] == "student"]
    assert len(seen) == len({facts["name"] for facts in networks})
    both = {facts["name"] for facts in networks if facts["precision"] == "float32"}
    if both:
        page.get_by_label("float32").check(force=True)
        assert "float32" in page.inner_text("#student-title")


def test_times_are_shown_when_the_networks_are_warm_and_the_sentence_says_how_much_faster(opened):
    page = opened()
    page.wait_for_function("/^[\\d.]+ times fewer multiplications; [\\d.]+ times faster in this browser\\.$/"
                           ".test(document.getElementById('speed').textContent)")  # fmt: skip
    ms = {side: float(page.inner_text(f"#{side}-ms")) for side in ("teacher", "student")}
    assert 0 < ms["student"] < ms["teacher"]
    assert page.inner_text("#said") == page.inner_text("#speed")


def test_every_network_makes_in_the_browser_what_onnxruntime_makes_in_python(opened):
    """To 1e-3 in float32. In 8 bits a last float32 digit decides some roundings, and a norm carries such a step on."""
    page = opened()
    generator = torch.Generator().manual_seed(0)
    equal = []
    for task in demo.demo_tasks():
        count = task["size"][0] * task["size"][1]
        starts = [demo.unpacked(start["pixels"], count) for start in demo.starting_drawings(task)[:2]]
        scattered = (torch.rand(count, generator=generator) < 0.1).to(torch.uint8).numpy()
        for facts in task["networks"]:
            network = OnnxGenerator(demo.network_file(facts), threads=1)
            for ink in (*starts, scattered):
                made = page.evaluate("([file, ink]) => paintWith(file, ink)", [facts["file"], ink.tolist()])
                numbers = torch.from_numpy(1 - 2 * ink.astype(np.float32)).view(1, 1, *task["size"])
                apart = np.array(made) - network(numbers).numpy().ravel()
                if facts["precision"] == "float32":
                    assert np.abs(apart).max() < 1e-3, facts["file"]
                else:
                    assert (apart**2).mean() < 4 * 10**-4, f"{facts['file']}: less than 40 dB"
                    equal.append(np.abs(apart).max() < 1e-3)
    assert np.mean(equal) >= 0.4, "about half of the 8-bit pictures are equal to 1e-3"


def test_the_other_tasks_are_painted_in_their_colors(opened):
    page = opened()
    for task in demo.demo_tasks()[1:]:
        page.get_by_label(task["title"]).check(force=True)
        painted(page)
        for side in ("student", "teacher"):
            made = pixels(page, f"#{side}-picture")
            assert made.shape[:2] == tuple(task["size"])
            assert made.std() > 0
        assert drawn(page, task["size"][0]).any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    page = opened(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_pad_of_jupyterlab_paints_in_the_kernel(lab, page):
    open_and_run(page, lab, lab.put("pad.ipynb", [PADS]))
    page.wait_for_selector(".pad-canvas")
    start = drawn(page)
    spent = []
    for row in (3, 12, 26):
        code = "[...document.querySelectorAll('.painting')].map(each => each.toDataURL())"
        before = page.evaluate(code)
        began = time.monotonic()
        drag(page, (4, row), (27, row))
        page.wait_for_function(f"before => {code}.every((url, i) => url !== before[i])", arg=before)
        spent.append(1000 * (time.monotonic() - began))
    assert (drawn(page) != start).any()
    assert "ms in the kernel" in page.locator(".pad-facts").first.text_content()
    print(f"strokes in JupyterLab: {[round(ms) for ms in spent]} ms")
    page.locator(".pad-canvas").focus()
    page.keyboard.press("c")
    assert not drawn(page).any()
