"""A supernet's training as one would write it in PyTorch without gancomp: nothing made faster.

The game is GAN Compression's (Li et al., CVPR 2020, arXiv 2003.08936): every layer slices its shared weights anew at
each step, the student plays hinge + 100 L1 + feature distillation at four taps. Networks take the weights of ours in
their order, so both sides train the same thing (a test holds them to it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancomp_core.data import Batch
from gancomp_core.nets import ChannelConfig, ResnetArchitecture


class SlicedConv(nn.Conv2d):
    """A convolution that puts out as many leading channels as asked for, of as many as come in."""

    def forward(self, x: Tensor, outputs: int | None = None) -> Tensor:  # type: ignore[override]
        assert self.bias is not None
        return F.conv2d(x, self.weight[:outputs, : x.shape[1]], self.bias[:outputs], self.stride, self.padding)


class SlicedTransposed(nn.ConvTranspose2d):
    """The same for the transposed convolution that doubles height and width."""

    def forward(self, x: Tensor, outputs: int) -> Tensor:  # type: ignore[override]
        assert self.bias is not None
        return F.conv_transpose2d(x, self.weight[: x.shape[1], :outputs], self.bias[:outputs], 2, 1, 1)


class SlicedDepthwise(nn.Conv2d):
    """One kernel a channel, for as many channels as come in."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        channels = x.shape[1]
        return F.conv2d(x, self.weight[:channels], self.bias[:channels], groups=channels)


class Norm(nn.InstanceNorm2d):
    """InstanceNorm of as many channels as come in."""

    def forward(self, x: Tensor) -> Tensor:
        self.num_features = x.shape[1]  # otherwise it warns of every number but the first
        return super().forward(x)


class PlainStage(nn.Module):
    """Padding, convolution, norm and ReLU, each a layer of its own."""

    def __init__(self, layer: nn.Module, reflect: int = 0) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(reflect) if reflect else nn.Identity()
        self.layer, self.norm, self.activation = layer, Norm(1), nn.ReLU(True)

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        found: Tensor = self.activation(self.norm(self.layer(self.pad(x), outputs)))
        return found


class PlainSeparable(nn.Module):
    """Depthwise convolution, norm, pointwise convolution."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.pad, self.norm = nn.ReflectionPad2d(1), Norm(1)
        self.depthwise = SlicedDepthwise(c_in, c_in, 3, groups=c_in)
        self.pointwise = SlicedConv(c_in, c_out, 1)

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        found: Tensor = self.pointwise(self.norm(self.depthwise(self.pad(x))), outputs)
        return found


class PlainBlock(nn.Module):
    """A separable residual block, of which only the inner width may shrink by itself."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = PlainSeparable(channels, inner), PlainSeparable(inner, channels)
        self.norms, self.activation = nn.ModuleList([Norm(1), Norm(1)]), nn.ReLU(True)

    def forward(self, x: Tensor, inner: int) -> Tensor:
        hidden = self.activation(self.norms[0](self.first(x, inner)))
        found: Tensor = x + self.norms[1](self.second(hidden, x.shape[1]))
        return found


class PlainGenerator(nn.Module):
    """A separable ResNet generator of any number of thirds of blocks, which slices itself to a channel config."""

    def __init__(self, architecture: ResnetArchitecture) -> None:
        super().__init__()
        a = architecture
        stem, down1, down2, up1, up2 = a.channels.ends
        self.stem = PlainStage(SlicedConv(a.in_channels, stem, 7), reflect=3)
        self.down1 = PlainStage(SlicedConv(stem, down1, 3, 2, 1))
        self.down2 = PlainStage(SlicedConv(down1, down2, 3, 2, 1))
        self.blocks = nn.ModuleList(PlainBlock(down2, inner) for inner in a.channels.inner_widths(a.blocks))
        self.up1 = PlainStage(SlicedTransposed(down2, up1, 3, 2, 1, 1))
        self.up2 = PlainStage(SlicedTransposed(up1, up2, 3, 2, 1, 1))
        self.pad, self.tail = nn.ReflectionPad2d(3), SlicedConv(up2, a.out_channels, 7)

    def forward(self, x: Tensor, config: ChannelConfig) -> tuple[Tensor, list[Tensor]]:
        """The picture, and the features after the downsampling and after each third of the blocks."""
        stem, down1, down2, up1, up2 = config.ends
        x = self.down2(self.down1(self.stem(x, stem), down1), down2)
        features, third = [x], len(self.blocks) // 3
        for i, (block, inner) in enumerate(zip(self.blocks, config.inner_widths(len(self.blocks)), strict=True)):
            x = block(x, inner)
            if (i + 1) % third == 0:
                features.append(x)
        x = self.up2(self.up1(x, up1), up2)
        return torch.tanh(self.tail(self.pad(x))), features


def plain_adaptors(student: int, teacher: int) -> nn.ModuleList:
    """A 1x1 convolution for each of the four taps, from the student's channels to the teacher's."""
    return nn.ModuleList(SlicedConv(student, teacher, 1) for _ in range(4))


def plain_critic(channels: int, ndf: int) -> nn.Sequential:
    """The 70x70 PatchGAN, which sees source and picture side by side."""
    layers: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for c_in, c_out, stride in ((ndf, 2 * ndf, 2), (2 * ndf, 4 * ndf, 2), (4 * ndf, 8 * ndf, 1)):
        layers += [nn.Conv2d(c_in, c_out, 4, stride, 1), nn.InstanceNorm2d(c_out), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(8 * ndf, 1, 4, 1, 1))


@dataclass(frozen=True)
class PlainModels:
    """All networks of the game; ``teacher_config`` is the teacher's own width."""

    student: PlainGenerator
    teacher: PlainGenerator
    teacher_config: ChannelConfig
    adaptors: nn.ModuleList
    critic: nn.Module


def train_plain_supernet(
    models: PlainModels, steps: Iterable[tuple[Batch, ChannelConfig]], lr: float
) -> dict[str, float]:
    """Play one round for each batch and config; returns the losses of the last one."""
    betas = (0.5, 0.999)
    optimizer_D = torch.optim.Adam(models.critic.parameters(), lr, betas)
    optimizer_G = torch.optim.Adam([*models.student.parameters(), *models.adaptors.parameters()], lr, betas)
    losses: dict[str, Tensor] = {}
    for batch, config in steps:
        with torch.no_grad():
            _, theirs = models.teacher(batch.source, models.teacher_config)
        fake, ours = models.student(batch.source, config)

        models.critic.requires_grad_(True)
        critic = _critic_loss(models.critic, batch, fake.detach())
        optimizer_D.zero_grad()
        critic.backward()
        optimizer_D.step()

        models.critic.requires_grad_(False)
        losses = {
            "gan_hinge": -models.critic(torch.cat([batch.source, fake], 1)).mean(),
            "reconstruction": F.l1_loss(fake, batch.target),
            "feature_kd": _distillation_loss(models.adaptors, ours, theirs),
        }
        optimizer_G.zero_grad()
        (losses["gan_hinge"] + 100 * losses["reconstruction"] + losses["feature_kd"]).backward()
        optimizer_G.step()
        losses["critic_hinge"] = critic
    return {name: loss.item() for name, loss in losses.items()}


def _critic_loss(critic: nn.Module, batch: Batch, fake: Tensor) -> Tensor:
    real_scores = critic(torch.cat([batch.source, batch.target], 1))
    fake_scores = critic(torch.cat([batch.source, fake], 1))
    return 0.5 * (F.relu(1 - real_scores).mean() + F.relu(1 + fake_scores).mean())


def _distillation_loss(adaptors: nn.ModuleList, ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    loss = torch.zeros(())
    for adaptor, mine, given in zip(adaptors, ours, theirs, strict=True):
        loss = loss + F.mse_loss(adaptor(mine), given)
    return loss
