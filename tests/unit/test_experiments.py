"""Experiments, their keys, the list of them, and the table of results."""

import dataclasses
import itertools
import json
import shutil
import threading

import pandas as pd
import pytest

from gancomp_core import files, zoo
from gancomp_core.data import load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import data_root
from gancomp_core.lab import (
    KINDS,
    PROTOCOLS,
    Experiment,
    Query,
    architecture_of,
    catalogue,
    find,
    names,
    planned,
    progress,
    results,
)
from gancomp_core.lab.catalogue import LIST, NotSearched, is_searched, size_of
from gancomp_core.lab.experiment import canonical, key_of
from gancomp_core.lab.networks import values_of
from gancomp_core.measure import cost
from gancomp_core.nets import ChannelConfig, ResnetArchitecture

JUDGED = "landcover2satellite/teacher"
STUDENT = {"channels": "16_16_16_16_16_16_16_16", "blocks": 3}


def an_experiment(seed=0, **spec):
    given = {"network": {"channels": "8_8_8_8_8_8_8_8", "blocks": 1}, **spec}
    return Experiment(name="a", kind="plain", task="edges2shoes", spec=catalogue.whole(given, "edges2shoes"), seed=seed)


def every_key():
    """Of all plans that are recorded whole."""
    return {each.key for name in names("runs") if name not in LIST["awaited"] for each in planned(name)}


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_a_key_changes_with_everything_that_determines_a_result_and_nothing_else(monkeypatch):
    base = an_experiment()
    assert base.key == dataclasses.replace(base, name="another name").key
    others = [an_experiment(1), an_experiment(steps=9), an_experiment(precision="64-true"), an_experiment(lr=1e-3)]
    others += [dataclasses.replace(base, schema=3), an_experiment(network={**STUDENT})]
    keys = {each.key for each in [base, *others]}
    assert len(keys) == 7
    protocol = dataclasses.replace(PROTOCOLS["edges2shoes"], version=99)
    monkeypatch.setitem(PROTOCOLS, "edges2shoes", protocol)
    assert base.key not in keys


def test_an_entry_at_its_default_is_left_out():
    assert an_experiment(steps=None, critic_width=32, warp=False).key == an_experiment().key
    assert an_experiment(critic_width=32.0).spec == an_experiment().spec
    assert an_experiment(critic_width=16).key != an_experiment().key


def test_a_new_entry_with_a_default_orphans_no_row(monkeypatch):
    before = every_key()
    for name in ("plain", "distilled", "fine-tuned", "pruned", "supernet", "cyclegan", "agd"):
        known = KINDS[name]
        monkeypatch.setitem(KINDS, name, dataclasses.replace(known, defaults={**known.defaults, "weight_decay": 0.0}))
    assert every_key() == before <= set(results.rows().key)
    assert len(find("edges2shoes", "plain", network="student", weight_decay=0)) == 5
    assert an_experiment(weight_decay=0.1).key != an_experiment().key


def test_a_new_field_of_the_protocol_with_a_default_orphans_no_row(monkeypatch):
    before = every_key()
    longer = dataclasses.make_dataclass(
        "Longer", [("warm_up", float, 0.0)], bases=(type(PROTOCOLS["edges2shoes"]),), frozen=True, kw_only=True
    )
    for task, protocol in PROTOCOLS.items():
        monkeypatch.setitem(PROTOCOLS, task, longer(**vars(protocol)))
    assert every_key() == before
    monkeypatch.setitem(PROTOCOLS, "edges2shoes", longer(**{**vars(PROTOCOLS["edges2shoes"]), "warm_up": 0.1}))
    assert every_key() != before


def test_a_key_changes_with_the_weights_of_the_models_that_are_named(tmp_path, monkeypatch):
    run = an_experiment()
    run = dataclasses.replace(run, kind="distilled", spec={**run.spec, "teacher": "edges2shoes/teacher"})
    before, folder = run.key, tmp_path / "zoo/edges2shoes/teacher"
    shutil.copytree(data_root() / "zoo/edges2shoes/teacher", folder)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    assert run.key == before
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["files"]["discriminator.safetensors"] = "0" * 64  # what the card of other weights says
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    assert run.key != before


def test_canonical_values_ignore_the_order_of_names_and_how_a_whole_number_is_written():
    assert canonical({"b": (1, 2.0), "a": 0.5}) == '{"a":0.5,"b":[1,2]}'
    assert key_of({"a": 1, "b": 2}) == key_of(json.loads('{"b": 2.0, "a": 1}'))
    assert key_of({"a": 1}) != key_of({"a": 1.5})
    assert key_of(["a", "b"]) != key_of(["b", "a"])


def test_what_an_experiment_may_hold_is_said():
    with pytest.raises(GancompError, match="choose one of plain, cyclegan"):
        Experiment(name="", kind="magic", task="edges2shoes", spec={})
    with pytest.raises(GancompError, match="'chanels' is no entry of 'plain'; it may hold network, steps"):
        an_experiment(chanels="8")
    with pytest.raises(GancompError, match="needs the entry 'network'"):
        Experiment(name="", kind="plain", task="edges2shoes", spec={})
    with pytest.raises(GancompError, match="has no value 'chanels'; it has channels, blocks"):
        an_experiment(network={"chanels": "8_8_8_8_8_8_8_8"})
    with pytest.raises(GancompError, match="has no protocol"):
        _ = dataclasses.replace(an_experiment(), task="summer2winter").key


# ---- networks -------------------------------------------------------------------------------------------------------


def test_a_found_network_is_kept_whole(monkeypatch):
    """Kernels, separable thirds, resolution and the legacy rule are no less than channels and blocks."""
    network = ResnetArchitecture(
        ChannelConfig.parse("16_16_16_16_16_16", legacy=True),
        blocks=6,
        separable=(True, False, True),
        in_channels=1,
        out_channels=1,
        kernels=(3, 5, 7),
        resolution=0.75,
    )
    found = {"found": canonical(values_of(network))}
    monkeypatch.setattr(results, "row", lambda key: found)
    plan = {
        "kind": "fine-tuned",
        "supernet": "edges2shoes/supernet",
        "network": {"found": "edges2shoes/9 times cheaper"},
    }
    monkeypatch.setitem(catalogue.LIST["runs"], "edges2shoes/kept whole", plan)
    (run,) = planned("edges2shoes/kept whole")
    assert architecture_of(run["network"]) == network
    text = json.loads(canonical(run["network"]))  # as the table keeps it
    assert architecture_of(text) == network


@pytest.mark.parametrize(
    "model", ["edges2shoes/teacher", "photos_x4/agd", "photos_x4/vdsr", "landcover2satellite/teacher"]
)
def test_plain_values_of_any_family_come_back(model):

    architecture = zoo.load(model).generator.architecture
    assert architecture_of(json.loads(canonical(values_of(architecture)))) == architecture


def test_networks_have_many_spellings_and_one_meaning():
    whole = catalogue.whole_network(STUDENT, "edges2shoes")
    assert whole == {"family": "resnet", **STUDENT, "in_channels": 1, "out_channels": 1}
    assert whole == catalogue.whole_network("student", "edges2shoes")
    assert whole == catalogue.whole_network({**STUDENT, "kernels": [3, 3, 3], "legacy": False}, "edges2shoes")
    assert catalogue.whole_network("student", "flat2gloss") == {"family": "resnet", **STUDENT}


SEEDS = "edges2shoes_unpaired, five seeds"


@pytest.fixture
def searched(monkeypatch):
    """Two seeds of a search, recorded: the first found one network, the second another."""
    asked = planned(SEEDS, "agd")[:2]
    layers = [json.loads(results.row(planned(name, "agd")[0].key)["found"]) for name in FOUND]
    rows = {each.key: {"found": canonical(found)} for each, found in zip(asked, layers, strict=True)}
    monkeypatch.setattr(results, "row", rows.get)
    return [architecture_of(each) for each in layers]


FOUND = ("edges2shoes_unpaired", "edges2shoes_unpaired, free")


def test_a_run_takes_the_network_that_the_search_of_its_own_seed_found(searched):
    task = "edges2shoes_unpaired"
    for seed, network in enumerate(searched):
        assert architecture_of(catalogue.whole_network({"found": SEEDS}, task, seed)) == network
    with pytest.raises(NotSearched, match='gancomp agd do "edges2shoes_unpaired, five seeds"'):
        catalogue.whole_network({"found": SEEDS}, task, 2)
    with pytest.raises(GancompError, match="has no seed 5; choose one of 0, 1, 2, 3, 4"):
        catalogue.whole_network({"found": SEEDS}, task, 5)


@pytest.mark.parametrize("rule", ["uniform", "random"])
def test_what_a_search_has_to_beat_has_as_many_macs_and_no_preferences(searched, rule):
    networks = [architecture_of(catalogue.whole_network({rule: SEEDS}, FOUND[0], seed)) for seed in (0, 1)]
    for found, network in zip(searched, networks, strict=True):
        assert cost(network, 32, 32).macs == pytest.approx(cost(found, 32, 32).macs, rel=0.03)
    assert networks[0] != networks[1]


def test_a_uniform_network_has_one_operator_and_one_share_of_all_widths(searched):
    network = architecture_of(catalogue.whole_network({"uniform": SEEDS}, FOUND[0], 0))
    cells = [layer for layer in network.layers if layer.name.startswith("cell")]
    assert {layer.operators for layer in cells} == {("residual",)}
    narrow, middle, wide = ({layer.widths[0] for layer in network.layers if layer.name in names} for names in ENDS)
    (one,), (two,), (four,) = narrow, middle, wide | {layer.widths[0] for layer in cells}
    assert abs(4 * one - four) < 4
    assert abs(2 * two - four) < 2


ENDS = (("stem", "up2"), ("down1", "up1"), ("down2",))


def test_a_plan_that_waits_for_a_search_is_counted_and_names_the_command(monkeypatch, tmp_path):
    (tmp_path / "zoo").symlink_to(data_root() / "zoo", target_is_directory=True)
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    plan = "edges2shoes_unpaired/five searches"
    assert size_of(plan) == 15
    assert not is_searched(plan)
    assert is_searched("edges2shoes/plain")
    with pytest.raises(NotSearched, match="gancomp agd do"):
        planned(plan)
    row = progress().set_index("name").loc[plan]
    assert (row.recorded, row.planned) == (0, 15)


# ---- the list -------------------------------------------------------------------------------------------------------


def test_blocks_expand_to_their_parts_and_seeds(monkeypatch):
    block = {"kind": "plain", "seeds": 2, "each": [{"network": "narrow"}, {"network": "student", "seeds": [5]}]}
    monkeypatch.setitem(catalogue.LIST["runs"], "edges2shoes/tiny", block)
    found = planned("edges2shoes/tiny")
    assert [(each.seed, each["network"]["channels"][:2]) for each in found] == [(0, "8_"), (1, "8_"), (5, "16")]
    assert {each.task for each in found} == {"edges2shoes"}


def test_protocols_are_of_the_shipped_pictures():
    for task, protocol in PROTOCOLS.items():
        shipped = load_task(task)
        assert protocol.pictures == shipped.fingerprint
        assert catalogue.CHANNELS[task] == [shipped.source_channels, shipped.target_channels]
        assert catalogue.SIZES[task] == shipped.size


def test_a_query_finds_one_experiment_a_seed():
    query = Query("edges2shoes/features", {"begin": "l1", "terms": {}})
    assert [each.seed for each in query.experiments()] == [0, 1, 2, 3, 4]
    with pytest.raises(GancompError, match="names 10 experiments"):
        Query("edges2shoes/features", {"begin": "l1"}).experiments()
    with pytest.raises(GancompError, match="names 0 experiments"):
        Query("edges2shoes/features", {"begin": "l2"}).experiments()
    with pytest.raises(GancompError, match="choose one of edges2shoes/plain"):
        Query("nonsense", {}).experiments()


def test_every_planned_experiment_is_recorded_once():
    table = results.rows()
    assert every_key() <= set(table.key)
    assert table.key.is_unique
    assert table.old_key.dropna().is_unique
    assert table[["name", "kind", "task", "seed", "spec", "machine", "commit"]].notna().all(axis=None)
    trained = table[table.fd_last.notna()]
    assert (trained.fd_last >= trained.fd_floor_last).all()
    without = table[table.kid_last.notna() & table.fd_last.isna()]  # small splits are judged by KID alone
    assert set(without.task) == {"flat2gloss", "flat2gloss_unpaired"}


@pytest.mark.parametrize("name", LIST["awaited"])
def test_a_plan_that_is_recorded_whole_is_no_longer_awaited(name):
    section = "agd" if name in names("agd") else "runs"
    recorded = set(results.rows().key)
    assert not is_searched(name, section) or not {each.key for each in planned(name, section)} <= recorded


@pytest.mark.parametrize("name", [name for name in names("agd") if name not in LIST["awaited"]])
def test_a_search_that_is_not_awaited_is_recorded(name):
    assert {each.key for each in planned(name, "agd")} <= set(results.rows().key)


def test_artifacts_belong_to_rows():
    searches = {
        each.key for section in ("searches", "agd") for name in names(section) for each in planned(name, section)
    }
    files = [path.stem for path in (data_root() / "results/artefacts").iterdir()]
    assert sorted(files) == sorted(key[:16] for key in searches & set(results.rows().key))


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    return results.path()


def test_a_row_is_made_once_and_says_what_made_it(empty):
    made = []

    def make():
        made.append(1)
        return {"value": 2.5, "count": 3}

    first = an_experiment()
    assert results.rows().empty
    assert results.row(first.key) is None
    row = results.once(first, make)
    assert row["value"] == 2.5
    assert {"machine", "commit", "when"} <= set(row)
    again = results.once(first, make)
    assert (again["value"], again["count"], again["when"]) == (2.5, 3, row["when"])
    assert len(made) == 1
    results.once(an_experiment(1), lambda: {"other": "text"})
    table = pd.read_parquet(empty)
    assert list(table.seed) == [0, 1]
    assert list(table["count"].dropna()) == [3]
    assert str(table["count"].dtype) == "Int64"
    assert results.row(an_experiment(1).key)["other"] == "text"
    assert "count" not in results.row(an_experiment(1).key)


def test_a_row_that_cannot_be_made_leaves_the_table_alone(empty):
    results.once(an_experiment(), lambda: {"value": 1})
    before = empty.read_bytes()
    with pytest.raises(ZeroDivisionError):
        results.once(an_experiment(1), lambda: {"value": 1 / 0})
    assert empty.read_bytes() == before


def test_a_table_that_others_replace_meanwhile_is_read_as_one_of_the_two(empty):
    """Not the beginning of one and the rest of another, as by a reader that opens the path twice."""
    results.once(an_experiment(), lambda: {"value": 1})
    short = empty.read_bytes()
    for seed in range(1, 9):
        results.once(an_experiment(seed), lambda: {"value": 1, "text": "x" * 4_000})
    long, done = empty.read_bytes(), threading.Event()

    def replace():
        for each in itertools.cycle((short, long)):
            with files.atomic_write(empty) as temporary:
                temporary.write_bytes(each)
            if done.is_set():
                return

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        assert {len(results.rows()) for _ in range(500)} <= {1, 9}
    finally:
        done.set()
        writer.join()


def test_a_damaged_table_says_how_to_get_the_shipped_one(empty):
    empty.parent.mkdir()
    empty.write_bytes(b"not Parquet")
    with pytest.raises(GancompError, match=r"git checkout -- data/results/results\.parquet"):
        results.rows()
