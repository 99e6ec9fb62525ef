"""A training that a test kills: saves after every step, prints each save. Arguments: checkpoint path, steps."""

import sys
from pathlib import Path

import torch

from gancomp_core.data import load_task
from gancomp_core.nets import ChannelConfig, ResnetArchitecture
from gancomp_core.train import Settings, train_pix2pix


def run(checkpoint: Path | None, steps: int, **options: object):
    architecture = ResnetArchitecture(ChannelConfig.uniform(8), blocks=1)
    return train_pix2pix(
        load_task("edges2shoes"), architecture, Settings(steps, batch_size=2, seed=3), critic_width=8,
        checkpoint=checkpoint, checkpoint_seconds=0.0, progress=False, **options,
    )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]))
