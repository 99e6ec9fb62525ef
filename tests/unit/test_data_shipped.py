"""What holds for all shipped pictures: splits, fingerprints, licences, and what a damaged file is told."""

import json
import subprocess
import sys

import pytest

from factories import copied, refused
from gancomp_core.data import load_task, planet, task_names
from gancomp_core.data.photos import whole_photos
from gancomp_core.errors import GancompError
from gancomp_core.files import REPOSITORY, sha256

DATA = REPOSITORY / "data"
MANIFESTS = {
    folder: json.loads((DATA / folder / "manifest.json").read_text(encoding="utf-8"))
    for folder in ("edges2shoes", "emoji", "planet", "photos")
}
#: Every file that a task reads, with such a task.
READ_BY = {
    "edges2shoes": dict.fromkeys(("photos.png", "edges.png", "labels.npy"), "edges2shoes"),
    "emoji": {"lines.webp": "lines2gloss", **dict.fromkeys(("flat.webp", "gloss.webp", "names.json"), "flat2gloss")},
    "planet": {planet.COVER: "landcover2satellite", planet.SUMMER: "summer2winter", planet.WINTER: "summer2winter"},
    "photos": dict.fromkeys((photo["file"] for photo in MANIFESTS["photos"]["photos"]), "photos_x4"),
}
USERS = {
    "edges2shoes": ["edges2shoes"],
    "emoji": ["flat2gloss_unpaired", "lines2gloss"],
    "planet": ["landcover2satellite", "summer2winter"],
    "photos": ["photos_x4"],
}


@pytest.fixture
def copy(request, tmp_path, monkeypatch):
    """A copy of the files of ``folder`` that may be damaged; tasks are read from it."""
    folder = request.getfixturevalue("folder")
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path))
    return copied(DATA / folder, [*READ_BY[folder], "manifest.json"], tmp_path)


# ---- tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pictures", "kind", "sides"),
    [
        ("edges2shoes", (16_500, 1_500, 3_000), "paired", (1, 32, 1, 32)),
        ("landcover2satellite", (2_090, 117, 208), "paired", (10, 64, 3, 64)),
        ("summer2winter", ((832, 753), 32, 91), "hidden pairs", (3, 64, 3, 64)),
        ("photos_x4", (198, 46, 26), "paired", (3, 48, 3, 192)),
        ("flat2gloss", tuple(MANIFESTS["emoji"]["splits"].values()), "paired", (3, 64, 3, 64)),
        ("flat2gloss_128", tuple(MANIFESTS["emoji"]["splits"].values()), "paired", (3, 128, 3, 128)),
        ("lines2gloss", tuple(MANIFESTS["emoji"]["splits"].values()), "paired", (1, 64, 3, 64)),
        ("lines2gloss_128", tuple(MANIFESTS["emoji"]["splits"].values()), "paired", (1, 128, 3, 128)),
    ],
)
def test_a_task_has_the_promised_splits_and_shapes(name, pictures, kind, sides):
    task = load_task(name)
    assert name in task_names()
    train = (len(task.train.sources), len(task.train.targets))
    found = (train if train[0] != train[1] else train[0], len(task.search), len(task.test))
    assert found == pictures
    assert (task.paired, task.hidden_pairs, task.scored_in_pairs) == (kind == "paired", kind == "hidden pairs", True)
    channels, small, painted, large = sides
    assert (task.source_channels, task.target_channels) == (channels, painted)
    assert (task.size, task.scale) == (large, large // small)
    for split in (task.train, task.search, task.test):
        assert split.sources[2:5].shape == (3, channels, small, small)
        assert split.targets[2:5].shape == (3, painted, large, large)


def test_fingerprints_tell_tasks_apart_and_are_the_same_in_another_process():
    mine = {name: load_task(name).fingerprint for name in task_names()}
    assert len(set(mine.values())) == len(mine)
    asked = ["edges2shoes", "flat2gloss_unpaired", "landcover2satellite", "summer2winter", "photos_x4"]
    command = f"from gancomp_core.data import load_task as t; [print(t(name).fingerprint) for name in {asked}]"
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert other.stdout.split() == [mine[name] for name in asked]


# ---- files ----------------------------------------------------------------------------------------------------------

FILES = [(folder, file) for folder, files in READ_BY.items() for file in [*files, "manifest.json"]]


@pytest.mark.parametrize("damage", ["is missing", "cut in half", "a flipped bit"])
@pytest.mark.parametrize(("folder", "file"), FILES)
def test_a_file_that_is_not_what_it_was_names_the_command_that_restores_it(copy, folder, file, damage):
    task = READ_BY[folder].get(file, USERS[folder][0])
    whole = (copy / file).read_bytes()
    if damage == "is missing":
        (copy / file).unlink()
    elif damage == "cut in half":
        (copy / file).write_bytes(whole[: len(whole) // 2])
    elif file != "manifest.json":
        (copy / file).write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    else:
        (copy / file).write_bytes(b"[" + whole[1:])
    told = damage if damage == "is missing" else "is damaged"
    with refused(f"{file} {told}; `git checkout -- data/{folder}/{file}`"):
        load_task(task)


@pytest.mark.parametrize("folder", READ_BY)
def test_restored_files_are_read_again(copy, folder):
    first, task = next(iter(READ_BY[folder].items()))
    whole = (copy / first).read_bytes()
    (copy / first).write_bytes(b"")
    with pytest.raises(GancompError):
        load_task(task)
    (copy / first).write_bytes(whole)
    assert len(load_task(task).test)


CONTENTS = ["{}", "[]", "\ufeff{", '{"splits": 3, "photos": 3}', '{"classes": [{"name": "water"}], "photos": []}']


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(("folder", "user"), [(folder, user) for folder, users in USERS.items() for user in users])
def test_a_manifest_with_other_content_is_called_damaged(copy, folder, user, content):
    (copy / "manifest.json").write_text(content, encoding="utf-8")
    for load in [lambda: load_task(user), *[whole_photos] * (user == "photos_x4")]:
        with pytest.raises(GancompError, match=r"manifest\.json is damaged"):
            load()


def test_a_missing_data_folder_says_how_to_name_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCOMP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(GancompError, match="set GANCOMP_DATA"):
        load_task("edges2shoes")


@pytest.mark.parametrize(
    ("folder", "megabytes", "licence", "attribution"),
    [
        ("edges2shoes", 9.0, "Zalando SE", "Zalando"),
        ("emoji", 5.5, "Copyright (c) Microsoft Corporation", "Microsoft"),
        ("planet", 5.0, "LP DAAC|Jeffrey Whitaker|Vasco Asturiano|Apache License", "NASA"),
    ],
)
def test_a_manifest_records_licence_source_and_checksums(folder, megabytes, licence, attribution):
    manifest = MANIFESTS[folder]
    sources = manifest.get("sources", {"": manifest.get("source")}).values()
    assert all(attribution in source["attribution"] and source["licence"] for source in sources)
    assert len(manifest["inputs"]) >= 3
    assert set(manifest["outputs"]) >= set(READ_BY[folder]) - {"names.json"}
    assert all(sha256(DATA / folder / name) == digest for name, digest in manifest["outputs"].items())
    words = (DATA / folder / "LICENSE").read_text(encoding="utf-8")
    assert all(word in words for word in licence.split("|"))
    assert sum(path.stat().st_size for path in (DATA / folder).iterdir() if path.is_file()) < megabytes * 1e6
