"""Every committed notebook keeps the contract, and the contract notices each breach."""

import base64
import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from gancomp_core.course import notebook_files as files
from gancomp_core.files import REPOSITORY
from tools.notebook_contract import violations

COMMITTED = sorted(files.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((files.NOTEBOOKS / "solutions").glob("*.ipynb"))
NEEDED = {"parameters", "nbval-setup"}  # what the cells tagged 'nbval-check' stand on


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_notebook_keeps_the_contract(path):
    found = violations(path)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("path", COMMITTED + SOLUTIONS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_valid_and_cleaned(path):
    notebook = files.read_notebook(path)
    nbformat.validate(notebook)
    assert files.cleaned(notebook).metadata == notebook.metadata
    assert any("parameters" in files.tags(cell) for cell in notebook.cells), "no cell is tagged 'parameters'"


@pytest.mark.notebooks
def test_fixed_cells_can_be_validated_by_nbval(tmp_path):
    """The cells tagged 'nbval-check' of the first notebook, after those tagged 'parameters' and 'nbval-setup'."""
    notebook = files.read_notebook(COMMITTED[0])
    notebook.cells = [cell for cell in notebook.cells if set(files.tags(cell)) & {"nbval-check", *NEEDED}]
    for cell in notebook.cells:
        cell.metadata["tags"] = ["nbval-check-output"] if "nbval-check" in files.tags(cell) else []
    files.write_notebook(notebook, tmp_path / "fixed.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "-q",
        str(tmp_path / "fixed.ipynb"),
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


# --- the contract itself --------------------------------------------------------------------------------------------

PNG = base64.b64encode(b"\x89PNG").decode()


def good_notebook():
    """The smallest notebook that keeps the contract."""
    goals = "- see\n- count\n- measure"
    cells = [
        new_markdown_cell(f"# A title\n\nIt costs <!-- costs -->20 seconds<!-- /costs -->.\n\nYou will\n\n{goals}"),
        new_code_cell('PROFILE = "standard"\nSEED = 0', metadata={"tags": ["parameters"]}),
        new_code_cell('predict("a", "Which?", ["x", "y"])\nreveal("a", "x")'),
    ]
    for name in ("one", "two", "three"):
        cells.append(new_markdown_cell("Try. <details><summary>Hint</summary>Think.</details>"))
        cells.append(new_code_cell(f"def {name}():\n    ...", metadata={"tags": [f"exercise:{name}"]}))
        cells.append(new_code_cell(f"check.{name}({name})"))
    picture = new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": "A line"}})
    cells.append(new_code_cell("explore(draw)\nsmall_multiples(draw, [{}], alt='A line')", outputs=[picture]))
    cells.append(new_code_cell("a = 1\n" * 40))
    cells.append(new_markdown_cell("## Recap"))
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}}
    )


def breaches(notebook, tmp_path, name="00_good.ipynb"):
    nbformat.write(notebook, tmp_path / name)
    return "\n".join(violations(tmp_path / name))


def test_a_good_notebook_has_no_violation(tmp_path):
    assert breaches(good_notebook(), tmp_path) == ""


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def output(**data):
    return new_output("display_data", {key.replace("_", "/", 1): value for key, value in data.items()})


BREACHES = {
    "begin with the title": lambda nb: nb.cells.pop(0),
    "lists 2 goals": lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("\n- see", "")),
    "header lacks <!-- costs -->": lambda nb: nb.cells[0].update(
        source=nb.cells[0].source.replace("<!-- costs -->", "")
    ),
    "has not been measured": lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("20 seconds", "")),
    "0 cells are tagged 'parameters'": lambda nb: nb.cells[1].metadata.update(tags=[]),
    "must set SEED = 0": lambda nb: nb.cells[1].update(source='PROFILE = "standard"'),
    'must set PROFILE = "standard"': lambda nb: nb.cells[1].update(source='PROFILE = "fast"\nSEED = 0'),
    "at most 40 are wanted": lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nx = 1" * 50),
    "2 cells tagged 'exercise:<name>'": lambda nb: nb.cells[4].metadata.update(tags=[]),
    "exercise one is never checked": lambda nb: nb.cells[5].update(source="pass"),
    "exercise one has no folded hint": lambda nb: [nb.cells[i].update(source="Try.") for i in (3, 6)],
    "never asks for a prediction": lambda nb: nb.cells[2].update(source="pass"),
    "'a' is never revealed": lambda nb: nb.cells[2].update(source='predict("a", "Which?", ["x", "y"])'),
    "no recap": lambda nb: nb.cells[-1].update(source=nb.cells[-1].source.replace("## Recap", "## End")),
    "no static twin": lambda nb: nb.cells[12].update(source="explore(draw)"),
    "outputs are not committed": lambda nb: nb.cells[12].update(outputs=[]),
    "has not been executed": lambda nb: nb.cells[2].update(execution_count=None),
    "ends with an error, ValueError": lambda nb: nb.cells[2].outputs.append(
        new_output("error", ename="ValueError", evalue="", traceback=[])
    ),
    "writes to stderr": lambda nb: nb.cells[2].outputs.append(stream("UserWarning: old", "stderr")),
    "holds a live widget": lambda nb: nb.cells[2].outputs.append(
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}})
    ),
    "a picture of 200 kB": lambda nb: nb.cells[2].outputs.append(
        output(image_png=base64.b64encode(bytes(200_000)).decode())
    ),
    "a picture without alt text": lambda nb: nb.cells[2].outputs.append(output(image_png=PNG)),
    "an <img> without alt text": lambda nb: nb.cells[2].outputs.append(output(text_html="<img src='x.png'>")),
    "a path of one computer, /home/ann/x.py": lambda nb: nb.cells[2].outputs.append(stream("in /home/ann/x.py")),
    r"a path of one computer, C:\Users\ann": lambda nb: nb.cells[2].outputs.append(stream(r"in C:\Users\ann")),
    "names a path of one computer": lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nx = '/home/ann/x'"),
    "metadata holds 'widgets'": lambda nb: nb.metadata.update(widgets={}),
    "kernel must be 'python3'": lambda nb: nb.metadata.kernelspec.update(name="conda-env"),
    "the file has 3.": lambda nb: nb.cells[2].outputs.append(stream("x" * 3_100_000)),
}


@pytest.mark.parametrize("words", BREACHES)
def test_a_breach_is_told(words, tmp_path):
    notebook = good_notebook()
    BREACHES[words](notebook)
    assert words in breaches(notebook, tmp_path)


def test_method_notebooks_need_a_budget_slider(tmp_path):
    assert "no budget slider" in breaches(good_notebook(), tmp_path, "03_feature_kd.ipynb")


def test_cleaning_drops_what_belongs_to_one_machine_and_keeps_warnings():
    notebook = good_notebook()
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox()"}
    notebook.cells[2].outputs = [
        new_output("display_data", view),
        new_output("display_data", view | {"text/html": "<p>static twin</p>"}),
        stream(" 40%|####      | 4/10 [00:01<00:02]\r100%|##########| 10/10 [00:03<00:00]\n", "stderr"),
        stream("UserWarning: old\n", "stderr"),
        stream(f"in {REPOSITORY}{os.sep}data\n"),
    ]
    notebook.cells[2].metadata["execution"] = {"iopub": 1}
    notebook.metadata["widgets"] = {"state": {}}
    kept = files.cleaned(notebook)
    assert [o.get("text") or o.data["text/html"] for o in kept.cells[2].outputs] == [
        "<p>static twin</p>",
        "UserWarning: old\n",
        "in data\n",
    ]
    assert kept.cells[2].metadata == {}
    assert "widgets" not in kept.metadata
