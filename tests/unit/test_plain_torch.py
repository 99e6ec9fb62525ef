"""What we hand to other people's tools: the same pictures, from layers that tools find."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from factories import pictures, random_resnet
from gancomp_core import zoo
from gancomp_core.nets import ElasticGenerator, plain_torch
from gancomp_core.nets.blocks import instance_norm, is_instance_norm

MODELS = ("edges2shoes/teacher", "edges2shoes/supernet", "edges2shoes_unpaired/agd", "photos_x4/agd")


def walked(network, x):
    """The modules that a pruner finds from the output's ``grad_fn`` back to the picture, by name."""
    made, hooks = {}, []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.InstanceNorm2d):
            hooks.append(module.register_forward_hook(lambda m, i, out, name=name: made.update({out.grad_fn: name})))
    waiting, seen = [network(x).grad_fn], set()
    for hook in hooks:
        hook.remove()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return {made[node] for node in seen if node in made}


@pytest.mark.parametrize("name", MODELS)
def test_a_plain_copy_makes_the_same_pictures_and_can_be_walked(name):
    network = zoo.load(name).generator
    x = pictures(2, network.architecture.in_channels, 32, 32)
    assert network(x).grad_fn is None, "ours is handed out frozen"
    plain = plain_torch(network)
    torch.testing.assert_close(plain(x), network(x), atol=1e-5, rtol=0)
    assert all(parameter.requires_grad for parameter in plain.parameters())
    assert not any(isinstance(layer, nn.GroupNorm) for layer in plain.modules())
    wanted = nn.Conv2d | nn.ConvTranspose2d | nn.InstanceNorm2d
    assert walked(plain, x) == {name for name, layer in plain.named_modules() if isinstance(layer, wanted)}


def test_norms_keep_what_they_learned_their_mode_and_the_original():
    norm = instance_norm(4, affine=True)
    nn.init.uniform_(norm.weight)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), norm).eval()
    plain = plain_torch(network)
    x = pictures(2, 1, 16, 16)
    torch.testing.assert_close(plain(x), network(x), atol=1e-5, rtol=0)
    assert isinstance(plain[1], nn.InstanceNorm2d)
    assert not plain[1].training
    assert isinstance(network[1], nn.GroupNorm)
    assert isinstance(plain_torch(instance_norm(4)), nn.InstanceNorm2d), "a norm that is the whole network"


def test_a_norm_of_several_channels_a_group_stays():
    assert isinstance(plain_torch(nn.Sequential(nn.GroupNorm(2, 8)))[0], nn.GroupNorm)


def test_of_an_elastic_generator_the_active_network_is_taken():
    elastic = zoo.load("edges2shoes/supernet").generator
    elastic.activate(elastic.space.narrowest)
    plain = plain_torch(elastic)
    assert not isinstance(plain, ElasticGenerator)
    assert plain.architecture == elastic.space.narrowest
    assert elastic.active == elastic.space.narrowest


def test_weights_of_the_copy_are_its_own():
    network = random_resnet()
    plain = plain_torch(network)
    with torch.no_grad():
        next(plain.parameters()).zero_()
    assert next(network.parameters()).abs().sum() > 0
    assert all(map(is_instance_norm, (layer for layer in plain.modules() if "Norm" in type(layer).__name__)))
