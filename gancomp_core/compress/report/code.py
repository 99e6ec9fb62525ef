"""How to run the result, as lines to copy: with the exact sizes and the exact way from a file to numbers and back."""

from __future__ import annotations

NOTES = (
    "Pixels 0 to 255 become -1 to 1 with channels first, and back. The picture is fitted to the size on which the "
    "student was measured. The JavaScript lines run in a page that has loaded onnxruntime-web as ort and draws the "
    "picture on a canvas of that size."
)


def python(file: str, sizes: tuple[int, int], channels: tuple[int, int]) -> list[str]:
    """Lines of Python that run the file in onnxruntime on ``picture.png`` and write ``made.png``.

    Args:
        file: Name of the ONNX file.
        sizes: Of what goes in and of what comes out, height and width alike.
        channels: Of what goes in and of what comes out.
    """
    mode, first = ("L", "[None, None]") if channels[0] == 1 else ("RGB", ".transpose(2, 0, 1)[None]")
    given = sizes[0]
    fitted = f'ImageOps.fit(Image.open("picture.png").convert("{mode}"), ({given}, {given}), Image.Resampling.BICUBIC)'
    read = f"x = (np.asarray({fitted}, np.float32) / 127.5 - 1){first}"
    if channels[0] not in (1, 3):
        read = 'x = np.load("picture.npy")[None].astype(np.float32)  # channels, height, width in [-1, 1]'
    last = "[0, 0]" if channels[1] == 1 else "[0].transpose(1, 2, 0)"
    return [
        "import numpy as np, onnxruntime",
        "from PIL import Image, ImageOps",
        "",
        read,
        f'y = onnxruntime.InferenceSession("{file}").run(None, {{"source": x}})[0]{last}',
        'Image.fromarray(((y + 1) * 127.5).round().clip(0, 255).astype(np.uint8)).save("made.png")',
    ]


def javascript(file: str, sizes: tuple[int, int], channels: tuple[int, int]) -> list[str]:
    """Lines of JavaScript that run the file in onnxruntime-web on a canvas; see :func:`python`."""
    value = "p[4 * (i % A) + Math.floor(i / A)]"
    if channels[0] == 1:  # as Pillow converts to gray
        value = "((19595 * p[4 * i] + 38470 * p[4 * i + 1] + 7471 * p[4 * i + 2] + 32768) >> 16)"
    read = [
        "const p = context.getImageData(0, 0, S, S).data;",
        f"const x = Float32Array.from({{length: {channels[0]} * A}}, (_, i) => {value} / 127.5 - 1);",
    ]
    if channels[0] not in (1, 3):
        read = [
            "// float32 numbers of channels, height, width in [-1, 1]",
            'const x = new Float32Array(await (await fetch("picture.f32")).arrayBuffer());',
        ]
    made = "y[i >> 2]" if channels[1] < 3 else "y[(i >> 2) + (i % 4) * B]"
    return [
        f"const S = {sizes[0]}, A = S * S, T = {sizes[1]}, B = T * T;",
        'const canvas = document.querySelector("canvas"), context = canvas.getContext("2d");',
        *read,
        f'const y = (await (await ort.InferenceSession.create("{file}")).run('
        f'{{source: new ort.Tensor("float32", x, [1, {channels[0]}, S, S])}})).picture.data;',
        "canvas.width = canvas.height = T;",
        "context.putImageData(new ImageData(Uint8ClampedArray.from({length: 4 * B}, "
        f"(_, i) => i % 4 == 3 ? 255 : ({made} + 1) * 127.5), T, T), 0, 0);",
    ]
