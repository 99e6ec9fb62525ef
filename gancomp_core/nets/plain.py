"""A network as other tools expect one: norms under their usual name, gradients on."""

from __future__ import annotations

import copy
from typing import cast

from torch import nn

from gancomp_core.nets.architecture import Generator
from gancomp_core.nets.blocks import is_instance_norm


def plain_torch(network: nn.Module) -> nn.Module:
    """A copy for tools that look for layers by type or walk through autograd, such as pruners.

    Ours are written for speed and handed out frozen: an InstanceNorm is a GroupNorm of one group per channel, the
    networks of the zoo record no gradients, and an activation that writes in place replaces the ``grad_fn`` of the norm
    before it. Tools that look for ``InstanceNorm2d`` or walk from an output's ``grad_fn`` then find nothing, and say
    nothing. The copy has ``InstanceNorm2d``, gradients and activations of their own, and makes the same pictures.

    Args:
        network: Any module; it is left as it was. Of an elastic generator the network that is active.

    Returns:
        The copy, in the same mode (training or evaluation), every parameter with ``requires_grad``.
    """
    own = copy.deepcopy(network.standalone() if isinstance(network, Generator) else network)
    around = nn.Sequential(own)  # a parent for a module that is a norm itself
    for parent in list(around.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.GroupNorm) and is_instance_norm(child):
                setattr(parent, name, _as_instance_norm(child))
            if getattr(child, "inplace", False):
                cast(nn.ReLU, child).inplace = False
    return around[0].requires_grad_(True)


def _as_instance_norm(norm: nn.GroupNorm) -> nn.InstanceNorm2d:
    found = nn.InstanceNorm2d(norm.num_channels, norm.eps, affine=norm.affine)
    found.load_state_dict(norm.state_dict(), assign=True)  # keeps device and precision
    return found.train(norm.training)
