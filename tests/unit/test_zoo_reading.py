"""Cards and weights that somebody else made: nothing is written, nothing large is built, and copies are safe."""

from __future__ import annotations

import errno
import hashlib
import json
import lzma
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gancomp_core import zoo
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.zoo import store, weights

NAME = "edges2shoes/small_student"
FILE = "generator.safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model in a data folder of the test's own."""
    copied = tmp_path / "data" / "zoo" / NAME
    shutil.copytree(data_root() / "zoo" / NAME, copied)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "data"))
    return copied


def rewrite_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def ship(folder: Path, plain: bytes, packed: bytes | None = None) -> None:
    """Put weights into the folder, with the checksum that belongs to them."""
    (folder / f"{FILE}.xz").write_bytes(lzma.compress(plain, preset=0) if packed is None else packed)
    rewrite_card(folder, files={FILE: hashlib.sha256(plain).hexdigest()})


def plain_weights(folder: Path) -> bytes:
    return lzma.decompress((folder / f"{FILE}.xz").read_bytes())


def with_header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Weights whose header somebody has changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def with_architecture(data: bytes, **changes: object) -> bytes:
    def change(header: dict[str, Any]) -> None:
        described = header["__metadata__"]
        described["architecture"] = json.dumps(json.loads(described["architecture"]) | changes)

    return with_header(data, change)


# ---- where a card leads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", ["absolute", "relative"])
def test_a_card_cannot_choose_where_a_file_is_written(folder: Path, tmp_path: Path, monkeypatch, lead: str) -> None:
    """The fault that was: a name of the card, joined to the temporary folder, overwrote any file of the user."""
    temporary = tmp_path / "deep" / "tmp"
    temporary.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    victim = tmp_path / "deep" / "victim.safetensors"
    victim.write_text("mine")
    name = str(victim) if lead == "absolute" else f"../../{victim.name}"
    packed = Path(f"{folder / name}.xz")
    packed.write_bytes(lzma.compress(b"evil"))
    rewrite_card(folder, files={name: hashlib.sha256(b"evil").hexdigest()})
    with pytest.raises(GancompError, match=r"card\.json is damaged"):
        zoo.load(NAME)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/x.safetensors", "a/b.safetensors", "a\\b.safetensors", "C:x.safetensors", ".safetensors",
     "x.safetensors\n", "x.pt", "..", "", "x\0.safetensors"],
)  # fmt: skip
def test_only_plain_names_of_networks_are_read(folder: Path, name: str) -> None:
    rewrite_card(folder, files={name: "0" * 64})
    with pytest.raises(GancompError, match=r"card\.json is damaged"):
        zoo.load(NAME)


@pytest.mark.parametrize(
    "text", ['{"files": [1]}', "[" * 100_000, "\udcff", '{"files": {"generator.safetensors": 3}}', "null"]
)
def test_odd_cards_are_damaged_cards(folder: Path, text: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    odd = json.dumps(card | json.loads(text)) if text.startswith('{"') else text
    (folder / "card.json").write_text(odd, errors="surrogateescape")
    with pytest.raises(GancompError, match=r"card\.json is damaged"):
        zoo.load(NAME)


def test_a_name_that_is_no_text_is_told_the_names() -> None:
    with pytest.raises(GancompError, match="There is no model"):
        zoo.load(["edges2shoes/teacher"])  # type: ignore[arg-type]


# ---- what weights ask for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"in_channels": 10**9},
        {"blocks": 10**9},
        {"blocks": 3000},
        {"channels": "_".join(["1024"] * 8), "blocks": 32},
        {"channels": "_".join(["99999999999999999999"] * 8)},
        {"channels": "_".join(["9" * 5000] * 8)},
        {"family": "rrdb", "width": 10**6, "growth": 10**6, "scale": 4},
    ],
)
def test_a_header_cannot_ask_for_a_network_that_its_tensors_are_not(folder: Path, monkeypatch, changes: dict) -> None:
    devices = []
    build = weights._built

    def watched(*arguments: Any) -> torch.nn.Module:
        devices.append(torch.get_default_device().type)
        return build(*arguments)

    monkeypatch.setattr(weights, "_built", watched)
    ship(folder, with_architecture(plain_weights(folder), **changes))
    start = time.perf_counter()
    with pytest.raises(GancompError, match=r"another architecture|describes a network with the number|no network that"):
        zoo.load(NAME)
    assert time.perf_counter() - start < 20
    assert set(devices) <= {"meta"}, "nothing is allocated before every shape has been compared"


@pytest.mark.parametrize(
    "about",
    [{}, {"settings": "[1]"}, {"settings": '{"nonsense": 1}'}, {"architecture": "[]"},
     {"architecture": '{"family": []}'}, {"architecture": "7"}, {"settings": "[" * 50_000}],
)  # fmt: skip
def test_a_header_that_describes_no_network_is_told(folder: Path, about: dict[str, str]) -> None:
    ship(folder, with_header(plain_weights(folder), lambda header: header.update(__metadata__=about)))
    with pytest.raises(GancompError):
        zoo.load(NAME)


def of_size(end: int) -> Callable[[dict[str, Any]], object]:
    def change(header: dict[str, Any]) -> None:
        last = max((name for name in header if name != "__metadata__"), key=lambda n: header[n]["data_offsets"][1])
        header[last]["data_offsets"][1] = end

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data + bytes(10**6),
        lambda data: data[:-1],
        lambda data: data[:-1] + b"?",
        lambda data: (2**63).to_bytes(8, "little") + data[8:],
        lambda data: data[:4],
        lambda data: with_header(data, of_size(10**15)),
        lambda data: with_header(data, of_size(-5)),
        lambda data: with_header(data, lambda header: header.update(more={"dtype": "F16", "shape": [10**12]})),
        lambda data: len(b"[" * 90_000).to_bytes(8, "little") + b"[" * 90_000,
    ],
)
def test_weights_that_are_longer_or_shorter_than_their_header_says_are_damaged(folder: Path, damage) -> None:
    data = plain_weights(folder)
    ship(folder, data, lzma.compress(damage(data), preset=0))
    with pytest.raises(GancompError, match="is missing or damaged"):
        zoo.load(NAME)


def test_a_bomb_is_stopped_at_the_size_that_the_header_says(folder: Path, monkeypatch) -> None:
    data = plain_weights(folder)
    bomb = lzma.LZMACompressor(preset=0)
    pieces = [bomb.compress(data), *(bomb.compress(bytes(10**7)) for _ in range(20)), bomb.flush()]
    ship(folder, data, b"".join(pieces))
    unpacked = []

    class Counting:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.real = lzma.LZMADecompressor(*arguments, **options)

        def decompress(self, *arguments: Any, **options: Any) -> bytes:
            unpacked.append(self.real.decompress(*arguments, **options))
            return unpacked[-1]

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    monkeypatch.setattr(weights, "lzma", type("lzma", (), {**vars(lzma), "LZMADecompressor": Counting}))
    with pytest.raises(GancompError, match="is missing or damaged"):
        zoo.load(NAME)
    assert sum(map(len, unpacked)) <= max(weights.LARGEST_HEADER, len(data) + 1)


def test_a_file_that_wants_much_memory_to_be_unpacked_is_refused(folder: Path) -> None:
    data = plain_weights(folder)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**28}]
    ship(folder, data, lzma.compress(data, filters=filters))
    with pytest.raises(GancompError, match="is missing or damaged"):
        zoo.load(NAME)


# ---- the disk -------------------------------------------------------------------------------------------------------


def test_a_full_temporary_disk_does_not_matter(folder: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for maker in ("mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory"):
        monkeypatch.setattr(tempfile, maker, full)
    assert zoo.load(NAME).generator is not None


@pytest.mark.parametrize(("file", "of"), [(f"{FILE}.xz", "shipped file"), ("card.json", "model card")])
def test_a_file_that_cannot_be_read_is_not_called_damaged(folder: Path, file: str, of: str) -> None:
    (folder / file).unlink()
    (folder / file).mkdir()
    with pytest.raises(GancompError, match=rf"The {of} .* cannot be read \(Is a directory\)"):
        zoo.load(NAME)


# ---- loaded once ----------------------------------------------------------------------------------------------------


def test_what_is_done_to_a_model_does_not_reach_the_next_one(folder: Path) -> None:
    first = zoo.load(NAME)
    with torch.no_grad():
        for parameter in first.generator.parameters():
            parameter.add_(1)
    first.generator.train().requires_grad_(True)
    first.generator.extra = torch.nn.Linear(1, 1)
    first.card["task"] = "another"
    second = zoo.load(NAME)
    assert not second.generator.training
    assert not hasattr(second.generator, "extra")
    assert second.card["task"] == "edges2shoes"
    for mine, fresh in zip(first.generator.parameters(), second.generator.parameters(), strict=False):
        assert not fresh.requires_grad
        assert torch.equal(mine, fresh + 1)


def test_files_are_read_once_and_again_when_they_change(folder: Path, monkeypatch) -> None:
    read = []
    monkeypatch.setattr(store, "read_network", lambda *about: read.append(about) or weights.read_network(*about))
    zoo.load(NAME)
    zoo.load(NAME)
    assert len(read) == 1
    packed = folder / f"{FILE}.xz"
    packed.write_bytes(packed.read_bytes()[:-1])
    with pytest.raises(GancompError, match="is missing or damaged"):
        zoo.load(NAME)
    assert len(read) == 2


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    zoo.load(NAME)
    assert torch.equal(torch.random.get_rng_state(), before)
