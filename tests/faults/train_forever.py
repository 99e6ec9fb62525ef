"""Trainings that a test kills; they save after every step. Arguments: name of a training, checkpoint path, steps."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from gancomp_core.data import Task, load_task
from gancomp_core.nets import ChannelConfig, ResnetArchitecture, SpadeArchitecture
from gancomp_core.train import Callback, Checkpoint, Game, TrainConfig, Trained, fit
from gancomp_core.train import cyclegan as cycles
from gancomp_core.train import gaugan as maps_to_pictures
from gancomp_core.train import pix2pix as pairs

sys.path.insert(0, str(Path(__file__).parents[1]))
from factories import map_task  # noqa: E402

RESNET = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1)


def config_of(steps: int) -> TrainConfig:
    """A silent training with narrow discriminators."""
    return TrainConfig(steps, batch_size=2, seed=3, discriminator_width=8, progress=False)


def pix2pix(config: TrainConfig) -> tuple[Game, Task]:
    task = load_task("edges2shoes")
    return pairs.game(task, RESNET, config), task


def cyclegan(config: TrainConfig) -> tuple[Game, Task]:
    """Its image pools are full after one step and exchange pictures from then on."""
    task = replace(load_task("edges2shoes"), paired=False)
    return cycles.game(task, RESNET, config, pool=2), task


def gaugan(config: TrainConfig) -> tuple[Game, Task]:
    """Its generator has BatchNorm and its discriminator spectral normalization: buffers that move with every step."""
    architecture = SpadeArchitecture(ChannelConfig.parse("8_4_2_2_2_2_4_8"), upsampling="normal", label_channels=3)
    return maps_to_pictures.game(task := map_task(8, 16), architecture, config), task


GAMES: dict[str, Callable[[TrainConfig], tuple[Game, Task]]] = {f.__name__: f for f in (pix2pix, cyclegan, gaugan)}


def run(name: str, checkpoint: Path | None, steps: int, *others: Callback) -> tuple[Trained, Game]:
    """The training of this name, from its checkpoint if there is one."""
    config = config_of(steps)
    game, task = GAMES[name](config)
    kept = (Checkpoint(checkpoint, seconds=0.0),) if checkpoint else ()
    return fit(game, task, config, (*kept, *others)), game


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
