"""The report of a compression in a real browser: the swipe by mouse and by keys, without scripts, on a phone."""

import gzip
import mimetypes
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

from factories import finished_compression, random_resnet, resnet, stripes
from gancomp_core.compress.report import write_report
from gancomp_core.compress.report.code import javascript
from gancomp_core.compress.teachers import open_teacher
from gancomp_core.data import to_float
from gancomp_core.files import data_root
from gancomp_core.measure import OnnxGenerator, export_onnx


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


RUNTIME = data_root() / "onnxruntime_web"
PAGE = """<canvas></canvas><script type="module">
import * as ort from "./ort.wasm.bundle.min.mjs";
ort.env.wasm.numThreads = 1;
window.ort = ort;
</script>"""


@pytest.mark.parametrize(("channels", "scale"), [((3, 3), 1), ((1, 1), 1), ((3, 1), 2), ((3, 3), 1 / 2), ((6, 3), 1)])
def test_the_lines_of_javascript_make_the_picture_that_the_file_makes_in_python(new_page, tmp_path, channels, scale):
    network = random_resnet(resnet(8, in_channels=channels[0], out_channels=channels[1], scale=scale))
    file = export_onnx(network, tmp_path / "student.onnx", (1, channels[0], 16, 16))
    pixels = np.asarray(stripes(1, 16)[0].permute(1, 2, 0))
    source = np.asarray(Image.fromarray(pixels).convert("L"))[..., None] if channels[0] == 1 else pixels
    source = np.concatenate([source] * (2 if channels[0] == 6 else 1), 2)
    x = to_float(torch.from_numpy(source).permute(2, 0, 1)[None])
    files = {"index.html": PAGE.encode(), "student.onnx": file.read_bytes(), "picture.f32": x.numpy().tobytes()}
    files |= {packed.stem: gzip.decompress(packed.read_bytes()) for packed in RUNTIME.glob("*.gz")}

    def served(route):  # lines in a page that a server gives; this one answers without a network
        name = urlsplit(route.request.url).path.removeprefix("/")
        kind = mimetypes.guess_type(name)[0] or "text/javascript"
        route.fulfill(body=files[name], content_type=kind)

    page = new_page()
    page.route("**/*", served)
    page.goto("http://127.0.0.1/index.html")
    page.wait_for_function("window.ort")
    rgba = np.concatenate([pixels, np.full((16, 16, 1), 255, np.uint8)], 2).flatten().tolist()
    made = page.evaluate(
        """async ([rgba, lines]) => {
            const canvas = document.querySelector("canvas");
            const context = canvas.getContext("2d", {willReadFrequently: true});
            canvas.width = canvas.height = 16;
            context.putImageData(new ImageData(Uint8ClampedArray.from(rgba), 16, 16), 0, 0);
            await new (async () => {}).constructor(lines)();
            return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
        }""",
        [rgba, "\n".join(javascript("student.onnx", (16, round(16 * scale)), channels))],
    )
    painted = OnnxGenerator(file)(x).clamp(-1, 1)
    side = round(16 * scale)
    found = np.array(made, np.float32).reshape(side, side, 4)
    expected = ((painted[0] + 1) * 127.5).permute(1, 2, 0).expand(-1, -1, 3).numpy()
    assert found[..., 3].min() == 255
    assert np.abs(found[..., :3] - expected).max() < 0.6
