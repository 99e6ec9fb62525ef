"""A download and an unpacking that really get killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from test_data_public import File, Server, noise, png, side_by_side, tarred_gz  # noqa: E402

from gancomp_core.data.archives import unpack  # noqa: E402
from gancomp_core.data.public import public_task  # noqa: E402


def kill_once(reached: Callable[[], bool], command: str, *arguments: object) -> None:
    """Start Python on ``command``, kill -9 it as soon as ``reached``."""
    process = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, arguments)], env=os.environ, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not reached():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()


def test_a_killed_download_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tarred_gz(side_by_side("facades", {"train": 4, "val": 1}) | {"facades/test/0.png": png(noise(1200, 600))})
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        for name, value in {"CACHE": str(tmp_path), "MIRROR": server.url}.items():
            monkeypatch.setenv(f"GANCOMP_{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        file = server.files["facades.tar.gz"] = File(data, trickles=0.02)
        part = tmp_path / "datasets" / "facades.tar.gz.part"
        command = "from gancomp_core.data.public import public_task; public_task('public:facades')"
        kill_once(lambda: part.exists() and part.stat().st_size > len(data) // 4, command)
        had = part.stat().st_size
        assert had < len(data), "the kill came too late to prove anything"
        file.trickles = 0
        assert len(public_task("public:facades").test) == 1
        server.shutdown()
    assert (tmp_path / "datasets" / "facades.tar.gz").read_bytes() == data
    assert server.log[-1] == (206, had, len(data) - had)


def test_a_killed_unpacking_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    archive, folder, count = tmp_path / "set.zip", tmp_path / "set", 1500
    with zipfile.ZipFile(archive, "w") as packing:
        for index in range(count):
            packing.writestr(f"train/{index}.txt", str(index))
    half = tmp_path / ".set.unpacking" / "train" / "100.txt"
    command = (
        "import sys; from pathlib import Path; from gancomp_core.data.archives import unpack; "
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]), {})"
    )
    kill_once(half.exists, command, archive, folder)
    assert half.parent.exists()
    assert not folder.exists(), "the kill came too late to prove anything"
    unpack(archive, folder, {})
    assert not half.parent.parent.exists()
    assert {path.name: path.read_text() for path in (folder / "train").iterdir()} == {
        f"{index}.txt": str(index) for index in range(count)
    }
