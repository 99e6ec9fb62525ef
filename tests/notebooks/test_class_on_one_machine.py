"""Three students on one machine: what they share stays whole."""

from __future__ import annotations

import pytest

from tools.class_load import ANSWER, report, teach

#: Every kernel computes and keeps the same tensors, asks and reveals the same questions, and shows a picture.
CELLS = [
    "import torch\n"
    "from gancomp_core import tensor_cache\n"
    "from gancomp_core.course import picture_grid, predict, reveal\n"
    "for k in range(20):\n"
    "    kept = tensor_cache.cached('class', (str(k),), lambda: torch.full((2**20,), float(k)))\n"
    "    assert (kept == k).all()",
    "for k in range(10):\n    predict(f'q/{k}', 'How many?', low=0, high=10)\n    reveal(f'q/{k}', k)",
    "picture_grid({'one': torch.zeros(2, 1, 8, 8)})",
    ANSWER,
]


@pytest.mark.notebooks
@pytest.mark.parametrize("together", [False, True], ids=["a file of predictions each", "one for all"])
def test_a_class_shares_a_cache_and_loses_no_answer(together: bool) -> None:
    taught = teach(3, CELLS, together=together, stagger=0)
    assert [student.failure for student in taught.students] == ["", "", ""], report(taught)
    assert taught.damaged == []
    assert all(student.first_picture and student.most_memory > 1e7 for student in taught.students)
    assert "3 of 3 finished" in report(taught)
    assert "are whole" in report(taught)
