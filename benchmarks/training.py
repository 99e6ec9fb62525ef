"""Training steps: our loop, against the same networks and the same game written plainly in PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from lightning_fabric import Fabric

from benchmarks.plain_pix2pix import plain_discriminator, plain_generator, train_plain, with_weights_of
from benchmarks.side_by_side import Budget, Comparison, compare, pictures_a_second, thread_counts, torch_threads
from gancomp_core.data import Batch, Batches, Task, load_task
from gancomp_core.nets import ChannelConfig, ResnetArchitecture
from gancomp_core.train import TrainConfig, Trained, fastest_precision, pix2pix, train_pix2pix

BATCH_SIZE = 16
NETWORKS = ((16, 3), (32, 6))


def run(budget: Budget) -> Iterator[Comparison]:
    """Pictures a second of both networks, in float32 and (where the CPU computes in it) bfloat16."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision of every training
    task = load_task("edges2shoes")
    precisions = ["32-true", "bf16-mixed"] if fastest_precision() == "bf16-mixed" else ["32-true"]
    for ngf, blocks in NETWORKS:
        for precision in precisions:
            for threads in thread_counts():
                with torch_threads(threads):
                    yield _compare(task, ngf, blocks, precision, budget)


def _compare(task: Task, ngf: int, blocks: int, precision: str, budget: Budget) -> Comparison:
    # as many steps as the plain side manages in a block; a few at least, for the first one allocates memory
    steps = max(4, int(budget.seconds / (theirs(task, ngf, blocks, precision, 4)[0] / 4)))

    def our_block() -> float:
        return ours(task, ngf, blocks, precision, steps).seconds / (steps * BATCH_SIZE)

    def their_block() -> float:
        return theirs(task, ngf, blocks, precision, steps)[0] / (steps * BATCH_SIZE)

    name = {"32-true": "fp32", "bf16-mixed": "bf16"}[precision]
    return compare(f"ngf {ngf}, {blocks} blocks, {name}", our_block, their_block, budget.rounds, pictures_a_second)


def architecture(task: Task, ngf: int, blocks: int) -> ResnetArchitecture:
    """The generator of a row."""
    channels = task.source_channels, task.target_channels
    return ResnetArchitecture(ChannelConfig.uniform(ngf), blocks, False, *channels)


def ours(task: Task, ngf: int, blocks: int, precision: str, steps: int) -> Trained:
    """A training from fresh networks by gancomp, on the CPU; its ``seconds`` are those of the steps alone."""
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    config = TrainConfig(steps, BATCH_SIZE, precision=precision, progress=False, fabric=fabric)
    return train_pix2pix(task, architecture(task, ngf, blocks), config)


def theirs(task: Task, ngf: int, blocks: int, precision: str, steps: int) -> tuple[float, dict[str, float]]:
    """The same training written plainly, from the same weights: seconds of the steps, and the last losses."""
    models = pix2pix.game(task, architecture(task, ngf, blocks), TrainConfig(steps)).networks
    generator = with_weights_of(plain_generator(ngf, blocks), models["generator"])
    discriminator = with_weights_of(plain_discriminator(), models["discriminator"])
    return train_plain(generator, discriminator, _batches(task), steps, precision == "bf16-mixed")


def _batches(task: Task) -> Iterator[Batch]:
    """Our own batches for both sides: how fast they are made is another benchmark."""
    batches, step = Batches(task.train, BATCH_SIZE, 0, task.paired), 0
    while True:
        yield batches.at(step)
        step += 1
