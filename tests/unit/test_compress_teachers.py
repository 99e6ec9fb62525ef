"""Any generator that runs becomes a teacher, and what it takes and makes is found out by running it."""

from __future__ import annotations

import copy
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
    "smaller pictures": (lambda x, y: y[..., ::2, ::2], "32 x 32 from those of 64 x 64"),
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


def test_modules_that_torch_does_not_copy_are_copied():
    normed = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 3, 3, padding=1)), nn.Tanh())  # keeps a result
    normed(torch.zeros(1, 3, 8, 8))
    parallel = open_teacher(nn.DataParallel(normed))
    torch.testing.assert_close(parallel.network(waves()), normed(waves()))


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
    with refused("NaN or infinite values of picture 0"):
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
    with refused(r"0.weight is \[4, 3, 3, 3\] there and \[8, 3, 3, 3\]"):
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


def exported(module: nn.Module, path: Path, *inputs: Tensor, free: bool = True, **options: object) -> Path:
    """A file that torch wrote."""
    side = torch.export.Dim.DYNAMIC
    shapes = tuple({0: side, 2: side, 3: side} if each.ndim == 4 else None for each in inputs) if free else None
    program = torch.onnx.export(module.eval(), inputs, dynamo=True, dynamic_shapes=shapes, verbose=False, **options)
    program.save(str(path))
    return path


def test_an_onnx_file_of_any_size_is_a_black_box(tmp_path):
    network = encoder_decoder(channels=(1, 3), halvings=1)
    teacher = open_teacher(exported(network, tmp_path / "net.onnx", torch.zeros(2, 1, 16, 16)))
    assert (teacher.in_channels, teacher.out_channels, teacher.multiple, teacher.fixed) == (1, 3, 2, None)
    assert (teacher.kind, teacher.file, teacher.value_range) == ("onnx", tmp_path / "net.onnx", "[-1, 1]")
    pictures = waves(3, 20)[:, :1, :, :14]
    with torch.inference_mode():
        torch.testing.assert_close(teacher.paint(pictures), network(pictures), rtol=0, atol=1e-4)
    assert copy.deepcopy(teacher.network)(pictures).shape == (3, 3, 20, 14)


class ForBytes(nn.Module):
    """From [N, H, W, C] uint8 to the same."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        made = self.network(x.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return ((made + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def test_fixed_half_and_byte_files_get_what_they_take(tmp_path):
    network = encoder_decoder(halvings=1).eval()
    with torch.inference_mode():
        wanted = network(waves(5, 24))
    fixed = open_teacher(exported(network, tmp_path / "fixed.onnx", torch.zeros(2, 3, 24, 24), free=False))
    assert fixed.fixed == (24, 24)
    torch.testing.assert_close(fixed.paint(waves(5, 24)), wanted, rtol=0, atol=1e-4)
    example = torch.zeros(1, 3, 24, 24, dtype=torch.float16)
    half = open_teacher(exported(copy.deepcopy(network).half(), tmp_path / "half.onnx", example, free=False))
    torch.testing.assert_close(half.paint(waves(5, 24)), wanted, rtol=0, atol=0.02)
    example = torch.zeros(1, 24, 24, 3, dtype=torch.uint8)
    whole = open_teacher(exported(ForBytes(network), tmp_path / "bytes.onnx", example, free=False))
    assert (whole.in_channels, whole.fixed, whole.value_range) == (3, (24, 24), "[0, 255]")
    torch.testing.assert_close(whole.paint(waves(5, 24)), wanted, rtol=0, atol=1.01 / 127.5)


def test_a_second_input_of_a_file_gets_a_constant_or_is_refused(tmp_path):
    class Styled(nn.Module):
        def forward(self, x: Tensor, style: Tensor) -> Tensor:
            return torch.sigmoid(x * style)

    path = exported(Styled(), tmp_path / "styled.onnx", torch.zeros(2, 3, 8, 8), torch.ones(1, 3, 1, 1))
    with refused("takes 2 inputs", "'style'", "constants="):
        open_teacher(path)
    teacher = open_teacher(path, constants={"style": 2.0})
    assert teacher.value_range == "[0, 1]"
    torch.testing.assert_close(teacher.paint(waves()), torch.sigmoid(waves() + 1) * 2 - 1)
    with refused("no input 'mood'.*'x', 'style'"):
        open_teacher(path, constants={"mood": 1})


def test_files_that_are_no_pictures_or_no_onnx_are_refused(tmp_path):
    vector = exported(nn.Linear(8, 8), tmp_path / "vector.onnx", torch.zeros(1, 8), free=False)
    with refused(r"takes 'input' tensor\(float\) \[1, 8\]", "export it so"):
        open_teacher(vector)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"onnx")
    with refused("onnxruntime does not run .*damaged.onnx"):
        open_teacher(damaged)


@pytest.mark.parametrize(("most", "found"), [(255.0, "[0, 255]"), (1.0, "[0, 1]")])
def test_the_end_of_a_graph_shows_the_range_also_behind_sums(tmp_path, most, found):
    """A clip, then a product."""
    sides = ["N", 3, "H", "W"]
    pictures = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in ("in", "out"))
    numbers = {"factor": most, "low": 0.0, "high": 1.0}
    nodes = [
        helper.make_node("Clip", ["in", "low", "high"], ["cut"]),
        helper.make_node("Mul", ["factor", "cut"], ["out"]),
    ]
    tensors = [onnx.numpy_helper.from_array(np.float32(value), name) for name, value in numbers.items()]
    first, last = pictures
    model = helper.make_model(
        helper.make_graph(nodes, "net", [first], [last], tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "net.onnx")
    teacher = open_teacher(tmp_path / "net.onnx")
    assert (teacher.value_range, teacher.in_channels) == (found, 3)
    assert "clip at its end" in " ".join(teacher.assumed)
