"""The report of a compression in a real browser: the swipe by mouse and by keys, without scripts, on a phone."""

import numpy as np
import pytest
from PIL import Image

from factories import finished_compression, random_resnet, resnet, stripes
from gancomp_core.compress.report import write_report
from gancomp_core.compress.report.code import javascript
from gancomp_core.compress.teachers import open_teacher


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    networks = [random_resnet(resnet(8, in_channels=3, out_channels=3), seed) for seed in (1, 2)]
    folder = tmp_path_factory.mktemp("report")
    return write_report(finished_compression(open_teacher(networks[0]), stripes(24, 16), networks[1], folder))


@pytest.fixture
def opened(new_page, watch, report):
    """Opens the report from its file, which loads nothing else."""

    def open_page(**options):
        page = new_page(**{"viewport": {"width": 1200, "height": 900}} | options)
        page.goto(report.as_uri())
        return page

    yield open_page
    assert {url for url in watch.requests if not url.startswith("data:")} == {report.as_uri()}


def clipped(page):
    """How much of the first picture shows the teacher, in percent: where the student's picture is clipped."""
    style = "element => getComputedStyle(element).clipPath"
    return page.locator(".swipe .side").nth(1).evaluate(style)


def test_the_swipe_follows_the_mouse(opened):
    page = opened()
    assert clipped(page) == "inset(0px 0px 0px 50%)"
    pair = page.locator(".swipe .pair").first
    pair.scroll_into_view_if_needed()
    box = pair.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, middle, steps=5)
    page.mouse.up()
    assert clipped(page) == "inset(0px 0px 0px 100%)"


def test_the_swipe_follows_the_keys_and_says_where_it_is(opened):
    page = opened()
    swipe = page.get_by_role("slider", name="Picture 0: swipe between teacher and student")
    swipe.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert clipped(page) == "inset(0px 0px 0px 52%)"
    assert swipe.get_attribute("aria-valuetext") == "52 % teacher, 48 % student"
    page.keyboard.press("Home")
    assert clipped(page) == "inset(0px 0px 0px 0%)"


def test_without_scripts_the_pictures_stand_side_by_side(opened):
    page = opened(java_script_enabled=False)
    sides = page.locator(".swipe .side")
    first, second = sides.nth(0).bounding_box(), sides.nth(1).bounding_box()
    assert second["x"] >= first["x"] + first["width"]
    assert not page.locator(".swipe input").first.is_visible()


def test_nothing_is_wider_than_a_phone(opened):
    page = opened(viewport={"width": 390, "height": 800}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_lines_of_javascript_read_and_write_pixels_as_the_lines_of_python_do(browser, tmp_path):
    """What stands for onnxruntime-web hands back what it is given, so the canvas must come out as it went in."""
    pixels = np.asarray(stripes(1, 8)[0].permute(1, 2, 0))
    for channels, expected in (((3, 3), pixels), ((1, 1), np.asarray(Image.fromarray(pixels).convert("L")))):
        page = browser.new_page()
        page.set_content('<canvas width="8" height="8"></canvas>')
        rgba = np.concatenate([pixels, np.full((8, 8, 1), 255, np.uint8)], 2).flatten().tolist()
        made = page.evaluate(
            """async ([rgba, lines]) => {
                const context = document.querySelector("canvas").getContext("2d");
                context.putImageData(new ImageData(Uint8ClampedArray.from(rgba), 8, 8), 0, 0);
                window.ort = {
                    Tensor: class { constructor(kind, data) { this.data = data; } },
                    InferenceSession: {create: async () => ({run: async feeds => ({picture: feeds.source})})},
                };
                await new (async () => {}).constructor(lines)();
                return Array.from(context.getImageData(0, 0, 8, 8).data);
            }""",
            [rgba, "\n".join(javascript("student.onnx", (8, 8), channels))],
        )
        found = np.array(made, np.uint8).reshape(8, 8, 4)[..., :3]
        assert (found == (expected if expected.ndim == 3 else expected[..., None])).all()
        page.close()
