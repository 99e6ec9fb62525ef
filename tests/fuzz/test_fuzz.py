"""A sample of what `make fuzz` does, and every case that it once found."""

from __future__ import annotations

import fuzzing
import pytest

SEED = 27


@pytest.fixture(scope="module")
def worker():
    found = fuzzing.Worker()
    yield found
    found.end()


def test_every_reader_reads_its_seeds_and_gives_or_refuses_what_is_damaged(worker):
    failures, refused = [], {}
    for name, (seeds, numbers) in worker.readers().items():
        for number in numbers:
            outcome = worker.judge(name, SEED, number)
            refused[name] = refused.get(name, 0) + (outcome.kind == "refused")
            if outcome.kind == "FAILED" or (number < seeds and outcome.kind != "value" and name != "commands"):
                failures.append(f"{name} --seed {SEED} --first {number}: {outcome.kind} {outcome.said}")
    assert not failures, "\n".join(failures)
    assert all(refused.values()), (
        f"readers that refused nothing: {[name for name, count in refused.items() if not count]}"
    )


def test_every_case_that_was_once_found_is_read_or_refused(worker):
    found = sorted(path for path in fuzzing.CORPUS.glob("*/*"))
    outcomes = {path: worker.judge(path.parent.name, path.read_bytes()) for path in found}
    failures = [f"{path}: {outcome.said}" for path, outcome in outcomes.items() if outcome.kind == "FAILED"]
    assert found
    assert not failures, "\n".join(failures)


def _writes_outside(data, folder):
    (folder.parent / "outside").write_text("x")


def _runs(data, folder):
    import subprocess

    subprocess.run(["true"], check=False)


def _raises(data, folder):
    return {}["key"]


def _is_silent(data, folder):
    return None


@pytest.mark.parametrize(
    ("read", "expected"),
    [(_writes_outside, "open"), (_runs, "subprocess.Popen"), (_raises, "KeyError"), (_is_silent, "")],
)
def test_what_breaks_the_rule_is_found(tmp_path, monkeypatch, read, expected):
    monkeypatch.setattr(fuzzing, "limit_memory", lambda: None)  # of this process
    monkeypatch.setattr(fuzzing.tempfile, "tempdir", None)
    (tmp_path / "case").mkdir()
    outcome = fuzzing.judged(read, b"", tmp_path / "case", fuzzing.Watch())
    assert expected in outcome.said
    assert (outcome.kind == "FAILED") == bool(expected)
