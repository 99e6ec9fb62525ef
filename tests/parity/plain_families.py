"""Public generators other than ResNets, written down once more and plainly, by the names that their files have.

Nothing here uses the library.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scattered(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode with random parameters and statistics, of a scale that keeps outputs alive."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in network.state_dict().items():
        noise = torch.randn(values.shape, generator=generator)
        if name.endswith("running_var"):
            values.copy_(0.5 + noise.abs())
        elif name.endswith("weight") and values.ndim == 1:
            values.copy_((0.25 if "prelu" in name else 1) + 0.2 * noise)
        elif values.ndim > 1:
            values.copy_(noise / values[0].numel() ** 0.5)
        elif values.is_floating_point():
            values.copy_(0.2 * noise)
    return network.eval()


# --- pix2pix


class NestedBlock(nn.Module):
    """A block of pix2pix's U-Net around the next one."""

    def __init__(self, outer, inner, inputs, norm, bias, inside=None, outermost=False) -> None:
        super().__init__()
        self.outermost = outermost
        down = nn.Conv2d(inputs, inner, 4, 2, 1, bias=bias)
        if outermost:
            row = [down, inside, nn.ReLU(True), nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1), nn.Tanh()]
        elif inside is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            row = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, norm(outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            row = [nn.LeakyReLU(0.2, True), down, norm(inner), inside, nn.ReLU(True), up, norm(outer), nn.Dropout(0.5)]
        self.model = nn.Sequential(*row)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Pix2pixUnet(nn.Module):
    def __init__(self, width=4, depth=5, inputs=3, outputs=3, norm=nn.BatchNorm2d, bias=False) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth)]
        block = None
        for level in reversed(range(1, depth)):
            block = NestedBlock(widths[level - 1], widths[level], widths[level - 1], norm, bias, block)
        self.model = NestedBlock(outputs, width, inputs, norm, bias, block, outermost=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


# --- PyTorch-GAN


class Down(nn.Module):
    def __init__(self, inputs, outputs, normalize=True, early=False) -> None:
        super().__init__()
        if early:
            row = [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2)]
            row += [nn.BatchNorm2d(outputs, 0.8)] if normalize else []
        else:
            row = [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
            row += [nn.InstanceNorm2d(outputs)] if normalize else []
            row += [nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*row, nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Up(nn.Module):
    def __init__(self, inputs, outputs, early=False) -> None:
        super().__init__()
        if early:
            row = [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, 1, 1), nn.LeakyReLU(0.2)]
            row += [nn.BatchNorm2d(outputs, 0.8)]
        else:
            row = [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.InstanceNorm2d(outputs), nn.ReLU()]
        self.model = nn.Sequential(*row)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat((self.model(x), skip), 1)


class PytorchGanUnet(nn.Module):
    """Three halvings where PyTorch-GAN has eight, and six in its first version (``early``)."""

    def __init__(self, width=8, early=False) -> None:
        super().__init__()
        self.down1 = Down(3, width, False, early)
        self.down2 = Down(width, 2 * width, True, early)
        self.down3 = Down(2 * width, 3 * width, early, early)
        self.up1 = Up(3 * width, 2 * width, early)
        self.up2 = Up(4 * width, width, early)
        if early:
            self.final = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2 * width, 3, 3, 1, 1), nn.Tanh())
        else:
            last = nn.Conv2d(2 * width, 3, 4, padding=1)
            self.final = nn.Sequential(nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)), last, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        d1 = self.down1(x)
        d2 = self.down2(d1)
        return self.final(self.up2(self.up1(self.down3(d2), d2), d1))


# --- ESRGAN, Real-ESRGAN


class DenseConvolutions(nn.Module):
    def __init__(self, width, growth) -> None:
        super().__init__()
        for i in range(5):
            setattr(self, f"conv{i + 1}", nn.Conv2d(width + i * growth, width if i == 4 else growth, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for i in range(1, 5):
            seen.append(F.leaky_relu(getattr(self, f"conv{i}")(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * self.conv5(torch.cat(seen, 1))


class ThreeDense(nn.Module):
    def __init__(self, width, growth, name) -> None:
        super().__init__()
        self.name = name
        for i in range(1, 4):
            setattr(self, f"{name}{i}", DenseConvolutions(width, growth))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, 4):
            y = getattr(self, f"{self.name}{i}")(y)
        return x + 0.2 * y


class RealEsrgan(nn.Module):
    """RRDBNet by Real-ESRGAN's names, or by ESRGAN's (``old``); for pictures in [0, 1]."""

    def __init__(self, scale=4, blocks=2, width=8, growth=4, channels=3, old=False) -> None:
        super().__init__()
        self.squares = {4: 1, 2: 2, 1: 4}[scale]
        self.names = ("RRDB_trunk", "trunk_conv", "upconv1", "upconv2", "HRconv")
        if not old:
            self.names = ("body", "conv_body", "conv_up1", "conv_up2", "conv_hr")
        self.conv_first = nn.Conv2d(channels * self.squares**2, width, 3, 1, 1)
        body = nn.Sequential(*(ThreeDense(width, growth, "RDB" if old else "rdb") for _ in range(blocks)))
        for name, part in zip(self.names, [body, *(nn.Conv2d(width, width, 3, 1, 1) for _ in range(4))], strict=True):
            setattr(self, name, part)
        self.conv_last = nn.Conv2d(width, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        body, trunk, up1, up2, high = (getattr(self, name) for name in self.names)
        n, c, h, w = x.shape
        s = self.squares
        x = x.view(n, c, h // s, s, w // s, s).permute(0, 1, 3, 5, 2, 4).reshape(n, c * s * s, h // s, w // s)
        x = self.conv_first(x)
        x = x + trunk(body(x))
        for up in (up1, up2):
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        return self.conv_last(F.leaky_relu(high(x), 0.2))


def first_esrgan_names(state: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The names of ESRGAN's first files for a state dict of :class:`RealEsrgan` with the old names."""
    outer = {"conv_first": "0", "trunk_conv": f"1.sub.{blocks}", "upconv1": "3", "upconv2": "6"}
    outer |= {"HRconv": "8", "conv_last": "10"}
    found = {}
    for name, values in state.items():
        path, part = name.rsplit(".", 1)
        inner = f"1.sub.{path.removeprefix('RRDB_trunk.')}.0"
        found[f"model.{outer.get(path, inner)}.{part}"] = values
    return found


class Compact(nn.Module):
    """SRVGGNetCompact."""

    def __init__(self, width=8, inner=3, scale=4, active="prelu", channels=3) -> None:
        super().__init__()
        self.scale = scale
        kinds = {"prelu": lambda: nn.PReLU(width), "relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.1)}
        self.body = nn.ModuleList([nn.Conv2d(channels, width, 3, 1, 1), kinds[active]()])
        for _ in range(inner):
            self.body.extend([nn.Conv2d(width, width, 3, 1, 1), kinds[active]()])
        self.body.append(nn.Conv2d(width, channels * scale**2, 3, 1, 1))
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        return self.upsampler(y) + F.interpolate(x, scale_factor=self.scale, mode="nearest")


# --- VDSR


class Convolved(nn.Module):
    def __init__(self, width) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class NamedVdsr(nn.Module):
    def __init__(self, inner=4, width=8) -> None:
        super().__init__()
        self.residual_layer = nn.Sequential(*(Convolved(width) for _ in range(inner)))
        self.input = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.output = nn.Conv2d(width, 1, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.output(self.residual_layer(F.relu(self.input(x))))


class RowVdsr(nn.Module):
    def __init__(self, inner=4, width=8) -> None:
        super().__init__()
        row = [nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.ReLU()]
        for _ in range(inner):
            row += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.ReLU()]
        self.features = nn.Sequential(*row, nn.Conv2d(width, 1, 3, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.features(x)


# --- PyTorch's fast_neural_style


class Padded(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride=1, enlarge=1) -> None:
        super().__init__()
        self.enlarge, self.pad = enlarge, nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=self.enlarge, mode="nearest") if self.enlarge > 1 else x
        return self.conv2d(self.pad(x))


class StyleBlock(nn.Module):
    def __init__(self, width) -> None:
        super().__init__()
        self.conv1, self.in1 = Padded(width, width, 3), nn.InstanceNorm2d(width, affine=True)
        self.conv2, self.in2 = Padded(width, width, 3), nn.InstanceNorm2d(width, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))


class StyleTransfer(nn.Module):
    """For pictures in 0..255."""

    def __init__(self, width=4, blocks=5) -> None:
        super().__init__()
        self.blocks = blocks
        self.conv1, self.in1 = Padded(3, width, 9), nn.InstanceNorm2d(width, affine=True)
        self.conv2, self.in2 = Padded(width, 2 * width, 3, 2), nn.InstanceNorm2d(2 * width, affine=True)
        self.conv3, self.in3 = Padded(2 * width, 4 * width, 3, 2), nn.InstanceNorm2d(4 * width, affine=True)
        for i in range(1, blocks + 1):
            setattr(self, f"res{i}", StyleBlock(4 * width))
        self.deconv1, self.in4 = Padded(4 * width, 2 * width, 3, 1, 2), nn.InstanceNorm2d(2 * width, affine=True)
        self.deconv2, self.in5 = Padded(2 * width, width, 3, 1, 2), nn.InstanceNorm2d(width, affine=True)
        self.deconv3 = Padded(width, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.conv1, self.in1), (self.conv2, self.in2), (self.conv3, self.in3)):
            x = F.relu(norm(conv(x)))
        for i in range(1, self.blocks + 1):
            x = getattr(self, f"res{i}")(x)
        for conv, norm in ((self.deconv1, self.in4), (self.deconv2, self.in5)):
            x = F.relu(norm(conv(x)))
        return self.deconv3(x)


# --- SPADE


class SeparableConvolution(nn.Module):
    def __init__(self, inputs, outputs) -> None:
        super().__init__()
        depthwise = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs)
        self.conv = nn.Sequential(depthwise, nn.InstanceNorm2d(inputs), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class LongBatchNorm(nn.BatchNorm2d):
    """BatchNorm that keeps statistics of more channels than it gets, as GAN Compression's sub-networks do."""

    def forward(self, x: Tensor) -> Tensor:
        more = x.new_zeros(x.shape[0], self.num_features - x.shape[1], *x.shape[2:])
        return super().forward(torch.cat([x, more], 1))[:, : x.shape[1]]


class SpadeLayer(nn.Module):
    def __init__(self, channels, labels, hidden, norm, separable) -> None:
        super().__init__()
        self.param_free_norm = norm(channels)
        self.mlp_shared = nn.Sequential(nn.Conv2d(labels, hidden, 3, 1, 1), nn.ReLU())
        for name in ("mlp_gamma", "mlp_beta"):
            dense = nn.Conv2d(hidden, channels, 3, 1, 1)
            setattr(self, name, SeparableConvolution(hidden, channels) if separable else dense)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        hidden = self.mlp_shared(F.interpolate(labels, size=x.shape[2:], mode="nearest"))
        return self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SpadeResnetBlock(nn.Module):
    def __init__(self, inputs, inner, outputs, shortcut, *layer) -> None:
        super().__init__()
        self.conv_0, self.conv_1 = nn.Conv2d(inputs, inner, 3, 1, 1), nn.Conv2d(inner, outputs, 3, 1, 1)
        self.norm_0, self.norm_1 = SpadeLayer(inputs, *layer), SpadeLayer(inner, *layer)
        self.shortcut = shortcut
        if shortcut:
            self.conv_s = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.norm_s = SpadeLayer(inputs, *layer)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, labels), 0.2))
        return y + (self.conv_s(self.norm_s(x, labels)) if self.shortcut else x)


def parameter_free(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=False)


class Gaugan(nn.Module):
    """For labels of zeros and ones; ``config`` has the entries of GAN Compression, ``hidden`` is fixed by NVlabs."""

    def __init__(
        self, config=(8,) * 8, labels=4, upsampling="normal", hidden=None, norm=parameter_free, separable=False
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        first, *inner = config
        self.fc = nn.Conv2d(labels, 16 * first, 3, 1, 1)
        for name, n in zip(("head_0", "G_middle_0", "G_middle_1"), inner[:3], strict=True):
            layer = (labels, hidden or 2 * n, norm, separable)
            setattr(self, name, SpadeResnetBlock(16 * first, 16 * n, 16 * first, False, *layer))
        inputs = 16 * first
        for name, n, factor in zip(("up_0", "up_1", "up_2", "up_3"), inner[3:], (8, 4, 2, 1), strict=True):
            layer = (labels, hidden or 2 * n, norm, separable)
            setattr(self, name, SpadeResnetBlock(inputs, factor * n, factor * n, True, *layer))
            inputs = factor * n
        if upsampling == "most":
            self.up_4 = SpadeResnetBlock(inputs, inputs // 2, inputs // 2, True, labels, hidden, norm, separable)
            inputs //= 2
        self.conv_img = nn.Conv2d(inputs, 3, 3, 1, 1)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, labels: Tensor) -> Tensor:
        shrink = {"normal": 32, "more": 64, "most": 128}[self.upsampling]
        x = self.fc(F.interpolate(labels, size=[size // shrink for size in labels.shape[2:]]))
        x = self.G_middle_0(self.up(self.head_0(x, labels)), labels)
        x = self.G_middle_1(self.up(x) if self.upsampling != "normal" else x, labels)
        for block in (self.up_0, self.up_1, self.up_2, self.up_3):
            x = block(self.up(x), labels)
        if self.upsampling == "most":
            x = self.up_4(self.up(x), labels)
        return torch.tanh(self.conv_img(F.leaky_relu(x, 0.2)))
