"""Every method's first 20 steps equal those recorded in first_losses.json: losses, AGD's preferences, final weights.

Recorded with one thread and full precision: ``PYTHONPATH=tests python tests/unit/test_first_losses.py`` records them
again, which is right only when a method is meant to train differently. On the processor and torch that recorded them
they are equal to the last bit; elsewhere rounding differs, and 20 steps of a game amplify it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factories import bits_depend_on, weights_digest
from gancomp_core import nets
from gancomp_core.data import PictureSet, Task
from gancomp_core.data.photos import shrink
from gancomp_core.methods import agd
from gancomp_core.methods.feature_distillation import OBJECTIVE, distil, feature_kd, logit_kd, pixel_kd
from gancomp_core.methods.once_for_all import (
    all_at_once,
    only,
    progressive_shrinking,
    sandwich,
    train_supernet,
    warm_start,
)
from gancomp_core.methods.pseudo_pairs import distil_unpaired
from gancomp_core.methods.wavelet_distillation import wavelet_kd
from gancomp_core.nets import (
    ArchitectureSpace,
    ChannelConfig,
    ResnetArchitecture,
    ResnetGenerator,
    RrdbArchitecture,
    SearchSpace,
    SegmenterArchitecture,
    SpadeArchitecture,
    SpadeGenerator,
    VdsrArchitecture,
    initialize,
    super_resolution_supernet,
    translation_supernet,
)
from gancomp_core.train import (
    HINGE,
    Objective,
    TrainConfig,
    Trained,
    cyclegan,
    gan,
    perceptual,
    reconstruction,
    train_cyclegan,
    train_gaugan,
    train_pix2pix,
    train_segmenter,
    train_super_resolution,
)
from gancomp_core.train.pix2pix import new_discriminator

RECORDED = Path(__file__).with_name("first_losses.json")
STEPS = 20
ELSEWHERE = 2e-2  # relative: what other processors may differ by after up to 20 steps of a game
TEACHER = ResnetArchitecture(ChannelConfig.uniform(16), 6, in_channels=1, out_channels=1)
STUDENT = dataclasses.replace(TEACHER, channels=ChannelConfig.uniform(8), blocks=3)
SPACE = ArchitectureSpace(TEACHER, SearchSpace(((16, 8),) * 8), depths=(3, 6), kernels=(3, 5))
SPADE = SpadeArchitecture(ChannelConfig.parse("8_4_2_2_2_2_4_8"), upsampling="normal", label_channels=3)


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def _task(split: PictureSet, paired: bool, size: int, channels: tuple[int, int] = (1, 1), **more: Any) -> Task:
    return Task("tiny", paired, size, *channels, split, split, split, f"tiny {paired} {size}", **more)


def pairs() -> Task:
    return _task(PictureSet(_noise(12, 1, 16, 16), _noise(12, 1, 16, 16, seed=1)), True, 16)


def strangers() -> Task:
    return _task(PictureSet(_noise(12, 1, 16, 16), _noise(9, 1, 16, 16, seed=1)), False, 16)


def maps(size: int) -> Task:
    """Maps of three classes in blocks of a quarter of the size, and pictures in three colors."""
    classes = torch.randint(3, (8, 4, 4), generator=torch.Generator().manual_seed(0))
    classes = classes.repeat_interleave(size // 4, 1).repeat_interleave(size // 4, 2)
    sources = (F.one_hot(classes, 3).movedim(-1, 1) * 255).to(torch.uint8).contiguous()
    colors = ((20, 40, 160), (30, 120, 40), (200, 180, 120))
    targets = torch.tensor(colors, dtype=torch.uint8)[classes].movedim(-1, 1).contiguous()
    return _task(PictureSet(sources, targets), True, size, (3, 3), palette=colors)


def photos() -> Task:
    large = _noise(12, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3).contiguous()
    return _task(PictureSet(shrink(large, 4), large), True, 32, (3, 3), scale=4)


def teacher() -> ResnetGenerator:
    return initialize(ResnetGenerator(TEACHER), 3, std=0.1)


def student() -> ResnetGenerator:
    return initialize(ResnetGenerator(STUDENT), 4, std=0.1)


def enlarger() -> nn.Module:
    return nets.build(RrdbArchitecture(blocks=1, width=8, growth=4), 3)


def short(**changes: Any) -> TrainConfig:
    values = {"steps": STEPS, "batch_size": 2, "precision": "32-true", "ema": 0.9, "discriminator_width": 4}
    return TrainConfig(**{**values, "progress": False, **changes})


def distilled(
    objective: Objective = OBJECTIVE, task: Callable[[], Task] = pairs, discriminator: Any = None, **changes: Any
) -> Trained:
    how = {"objective": objective, "discriminator": discriminator}
    return (distil if task is pairs else distil_unpaired)(student(), teacher(), task(), short(**changes), **how)


def searched(task: Task, master: nn.Module, space: Any, low: float, high: float) -> agd.Search:
    controller = agd.Controller(low, high)
    return agd.search(task, master, space, short(crop=16), controller)


def derived(task: Task, network: Any, master: nn.Module) -> Trained:
    return agd.train_derived(task, network, short(crop=16), teacher=master)


def _cheapest(space: Any) -> Any:
    return space.chosen([0] * len(space.layers), [0] * len(space.layers))


def _spade_features() -> Trained:
    """A SPADE student under a SPADE teacher, at taps of its own family."""
    bigger = dataclasses.replace(SPADE, channels=ChannelConfig.parse("16_8_4_4_4_4_8_8"))
    ours, theirs = (initialize(SpadeGenerator(a), seed, std=0.1) for a, seed in ((SPADE, 1), (bigger, 2)))
    objective = gan() + 50 * reconstruction() + feature_kd()
    return distil(ours, theirs, maps(64), short(), objective=objective)


AGD = translation_supernet(8, 2, 1, 1)
AGD_X4 = super_resolution_supernet(8, 2, 2)
PAIRED_GAME = gan() + 50 * reconstruction()

METHODS: dict[str, Callable[[], Trained | agd.Search]] = {
    "pix2pix": lambda: train_pix2pix(pairs(), STUDENT, short()),
    "pix2pix, hinge, perceptual, warped": lambda: train_pix2pix(
        pairs(), STUDENT, short(seed=1, warp=True, lr=1e-3),
        objective=gan(HINGE) + 50 * reconstruction() + 10 * perceptual(),
    ),
    "cyclegan": lambda: train_cyclegan(strangers(), STUDENT, short(), pool=4),
    "cyclegan, perceptual, warped": lambda: train_cyclegan(
        strangers(), STUDENT, short(seed=1, warp=True), pool=4,
        objective=cyclegan.objective_of(strangers()) + 10 * cyclegan.perceptual_return(),
    ),
    "gaugan": lambda: train_gaugan(maps(64), SPADE, short()),
    "segmenter": lambda: train_segmenter(maps(16), SegmenterArchitecture(3, width=4), short(warp=True)),
    "super-resolution, RRDB": lambda: train_super_resolution(
        photos(), RrdbArchitecture(blocks=1, width=8, growth=4), short(crop=16)
    ),
    "super-resolution, VDSR": lambda: train_super_resolution(
        photos(), VdsrArchitecture(layers=3, width=8, scale=4), short(crop=16)
    ),
    "distil, features": distilled,
    "distil, pixels": lambda: distilled(PAIRED_GAME + 10 * pixel_kd()),
    "distil, logits": lambda: distilled(PAIRED_GAME + logit_kd(4)),
    "distil, wavelets": lambda: distilled(PAIRED_GAME + wavelet_kd(bands="all", levels=2), warp=True),
    "distil, taps": lambda: distilled(
        PAIRED_GAME + feature_kd({"down1": "down1", "block2": "block4", "up1": "up1"}) + pixel_kd()
    ),
    "distil, trained critic, perceptual": lambda: distilled(
        PAIRED_GAME + 10 * perceptual() + 0.5 * feature_kd(), discriminator=new_discriminator(pairs(), 7, 4)
    ),
    "distil, SPADE": _spade_features,
    "distil, from L1": lambda: distil(
        warm_start(only(STUDENT), teacher()).extract().requires_grad_(True), teacher(), pairs(), short()
    ),
    "distil unpaired": lambda: distilled(task=strangers),
    "distil unpaired, wavelets, trained critic": lambda: distilled(
        PAIRED_GAME + wavelet_kd(), strangers, new_discriminator(strangers(), 7, 4, conditional=False)
    ),
    "supernet under a teacher": lambda: train_supernet(warm_start(SPACE, teacher()), teacher(), pairs(), short()),
    "supernet, sandwich": lambda: train_supernet(
        nets.build(SPACE, 1), teacher(), pairs(), short(), sampler=sandwich(SPACE), objective=PAIRED_GAME + pixel_kd()
    ),
    "supernet, all at once": lambda: all_at_once(pairs(), SPACE, short()),
    "supernet, progressive": lambda: progressive_shrinking(pairs(), SPACE, short()),
    "AGD search": lambda: searched(pairs(), teacher(), AGD, 3e5, 6e5),
    "AGD search, unpaired": lambda: searched(strangers(), teacher(), AGD, 3e5, 6e5),
    "AGD search, super-resolution": lambda: searched(photos(), enlarger(), AGD_X4, 5e5, 9e5),
    "AGD derived": lambda: derived(pairs(), _cheapest(AGD), teacher()),
    "AGD derived, unpaired": lambda: derived(strangers(), _cheapest(AGD), teacher()),
    "AGD derived, super-resolution": lambda: derived(photos(), _cheapest(AGD_X4), enlarger()),
    "AGD's recipe for another network": lambda: derived(pairs(), student(), teacher()),
}  # fmt: skip


def record(name: str) -> dict[str, Any]:
    """The losses of a method by term, what AGD preferred, and a digest of the weights at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = METHODS[name]()
    finally:
        torch.set_num_threads(threads)
    table = found.losses if isinstance(found, agd.Search) else found.history
    losses = {str(term): table[term].astype(object).where(table[term].notna(), None).tolist() for term in table}
    if isinstance(found, agd.Search):
        looks = found.history.groupby("step").first()
        return {"losses": losses | looks[["macs", "price"]].to_dict("list"), "weights": weights_digest(found.supernet)}
    return {"losses": losses, "weights": " ".join(weights_digest(model) for model in found.averaged.values())}


@pytest.mark.parametrize("name", METHODS)
def test_first_losses_are_those_recorded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCOMP_CACHE", str(tmp_path))
    recorded = json.loads(RECORDED.read_text())
    found, wanted = json.loads(json.dumps(record(name))), recorded["methods"][name]
    if bits_depend_on() == recorded["machine"]:
        assert found == wanted
        return
    assert set(found["losses"]) == set(wanted["losses"])
    for term, values in wanted["losses"].items():
        near = [value if value is None or isinstance(value, str) else pytest.approx(value, rel=ELSEWHERE, abs=1e-4)
                for value in values]  # words and gaps, such as AGD's stage, are what they are  # fmt: skip
        assert found["losses"][term] == near, term


def test_every_method_is_recorded() -> None:
    assert set(json.loads(RECORDED.read_text())["methods"]) == set(METHODS)


if __name__ == "__main__":
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANCOMP_CACHE"] = folder
        methods = {name: record(name) for name in METHODS}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in methods.items())
    RECORDED.write_text(f'{{"machine": {json.dumps(bits_depend_on())},\n "methods": {{\n{lines}\n}}}}\n')
