"""Trainings that a test kills; they save after every step. Arguments: name of a training, checkpoint path, steps."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from gancomp_core.data import PictureSet, load_task
from gancomp_core.data.tasks import Task
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, SpadeArchitecture
from gancomp_core.train import Settings, Trained, train_pix2pix
from gancomp_core.train.cyclegan import train_cyclegan
from gancomp_core.train.gaugan import train_gaugan

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
    return train_gaugan(maps(), architecture, Settings(steps, batch_size=2, seed=3), critic_width=8, **options)


def maps() -> Task:
    """Random maps of three classes in blocks of 16 pixels, and random pictures of 64 pixels."""
    numbers = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (8, 1, 4, 4), generator=numbers) == torch.arange(3)[:, None, None]
    sources = (classes * 255).to(torch.uint8).repeat_interleave(16, 2).repeat_interleave(16, 3)
    targets = torch.randint(256, (8, 3, 64, 64), generator=numbers, dtype=torch.uint8)
    pictures = PictureSet(sources, targets)
    return Task("maps", True, 64, 3, 3, pictures, pictures, pictures, "maps", palette=((0, 0, 0),) * 3)


TRAININGS: dict[str, Callable[..., Trained]] = {f.__name__: f for f in (pix2pix, cyclegan, gaugan)}


def run(name: str, checkpoint: Path | None, steps: int, **options: object) -> Trained:
    """The training of this name, from its checkpoint if there is one."""
    return TRAININGS[name](steps, checkpoint=checkpoint, checkpoint_seconds=0.0, progress=False, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
