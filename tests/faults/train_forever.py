"""Trainings that a test kills; they save after every step. Arguments: name of a training, checkpoint path, steps."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from gancomp_core.data import load_task
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, SpadeArchitecture
from gancomp_core.train import Settings, Trained, train_pix2pix
from gancomp_core.train.cyclegan import train_cyclegan
from gancomp_core.train.gaugan import train_gaugan

sys.path.insert(0, str(Path(__file__).parents[1]))
from factories import map_task  # noqa: E402

RESNET = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1)


def pix2pix(steps: int, **options: object) -> Trained:
    settings = Settings(steps, batch_size=2, seed=3)
    return train_pix2pix(load_task("edges2shoes"), RESNET, settings, critic_width=8, **options)


def cyclegan(steps: int, **options: object) -> Trained:
    """Its image pools are full after one step and exchange pictures from then on."""
    settings = Settings(steps, batch_size=2, seed=3)
    return train_cyclegan(load_task("edges2shoes"), RESNET, settings, critic_width=8, pool=2, **options)


def gaugan(steps: int, **options: object) -> Trained:
    """Its generator has BatchNorm and its discriminator spectral normalisation: buffers that move with every step."""
    architecture = SpadeArchitecture(ChannelConfig.parse("8_4_2_2_2_2_4_8"), upsampling="normal", label_channels=3)
    return train_gaugan(map_task(8, 16), architecture, Settings(steps, batch_size=2, seed=3), critic_width=8, **options)


TRAININGS: dict[str, Callable[..., Trained]] = {f.__name__: f for f in (pix2pix, cyclegan, gaugan)}


def run(name: str, checkpoint: Path | None, steps: int, **options: object) -> Trained:
    """The training of this name, from its checkpoint if there is one."""
    return TRAININGS[name](steps, checkpoint=checkpoint, checkpoint_seconds=0.0, progress=False, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
