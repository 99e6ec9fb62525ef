"""Any generator that runs becomes a teacher, and what it takes and makes is found out by running it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from factories import refused
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
    torch.testing.assert_close(teacher.paint(pictures), made.clamp(-1, 1), rtol=0, atol=1e-4)


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
