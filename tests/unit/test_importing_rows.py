"""ResNet generators of any kind are imported as the same function, or the import asks: never silently wrong."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_rows import PlainRow, Row
from torch import Tensor, nn

from factories import is_one_sentence, refused
from gancomp_core.errors import GancompError
from gancomp_core.importers import Assumptions, import_checkpoint
from gancomp_core.importers.assumptions import CHOICES

NORMS = (
    "instance",
    "affine",
    "tracked",
    "tracked affine",
    "batch",
    "batch without affine",
    "identity",
    "none",
    "layer",
)
UPS = ("transposed", "transposed 4x4", "resize", "resize padded", "resize nested", "shuffle", "shuffle nested", "cut")


def truth(row: Row) -> dict[str, Any]:
    """What is true of a network, by field of Assumptions."""
    norm = {"identity": "none", "none": "none", "group": "group:2", "layer": "layer"}
    at_test = row.at_test if row.norm.startswith(("tracked", "batch")) else "picture"
    return {
        "padding": row.padding,
        "padding_ends": {"inside": "zeros"}.get(row.ends, row.ends),
        "activation": row.activation,
        "last": row.last,
        "norm": norm.get(row.norm, "batch" if row.norm.startswith("batch") else "instance"),
        "norm_at_test": at_test,
        "residual": row.residual,
        "upsample": row.upsample,
        "eps": 1e-5,
        "front": "padding",
    }


def picture(row: Row, batch: int = 1) -> Tensor:
    side = max(16, 4 * 2**row.halvings)
    return torch.rand(batch, row.channels, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def saved(network: nn.Module, folder: Path, prefix: str = "") -> Path:
    path = folder / "net.pth"
    torch.save({prefix + name: tensor for name, tensor in network.state_dict().items()}, path)
    return path


@torch.no_grad()
def difference(ours: nn.Module, theirs: PlainRow) -> float:
    x = picture(theirs.row)
    return float((ours(x) - theirs(x)).abs().max())


def told(row: Row, network: nn.Module) -> Assumptions:
    """The truth, in as far as it can be told: what a file without running statistics has no word for is left out."""
    known = {name: value for name, value in truth(row).items() if name not in ("norm", "norm_at_test")}
    if row.norm.startswith(("tracked", "batch")):
        known["norm_at_test"] = row.at_test
    elif row.norm != "none":
        known["norm"] = truth(row)["norm"]
    if known["activation"] == "prelu" or (row.blocks == 0 and row.halvings == 0):
        del known["activation"]
    if row.halvings == 0 or not row.up.startswith("resize"):
        del known["upsample"]
    if row.blocks == 0:
        del known["padding"]
    if row.norm in ("identity", "none"):
        del known["eps"]
    if row.down != "padded" or row.halvings == 0:
        del known["front"]
    return Assumptions(**known)


def check(row: Row, folder: Path) -> None:
    """Told the truth, the import is the same function; told nothing, it is, or asks, or printed what is not true."""
    theirs = row.build()
    path = saved(theirs, folder)
    if row.down == "padded" and row.up == "resize":  # one layer in front of each: nothing tells padding from resizing
        with refused("may pad, as before, or double"):
            import_checkpoint(path, assume=told(row, theirs))
        return
    ours = import_checkpoint(path, assume=told(row, theirs), quiet=True)
    assert difference(ours, theirs) < 1e-4, str(ours.imported)
    try:
        ours = import_checkpoint(path, quiet=True)
    except GancompError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert is_one_sentence(said.replace(str(path), "FILE")), said
        assert "assume=Assumptions(" in said
    elif difference(ours, theirs) > 1e-4:
        wrong = {name for name, value in ours.imported.assumed.items() if value != truth(row)[name]}
        assert wrong, f"{row} is read wrongly without a word: {ours.imported}"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_every_combination_is_the_same_function_or_asks(tmp_path, norm, up, padding):
    downs = ["conv", "4x4", "padded", "cut"]
    choices = list(itertools.product(downs, [True, False], ["reflect", "inside"], ["picture", "running"]))
    start = NORMS.index(norm) + UPS.index(up) + 3 * (padding == "zeros")  # which differ, so that all pairs occur
    for i, (down, bias, ends, at_test) in enumerate(choices[start % 7 :: 7]):
        if not norm.startswith(("tracked", "batch")) and at_test == "running":
            continue
        if ends == "inside" and (up == "resize padded" or down == "padded"):
            continue
        row = Row(
            norm=norm, at_test=at_test, up=up, padding=padding, down=down, bias=bias, ends=ends, dropout=i % 2 == 0
        )
        check(row, tmp_path)


@pytest.mark.parametrize("halvings", range(6))
@pytest.mark.parametrize(("up", "norm"), [("transposed", "instance"), ("resize", "batch"), ("cut", "instance")])
def test_any_number_of_halvings_blocks_and_any_width_is_read(tmp_path, halvings, up, norm):
    for blocks, width in ((1, 3), (5, 2)):
        at_test = "running" if norm == "batch" else "picture"
        check(Row(halvings=halvings, up=up, norm=norm, at_test=at_test, blocks=blocks, width=width), tmp_path)


ROWS = st.builds(
    Row,
    norm=st.sampled_from(NORMS),
    at_test=st.sampled_from(["picture", "running"]),
    padding=st.sampled_from(["reflect", "replicate", "zeros"]),
    ends=st.sampled_from(["reflect", "replicate"]),
    up=st.sampled_from(UPS),
    down=st.sampled_from(["conv", "4x4", "padded", "cut"]),
    halvings=st.integers(1, 3),
    blocks=st.integers(1, 3),
    width=st.sampled_from([2, 4, 8]),
    dropout=st.booleans(),
    bias=st.booleans(),
    activation=st.sampled_from([*CHOICES["activation"], "prelu"]),
    last=st.sampled_from(CHOICES["last"]),
    residual=st.booleans(),
    upsample=st.sampled_from(CHOICES["upsample"]),
    attribute=st.sampled_from(["conv_block", "block", "main"]),
    stem=st.sampled_from([3, 7, 9]),
    channels=st.sampled_from([1, 3]),
)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_no_row_is_read_wrongly_without_a_word(tmp_path_factory, row):
    if not row.norm.startswith(("tracked", "batch")):
        row = dataclasses.replace(row, at_test="picture")
    check(row, tmp_path_factory.mktemp("row"))


class Added(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


def convolution(c_in: int, c_out: int, padded: bool, normed: bool, kernel: int = 3) -> list[nn.Module]:
    """A convolution that keeps the size."""
    pad = [nn.ReflectionPad2d(kernel // 2)] if padded else []
    conv = nn.Conv2d(c_in, c_out, kernel, padding=0 if padded else kernel // 2)
    return [*pad, conv, *([nn.InstanceNorm2d(c_out)] if normed else []), nn.ReLU()]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("convs", [1, 2, 3])
def test_a_row_that_keeps_the_size_is_never_read_as_one_that_halves_it(tmp_path, padded, normed, factor, blocks, convs):
    widths = [4 * factor**i for i in range(convs + 1)]
    layers = convolution(3, 4, padded, normed, 7)
    for c_in, c_out in itertools.pairwise(widths):
        layers += convolution(c_in, c_out, padded, normed)
    for _ in range(blocks):
        first, second = (convolution(widths[-1], widths[-1], padded, normed) for _ in range(2))
        layers.append(Added(*first, *second[:-1]))
    for c_in, c_out in itertools.pairwise(reversed(widths)):
        layers += convolution(c_in, c_out, padded, normed)
    network = nn.Sequential(*layers, *convolution(4, 3, padded, False, 7)[:-1], nn.Tanh()).eval()
    with refused("is of no layout"):
        import_checkpoint(saved(network, tmp_path))


def halving(c_in: int, c_out: int, kernel: tuple[int, int] = (3, 3)) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride=2, padding=(kernel[0] // 2, kernel[1] // 2))


def foreign(
    *,
    first: Any = None,
    down: Any = halving,
    block: Any = lambda: Added(*convolution(16, 16, True, True), *convolution(16, 16, True, True)[:-1]),
    before_down: tuple[nn.Module, ...] = (),
    before_up: tuple[nn.Module, ...] = (),
    before_last: tuple[nn.Module, ...] = (),
    padded: bool = True,
) -> nn.Module:
    """A row with one halving, some of whose layers are unusual."""
    enlarging = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)
    layers = [
        *(first or convolution(3, 8, padded, True, 7)), *before_down, down(8, 16), nn.InstanceNorm2d(16), nn.ReLU(),
        block(), *before_up, enlarging, nn.InstanceNorm2d(8), nn.ReLU(),
        *before_last, *convolution(8, 3, padded, False, 7)[:-1], nn.Tanh(),
    ]  # fmt: skip
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (foreign(before_down=(nn.Dropout(),)), {}),
        (foreign(before_last=(nn.Dropout(),), padded=False), {"padding_ends": "zeros"}),
    ],
)
def test_a_dropout_is_not_read_as_padding(tmp_path, network, told):
    path, x = saved(network, tmp_path), torch.rand(1, 3, 16, 24)
    with refused("pads or is a dropout"):
        import_checkpoint(path)
    read = import_checkpoint(path, assume=Assumptions(front="dropout", **told), quiet=True)
    assert read(x).sub(network(x)).abs().max() < 1e-4
    found = import_checkpoint(path, assume=Assumptions(**told), check_against=(x, network(x)), quiet=True)
    assert found(x).sub(network(x)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (foreign(before_up=(nn.Dropout(),)), "behind a layer of an unknown kind"),
        (foreign(before_last=(nn.Dropout(),)), "behind 2 layers without tensors"),
        (foreign(first=[nn.Conv2d(3, 8, (5, 7), padding=(2, 3)), nn.InstanceNorm2d(8), nn.ReLU()]), "kernel of 5 x 7"),
        (foreign(down=lambda a, b: halving(a, b, (3, 5))), "kernel of 3 x 5"),
        (foreign(block=lambda: Added(nn.Conv2d(16, 16, (1, 3), padding=(0, 1)), nn.ReLU())), "kernel of 1 x 3"),
        (foreign(first=[nn.Sequential(*convolution(3, 8, True, True, 7))]), "no tensor shows which layers end"),
        (foreign(down=lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3), nn.ReLU())), "no tensor shows which layers end"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_the_way_out(tmp_path, network, said):
    with refused(said) as error:
        import_checkpoint(saved(network, tmp_path))
    assert "open_teacher takes any module" in str(error.value)


def test_dilation_and_strides_that_no_tensor_shows_are_said_to_be_assumed_and_a_picture_finds_them(tmp_path):
    first = nn.ReflectionPad2d(2), nn.Conv2d(16, 16, 3, dilation=2), nn.InstanceNorm2d(16), nn.ReLU()
    network = foreign(block=lambda: Added(*first, *convolution(16, 16, True, True)[:-1]))
    path, x = saved(network, tmp_path), torch.rand(1, 3, 16, 24)
    assert "strides of 2, no dilation" in str(import_checkpoint(path, quiet=True).imported)
    with refused("makes another picture"):
        import_checkpoint(path, check_against=(x, network(x)))


DAMAGES = {
    "lost": lambda tensor: None,
    "doubled": lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim else tensor,
    "flat": lambda tensor: tensor.flatten(),
    "narrow": lambda tensor: tensor[:, :1] if tensor.ndim > 1 else tensor[:0],
    "empty": lambda tensor: tensor[:0] if tensor.ndim else tensor,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize(
    "row", [Row(), Row(norm="batch", up="shuffle"), Row(up="cut", down="cut"), Row(up="resize nested")]
)
def test_a_damaged_row_is_refused_by_name_or_read_but_never_crashes(tmp_path, row, damage):
    state = row.build().state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 0:
            continue
        damaged = {**state, name: damage(tensor)}
        torch.save({key: value for key, value in damaged.items() if value is not None}, tmp_path / "net.pth")
        try:
            import_checkpoint(tmp_path / "net.pth", quiet=True)
        except GancompError as error:
            said = str(error).replace(str(tmp_path), "FOLDER")
        else:  # a bias that is missing, or all numbers of a small tensor
            said = "Read."
        assert is_one_sentence(said), said
