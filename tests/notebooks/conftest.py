"""Small notebooks made for the tests."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture
def make_notebook(tmp_path):
    """Write a notebook of (source, tag or None) code cells, '#' cells as markdown, and return its path."""

    def make(*cells, name="00_tiny.ipynb"):
        notebook = new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        )
        for source, tag in cells:
            made = new_markdown_cell(source) if source.startswith("# ") else new_code_cell(source)
            made.metadata["tags"] = [tag] if tag else []
            notebook.cells.append(made)
        folder = tmp_path / "notebooks"
        folder.mkdir(exist_ok=True)
        nbformat.write(notebook, folder / name)
        return folder / name

    return make
