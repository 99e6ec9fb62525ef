"""How each model of the zoo is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gancomp_core.data import Task
from gancomp_core.methods import agd, once_for_all
from gancomp_core.methods.feature_distillation import feature_kd
from gancomp_core.nets import (
    AgdArchitecture,
    ArchitectureSpace,
    ChannelConfig,
    ResnetArchitecture,
    RrdbArchitecture,
    SegmenterArchitecture,
    SpadeArchitecture,
    VdsrArchitecture,
    search_space,
)
from gancomp_core.train import cyclegan, pix2pix
from gancomp_core.train.callbacks import Callback
from gancomp_core.train.config import TrainConfig
from gancomp_core.train.cyclegan import train_cyclegan
from gancomp_core.train.gaugan import train_gaugan
from gancomp_core.train.loop import Trained
from gancomp_core.train.objectives import Objective, perceptual
from gancomp_core.train.pix2pix import train_pix2pix
from gancomp_core.train.segmentation import train_segmenter
from gancomp_core.train.super_resolution import train_super_resolution

SHOES = "Fashion-MNIST (MIT, Zalando SE)"
EMOJI = "Fluent Emoji (MIT, Microsoft)"
PLANET = "NASA Blue Marble and MODIS land cover (NASA, free of restrictions)"
PHOTOS = "photographs under CC0 and CC BY (data/photos/ATTRIBUTION.md)"


@dataclass(frozen=True)
class Recipe:
    """How one model of the zoo is trained.

    ``method`` is a function such as :func:`train_pix2pix`;
    ``options`` are its keyword arguments beside task, architecture and settings. ``summary`` says in a sentence what
    the model is for, ``pictures`` whose pictures it learned from; ``keeps`` names the trained networks worth shipping:
    a critic is, where a student will be trained against it. A recipe that keeps nothing shows a failure: its card and
    its pictures ship, its weights do not.
    """

    task: str
    method: Callable[..., Trained]
    architecture: Any
    settings: TrainConfig
    summary: str
    pictures: str
    options: Mapping[str, Any] = field(default_factory=dict)
    keeps: tuple[str, ...] = ("generator", "discriminator")

    def train(self, task: Task, callbacks: Sequence[Callback] = (), **changes: Any) -> Trained:
        """Train the model on a task, its own or a smaller one; ``changes`` are those of the configuration."""
        given = dict(self.options)
        names = {"lr": "lr", "warp": "warp", "critic_width": "discriminator_width"}
        chosen = {names[name]: given.pop(name) for name in [*given] if name in names}
        if weight := given.pop("perceptual_weight", 0):
            given["objective"] = _with_perceptual(self.method, task, weight)
        config = replace(self.settings, **chosen, **changes)
        return self.method(task, self.architecture, config, callbacks=callbacks, **given)


def _with_perceptual(method: Callable[..., Trained], task: Task, weight: float) -> Objective:
    """The usual objective of a method and the perceptual distance."""
    if method is train_cyclegan:
        return cyclegan.objective_of(task) + weight * cyclegan.perceptual_return()
    objective = pix2pix.OBJECTIVE + weight * perceptual()
    return objective + 0.5 * feature_kd() if method is once_for_all.from_teacher else objective


def _resnet(width: int, blocks: int, channels: tuple[int, int] = (3, 3)) -> ResnetArchitecture:
    return ResnetArchitecture(ChannelConfig.uniform(width), blocks, False, *channels)


RECIPES: dict[str, Recipe] = {
    "edges2shoes/teacher": Recipe(
        "edges2shoes",
        train_pix2pix,
        _resnet(32, 6, (1, 1)),
        TrainConfig(steps=12_000),
        "The teacher of the course: draws a shoe from its edges, and everything later is measured against it.",
        SHOES,
        {"lr": 4e-4},
    ),
    "edges2shoes/small_student": Recipe(
        "edges2shoes",
        train_pix2pix,
        _resnet(16, 3, (1, 1)),
        TrainConfig(steps=12_000),
        "A plain small network, trained exactly like the teacher: what one gets by just making it small.",
        SHOES,
        {"lr": 4e-4},
        keeps=("generator",),
    ),
    "edges2shoes/supernet": Recipe(
        "edges2shoes",
        once_for_all.from_teacher,
        ArchitectureSpace(
            _resnet(16, 6, (1, 1)), search_space("course/channels-16"), depths=(3, 4, 6), separable=(False, True)
        ),
        TrainConfig(steps=10_000),
        "165,888 networks in one, dense and separable, with a quarter to a sixtieth of the teacher's multiplications.",
        SHOES,
        {"teacher": "edges2shoes/teacher", "lr": 4e-4},
    ),
    "edges2shoes_unpaired/teacher": Recipe(
        "edges2shoes_unpaired",
        train_cyclegan,
        _resnet(16, 6, (1, 1)),
        TrainConfig(steps=8_000, batch_size=8),
        "Half of a CycleGAN, which learned to draw shoes from edges without seeing one pair.",
        SHOES,
        {"lr": 3e-4},
    ),
    "flat2gloss/teacher": Recipe(
        "flat2gloss",
        train_pix2pix,
        _resnet(24, 6),
        TrainConfig(steps=5_000, batch_size=8),
        "Turns flat emoji glossy: the colour teacher, on pictures rich in fine detail.",
        EMOJI,
        {"lr": 4e-4, "critic_width": 16, "perceptual_weight": 10, "warp": True},
    ),
    "flat2gloss/supernet": Recipe(
        "flat2gloss",
        once_for_all.from_teacher,
        ArchitectureSpace(_resnet(16, 6), search_space("course/channels-16"), depths=(3, 4, 6)),
        TrainConfig(steps=6_000, batch_size=8),
        "20,736 networks in one, from half of the colour teacher's multiplications to a fifteenth.",
        EMOJI,
        {"teacher": "flat2gloss/teacher", "lr": 4e-4, "perceptual_weight": 10, "warp": True},
    ),
    "flat2gloss_unpaired/teacher": Recipe(
        "flat2gloss_unpaired",
        train_cyclegan,
        _resnet(16, 6),
        TrainConfig(steps=8_000, batch_size=4),
        "A CycleGAN between flat and glossy emoji, both ways, trained without a pair: shading learned from strangers.",
        EMOJI,
        {"lr": 3e-4, "perceptual_weight": 10, "warp": True},
        ("generator", "backward_generator"),
    ),
    "lines2gloss/teacher": Recipe(
        "lines2gloss",
        train_pix2pix,
        _resnet(24, 6, (1, 3)),
        TrainConfig(steps=5_000, batch_size=8),
        "Colours line drawings: one to play with, because a drawing does not say which colour a thing has.",
        EMOJI,
        {"lr": 4e-4, "critic_width": 16, "perceptual_weight": 10, "warp": True},
        ("generator",),
    ),
    "landcover2satellite/segmenter": Recipe(
        "landcover2satellite",
        train_segmenter,
        SegmenterArchitecture(classes=10, width=16),
        TrainConfig(steps=2_000, batch_size=16),
        "Reads the land cover from a satellite picture: the judge that gives GauGAN its mIoU.",
        PLANET,
        {"lr": 2e-3},
        ("generator",),
    ),
    "landcover2satellite/teacher": Recipe(
        "landcover2satellite",
        train_gaugan,
        SpadeArchitecture(ChannelConfig.parse("8_4_4_4_4_8_12_16"), upsampling="normal", label_channels=10),
        TrainConfig(steps=3_000, batch_size=8),
        "GauGAN paints the Earth from a map of its land cover.",
        PLANET,
        {"lr": 2e-4, "critic_width": 24},
        ("generator",),
    ),
    "summer2winter/teacher": Recipe(
        "summer2winter",
        train_cyclegan,
        _resnet(16, 6),
        TrainConfig(steps=3_000, batch_size=4),
        "What CycleGAN cannot do: how much snow falls depends on the latitude, which no tile shows.",
        PLANET,
        {"lr": 3e-4, "critic_width": 16},
        (),
    ),
    "photos_x4/teacher": Recipe(
        "photos_x4",
        train_super_resolution,
        RrdbArchitecture(blocks=6, width=32, growth=16),
        TrainConfig(steps=5_000, batch_size=8),
        "A small RRDBNet (the generator of ESRGAN) that enlarges photographs four times.",
        PHOTOS,
        {"lr": 4e-4},
        ("generator",),
    ),
    "photos_x4/vdsr": Recipe(
        "photos_x4",
        train_super_resolution,
        VdsrArchitecture(scale=4),
        TrainConfig(steps=1_200, batch_size=8),
        "VDSR, the network of 2016 that AutoGAN-Distiller compares its own with.",
        PHOTOS,
        {"lr": 4e-4},
        ("generator",),
    ),
    "edges2shoes_unpaired/agd": Recipe(
        "edges2shoes_unpaired",
        agd.from_teacher,
        AgdArchitecture.parse(
            "translation",
            "stem conv7x7 6, down1 down 10, down2 down 22, cell1 dwsblock 32, cell2 dwsblock 32, cell3 dwsblock "
            "32, cell4 residual 22, cell5 residual 22, cell6 conv3x3 22, up1 up 10, up2 up 6",
            in_channels=1,
            out_channels=1,
        ),
        TrainConfig(steps=2_000, batch_size=8),
        "What AGD found for shoes, trained from scratch on its teacher's pictures, without a critic.",
        SHOES,
        {"teacher": "edges2shoes_unpaired/teacher", "lr": 3e-3},
        ("generator",),
    ),
    "flat2gloss_unpaired/agd": Recipe(
        "flat2gloss_unpaired",
        agd.from_teacher,
        AgdArchitecture.parse(
            "translation",
            "stem conv7x7 8, down1 down 10, down2 down 22, cell1 conv1x1 32, cell2 dwsblock 22, cell3 "
            "dwsblock 22, cell4 dwsblock 22, cell5 residual 22, cell6 conv1x1 22, up1 up 10, up2 up 6",
        ),
        TrainConfig(steps=1_500, batch_size=8),
        "What AGD found for emoji, there and back: two small networks, each trained on its teacher's pictures.",
        EMOJI,
        {
            "teacher": "flat2gloss_unpaired/teacher",
            "lr": 3e-3,
            "backward": (
                "stem conv7x7 6, down1 down 10, down2 down 22, cell1 conv1x1 22, cell2 dwsblock 22, cell3 "
                "dwsblock 22, cell4 dwsblock 22, cell5 conv1x1 22, cell6 residual 22, up1 up 10, up2 up 8"
            ),
        },
        ("generator", "backward_generator"),
    ),
    "photos_x4/agd": Recipe(
        "photos_x4",
        agd.from_teacher,
        AgdArchitecture.parse(
            "super-resolution",
            "first conv3x3 32, cell1.1 conv3x3 28, cell1.2 conv1x1 20, cell1.3 conv3x3 28, cell1.4 conv3x3 "
            "28, cell1.5 conv3x3 32, cell2.1 conv3x3 28, cell2.2 conv3x3 28, cell2.3 conv3x3 28, cell2.4 "
            "dwsblock 20, cell2.5 residual 32, cell3.1 dwsblock 28, cell3.2 conv1x1 20, cell3.3 conv3x3 20, "
            "cell3.4 conv3x3 28, cell3.5 conv3x3 32, cell4.1 conv3x3 28, cell4.2 conv1x1 20, cell4.3 conv3x3 "
            "28, cell4.4 conv3x3 28, cell4.5 residual 32, cell5.1 conv3x3 28, cell5.2 conv3x3 28, cell5.3 "
            "conv3x3 20, cell5.4 conv3x3 28, cell5.5 conv3x3 32, up1 enlarge 20, up2 enlarge 28, high conv3x3 "
            "28",
        ),
        TrainConfig(steps=1_200, batch_size=8),
        "What AGD found for super-resolution, trained for as many steps as VDSR.",
        PHOTOS,
        {"teacher": "photos_x4/teacher", "lr": 1e-3},
        ("generator",),
    ),
}
