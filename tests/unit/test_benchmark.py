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
from gancomp_core.lab import Experiment, benchmark, catalogue, generator_of, names, planned, record, results
from gancomp_core.lab.benchmark import (
    BEGUN,
    COMBINED,
    TASKS,
    TEACHER,
    WEIGHT_FORMS,
    Row,
    by_seed,
    differences,
    row,
    rows,
    scores,
    table,
    timing,
)
from gancomp_core.lab.benchmark.compressed import in_forms
from gancomp_core.lab.catalogue import is_searched
from gancomp_core.measure import OnnxGenerator, evaluate_generator


@pytest.mark.parametrize("task", TASKS)
def test_every_row_is_planned_or_a_model_of_the_zoo(task):
    every = {each.key for plan in names("runs") if is_searched(plan) for each in planned(plan)}
    assert rows(task)[0].label == TEACHER
    for each in rows(task):
        if each.shipped:
            assert each.experiments[0]["model"] in zoo.names()
        else:
            assert {experiment.key for experiment in each.experiments} <= every, each.label
            assert [experiment.seed for experiment in each.experiments] == list(range(len(each.experiments)))
            assert len(each.experiments) >= 3


def test_a_network_of_the_supernet_is_cut_as_large_as_its_row_says():
    of = row("edges2shoes", "searched in the supernet")
    generator = generator_of(of.experiments[0])
    assert generator.architecture == of.architecture
    assert sum(each.numel() for each in generator.parameters()) == scores(of).params.iloc[0]
    assert not generator.training


def test_float_scores_are_those_of_the_recorded_runs():
    of = row("edges2shoes", BEGUN)
    recorded = [results.row(each.key) for each in of.experiments]
    assert list(by_seed(of, "fd")) == [each["fd_last"] for each in recorded]
    assert list(scores(of).fd_best.dropna()) == [each["fd_best"] for each in recorded]


def test_int8_rows_were_rounded_from_the_recorded_weights():
    recorded = results.rows().set_index("key")
    checked = 0
    for task in TASKS:
        for of in (each for each in rows(task) if not each.shipped):
            both = scores(of)
            some = both[both.form == "int8"] if len(both) else both
            for _, small in some.iterrows():
                (run,) = [each for each in of.experiments if each.seed == small.seed]
                for score in ("fd", "kid"):
                    if pd.notna(recorded.loc[run.key, f"{score}_last"]) and pd.notna(small[f"float_{score}"]):
                        assert small[f"float_{score}"] == pytest.approx(
                            recorded.loc[run.key, f"{score}_last"], rel=1e-3
                        )
                        checked += 1
    assert checked >= 10


def test_table_compares_with_the_teacher():
    whole = table("edges2shoes")
    teacher = whole.loc[(TEACHER, "float32")]
    assert teacher.times_fewer_macs == 1
    assert teacher.times_smaller == 1
    small = whole.loc[(COMBINED, "int8")]
    assert small.seeds == 5
    assert small.times_fewer_macs == pytest.approx(teacher.macs / small.macs)
    assert small.bytes < whole.loc[(COMBINED, "float32")].bytes / 3
    values = by_seed(row("edges2shoes", COMBINED), "fd", "int8")
    assert small.fd == pytest.approx(values.mean())
    assert small.fd_spread == pytest.approx(values.std())


@pytest.mark.parametrize("task", TASKS)
def test_compressed_weights_make_the_file_smaller_and_nothing_faster(task):
    """Half precision, weight-only int8 and zeros without structure: rows of the teacher, in the same table."""
    teacher = table(task).loc[TEACHER].loc[["float32", *WEIGHT_FORMS]]
    assert (teacher.times_fewer_macs == 1).all()
    given, smaller = teacher.loc["float32"], teacher.times_smaller
    assert smaller["weights in float16"] == pytest.approx(2, rel=0.02)
    assert smaller["weights in bfloat16"] == pytest.approx(2, rel=0.02)
    assert 3.5 < smaller["weight-only int8"] < 4.1
    assert smaller["90% zeros"] == pytest.approx(1, rel=0.02)
    assert teacher.times_faster_1.between(0.8, 1.25).all()
    score = "fd" if pd.notna(given.fd) else "kid"
    assert teacher.loc["weights in float16", score] == pytest.approx(given[score], rel=1e-3)  # shipped so
    assert teacher.loc["90% zeros", score] > teacher.loc["50% zeros", score] > given[score]


def test_a_row_of_compressed_weights_is_what_its_network_paints(tmp_path, monkeypatch):
    teacher = row("flat2gloss", TEACHER)
    (experiment,) = [each for each in in_forms(teacher) if each["form"] == "50% zeros"]
    recorded = results.row(experiment.key)
    monkeypatch.setattr(benchmark.compressed, "member", lambda key: teacher.experiments[0])
    monkeypatch.setattr(results, "path", lambda: tmp_path / "results.parquet")
    found = record(experiment)
    for name in ("macs", "params", "bytes", "form", "name", "seed"):
        assert found[name] == recorded[name]
    for name in ("kid", "psnr", "ssim", "psnr_to_float"):
        assert found[name] == pytest.approx(recorded[name], rel=0.02)
    assert found["bytes_xz"] < 0.5 * found["bytes"]


def test_differences_are_paired_by_seed():
    found = differences("edges2shoes", "wavelet distillation", BEGUN)
    ours, theirs = (by_seed(row("edges2shoes", label), "fd") for label in ("wavelet distillation", BEGUN))
    assert found.seeds == 6
    assert found.mean == pytest.approx((100 * (ours / theirs - 1)).mean())


def test_headline_tells_what_the_table_holds():
    found = benchmark.headline()
    ours = table("edges2shoes").loc[(COMBINED, "int8")]
    assert found.fewer_macs == ours.times_fewer_macs
    assert found.faster[2] == (ours.times_faster_2_low, ours.times_faster_2_median, ours.times_faster_2_high)
    assert list(found.faster[2]) == sorted(found.faster[2])
    assert len(found.distance) == 5
    assert found.fewer_macs > 20
    assert found.faster[1][1] > 10
    assert f"{ours.times_faster_1_median:.1f} times faster on 1 thread (" in str(found)  # never the quietest round
    assert np.mean(found.distance) < 1.15
    assert found.smaller > 90
    assert found.beside["SSIM"] == (ours.ssim, table("edges2shoes").loc[(TEACHER, "float32")].ssim)
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
    network, of = OnnxGenerator(benchmark.headline_files()["network"]), row("edges2shoes", COMBINED)
    found = evaluate_generator(network, load_task("edges2shoes"), seeds=(0,)).as_dict()
    assert found["fd"] == pytest.approx(by_seed(of, "fd", "int8")[0], rel=0.03)
    assert found["psnr"] == pytest.approx(by_seed(of, "psnr", "int8")[0], abs=0.1)
    small = scores(of)
    (size,) = small[(small.form == "int8") & (small.seed == 0)].bytes
    assert benchmark.headline_files()["network"].stat().st_size == size


def test_the_color_task_has_its_headline_beside():
    found = benchmark.headline("flat2gloss")
    assert found.name == "KID"
    assert set(found.beside) == {"KID", "PSNR", "SSIM"}
    with pytest.raises(GancompError, match="choose one of edges2shoes, flat2gloss"):
        benchmark.headline("photos_x4")


def test_what_is_unknown_is_named():
    with pytest.raises(GancompError, match="choose one of edges2shoes"):
        rows("nonsense")
    with pytest.raises(GancompError, match="choose one of teacher"):
        row("edges2shoes", "nonsense")
    with pytest.raises(GancompError, match="choose one of teacher ResNet-9 n64"):
        benchmark.milliseconds("nonsense")
    with pytest.raises(GancompError, match="No mean of"):
        by_seed(row("edges2shoes", TEACHER), "mean")


def test_nothing_recorded_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.tables, "scores", lambda of: pd.DataFrame())
    with pytest.raises(GancompError, match="gancomp benchmark do edges2shoes"):
        table("edges2shoes")


def test_the_command_lists_and_explains(capsys):
    assert main(["benchmark", "list", "edges2shoes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows("edges2shoes"))
    assert lines[0].startswith("edges2shoes, teacher: 1 of 1 in int8, 5 of 5 in compressed weights")
    assert lines[1].startswith("edges2shoes, from scratch: 5 of 5 trained, 3 of 3 in int8")
    assert main(["benchmark", "show", "edges2shoes"]) == 0
    assert "times fewer MACs" in capsys.readouterr().out
    for action in ("do", "show", "list"):
        assert main(["benchmark", action, "nonsense"]) == 1
        assert "choose one of" in capsys.readouterr().err


def of_width(label, width):
    network = {"channels": "_".join([str(width)] * 8), "blocks": 2}
    spec = catalogue.whole({"network": network}, "edges2shoes")
    return Row("edges2shoes", label, (Experiment(name=label, kind="plain", task="edges2shoes", spec=spec),))


def test_all_networks_are_timed_in_turns_and_once(tmp_path, monkeypatch):
    small, large = (of_width(label, width) for label, width in (("small", 8), (TEACHER, 24)))
    monkeypatch.setattr(timing, "_networks", lambda: {each.network: each for each in (small, large)})
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(results, "path", lambda: tmp_path / "results.parquet")
    found = timing.timed()
    assert set(zip(found["round"], found.network, found.threads, strict=True)) == set(timing.timings())
    assert len(found) == 8
    clock = timing.Clock(found)
    assert list(clock(small, "int8", 1).index) == [1, 2]
    memory = found[found["round"] == 1].filter(regex="^memory_(float|int8)$")
    assert memory.shape == (4, 2)
    assert (memory > 0).all(axis=None)
    assert clock(small, "90% zeros", 1).empty
    found = found.set_index("network")
    both = found.filter(regex="^(ms|p95)_(torch|float|int8)$")
    assert both.shape[1] == 6
    assert (both > 0).all(axis=None)
    light = found[[f"ms_{form}" for form in WEIGHT_FORMS]]
    assert (light.loc[large.network] > 0).all(axis=None)
    assert light.loc[small.network].isna().all(axis=None)
    macs = found.macs.groupby("network").unique()
    assert macs[small.network] < macs[large.network]
    assert timing.timed().set_index("network").equals(found)  # the milliseconds of another measurement would differ


def test_an_interrupted_timing_goes_on_with_the_next_round(tmp_path, monkeypatch):
    small = of_width("small", 8)
    monkeypatch.setattr(timing, "_networks", lambda: {small.network: small})
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(results, "path", lambda: tmp_path / "results.parquet")
    whole = timing._round

    def interrupted(number, turns):
        if number == 2:
            raise KeyboardInterrupt
        return whole(number, turns)

    monkeypatch.setattr(timing, "_round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        timing.timed()
    first = results.rows("latency")
    assert list(first["round"]) == [1, 1]
    monkeypatch.setattr(timing, "_round", whole)
    found = timing.timed()
    assert list(found["round"]) == [1, 1, 2, 2]
    assert list(found.ms_int8[:2]) == list(first.ms_int8)


def test_a_published_network_is_timed_here():
    found = benchmark.milliseconds("mobile ResNet-9 n32", repeats=1)
    assert set(found) == {"float32", "int8"}
    assert all(math.isfinite(value) and value > 0 for value in found.values())
