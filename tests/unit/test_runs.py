import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from gancomp_core.cli import main
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.lab import runs
from gancomp_core.lab.runs import Run, records
from gancomp_core.measure import cost
from gancomp_core.nets import ArchitectureSpace, ResnetArchitecture, SearchSpace

TINY = {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}


def a_run(seed=0, steps=8):
    return Run("edges2shoes", "plain", TINY, seed=seed, steps=steps)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store: shipped pictures and features, but results and cache of the test's own."""
    for name in ("edges2shoes", "features", "zoo"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(data_root() / name, target_is_directory=True)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path / "cache"))
    quick = runs.Protocol(version=1, steps=8, batch_size=2, evaluations=2, evaluation_seeds=(0,))
    monkeypatch.setitem(runs.PROTOCOLS, "edges2shoes", quick)
    original = records.evaluate_generator
    monkeypatch.setattr(
        records, "evaluate_generator", lambda *a, **k: original(*a, **k, n=24)
    )  # speed; the real measure
    return tmp_path


def test_a_run_done_once_is_never_repeated(store):
    first = runs.record(a_run())
    started = time.perf_counter()
    again = runs.record(a_run())
    assert again["key"] == first["key"]
    assert again["when"] == first["when"]
    assert time.perf_counter() - started < 1
    assert len(runs.table()) == 1


def test_a_row_carries_result_cost_and_provenance(store):
    row = runs.record(a_run())
    for name in (
        "fd_last",
        "fd_best",
        "fd_floor_last",
        "psnr_last",
        "minutes",
        "macs",
        "machine",
        "commit",
        "precision",
    ):
        assert row[name] not in (None, ""), name
    assert row["seed"] == 0
    found = runs.find("edges2shoes", "plain", **TINY)
    assert found.fd_last.iloc[0] == row["fd_last"]
    assert row["best_step"] in (4, 8)
    assert row["band_level_1_last"] > row["band_low_last"] > 0


def test_key_changes_with_everything_that_determines_a_run_and_nothing_else(monkeypatch):
    base = a_run()
    assert base.key == a_run().key
    others = [a_run(seed=1), a_run(steps=9), dataclasses.replace(base, precision="64-true")]
    others.append(dataclasses.replace(base, configuration={**TINY, "blocks": 2}))
    keys = {run.key for run in [base, *others]}
    assert len(keys) == 5
    protocol = dataclasses.replace(runs.PROTOCOLS["edges2shoes"], version=99)
    monkeypatch.setitem(runs.PROTOCOLS, "edges2shoes", protocol)
    assert a_run().key not in keys


def test_key_of_a_run_that_begins_with_a_model_of_the_zoo_changes_with_its_weights(store):
    run = Run("edges2shoes", "pruned", {"teacher": "edges2shoes/teacher", "network": TINY})
    before, folder = run.key, store / "data/zoo/edges2shoes/teacher"
    shipped = folder.resolve()
    (store / "data/zoo").unlink()
    shutil.copytree(shipped, folder)
    assert run.key == before
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["files"]["discriminator.safetensors"] = "0" * 64  # what the card of other weights says
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    assert run.key != before


def test_a_plan_goes_on_where_it_stopped(store, monkeypatch):
    monkeypatch.setitem(runs.PLANS, "tiny", lambda: [a_run(seed) for seed in range(2)])
    runs.record(a_run(0))
    done = runs.do("tiny")
    assert list(done.seed) == [0, 1]
    assert sorted(runs.table().seed) == [0, 1]


KILLED = """
import sys
from gancomp_core.lab import runs
from gancomp_core.lab.runs import records
runs.PROTOCOLS["edges2shoes"] = runs.Protocol(version=1, steps=60, batch_size=2, evaluations=2, evaluation_seeds=(0,))
original = records.evaluate_generator
records.evaluate_generator = lambda *a, **k: original(*a, **k, n=24)
print(runs.record(runs.Run("edges2shoes", "plain", {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}))["fd_last"])
"""


def test_a_killed_run_resumes_to_the_same_row(store, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((store / "cache").glob("runs/*/training.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill() if sys.platform == "win32" else process.send_signal(signal.SIGKILL)
    process.wait()
    assert runs.table().empty
    resumed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    monkeypatch.setenv("GANCOMP_CACHE", str(store / "fresh"))
    (store / "data/results/runs.parquet").unlink()
    straight = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    assert resumed.stdout == straight.stdout != ""


def test_only_comparable_rows_count_as_seeds(store):
    rows = pd.DataFrame([runs.record(a_run(seed)) for seed in range(2)])
    smoke, old, other = rows.iloc[:1].copy(), rows.iloc[:1].copy(), rows.iloc[:1].copy()
    smoke["steps"], old["protocol"], other["precision"] = 3, 0, "64-true"
    odd = pd.concat([smoke, old, other]).assign(key=["a", "b", "c"])
    pd.concat([rows, odd]).to_parquet(store / "data/results/runs.parquet")
    found = runs.find("edges2shoes", "plain", **TINY)
    assert list(found.seed) == [0, 1]
    assert list(runs.find("edges2shoes", "plain", precision="64-true", **TINY).key) == ["c"]


def test_a_run_needs_no_git(store, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs.record(a_run())["commit"] == "unknown"


def test_a_damaged_table_names_the_command_that_restores_it(store):
    (store / "data/results").mkdir()
    (store / "data/results/runs.parquet").write_bytes(b"not a table")
    with pytest.raises(GancompError, match=r"git checkout -- data/results/runs\.parquet"):
        runs.table()


def test_a_mistyped_configuration_is_told_what_it_may_hold(store):
    with pytest.raises(GancompError, match="may hold channels, blocks, separable"):
        runs.record(Run("edges2shoes", "plain", {"chanels": "8"}))


SPACE = ArchitectureSpace(
    ResnetArchitecture("8_8_8_8_8_8_8_8", 1, False, 1, 1), SearchSpace(((8,), *((8, 4),) * 6, (8,))), depths=(1,)
).as_dict()
SMALL = {"channels": "16_8_8_4_4_4_8_16", "blocks": 3}


@pytest.mark.parametrize(
    ("method", "configuration"),
    [
        ("supernet", {"how": "all at once", "space": SPACE, "network": TINY}),
        ("fine-tuned", {"supernet": "edges2shoes/supernet", "network": SMALL}),
        ("pruned", {"teacher": "edges2shoes/teacher", "network": SMALL}),
        ("distilled", {"teacher": "edges2shoes/teacher", "network": SMALL}),
        ("distilled", {"teacher": "edges2shoes/teacher", "network": SMALL, "critic": "teacher", "begin": "l1"}
                    | {"terms": {"wavelet_kd": {"weight": 5, "levels": 2}, "feature_kd": {"weight": 0.5}}}
                    | {"taps": {"up1": "up1"}}),
    ],
)  # fmt: skip
def test_every_method_trains_the_network_of_its_configuration(store, method, configuration):
    row = runs.record(Run("edges2shoes", method, configuration, steps=4))
    network = ResnetArchitecture(**configuration["network"], in_channels=1, out_channels=1)
    assert row["macs"] == cost(network, 32, 32).macs
    found = runs.find("edges2shoes", method, steps=4, **configuration)
    assert list(found.key) == [row["key"]]
    with pytest.raises(GancompError, match="No run"):
        runs.find("edges2shoes", method, **configuration)  # the protocol's number of steps


@pytest.mark.parametrize(
    ("method", "configuration"),
    [
        ("cyclegan", TINY),
        ("distilled", {"teacher": "edges2shoes_unpaired/teacher", "network": SMALL, "reconstruction": 10}
                    | {"critic": "teacher", "terms": {"feature_kd": {"weight": 0.1}}}),
    ],
)  # fmt: skip
def test_unpaired_tasks_are_scored_in_their_hidden_pairs(store, monkeypatch, method, configuration):
    monkeypatch.setitem(runs.PROTOCOLS, "edges2shoes_unpaired", runs.PROTOCOLS["edges2shoes"])
    row = runs.record(Run("edges2shoes_unpaired", method, configuration, steps=4))
    assert row["psnr_last"] > 0
    assert row["fd_last"] > row["fd_floor_last"]
    assert ("taught_psnr_last" in row) == (method == "distilled")


def test_networks_of_one_supernet_share_its_training(store):
    parts = {"how": "all at once", "space": SPACE}
    first = runs.record(Run("edges2shoes", "supernet", {**parts, "network": TINY}, steps=4))
    (kept,) = (store / "cache").glob("runs/*/training.ckpt")
    trained = kept.read_bytes()
    narrow = {"channels": "8_4_4_4_4_4_4_8", "blocks": 1}
    second = runs.record(Run("edges2shoes", "supernet", {**parts, "network": narrow}, steps=4))
    assert first["fd_last"] != second["fd_last"]
    assert list((store / "cache").glob("runs/*/training.ckpt")) == [kept]
    assert kept.read_bytes() == trained


def test_missing_runs_plans_and_methods_are_explained(store):
    with pytest.raises(GancompError, match="No run of 'plain'"):
        runs.find("edges2shoes", "plain", channels="1")
    with pytest.raises(GancompError, match="edges2shoes/plain"):
        runs.planned("nonsense")
    with pytest.raises(GancompError, match="known method"):
        Run("edges2shoes", "magic", {})
    assert main(["runs", "do", "nonsense"]) == 1


def test_the_bill_of_every_plan_is_listed(capsys):
    assert main(["runs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(runs.PLANS)
    bill = re.compile(r"edges2shoes/plain: 10 of 10 runs recorded, (\d+) minutes of training")
    assert int(bill.fullmatch(lines[0]).group(1)) > 10


def test_shipped_table_holds_every_planned_run():
    table = pd.read_parquet(data_root() / "results" / "runs.parquet")
    planned = [run for plan in runs.PLANS for run in runs.planned(plan)]
    (precision,) = set(table.precision)
    assert {dataclasses.replace(run, precision=precision).key for run in planned} <= set(table.key)
    judged = table.dropna(subset="fd_last")  # small splits are judged by KID alone
    assert set(table.task[table.fd_last.isna()]) == {"flat2gloss", "flat2gloss_unpaired"}
    assert (judged.fd_last >= judged.fd_floor_last).all()
    assert table.key.is_unique
    assert load_task("edges2shoes").name in set(table.task)
