"""Generators that other projects trained: from their state dicts to our networks.

Two formats are known. Both share the layout of the CycleGAN/pix2pix ResNet generator, a row ``model.N`` with
``model.10`` the first residual block: the dense one (``model.10.conv_block.1.weight``), and GAN Compression's, whose
blocks may be separable (``model.10.conv_block.1.conv.0.weight`` depthwise, ``.conv.2.weight`` pointwise) and whose
layers have individual widths. What a file does not state is derived from its tensors. This module knows tensors and
names; :mod:`gancomp_core.importers.foreign_files` knows files.

No tensor shows whether the blocks pad by reflection (as published) or by replication. Reflection is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gancomp_core.errors import GancompError, shown
from gancomp_core.nets.channel_config import LARGEST_ENTRY, ChannelConfig, third_of
from gancomp_core.nets.resnet import ResnetArchitecture, ResnetGenerator

#: Names under which training programs file the generator's state dict.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "netG", "G", "generator", "params", "params_ema", "g_ema"),
    *("netG_A", "netG_B", "G_A", "G_B"),
)
LARGEST_COUNT = 500_000_000  # numbers in all tensors together: 40 times the published ResNet-9
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
FIRST_BLOCK = 10


def generator_from_state_dict(tensors: Mapping[str, Tensor], source: str = "The state dict") -> ResnetGenerator:
    """The generator whose weights these tensors are.

    Its output equals that of the source's own definition. A convolution without a bias gets a bias of zero: the norm
    after it removes any constant. Running statistics that an old InstanceNorm left behind are ignored, as CycleGAN's
    code does.

    Args:
        tensors: A state dict.
        source: Name of the tensors in errors.

    Returns:
        The generator, in eval mode and without gradients, for pictures in [-1, 1]; ``.architecture`` describes it.

    Raises:
        GancompError: Naming a tensor, when the tensors are another network (U-Net, discriminator, ...), when one is
            missing, superfluous, of another shape or not finite, when the norm is BatchNorm, and for widths that no
            :class:`ChannelConfig` has.
    """
    reader = _Reader(tensors, _prefix(tensors, source), source)
    layout = _layout(reader)
    layers = list(_layers(reader.prefix, layout))
    biased = {layer.kind for layer in layers if f"{layer.theirs}.bias" in tensors}
    affine = any(f"{layer.theirs}.{part}" in tensors for layer in layers if layer.is_norm for part in PARTS)
    _refuse_batch_norm(reader, layers, biased, affine)
    with torch.device("meta"):  # shapes only: nothing is allocated before every shape has been compared
        network = ResnetGenerator(_architecture(reader, layout, affine))
    renamed = _renamed(reader, layers, {name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict(renamed, assign=True)
    return network.eval().requires_grad_(False)


def tensors_of(loaded: object, source: str) -> dict[str, Tensor]:
    """The tensors of a loaded checkpoint, in any of the usual wrappers; floating-point ones as float32.

    Args:
        loaded: What a file contains: a state dict, or a mapping with one inside. Plain values next to tensors are left
            out.
        source: Name of the checkpoint in errors.

    Returns:
        Tensors by name.

    Raises:
        GancompError: For no state dict, for several, and for tensors of a kind that no weights have.
    """
    found = _unwrapped(loaded, source)
    if sum(tensor.numel() for tensor in found.values()) > LARGEST_COUNT:
        raise GancompError(
            f"{source} holds more than {LARGEST_COUNT // 10**6} million numbers, which no generator here has; "
            "save the generator's state dict alone."
        )
    for name, tensor in found.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
            raise GancompError(
                f"The tensor '{shown(name)}' in {source} is {_kind(tensor)}; weights must be dense float tensors, "
                "so convert them before saving."
            )
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}


# --- finding the tensors


def _unwrapped(loaded: object, source: str) -> dict[str, Tensor]:
    for _ in range(4):  # state dicts lie this deep at most
        if not isinstance(loaded, Mapping) or not loaded:
            break
        if {"state", "param_groups"} <= set(loaded):
            raise GancompError(f"{source} is the state of an optimizer, not a network; import the generator's weights.")
        tensors = {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors and all(isinstance(name, str) for name in tensors):
            return tensors
        inside = [key for key, value in loaded.items() if key in WRAPPERS and isinstance(value, Mapping)]
        inside = inside or [key for key, value in loaded.items() if _is_state_dict(value)]
        if len(inside) > 1:
            raise GancompError(
                f"{source} holds several state dicts ({_few(inside)}); save the one you want to a file of its own."
            )
        if not inside:
            break
        loaded = loaded[inside[0]]
    raise GancompError(
        f"{source} holds no state dict, but {_described(loaded)}; save the generator with "
        "torch.save(generator.state_dict(), path)."
    )


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(inner, Tensor) for inner in value.values())


def _described(loaded: object) -> str:
    if isinstance(loaded, Mapping):
        return f"the entries {_few(map(str, loaded))}" if loaded else "nothing at all"
    return f"one {type(loaded).__name__}"


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(shown, names[:4])) + (", ..." if len(names) > 4 else "")


def _kind(tensor: Tensor) -> str:
    if tensor.device.type != "cpu":
        return f"on the device '{tensor.device.type}'"
    return "sparse" if tensor.layout != torch.strided else str(tensor.dtype).removeprefix("torch.")


def _prefix(tensors: Mapping[str, Tensor], source: str) -> str:
    """What stands before ``model.N`` in every name, such as ``module.`` of DataParallel."""
    matches = [re.match(r"((?:.*\.)?)model\.\d+\.conv_block\.\d", name) for name in tensors]
    prefixes = sorted({match[1] for match in matches if match})
    if not prefixes:
        raise another_network(tensors, source)
    strangers = [name for name in tensors if not name.startswith(prefixes[0])]
    if len(prefixes) > 1 or strangers:
        raise GancompError(
            f"{source} holds several networks ({_few([*prefixes, *strangers])}); save the generator you want alone."
        )
    return prefixes[0]


def another_network(tensors: Mapping[str, Tensor], source: str) -> GancompError:
    """What to say of tensors that no layout fits."""
    return GancompError(
        f"{source} {_other_network(tensors)}; import_checkpoint reads ResNet generators of CycleGAN, pix2pix and "
        "GAN Compression."
    )


#: Other networks, by the name of one of their tensors and the sides of its kernel.
_OTHERS = {
    r"(^|\.)model\.1\.model\.": "is probably a U-Net generator of pix2pix",
    r"^(net\.)?stages\.stem\.": "holds weights of this library, which gancomp_core.zoo loads",
    r"\bhead_0\.": "is probably a SPADE (GauGAN) generator",
    r"\bconv_first\.": "is probably an RRDBNet (ESRGAN)",
    r"\bmodel\.0\.weight 4x4$": "is probably a discriminator (PatchGAN)",
}


def _other_network(tensors: Mapping[str, Tensor]) -> str:
    signs = [f"{name} {_sides(tensor.shape[2:])}" for name, tensor in tensors.items()]
    for pattern, what in _OTHERS.items():
        if any(re.search(pattern, sign) for sign in signs):
            return what
    return f"has no residual block 'model.{FIRST_BLOCK}.conv_block', but {_few(tensors)}"


# --- working out what the network is


@dataclass(frozen=True)
class _Reader:
    """Tensors by name, with errors that name the tensor."""

    tensors: Mapping[str, Tensor]
    prefix: str
    source: str

    def width(self, name: str, axis: int = 0) -> int:
        """A side of the kernel ``name`` (without prefix)."""
        kernel = self.get(f"{self.prefix}{name}")
        if kernel.ndim != 4:
            raise self.error(f"{self.prefix}{name}", f"is {_sides(kernel.shape)}, and a kernel has four axes")
        return kernel.shape[axis]

    def get(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise GancompError(
                f"{self.source} lacks the tensor '{name}', so the generator is incomplete; get the file again."
            )
        return self.tensors[name]

    def error(self, name: str, what: str, way_out: str = "get the file again, or check what it holds") -> GancompError:
        return GancompError(f"The tensor '{shown(name)}' in {self.source} {what}; {way_out}.")


@dataclass(frozen=True)
class _Layout:
    """How the blocks are numbered and built; ``second`` is the index of a block's second convolution."""

    blocks: int
    second: int
    separable: bool


PARTS = ("weight", "bias")


@dataclass(frozen=True)
class _Layer:
    """One layer's name in our network and in theirs.

    Of one ``kind`` ("conv", "separable conv", "tail", "norm", "separable norm") all have biases or none, scales or
    none.
    """

    ours: str
    theirs: str
    kind: str

    @property
    def is_norm(self) -> bool:
        return self.kind.endswith("norm")


def _layout(reader: _Reader) -> _Layout:
    pattern = re.compile(re.escape(reader.prefix) + r"model\.(\d{1,4})\.conv_block\.(\d{1,2})\.(.+)")
    found = [(match, tensor) for name, tensor in reader.tensors.items() if (match := pattern.fullmatch(name))]
    convolved = {
        int(match[2])
        for match, kernel in found
        if match[3].startswith("conv.") or match[3] == "weight" and kernel.ndim > 1
    }
    if 0 in convolved:
        raise GancompError(
            f"The residual blocks in {reader.source} pad with zeros ('conv_block.0' is a convolution), and only "
            "reflection can be imported; use a generator trained with padding_type='reflect', the default."
        )
    blocks = max((int(match[1]) for match, _ in found), default=0) - FIRST_BLOCK + 1
    if not 1 <= blocks <= 32:
        raise GancompError(
            f"{reader.source} would have {blocks} residual blocks by the numbers of its tensors; 1 to 32 can be "
            "imported, numbered from model.10 as by CycleGAN with two downsampling layers."
        )
    return _Layout(blocks, 6 if 6 in convolved else 5, any(match[3].startswith("conv.") for match, _ in found))


def _layers(prefix: str, layout: _Layout) -> Iterator[_Layer]:
    """Every layer with weights, in the order in which they run."""
    p, after = f"{prefix}model.", FIRST_BLOCK + layout.blocks
    ends = [("stem", 1), ("down1", 4), ("down2", 7), ("up1", after), ("up2", after + 3)]
    for name, index in ends:
        yield _Layer(f"stages.{name}.0", f"{p}{index}", "conv")
        yield _Layer(f"stages.{name}.1", f"{p}{index + 1}", "norm")
    for block in range(layout.blocks):
        ours, theirs = f"stages.block{block + 1}.body", f"{p}{FIRST_BLOCK + block}.conv_block"
        for our_index, index in ((0, 1), (3, layout.second)):
            if layout.separable:
                for part, kind in enumerate(("separable conv", "separable norm", "separable conv")):
                    yield _Layer(f"{ours}.{our_index}.{part}", f"{theirs}.{index}.conv.{part}", kind)
            else:
                yield _Layer(f"{ours}.{our_index}", f"{theirs}.{index}", "conv")
            yield _Layer(f"{ours}.{our_index + 1}", f"{theirs}.{index + 1}", "norm")
    yield _Layer("stages.tail.0", f"{p}{after + 7}", "tail")


def _refuse_batch_norm(reader: _Reader, layers: list[_Layer], biased: set[str], affine: bool) -> None:
    """Running statistics belong to BatchNorm, or are what an old InstanceNorm left behind and nothing uses.

    The format tells them apart: a convolution before BatchNorm has no bias.
    """
    first = next((name for name in reader.tensors if name.endswith((".running_mean", ".running_var"))), None)
    if first is None or ("conv" in biased and not affine):
        return
    if "conv" not in biased:
        raise GancompError(
            f"{reader.source} is normalized by BatchNorm ('{first}', and no biases before it), and only InstanceNorm "
            "generators can be imported; train or find one with norm='instance', CycleGAN's default."
        )
    raise reader.error(
        first,
        "may belong to BatchNorm or to an affine InstanceNorm that never used it",
        "if the norms are InstanceNorm, delete the running statistics from the state dict and save it again",
    )


def _architecture(reader: _Reader, layout: _Layout, affine: bool) -> ResnetArchitecture:
    after = FIRST_BLOCK + layout.blocks
    kernel = "conv_block.1.conv.2.weight" if layout.separable else "conv_block.1.weight"
    ends = (("model.1.weight", 0, 1), ("model.4.weight", 0, 2), ("model.7.weight", 0, 4))
    ups = ((f"model.{after}.weight", 1, 2), (f"model.{after + 3}.weight", 1, 1))
    inner = [(f"model.{FIRST_BLOCK + block}.{kernel}", 0, 4) for block in range(layout.blocks)]
    stem, thirds, tops = ([_entry(reader, *place) for place in places] for places in (ends, inner, ups))
    return ResnetArchitecture(
        _channel_config(reader, stem, thirds, tops, [name for name, *_ in inner]),
        blocks=layout.blocks,
        separable=layout.separable,
        in_channels=reader.width("model.1.weight", 1),
        out_channels=reader.width(f"model.{after + 7}.weight"),
        affine=affine,
    )


def _entry(reader: _Reader, name: str, axis: int, factor: int) -> int:
    """The entry of the channel config that gives this kernel its width."""
    width = reader.width(name, axis)
    if width % 8 or not 0 < width <= factor * LARGEST_ENTRY:
        raise reader.error(
            f"{reader.prefix}{name}",
            f"makes {width} channels, and a channel config needs a multiple of 8, at most {factor * LARGEST_ENTRY}",
            "such a width cannot be imported",
        )
    return width // factor


def _channel_config(
    reader: _Reader, down: list[int], inner: list[int], up: list[int], names: list[str]
) -> ChannelConfig:
    """Eight entries, or six under the legacy rule, whichever gives the blocks these inner widths."""
    blocks = len(inner)
    thirds = {third_of(block, blocks): inner[block] for block in reversed(range(blocks))}  # first of each third
    thirds = {third: thirds.get(third, thirds[max(thirds)]) for third in range(3)}  # fewer than three blocks
    candidates = [ChannelConfig((*down, *thirds.values(), *up)), ChannelConfig((*down, inner[0], *up), legacy=True)]
    for config in candidates:
        if config.inner_widths(blocks) == tuple(4 * entry for entry in inner):
            return config
    expected = candidates[0].inner_widths(blocks)
    odd = next(block for block in range(blocks) if expected[block] != 4 * inner[block])
    raise reader.error(
        f"{reader.prefix}{names[odd]}",
        f"makes block {odd + 1} of {blocks} {4 * inner[odd]} channels wide inside, where the other blocks of its third "
        f"have {expected[odd]}",
        "only generators whose inner widths agree within each third of the blocks can be imported",
    )


# --- from their names to ours


def _renamed(reader: _Reader, layers: list[_Layer], shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    theirs = {f"{layer.theirs}.{part}": (layer, part) for layer in layers for part in PARTS}
    # what a kind of layer has, all of that kind must have; a tail without bias goes with convolutions without
    present = {(layer.kind, part) for name, (layer, part) in theirs.items() if name in reader.tensors}
    if ("conv", "bias") in present:
        present.add(("tail", "bias"))
    renamed, used = {}, set()
    for name, (layer, part) in theirs.items():
        ours = f"{layer.ours}.{part}"
        if ours not in shapes:
            continue
        if name not in reader.tensors and (part == "bias" or layer.is_norm) and (layer.kind, part) not in present:
            renamed[ours] = torch.full(shapes[ours], float(part == "weight"))
            continue
        renamed[ours] = _checked(reader, name, shapes[ours])
        used.add(name)
    ignored = {f"{layer.theirs}.{part}" for layer in layers if layer.is_norm for part in STATISTICS}
    if extra := [name for name in reader.tensors if name not in used | ignored]:
        raise GancompError(
            f"{reader.source} holds {len(extra)} tensors that a ResNet generator of this layout does not have "
            f"({_few(extra)}); it is another network, or more was saved than the generator."
        )
    return renamed


def _checked(reader: _Reader, name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = reader.get(name)
    if tuple(tensor.shape) != shape:
        raise reader.error(name, f"is {_sides(tensor.shape)}, and by the other tensors it should be {_sides(shape)}")
    if not tensor.is_floating_point():
        raise reader.error(name, f"holds {_kind(tensor)} numbers", "weights must be floating-point numbers")
    if not torch.isfinite(tensor).all():
        raise reader.error(name, "holds numbers that are not finite (NaN or infinity)")
    return tensor.detach().contiguous().clone()  # of its own, not a view of something larger


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
