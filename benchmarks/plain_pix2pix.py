"""pix2pix as one would write it in PyTorch without gancomp: the same networks, the same game, nothing made faster.

Networks take the weights of ours in their order, so both sides train the same thing (a test holds them to it). There
is no averaged generator, no check for NaN and no table of losses here, all of which our loop does on top.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Batch
from gancomp_core.train import linear_decay


class PlainBlock(nn.Module):
    """A residual block with reflection padding as layers of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [*_padded(channels, channels, 3), nn.ReLU(True), *_padded(channels, channels, 3)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def plain_generator(ngf: int, blocks: int) -> nn.Sequential:
    """Gray pictures to gray pictures, [N, 1, H, W] in [-1, 1]."""
    down = [
        layer
        for c_in, c_out in ((ngf, 2 * ngf), (2 * ngf, 4 * ngf))
        for layer in (nn.Conv2d(c_in, c_out, 3, 2, 1), nn.InstanceNorm2d(c_out), nn.ReLU(True))
    ]
    up = [
        layer
        for c_in, c_out in ((4 * ngf, 2 * ngf), (2 * ngf, ngf))
        for layer in (nn.ConvTranspose2d(c_in, c_out, 3, 2, 1, 1), nn.InstanceNorm2d(c_out), nn.ReLU(True))
    ]
    middle = [PlainBlock(4 * ngf) for _ in range(blocks)]
    tail = [nn.ReflectionPad2d(3), nn.Conv2d(ngf, 1, 7), nn.Tanh()]
    return nn.Sequential(*_padded(1, ngf, 7), nn.ReLU(True), *down, *middle, *up, *tail)


def _padded(c_in: int, c_out: int, kernel: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(c_in, c_out, kernel), nn.InstanceNorm2d(c_out)]


def plain_discriminator(ndf: int = 32) -> nn.Sequential:
    """The PatchGAN with two strided layers that suits 32 pixels; sees source and picture, [N, 2, H, W]."""
    return nn.Sequential(
        nn.Conv2d(2, ndf, 4, 2, 1),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(ndf, 2 * ndf, 4, 2, 1),
        nn.InstanceNorm2d(2 * ndf),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(2 * ndf, 4 * ndf, 4, 1, 1),
        nn.InstanceNorm2d(4 * ndf),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(4 * ndf, 1, 4, 1, 1),
    )


def with_weights_of(module: nn.Module, source: nn.Module) -> nn.Module:
    """``module`` with the parameters of ``source``, matched by their order."""
    with torch.no_grad():
        for mine, given in zip(module.parameters(), source.parameters(), strict=True):
            mine.copy_(given)
    return module


def train_plain(
    generator: nn.Module, discriminator: nn.Module, batches: Iterable[Batch], steps: int, bf16: bool, lr: float = 4e-4
) -> tuple[float, dict[str, float]]:
    """Play ``steps`` rounds of LSGAN + 50 L1; returns the seconds they took and the losses of the last one."""
    optimizer_G = torch.optim.Adam(generator.parameters(), lr, (0.5, 0.999))
    optimizer_D = torch.optim.Adam(discriminator.parameters(), lr, (0.5, 0.999))
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: linear_decay(step, steps))
        for optimizer in (optimizer_D, optimizer_G)
    ]
    started = time.perf_counter()
    for _, batch in zip(range(steps), batches, strict=False):
        source, target = batch.source, batch.target
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            fake = generator(source)

            discriminator.requires_grad_(True)
            real_scores = discriminator(torch.cat([source, target], 1))
            fake_scores = discriminator(torch.cat([source, fake.detach()], 1))
            real_loss = F.mse_loss(real_scores, torch.ones_like(real_scores))
            fake_loss = F.mse_loss(fake_scores, torch.zeros_like(fake_scores))
            critic = 0.5 * (real_loss + fake_loss)
        optimizer_D.zero_grad()
        critic.backward()
        optimizer_D.step()

        discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            scores = discriminator(torch.cat([source, fake], 1))
            gan = F.mse_loss(scores, torch.ones_like(scores))
            reconstruction = F.l1_loss(fake, target)
        optimizer_G.zero_grad()
        (gan + 50 * reconstruction).backward()
        optimizer_G.step()
        for scheduler in schedulers:
            scheduler.step()
    seconds = time.perf_counter() - started
    losses = {"critic_lsgan": critic.item(), "gan_lsgan": gan.item(), "reconstruction": reconstruction.item()}
    return seconds, losses
