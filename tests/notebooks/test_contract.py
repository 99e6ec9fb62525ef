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
from tools.notebook_sections import FOLDED, names, parts

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


def deeper(title, *code):
    """The cells of a deeper section: its heading, folded, and code."""
    heading = new_markdown_cell(f"## Deeper: {title}\n\nMore.", metadata={FOLDED: True, "tags": ["deeper"]})
    return [heading, *map(new_code_cell, code)]


def good_notebook():
    """The smallest notebook that keeps the contract: a core of 25 cells and two deeper sections."""
    goals = "- see\n- count\n- measure"
    links = "[one](#Deeper:-One-more), [two](#Deeper:-Two)"
    path = f"**Core path:** sections 1 to 2, about 40 minutes. **Deeper:** {links}"
    cells = [
        new_markdown_cell(
            f"# A title\n\nIt costs <!-- costs -->20 seconds<!-- /costs -->.\n\nYou will\n\n{goals}\n\n{path}"
        ),
        new_code_cell('PROFILE = "standard"\nSEED = 0', metadata={"tags": ["parameters"]}),
        new_code_cell('predict("a", "Which?", ["x", "y"])\nreveal("a", "x")'),
    ]
    for name in ("one", "two", "three"):
        cells.append(new_markdown_cell("Try. <details><summary>Hint</summary>Think.</details>"))
        cells.append(new_code_cell(f"def {name}():\n    ...", metadata={"tags": [f"exercise:{name}"]}))
        cells.append(new_code_cell(f"check.{name}({name})"))
    picture = new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": "A line"}})
    cells.append(new_code_cell("display(explore(draw))\nsmall_multiples(draw, [{}], alt='A line')", outputs=[picture]))
    cells.append(new_code_cell("a = 1\n" * 40, metadata={"jupyter": {"source_hidden": True}}))
    cells += [new_markdown_cell("## 1 First"), new_code_cell("b = 2\ndef f():\n    return b")]
    cells += [new_markdown_cell("## 2 Second"), *(new_markdown_cell("Text.") for _ in range(7))]
    cells += [new_markdown_cell("## Recap"), new_markdown_cell("## Going deeper\n\nNothing later needs it.")]
    cells += [*deeper("One more", "c = b + 1", "print(c)"), *deeper("Two", "d = f()", "print(d, b)")]
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
    "no recap": lambda nb: nb.cells[24].update(source="## End"),
    "no static twin": lambda nb: nb.cells[12].update(source="explore(draw)"),
    "is not shown: end the cell with it": lambda nb: nb.cells[12].update(
        source=nb.cells[12].source.replace("display(explore(draw))", "explore(draw)")
    ),
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


# --- the core path and the deeper sections --------------------------------------------------------------------------


def of_core(notebook, source):
    notebook.cells[15].source = source


def of_two(notebook, source):
    notebook.cells[-1].source = source


DIVISIONS = {
    "it has no deeper sections: what nothing later needs": lambda nb: nb.cells.__delitem__(slice(25, None)),
    "the core has 24 cells; 25 to 40": lambda nb: nb.cells.pop(17),
    "the core has 41 cells; 25 to 40": lambda nb: nb.cells.__setitem__(
        slice(17, 17), [new_markdown_cell("x") for _ in range(16)]
    ),
    "of the core shows 21 lines of code": lambda nb: of_core(nb, "b = 2\ndef f():\n    return b\n" + "a = 1\n" * 18),
    "ends with the section '2 Second'; '## Recap' must": lambda nb: nb.cells[24].update(source="### Recap"),
    "numbered [1, 3]; count them without a gap": lambda nb: nb.cells[16].update(source="## 3 Second"),
    "one markdown cell '## Going deeper' must stand": lambda nb: nb.cells[25].update(source="## Going\n\ndeeper"),
    "'Deeper: Two', is not folded": lambda nb: nb.cells[29].metadata.pop(FOLDED),
    "'Deeper: Two', is not tagged 'deeper'": lambda nb: nb.cells[29].metadata.pop("tags"),
    "must begin with its heading, '## Deeper: Two'": lambda nb: nb.cells[29].update(source="Now\n\n## Deeper: Two"),
    "'3 Third' is below '## Going deeper'": lambda nb: nb.cells.append(new_markdown_cell("## 3 Third")),
    "header lacks the line '**Core path:**": lambda nb: nb.cells[0].update(
        source=nb.cells[0].source.replace("about 40 minutes", "forty minutes")
    ),
    "speaks of sections 1 to 3; those of the core are [1, 2]": lambda nb: nb.cells[0].update(
        source=nb.cells[0].source.replace("1 to 2", "1 to 3")
    ),
    "takes 46 minutes; at most 45": lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("40", "46")),
    "header links to ['Deeper:-One-more']": lambda nb: nb.cells[0].update(
        source=nb.cells[0].source.replace(", [two](#Deeper:-Two)", "")
    ),
    "cell 16 of the core reads 'c', which only a deeper section": lambda nb: of_core(
        nb, "b = 2\ndef f():\n    return c"
    ),
    "cell 32 of 'Deeper: Two' reads 'c', which neither": lambda nb: of_two(nb, "print([x for x in range(c)])"),
    "of 'Deeper: Two' reads 'c', which neither the core": lambda nb: of_two(nb, "c += 1"),
    "cell 32 of 'Deeper: Two' reads 'e', which neither": lambda nb: (
        of_two(nb, "print(e)"),
        nb.cells.append(new_code_cell("e = 1", execution_count=99)),
    ),
    "'Deeper: One more' changes 'b', a name of the core that 'Deeper: Two' reads": lambda nb: nb.cells[28].update(
        source="for b in range(3):\n    print(b)"
    ),
}


def test_a_notebook_with_a_core_and_deeper_sections_has_no_violation(tmp_path):
    notebook = good_notebook()
    assert [len(cells) for cells in parts(notebook).values()] == [25, 1, 3, 3]
    assert breaches(notebook, tmp_path) == ""


@pytest.mark.parametrize("words", DIVISIONS)
def test_a_breach_of_the_division_is_told(words, tmp_path):
    notebook = good_notebook()
    DIVISIONS[words](notebook)
    assert words in breaches(notebook, tmp_path)


@pytest.mark.parametrize(
    ("source", "read", "read_later", "bound"),
    [
        ("import a.b, c as d\nfrom e import f as g", "", "", "a d g"),
        ("x = y\nz = x", "y", "", "x z"),
        ("x = x.T", "x", "", "x"),
        ("x += 1", "x", "", "x"),
        ("x[0] = y", "x y", "", ""),
        ("x.a: int = y", "x y int", "", ""),
        ("def f(a, b=c):\n    d = a + b + e\n    return [d + g for h in i]", "c", "e g i", "f"),
        ("f = lambda a: a + b", "", "b", "f"),
        ("@a\nclass B(C):\n    d = e\n    def f(self):\n        return g + self.d", "a C e", "g", "B"),
        ("print([a + b for a in c if a for d in e])", "print b c e", "", ""),
        ("print({a: (lambda: a + b) for a in c})", "print c", "b", ""),
        ("for a, (b, *c) in d:\n    e = a\nelse:\n    e = f", "d f", "", "a b c e"),
        ("with a as b, c(b) as d[0]:\n    e = b", "a c d", "", "b e"),
        ("try:\n    a = b\nexcept c as d:\n    print(d)", "b c print", "", "a d"),
        ("if (a := b) > 1 and a:\n    c = a\nwhile d:\n    pass", "b d", "", "a c"),
        ("def f():\n    global a\n    a = b", "", "b", "a f"),
        ("%time x = y", "get_ipython", "", ""),
        ("print(f'{a:{b}}')", "print a b", "", ""),
    ],
)
def test_names_are_those_that_a_cell_takes_from_others_and_gives_them(source, read, read_later, bound):
    found = names(source)
    assert (found.read, found.read_later, found.bound) == tuple(set(each.split()) for each in (read, read_later, bound))


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
