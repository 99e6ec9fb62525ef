"""The row: ResNet generators of CycleGAN, pix2pix, CUT, PyTorch-GAN and GAN Compression, one numbered sequence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancomp_core.errors import GancompError, shown
from gancomp_core.importers.assumptions import Assumptions, Unclear, Value
from gancomp_core.importers.layouts import plain
from gancomp_core.importers.layouts.base import Built
from gancomp_core.importers.layouts.row_as_ours import as_ours
from gancomp_core.importers.layouts.row_reading import Item, Misfit, Reading, Step, read_row


class Row:
    """ResNet generators as a numbered row of layers: any width, depth, norm, padding and way of resizing."""

    name = "ResNet generator"

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return self.misfit(tensors) is None

    def misfit(self, tensors: Mapping[str, Tensor]) -> Misfit | None:
        """Why the tensors are no row; None where they are one."""
        try:
            read_row(tensors)
        except Misfit as error:
            return error
        return None

    def build(self, tensors: Mapping[str, Tensor], assume: Assumptions, source: str) -> Built:
        try:
            reading = read_row(tensors)
            assumed = _assumed(reading, assume, source)
            used = _Values(assumed)
            if assumed.get("front") == "dropout":
                for step in _unclear_fronts(reading):
                    step.pads = False
            network = as_ours(reading, assumed) or _plain(reading, used)
        except Misfit as error:
            raise GancompError(
                f"The tensor '{shown(error.name)}' in {source} {error.why}; import a generator of another layout, or "
                "another part of the file."
            ) from error
        _check_size(network, reading, source)
        return Built(network, _described(reading), assumed, _unused(reading, assumed))


def _described(reading: Reading) -> str:
    ways = []
    for does, what in (
        ("transposed", "transposed convolutions"),
        ("filter up", "fixed filters"),
        ("resize", "resizes"),
        ("shuffle", "pixel shuffles"),
    ):
        if any(step.does == does or getattr(step, does, False) for step in reading.steps):
            ways.append(what)
    if any(step.shuffle == "before norm" and step.hidden for step in reading.steps):
        ways[-1] += " before the norms"
    doubled = f", doubled again by {' and '.join(ways)}" if ways else ""
    plain = "strides of 2, no dilation"  # what no tensor shows and no option changes
    return f"ResNet generator ({plain}), {reading.blocks} blocks, size halved {reading.halvings} times{doubled}"


def _unused(reading: Reading, assumed: Mapping[str, Value]) -> tuple[str, ...]:
    norms = [norm for step in reading.all_steps() if (norm := step.leg.norm)]
    ends = ["num_batches_tracked"]
    if assumed.get("norm_at_test") == "picture":
        ends += ["running_mean", "running_var"]
    return tuple(norm.name + name for norm in norms for name in norm.tensors if name in ends)


# --- what the file leaves open


@dataclass(frozen=True)
class _Signs:
    """What the tensors show about the norms."""

    stored: bool  # some norm has tensors
    affine: bool
    running: bool
    tracked: bool
    hidden: bool  # some place for a norm has none
    biased: bool  # convolutions in front of norms have biases


def _signs(reading: Reading) -> _Signs:
    steps = reading.all_steps()
    norms = [set(step.leg.norm.tensors) for step in steps if step.leg.norm]
    convs = [step.conv for step in steps if step.hidden or step.leg.norm]
    biased = all("bias" in conv.tensors for conv in convs if conv.kind == "conv")
    return _Signs(
        stored=bool(norms),
        affine=any("weight" in names for names in norms),
        running=any("running_mean" in names for names in norms),
        tracked=any("num_batches_tracked" in names for names in norms),
        hidden=any(step.hidden for step in steps),
        biased=biased,
    )


def _assumed(reading: Reading, assume: Assumptions, source: str) -> dict[str, Value]:
    """Every value that no tensor shows: given, or the published one."""
    signs = _signs(reading)
    pads = any(step.pads for step in reading.steps if step.does != "block")
    found: dict[str, Value] = {}
    blocks = [step for step in reading.steps if step.does == "block"]
    if blocks:
        found["padding"] = assume.padding or ("reflect" if blocks[0].pads else "zeros")
    found["padding_ends"] = assume.padding_ends or ("reflect" if pads else "zeros")
    if any(step.active and step.leg.prelu is None for step in reading.all_steps()):
        found["activation"] = assume.activation or "relu"
    found["last"] = assume.last or "tanh"
    found |= _norms(signs, assume, source)
    if found.get("norm", "batch") != "none" and (signs.stored or signs.hidden):
        found["eps"] = assume.eps or 1e-5
    if any(step.resize for step in reading.steps):
        found["upsample"] = assume.upsample or "nearest"
    found["residual"] = bool(assume.residual)
    if unclear := _unclear_fronts(reading):
        found["front"] = assume.front or _ask_front(unclear[0], source)
    for name, value in assume.given.items():
        if (name not in found and name != "norm") or value == "prelu":
            raise GancompError(f"{source} has nothing to which {name}={value!r} could apply; leave it out.")
    return found


def _unclear_fronts(reading: Reading) -> list[Step]:
    """The steps behind a layer without tensors that would pad where other rows pad in the convolution itself."""
    first, *inner, last = reading.steps
    halving = [step for step in inner if step.does == "conv" and step.stride == 2 and step.pads]
    return halving + ([last] if last.pads and not first.pads else [])


def _ask_front(step: Step, source: str) -> str:
    raise Unclear(
        f"'{shown(step.conv.first)}' in {source} stands behind a layer without tensors, which pads or is a dropout; "
        "give assume=Assumptions(front='padding') or front='dropout'.",
        "front",
        ("padding", "dropout"),
    )


def _norms(signs: _Signs, assume: Assumptions, source: str) -> dict[str, Value]:
    if not signs.stored and not signs.hidden:
        if assume.norm not in (None, "none"):
            raise GancompError(f"{source} has no layer that could be a norm; leave norm={assume.norm!r} out.")
        return {}
    if signs.running:
        return _norms_with_statistics(signs, assume, source)
    if assume.norm == "batch" or assume.norm_at_test == "running":
        raise GancompError(
            f"{source} stores no running statistics, which norm='batch' needs; give norm='instance', 'group', 'layer' "
            "or 'none', or leave it out."
        )
    if signs.stored:
        if assume.norm == "none":
            raise GancompError(f"{source} stores scales of norms; leave norm='none' out.")
        return {"norm": assume.norm or "instance"}
    if assume.norm is None and not signs.biased:
        raise Unclear(
            f"{source} has places for norms, but neither norms nor biases in front of them, so it was trained without "
            "norms or with InstanceNorm; give assume=Assumptions(norm='none') or norm='instance'.",
            "norm",
            ("none", "instance"),
        )
    return {"norm": assume.norm or "instance"}


def _norms_with_statistics(signs: _Signs, assume: Assumptions, source: str) -> dict[str, Value]:
    if assume.norm not in (None, "batch", "instance"):
        raise GancompError(
            f"{source} stores running statistics, which norm={assume.norm!r} does not have; give 'batch' or 'instance'."
        )
    surely_batch = assume.norm == "batch" or not signs.biased or (signs.affine and signs.tracked)
    at_test = assume.norm_at_test or ("running" if surely_batch and assume.norm != "instance" else None)
    if at_test is None:
        raise Unclear(
            f"{source} stores running statistics beside biases, so its norms are BatchNorm, or InstanceNorm that uses "
            "them or not; give assume=Assumptions(norm_at_test='running') (BatchNorm, or track_running_stats in eval "
            "mode) or norm_at_test='picture' (InstanceNorm by each picture, as CycleGAN runs).",
            "norm_at_test",
            ("running", "picture"),
        )
    return {"norm_at_test": at_test}


# --- the plain network


class _Values:
    """Typed access to what was assumed."""

    def __init__(self, assumed: Mapping[str, Value]) -> None:
        self.padding, self.padding_ends = str(assumed.get("padding", "zeros")), str(assumed["padding_ends"])
        self.activation, self.last = str(assumed.get("activation", "none")), str(assumed["last"])
        self.norm, self.at_test = str(assumed.get("norm", "instance")), str(assumed.get("norm_at_test", "picture"))
        self.upsample, self.residual = str(assumed.get("upsample", "nearest")), bool(assumed["residual"])
        self.eps = float(assumed.get("eps", 1e-5))


def _plain(reading: Reading, values: _Values) -> plain.PlainGenerator:
    edges = any(step.pads for step in reading.steps if step.does != "block")
    layers: list[nn.Module] = []
    for step in reading.steps:
        padding = values.padding_ends if step.pads or not edges else "zeros"
        layers += _layers(step, values, padding)
    layers.append(plain.ACTIVATIONS[values.last]())
    return plain.PlainGenerator(layers, values.residual, 2**reading.halvings)


def _layers(step: Step, values: _Values, padding: str) -> Iterator[nn.Module]:
    if step.does == "block":
        yield plain.AddedBlock([layer for inner in step.inside for layer in _layers(inner, values, values.padding)])
        return
    if step.does in ("filter down", "filter up"):
        filt = step.leg.item.tensors["filt"]
        yield plain.shrinking_filter(filt) if step.does == "filter down" else plain.enlarging_filter(filt)
        return
    if step.resize:
        yield plain.Doubled(values.upsample)
    yield from _convolution(step, values, padding)
    if step.shuffle in ("nested", "before norm"):
        yield nn.PixelShuffle(2)
    yield from _norm(step.leg.norm, step.width * (4 if step.shuffle == "after norm" else 1), step.hidden, values)
    if step.shuffle == "after norm":
        yield nn.PixelShuffle(2)
    if step.leg.prelu:
        yield plain.prelu(step.leg.prelu.weight)
    elif step.active:
        yield plain.ACTIVATIONS[values.activation]()


def _convolution(step: Step, values: _Values, padding: str) -> Iterator[nn.Module]:
    stored = step.conv.tensors
    if step.does == "transposed":
        yield plain.transposed(stored["weight"], stored.get("bias"))
        return
    if step.does != "separable":
        weight = stored["weight"]
        yield plain.conv(weight, stored.get("bias"), stride=step.stride, padding=padding, groups=step.groups)
        return
    depthwise, pointwise = stored["conv.0.weight"], stored["conv.2.weight"]
    yield plain.conv(depthwise, stored.get("conv.0.bias"), padding=padding, groups=len(depthwise))
    inner = {name.removeprefix("conv.1."): tensor for name, tensor in stored.items() if name.startswith("conv.1.")}
    norm = Item(1, f"{step.conv.name}conv.1.", "norm", inner) if inner else None
    yield from _norm(norm, len(depthwise), norm is None, values)
    yield plain.conv(pointwise, stored.get("conv.2.bias"))


def _norm(norm: Item | None, channels: int, hidden: bool, values: _Values) -> Iterator[nn.Module]:
    stored = dict(norm.tensors) if norm else {}
    if values.norm == "none" or (norm is None and not hidden):
        return
    if "running_mean" in stored and values.at_test == "running":
        yield plain.batch_norm(stored, values.eps)
        return
    if values.norm.startswith("group") and channels % int(values.norm.partition(":")[2] or min(32, channels)):
        raise Misfit(
            norm.first if norm else "", f"has {channels} channels, which make no groups of norm={values.norm!r}"
        )
    yield plain.picture_norm(values.norm, channels, stored, values.eps)


@torch.no_grad()
def _check_size(network: nn.Module, reading: Reading, source: str) -> None:
    side = max(16, 8 * 2**reading.halvings)
    picture = torch.zeros(1, reading.in_channels, side, side)
    made = network.eval()(picture)
    if made.shape[2:] != picture.shape[2:]:
        raise GancompError(
            f"{source} would make {made.shape[-1]} pixels of {side} as it was read, and generators of this layout keep "
            "the size; it is another network."
        )
