"""One list of packages, told alike to pip, conda and the reader."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from jupyterlab_server import settings_utils
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import gancomp_core
from tools import oldest

CONDA_NAME = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # the same elsewhere
NOT_ON_CONDA_FORGE = {"lightning-fabric"}
PARTS_OF_OTHERS = {"cycler", "IPython", "traitlets", "jupyter_client"}  # of matplotlib's and Jupyter's own interfaces
ONLY_IF_PRESENT = {"torch_fidelity", "torchvision", "google"}  # imported where a reader happens to have them
ONLY_FOR_TYPES = {"_typeshed"}  # what type checkers bring along


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def conda(repository: Path) -> dict:
    return yaml.safe_load((repository / "environment.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, Version]:
    lines = [
        line for line in (repository / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"
    ]
    pinned = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert all(pinned), [line for line, match in zip(lines, pinned, strict=True) if not match]
    return {canonicalize_name(match[1]): Version(match[2]) for match in pinned if match}


@pytest.fixture(scope="module")
def make(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", repository / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def everything(project: dict) -> list[Requirement]:
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


# ---- pyproject, constraints, conda --------------------------------------------------------------------------------


def test_version_is_the_same_everywhere(repository: Path) -> None:
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == gancomp_core.__version__


def test_every_package_asked_for_is_pinned_within_its_bounds(project: dict, pins: dict[str, Version]) -> None:
    for wanted in everything(project):
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), str(wanted)


def test_torch_is_pinned_first_so_that_it_is_installed_first(repository: Path, pins: dict[str, Version]) -> None:
    assert next(iter(pins)) == "torch"


def test_every_package_that_comes_along_is_pinned(project: dict, pins: dict[str, Version]) -> None:
    """Walks what is installed here, from the package's own requirements down."""
    todo, seen = [(wanted.name, wanted.extras) for wanted in everything(project)], set()
    while todo:
        name, extras = todo.pop()
        name = canonicalize_name(name)
        if name in seen:
            continue
        seen.add(name)
        try:
            below = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that this environment has not
        for text in below:
            wanted = Requirement(text)
            if any(not wanted.marker or wanted.marker.evaluate({"extra": extra}) for extra in extras | {""}):
                todo.append((wanted.name, wanted.extras))
    cuda = {name for name in seen if name.startswith(("nvidia-", "cuda-")) or name == "triton"}  # torch pins its own
    assert seen - cuda - pins.keys() == set()


def test_package_imports_only_what_it_asks_for(project: dict, repository: Path) -> None:
    asked = {canonicalize_name(wanted.name) for wanted in everything(project)}
    providers = importlib.metadata.packages_distributions()
    for path in (repository / "gancomp_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            roots = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"gancomp_core"}
            for name in roots - PARTS_OF_OTHERS - ONLY_IF_PRESENT - ONLY_FOR_TYPES:
                given_by = {canonicalize_name(package) for package in providers.get(name, [name])}
                assert given_by & asked, f"{path} imports {name}"


def test_conda_and_pip_ask_for_the_same_packages_with_the_same_bounds(project: dict, conda: dict) -> None:
    from_conda = [text for text in conda["dependencies"] if isinstance(text, str)]
    (from_pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    expected_conda, expected_pip = {f"python{project['requires-python']}", "pip"}, {"-e ."}
    for text in project["dependencies"] + project["optional-dependencies"]["lab"]:
        wanted = Requirement(text)
        if wanted.name in NOT_ON_CONDA_FORGE:
            expected_pip.add(text)
        else:
            expected_conda.add(CONDA_NAME.get(wanted.name, wanted.name) + str(wanted.specifier))
    assert set(from_conda) == expected_conda
    assert set(from_pip) == expected_pip
    assert len(from_conda) == len(set(from_conda))


def test_conda_reads_every_line_of_the_environment(conda: dict) -> None:
    from rattler import MatchSpec

    assert conda["channels"] == ["conda-forge", "nodefaults"]
    for text in conda["dependencies"]:
        if isinstance(text, str):
            spec = MatchSpec(text, strict=True)
            assert spec.name is not None
            assert text.startswith(spec.name.normalized)
            assert (spec.version is not None) == (text != "pip")


def test_the_oldest_releases_are_the_bounds_of_the_library_and_what_tests_need_is_asked_for_too(project: dict) -> None:
    bounds = oldest.lower_bounds(project, torch=None)
    asked = project["dependencies"] + project["optional-dependencies"]["lab"]
    assert [f"{name}>={bound}" for name, bound in bounds.items()] == asked
    assert oldest.lower_bounds(project, torch="3.0")["torch"] == "3.0"
    assert set(oldest.FOR_TESTS) <= set(project["optional-dependencies"]["test"])
    assert all((oldest.ROOT / path).exists() for path in oldest.tests([]) if path.startswith("tests/"))


# ---- make ---------------------------------------------------------------------------------------------------------


def make_says(repository: Path, *arguments: str) -> subprocess.CompletedProcess:
    if not shutil.which("make"):
        pytest.skip("this system has no make; make.py does the same")
    outer = {
        "MAKEFLAGS",
        "MAKELEVEL",
        "MFLAGS",
        "ARGS",
        "NOTEBOOKS",
        "PROFILE",
        "PYTHON",
    }  # the tests themselves run under make
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=repository, env=environment, capture_output=True, text=True)


def test_make_lists_what_one_can_do(repository: Path) -> None:
    done = make_says(repository)
    assert done.returncode == 0
    for target in ("help", "lab", "run", "test", "lint", "oldest", "bench", "site", "zoo", "zoo-check", "clean"):
        assert f"make {target} " in done.stdout


def test_make_hands_notebooks_and_profile_on(repository: Path) -> None:
    done = make_says(repository, "--dry-run", "run", "NOTEBOOKS=00 03", "PROFILE=standard", "PYTHON=python")
    assert done.stdout.split() == "python make.py run 00 03 --profile standard".split()


def test_every_command_of_make_py_is_a_target_of_make(repository: Path) -> None:
    said = subprocess.run([sys.executable, "make.py", "--help"], cwd=repository, capture_output=True, text=True).stdout
    commands = re.search(r"\{([a-z,-]+)\}", said)
    assert commands
    targets = re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(targets) == {*commands[1].split(","), "help"}


@pytest.mark.parametrize(("arguments", "chosen"), [([], ["--all"]), (["edges2shoes/teacher"], ["edges2shoes/teacher"])])
def test_zoo_check_takes_names_or_checks_all(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str], chosen: list[str]
) -> None:
    monkeypatch.setattr(make, "call", lambda command: command)
    assert make.zoo_check("python", arguments) == ["python", "-m", "gancomp_core", "zoo", "check", *chosen]


def test_make_lab_asks_no_question_about_news_and_looks_for_no_updates(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(make, "call", lambda command: command)
    [given] = [word for word in make.lab("python", []) if "app_settings_dir" in word]
    folder = given.partition("=")[2]
    schemas = Path(sys.prefix) / "share" / "jupyter" / "lab" / "schemas"
    overrides, _ = settings_utils._get_overrides(folder)  # JupyterLab's own reading
    plugin = "@jupyterlab/apputils-extension:notification"
    found, _ = settings_utils.get_settings(folder, str(schemas), str(tmp_path), plugin, overrides=overrides)
    properties = found["schema"]["properties"]
    assert (properties["fetchNews"]["default"], properties["checkForUpdates"]["default"]) == ("false", False)


def test_ci_does_what_a_user_does(repository: Path) -> None:
    lines = [line.strip() for line in (repository / ".ci" / "run").read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line and not line.startswith("#")][-1] == "make test"
    assert os.name == "nt" or os.access(repository / ".ci" / "run", os.X_OK)


def test_python_too_old_is_told_in_one_sentence(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "OLDEST", (3, 99))
    with pytest.raises(make.Refused, match=r"needs Python 3\.99 or newer and found only 3\.\d+; .*PYTHON=") as caught:
        make.suitable_python()
    assert "\n" not in str(caught.value)


def test_python_that_does_not_start_is_passed_over(make: ModuleType, tmp_path: Path) -> None:
    assert make.answers(sys.executable)
    assert not make.answers(str(tmp_path / "python3.13"))


def test_packages_are_installed_again_only_when_the_list_changes(
    make: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("torch==2.13.0\n")
    monkeypatch.setattr(make, "HERE", tmp_path)
    before = make.fingerprint(sys.executable)
    os.utime(tmp_path / "pyproject.toml", (0, 0))
    assert make.fingerprint(sys.executable) == before, "a file that git wrote anew is not a change"
    (tmp_path / "constraints.txt").write_text("torch==2.13.1\n")
    assert make.fingerprint(sys.executable) != before
