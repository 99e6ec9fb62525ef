"""What a training shows inside a real kernel."""

import nbformat
import pytest
from nbclient import NotebookClient

CELL = """
from gancomp_core.data import load_task
from gancomp_core.nets import ResnetArchitecture
from gancomp_core.train import TrainConfig, train_pix2pix
small = ResnetArchitecture("8_8_8_8_8_8_8_8", blocks=1)
trained = train_pix2pix(load_task("edges2shoes"), small, TrainConfig(steps=12, batch_size=4, discriminator_width=8))
"""


@pytest.mark.notebooks
def test_a_training_in_a_notebook_shows_a_bar_the_losses_and_a_live_picture():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    shown = [output.get("data", {}) for output in outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures, "no picture"
    assert all(picture["metadata"]["image/png"]["alt"].strip() for picture in pictures), "a picture without alt text"
    assert all('alt="Pictures of the training at step' in picture["data"]["text/html"] for picture in pictures)
    bars = [data["text/plain"] for data in shown if "application/vnd.jupyter.widget-view+json" in data]
    assert len(bars) == 1
    assert not [output for output in outputs if output.get("name") == "stderr"], "warnings reach the reader"
