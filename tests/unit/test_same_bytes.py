"""The same seed gives the same bytes, in two processes that hash words differently: trained, searched, exported.

``python tests/unit/test_same_bytes.py FOLDER`` writes one file for each of :data:`MAKERS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import test_first_losses as tiny
import torch

from factories import numbers
from gancomp_core import nets
from gancomp_core.measure import export_onnx
from gancomp_core.methods.architecture_search import Budget, search
from gancomp_core.methods.quantization import export_int8
from gancomp_core.train.checkpoints import save_weights


def trained(method: str) -> Callable[[Path], object]:
    """The weights after some steps of a method of the tests of first losses, all networks in one file."""

    def make(path: Path) -> None:
        found = tiny.METHODS[method]()
        networks = {"supernet": found.supernet} if isinstance(found, tiny.agd.Search) else found.models
        save_weights(torch.nn.ModuleDict(dict(networks)), path)

    return make


def searched(strategy: str) -> Callable[[Path], object]:
    """The frontier of a search whose scores are the pictures of sub-networks of one supernet."""

    def make(path: Path) -> None:
        supernet, source = nets.build(tiny.SPACE, 1), torch.rand(1, 1, 16, 16, generator=numbers())

        def score(network: nets.ResnetArchitecture) -> float:
            with torch.no_grad():
                return float(supernet.extract(network)(source).abs().mean())

        most = tiny.SPACE.widest.cost(16, 16).macs / 2
        search(tiny.SPACE, score, Budget(macs=most), strategy, pixels=(16, 16), evaluations=12).to_csv(path)

    return make


def in_int8(path: Path) -> None:
    calibration = torch.rand(8, 1, 16, 16, generator=numbers()) * 2 - 1
    export_int8(tiny.student(), path, calibration, floating=path.with_name("export"))


MAKERS: dict[str, Callable[[Path], object]] = {
    **{
        method: trained(method)
        for method in (
            "pix2pix", "cyclegan", "gaugan", "distil, features", "supernet, sandwich", "super-resolution, RRDB",
            "AGD search",
        )
    },
    **{f"search, {strategy}": searched(strategy) for strategy in ("evolution", "controller")},
    "export": lambda path: export_onnx(tiny.student(), path, (1, 1, 16, 16)),
    "int8": in_int8,  # of the file before it
}  # fmt: skip


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    runs = []
    for hashes in ("1", "2"):
        folder = tmp_path / hashes
        folder.mkdir()
        variables = {**os.environ, "PYTHONHASHSEED": hashes, "GANCOMP_CACHE": str(folder / "cache")}
        path = [str(Path(nets.__file__).parents[2]), str(Path(__file__).parents[1])]
        variables["PYTHONPATH"] = os.pathsep.join([*path, variables.get("PYTHONPATH", "")])
        runs.append(subprocess.Popen([sys.executable, __file__, folder], env=variables))
    assert [run.wait() for run in runs] == [0, 0]
    first, second = ({name: (tmp_path / run / name).read_bytes() for name in MAKERS} for run in ("1", "2"))
    assert [name for name in MAKERS if first[name] != second[name]] == []
    assert len(set(first.values())) == len(MAKERS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    tiny.STEPS = 6
    for name, make in MAKERS.items():
        make(Path(sys.argv[1]) / name)
