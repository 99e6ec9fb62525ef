"""Any generator that runs becomes a teacher, and what it takes and makes is found out by running it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import Tensor, nn

from factories import refused, stripes
from gancomp_core import zoo
from gancomp_core.compress import open_teacher
from gancomp_core.measure import OnnxGenerator, cost, export_onnx, onnx_cost
from gancomp_core.methods.quantization import export_int8


def encoder_decoder(channels: tuple[int, int] = (3, 3), halvings: int = 2, last: nn.Module | None = None) -> nn.Module:
    """Strided convolutions there, transposed ones back: pictures of multiples of ``2 ** halvings`` pixels."""
    down = [nn.Sequential(nn.Conv2d(8, 8, 4, 2, 1), nn.InstanceNorm2d(8), nn.ReLU()) for _ in range(halvings)]
    up = [nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU()) for _ in range(halvings)]
    ends = nn.Conv2d(channels[0], 8, 3, padding=1), nn.Conv2d(8, channels[1], 3, padding=1)
    return nn.Sequential(ends[0], *down, *up, ends[1], last or nn.Tanh())


class Called(nn.Module):
    """What a function makes of a picture, as a module."""

    def __init__(self, function) -> None:  # noqa: ANN001
        super().__init__()
        self.function, self.layer = function, nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> object:
        return self.function(x, torch.tanh(self.layer(x)))


@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (4, 3), (6, 1), (2, 4), (5, 2)])
@pytest.mark.parametrize("halvings", [0, 2, 3])
def test_channels_and_sizes_are_found_by_running(channels, halvings):
    teacher = open_teacher(encoder_decoder(channels, halvings))
    assert (teacher.in_channels, teacher.out_channels, teacher.scale) == (*channels, 1)
    assert (teacher.multiple, teacher.fixed) == (2**halvings, None)
    assert teacher.smallest == {0: 1, 2: 8, 3: 16}[halvings]  # an InstanceNorm takes no map of one pixel
    size = (teacher.smallest + teacher.multiple, teacher.smallest + 2 * teacher.multiple)
    assert teacher.paint(torch.zeros(3, channels[0], *size)).shape == (3, channels[1], *size)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_teachers_are_known_by_their_scale(scale):
    network = nn.Sequential(nn.Conv2d(1, scale**2, 5, padding=2), nn.PixelShuffle(scale))
    teacher = open_teacher(network, value_range="[0, 1]")
    assert (teacher.scale, teacher.multiple, teacher.smallest) == (scale, 1, 1)
    assert teacher.paint(torch.zeros(2, 1, 7, 5)).shape == (2, 1, 7 * scale, 5 * scale)


@pytest.mark.parametrize("shrinks", [2, 3])
def test_shrinking_teachers_are_known_by_their_scale(shrinks):
    network = nn.Sequential(nn.PixelUnshuffle(shrinks), nn.Conv2d(3 * shrinks**2, 3, 1))
    teacher = open_teacher(network, value_range="[0, 1]", in_channels=3)
    assert (teacher.scale, teacher.multiple) == (Fraction(1, shrinks), shrinks)
    assert teacher.paint(torch.zeros(2, 3, 4 * shrinks, 5 * shrinks)).shape == (2, 3, 4, 5)


def test_a_model_of_the_zoo_is_a_teacher_with_its_licence_and_features():
    teacher = open_teacher("edges2shoes/teacher")
    assert (teacher.in_channels, teacher.out_channels, teacher.multiple) == (1, 1, 4)
    assert (teacher.kind, teacher.generator is teacher.network) == ("zoo", True)
    assert "Fashion-MNIST" in teacher.licence
    pictures = torch.rand(3, 1, 32, 32) * 2 - 1
    with torch.inference_mode():
        made = zoo.load("edges2shoes/teacher").generator(pictures)
    painted = teacher.paint(pictures)
    assert (painted - made.clamp(-1, 1)).abs().mean() * 127.5 < 0.5
    assert teacher.bfloat16 == any("bfloat16" in said for said in teacher.assumed)


def test_the_readers_module_stays_as_it_is():
    module = encoder_decoder().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    teacher = open_teacher(module)
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not teacher.network.training
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_picture_among_several_outputs_is_found_or_asked_for():
    pair = open_teacher(Called(lambda x, y: {"picture": y, "code": y.mean((1, 2, 3))}))
    assert pair.paint(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    two = Called(lambda x, y: (y, -y))
    with refused("several pictures", r"'0' \[1, 3, 64, 64\], '1'", "output="):
        open_teacher(two)
    first, second = (open_teacher(two, output=name).paint(torch.zeros(1, 3, 8, 8)) for name in ("0", "1"))
    torch.testing.assert_close(first, -second)
    with refused("no output '2'", "'0', '1'"):
        open_teacher(two, output="2")


REFUSED = {
    "a number for each picture": (lambda x, y: y.mean((1, 2, 3)), "makes no picture"),
    "no tensor": (lambda x, y: "painted", "makes no picture .*str"),
    "one channel too many": (lambda x, y: torch.cat([y, y], 1), "makes no picture"),
    "no whole part of a picture": (lambda x, y: y[..., ::3, ::3], "22 x 22 from those of 64 x 64"),
    "a rim less": (lambda x, y: y[..., 2:-2, 2:-2], "60 x 60 from those of 64 x 64"),
    "its own failure": (lambda x, y: y.view(11, -1), "makes no picture of float32 pictures.*invalid for input"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_is_refused(kind):
    function, said = REFUSED[kind]
    with refused(said):
        open_teacher(Called(function))


def test_pictures_that_a_teacher_does_not_take_are_refused():
    teacher = open_teacher(encoder_decoder(halvings=2))
    for pictures in (
        torch.zeros(1, 3, 18, 16),
        torch.zeros(1, 1, 16, 16),
        torch.zeros(3, 16, 16),
        torch.zeros(1, 3, 4, 4),
    ):
        with refused(r"\[N, 3, H, W\] with H and W of at least 8 that are multiples of 4"):
            teacher.paint(pictures)
    with refused("not uint8"):
        teacher.paint(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_identity_follows_the_weights():
    module = encoder_decoder()
    first, again = open_teacher(module).identity, open_teacher(module).identity
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 1
    assert first == again != open_teacher(module).identity


# ---- value ranges ---------------------------------------------------------------------------------------------------


class Affine(nn.Module):
    """``x * factor + shift``."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.shift


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0, 255)


ENDS = {
    "tanh": (nn.Tanh(), "[-1, 1]"),
    "sigmoid": (nn.Sigmoid(), "[0, 1]"),
    "hardtanh": (nn.Hardtanh(), "[-1, 1]"),
    "tanh to [0, 1]": (nn.Sequential(nn.Tanh(), Affine(0.5, 0.5)), "[0, 1]"),
    "sigmoid to [0, 255]": (nn.Sequential(nn.Sigmoid(), Affine(255, 0)), "[0, 255]"),
    "upside down": (nn.Sequential(nn.Sigmoid(), Affine(-2, 1)), "[-1, 1]"),
    "clamp": (Clamp(), "[0, 255]"),
}
BEGINNINGS = {
    "x * 2 - 1": (Affine(2, -1), "[0, 1]"),
    "x / 255": (Affine(1 / 255, 0), "[0, 255]"),
    "x / 127.5 - 1": (Affine(1 / 127.5, -1), "[0, 255]"),
    "(x + 1) / 2": (Affine(0.5, 0.5), "[-1, 1]"),
    "(x - mean) / deviation": (Affine(1 / 0.225, -0.45 / 0.225), "[0, 1]"),
    "x - mean of bytes": (Affine(1, -114), "[0, 255]"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_the_last_operation_shows_the_range_that_is_made(kind):
    last, made = ENDS[kind]
    teacher = open_teacher(encoder_decoder(halvings=1, last=last))
    assert teacher.value_range == made
    assert any(f"makes pictures in {made}" in said and "at its end" in said for said in teacher.assumed)


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_what_happens_before_the_first_convolution_shows_the_range_that_is_taken(kind):
    first, taken = BEGINNINGS[kind]
    found = open_teacher(nn.Sequential(first, encoder_decoder(halvings=1))).value_range
    assert found == (taken if taken == "[-1, 1]" else f"{taken} -> [-1, 1]")
    ends_open = nn.Sequential(first, encoder_decoder(halvings=1, last=nn.Identity()))
    assert open_teacher(ends_open).value_range == taken


def waves(count: int = 4, size: int = 32) -> Tensor:
    return stripes(count, size) / 127.5 - 1


@pytest.mark.parametrize(("value_range", "low", "high"), [("[-1, 1]", -1, 1), ("[0, 1]", 0, 1), ("[0, 255]", 5, 255)])
def test_real_pictures_decide_where_no_operation_shows_the_range(value_range, low, high):
    """A network with thresholds inside repeats pictures of one range alone."""

    class Repeats(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inside = low + torch.relu(x - low)
            return inside - torch.relu(inside - high)

    teacher = open_teacher(Repeats(), in_channels=3, probe=waves())
    assert teacher.value_range == value_range
    torch.testing.assert_close(teacher.paint(waves()), waves(), rtol=0, atol=0.05)


def test_evidence_that_fits_several_ranges_asks_for_the_range():
    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0.9 + 0.05

    with refused("as the value range", r"give value_range='\[-1, 1\]'"):
        open_teacher(Doubles(), in_channels=3, probe=waves())
    assert open_teacher(Doubles(), in_channels=3, value_range="[0, 1]").value_range == "[0, 1]"
    with refused("no value range '\\[0, 2\\]'"):
        open_teacher(Doubles(), value_range="[0, 2]")


def test_pictures_go_in_and_come_out_in_the_networks_own_range():
    plain = encoder_decoder(halvings=1, last=nn.Sigmoid()).eval()
    pictures = waves()
    with torch.inference_mode():
        wanted = plain((pictures + 1) / 2) * 2 - 1
    teacher = open_teacher(plain)
    torch.testing.assert_close(teacher.paint(pictures), wanted, rtol=0, atol=0.02)
    torch.testing.assert_close(teacher.network(pictures), wanted)
    assert teacher.generator is None


# ---- modules with a will of their own -------------------------------------------------------------------------------


def test_what_is_changed_about_a_module_is_said():
    said = " ".join(open_teacher(encoder_decoder().half()).assumed)
    assert "float16 and are used as float32" in said
    trained = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Tanh()).train()
    assert "BatchNorm2d and Dropout" in " ".join(open_teacher(trained).assumed)
    noisy = Called(lambda x, y: y + 0.1 * torch.randn_like(y))
    assert "draws at random" in " ".join(open_teacher(noisy, value_range="[-1, 1]").assumed)


def test_modules_without_code_or_values_are_refused():
    with refused("TorchScript"):
        open_teacher(torch.jit.trace(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8)))
    for network in (nn.LazyConv2d(3, 3), nn.Conv2d(3, 3, 3, device="meta")):
        with refused("'weight' of .* is no tensor with values"):
            open_teacher(network)


def test_modules_that_torch_does_not_copy_are_copied():
    normed = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 3, 3, padding=1)), nn.Tanh())  # keeps a result
    normed(torch.zeros(1, 3, 8, 8))
    parallel = open_teacher(nn.DataParallel(normed))
    torch.testing.assert_close(parallel.network(waves()), normed(waves()))


@pytest.mark.parametrize("kind", ["batch statistics", "one picture"])
def test_a_teacher_whose_pictures_depend_on_the_batch_gets_one_at_a_time(kind):
    if kind == "one picture":
        network = Called(lambda x, y: y if len(x) == 1 else y.view(1, 3, 5))
    else:
        norm = nn.BatchNorm2d(8, track_running_stats=False)
        network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm, nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())
    teacher = open_teacher(network, value_range="[-1, 1]", probe=waves())
    assert "one picture at a time" in " ".join(teacher.assumed)
    torch.testing.assert_close(teacher.paint(waves())[2:3], teacher.paint(waves()[2:3]))


def test_a_teacher_writes_into_no_picture_of_the_reader():
    network = Called(lambda x, y: x.mul_(0.5) + y)
    pictures = waves()
    open_teacher(network, value_range="[-1, 1]").paint(pictures)
    torch.testing.assert_close(pictures, waves())


def test_a_module_for_one_size_alone_is_known_as_such():
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.place = nn.Conv2d(3, 3, 3, padding=1), nn.Parameter(torch.zeros(3, 96, 96))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.layer(x) + self.place)

    assert open_teacher(Placed()).fixed == (96, 96)

    class Resizes(Placed):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(nn.functional.interpolate(x, (96, 96)))

    teacher = open_teacher(Resizes())
    assert (teacher.fixed, teacher.scale) == ((96, 96), 1)
    with refused("H, W = 96, 96"):
        teacher.paint(torch.zeros(1, 3, 64, 64))


def test_a_second_argument_and_values_that_are_not_finite_are_refused():
    class Conditional(nn.Module):
        def forward(self, x: Tensor, style: Tensor) -> Tensor:
            return x * style

    with refused("needs x, style"):
        open_teacher(Conditional())
    with refused("makes NaN or infinite values"):
        open_teacher(Called(lambda x, y: y / 0), value_range="[-1, 1]", in_channels=3)


# ---- Python files ---------------------------------------------------------------------------------------------------

CODE = """
from torch import nn
from layers_of_mine import last

def narrow(channels=8):
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 3, 3, padding=1), last())

def wide(channels):
    return narrow(channels)

def broken():
    return narrow(0.5)

def number():
    return 7
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "layers_of_mine.py").write_text("from torch.nn import Tanh as last\n")
    (tmp_path / "my_net.py").write_text(CODE)
    return tmp_path / "my_net.py"


@pytest.mark.parametrize("form", ["safetensors", "pth", "nested", "of DataParallel"])
def test_a_function_of_a_file_makes_the_network_and_a_file_brings_its_weights(code, form):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh()).eval()
    state = {f"module.{name}" if form == "of DataParallel" else name: t for name, t in network.state_dict().items()}
    path = code.with_name("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "netG": state} if form == "nested" else state, path)
    teacher = open_teacher(f"{code}:narrow", weights=path)
    assert (teacher.kind, teacher.name, teacher.value_range) == ("file.py", "my_net", "[-1, 1]")
    with torch.inference_mode():
        torch.testing.assert_close(teacher.network(waves()), network(waves()))


def test_functions_and_weights_that_do_not_fit_are_refused(code):
    for function, said in {
        "": "no function ''.*it has narrow, broken, number",
        "wide": "no function 'wide' that needs no arguments",
        "broken": "broken failed.*mend it",
        "number": "returned a int",
    }.items():
        with refused(said):
            open_teacher(f"{code}:{function}")
    with refused("name the function.*narrow"):
        open_teacher(code)
    weights = code.with_name("weights.pth")
    torch.save({"0.weight": torch.zeros(8, 3, 3, 3), "more": torch.zeros(1)}, weights)
    with refused("lacks '0.bias', '1.bias', '1.weight' and has 'more' more"):
        open_teacher(f"{code}:narrow", weights=weights)
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)).state_dict()
    torch.save(state, weights)
    with refused(r"has '0.weight' as \[4, 3, 3, 3\], not \[8, 3, 3, 3\]"):
        open_teacher(f"{code}:narrow", weights=weights)
    with refused("brings its own weights"):
        open_teacher("edges2shoes/teacher", weights=weights)
    with refused("no file and no model of the zoo 'edges2boots'"):
        open_teacher("edges2boots")


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def cyclegan(width: int = 8) -> nn.Module:
    """CycleGAN's generator with one block, in its own numbering."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner = 4 * width
            layers = [nn.ReflectionPad2d(1), nn.Conv2d(inner, inner, 3), nn.InstanceNorm2d(inner)]
            self.conv_block = nn.Sequential(*layers, nn.ReLU(), *copy.deepcopy(layers))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv_block(x)

    def layer(convolution: nn.Module) -> list[nn.Module]:
        return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU()]

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            down = [layer(nn.Conv2d(n * width, 2 * n * width, 3, 2, 1)) for n in (1, 2)]
            up = [layer(nn.ConvTranspose2d(2 * n * width, n * width, 3, 2, 1, 1)) for n in (2, 1)]
            first, last = layer(nn.Conv2d(3, width, 7)), nn.Conv2d(width, 3, 7)
            rows = [nn.ReflectionPad2d(3), *first, *sum(down, []), Block(), *sum(up, [])]
            self.model = nn.Sequential(*rows, nn.ReflectionPad2d(3), last, nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x)

    return Network()


def test_a_known_checkpoint_is_a_teacher_of_ours(tmp_path):
    network = cyclegan()
    torch.save(network.state_dict(), tmp_path / "latest_net_G.pth")
    teacher = open_teacher(tmp_path / "latest_net_G.pth")
    assert (teacher.kind, teacher.multiple, teacher.value_range) == ("checkpoint", 4, "[-1, 1]")
    assert teacher.generator is teacher.network
    assert "Read as" in teacher.assumed[0]
    with torch.inference_mode():
        torch.testing.assert_close(teacher.network(waves()), network(waves()), rtol=0, atol=1e-4)


# ---- ONNX files -----------------------------------------------------------------------------------------------------


def test_a_file_that_torch_wrote_is_a_black_box_of_any_size(tmp_path):
    network = encoder_decoder(channels=(1, 3), halvings=1)
    path = export_onnx(network, tmp_path / "net.onnx", (1, 1, 16, 16))
    teacher = open_teacher(path)
    assert (teacher.in_channels, teacher.out_channels, teacher.multiple, teacher.fixed) == (1, 3, 2, None)
    assert (teacher.kind, teacher.file, teacher.value_range) == ("onnx", path, "[-1, 1]")
    pictures = waves(3, 20)[:, :1, :, :14]
    with torch.inference_mode():
        torch.testing.assert_close(teacher.paint(pictures), network(pictures), rtol=0, atol=1e-4)
    assert copy.deepcopy(teacher.network)(pictures).shape == (3, 3, 20, 14)


def two_layers(last: nn.Module | None = None) -> nn.Sequential:
    """A network that :func:`onnx_file` writes."""
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
    return nn.Sequential(*layers, last or nn.Tanh()).eval().requires_grad_(False)


def onnx_file(
    path: Path,
    network: nn.Sequential,
    kind: str = "float32",
    *,
    shape: tuple[object, ...] = ("N", 3, "H", "W"),
    last: str = "NCHW",
    weights: str = "",
    more: Sequence[tuple[str, str, str]] = (),
) -> Path:
    """A file as other programs write them.

    Args:
        path: Where to write it.
        network: Of :func:`two_layers`.
        kind: Of the numbers that go in and come out; uint8 ones are bytes of pictures.
        shape: Of what goes in, with the channels where ``last`` has them.
        last: "NCHW" or "NHWC".
        weights: A file beside it for the weights.
        more: Operators behind the network, each with an input and an output.
    """
    there, back = ([0, 3, 1, 2], [0, 2, 3, 1]) if last == "NHWC" else ([0, 1, 2, 3], [0, 1, 2, 3])
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    numbers = {"one": 1, "half": 127.5}
    steps = [("Cast", "in", "a", {"to": TensorProto.FLOAT}), ("Transpose", "a", "b", {"perm": there})]
    steps += [("Div", "b half", "c", {}), ("Sub", "c one", "d", {})] if kind == "uint8" else []
    steps += [("Conv", f"{steps[-1][2]} 0.weight 0.bias", "e", {"pads": [1] * 4}), ("Relu", "e", "f", {})]
    steps += [("Conv", "f 2.weight 2.bias", "g", {"pads": [1] * 4}), (type(network[3]).__name__, "g", "h", {})]
    steps += [(*each, {}) for each in more]
    steps += [("Add", "h one", "i", {}), ("Mul", "i half", "j", {}), ("Round", "j", "k", {})] if kind == "uint8" else []
    to = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    steps += [("Cast", "k" if kind == "uint8" else "h", "l", {"to": to}), ("Transpose", "l", "out", {"perm": back})]
    nodes = [helper.make_node(name, taken.split(), [made], **options) for name, taken, made, options in steps]
    inputs = {"in": (to, shape)} | ({"style": (TensorProto.FLOAT, ())} if "style" in str(more) else {})
    outputs = {"out": (to, None)} | {made: (TensorProto.FLOAT, None) for _, _, made in more}
    return save_onnx(path, nodes, inputs, outputs, state | numbers, weights)


def save_onnx(path, nodes, inputs, outputs, numbers, weights=""):
    """A file of these nodes; inputs and outputs are kinds and shapes by name."""
    ends = [[helper.make_tensor_value_info(name, *each) for name, each in end.items()] for end in (inputs, outputs)]
    tensors = [onnx.numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path, save_as_external_data=bool(weights), location=weights or None, size_threshold=0)
    return path


FORMS = {
    "float32": ({}, "[-1, 1]"),
    "float16": ({"kind": "float16"}, "[-1, 1]"),
    "float64, one size": ({"kind": "float64", "shape": (1, 3, 24, 24)}, "[-1, 1]"),
    "bytes with the channels last": ({"kind": "uint8", "last": "NHWC", "shape": (1, 24, 24, 3)}, "[0, 255]"),
    "any size with the channels last": ({"last": "NHWC", "shape": ("N", "H", "W", 3)}, "[-1, 1]"),
    "two pictures": ({"shape": (2, 3, 24, 24)}, "[-1, 1]"),
    "weights beside it": ({"weights": "net.data"}, "[-1, 1]"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gets_what_it_takes_and_is_written_as_one_for_our_pictures(tmp_path, form):
    options, value_range = FORMS[form]
    network, pictures = two_layers(), waves(5, 24)
    wanted = network(pictures)
    teacher = open_teacher(onnx_file(tmp_path / "net.onnx", network, **options))
    fixed = (24, 24) if 24 in options.get("shape", ()) else None
    assert (teacher.in_channels, teacher.fixed, teacher.value_range) == (3, fixed, value_range)
    near = {"rtol": 0, "atol": 1.01 / 127.5 if value_range == "[0, 255]" else 1e-3}
    torch.testing.assert_close(teacher.paint(pictures), wanted, **near)
    if form == "two pictures":
        with refused("2 pictures at once"):
            teacher.float_file(tmp_path / "ours.onnx", (24, 24))
        return
    ours = teacher.float_file(tmp_path / "ours.onnx", (24, 24))
    torch.testing.assert_close(OnnxGenerator(ours)(pictures[:1]), wanted[:1], **near)
    assert onnx_cost(ours, (1, 3, 24, 24)).macs == cost(network, 24, 24, 3).macs
    whole = export_int8(ours, tmp_path / "int8.onnx", pictures)
    assert (OnnxGenerator(whole)(pictures[:1]) - wanted[:1]).abs().mean() < 0.05


def test_the_file_of_a_module_makes_its_pictures(tmp_path):
    teacher = open_teacher(two_layers(nn.Sigmoid()))
    made = OnnxGenerator(teacher.float_file(tmp_path / "net.onnx", (16, 16)))(waves(1, 16))
    torch.testing.assert_close(made, teacher.network(waves(1, 16)), rtol=0, atol=1e-4)


def test_identity_follows_weights_beside_a_file_and_missing_ones_are_named(tmp_path):
    path, data = tmp_path / "net.onnx", tmp_path / "net.data"
    onnx_file(path, two_layers(), weights="net.data")
    first, again = open_teacher(path).identity, open_teacher(path).identity
    content = bytearray(data.read_bytes())
    content[1] ^= 1
    data.write_bytes(content)
    assert first == again != open_teacher(path).identity
    data.unlink()
    with refused("keeps its weights in net.data"):
        open_teacher(path)


def test_a_second_input_of_a_file_gets_a_constant_or_is_refused(tmp_path):
    network = two_layers(nn.Sigmoid())
    path = onnx_file(tmp_path / "styled.onnx", network, more=[("Mul", "h style", "styled")])
    with refused("takes 2 inputs", "'style'", "constants="):
        open_teacher(path)
    with refused("no input 'mood'.*'in', 'style'"):
        open_teacher(path, constants={"mood": 1})
    with refused(r"'style' of .* is float \[\], and 'wild' is not"):
        open_teacher(path, constants={"style": "wild"})
    with refused("several pictures", r"'out' \[1, 3, 64, 64\], 'styled'"):
        open_teacher(path, constants={"style": 0.5})
    full, less = (
        open_teacher(path, constants={"style": style}, output="styled", value_range="[0, 1]") for style in (1, 0.5)
    )
    wanted = network((waves() + 1) / 2)
    torch.testing.assert_close(full.paint(waves()), wanted * 2 - 1, rtol=0, atol=1e-4)
    torch.testing.assert_close(less.paint(waves()), wanted - 1, rtol=0, atol=1e-4)
    assert full.identity != less.identity
    ours = less.float_file(tmp_path / "ours.onnx", (32, 32))
    torch.testing.assert_close(OnnxGenerator(ours)(waves()), wanted - 1, rtol=0, atol=1e-4)


def test_numbers_of_classes_and_totals_are_no_pictures(tmp_path):
    path = onnx_file(tmp_path / "net.onnx", two_layers(), more=[("ReduceMax", "h", "most"), ("ArgMax", "g", "class")])
    model = onnx.load(path)
    model.graph.output[2].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, path)
    assert open_teacher(path).paint(waves()).shape == waves().shape
    with refused("makes no picture"):
        open_teacher(path, output="class")


def test_files_that_are_no_pictures_or_no_onnx_are_refused(tmp_path):
    row = (TensorProto.FLOAT, (1, 8))
    nodes = [helper.make_node("Relu", ["in"], ["out"])]
    vector = save_onnx(tmp_path / "vector.onnx", nodes, {"in": row}, {"out": row}, {})
    with refused(r"takes 'in' tensor\(float\) \[1, 8\]", "export it so"):
        open_teacher(vector)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"onnx")
    with refused("onnxruntime does not run .*damaged.onnx"):
        open_teacher(damaged)


@pytest.mark.parametrize(("most", "found"), [(255.0, "[0, 255]"), (1.0, "[0, 1]")])
def test_the_end_of_a_graph_shows_the_range_also_behind_sums(tmp_path, most, found):
    """A clip, then a product."""
    pictures, numbers = (TensorProto.FLOAT, ("N", 3, "H", "W")), {"factor": most, "low": 0.0, "high": 1.0}
    nodes = [
        helper.make_node("Clip", ["in", "low", "high"], ["cut"]),
        helper.make_node("Mul", ["factor", "cut"], ["out"]),
    ]
    teacher = open_teacher(save_onnx(tmp_path / "net.onnx", nodes, {"in": pictures}, {"out": pictures}, numbers))
    assert (teacher.value_range, teacher.in_channels) == (found, 3)
    assert "clip at its end" in " ".join(teacher.assumed)
