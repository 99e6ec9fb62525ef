"""Files from elsewhere: read by their content, or refused in one sentence, and nothing in them runs."""

from __future__ import annotations

import argparse
import io
import itertools
import os
import pickle
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from factories import is_one_sentence

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from plain_formats import Plain  # noqa: E402
from plain_rows import PlainRow, Row  # noqa: E402

from gancomp_core.errors import GancompError  # noqa: E402
from gancomp_core.importers import foreign_files, import_checkpoint  # noqa: E402
from gancomp_core.importers.foreign_files import read_foreign  # noqa: E402
from gancomp_core.nets import PatchDiscriminator  # noqa: E402

State = dict[str, Tensor]


def refusal(path: Path | str, **options: Any) -> str:
    """What import_checkpoint says; always one sentence that names the file."""
    with pytest.raises(GancompError) as caught:
        import_checkpoint(path, **options)
    said = str(caught.value)
    assert is_one_sentence(said.replace(str(path), "FILE")), said
    assert str(path) in said
    return said


def refusal_of(content: Any, folder: Path, **how: Any) -> str:
    torch.save(content, folder / "generator.pth", **how)
    return refusal(folder / "generator.pth")


def plain(**options: Any) -> State:
    return dict(Plain(**options).build().state_dict())


def discriminator() -> State:
    return PatchDiscriminator(3, width=8).state_dict()


@torch.no_grad()
def assert_same(ours: nn.Module, theirs: nn.Module, tolerance: float = 1e-4) -> None:
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert theirs(x).std() > 0.05
    torch.testing.assert_close(ours(x), theirs(x), atol=tolerance, rtol=0)


# --- hostile files


class Evil:
    """Unpickled by plain pickle, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.target,)


class Sly(Evil):
    """The same by a name that is on no list."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _make, (self.target,)


def _make(target: str) -> None:
    os.mkdir(target)


def torch_zip(content: Any, path: Path, protocol: int) -> None:
    torch.save(content, path, pickle_protocol=protocol)


def torch_legacy(content: Any, path: Path, protocol: int) -> None:
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)


def bare_pickle(content: Any, path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(content, protocol=protocol))


WRITERS = [torch_zip, torch_legacy, bare_pickle]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_malicious_pickle_is_refused_and_named_and_does_not_run(tmp_path, write, protocol):
    path, target = tmp_path / "generator.pth", tmp_path / "made"
    write({**plain(), "payload": Evil(target)}, path, protocol)
    said = refusal(path)
    assert f"'{os.mkdir.__module__}.mkdir'" in said
    assert "nothing in it was run" in said
    assert not target.exists()


@pytest.mark.parametrize(("write", "protocol"), [*itertools.product(WRITERS, [2, 4, 5]), (bare_pickle, 0)])
def test_a_function_of_any_name_does_not_run(tmp_path, write, protocol):
    path, target = tmp_path / "generator.pth", tmp_path / "made"
    theirs = Plain().build()
    write({"netG": theirs.state_dict(), "payload": Sly(target)}, path, protocol)
    ours = import_checkpoint(path)
    assert not target.exists()
    assert any("_make" in name for name in ours.imported.skipped)
    assert_same(ours, theirs)


def test_a_malicious_text_pickle_is_refused_and_does_not_run(tmp_path):
    bare_pickle(Evil(tmp_path / "made"), tmp_path / "generator.pth", 0)
    assert ".mkdir'" in refusal(tmp_path / "generator.pth")
    assert not (tmp_path / "made").exists()


def test_the_malicious_files_would_have_run(tmp_path):
    for number, kind in enumerate((Evil, Sly)):
        bare_pickle(kind(tmp_path / f"made{number}"), tmp_path / "generator.pth", 4)
        pickle.loads((tmp_path / "generator.pth").read_bytes())
        assert (tmp_path / f"made{number}").exists()


OPCODES = {
    "attributes of a known function": b"ctorch._utils\n_rebuild_tensor_v2\n}S'x'\nI1\nsb.",
    "attributes of a class": b"ccollections\nOrderedDict\n(N}S'x'\nI1\nstb.",
    "a class of builtins": b"cbuiltins\nbytearray\n(L99999999999L\ntR.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a call of an instance": b"capp\nThing\n(tR(tR.",
    "an endless list": b"]" + b"(" * 100_000 + b"l" * 100_000 + b".",
    "a tensor outside its numbers": b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI0\n(I9\nt(I1\nttR.",
}


@pytest.mark.parametrize("data", OPCODES.values(), ids=OPCODES.keys())
def test_instructions_of_pickles_do_no_harm(tmp_path, data):
    (tmp_path / "generator.pth").write_bytes(data)
    refusal(tmp_path / "generator.pth")
    assert not hasattr(OrderedDict, "x")
    assert not hasattr(torch._utils._rebuild_tensor_v2, "x")


def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(tmp_path):
    path = tmp_path / "generator.pth"
    torch.save({"a": torch.zeros(4)}, path, pickle_protocol=2)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data.replace(b"K\x04\x85", b"K\x05\x85") if name.endswith("data.pkl") else data)
    assert "damaged" in refusal(path)


# --- files by content


SUFFIXES = [".pth", ".ckpt", ".pth.tar", ".pkl", ".model", ".bin", ".PTH", ""]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("write", WRITERS)
def test_the_name_of_a_file_does_not_matter(tmp_path, suffix, write):
    theirs = Plain().build()
    path = tmp_path / f"generator{suffix}"
    write(theirs.state_dict(), path, 2)
    assert_same(import_checkpoint(path), theirs)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_safetensors_are_known_by_content(tmp_path, suffix):
    theirs = Plain().build()
    save_file(theirs.state_dict(), tmp_path / f"generator{suffix}")
    assert_same(import_checkpoint(tmp_path / f"generator{suffix}"), theirs)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    torch.save(plain(), tmp_path / "generator.pth")
    assert import_checkpoint("~/generator.pth").architecture.blocks == 3


DTYPES = [torch.float16, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zipped", [True, False])
def test_any_precision_is_read(tmp_path, dtype, zipped):
    theirs = Plain(affine=True).build().to(dtype)
    torch.save(theirs.state_dict(), tmp_path / "generator.pth", _use_new_zipfile_serialization=zipped)
    assert_same(import_checkpoint(tmp_path / "generator.pth"), theirs.float())


WRAPPERS: dict[str, Callable[[PlainRow], Any]] = {
    "argparse.Namespace": lambda net: {"netG": net.state_dict(), "opt": argparse.Namespace(ngf=64, name="x")},
    "numpy": lambda net: {"netG": net.state_dict(), "loss": np.float64(1), "curve": np.arange(3)},
    "a set and a path": lambda net: {"netG": net.state_dict(), "names": {"a"}, "where": Path("x")},
    "a list": lambda net: [net.state_dict(), discriminator()],
    "an optimizer": lambda net: {"model": net.state_dict(), "optim": torch.optim.Adam(net.parameters()).state_dict()},
    "parameters": lambda net: dict(net.named_buffers()) | dict(net.named_parameters()),
    "a scalar beside": lambda net: {"step": torch.tensor(3), "params": net.state_dict()},
    "DataParallel": lambda net: {f"module.{name}": t for name, t in net.state_dict().items()},
    "compiled": lambda net: {f"_orig_mod.{name}": t for name, t in net.state_dict().items()},
    "compiled inside": lambda net: {
        name.replace("model.", "model._orig_mod."): t for name, t in net.state_dict().items()
    },
    "averaged": lambda net: {"n_averaged": torch.tensor(3)} | {f"module.{n}": t for n, t in net.state_dict().items()},
    "main": lambda net: {name.replace("model.", "main."): t for name, t in net.state_dict().items()},
    "none": lambda net: {name.removeprefix("model."): t for name, t in net.state_dict().items()},
    "profiled": lambda net: net.state_dict() | {"total_ops": torch.zeros(1), "model.1.total_params": torch.zeros(1)},
    "Lightning": lambda net: {"state_dict": {f"netG.{n}": t for n, t in net.state_dict().items()}, "epoch": 3},
    "Lightning with a discriminator": lambda net: {
        "state_dict": {f"netG.{n}": t for n, t in net.state_dict().items()}
        | {f"netD.{n}": t for n, t in discriminator().items()}
    },
    "whole module": lambda net: net,
    "whole modules": lambda net: {"G": net, "D": nn.Sequential(nn.Conv2d(3, 1, 3))},
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("row", [Row(), Row(norm="batch", at_test="running", up="resize")], ids=["ours", "plain"])
def test_what_is_beside_or_around_the_weights_changes_nothing(tmp_path, wrap, zipped, row):
    theirs = row.build()
    torch.save(wrap(theirs), tmp_path / "generator.pth", _use_new_zipfile_serialization=zipped)
    ours = import_checkpoint(tmp_path / "generator.pth")
    assert_same(ours, theirs)


def test_what_was_left_out_is_reported(tmp_path, capsys):
    content = {"G": plain() | {"total_ops": torch.zeros(1)}, "opt": argparse.Namespace(ngf=64)}
    torch.save(content, tmp_path / "generator.pth")
    ours = import_checkpoint(tmp_path / "generator.pth")
    assert ours.imported.skipped == ("total_ops", "the object argparse.Namespace, which was not made")
    assert "padding reflect" in str(ours.imported)
    assert capsys.readouterr().out == f"{ours.imported}\n"
    import_checkpoint(tmp_path / "generator.pth", quiet=True)
    assert not capsys.readouterr().out


# --- several networks


def two() -> tuple[nn.Module, nn.Module]:
    return Plain().build(1), Plain().build(2)


def flat(**networks: nn.Module) -> State:
    return {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}


SEVERAL: dict[str, tuple[Callable[[nn.Module, nn.Module], Any], str, str]] = {
    "dict": (lambda a, b: {"netG_A2B": a.state_dict(), "netG_B2A": b.state_dict()}, "netG_A2B", "netG_B2A"),
    "averages": (lambda a, b: {"params": a.state_dict(), "params_ema": b.state_dict()}, "params", "params_ema"),
    "flat": (lambda a, b: flat(netG_A2B=a, netG_B2A=b), "netG_A2B", "netG_B2A"),
    "Lightning": (lambda a, b: {"state_dict": flat(gen_AB=a, gen_BA=b)}, "gen_AB", "gen_BA"),
    "nested": (lambda a, b: {"nets": {"x": {"G": a.state_dict()}, "y": {"G": b.state_dict()}}}, "x.G", "nets.y.G"),
    "list": (lambda a, b: [a.state_dict(), b.state_dict()], "0", "1"),
}


@pytest.mark.parametrize(("wrap", "first", "second"), SEVERAL.values(), ids=SEVERAL.keys())
def test_one_of_several_networks_is_chosen_by_part(tmp_path, wrap, first, second):
    a, b = two()
    path = tmp_path / "generator.pth"
    torch.save(wrap(a, b), path)
    said = refusal(path)
    assert "part=" in said
    assert first in said
    assert second in said
    assert_same(import_checkpoint(path, part=first), a)
    assert_same(import_checkpoint(path, part=second), b)
    assert "no part" in refusal(path, part="none")


def test_a_discriminator_as_part_is_refused_by_name(tmp_path):
    torch.save({"G": plain(), "D": discriminator()}, tmp_path / "generator.pth")
    assert "discriminator" in refusal(tmp_path / "generator.pth", part="D")


# --- something else


CONTENTS = {
    "empty": (b"", "is empty"),
    "web page": (b"\n<!DOCTYPE html><html>404 not found</html>", "web page"),
    "text": (b"Not found\n", "text that begins with 'Not found"),
    "binary": (bytes(range(256)) * 9, "damaged"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "Keras"),
    "gzip": (b"\x1f\x8b" + bytes(99), "unpack"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("content", "expected"), CONTENTS.values(), ids=CONTENTS.keys())
def test_a_file_that_is_something_else_is_recognized(tmp_path, content, expected, suffix):
    (tmp_path / f"generator{suffix}").write_bytes(content)
    assert expected in refusal(tmp_path / f"generator{suffix}")


def test_networks_in_other_forms_are_named_with_the_way_out(tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 3, 3))
    torch.jit.trace(network, torch.zeros(1, 3, 8, 8)).save(tmp_path / "traced.pt")
    assert "TorchScript" in refusal(tmp_path / "traced.pt")
    torch.onnx.export(network, (torch.zeros(1, 3, 8, 8),), tmp_path / "network.onnx", dynamo=False)
    assert "gancomp compress" in refusal(tmp_path / "network.onnx")
    (tmp_path / "network.onnx").rename(tmp_path / "network.pth")
    assert "is an ONNX network" in refusal(tmp_path / "network.pth")
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("weights/generator.pth", b"x")
    assert "unpack it" in refusal(tmp_path / "pack.zip")
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    assert "tar file" in refusal(tmp_path / "old.pth")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_torch_file_is_recognized(tmp_path, zipped, kept):
    path = tmp_path / "generator.pth"
    torch.save(plain(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "damaged" in refusal(path)


def test_truncated_safetensors_are_recognized(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_file(plain(), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged" in refusal(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "no file" in refusal(tmp_path / "none.pth")
    assert "folder" in refusal(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="only bites for users with limited rights")
def test_a_file_without_permission_is_named(tmp_path):
    path = tmp_path / "generator.pth"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "permission" in refusal(path)


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


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "1.weight"),
        ({}, "11.conv_block.5.weight"),
        ({}, "13.weight"),
        ({"separable": True}, "10.conv_block.1.conv.0.weight"),
        ({"separable": True}, "12.conv_block.1.conv.2.weight"),
    ],
)
def test_a_missing_kernel_is_not_overlooked(tmp_path, options, name):
    state = plain(**options)
    del state[f"model.{name}"]
    said = refusal_of(state, tmp_path)
    assert "incomplete" not in said
    assert "'" in said


@pytest.mark.parametrize("name", ["model.4.weight", "model.12.conv_block.5.weight", "model.13.bias", "model.16.weight"])
def test_a_tensor_of_another_shape_is_not_overlooked(tmp_path, name):
    state = plain()
    state[name] = torch.cat([state[name], state[name]])
    refusal_of(state, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    state = plain()
    state["model.7.weight"][0, 0, 0, 0] = value
    said = refusal_of(state, tmp_path)
    assert "'model.7.weight'" in said
    assert "not finite" in said


@pytest.mark.parametrize("name", ["evil\n\x1b[31m", "n" * 10**6], ids=["control", "long"])
def test_foreign_names_are_shortened_and_shown_without_control_characters(tmp_path, name):
    for content in (plain() | {name: torch.ones(1)}, {name: torch.ones(1)}, {name: 1}, {name: plain(), "x": plain()}):
        said = refusal_of(content, tmp_path)
        assert len(said) < 1000
        assert said.isprintable()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (torch.zeros(8, 3, 7, 7, dtype=torch.int8), "int8"),
        (torch.zeros(8, 3, 7, 7, dtype=torch.complex64), "complex"),
        (torch.zeros(8, 3, 7, 7).to_sparse(), "sparse"),
        (torch.zeros(8, 3, 7, 7, device="meta"), "meta"),
        (torch.tensor(1.0), "1.weight"),
        (torch.zeros(8, 0, 7, 7), "channel"),
        (torch.zeros(0, 3, 7, 7), "0 channels"),
    ],
    ids=["integers", "complex", "sparse", "meta", "scalar", "no input channels", "no output channels"],
)
def test_tensors_of_another_kind_are_refused(tmp_path, values, expected):
    assert expected in refusal_of({**plain(), "model.1.weight": values}, tmp_path)


OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "discriminator": (
        lambda: nn.ModuleDict({"model": nn.Sequential(nn.Conv2d(3, 8, 4), nn.ReLU(), nn.Conv2d(8, 1, 4))}).state_dict(),
        "discriminator",
    ),
    "a generator that begins with 4x4": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.Linear(3, 3)).state_dict(),
        "'2.weight'",
    ),
    "optimizer": (lambda: torch.optim.Adam(nn.Conv2d(1, 1, 1).parameters()).state_dict(), "optimizer"),
    "our own": (lambda: {"stages.stem.0.weight": torch.zeros(1), "stages.tail.0.weight": torch.zeros(1)}, "zoo"),
    "a classifier": (lambda: {"fc.weight": torch.zeros(1), "conv.weight": torch.zeros(1)}, "fc.weight"),
    "an extra buffer": (lambda: plain() | {"mean": torch.zeros(3)}, "'mean'"),
    "a list": (lambda: [3], "one list"),
    "a tensor": (lambda: torch.zeros(1), "one Tensor"),
    "nothing": (dict, "nothing at all"),
    "plain values": (lambda: {"epoch": 3}, "epoch"),
    "numbered entries": (lambda: {0: torch.zeros(1)}, "no state dict"),
}


@pytest.mark.parametrize(("content", "expected"), OTHERS.values(), ids=OTHERS.keys())
def test_another_network_is_refused_by_the_first_name_that_does_not_fit(tmp_path, content, expected):
    said = refusal_of(content(), tmp_path)
    assert expected in said
    assert ("discriminator" in said) == (expected == "discriminator")


def test_reading_gives_what_the_file_holds(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2).half(), "steps": torch.tensor(3)}}, tmp_path / "a.pth")
    content = read_foreign(tmp_path / "a.pth").content
    assert torch.equal(content["state_dict"]["a"], torch.ones(2).half())
    assert content["state_dict"]["steps"] == 3
