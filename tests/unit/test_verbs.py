"""The seven lines of the README run as printed, and each verb does what its line says."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import gancomp_core
from factories import negative_task, random_resnet, refused, resnet, squares_task
from gancomp_core import Budget, verbs, zoo
from gancomp_core.comparison import Comparison
from gancomp_core.data import PictureSet
from gancomp_core.measure import OnnxGenerator, cost
from gancomp_core.methods import once_for_all
from gancomp_core.methods.architecture_search import running
from gancomp_core.nets import ArchitectureSpace, ElasticGenerator, PatchDiscriminator, ResnetGenerator, UnetGenerator
from gancomp_core.train import gan, reconstruction


@pytest.fixture(scope="module")
def lines(repository):
    """The block of the README that has the seven lines."""
    blocks = re.findall(r"```python\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if "compare(" in block)
    return found


@pytest.fixture
def few_pictures(monkeypatch):
    """The task of the README with some pictures of each split, and searches that score 12 networks."""
    whole = verbs.load_task("edges2shoes")
    few = torch.arange(40)
    splits = {name: getattr(whole, name) for name in ("train", "search", "test")}
    parts = {name: PictureSet(split.sources[few], split.targets[few]) for name, split in splits.items()}
    small = replace(whole, fingerprint="forty shoes", **parts)
    monkeypatch.setattr(verbs, "load_task", lambda name: {"edges2shoes": small}[name])
    monkeypatch.setattr(running, "EVALUATIONS", 12)


def test_the_seven_lines_of_the_readme_run_as_printed(lines, few_pictures):
    assert lines.count("\n") <= 10, "seven lines, the imports and a blank one"
    assert "steps=2_000" in lines
    assert "steps=1_000" in lines
    names, (*before, last) = {}, lines.replace("2_000", "2").replace("1_000", "2").splitlines()
    exec("\n".join(before), names)
    shown = eval(last, names)
    assert isinstance(shown, Comparison)
    teacher, student, file = names["teacher"], names["student"], names["file"]
    assert list(shown.table.index) == ["edges2shoes/teacher", "ResnetGenerator", file.stem]
    macs = shown.table.macs
    assert macs.iloc[0] == teacher.cost.macs
    assert macs.iloc[1] == student.cost.macs <= teacher.cost.macs / 12
    assert shown.table[["ms", "p95_ms", "bytes", "kid", "psnr"]].notna().all(axis=None)
    assert "<img" in shown._repr_html_()


def test_importing_the_package_loads_nothing_slow():
    program = "import sys, gancomp_core; print('torch' in sys.modules, 'compare' in dir(gancomp_core))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True"]


def test_every_verb_is_there_and_nothing_else_is_made_up():
    assert all(callable(getattr(gancomp_core, name)) for name in gancomp_core.__all__)
    with pytest.raises(AttributeError, match="no attribute 'shrink'"):
        _ = gancomp_core.shrink


# --- load_model -----------------------------------------------------------------------------------------------------


def test_a_model_is_a_module_with_card_cost_and_a_discriminator_apart():
    teacher, stored = gancomp_core.load_model("edges2shoes/teacher"), zoo.load("edges2shoes/teacher")
    assert isinstance(teacher, ResnetGenerator)
    assert teacher.card == stored.card
    assert teacher.cost == cost(stored.generator, 32, 32)
    assert isinstance(teacher.discriminator, PatchDiscriminator)
    assert list(teacher.state_dict()) == list(stored.generator.state_dict())
    assert sum(1 for _ in teacher.modules()) == sum(1 for _ in stored.generator.modules())
    assert gancomp_core.load_model("edges2shoes/small_student").discriminator is None
    shared = gancomp_core.load_model("edges2shoes/supernet")
    shared.activate(shared.space.narrowest)
    assert shared.cost == cost(shared.space.narrowest, 32, 32)


# --- train_supernet -------------------------------------------------------------------------------------------------


def test_the_usual_space_of_the_teachers_is_that_of_the_courses_supernets():
    for task in ("edges2shoes", "flat2gloss"):
        space = verbs.supernet_space(gancomp_core.load_model(f"{task}/teacher"))
        assert space.depths == (3, 4, 6)
        assert space.widest.channels.entries[0] in (12, 16)
    shoes = verbs.supernet_space(gancomp_core.load_model("edges2shoes/teacher"))
    assert shoes.channels == zoo.load("edges2shoes/supernet").generator.space.channels


@pytest.mark.parametrize(("width", "blocks", "depths"), [(8, 1, (1,)), (16, 2, (1, 2)), (24, 9, (4, 6, 9))])
def test_no_network_of_the_usual_space_is_wider_or_deeper_than_its_teacher(width, blocks, depths):
    teacher = random_resnet(resnet(width, blocks))
    space = verbs.supernet_space(teacher)
    assert space.depths == depths
    assert all(max(choice) <= width for choice in space.channels.choices)
    once_for_all.warm_start(space, teacher)


def test_a_teacher_without_a_usual_space_is_told_what_to_pass():
    with refused("no usual space for a UnetGenerator", "pass space=ArchitectureSpace"):
        gancomp_core.train_supernet(UnetGenerator(), negative_task(), steps=1)


def test_a_supernet_takes_a_space_an_objective_and_a_sampler_of_ones_own():
    teacher, task = random_resnet(resnet(8, 2)), negative_task()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    space = ArchitectureSpace(teacher.architecture, verbs.supernet_space(teacher).channels, depths=(1, 2))
    drawn = []

    def narrowest(rng):
        drawn.append(space.narrowest)
        return [space.narrowest]

    elastic = gancomp_core.train_supernet(
        teacher, task, steps=2, space=space, objective=gan() + 5 * reconstruction(), sampler=narrowest
    )
    assert isinstance(elastic, ElasticGenerator)
    assert elastic.space == space
    assert drawn == [space.narrowest] * 2
    assert not elastic.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


# --- search, fine_tune, export --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elastic():
    return once_for_all.warm_start(verbs.supernet_space(random_resnet(resnet(16, 2))), random_resnet(resnet(16, 2)))


def test_a_search_keeps_to_its_budget_of_macs_or_milliseconds(elastic):
    task = negative_task()
    limit = cost(elastic.space.widest, 16, 16).macs / 2
    for budget in (Budget(macs=limit), Budget(macs=limit, latency_ms=50)):
        found = gancomp_core.search(elastic, task, budget, evaluations=5)
        assert len(found) == 5
        assert found.table.macs.max() <= limit
    with refused("reach"):
        gancomp_core.search(elastic, task, Budget(macs=10))


@pytest.mark.parametrize("task", [negative_task(), squares_task()], ids=["paired", "unpaired"])
def test_fine_tuning_trains_a_copy_with_pairs_or_with_the_teachers_pictures(task):
    teacher, student = random_resnet(resnet(16, 3)), random_resnet(resnet(8, 3), seed=5)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    found = gancomp_core.fine_tune(student, teacher, task, steps=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in found.state_dict().items())
    assert found.cost == cost(found, 16, 16)
    with refused("The student is a UnetGenerator"):
        gancomp_core.fine_tune(UnetGenerator(), teacher, task, steps=1)


def test_exports_go_to_the_cache_under_a_name_of_their_weights(own_cache, tmp_path):
    task, network = negative_task(), random_resnet()
    file = gancomp_core.export_int8(network, task, calibration=4)
    assert file.parent == own_cache / "exports"
    assert file.name.startswith("small-int8-")
    assert OnnxGenerator(file)(torch.zeros(2, 1, 16, 16)).shape == (2, 1, 16, 16)
    assert verbs._digest(random_resnet()) in file.name
    assert verbs._digest(random_resnet(seed=9)) not in file.name
    assert gancomp_core.export_int8(network, task, tmp_path / "own.onnx", calibration=4) == tmp_path / "own.onnx"
