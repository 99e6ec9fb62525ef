"""The public sets: fetched from a real server that misbehaves in every way, unpacked from archives that mean harm."""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import os
import shutil
import stat
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gancomp_core.data import archives, downloads, public
from gancomp_core.data.archives import unpack
from gancomp_core.data.public import public_names, public_photos, public_task
from gancomp_core.errors import GancompError

# --- a server ---------------------------------------------------------------------------------------------------------


@dataclass
class File:
    """What the server does with a file; ``cuts``: after how many bytes it hangs up on the next visitors."""

    data: bytes
    etag: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    knows_ranges: bool = True
    heeds_if_range: bool = True
    shift: int = 0  # by which its parts begin too late
    stalls: float = 0.0  # seconds before it answers
    trickles: float = 0.0  # seconds after each 64 kB


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        file = self.server.files.get(self.path.removeprefix("/sets/"))
        status = 404 if file is None else file.statuses.pop(0) if file.statuses else 200
        if status != 200:
            self.server.log.append((status, None, 0))
            return self.send_error(status)
        time.sleep(file.stalls)
        wanted = self.headers.get("Range") if file.knows_ranges else None
        if wanted and file.heeds_if_range and self.headers.get("If-Range", file.etag) != file.etag:
            wanted = None
        first = int(wanted.removeprefix("bytes=").rstrip("-")) + file.shift if wanted else 0
        if wanted and first >= len(file.data):
            self.server.log.append((416, first, 0))
            return self.send_error(416)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(file.data) - 1}/{len(file.data)}")
        for name, value in {"Content-Length": str(len(file.data) - first), "ETag": file.etag, **file.headers}.items():
            if value is not None:
                self.send_header(name, value)
        body = file.data[first:]
        sent = body[: file.cuts.pop(0)] if file.cuts else body
        self.server.log.append((206 if wanted else 200, first, len(sent)))  # before a visitor can hear of the answer
        self.end_headers()
        for start in range(0, len(sent), 2**16):
            self.wfile.write(sent[start : start + 2**16])
            time.sleep(file.trickles)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, File] = {}
        self.log: list[tuple[int, int | None, int]] = []  # status, first byte, bytes sent
        self.url = f"http://127.0.0.1:{self.server_port}/sets"

    @property
    def bytes_sent(self) -> int:
        return sum(sent for _, _, sent in self.log)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("GANCOMP_MIRROR", server.url)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets, empty; no proxy, no long waiting."""
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GANCOMP_MIRROR", raising=False)
    monkeypatch.setattr(downloads, "PAUSE_S", 0.005)
    monkeypatch.setattr(downloads, "PIECE", 1000)
    return tmp_path / "cache" / "datasets"


# --- archives ---------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = info.orig_filename = name  # the constructor would mend names
            info.compress_type = packing
            archive.writestr(info, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tarred_gz(members: dict[str, bytes]) -> bytes:
    return tarred(members, "w:gz")


PACKERS = {"zip": zipped, "tar": tarred, "tar.gz": tarred_gz}


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def flat(red: int, green: int, blue: int, size: int = 16) -> np.ndarray:
    return np.full((size, size, 3), (red, green, blue), np.uint8)


def horses() -> dict[str, bytes]:
    """trainA/ trainB/ testA/ testB/: red on side A, blue on side B, with noise so that there is something to send."""
    counts = {"trainA": 5, "trainB": 6, "testA": 2, "testB": 3}
    members = {"horse2zebra/": b""}
    for side, count in counts.items():
        color = (200, 0, 0) if side.endswith("A") else (0, 0, 200)
        for index in range(count):
            picture = np.concatenate([flat(*color, 32), noise(32, 4, index)])[:32]
            members[f"horse2zebra/{side}/{index:03}.png"] = png(picture)
    return members


def side_by_side(name: str, splits: dict[str, int]) -> dict[str, bytes]:
    picture = png(np.concatenate([flat(255, 0, 0), flat(0, 0, 255)], 1))
    return {f"{name}/{split}/{index}.png": picture for split, count in splits.items() for index in range(count)}


def facades() -> bytes:
    noisy = {f"facades/train/noise{index}.png": png(noise(64, 32, index)) for index in range(5)}
    return tarred_gz(side_by_side("facades", {"train": 5, "val": 2, "test": 3}) | noisy)


def offer(server: Server, monkeypatch: pytest.MonkeyPatch, name: str, **files: bytes) -> None:
    """Let the server have these files, and let their checksums be the published ones where there is one."""
    chosen = public._SETS[name]
    archives = []
    for archive in chosen.archives:
        data = files[archive.stem]
        server.files[archive.file] = File(data)
        archives.append(replace(archive, sha256=archive.sha256 and hashlib.sha256(data).hexdigest()))
    monkeypatch.setitem(public._SETS, name, replace(chosen, archives=tuple(archives)))


# --- sets -------------------------------------------------------------------------------------------------------------


def test_an_unknown_name_shows_those_there_are() -> None:
    with pytest.raises(GancompError, match="There is no public set 'public:horses'") as error:
        public_task("public:horses")
    assert all(f"'{name}'" in str(error.value) for name in public_names())
    assert {"public:horse2zebra", "public:maps", "public:DIV2K", "public:Set5"} <= set(public_names())


def test_every_address_is_https_and_every_checksum_is_one() -> None:
    for chosen in public._SETS.values():
        for archive in chosen.archives:
            assert archive.base is None or (archive.base.startswith("https://") and archive.base.endswith("/"))
            assert archive.sha256 is None or (len(archive.sha256) == 64 and int(archive.sha256, 16))


def test_horses_and_zebras_are_an_unpaired_task(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, monkeypatch, "horse2zebra", horse2zebra=zipped(horses()))
    task = public_task("public:horse2zebra")
    assert (task.name, task.paired, task.size) == ("public:horse2zebra", False, 256)
    assert (len(task.test.sources), len(task.test.targets)) == (2, 3)
    assert (len(task.train.sources) + len(task.search.sources), len(task.train.targets)) == (5, 5)
    batch = task.test.batch(slice(0, 2))
    assert batch.source[:, 0, 128, 128].min() > 0.5
    assert batch.target[:, 2, 128, 128].min() > 0.5


@pytest.mark.parametrize(
    ("name", "splits", "paints_left"),
    [
        ("edges2shoes", {"train": 9, "val": 2}, False),
        ("maps", {"train": 9, "val": 2}, True),
        ("facades", {"train": 9, "val": 3, "test": 2}, True),
        ("cityscapes", {"train": 9, "val": 2}, True),
    ],
)
def test_side_by_side_sets_go_the_way_of_the_papers(
    server: Server, name: str, splits: dict[str, int], paints_left: bool
) -> None:
    server.files[f"{name}.tar.gz"] = File(tarred_gz(side_by_side(name, splits)))
    task = public_task(f"public:{name}", size=32)
    assert (task.name, task.paired, task.size, len(task.test)) == (f"public:{name}", True, 32, 2)
    assert len(task.train) + len(task.search) + len(task.test) == sum(splits.values())
    red, blue = [1, -1, -1], [-1, -1, 1]
    batch = task.test.batch(slice(0, 1))
    assert batch.source[0, :, 5, 5].tolist() == (blue if paints_left else red)
    assert batch.target[0, :, 5, 5].tolist() == (red if paints_left else blue)


def test_a_set_is_fetched_and_unpacked_once(server: Server) -> None:
    server.files["facades.tar.gz"] = File(facades())
    first = public_task("public:facades")
    assert len(server.log) == 1
    again = public_task("facades")  # the prefix may be left out
    assert (again.name, again.fingerprint) == (first.name, first.fingerprint)
    assert len(server.log) == 1


def test_two_at_once_fetch_it_once(server: Server) -> None:
    server.files["facades.tar.gz"] = File(facades(), stalls=0.1)
    with ThreadPoolExecutor(2) as pool:
        marks = [task.fingerprint for task in pool.map(public_task, ["facades", "facades"])]
    assert marks[0] == marks[1]
    assert len(server.log) == 1


def test_an_archive_put_there_by_hand_needs_no_network(cache: Path) -> None:
    cache.mkdir(parents=True)
    with pytest.raises(GancompError, match=r"'cityscapes.tar.gz' is not given away freely: .*GANCOMP_MIRROR"):
        public_task("public:cityscapes")
    (cache / "cityscapes.tar.gz").write_bytes(tarred_gz(side_by_side("cityscapes", {"train": 4, "val": 1})))
    assert len(public_task("public:cityscapes").test) == 1


def test_a_folder_that_somebody_else_made_is_left_alone(cache: Path) -> None:
    (cache / "facades").mkdir(parents=True)
    (cache / "facades" / "mine.txt").write_text("mine")
    with pytest.raises(GancompError, match="was not unpacked by gancomp; move it away, or read it with folder_task"):
        public_task("public:facades")
    assert (cache / "facades" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("size", [0, 16, 50])
def test_a_size_that_cannot_be_is_refused_before_anything_is_fetched(server: Server, size: int) -> None:
    with pytest.raises(GancompError, match=f"size {size} is not possible; it must be a multiple of 4 and at least 32"):
        public_task("public:DIV2K", size=size)
    assert not server.log


# --- super-resolution -------------------------------------------------------------------------------------------------


def photo_pair(width: int, height: int, seed: int, extra: int = 0) -> tuple[bytes, bytes, np.ndarray]:
    """Large and small: every small pixel is four by four of the large ones, which may have some more at the end."""
    small = noise(width // 4, height // 4, seed)
    large = np.pad(small.repeat(4, 0).repeat(4, 1), ((0, extra), (0, extra), (0, 0)))
    return png(large), png(small), large


def offer_div2k(server: Server, monkeypatch: pytest.MonkeyPatch, train: int = 12, **change: bytes) -> None:
    parts: dict[str, dict[str, bytes]] = {"train_HR": {}, "train_LR": {}, "valid_HR": {}, "valid_LR": {}}
    for number in range(1, train + 1):
        split = "train" if number <= train - 2 else "valid"
        large, small, _ = photo_pair(72, 104, number)
        parts[f"{split}_HR"][f"DIV2K_{split}_HR/{number:04}.png"] = large
        parts[f"{split}_LR"][f"DIV2K_{split}_LR_bicubic/X4/{number:04}x4.png"] = small
    files = {f"DIV2K_{part}{'_bicubic_X4' if part[-2] == 'L' else ''}": zipped(m) for part, m in parts.items()}
    offer(server, monkeypatch, "DIV2K", **(files | change))


def test_tiles_of_small_and_large_photos_belong_together(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_div2k(server, monkeypatch)
    task = public_task("public:DIV2K", size=32)
    assert (task.name, task.paired, task.size, task.scale) == ("public:DIV2K", True, 32, 4)
    assert [len(part) for part in (task.train, task.search, task.test)] == [9 * 6, 6, 2 * 6]  # 2 x 3 tiles a photo
    for part in (task.train, task.search, task.test):
        order = torch.randperm(len(part))
        small, large = part.sources[order], part.targets[order]
        assert (small.shape[1:], large.shape[1:]) == ((3, 8, 8), (3, 32, 32))
        assert torch.equal(small.repeat_interleave(4, 2).repeat_interleave(4, 3), large)
    everything = torch.cat([part.targets[:] for part in (task.train, task.search, task.test)])
    assert len({tile.numpy().tobytes() for tile in everything}) == len(everything)
    assert task.train.sources[torch.tensor([], dtype=torch.int64)].shape == (0, 3, 8, 8)


def test_the_grid_of_tiles_sits_in_the_middle(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_div2k(server, monkeypatch)
    task = public_task("public:DIV2K", size=32)
    large = torch.from_numpy(photo_pair(72, 104, 11)[2]).permute(2, 0, 1)  # 104 high: 4 left over above, 4 below
    assert torch.equal(task.test.targets[0:1][0], large[:, 4:36, 4:36])


def test_the_same_archives_give_the_same_fingerprint_and_another_size_another(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_div2k(server, monkeypatch)
    one, two, other = (public_task("public:DIV2K", size=size).fingerprint for size in (32, 32, 64))
    assert one == two != other


def benchmark_tar() -> bytes:
    members = {}
    for folder, extra in (("Set5", 0), ("Set14", 3)):
        for number in range(2):
            large, small, _ = photo_pair(64 + 4 * number, 64, number, extra)
            members[f"benchmark/{folder}/HR/photo{number}.png"] = large
            members[f"benchmark/{folder}/LR_bicubic/X4/photo{number}x4.png"] = small
            members[f"benchmark/{folder}/LR_bicubic/X2/photo{number}x2.png"] = small
    return tarred(members)


def test_benchmarks_come_in_one_archive_and_are_there_to_test_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["benchmark.tar"] = File(benchmark_tar())
    five, fourteen = public_task("public:Set5", size=32), public_task("public:Set14", size=64)
    assert len(server.log) == 1
    assert [len(part) for part in (five.train, five.search, five.test)] == [0, 0, 2 * 4]
    assert five.fingerprint != fourteen.fingerprint
    photos = list(public_photos("public:Set14"))  # their large ones are not quite four times as large
    assert [photo.name for photo in photos] == ["photo0", "photo1"]
    for photo in photos:
        assert torch.equal(photo.source.repeat_interleave(4, 2).repeat_interleave(4, 3), photo.target)


def test_whole_photos_of_a_set_without_photos_name_those_that_have_some() -> None:
    with pytest.raises(GancompError, match=r"'public:maps' has no small and large photos.*'public:Set5'") as error:
        next(public_photos("public:maps"))
    assert "facades" not in str(error.value)


def test_photos_that_do_not_belong_together_are_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    large, small, _ = photo_pair(64, 64, 0)
    lonely = zipped({"X4/0002x4.png": small})
    offer_div2k(server, monkeypatch, DIV2K_valid_HR=zipped({"0001.png": large}), DIV2K_valid_LR_bicubic_X4=lonely)
    with pytest.raises(GancompError, match=r"0001\.png has no partner; .*must hold '0001x4\.png'"):
        public_task("public:DIV2K", size=32)


def test_photos_of_other_proportions_are_named(server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    large, wrong = photo_pair(64, 64, 0)[0], photo_pair(96, 64, 0)[1]
    files = {"HR/a.png": large, "LR_bicubic/X4/ax4.png": wrong}
    server.files["benchmark.tar"] = File(tarred({f"benchmark/Set5/{name}": data for name, data in files.items()}))
    with pytest.raises(GancompError, match=r"a\.png is 64x64 and .*ax4\.png is 24x16; the first must be 4 times"):
        public_task("public:Set5", size=32)


def test_photos_smaller_than_a_tile_and_missing_ones_are_named(server: Server) -> None:
    server.files["benchmark.tar"] = File(benchmark_tar())
    with pytest.raises(GancompError, match=r"photo0\.png is 64x64, too small for a tile of 192; pass a smaller size"):
        public_task("public:Set5")
    with pytest.raises(GancompError, match=r"Urban100.*holds no pictures, so the archive is not the expected one"):
        public_task("public:Urban100")


def test_a_photo_damaged_on_disk_is_named(server: Server, cache: Path) -> None:
    server.files["benchmark.tar"] = File(benchmark_tar())
    task = public_task("public:Set5", size=32)
    photo = cache / "benchmark" / "benchmark" / "Set5" / "HR" / "photo0.png"
    photo.write_bytes(photo.read_bytes()[:300])
    with pytest.raises(GancompError, match=r"photo0\.png cannot be read .*; delete its folder"):
        task.test.targets[:]


# --- downloads --------------------------------------------------------------------------------------------------------


def fetched(cache: Path, file: str = "facades.tar.gz") -> bytes:
    return (cache / file).read_bytes()


def leftovers(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if not path.name.endswith(".lock")}


WHOLE = {"facades", "facades.tar.gz", "facades.tar.gz.sha256"}


# What the server does, at which share of the file it hangs up on each visitor, and with which statuses it answers.
TROUBLES = {
    "cuts once": ({}, [1 / 2], [200, 206]),
    "cuts more often than it is asked in vain": ({}, [1 / 10] * 8, [200] + [206] * 8),
    "knows no ranges": ({"knows_ranges": False}, [1 / 2], [200, 200]),
    "names no version": ({"etag": None}, [1 / 2], [200, 200]),
    "names a weak version": ({"etag": 'W/"weak"'}, [1 / 2], [200, 200]),
    "sends a part that was not asked for": ({"shift": 7}, [1 / 2], [200, 206, 200]),
    "calls it compressed": ({"headers": {"Content-Encoding": "gzip"}}, [1 / 2], [200, 206]),
    "does not say how long it is": ({"headers": {"Content-Length": None}}, [], [200]),
}


@pytest.mark.parametrize(("options", "cuts", "statuses"), TROUBLES.values(), ids=TROUBLES)
def test_a_file_arrives_whole(server: Server, cache: Path, options: dict, cuts: list, statuses: list) -> None:
    data = facades()
    server.files["facades.tar.gz"] = File(data, cuts=[int(share * len(data)) for share in cuts], **options)
    public_task("public:facades")
    assert fetched(cache) == data
    assert [status for status, _, _ in server.log] == statuses
    if statuses == [200, 206]:  # of what was sent before the cut, no more than one piece is sent again
        assert len(data) <= server.bytes_sent <= len(data) + downloads.PIECE
    assert leftovers(cache) == WHOLE


def backwards(data: bytes) -> bytes:
    return bytes(255 - byte for byte in data)


# What the server had when the first call was cut off, what is different when the next one comes, and its answers.
CHANGES = {
    "another file": (backwards, {}, {"etag": '"two"'}, [200]),
    "another file, ranges sent all the same": (backwards, {"heeds_if_range": False}, {"etag": '"two"'}, [206, 200]),
    "a rest that ends early and was of unknown length": (bytes, {}, {"headers": {"Content-Length": None}}, None),
    "a shorter file under the same name": (lambda data: data * 2, {}, {}, [416, 200]),
}


@pytest.mark.parametrize(("before", "options", "changes", "statuses"), CHANGES.values(), ids=CHANGES)
def test_parts_of_different_files_are_not_glued_together(
    server: Server, cache: Path, before: Callable, options: dict, changes: dict, statuses: list | None
) -> None:
    data, old = facades(), before(facades())
    cut = len(data) + 5000 if len(old) > len(data) else len(data) // 3
    file = server.files["facades.tar.gz"] = File(old, cuts=[cut, 0, 0, 0], **options)
    with pytest.raises(GancompError, match="could not be downloaded"):
        public_task("public:facades")
    file.data, file.cuts, server.log[:] = data, [] if statuses else [len(data) // 3], []
    for name, value in changes.items():
        setattr(file, name, value)
    public_task("public:facades")
    assert fetched(cache) == data
    assert statuses in (None, [status for status, _, _ in server.log])


def test_parts_of_two_mirrors_are_not_glued_together(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = facades()
    server.files["facades.tar.gz"] = File(b"x" * len(data), cuts=[len(data) // 2, 0, 0, 0])
    with pytest.raises(GancompError):
        public_task("public:facades")
    server.files["other/facades.tar.gz"] = File(data)
    monkeypatch.setenv("GANCOMP_MIRROR", f"{server.url}/other/")
    public_task("public:facades")
    assert fetched(cache) == data


def test_a_later_call_goes_on_too(server: Server, cache: Path) -> None:
    data = facades()
    file = server.files["facades.tar.gz"] = File(data, cuts=[len(data) // 2, 0, 0, 0])
    with pytest.raises(GancompError, match=r"facades\.tar\.gz could not be downloaded .*goes on after the 0\.0 MB"):
        public_task("public:facades")
    assert leftovers(cache) == {"facades.tar.gz.part", "facades.tar.gz.part.json"}
    file.cuts, server.log[:] = [], []
    public_task("public:facades")
    assert fetched(cache) == data
    assert [status for status, _, _ in server.log] == [206]
    assert server.bytes_sent <= len(data) - len(data) // 2 + downloads.PIECE
    assert leftovers(cache) == WHOLE


def test_a_part_that_is_whole_is_not_fetched_again(server: Server, cache: Path) -> None:
    data = facades()
    cache.mkdir(parents=True)
    (cache / "facades.tar.gz.part").write_bytes(data)
    note = f'{{"url": "{server.url}/facades.tar.gz", "total": {len(data)}, "validator": null}}'
    (cache / "facades.tar.gz.part.json").write_text(note)
    public_task("public:facades")
    assert not server.log
    assert leftovers(cache) == WHOLE


def test_a_wrong_file_is_refused_and_deleted(server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    right = zipped(horses())
    offer(server, monkeypatch, "horse2zebra", horse2zebra=right)
    server.files["horse2zebra.zip"].data = zipped(horses() | {"horse2zebra/trainA/more.png": png(noise(8, 8))})
    with pytest.raises(GancompError, match=r"horse2zebra\.zip sends another file than expected .*GANCOMP_MIRROR"):
        public_task("public:horse2zebra")
    assert leftovers(cache) == set()
    server.files["horse2zebra.zip"].data = right
    assert len(public_task("public:horse2zebra").test.sources) == 2


def test_an_archive_damaged_on_disk_is_fetched_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    right = zipped(horses())
    offer(server, monkeypatch, "horse2zebra", horse2zebra=right)
    cache.mkdir(parents=True)
    (cache / "horse2zebra.zip").write_bytes(right[:-100])
    public_task("public:horse2zebra")
    assert fetched(cache, "horse2zebra.zip") == right


def test_without_a_published_checksum_the_first_good_download_sets_it(server: Server, cache: Path) -> None:
    server.files["facades.tar.gz"] = File(facades())
    public_task("public:facades")
    digest = hashlib.sha256(fetched(cache)).hexdigest()
    assert (cache / "facades.tar.gz.sha256").read_text() == f"{digest}  facades.tar.gz\n"
    shutil.rmtree(cache / "facades")
    (cache / "facades.tar.gz").unlink()
    server.files["facades.tar.gz"] = File(tarred_gz(side_by_side("facades", {"train": 5, "val": 2, "test": 2})))
    with pytest.raises(
        GancompError, match=r"another file than expected .* or delete .*facades\.tar\.gz\.sha256 if you"
    ):
        public_task("public:facades")
    (cache / "facades.tar.gz.sha256").unlink()
    assert len(public_task("public:facades").test) == 2


@pytest.mark.parametrize("content", [b"", b"<html>We have moved.</html>"])
def test_a_page_instead_of_an_archive_is_no_archive_and_sets_no_checksum(
    server: Server, cache: Path, content: bytes
) -> None:
    file = server.files["facades.tar.gz"] = File(content)
    with pytest.raises(
        GancompError, match=r"facades\.tar\.gz is damaged or cut off .*it was deleted, set GANCOMP_MIRROR"
    ):
        public_task("public:facades")
    assert leftovers(cache) == set()
    file.data = facades()
    public_task("public:facades")


def test_a_damaged_archive_put_there_by_hand_is_not_deleted(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "facades.tar.gz").write_bytes(facades()[:-2000])
    with pytest.raises(GancompError, match=r"is damaged or cut off .*; delete it, and the next call fetches it again"):
        public_task("public:facades")
    assert leftovers(cache) == {"facades.tar.gz"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *(({"statuses": [status]}, rf"\(the server answers {status}") for status in (403, 404, 410)),
        ({"headers": {"Content-Length": str(10**16)}}, r"could not be written \(10,000,000,000 MB do not fit\)"),
        ({"stalls": 0.4}, r"could not be downloaded \(no answer within 0\.1 s\)"),
    ],
    ids=["forbidden", "not found", "gone", "larger than the disk", "silent"],
)
def test_a_file_that_cannot_be_had_is_told_and_asked_for_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, options: dict, words: str
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_S", (1.0, 0.1))
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    server.files["facades.tar.gz"] = File(b"" if "stalls" not in options else facades(), **options)
    with pytest.raises(GancompError, match=rf"facades\.tar\.gz .*{words}"):
        public_task("public:facades")
    assert len(server.log) == 1 or "stalls" in options


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: Server, cache: Path, status: int) -> None:
    data = facades()
    file = server.files["facades.tar.gz"] = File(data, statuses=[status] * downloads.ATTEMPTS)
    with pytest.raises(GancompError, match=rf"the server answers {status} .*check the network and call again"):
        public_task("public:facades")
    assert len(server.log) == downloads.ATTEMPTS
    file.statuses = [status, status]
    public_task("public:facades")
    assert fetched(cache) == data


def test_a_server_that_cannot_be_reached_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Server()
    closed.server_close()
    monkeypatch.setenv("GANCOMP_MIRROR", closed.url)
    with pytest.raises(GancompError) as error:
        public_task("public:facades")
    words = str(error.value)
    assert words.startswith(f"{closed.url}/facades.tar.gz could not be downloaded (the server cannot be reached);")
    assert "set GANCOMP_MIRROR to the address of another folder that holds facades.tar.gz." in words
    assert words.count("\n") == 0


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="for root every folder can be written to")
def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(GancompError, match="could not be written .*GANCOMP_CACHE"):
        public_task("public:facades")


def test_a_cache_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(GancompError, match="could not be written .*set GANCOMP_CACHE to a folder"):
        public_task("public:facades")


@pytest.mark.parametrize("mirror", ["example.org/sets", "ftp://example.org", "/mnt/sets"])
def test_a_mirror_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, mirror: str) -> None:
    monkeypatch.setenv("GANCOMP_MIRROR", mirror)
    with pytest.raises(GancompError, match=f"GANCOMP_MIRROR is '{mirror}'; it must be the address of a folder"):
        public_task("public:facades")


def test_without_a_mirror_the_address_is_that_of_the_authors(cache: Path) -> None:
    archive = public._SETS["horse2zebra"].archives[0]
    expected = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/horse2zebra.zip"
    assert downloads._address(archive, cache) == expected


# --- archives that mean harm ------------------------------------------------------------------------------------------


def packed(tmp_path: Path, data: bytes, kind: str) -> Path:
    path = tmp_path / "inbox" / f"set.{kind}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def refused(tmp_path: Path, data: bytes, kind: str) -> str:
    """The words with which an archive is refused, when nothing of it came to the disk."""
    archive, folder = packed(tmp_path, data, kind), tmp_path / "deep" / "er" / "set"
    with pytest.raises(archives.BadArchive) as error:
        unpack(archive, folder, {})
    left = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    assert left == {tmp_path / "inbox", archive, tmp_path / "deep", tmp_path / "deep" / "er"}
    assert str(archive) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", PACKERS)
def test_an_honest_archive_is_unpacked_whole(tmp_path: Path, kind: str) -> None:
    members = {"a/b/c.txt": b"c" * 5000, "./a/d.txt": b"", "e.bin": bytes(range(256)) * 30}
    folder = tmp_path / "set"
    unpack(packed(tmp_path, PACKERS[kind](members), kind), folder, {"sha256": "0"})
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found.pop(archives.MARKER) == b'{"sha256": "0"}'
    assert found == {name.removeprefix("./"): data for name, data in members.items()}


ESCAPES = {
    "../evil.txt": "leads out",
    "a/../../evil.txt": "leads out",
    "a/..": "leads out",
    "/tmp/evil.txt": "leads out",
    "//server/share/evil.txt": "leads out",
    "C:/evil.txt": "backslash, a colon",
    "..\\evil.txt": "backslash, a colon",
    "good.txt:stream": "backslash, a colon",
    "evil\n.txt": "control character",
    "evil./x.txt": "not allowed",
    "evil .": "not allowed",
    ".GanComp.json": "not allowed",
}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", ESCAPES)
def test_a_member_that_leads_out_is_refused_and_named(tmp_path: Path, kind: str, name: str) -> None:
    words = refused(tmp_path, PACKERS[kind]({"good.png": b"good", name: b"evil"}), kind)
    assert f"because its member {name!r}" in words
    assert ESCAPES[name] in words


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/x.png", "a/X.png"),
        ("a/x.png", "A/y.png"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("a", "a/x.png"),
        ("a/x.png", "a"),
        ("a", "a"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_that_are_one_file_on_some_system_are_refused(
    tmp_path: Path, kind: str, first: str, second: str
) -> None:
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as archive:
            for name in (first, second):
                archive.writestr(name, b"data")
    else:
        with tarfile.open(fileobj=data, mode="w:gz" if kind == "tar.gz" else "w") as archive:
            for name in (first, second):
                archive.addfile(tarfile.TarInfo(name))
    words = refused(tmp_path, data.getvalue(), kind)
    assert "stands in the way" in words or "is there twice" in words


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    "type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: str, type_: bytes) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz" if kind == "tar.gz" else "w") as archive:
        archive.addfile(tarfile.TarInfo("good.txt"))
        info = tarfile.TarInfo("link")
        info.type, info.linkname = type_, "good.txt"  # links inside the folder too: pictures need none
        archive.addfile(info)
    assert "'link' is a link or a device" in refused(tmp_path, data.getvalue(), kind)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "'link' is a link or a device" in refused(tmp_path, data.getvalue(), "zip")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"secret"}))
    central = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[central + 8] |= 1
    assert "'a.png' is encrypted" in refused(tmp_path, bytes(data), "zip")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_small_archive_that_unpacks_to_a_huge_one_is_stopped(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "RATIO_FROM", 10**5)
    members = {"bomb.png": bytes(5 * 10**6)}
    data = zipped(members, zipfile.ZIP_DEFLATED) if kind == "zip" else tarred_gz(members)
    assert "'bomb.png' makes it unpack to more than 30 GB or 100 times its size" in refused(tmp_path, data, kind)


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_of_too_many_bytes_or_files_is_stopped(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PACKERS[kind]({f"{index}.bin": bytes(1000) for index in range(20)})
    monkeypatch.setattr(archives, "MAX_UNPACKED", 15_000)
    assert "unpack to more than" in refused(tmp_path, data, kind)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 10**9)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    assert "is one of more than 10" in refused(tmp_path, data, kind)


@pytest.mark.parametrize("pieces", [1, 60])
def test_headers_of_a_tar_count_too(tmp_path: Path, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """tarfile reads them into memory in one piece, however long they claim to be."""
    monkeypatch.setattr(archives, "RATIO_FROM", 10**6)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for index in range(pieces):
            info = tarfile.TarInfo(f"{index}.txt")
            info.pax_headers = {"comment": "x" * (6 * 10**6 // pieces)}
            archive.addfile(info)
    words = refused(tmp_path, data.getvalue(), "tar.gz")
    assert ("a header of more than 1 MB" if pieces == 1 else "makes it unpack to more than") in words


@pytest.mark.parametrize("code", ["EINVAL", "ENAMETOOLONG", "EILSEQ", "LZMA"])
def test_what_only_an_odd_archive_causes_is_not_blamed_on_the_disk(tmp_path: Path, monkeypatch, code: str) -> None:
    def fail(*_: object) -> None:
        raise lzma.LZMAError("odd") if code == "LZMA" else OSError(getattr(errno, code), "odd")

    monkeypatch.setattr(archives, "_zipped", fail)
    assert "is damaged or cut off" in refused(tmp_path, zipped({"a.png": b""}), "zip")


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_cut_anywhere_is_damaged(tmp_path: Path, kind: str) -> None:
    members = {f"{index}.bin": noise(10, 10, index).tobytes() for index in range(10)}
    data = PACKERS[kind](members)
    end = len(data) - 1
    if kind == "tar":  # all that follows is more zeros than are needed
        end = 10 * (512 + 512) + 511
    for length in {*range(0, end, 512), *range(100, end, 997), end}:  # also exactly between two members of a tar
        assert "is damaged or cut off" in refused(tmp_path, data[:length], kind), length


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_flipped_bit_is_damage(tmp_path: Path, kind: str) -> None:
    data = bytearray(PACKERS[kind]({"noise.bin": noise(40, 40).tobytes()}))
    data[len(data) // 2] ^= 4
    assert "is damaged" in refused(tmp_path, bytes(data), kind)


def test_an_archive_that_tries_to_escape_is_refused_and_deleted_after_its_download(
    server: Server, cache: Path, tmp_path: Path
) -> None:
    server.files["facades.tar.gz"] = File(tarred_gz({"facades/train/a.png": b"", "../../../evil.txt": b"evil"}))
    with pytest.raises(
        GancompError,
        match=r"facades\.tar\.gz is refused, because its member '\.\./.*; it was deleted, set GANCOMP_MIRROR",
    ):
        public_task("public:facades")
    assert leftovers(cache) == set()
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_stands_at_the_place_of_unpacking_is_in_nobodys_way(tmp_path: Path, kind: str) -> None:
    """Planted by another user of a shared cache: what a link leads to stays as it is."""
    victim, planted = tmp_path / "victim", tmp_path / ".set.unpacking"
    victim.mkdir()
    (victim / "mine").touch()
    if kind == "file":
        planted.touch()
    else:
        planted.symlink_to(victim if kind == "link" else tmp_path / "nowhere")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    archives.unpack(tmp_path / "set.zip", tmp_path / "set", {})
    assert (tmp_path / "set" / "a.txt").read_text() == "a"
    assert [path.name for path in victim.iterdir()] == ["mine"]


def test_what_a_killed_unpacking_left_behind_is_cleared_away(server: Server, cache: Path) -> None:
    server.files["facades.tar.gz"] = File(facades())
    (cache / ".facades.unpacking" / "facades" / "train").mkdir(parents=True)
    (cache / ".facades.unpacking" / "facades" / "train" / "0.png").write_bytes(b"half")
    assert len(public_task("public:facades").test) == 3
    assert leftovers(cache) == WHOLE
