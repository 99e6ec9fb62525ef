"""A numbered row of layers, worked out from the names, shapes and gaps of its tensors.

``nn.Sequential`` numbers all of its layers, and those without tensors leave gaps: between the convolutions 4 and 7
stand two layers, usually a norm and an activation. This module finds out what each gap holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

PAIRS = ({"weight", "bias"}, {"running_mean", "running_var"})  # of a norm
ENDLESS = "is in a sequence inside the row, and no tensor shows which layers end that"
NORM_PARTS = {"num_batches_tracked"}.union(*PAIRS)


class Misfit(Exception):
    """Why tensors are no row: the first name that does not fit, and why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


@dataclass
class Item:
    """One numbered entry with tensors.

    Attributes:
        index: Its number.
        name: What the names of its tensors begin with.
        kind: "conv", "norm", "prelu", "filter", "nested", "separable" or "block".
        inside: The entries of a "nested" or a "block".
    """

    index: int
    name: str
    kind: str
    tensors: Mapping[str, Tensor]
    inside: list[Item] = field(default_factory=list)

    @property
    def weight(self) -> Tensor:
        return self.tensors["weight" if self.kind != "separable" else "conv.2.weight"]

    @property
    def first(self) -> str:
        """The name of one of its tensors."""
        return self.name + next(iter(self.tensors))


@dataclass
class Leg:
    """A layer that computes, the norm and the activation with tensors behind it, and the layers without tensors.

    Attributes:
        item: A convolution, block, filter or nested sequence.
        norm: The norm after it.
        prelu: The activation after it.
        before_norm: Layers without tensors between the item and its norm.
        before_prelu: Layers without tensors between these and the activation.
        room: Layers without tensors between these and the next item.
    """

    item: Item
    norm: Item | None = None
    prelu: Item | None = None
    before_norm: int = 0
    before_prelu: int = 0
    room: int = 0


def items_of(tensors: Mapping[str, Tensor], prefix: str = "") -> list[Item]:
    """The numbered entries of a sequence, in order; raises :class:`Misfit` for anything that is none."""
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(\d{1,3})\.(.+)", name)
        if match is None:
            raise Misfit(prefix + name, "is no numbered layer")
        entries.setdefault(int(match[1]), {})[match[2]] = tensor
    return [_item(index, f"{prefix}{index}.", inside) for index, inside in sorted(entries.items())]


def _item(index: int, name: str, tensors: dict[str, Tensor]) -> Item:
    kind = _kind(tensors)
    if kind:
        return Item(index, name, kind, tensors)
    kernel = tensors["weight"].shape[2:] if "weight" in tensors else ()
    if len(kernel) == 2 and kernel[0] != kernel[1]:
        raise Misfit(f"{name}weight", f"is a kernel of {kernel[0]} x {kernel[1]}, and square ones are read")
    if all(re.match(r"\d", inner) for inner in tensors):
        return Item(index, name, "nested", tensors, items_of(tensors, name))
    attributes = {inner.partition(".")[0] for inner in tensors}
    if len(attributes) == 1:
        attribute = attributes.pop()
        below = {inner.partition(".")[2]: tensor for inner, tensor in tensors.items()}
        return Item(index, name, "block", tensors, items_of(below, f"{name}{attribute}."))
    raise Misfit(name + next(iter(tensors)), "belongs to a layer of an unknown kind")


def _kind(tensors: Mapping[str, Tensor]) -> str:
    names = set(tensors)
    dims = {name: tensor.ndim for name, tensor in tensors.items()}
    if dims.get("weight") == 4 and names <= {"weight", "bias"} and dims.get("bias", 1) == 1:
        return "conv" if tensors["weight"].shape[2] == tensors["weight"].shape[3] else ""
    if dims == {"weight": 1}:
        return "prelu"
    sizes = {tensor.numel() for name, tensor in tensors.items() if name != "num_batches_tracked"}
    if names <= NORM_PARTS and all(len(names & pair) in (0, 2) for pair in PAIRS) and len(sizes) == 1:
        return "norm" if all(dim == 1 for name, dim in dims.items() if name != "num_batches_tracked") else ""
    if dims == {"filt": 4}:
        return "filter"
    if dims.get("conv.0.weight") == dims.get("conv.2.weight") == 4 and all(
        re.fullmatch(r"conv\.([02]\.(weight|bias)|1\.\w+)", name) for name in names
    ):
        return "separable"
    return ""


def legs_of(items: list[Item]) -> list[Leg]:
    """Each layer that computes, with what stands behind it; raises :class:`Misfit`."""
    legs: list[Leg] = []
    before = -1
    for item in items:
        gap = item.index - before - 1
        if item.kind in ("norm", "prelu"):
            if not legs or getattr(legs[-1], item.kind) is not None:
                raise Misfit(item.first, f"is a {item.kind} where none is known")
            setattr(legs[-1], item.kind, item)
            if item.kind == "norm":
                legs[-1].before_norm = gap
            else:  # a norm without tensors and a pixel shuffle can stand before it
                legs[-1].room = legs[-1].before_prelu = gap
        else:
            if legs:
                legs[-1].room += gap
            legs.append(Leg(item))
        before = item.index
    for leg in legs:
        if leg.prelu and leg.prelu.weight.numel() > 1 and not leg.norm and any(other.norm for other in legs):
            raise Misfit(leg.prelu.first, "is either an activation without the norm of others, or half a norm")
    if not legs:
        raise Misfit(items[0].first if items else "", "stands where a convolution should be")
    return legs


@dataclass
class Step:
    """What is known of one leg after reading.

    Attributes:
        does: "conv", "transposed", "separable", "block", "filter down", "filter up" or "nested".
        width: Channels that leave it.
        stride: Of a convolution.
        groups: Of a convolution; its input channels where each has a kernel of its own.
        pads: Whether a layer in front of it pads; for a block, in front of each of its convolutions.
        resize: Whether a layer in front of it doubles the size.
        shuffle: Where a pixel shuffle stands, which doubles the size: "before norm" or "after norm".
        hidden: Whether a layer without tensors stands where its norm would be.
        active: Whether there is room for an activation.
        inside: The steps of a block.
    """

    leg: Leg
    does: str
    width: int
    stride: int = 1
    groups: int = 1
    pads: bool = False
    resize: bool = False
    shuffle: str = ""
    hidden: bool = False
    active: bool = True
    inside: list[Step] = field(default_factory=list)

    @property
    def conv(self) -> Item:
        """The convolution, which can stand in a nested sequence."""
        return self.leg.item.inside[0] if self.leg.item.kind == "nested" else self.leg.item


@dataclass
class Reading:
    """A row of steps, with what holds for all of them."""

    steps: list[Step]
    in_channels: int
    halvings: int
    blocks: int

    def all_steps(self) -> list[Step]:
        return [inner for step in self.steps for inner in (step, *step.inside)]


def read_row(tensors: Mapping[str, Tensor]) -> Reading:
    """The row that these tensors are.

    Args:
        tensors: Tidied tensors.

    Returns:
        The steps, in order.

    Raises:
        Misfit: They are no row, or one that halves and doubles the size in a way that no tensor shows.
    """
    prefix = _prefix(tensors)
    for name in tensors:
        if not name.startswith(prefix):
            raise Misfit(name, "is none of the numbered layers")
    items = items_of({name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix)
    for item in items:
        for name, tensor in item.tensors.items():
            if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
                raise Misfit(item.name + name, f"holds {str(tensor.dtype).removeprefix('torch.')} numbers")
            if not tensor.numel():
                raise Misfit(item.name + name, "has 0 channels")
    if items[0].kind == "nested":
        raise Misfit(items[0].first, ENDLESS)
    if items[0].kind != "conv" or items[0].index > 1:
        raise Misfit(items[0].first, "comes first, where a convolution should be the layer 0 or 1")
    legs = legs_of(items)
    if len(legs) < 2 or legs[-1].item.kind != "conv":
        raise Misfit(legs[-1].item.first, "comes last, where a convolution should be")
    middle = _first_of_second_half(legs)
    steps = _steps(legs, middle, padded=items[0].index == 1)
    _set_sizes(steps, middle)
    return Reading(steps, _inputs(legs[0].item), _halvings(steps), sum(step.does == "block" for step in steps))


def _prefix(tensors: Mapping[str, Tensor]) -> str:
    """What stands before the numbers in most names."""
    found: Counter[str] = Counter()
    for name in tensors:
        parts = name.split(".")[:-1]
        first = next((i for i, part in enumerate(parts) if part.isdecimal()), None)
        if first is not None:
            found["".join(f"{part}." for part in parts[:first])] += 1
    if not found:
        raise Misfit(next(iter(tensors), ""), "is no numbered layer")
    return found.most_common(1)[0][0]


def _inputs(item: Item) -> int:
    return item.weight.shape[1]


def _first_of_second_half(legs: list[Leg]) -> int:
    """The number of the first leg behind the blocks, or, where there is no block, of the first that enlarges."""
    blocks = [i for i, leg in enumerate(legs) if leg.item.kind == "block"]
    if blocks:
        if blocks != list(range(blocks[0], blocks[-1] + 1)):
            odd = next(i for i in range(blocks[0], blocks[-1]) if i not in blocks)
            raise Misfit(legs[odd].item.first, "stands between residual blocks")
        return blocks[-1] + 1
    width = legs[0].item.weight.shape[0]
    for i, leg in enumerate(legs[1:-1], 1):
        item = leg.item
        if item.kind == "nested" or (item.kind == "filter" and _is_up(item)):
            return i
        if item.kind == "conv":
            if item.weight.shape[1] != width:
                return i
            width = item.weight.shape[0]
    if len(legs) % 2 or len(legs) == 2:  # stem, as many up as down, tail
        raise Misfit(legs[-1].item.first, "ends a row of convolutions whose strides no tensor shows")
    return len(legs) // 2


def _is_up(item: Item) -> bool:
    """Filters that enlarge add up to four, those that shrink to one."""
    return float(item.tensors["filt"][0].sum()) > 2


def _steps(legs: list[Leg], middle: int, padded: bool) -> list[Step]:
    steps: list[Step] = []
    width = _inputs(legs[0].item)
    slot, norms = _has_slot(legs, middle), any(leg.norm for leg in legs)
    room = int(padded)  # layers without tensors in front of the leg, apart from norm and activation
    for i, leg in enumerate(legs):
        step = _step(leg, width, room, i >= middle, slot, i == len(legs) - 1, norms)
        if step.does == "block" and width != step.width:
            raise Misfit(leg.item.first, f"is in a block that takes {width} channels and makes {step.width}")
        room = _behind(step, leg, slot, legs[i + 1].item if i + 1 < len(legs) else None)
        steps.append(step)
        width = step.width
    return steps


def _has_slot(legs: list[Leg], middle: int) -> bool:
    """Whether norms without tensors can stand behind convolutions: by the room in front of a block or the like.

    There, nothing but a norm and an activation stands. Rows without such a place are read where it is certain.
    """
    if any(leg.norm for leg in legs):
        return False
    for leg, following in zip(legs, legs[1:], strict=False):
        if leg.item.kind == "conv" and following.item.kind in ("block", "filter", "nested"):
            return leg.room - (leg.prelu is None) >= 1
    leg, following = legs[middle - 1], legs[middle]
    shape, width = following.item.weight.shape, leg.item.weight.shape[0]
    if following.item.kind == "conv" and shape[0] == width != shape[1]:  # transposed
        return leg.room - (leg.prelu is None) >= 1
    if legs[0].room - (legs[0].prelu is None) > 0:
        raise Misfit(legs[1].item.first, "follows layers without tensors that may or may not include a norm")
    return False


def _step(leg: Leg, width: int, room: int, behind: bool, slot: bool, last: bool, others_have_norms: bool) -> Step:
    item = leg.item
    if item.kind == "filter":
        if room or item.tensors["filt"].shape[0] != width:
            raise Misfit(item.first, f"is a filter for {item.tensors['filt'].shape[0]} channels behind {width}")
        sides, up = tuple(item.tensors["filt"].shape[1:]), _is_up(item)
        if sides != ((1, 4, 4) if up else (1, 3, 3)) or up != behind:
            raise Misfit(item.first, "is a filter of an unknown kind")
        return Step(leg, "filter up" if up else "filter down", width)
    if item.kind == "block":
        if room:
            raise Misfit(item.first, "is a block behind layers of an unknown kind")
        return _block(leg, width, slot, others_have_norms)
    if item.kind == "nested":
        return _nested(leg, width, room, behind)
    if item.kind != "conv":
        raise Misfit(item.first, "belongs to a layer that is known in blocks only")
    shape = item.weight.shape
    plain = shape[1] == width or (shape[1] == 1 and shape[0] % width == 0)  # or depthwise
    enlarges = shape[0] == width and behind and not last and (not plain or (room == 0 and shape[1] == width))
    if not plain and not enlarges:
        raise Misfit(item.first, f"takes {shape[1]} channels where {width} come in")
    if enlarges:
        if room:
            raise Misfit(item.first, "is a transposed convolution behind a layer of an unknown kind")
        _check_length(item, shape[1])
        return Step(leg, "transposed", shape[1], stride=2)
    if room > 2 or (room == 2 and (last or not behind)):
        raise Misfit(item.first, f"stands behind {room} layers without tensors that do not fit")
    _check_length(item, shape[0])
    return Step(leg, "conv", shape[0], groups=width // shape[1], pads=bool(room), resize=room == 2)


def _check_length(item: Item, made: int, name: str = "bias") -> None:
    if name in item.tensors and item.tensors[name].shape != (made,):
        raise Misfit(item.name + name, f"holds {item.tensors[name].numel()} numbers for {made} channels")


def _nested(leg: Leg, width: int, room: int, behind: bool) -> Step:
    """A sequence of its own at one number: resize, perhaps padding, convolution; or convolution, pixel shuffle."""
    item = leg.item
    inner = item.inside
    if len(inner) != 1 or inner[0].kind != "conv" or room or not behind or inner[0].index > 2:
        raise Misfit(item.first, ENDLESS)
    conv = inner[0]
    if conv.weight.shape[1] != width:
        raise Misfit(item.first, f"takes {conv.weight.shape[1]} channels where {width} come in")
    made = conv.weight.shape[0]
    _check_length(conv, made)
    if conv.index == 0:
        return Step(leg, "nested", made // 4, shuffle="nested")
    return Step(leg, "nested", made, resize=True, pads=conv.index == 2)


def _block(leg: Leg, width: int, slot: bool, others_have_norms: bool) -> Step:
    """A residual block: two convolutions that keep the size."""
    item = leg.item
    inner = legs_of(item.inside)
    kinds = [part.item.kind for part in inner]
    start = item.inside[0].index
    if kinds not in (["conv", "conv"], ["separable", "separable"]) or start > 1 or leg.norm or leg.prelu:
        raise Misfit(item.first, "is in a block of an unknown kind")
    steps = []
    for part in inner:
        kernel = part.item.weight
        taken = kernel.shape[1]
        if part.item.kind == "separable":
            depthwise = part.item.tensors["conv.0.weight"]
            if depthwise.shape[:2] != (taken, 1) or depthwise.shape[-1] % 2 == 0 or kernel.shape[-1] > 1:
                raise Misfit(part.item.first, f"is no depthwise kernel for {taken} channels")
            _check_length(part.item, taken, "conv.0.bias")
            for name in ("weight", "bias", "running_mean", "running_var"):
                _check_length(part.item, taken, f"conv.1.{name}")
        if taken != width or kernel.shape[-1] % 2 == 0:
            raise Misfit(part.item.first, f"takes {taken} channels where {width} come in, or has an even kernel")
        width = kernel.shape[0]
        _check_length(part.item, width, "conv.2.bias" if part.item.kind == "separable" else "bias")
        if part.norm:
            _check_length(part.norm, width, "weight" if "weight" in part.norm.tensors else "running_mean")
        hidden = slot and part.norm is None
        steps.append(Step(part, part.item.kind, width, pads=start == 1, hidden=hidden))
    if inner[0].prelu and inner[0].before_prelu > steps[0].hidden:
        raise Misfit(inner[0].prelu.first, "is an activation behind a layer of an unknown kind")
    between = inner[0].room - start - bool(steps[0].hidden) - (inner[0].prelu is None)
    if inner[0].before_norm or inner[1].before_norm or between not in (0, 1):  # 1: dropout
        raise Misfit(inner[1].item.first, f"is the layer {inner[1].item.index} of a block, which does not fit")
    if between and others_have_norms and not inner[0].norm:
        raise Misfit(inner[1].item.first, "stands behind a dropout or a norm without tensors, unlike the other norms")
    if inner[1].prelu:
        raise Misfit(inner[1].prelu.first, "is an activation at the end of a block")
    steps[1].active = False
    return Step(leg, "block", width, pads=start == 1, active=False, inside=steps)


def _behind(step: Step, leg: Leg, slot: bool, following: Item | None) -> int:
    """Sets what stands behind a step, and returns how many layers are left in front of the next one."""
    if step.does in ("block", "filter down", "filter up"):
        if leg.norm or leg.prelu:
            raise Misfit((leg.norm or leg.prelu).first, "stands behind a block or a filter")  # type: ignore[union-attr]
        return leg.room
    step.hidden = slot and leg.norm is None and following is not None
    _find_shuffle(step, leg, following)
    if leg.norm:
        channels = next(t for t in leg.norm.tensors.values() if t.ndim).numel()
        if channels != step.width * (4 if step.shuffle == "after norm" else 1):
            raise Misfit(leg.norm.first, f"is a norm of {channels} channels behind {step.width}")
        if leg.before_norm != (step.shuffle == "before norm"):
            raise Misfit(leg.norm.first, "is a norm behind a layer of an unknown kind")
    if following is None:
        if leg.prelu or leg.room:
            raise Misfit(leg.item.first, "comes last, and an activation with weights follows")
        step.active = False
        return 0
    shuffle_in_room = step.shuffle == "after norm" or (step.shuffle == "before norm" and leg.norm is None)
    if leg.prelu and leg.before_prelu > step.hidden + shuffle_in_room:
        raise Misfit(leg.prelu.first, "is an activation behind a layer of an unknown kind")
    left = leg.room - step.hidden - shuffle_in_room
    step.active = leg.prelu is not None or left >= 1
    left -= leg.prelu is None and step.active
    if left < 0:
        raise Misfit(following.first, f"is the layer {following.index}, and too few stand in front of it")
    return left


def _find_shuffle(step: Step, leg: Leg, following: Item | None) -> None:
    """A pixel shuffle stands where a convolution makes four times the channels that the next layer takes.

    Without a norm that shows the order, it stands right behind the convolution.
    """
    inputs = None if following is None else _takes(following)
    if step.does != "conv" or following is None or inputs is None or inputs * 4 != step.width:
        return
    left = leg.room - step.hidden - (leg.prelu is None)
    if following.kind == "conv" and following.weight.shape[0] == step.width and left < 1 and not leg.before_norm:
        return  # a transposed convolution that makes a quarter of the channels
    step.width = inputs
    step.shuffle = "after norm" if leg.norm and not leg.before_norm else "before norm"


def _takes(item: Item) -> int | None:
    """Channels that an item takes where its shape shows them without doubt."""
    if item.kind == "filter":
        return item.tensors["filt"].shape[0]
    if item.kind == "nested":
        return item.inside[0].weight.shape[1] if item.inside and item.inside[0].kind == "conv" else None
    if item.kind == "block":
        inner = item.inside[0] if item.inside else None
        return inner.weight.shape[1] if inner and inner.kind == "conv" else None
    return item.weight.shape[1]


# --- sizes


def _halvings(steps: list[Step]) -> int:
    return sum(step.does == "filter down" or (step.does == "conv" and step.stride == 2) for step in steps)


def _set_sizes(steps: list[Step], middle: int) -> None:
    """Strides and resizes, so that the picture that leaves has the size of the one that came in."""
    for step, following in zip(steps[1:middle], steps[2 : middle + 1], strict=False):
        if step.does == "conv" and following.does != "filter down":
            step.stride = 2
    halvings = _halvings(steps)
    behind = steps[middle:-1]
    doublings = sum(s.does in ("transposed", "filter up") or bool(s.shuffle) or s.does == "nested" for s in behind)
    needed = halvings - doublings
    surely = [step for step in behind if step.does == "conv" and step.resize]
    perhaps = [step for step in behind if step.does == "conv" and step.pads and not step.shuffle]
    if needed == len(surely):
        pass
    elif needed == len(perhaps):
        for step in perhaps:
            step.pads, step.resize = step.resize, True
    else:
        raise Misfit(
            behind[0].leg.item.first if behind else steps[-1].leg.item.first,
            f"comes behind {halvings} layers that may halve the size, and {doublings + len(perhaps)} may double it",
        )
    _check_evidence(steps, behind)
    for step in steps:
        kernel = step.conv.weight.shape[-1] if step.does in ("conv", "nested", "transposed") else 3
        if kernel % 2 == 0 and step.does != "transposed" and step.stride == 1:
            raise Misfit(step.conv.first, f"has a {kernel}x{kernel} kernel where the size stays")


def _check_evidence(steps: list[Step], behind: list[Step]) -> None:
    """A row of convolutions that keep channels and size must not be read as one that halves and doubles the size.

    Channels that change speak for it, and so do layers that do nothing but enlarge.
    """
    transposed = [step for step in behind if step.does == "transposed"]
    square = [step for step in transposed if len(set(step.conv.weight.shape[:2])) == 1]
    certain = len(transposed) > len(square) or any(
        step.does in ("filter up", "nested") or step.shuffle or (step.resize and step.pads) for step in behind
    )
    halving = [step for step in steps if step.does == "conv" and step.stride == 2]
    single = [step for step in behind if step.does == "conv" and step.resize and not step.pads]
    if single and halving and not certain and all(step.pads for step in halving):
        raise Misfit(single[0].conv.first, "stands behind a layer that may pad, as before, or double the size")
    same = [step for step in halving if len(set(step.conv.weight.shape[:2])) == 1]
    if (same and not certain) or (square and (same or not certain)):
        odd = (same or square)[0]
        raise Misfit(odd.conv.first, "keeps the number of channels, and no tensor shows whether the size changes")
