"""A checkpoint of another project as a network, with what was assumed about it, and a check against a known picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gancomp_core.data.picture_files import opened, read
from gancomp_core.data.pictures import to_float, to_uint8
from gancomp_core.errors import GancompError, shown
from gancomp_core.importers.assumptions import CHOICES, Assumptions, Imported, Unclear, Value
from gancomp_core.importers.foreign_files import read_foreign
from gancomp_core.importers.layouts import LAYOUTS, Built, unread
from gancomp_core.importers.pickles import Inert
from gancomp_core.importers.tidying import Tensors, chosen, few, networks, tidied

NOTHING = Assumptions()
Pair = tuple[Tensor | Path | str, Tensor | Path | str]
MOST_CHANGES = 3  # of assumptions at once, when others are tried
TOLERANCE = 1e-3  # mean absolute difference of pictures in [-1, 1] up to which two networks are the same


def import_checkpoint(
    path: Path | str,
    *,
    part: str | None = None,
    assume: Assumptions = NOTHING,
    check_against: Pair | None = None,
    quiet: bool = False,
) -> nn.Module:
    """The generator in a checkpoint of another project; docs/importing.md lists what is read.

    The network follows from names and shapes of the tensors. What they do not show is assumed and printed; where that
    would be a guess, an error names the option to give. Nothing in the file is run.

    Args:
        path: A file of torch.save or pickle, or safetensors, by whatever name.
        part: Which network of the file, such as "netG_A2B" or "params_ema", where it holds several.
        assume: What you know about the network, such as ``Assumptions(padding="replicate")``.
        check_against: A picture and what the network makes of it, each a float tensor [N, C, H, W] in [-1, 1] or the
            path of a picture. Where the network does not make it, the other assumptions that the file allows are tried,
            and an error says which of them fit.
        quiet: Do not print how the file was read.

    Returns:
        The network in eval mode, without gradients, on the CPU, for float32 pictures in [-1, 1]: a
        :class:`~gancomp_core.nets.Generator` with an ``.architecture`` where one of ours is the same function, and
        otherwise a plain module. ``.imported`` says how the file was read.

    Raises:
        GancompError: The file is missing, damaged, malicious or of another kind, holds another network or several, can
            be read in two ways, contradicts an assumption, or the network fails the check.
    """
    source, loaded = str(path), read_foreign(path)
    found = networks(loaded.content)
    if not found:
        raise GancompError(f"{source} {_no_weights(loaded.content)}.")
    place, tensors = chosen(found, part, source, lambda tensors: any(layout.fits(tensors) for layout in LAYOUTS))
    tidy = tidied(tensors, source)
    if tidy.prefix:
        source += f" (below '{shown(tidy.prefix)}')"
    if check_against is None:
        built = _built(tidy.tensors, assume, source)
    else:
        built = _checked(tidy.tensors, assume, source, check_against)
    objects = tuple(f"the object {name}, which was not made" for name in loaded.objects)
    unused = tuple(f"{tidy.prefix}.{name}".removeprefix(".") for name in built.skipped)
    skipped = (*tidy.skipped, *unused, *objects)
    several = len(found) > 1 or part is not None or place not in found
    imported = Imported(loaded.format, built.layout, place if several else None, built.assumed, skipped, tidy.folded)
    network = built.network.eval().requires_grad_(False)
    object.__setattr__(network, "imported", imported)  # plainly, because it is no submodule
    if not quiet:
        print(imported)
    return network


def _built(tensors: Tensors, assume: Assumptions, source: str) -> Built:
    layout = next((layout for layout in LAYOUTS if layout.fits(tensors)), None)
    if layout is None:
        raise GancompError(f"{source} {unread(tensors)}.")
    return layout.build(tensors, assume, source)


def _no_weights(content: object) -> str:
    if isinstance(content, dict) and {"state", "param_groups"} <= set(content):
        return "is the state of an optimizer, not a network; import the generator's weights"
    held = f"one {content.path if isinstance(content, Inert) else type(content).__name__}"
    if isinstance(content, dict):
        held = f"the entries {few(map(str, content))}" if content else "nothing at all"
    return f"holds no state dict, but {held}; save the generator with torch.save(generator.state_dict(), path)"


# --- checking against a known picture


def _checked(tensors: Tensors, assume: Assumptions, source: str, pair: Pair) -> Built:
    """The network, which makes the picture that it should; a question of the layout is answered by the picture."""
    given, wanted = map(_picture, pair)
    rounded = not isinstance(pair[1], Tensor)  # a file of a picture holds 8 bits
    tried: list[tuple[float, Built]] = []
    for start in _starts(tensors, assume, source):
        built = _built(tensors, start, source)
        tried.append((_difference(built.network, given, wanted, rounded), built))
        if tried[-1][0] <= TOLERANCE:
            return built
    first, (least, best) = tried[0][1], min(tried, key=lambda one: one[0])
    for other in _others(first, assume):
        try:
            built = _built(tensors, other, source)
        except GancompError:  # the file contradicts this combination
            continue
        difference = _difference(built.network, given, wanted, rounded)
        if difference < least:
            least, best = difference, built
        if least <= TOLERANCE:
            changed = {name: value for name, value in best.assumed.items() if first.assumed.get(name) != value}
            raise GancompError(
                f"{source} makes another picture than the one given with {_listed(first.assumed)}, and the same one "
                f"under assume=Assumptions({_listed(assume.given | changed)}); import it with these."
            )
    raise GancompError(
        f"{source} makes another picture than the one given, by {least:.2g} on average at best "
        f"({_listed(best.assumed)}), when up to {MOST_CHANGES} assumptions are changed; check that this network made "
        "the pair, with values in [-1, 1]."
    )


def _starts(tensors: Tensors, assume: Assumptions, source: str) -> list[Assumptions]:
    """The assumptions, or, where the file is unclear, one for each answer."""
    try:
        _built(tensors, assume, source)
    except Unclear as question:
        return [replace(assume, **{question.field: value}) for value in question.values]  # type: ignore[arg-type]
    return [assume]


def _others(built: Built, assume: Assumptions) -> Iterator[Assumptions]:
    """Combinations of what the file leaves open, first those that change the least."""
    options = {name: [value, *(v for v in CHOICES[name] if v != value)] for name, value in built.assumed.items()}
    combinations = sorted(itertools.product(*(range(len(values)) for values in options.values())), key=_changes)
    for combination in combinations[1:]:
        if _changes(combination)[0] > MOST_CHANGES:
            return
        picked = zip(options, combination, strict=True)
        values = {name: options[name][index] for name, index in picked if index}
        yield replace(assume, **values)  # type: ignore[arg-type]


def _changes(combination: tuple[int, ...]) -> tuple[int, int]:
    return sum(map(bool, combination)), sum(combination)


def _listed(values: dict[str, Value]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _picture(given: Tensor | Path | str) -> Tensor:
    if isinstance(given, Tensor):
        picture = given if given.ndim == 4 else given[None]
        if picture.ndim != 4 or not picture.is_floating_point():
            raise GancompError("check_against takes float tensors [N, C, H, W] in [-1, 1] or paths of pictures.")
        return picture.float()
    path = Path(given).expanduser()
    image = opened(read(path), path).convert("RGB")
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return to_float(pixels.view(1, image.height, image.width, 3).permute(0, 3, 1, 2))


@torch.no_grad()
def _difference(network: nn.Module, given: Tensor, wanted: Tensor, rounded: bool) -> float:
    """Mean absolute difference; a picture file is compared after the same rounding to 8 bits."""
    channels = next(parameter.shape[1] for parameter in network.parameters() if parameter.ndim == 4)
    try:
        made = network.eval()(given[:, :channels])
    except RuntimeError as error:
        raise GancompError(f"The network cannot take the picture of check_against ({error}); give another.") from error
    made, wanted = made, wanted[:, : made.shape[1]]
    if made.shape != wanted.shape:
        raise GancompError(
            f"The network makes pictures of {tuple(made.shape)}, and check_against wants {tuple(wanted.shape)}; give a "
            "pair of the network's own sizes."
        )
    return float(((to_float(to_uint8(made)) if rounded else made) - wanted).abs().mean())
