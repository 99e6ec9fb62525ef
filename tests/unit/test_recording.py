"""How experiments are done: trained, killed and resumed, evaluated, and written down once."""

import dataclasses
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from gancomp_core.cli import main
from gancomp_core.data import load_task, more_photos, whole_photos
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.lab import PROTOCOLS, Experiment, catalogue, do, find, generator_of, names, record, recording, results
from gancomp_core.measure import cost, evaluate_super_resolution
from gancomp_core.nets import ResnetArchitecture

TINY = {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}


def an_experiment(kind="plain", task="edges2shoes", seed=0, steps=8, **spec):
    whole = catalogue.whole(spec or {"network": TINY}, task)
    return Experiment(name="tiny", kind=kind, task=task, spec={**whole, "steps": steps}, seed=seed)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store: shipped pictures and features, but results and cache of the test's own."""
    for name in ("edges2shoes", "features", "zoo", "photos", "photos_more"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(data_root() / name, target_is_directory=True)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path / "cache"))
    quick = {"steps": 8, "batch_size": 2, "evaluations": 2, "evaluation_seeds": (0,)}
    for task in ("edges2shoes", "edges2shoes_unpaired"):
        monkeypatch.setitem(PROTOCOLS, task, dataclasses.replace(PROTOCOLS[task], **quick))
    original = recording.evaluate_generator
    monkeypatch.setattr(
        recording, "evaluate_generator", lambda *a, **k: original(*a, **k, n=24)
    )  # speed; the real measure
    return tmp_path


def test_an_experiment_done_once_is_never_repeated(store):
    first = record(an_experiment())
    started = time.perf_counter()
    again = record(an_experiment())
    assert again["key"] == first["key"]
    assert again["when"] == first["when"]
    assert time.perf_counter() - started < 1
    assert len(results.rows()) == 1


def test_a_row_carries_result_cost_and_provenance(store):
    row = record(an_experiment())
    for name in (
        "fd_last",
        "fd_best",
        "fd_floor_last",
        "psnr_last",
        "minutes",
        "macs",
        "precision",
        "machine",
        "commit",
    ):
        assert row[name] not in (None, ""), name
    assert row["seed"] == 0
    found = find("edges2shoes", "plain", network=TINY)
    assert found.fd_last.iloc[0] == row["fd_last"]
    assert row["best_step"] in (4, 8)
    assert row["band_level_1_last"] > row["band_low_last"] > 0


def test_a_plan_goes_on_where_it_stopped(store, monkeypatch):
    plan = {"kind": "plain", "network": TINY, "steps": 8, "seeds": 2}
    monkeypatch.setitem(catalogue.LIST["runs"], "edges2shoes/tiny", plan)
    record(an_experiment())
    done = do("edges2shoes/tiny")
    assert list(done.seed) == [0, 1]
    assert sorted(results.rows().seed) == [0, 1]


def test_other_pictures_than_those_of_the_protocol_are_refused(store, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "edges2shoes", dataclasses.replace(PROTOCOLS["edges2shoes"], pictures="0" * 64))
    with pytest.raises(GancompError, match=r"others than those of its protocol; .* into experiments\.yml"):
        record(an_experiment())


KILLED = """
import dataclasses
from gancomp_core.lab import PROTOCOLS, Experiment, catalogue, record, recording
quick = {"steps": 60, "batch_size": 2, "evaluations": 2, "evaluation_seeds": (0,)}
PROTOCOLS["edges2shoes"] = dataclasses.replace(PROTOCOLS["edges2shoes"], **quick)
original = recording.evaluate_generator
recording.evaluate_generator = lambda *a, **k: original(*a, **k, n=24)
spec = catalogue.whole({"network": {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}}, "edges2shoes")
print(record(Experiment(name="killed", kind="plain", task="edges2shoes", spec=spec))["fd_last"])
"""


def test_a_killed_run_resumes_to_the_same_row(store, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((store / "cache").glob("runs/*/training.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill() if sys.platform == "win32" else process.send_signal(signal.SIGKILL)
    process.wait()
    assert results.rows().empty
    resumed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    monkeypatch.setenv("GANCOMP_CACHE", str(store / "fresh"))
    (store / "data/results/results.parquet").unlink()
    straight = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    assert resumed.stdout == straight.stdout != ""


def test_only_comparable_rows_count_as_seeds(store):
    rows = pd.DataFrame([record(an_experiment(seed=seed)) for seed in range(2)])
    old, other = rows.iloc[:1].copy(), rows.iloc[:1].copy()
    old["protocol"], other["precision"] = 0, "64-true"
    smoke = pd.DataFrame([record(an_experiment(steps=4))])
    odd = pd.concat([old, other]).assign(key=["a", "b"])
    pd.concat([rows, smoke, odd]).to_parquet(store / "data/results/results.parquet")
    found = find("edges2shoes", "plain", network=TINY)
    assert list(found.seed) == [0, 1]
    assert list(find("edges2shoes", "plain", precision="64-true", network=TINY).key) == ["b"]


def test_an_experiment_needs_no_git(store, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert record(an_experiment())["commit"] == "unknown"


SPACE = {"base": TINY, "channels": [[8], *[[8, 4]] * 6, [8]], "depths": [1]}
SMALL = {"channels": "16_8_8_4_4_4_8_16", "blocks": 3}
TAUGHT = {"base": SMALL, "channels": [[16], *[[8, 4]] * 2, *[[4]] * 3, [8, 4], [16]], "depths": [3]}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("supernet", {"how": "all at once", "space": SPACE, "network": TINY}),
        ("supernet", {"how": "progressive shrinking", "space": TAUGHT, "network": SMALL}
                   | {"teacher": "edges2shoes/teacher"}),
        ("fine-tuned", {"supernet": "edges2shoes/supernet", "network": SMALL}),
        ("pruned", {"teacher": "edges2shoes/teacher", "network": SMALL}),
        ("distilled", {"teacher": "edges2shoes/teacher", "network": SMALL}),
        ("distilled", {"teacher": "edges2shoes/teacher", "network": SMALL, "critic": "teacher", "begin": "l1"}
                    | {"terms": {"wavelet_kd": {"weight": 5, "levels": 2}, "feature_kd": {"weight": 0.5}}}
                    | {"taps": {"up1": "up1"}}),
    ],
)  # fmt: skip
def test_every_kind_trains_the_network_of_its_specification(store, kind, spec):
    row = record(an_experiment(kind, steps=4, **spec))
    network = ResnetArchitecture(**spec["network"], in_channels=1, out_channels=1)
    assert row["macs"] == cost(network, 32, 32).macs
    found = find("edges2shoes", kind, steps=4, **spec)
    assert list(found.key) == [row["key"]]
    with pytest.raises(GancompError, match="No run"):
        find("edges2shoes", kind, **spec)  # the protocol's number of steps


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("cyclegan", {"network": TINY}),
        ("distilled", {"teacher": "edges2shoes_unpaired/teacher", "network": SMALL, "reconstruction": 10}
                    | {"critic": "teacher", "terms": {"feature_kd": {"weight": 0.1}}}),
    ],
)  # fmt: skip
def test_unpaired_tasks_are_scored_in_their_hidden_pairs(store, kind, spec):
    row = record(an_experiment(kind, "edges2shoes_unpaired", steps=4, **spec))
    assert row["psnr_last"] > 0
    assert row["fd_last"] > row["fd_floor_last"]
    assert ("taught_psnr_last" in row) == (kind == "distilled")


def test_enlarging_networks_are_scored_on_twenty_photos(store):
    asked = an_experiment("super-resolution", "photos_x4", steps=1, network=ENLARGER)
    row, generator = record(asked), generator_of(asked)
    assert row["macs"] == cost(generator.architecture, 48, 48).macs
    assert row["photos_last"] == 20
    assert row["mse_y_last"] == pytest.approx(10 ** (-row["psnr_y_photos_last"] / 10))
    task = load_task("photos_x4")
    parts = [evaluate_super_resolution(generator, task, photos=some) for some in (whole_photos(), more_photos())]
    assert row["psnr_y_photos_last"] == pytest.approx(sum(part.table("photo").psnr_y.sum() for part in parts) / 20)


ENLARGER = {"family": "rrdb", "blocks": 1, "width": 4, "growth": 2}


def test_networks_of_one_supernet_share_its_training(store):
    parts = {"how": "all at once", "space": SPACE}
    first = record(an_experiment("supernet", steps=4, **parts, network=TINY))
    (kept,) = (store / "cache").glob("runs/*/training.ckpt")
    trained = kept.read_bytes()
    narrow = {"channels": "8_4_4_4_4_4_4_8", "blocks": 1}
    second = record(an_experiment("supernet", steps=4, **parts, network=narrow))
    assert first["fd_last"] != second["fd_last"]
    assert list((store / "cache").glob("runs/*/training.ckpt")) == [kept]
    assert kept.read_bytes() == trained


def test_missing_runs_and_plans_are_explained(store, capsys):
    with pytest.raises(GancompError, match="No run of 'plain'"):
        find("edges2shoes", "plain", network={**TINY, "blocks": 7})
    assert main(["runs", "do", "nonsense"]) == 1
    assert "choose one of edges2shoes/plain" in capsys.readouterr().err


def test_the_bill_of_every_plan_is_listed(capsys):
    assert main(["runs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names("runs"))
    assert lines[0].startswith("edges2shoes/plain: 10 of 10 runs recorded, ")
    assert float(lines[0].split()[6]) > 10
