"""A differentiable float view of the integer network that predicts means and scales.

Its outputs differ from the exact ones by the fixed-point rounding alone, well below a table row.
What is written to a file never comes from here: symbols are chosen again from the exact network.
"""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from nccli.entropy.steps import LATENT_BITS
from nccli.networks.integer import IntegerActivation, IntegerConv2d
from nccli.networks.interface import ParameterNetwork
from nccli.networks.layers import Activation
from nccli.zoo.network import IntegerLogScale, IntegerShift

N = TypeVar("N", bound=ParameterNetwork)


def float_network(network: N) -> N:
    """A float32 copy of an integer network, without gradients of its own."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, IntegerConv2d):
                setattr(parent, name, _float_conv(child))
            elif isinstance(child, IntegerActivation):
                setattr(parent, name, Activation(child.slope))
            elif isinstance(child, IntegerShift | IntegerLogScale):
                setattr(parent, name, child.relaxed())
    return network.eval().requires_grad_(False)


def _float_conv(layer: IntegerConv2d) -> nn.Conv2d:
    """weight * 2^-shift; the bias loses the rounding half and the fixed point."""
    c_out, c_in, size, _ = layer.weight.shape
    scale = torch.pow(2.0, -layer.shift.double())
    conv = nn.Conv2d(c_in, c_out, size, padding=size // 2, device=layer.weight.device)
    conv.weight.data = (layer.weight.double() * scale[:, None, None, None]).float()
    bias = (layer.bias.double() * scale - 0.5) / 2**LATENT_BITS
    cast(Tensor, conv.bias).data = bias.float()
    return conv
