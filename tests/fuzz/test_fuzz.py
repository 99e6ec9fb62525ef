"""A sample of what `make fuzz` does, and every case that it once found."""

from __future__ import annotations

import multiprocessing
import os
import random

import fuzz_mutators
import fuzzing
import pytest
from onnx import ModelProto

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


@pytest.mark.parametrize("field", ["", "dims", "int32_data", "uint64_data"])
@pytest.mark.parametrize("number", [0, 2**31 - 1])
def test_an_onnx_file_without_fields_or_with_a_number_at_the_edge_of_its_type_can_be_damaged(field, number):
    model = ModelProto()
    if field:
        edge = 2**63 - 1 if number and field == "dims" else number
        getattr(model.graph.initializer.add(), field).append(edge)
    data = model.SerializeToString()
    damaged = [fuzz_mutators.in_onnx(random.Random(seed), data) for seed in range(200)]
    assert all(isinstance(each, bytes) for each in damaged)
    assert len(set(damaged)) > 1


class Broken:
    """A process whose harness failed before it had a case."""

    pid, exitcode = os.getpid(), 1

    def kill(self):
        pass

    def join(self):
        pass


def test_a_failure_of_the_harness_is_told_and_the_next_case_gets_another_process():
    ours, theirs = multiprocessing.Pipe()
    worker = fuzzing.Worker(Broken(), ours)
    theirs.send(fuzzing.Outcome("FAILED", "the harness: it broke"))
    outcome = worker.judge("pictures", 7, 3)
    assert (outcome.kind, outcome.said, outcome.data) == ("FAILED", "the harness: it broke", b"")
    assert worker.process is None


class Counting:
    """Judges nothing: the third case of a reader fails, and the run may be ended before a case."""

    def __init__(self, ends_before=10**9):
        self.asked, self.ends_before = [], ends_before

    def readers(self):
        return {"pictures": (0, []), "onnx": (0, [])}

    def judge(self, name, seed, number):
        if len(self.asked) == self.ends_before:
            raise KeyboardInterrupt
        self.asked.append((name, seed, number))
        return fuzzing.Outcome("FAILED", "it broke") if number == 2 else fuzzing.Outcome("value")

    def end(self):
        pass


def test_a_run_with_a_record_takes_turns_and_goes_on_where_it_was_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "TURN", 2)
    path = tmp_path / "record.json"
    first, second = Counting(ends_before=5), Counting()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fuzzing, "Worker", lambda: first)
        fuzzing.run(fuzzing.Record.of(path, 7), [], 0, 5)
    monkeypatch.setattr(fuzzing, "Worker", lambda: second)
    record = fuzzing.Record.of(path, None)
    fuzzing.run(record, [], 0, 5)
    assert [name for name, _, _ in first.asked] == ["pictures"] * 2 + ["onnx"] * 2 + ["pictures"]
    assert set(first.asked[:4] + second.asked) == {(name, 7, n) for name in ("pictures", "onnx") for n in range(5)}
    assert len(first.asked[:4] + second.asked) == 10, "only an unfinished turn is done again"
    assert "| onnx | 5 | 4 | 0 | 1 |" in fuzzing.Record.of(path, 7).table()
    with pytest.raises(SystemExit, match="holds a run with seed 7"):
        fuzzing.Record.of(path, 8)
