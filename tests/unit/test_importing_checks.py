"""Assumptions of imports: hints that contradict them, pictures that decide them, norms of weights that are folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from plain_rows import Row
from torch import Tensor, nn

from factories import refused
from gancomp_core.data.pictures import to_float, to_uint8
from gancomp_core.importers import Assumptions, import_checkpoint
from gancomp_core.nets import ResnetGenerator

OURS = Row(width=8)


def picture(channels: int = 3) -> Tensor:
    return torch.rand(1, channels, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def saved(network: nn.Module, folder: Path) -> Path:
    torch.save(network.state_dict(), folder / "net.pth")
    return folder / "net.pth"


@torch.no_grad()
def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    torch.testing.assert_close(ours(picture()), theirs(picture()), atol=1e-4, rtol=0)


# --- what is assumed, and what contradicts it


def test_the_published_network_is_ours_and_says_what_was_assumed(tmp_path):
    ours = import_checkpoint(saved(OURS.build(), tmp_path))
    assert isinstance(ours, ResnetGenerator)
    assert ours.imported.assumed == {
        **{"padding": "reflect", "padding_ends": "reflect", "activation": "relu", "last": "tanh", "norm": "instance"},
        **{"eps": 1e-5, "residual": False},
    }
    assert "padding reflect" in str(ours.imported)


@pytest.mark.parametrize(
    ("row", "assumed", "said"),
    [
        (Row(norm="none"), {"norm": "instance"}, "no layer that could be a norm"),
        (Row(norm="affine"), {"norm": "none"}, "scales"),
        (Row(), {"norm": "batch"}, "running statistics"),
        (Row(), {"norm_at_test": "running"}, "running statistics"),
        (Row(norm="batch", at_test="running"), {"norm": "none"}, "running statistics"),
        (Row(), {"upsample": "bilinear"}, "upsample"),
        (Row(), {"activation": "prelu"}, "prelu"),
        (Row(norm="identity", bias=False), {"eps": 1e-3, "norm": "none"}, "eps"),
        (Row(norm="affine", width=4), {"norm": "group:3"}, "groups"),
    ],
)
def test_a_hint_in_the_file_contradicts_an_assumption(tmp_path, row, assumed, said):
    path = saved(row.build(), tmp_path)
    with refused(said):
        import_checkpoint(path, assume=Assumptions(**assumed))


@pytest.mark.parametrize(
    ("row", "option"),
    [
        (Row(norm="identity", bias=False), "norm='none'"),
        (Row(norm="instance", bias=False), "norm='instance'"),
        (Row(norm="tracked", at_test="running"), "norm_at_test='running'"),
        (Row(norm="tracked"), "norm_at_test='picture'"),
        (Row(norm="batch without affine", at_test="running"), "norm_at_test='running'"),
    ],
)
def test_two_readings_are_asked_about(tmp_path, row, option):
    path = saved(row.build(), tmp_path)
    with refused("assume=Assumptions", option):
        import_checkpoint(path)


@pytest.mark.parametrize(
    "options", [{"padding": "circular"}, {"eps": 0.0}, {"eps": True}, {"residual": 1}, {"last": 3}]
)
def test_an_assumption_of_another_value_is_refused(options: dict[str, Any]):
    with refused("not|choose one of"):
        Assumptions(**options)


@pytest.mark.parametrize("groups", ["group:2", "group:4", "layer"])
def test_group_norms_are_read_when_told(tmp_path, groups):
    theirs = Row(norm="affine").build()
    for name, layer in list(theirs.named_modules()):
        if isinstance(layer, nn.InstanceNorm2d):
            norm = nn.GroupNorm(1 if groups == "layer" else int(groups[-1]), layer.num_features)
            norm.load_state_dict(layer.state_dict())
            theirs.get_submodule(name.rpartition(".")[0])[int(name.rpartition(".")[2])] = norm
    assert_same(import_checkpoint(saved(theirs, tmp_path), assume=Assumptions(norm=groups)), theirs)


# --- a known picture


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        (Row(padding="replicate"), "padding='replicate'"),
        (Row(residual=True, last="none"), "last='none', residual=True"),
        (Row(norm="identity"), "norm='none'"),
        (Row(norm="layer"), "norm='layer'"),
        (Row(activation="leaky_relu", ends="replicate"), "padding_ends='replicate', activation='leaky_relu'"),
        (Row(norm="batch", at_test="picture"), "norm_at_test='picture'"),
        (Row(up="resize", upsample="bilinear"), "upsample='bilinear'"),
    ],
)
def test_a_known_picture_finds_what_is_true(tmp_path, row, fits):
    theirs = row.build()
    path, x = saved(theirs, tmp_path), picture()
    pair = (x, theirs(x).detach())
    with refused(f"Assumptions\\({fits}\\)"):
        import_checkpoint(path, check_against=pair)
    given = eval(f"dict({fits})")  # the option as it was printed
    assert_same(import_checkpoint(path, assume=Assumptions(**given), check_against=pair), theirs)


def test_a_known_picture_decides_even_what_would_be_asked(tmp_path):
    for row in (Row(norm="identity", bias=False), Row(norm="tracked", at_test="running"), Row(norm="tracked")):
        theirs = row.build()
        x = picture()
        assert_same(import_checkpoint(saved(theirs, tmp_path), check_against=(x, theirs(x).detach())), theirs)


def test_a_picture_of_another_network_fits_nothing(tmp_path):
    path = saved(Row(blocks=1, halvings=1, width=2, norm="none", activation="prelu").build(), tmp_path)
    with refused("at best", "pair"):
        import_checkpoint(path, check_against=(picture(), torch.zeros(1, 3, 16, 16)))
    with refused("pair of the network's own sizes"):
        import_checkpoint(path, check_against=(picture(), torch.zeros(1, 3, 8, 8)))
    with refused("float tensors"):
        import_checkpoint(path, check_against=(picture(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)))


def test_files_of_pictures_are_compared_after_the_same_rounding(tmp_path):
    theirs = OURS.build()
    path = saved(theirs, tmp_path)
    x = to_uint8(picture())
    for name, pixels in (("in.png", x), ("out.png", to_uint8(theirs(to_float(x)).detach()))):
        Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).save(tmp_path / name)
    import_checkpoint(path, check_against=(tmp_path / "in.png", str(tmp_path / "out.png")))


# --- norms of weights


def everywhere(network: nn.Module, norm: Any) -> nn.Module:
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            norm(layer)
    for _ in range(3):  # so that the vectors of spectral norm belong to the weights
        network.train()(picture())
    return network.eval()


NORMS = {
    "spectral norm": torch.nn.utils.spectral_norm,
    "weight norm": torch.nn.utils.weight_norm,
    "spectral norm, parametrized": torch.nn.utils.parametrizations.spectral_norm,
    "weight norm, parametrized": torch.nn.utils.parametrizations.weight_norm,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
@pytest.mark.parametrize("row", [OURS, Row(up="resize", width=3)], ids=["ours", "plain"])
def test_norms_of_weights_are_folded_and_reported(tmp_path, norm, row):
    theirs = everywhere(row.build(), norm)
    ours = import_checkpoint(saved(theirs, tmp_path))
    assert_same(ours, theirs)
    assert len(ours.imported.folded) == sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in theirs.modules())
    assert "folded: model.1.weight" in str(ours.imported)
