"""The table of all methods: its rows are planned runs, and what it says follows from the recorded ones."""

import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gancomp_core import zoo
from gancomp_core.cli import main
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.lab import benchmark, runs
from gancomp_core.lab.benchmark import (
    COMPRESSED,
    LIGHTER,
    LIGHTER_FORMS,
    TASKS,
    Entry,
    by_seed,
    differences,
    entries,
    entry,
    scores,
    table,
    timing,
)
from gancomp_core.lab.benchmark.compressed import lighter_key
from gancomp_core.lab.benchmark.entries import BEGUN, COMBINED, TEACHER
from gancomp_core.lab.recorded_table import RecordedTable
from gancomp_core.measure import OnnxGenerator, evaluate_generator


@pytest.fixture(scope="module")
def planned():
    return {run.key for plan in runs.PLANS for run in runs.planned(plan)}


@pytest.mark.parametrize("task", TASKS)
def test_every_row_is_planned_or_a_model_of_the_zoo(task, planned):
    rows = entries(task)
    labels = [row.label for row in rows]
    assert labels[0] == TEACHER
    assert len(set(labels)) == len(labels)
    for row in rows:
        if row.runs:
            assert {run.key for run in row.runs} <= planned, row.label
            assert [run.seed for run in row.runs] == list(range(len(row.runs)))
            assert len(row.runs) >= 3
        else:
            assert row.model in zoo.names()


def test_a_network_of_the_supernet_is_cut_as_large_as_its_row_says():
    row = entry("edges2shoes", "searched in the supernet")
    generator = row.members[0].load()
    assert sum(each.numel() for each in generator.parameters()) == scores(row).params.iloc[0]
    assert not generator.training


def test_float_scores_are_those_of_the_recorded_runs():
    recorded = runs.table().set_index("key")
    row = entry("edges2shoes", BEGUN)
    assert list(by_seed(row, "fd")) == [recorded.loc[run.key, "fd_last"] for run in row.runs]
    best = scores(row)
    assert list(best.fd_best.dropna()) == [recorded.loc[run.key, "fd_best"] for run in row.runs]


def test_int8_rows_were_rounded_from_the_recorded_weights():
    recorded, rows = runs.table().set_index("key"), COMPRESSED.rows()
    assert len(rows) >= 10
    checked = 0
    for task in TASKS:
        for row in (each for each in entries(task) if each.runs):
            both = scores(row)
            some = both[both.form == "int8"] if len(both) else both
            for _, small in some.iterrows():
                (run,) = [each for each in row.runs if each.seed == small.seed]
                for score in ("fd", "kid"):
                    if pd.notna(recorded.loc[run.key, f"{score}_last"]) and pd.notna(small[f"float_{score}"]):
                        assert small[f"float_{score}"] == pytest.approx(
                            recorded.loc[run.key, f"{score}_last"], rel=1e-3
                        )
                        checked += 1
    assert checked >= 10


def test_table_compares_with_the_teacher():
    rows = table("edges2shoes")
    teacher = rows.loc[(TEACHER, "float32")]
    assert teacher.times_fewer_macs == 1
    assert teacher.times_smaller == 1
    small = rows.loc[(COMBINED, "int8")]
    assert small.seeds == 5
    assert small.times_fewer_macs == pytest.approx(teacher.macs / small.macs)
    assert small.bytes < rows.loc[(COMBINED, "float32")].bytes / 3
    values = by_seed(entry("edges2shoes", COMBINED), "fd", "int8")
    assert small.fd == pytest.approx(values.mean())
    assert small.fd_spread == pytest.approx(values.std())


@pytest.mark.parametrize("task", TASKS)
def test_lighter_weights_make_the_file_smaller_and_nothing_faster(task):
    """Half precision, weight-only int8 and zeros without structure: rows of the teacher, in the same table."""
    rows = table(task).loc[TEACHER].loc[["float32", *LIGHTER_FORMS]]
    assert (rows.times_fewer_macs == 1).all()
    given, smaller = rows.loc["float32"], rows.times_smaller
    assert smaller["weights in float16"] == pytest.approx(2, rel=0.02)
    assert smaller["weights in bfloat16"] == pytest.approx(2, rel=0.02)
    assert 3.5 < smaller["weight-only int8"] < 4.1
    assert smaller["90% zeros"] == pytest.approx(1, rel=0.02)
    assert rows.times_faster_1.between(0.8, 1.25).all()
    score = "fd" if pd.notna(given.fd) else "kid"
    assert rows.loc["weights in float16", score] == pytest.approx(given[score], rel=1e-3)  # shipped so
    assert rows.loc["90% zeros", score] > rows.loc["50% zeros", score] > given[score]


def test_a_row_of_lighter_weights_is_what_its_network_paints(tmp_path, monkeypatch):
    teacher, form = entry("flat2gloss", TEACHER), "50% zeros"
    recorded = LIGHTER.row(lighter_key(teacher.members[0], form))
    monkeypatch.setattr(RecordedTable, "path", property(lambda self: tmp_path / f"{self.name}.parquet"))
    row = benchmark.lighter(teacher, teacher.members[0], form)
    for name in ("macs", "params", "bytes", "form", "label", "seed"):
        assert row[name] == recorded[name]
    for name in ("kid", "psnr", "ssim", "psnr_to_float"):
        assert row[name] == pytest.approx(recorded[name], rel=0.02)
    assert row["bytes_xz"] < 0.5 * row["bytes"]


def test_differences_are_paired_by_seed():
    found = differences("edges2shoes", "wavelet distillation", BEGUN)
    ours, theirs = (by_seed(entry("edges2shoes", label), "fd") for label in ("wavelet distillation", BEGUN))
    assert found.seeds == 5
    assert found.mean == pytest.approx((100 * (ours / theirs - 1)).mean())


def test_headline_tells_what_the_table_holds():
    found = benchmark.headline()
    row = table("edges2shoes").loc[(COMBINED, "int8")]
    assert found.fewer_macs == row.times_fewer_macs
    assert found.faster == {1: row.times_faster_1, 2: row.times_faster_2}
    assert found.faster_by_round[2] == (row.times_faster_2_low, row.times_faster_2_median, row.times_faster_2_high)
    assert list(found.faster_by_round[2]) == sorted(found.faster_by_round[2])
    assert len(found.distance) == 5
    assert found.fewer_macs > 20
    assert found.faster[1] > 10
    assert np.mean(found.distance) < 1.15
    assert found.smaller > 90
    assert found.beside["SSIM"] == (row.ssim, table("edges2shoes").loc[(TEACHER, "float32")].ssim)
    assert f"{found.fewer_macs:.1f} times fewer MACs" in str(found)


def test_the_picture_of_the_readme_shows_the_teacher_and_the_headline():
    """What the shipped networks paint now; the file was saved with a few losses. Its painted rows differ."""
    with Image.open(benchmark.headline_files()["picture"]) as file:
        shown = np.asarray(file.convert("L"), dtype=np.float32)
    painted = np.asarray(benchmark.headline_picture(), dtype=np.float32)
    assert shown.shape == painted.shape == (4 * 2 * 34, 16 * 2 * 34)
    for mine, its in zip(np.split(shown, 4), np.split(painted, 4), strict=True):
        assert np.abs(mine - its).mean() < 0.01 * 255
    _, teacher, compressed, _ = np.split(shown, 4)
    assert np.abs(teacher - compressed).mean() > 0.02 * 127.5


def test_the_shipped_network_paints_as_well_as_its_row_says():
    """All 3,000 test pictures, in onnxruntime; processors without integer dot products round a little differently."""
    network, row = OnnxGenerator(benchmark.headline_files()["network"]), entry("edges2shoes", COMBINED)
    found = evaluate_generator(network, load_task("edges2shoes"), seeds=(0,)).as_dict()
    assert found["fd"] == pytest.approx(by_seed(row, "fd", "int8")[0], rel=0.03)
    assert found["psnr"] == pytest.approx(by_seed(row, "psnr", "int8")[0], abs=0.1)
    small = scores(row)
    (size,) = small[(small.form == "int8") & (small.seed == 0)].bytes
    assert benchmark.headline_files()["network"].stat().st_size == size


def test_the_colour_task_has_its_headline_beside():
    found = benchmark.headline("flat2gloss")
    assert found.name == "KID"
    assert set(found.beside) == {"KID", "PSNR", "SSIM"}
    with pytest.raises(GancompError, match="choose one of edges2shoes, flat2gloss"):
        benchmark.headline("photos_x4")


def test_what_is_unknown_is_named():
    with pytest.raises(GancompError, match="choose one of edges2shoes"):
        entries("nonsense")
    with pytest.raises(GancompError, match="choose one of teacher"):
        entry("edges2shoes", "nonsense")
    with pytest.raises(GancompError, match="choose one of teacher ResNet-9 n64"):
        benchmark.milliseconds("nonsense")
    with pytest.raises(GancompError, match="No mean of"):
        by_seed(entry("edges2shoes", TEACHER), "mean")


def test_nothing_recorded_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.tables, "recorded_runs", pd.DataFrame)
    monkeypatch.setattr(type(COMPRESSED), "rows", lambda self: pd.DataFrame())
    with pytest.raises(GancompError, match="benchmark do edges2shoes"):
        table("edges2shoes")


def test_the_command_lists_and_explains(capsys):
    assert main(["benchmark", "list", "edges2shoes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(entries("edges2shoes"))
    assert lines[0].startswith("edges2shoes, teacher: 1 of 1 trained, 1 of 1 in int8")
    assert main(["benchmark", "show", "edges2shoes"]) == 0
    assert "times fewer MACs" in capsys.readouterr().out
    for action in ("do", "show", "list"):
        assert main(["benchmark", action, "nonsense"]) == 1
        assert "choose one of" in capsys.readouterr().err


def test_all_networks_are_timed_in_turns_and_once(tmp_path, monkeypatch):
    small, large = (
        Entry("edges2shoes", label, (runs.Run("edges2shoes", "plain", {"channels": channels, "blocks": 2}, 0),))
        for label, channels in (("small", "_".join(["8"] * 8)), (TEACHER, "_".join(["24"] * 8)))
    )
    monkeypatch.setattr(timing, "_networks", lambda: {timing.network_key(each): each for each in (small, large)})
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(RecordedTable, "path", property(lambda self: tmp_path / f"{self.name}.parquet"))
    found = timing.timed()
    assert set(zip(found["round"], found.network, found.threads, strict=True)) == set(timing.timing_keys())
    assert len(found) == 8
    by_round = timing.rounds(small, "int8", 1, found)
    assert list(by_round.index) == [1, 2]
    memory = found[found["round"] == 1].filter(regex="^memory_(float|int8)$")
    assert memory.shape == (4, 2)
    assert (memory > 0).all(axis=None)
    assert timing.rounds(small, "90% zeros", 1, found).empty
    found = found.set_index("network")
    both = found.filter(regex="^(ms|p95)_(torch|float|int8)$")
    assert both.shape[1] == 6
    assert (both > 0).all(axis=None)
    light = found[[f"ms_{form}" for form in LIGHTER_FORMS]]
    assert (light.loc[timing.network_key(large)] > 0).all(axis=None)
    assert light.loc[timing.network_key(small)].isna().all(axis=None)
    macs = found.macs.groupby("network").unique()
    assert macs[timing.network_key(small)] < macs[timing.network_key(large)]
    assert timing.timed().set_index("network").equals(found)  # the milliseconds of another measurement would differ


def test_an_interrupted_timing_goes_on_with_the_next_round(tmp_path, monkeypatch):
    small = Entry("edges2shoes", "small", (runs.Run("edges2shoes", "plain", {"channels": "_".join("8" * 8)}, 0),))
    monkeypatch.setattr(timing, "_networks", lambda: {timing.network_key(small): small})
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(RecordedTable, "path", property(lambda self: tmp_path / f"{self.name}.parquet"))
    whole = timing._round

    def interrupted(number, turns):
        if number == 2:
            raise KeyboardInterrupt
        return whole(number, turns)

    monkeypatch.setattr(timing, "_round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        timing.timed()
    first = timing.TIMES.rows()
    assert list(first["round"]) == [1, 1]
    monkeypatch.setattr(timing, "_round", whole)
    found = timing.timed()
    assert list(found["round"]) == [1, 1, 2, 2]
    assert list(found.ms_int8[:2]) == list(first.ms_int8)


def test_a_published_network_is_timed_here():
    found = benchmark.milliseconds("mobile ResNet-9 n32", repeats=1)
    assert set(found) == {"float32", "int8"}
    assert all(math.isfinite(value) and value > 0 for value in found.values())
