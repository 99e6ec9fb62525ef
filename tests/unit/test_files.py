"""Files are written whole or not at all, and what goes wrong is told in one sentence."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import is_one_sentence
from gancomp_core import files
from gancomp_core.errors import GancompError, TrainingDiverged

ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows has neither these limits nor these permissions")


def child(code: str, *arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", "import sys\nfrom gancomp_core import files\n" + code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=files.REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


# ---- writing ------------------------------------------------------------------------------------------------------


def test_written_file_holds_what_was_written_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "weights.bin"
    with files.atomic_write(target) as temporary:
        temporary.write_bytes(b"new")
        assert not target.exists(), "the name appears only when the file is complete"
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["weights.bin"]


def test_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with files.atomic_write(tmp_path / "table.parquet") as temporary:
        assert temporary.suffix == ".parquet", "writers choose the format by the suffix"


@ON_POSIX
def test_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    with files.atomic_write(tmp_path / "weights.bin") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "weights.bin").stat().st_mode & 0o444 == 0o444


def test_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half-way"), files.atomic_write(target) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError("half-way")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights.bin"]


# ---- killed -------------------------------------------------------------------------------------------------------


def test_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")
    writer = child(
        "import time\n"
        "with files.atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'ne')\n"
        "    print('half-way', flush=True)\n"
        "    time.sleep(60)\n",
        target,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == "half-way"
    writer.kill()
    writer.communicate()
    assert target.read_bytes() == b"old"


def test_process_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(bytes(1_000_000))
    moments = random.Random(0)
    for _ in range(8):
        writer = child(
            "print('start', flush=True)\n"
            "for version in range(1_000_000):\n"
            "    with files.atomic_write(sys.argv[1]) as temporary:\n"
            "        temporary.write_bytes(bytes([version % 256]) * 1_000_000)\n",
            target,
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(moments.uniform(0.005, 0.1))
        writer.kill()
        writer.communicate()
        content = target.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1, "two versions are mixed"


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its half-written file and its temporary folder; those of processes that run stay."""
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    target = tmp_path / "weights.bin"
    writer = child(
        "import tempfile, time\n"
        "tempfile.tempdir = sys.argv[2]\n"
        "with files.scratch() as folder, files.atomic_write(sys.argv[1]) as temporary:\n"
        "    (folder / 'part').write_bytes(b'x')\n"
        "    print('half-way', flush=True)\n"
        "    time.sleep(60)\n",
        target, tmp_path,
    )  # fmt: skip
    assert writer.stdout is not None
    assert writer.stdout.readline().strip() == "half-way"
    for left in (2, 0):
        with files.scratch(), files.atomic_write(target) as temporary:
            temporary.write_bytes(b"new")
        assert len(os.listdir(tmp_path)) == 1 + left
        writer.kill()
        writer.communicate()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GancompError) as caught, files.locked(tmp_path / "file" / "lock"):
        pass
    assert is_one_sentence(str(caught.value))


# ---- disk full ----------------------------------------------------------------------------------------------------


def save_five_megabytes(write: str) -> str:
    """Program that replaces an old file, tells the error, and lists what lies in the folder afterwards."""
    return f"""
from pathlib import Path
from gancomp_core.errors import GancompError
folder = Path(sys.argv[1])
target = folder / "weights.bin"
target.write_bytes(b"old")
try:
    with files.atomic_write(target) as temporary:
        {write}
except GancompError as error:
    print(error)
assert target.read_bytes() == b"old"
print(sorted(path.name for path in folder.iterdir()))
"""


WRITERS = {
    "bytes": "temporary.write_bytes(bytes(5_000_000))",
    "safetensors": "import safetensors.torch as st, torch; st.save_file({'a': torch.zeros(2_000_000)}, temporary)",
    "torch": "import torch; torch.save(torch.zeros(2_000_000), temporary)",
    "parquet": "import numpy as np, pandas as pd; "
    "pd.DataFrame({'a': np.random.default_rng(0).normal(size=2_000_000)}).to_parquet(temporary)",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk_is_told_and_the_old_file_stays(writer: str, tmp_path: Path) -> None:
    """A disk of one megabyte, in a mount namespace of the child's own."""
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=1m none "$0"'
    if not shutil.which("unshare") or subprocess.run([*inside, mount, str(tmp_path)], capture_output=True).returncode:
        pytest.skip("this system lets no test mount a small disk of its own")
    code = "import sys\nfrom gancomp_core import files\n" + save_five_megabytes(WRITERS[writer])
    script = mount + ' && exec "$1" -c "$2" "$0"'
    done = subprocess.run(
        [*inside, script, str(tmp_path), sys.executable, code], cwd=files.REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    message, left = done.stdout.strip().splitlines()
    assert message.startswith("The disk is full")
    assert str(tmp_path / "weights.bin") in message
    assert is_one_sentence(message)
    assert left == "['weights.bin']"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_full_device_is_told(tmp_path: Path) -> None:
    with pytest.raises(GancompError, match=r"^The disk is full: .*weights\.bin"):
        with files.atomic_write(tmp_path / "weights.bin"), open("/dev/full", "wb") as full:
            full.write(b"new")
    assert os.listdir(tmp_path) == []


@ON_POSIX
def test_file_over_the_size_limit_is_told_and_the_old_file_stays(tmp_path: Path) -> None:
    """As with a full disk, the kernel stops the write half-way; this limit every POSIX system has."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    output, errors = child(limit + save_five_megabytes(WRITERS["bytes"]), tmp_path).communicate()
    assert errors == ""
    message, left = output.strip().splitlines()
    assert "weights.bin could not be written" in message
    assert is_one_sentence(message)
    assert left == "['weights.bin']"


# ---- no permission ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Permissions do not bind root: step down while the block runs."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@ON_POSIX
def test_folder_without_write_permission_is_told(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")
    tmp_path.chmod(0o555)
    try:
        with as_ordinary_user(), pytest.raises(GancompError, match="No permission to write .*weights.bin") as caught:
            with files.atomic_write(target) as temporary:
                temporary.write_bytes(b"new")
    finally:
        tmp_path.chmod(0o755)
    assert is_one_sentence(str(caught.value))
    assert target.read_bytes() == b"old"


def test_path_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(GancompError, match="could not be written") as caught:
        with files.atomic_write(tmp_path / "file" / "weights.bin"):
            pass
    assert is_one_sentence(str(caught.value))
    assert (tmp_path / "file").read_bytes() == b"old"


# ---- places, checksums, messages ----------------------------------------------------------------------------------


def test_missing_data_folder_names_the_variable_that_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(GancompError, match=r"nowhere.*GANCOMP_DATA") as caught:
        files.data_root()
    assert is_one_sentence(str(caught.value))


def test_folders_lie_where_the_variables_say_and_in_the_checkout_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "data").mkdir()
    for variable, root, usual in (
        ("GANCOMP_CACHE", files.cache_root, files.REPOSITORY / ".cache"),
        ("GANCOMP_DATA", files.data_root, files.REPOSITORY / "data"),
    ):
        monkeypatch.setenv(variable, "~/data")
        assert root() == tmp_path / "data"
        for unset in ("", "  "):
            monkeypatch.setenv(variable, unset)
            assert root() == usual
        monkeypatch.delenv(variable)
        assert root() == usual
    monkeypatch.setenv("GANCOMP_CACHE", "elsewhere")
    assert files.cache_root() == Path("elsewhere")


@pytest.mark.parametrize("name", ["nowhere", "n" * 5000, "~nobody-of-this-name/data"])
def test_impossible_data_folder_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCOMP_DATA", name)
    with pytest.raises(GancompError, match="does not exist; set GANCOMP_DATA"):
        files.data_root()


def test_sha256_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("checkpoint", "expected"), [("last.ckpt", "last.ckpt"), (None, "no checkpoint was written yet")]
)
def test_diverged_training_names_step_term_value_and_checkpoint(checkpoint: str | None, expected: str) -> None:
    error = TrainingDiverged(step=120, term="gan", value=float("nan"), checkpoint=checkpoint)
    assert isinstance(error, GancompError)
    for part in ("120", "'gan'", "nan", expected):
        assert part in str(error)


def test_what_stands_between_two_marks_is_replaced_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before <!-- a -->\nold\n<!-- b --> after\n", encoding="utf-8")
    files.write_between(page, "<!-- a -->", "<!-- b -->", "new\n")
    assert page.read_text(encoding="utf-8") == "before <!-- a -->\nnew\n<!-- b --> after\n"
    with pytest.raises(GancompError, match="has no place for the table; put <!-- c --> and <!-- b --> into it"):
        files.write_between(page, "<!-- c -->", "<!-- b -->", "new\n")
