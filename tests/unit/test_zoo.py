import dataclasses
import json
import lzma
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from factories import few
from gancomp_core import nets, zoo
from gancomp_core.cli import main
from gancomp_core.data import Task, load_task
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, data_root
from gancomp_core.lab import catalogue, shipped_models
from gancomp_core.lab.networks import values_of
from gancomp_core.lab.shipped_models import scores, training
from gancomp_core.measure import confusion, cost, evaluate_generator, labels_of, mean_iou, psnr
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    ResnetArchitecture,
    RrdbArchitecture,
    SearchSpace,
    SegmenterArchitecture,
    SpadeArchitecture,
)

NAMES = zoo.names()
SUPERNET = "edges2shoes/supernet"
JUDGE, JUDGED = "landcover2satellite/segmenter", "landcover2satellite/teacher"
CYCLEGANS = [name for name in NAMES if shipped_models.model_of(name).task.endswith("_unpaired")]
ENLARGING = [name for name in NAMES if shipped_models.model_of(name).task == "photos_x4"]
PAIRED = [name for name in NAMES if name not in (JUDGE, JUDGED, *CYCLEGANS, *ENLARGING)]


# ---- what ships -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_shipped_weights_that_fit_their_card(name):
    model = zoo.load(name)
    task = load_task(model.card["task"])
    assert not any(module.training for module in model.models.values())
    assert model.generator.architecture.as_dict() == model.card["architecture"]
    assert model.card["cost"]["pixels"] == task.size // task.scale
    pixels = model.card["cost"]["pixels"]
    assert cost(model.generator, pixels, pixels).macs == model.card["cost"]["macs"]
    assert model.card["data"] == task.fingerprint
    assert model.card["settings"]["steps"] == shipped_models.model_of(name).experiment.steps


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_exactly_the_networks_that_the_recipe_keeps(name):
    folder = data_root() / "zoo" / name
    networks = {f"{network}.safetensors" for network in shipped_models.model_of(name).ships}
    assert set(zoo.load(name).card["files"]) == networks
    packed = {f"{file}.xz" for file in networks}
    assert {path.name for path in folder.iterdir()} == packed | {"card.json", "card.md", "grid.webp"}


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_weight_has_a_card_with_a_picture_and_a_licence(name):
    folder = data_root() / "zoo" / name
    assert (folder / "grid.webp").stat().st_size < 300_000
    text = (folder / "card.md").read_text(encoding="utf-8")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["command"] in text
    assert card["quality"]["text"] in text
    assert "licence" in text
    assert "](grid.webp)" in text


@pytest.mark.parametrize("name", PAIRED)
def test_shipped_generators_paint_closer_to_the_target_than_the_source_is(name):
    model = zoo.load(name)
    batch = load_task(model.card["task"]).test.batch(slice(0, 64))
    with torch.no_grad():
        painted = psnr(model.generator(batch.source), batch.target).mean()
    gain = painted - psnr(batch.source.expand_as(batch.target), batch.target).mean()
    assert gain > (5 if model.card["task"] == "edges2shoes" else 0)


@pytest.mark.parametrize("name", CYCLEGANS)
def test_cyclegan_has_learned_its_way(name):
    """Its pictures are more like the other side than pictures of this side are."""
    quality = zoo.load(name).card["quality"]
    assert quality["kid"] < quality["copy"]["kid"]


def test_a_cyclegan_of_the_zoo_has_learned_both_ways():
    model = zoo.load("flat2gloss_unpaired/teacher")
    quality = model.card["quality"]
    assert quality["backward"]["kid"] < quality["copy"]["kid"]
    assert "psnr" in quality["backward"], "hidden pairs serve for scoring"
    assert isinstance(model.models["backward_generator"], nets.ResnetGenerator)


@pytest.mark.parametrize("name", ENLARGING)
def test_super_resolution_card_shows_bicubic_and_is_better(name):
    quality = zoo.load(name).card["quality"]
    for part in ("photos", "crops"):
        assert quality[f"bicubic_psnr_y_{part}"] < quality[f"psnr_y_{part}"]
        assert quality[f"bicubic_ssim_y_{part}"] < quality[f"ssim_y_{part}"]
    assert "over bicubic" in quality["text"]


def test_map_can_be_read_from_the_picture_that_was_painted_from_it():
    painter, reader = zoo.load(JUDGED), zoo.load(JUDGE).generator
    batch = load_task(painter.card["task"]).test.batch(slice(0, 64))
    with torch.no_grad():
        scores = reader(painter.generator(batch.source))
    labels, truth = scores.argmax(1), labels_of(batch.source)
    own, stranger = (mean_iou(confusion(read, truth, scores.shape[1])) for read in (labels, labels.roll(1, 0)))
    assert own > 1.5 * stranger
    assert painter.card["quality"]["segmentation"]["miou"] > 1.5 * stranger


def test_teacher_is_better_than_the_small_student_and_neither_beats_real_pictures():
    teacher, student = (zoo.load(f"edges2shoes/{name}").card["quality"] for name in ("teacher", "small_student"))
    assert teacher["fd_floor"] < teacher["fd"] < student["fd"]
    assert teacher["kid_floor"] < teacher["kid"] < student["kid"]
    assert teacher["perceptual"] < student["perceptual"] < student["copy"]["perceptual"]
    assert teacher["samples"] == 3000
    assert teacher["seeds"] == 3


def test_the_supernets_networks_lie_between_its_widest_and_its_narrowest():
    model = zoo.load(SUPERNET)
    assert model.generator.space == shipped_models.model_of(SUPERNET).architecture
    assert model.card["summary"].startswith(f"{len(model.generator.space):,} networks")
    quality = model.card["quality"]
    teacher = zoo.load(shipped_models.model_of(SUPERNET).options["teacher"]).card["quality"]
    assert teacher["fd"] < quality["fd"] < quality["narrowest"]["fd"]
    assert "its narrowest network" in (data_root() / "zoo" / SUPERNET / "card.md").read_text(encoding="utf-8")


def test_nothing_in_the_zoo_is_a_pickle():
    found = [p for p in Path(REPOSITORY / "data").rglob("*") if p.suffix in (".pth", ".pt", ".pkl", ".ckpt")]
    assert not found


def test_the_table_for_readers_is_that_of_the_cards():
    text = (data_root() / "README.md").read_text(encoding="utf-8")
    between = text.partition(training.TABLE_BEGINS)[2].partition(training.TABLE_ENDS)[0]
    assert between.strip() == training.table().strip(), "`... table --write` brings it up to date"


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.fixture
def copied_zoo(tmp_path, monkeypatch) -> Path:
    """A data folder of the test's own, with the shipped shoe painters in it."""
    shutil.copytree(data_root() / "zoo/edges2shoes", tmp_path / "data/zoo/edges2shoes")
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "zoo"


def test_unknown_model_is_told_the_names():
    with pytest.raises(GancompError, match="edges2shoes/teacher"):
        zoo.load("edges2shoes/giant")


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-1],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: b"no xz at all",
        lambda packed: b"",
        lambda packed: lzma.compress(lzma.decompress(packed)[:-1]),
        lambda packed: lzma.compress(lzma.decompress(packed)[:-1] + b"?"),
    ],
)
def test_damaged_weights_name_the_file_and_both_ways_out(copied_zoo, damage):
    path = copied_zoo / "edges2shoes/teacher/generator.safetensors.xz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(GancompError, match=r"generator\.safetensors\.xz.*git checkout.* train") as caught:
        zoo.load("edges2shoes/teacher")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{not json", "[]", '{"name": "edges2shoes/teacher"}'])
def test_damaged_card_is_named(copied_zoo, text):
    (copied_zoo / "edges2shoes/teacher/card.json").write_text(text)
    with pytest.raises(GancompError, match=r"card\.json is damaged; 'git checkout"):
        zoo.load("edges2shoes/teacher")


def test_missing_card_names_the_command_that_restores_it(copied_zoo):
    (copied_zoo / "edges2shoes/teacher/card.json").unlink()
    with pytest.raises(GancompError, match="git checkout -- data/zoo/edges2shoes/teacher"):
        zoo.load("edges2shoes/teacher")


def test_command_line_lists_models_and_explains_mistakes(capsys):
    assert main(["zoo", "list"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}: {shipped_models.model_of(name).summary}" in said for name in NAMES)
    assert main(["zoo", "train", "nonsense"]) == 1
    assert main(["zoo", "check", "nonsense"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("There is no model 'nonsense'") == 2


def test_help_says_that_a_finished_training_is_not_repeated(capsys):
    with pytest.raises(SystemExit):
        main(["zoo", "--help"])
    assert "one that finished is not repeated" in capsys.readouterr().out


def test_a_table_without_its_place_is_refused(copied_zoo):
    (copied_zoo.parent / "README.md").write_text("nothing here\n")
    with pytest.raises(GancompError, match=r"README\.md has no place for the table; put <!-- zoo table"):
        training.table(write=True)


# ---- comparing a card with what is measured -------------------------------------------------------------------------


def test_differences_are_told_one_by_one_with_their_place():
    card = {"kid": 0.1, "samples": 24.0, "backward": {"psnr": 20.0}, "only": 1.0, "text": "KID 0.100"}
    measured = {"kid": 0.2, "samples": 24.0, "backward": {"psnr": 21.0}, "new": 1.0, "text": "KID 0.200"}
    assert scores.differences(card, measured, "quality.") == [
        "quality.kid is 0.2 here and 0.1 in the card",
        "quality.backward.psnr is 21 here and 20 in the card",
        "quality.only is in the card and not measured here",
        "quality.text is 'KID 0.200' here and 'KID 0.100' in the card",
        "quality.new is measured here and missing in the card",
    ]


@pytest.mark.parametrize(
    ("stated", "measured", "agree"),
    [
        (20.0, 20.15, True),
        (20.0, 20.25, False),
        (20, 21, False),
        (0.0, 5e-5, True),
        (float("inf"), float("inf"), True),
        (float("inf"), 40.0, False),
        ("KID 0.107, PSNR 21.09 dB", "KID 0.108, PSNR 21.10 dB", True),
        ("KID 0.107, PSNR 21.09 dB", "KID 0.117, PSNR 21.09 dB", False),
        ("3,000 pictures", "2,000 pictures", False),
        ("KID 0.107", "SSIM 0.107", False),
        ({"psnr": 20.0}, 20.0, False),
    ],
)
def test_numbers_agree_within_a_hundredth_and_texts_up_to_their_numbers(stated, measured, agree):
    assert (not scores.differences({"it": stated}, {"it": measured})) is agree


def test_lists_are_compared_by_the_names_of_their_parts():
    card = {"pictures": [{"name": "cat", "psnr": 20.0}, {"name": "crop 101", "psnr": 20.0}], "classes": [1.0, 2.0]}
    assert not scores.differences(card, {**card, "pictures": [{**p, "psnr": 20.1} for p in card["pictures"]]})
    measured = {"pictures": [{"name": "cat", "psnr": 21.0}, {"name": "crop 102", "psnr": 20.0}], "classes": [1.0, 3.0]}
    assert scores.differences(card, measured) == [
        "pictures.cat.psnr is 21 here and 20 in the card",
        "pictures.crop 101 is in the card and not measured here",
        "pictures.crop 102 is measured here and missing in the card",
        "classes.1 is 3 here and 2 in the card",
    ]


def test_without_tolerance_everything_is_the_same_or_different():
    assert scores.differences({"macs": 20_480_000}, {"macs": 20_480_001}, tolerance=0)
    assert not scores.differences({"macs": 20_480_000}, {"macs": 20_480_000}, tolerance=0)


# ---- the whole way, with tiny networks ------------------------------------------------------------------------------


SHOES = ResnetArchitecture(ChannelConfig.uniform(8), 1, False, 1, 1)
TINY = {
    "edges2shoes/teacher": SHOES,
    SUPERNET: ArchitectureSpace(SHOES, SearchSpace(((8,), *((8, 4),) * 6, (8,)))),
    "flat2gloss_unpaired/teacher": dataclasses.replace(SHOES, in_channels=3, out_channels=3),
    JUDGE: SegmenterArchitecture(classes=10, width=8),
    JUDGED: SpadeArchitecture(ChannelConfig.parse("8_4_2_2_2_2_4_8"), upsampling="normal", label_channels=10),
    "photos_x4/teacher": RrdbArchitecture(blocks=1, width=8, growth=8),
}
PICTURES = 24
MEASURED: dict[str, dict] = {}
MODELS = catalogue.LIST["models"]


def in_list(architecture) -> dict:
    """An architecture, or a space of an elastic one, as the list of experiments writes it."""
    if isinstance(architecture, ArchitectureSpace):
        return {"space": {name: value for name, value in architecture.as_dict().items() if name != "family"}}
    return {"network": values_of(architecture)}


def small(name: str) -> Task:
    """A task of the zoo with few test pictures: an evaluation of seconds, by the real measures."""
    task = load_task(name)
    return dataclasses.replace(few(task, PICTURES, "test"), fingerprint=task.fingerprint)


@pytest.fixture(scope="module")
def tiny_root(tmp_path_factory) -> Path:
    """A folder with a copy of the pictures and an empty zoo, which the tests of this module fill once."""
    root = tmp_path_factory.mktemp("tiny")
    shutil.copytree(data_root(), root / "data", ignore=shutil.ignore_patterns("results", "zoo"))
    (root / "data/README.md").write_text(f"Models\n{training.TABLE_BEGINS}\nold\n{training.TABLE_ENDS}\nthe end\n")
    return root


@pytest.fixture
def tiny_zoo(tiny_root, monkeypatch) -> Callable[[str], zoo.ZooModel]:
    """The models of TINY, each trained when first asked for: two steps, and a card from few test pictures."""
    monkeypatch.setenv("GANCOMP_DATA", str(tiny_root / "data"))
    monkeypatch.setenv("GANCOMP_CACHE", str(tiny_root / "cache"))
    monkeypatch.setattr(training, "load_task", small)
    for name, architecture in TINY.items():
        quick = {"steps": 2, "batch_size": 2, "lr": 1e-4, **in_list(architecture)}
        narrow = {"critic_width": 8} if "critic_width" in MODELS[name] else {}
        rest = {part: value for part, value in MODELS[name].items() if part not in ("perceptual_weight", "warp")}
        monkeypatch.setitem(MODELS, name, {**rest, **quick, **narrow})

    def model(name: str) -> zoo.ZooModel:
        if name == JUDGED:
            model(JUDGE)
        if teacher := shipped_models.model_of(name).options.get("teacher"):
            model(teacher)
        return zoo.load(name) if name in training.shipped() else shipped_models.train(name)

    return model


@pytest.fixture
def card_of(tiny_zoo) -> Iterator[Callable[[str], Path]]:
    """The card of a tiny model, to tamper with; the test's changes are undone."""
    saved: dict[Path, str] = {}

    def path(name: str) -> Path:
        tiny_zoo(name)
        card = data_root() / "zoo" / name / "card.json"
        saved[card] = card.read_text(encoding="utf-8")
        return card

    yield path
    for card, text in saved.items():
        card.write_text(text, encoding="utf-8")


@pytest.fixture
def measured_once(monkeypatch) -> None:
    """A model is measured when first asked for; what follows compares values."""
    measure = training._measured
    monkeypatch.setattr(
        training, "_measured", lambda name, task: MEASURED.get(name) or MEASURED.setdefault(name, measure(name, task))
    )


def rewrite(card: Path, change: Callable[[dict], object]) -> None:
    values = json.loads(card.read_text(encoding="utf-8"))
    change(values)
    card.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize("name", TINY)
def test_recipe_is_trained_graded_and_shipped(tiny_zoo, name):
    model, folder = tiny_zoo(name), data_root() / "zoo" / name
    assert model.card["settings"]["steps"] == 2
    assert model.generator.architecture == TINY[name]
    ships = set(shipped_models.model_of(name).ships)
    assert set(model.models) == ships
    assert {path.name.split(".")[0] for path in folder.glob("*.safetensors.xz")} == ships
    assert f"# {name}" in (folder / "card.md").read_text(encoding="utf-8")
    with Image.open(folder / "grid.webp") as grid:
        assert grid.width > 300
        assert (grid.width, grid.height) < (1400, 1400)


@pytest.mark.parametrize("name", TINY)
def test_a_fresh_model_agrees_with_its_card(tiny_zoo, name):
    tiny_zoo(name)
    assert shipped_models.check(name) == []


def test_each_kind_of_model_has_the_scores_of_its_kind(tiny_zoo):
    quality = {name: tiny_zoo(name).card["quality"] for name in TINY}
    assert quality["edges2shoes/teacher"]["copy"]["psnr"] > 0
    assert quality["flat2gloss_unpaired/teacher"]["backward"]["psnr"] > 0
    narrowest = tiny_zoo(SUPERNET).generator.extract(TINY[SUPERNET].narrowest)
    again = evaluate_generator(narrowest, small("edges2shoes"))
    assert quality[SUPERNET]["narrowest"]["psnr"] == pytest.approx(again.psnr)
    assert {"miou", "real_miou"} <= quality[JUDGED]["segmentation"].keys()
    assert "copy" not in quality[JUDGED], "a map is no picture"
    assert {"miou", "accuracy"} <= quality[JUDGE].keys()
    large = quality["photos_x4/teacher"]
    assert large["bicubic_psnr_y_photos"] > 20
    assert len(large["pictures"]) == large["photos"] + large["crops"]
    text = (data_root() / "zoo" / "photos_x4/teacher/card.md").read_text(encoding="utf-8")
    assert all(f"| {each['name']} | {each['psnr_y']:.2f} |" in text for each in large["pictures"])
    for name, numbers in quality.items():
        text = (data_root() / "zoo" / name / "card.md").read_text(encoding="utf-8")
        assert all(part["text"] in text for part in [numbers, *numbers.values()] if isinstance(part, dict))


def test_a_model_that_convinces_nobody_is_shown_and_not_shipped(tiny_zoo, monkeypatch):
    name = "flat2gloss_unpaired/teacher"
    monkeypatch.setitem(MODELS, name, {**MODELS[name], "ships": []})
    shown_root = data_root().parent / "shown"
    shutil.copytree(data_root(), shown_root, ignore=shutil.ignore_patterns("zoo"))
    monkeypatch.setenv("GANCOMP_DATA", str(shown_root))
    shown, folder = shipped_models.train(name), data_root() / "zoo" / name
    assert set(shown.models) == {"generator", "backward_generator"}
    assert {path.name for path in folder.iterdir()} == {"card.json", "card.md", "grid.webp"}
    assert zoo.grid(name).width > 300
    assert name not in zoo.names()
    assert shipped_models.check(name) == []
    with pytest.raises(GancompError, match=r"ships no weights, because its quality is too low: see .*card\.md"):
        zoo.load(name)


def test_samples_show_what_the_model_makes_of_test_pictures(tiny_zoo):
    for name, labels in {
        "edges2shoes/teacher": ["given", "generated", "real"],
        JUDGE: ["satellite", "segmenter", "land cover"],
        "photos_x4/teacher": ["small photo", "bicubic", "network", "original"],
    }.items():
        tiny_zoo(name)
        rows = zoo.samples(name, count=3)
        assert list(rows) == labels
        assert len({row.shape[2:] for row in rows.values()}) == 1
        assert all(len(row) == 3 for row in rows.values())


def test_model_that_ships_without_a_discriminator_says_so(tiny_zoo):
    with pytest.raises(GancompError, match=r"'photos_x4/teacher' has no discriminator in the zoo, only generator;"):
        _ = tiny_zoo("photos_x4/teacher").discriminator
    assert isinstance(tiny_zoo("edges2shoes/teacher").discriminator, PatchDiscriminator)


def test_multi_scale_discriminator_comes_back_from_its_file(tiny_zoo, monkeypatch):
    tiny_zoo(JUDGED)
    both = {**MODELS[JUDGED], "ships": ["generator", "discriminator"]}
    with monkeypatch.context() as patch:
        patch.setitem(MODELS, JUDGED, both)
        assert isinstance(shipped_models.train(JUDGED).discriminator, MultiScaleDiscriminator)
    assert set(shipped_models.train(JUDGED).models) == {"generator"}
    assert shipped_models.check(JUDGED) == [], "the network that is no longer kept is gone"


def test_a_finished_training_is_not_repeated(tiny_zoo):
    before = tiny_zoo("photos_x4/teacher").card
    checkpoint = training.cache_root() / "zoo/photos_x4-teacher.ckpt"
    written = checkpoint.stat().st_mtime_ns
    assert shipped_models.train("photos_x4/teacher").card == before
    assert checkpoint.stat().st_mtime_ns == written


def test_a_training_that_fails_in_its_evaluation_leaves_the_old_model(tiny_zoo, monkeypatch):
    name = "edges2shoes/teacher"
    tiny_zoo(name)

    def fail(*_, **__):
        raise KeyboardInterrupt

    wider = {**MODELS[name], **in_list(dataclasses.replace(SHOES, blocks=2))}
    checkpoint = training.cache_root() / "zoo/edges2shoes-teacher.ckpt"
    finished = checkpoint.read_bytes()
    checkpoint.unlink()
    with monkeypatch.context() as patch:
        patch.setitem(MODELS, name, wider)
        patch.setattr(scores, "evaluate_generator", fail)
        with pytest.raises(KeyboardInterrupt):
            shipped_models.train(name)
    checkpoint.write_bytes(finished)
    assert zoo.load(name).generator.architecture.blocks == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda card: card["quality"].update(psnr=card["quality"]["psnr"] + 1), r"quality\.psnr is .* here and"),
        (lambda card: card["quality"]["copy"].update(kid=0.5), r"quality\.copy\.kid is "),
        (lambda card: card["quality"].pop("ssim"), r"quality\.ssim is measured here and missing in the card"),
        (lambda card: card.update(data="0" * 64), r"the task's fingerprint is '[0-9a-f]{64}' here and '0000"),
        (lambda card: card["cost"].update(macs=card["cost"]["macs"] + 1), r"cost\.macs is "),
        (lambda card: card["settings"].update(steps=3), r"the list's settings\.steps is 2 here and 3 in the card"),
        (lambda card: card["architecture"].update(blocks=2), r"the list's architecture\.blocks is 1 here and 2"),
        (lambda card: card["files"].popitem(), r"the card lists generator\.safetensors, and the folder holds"),
    ],
)
def test_check_finds_a_card_that_says_something_else(card_of, measured_once, change, told):
    card = card_of("edges2shoes/teacher")
    rewrite(card, change)
    (sentence,) = shipped_models.check("edges2shoes/teacher")
    assert re.search(told, sentence)
    assert sentence.startswith("edges2shoes/teacher: ")


def test_check_finds_a_text_that_flatters(card_of, measured_once):
    rewrite(card_of("edges2shoes/teacher"), lambda card: card["quality"].update(text="KID 0.001"))
    sentences = "\n".join(shipped_models.check("edges2shoes/teacher"))
    assert "quality.text is 'KID" in sentences
    assert "card.md is missing or does not say what card.json says" in sentences


def test_check_goes_on_after_a_model_that_is_missing_and_returns_1(card_of, tiny_zoo, capsys):
    tiny_zoo("photos_x4/teacher")
    card_of("edges2shoes/teacher").unlink()
    assert main(["zoo", "check", "edges2shoes/teacher", "photos_x4/teacher"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert re.match(r"edges2shoes/teacher: There is no model 'edges2shoes/teacher' in .*", said[0])
    assert said[1:] == ["photos_x4/teacher: agrees with its card", "1 of 2 models agree with their cards."]
    assert main(["zoo", "check", "photos_x4/teacher"]) == 0


def test_check_of_a_judged_model_names_the_judge_that_is_missing(card_of):
    card_of(JUDGED)
    card_of(JUDGE).unlink()
    (sentence,) = shipped_models.check(JUDGED)
    assert sentence.startswith(f"{JUDGED}: There is no model '{JUDGE}' in")


def test_regrading_mends_a_card_and_keeps_what_the_training_said(card_of):
    name = "edges2shoes/teacher"
    card = card_of(name)
    before = json.loads(card.read_text(encoding="utf-8"))
    rewrite(card, lambda values: (values["quality"].pop("perceptual"), values["cost"].pop("pixels")))
    assert main(["zoo", "evaluate", name]) == 0
    assert json.loads(card.read_text(encoding="utf-8")) == before


def test_table_has_a_row_for_each_shipped_model_and_is_written_between_its_marks(tiny_zoo, capsys):
    for name in TINY:
        tiny_zoo(name)
    assert main(["zoo", "table", "--write"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert len(lines) == 2 + len(TINY) + 2  # the head, and how long all of them took
    assert len({line.count("|") for line in lines[:-2]}) == 1
    assert "| [photos_x4/teacher](zoo/photos_x4/teacher/card.md) | RRDBNet: " in printed
    assert "read by the segmenter: mIoU" in printed
    text = (data_root() / "README.md").read_text(encoding="utf-8")
    assert text == f"Models\n{training.TABLE_BEGINS}\n{printed}{training.TABLE_ENDS}\nthe end\n"
