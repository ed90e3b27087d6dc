"""Exact integer counterparts of network layers, for the entropy path."""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.steps import LATENT_BITS
from nccli.networks.layers import LEAK, Activation

WEIGHT_LIMIT = 2**20
"""Largest magnitude of an integer weight."""

ACTIVATION_LIMIT = 2**21
"""Largest magnitude of an integer activation: +-512 with 12 fractional bits."""

EXACT_LIMIT = 2**53
"""Integers below this magnitude are exact in float64, whatever the order of the sums."""


class IntegerActivation(nn.Module):
    """`Activation` on integers: the negative side is multiplied by the slope, rounded down."""

    def __init__(self, slope: float = LEAK) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        leaked = (x * self.slope).floor_()
        return torch.maximum(x, leaked, out=leaked)


def power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent of integers, exactly: float64 on the CPU. A library's `pow` may miss the last bit."""
    return torch.from_numpy(np.ldexp(1.0, exponent.cpu().numpy().astype(np.int32)))


class IntegerConv2d(nn.Module):
    """A stride-1 convolution on integers held in float64, exact on every machine.

    Weights are integers with a power-of-two scale per output channel. Inputs and outputs are
    fixed point with `LATENT_BITS` fractional bits, clamped to `limit`. Construction proves that
    every partial sum stays below 2^53.

    Source: docs/FORMAT.md section 7.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor
    kernel: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, shift: Tensor, limit: int = ACTIVATION_LIMIT) -> None:
        """weight: int32 (c_out, c_in, k, k); bias: int64 (c_out,); shift: int32 (c_out,)."""
        super().__init__()
        self.limit = limit
        bound = weight.double().abs().flatten(1).sum(1) * limit + bias.double().abs()
        if float(bound.max()) >= EXACT_LIMIT:
            raise ValueError(f"integer layer may reach {float(bound.max()):.3g}, beyond 2^53")
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("shift", shift)
        exact = {
            "kernel": weight.double(),
            "offset": bias.double()[:, None, None],
            "scale": power_of_two(-shift)[:, None, None],
        }
        for name, value in exact.items():
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def from_float(
        cls, conv: nn.Conv2d, limit: int = ACTIVATION_LIMIT, weight_limit: int = WEIGHT_LIMIT
    ) -> IntegerConv2d:
        """Quantise a float convolution; the rounding half is folded into the bias.

        Exact operations and roundings of single numbers only: every machine finds the same integers.
        """
        weight = conv.weight.detach().double().cpu()
        peak = weight.abs().flatten(1).amax(1).clamp_min(2.0**-20)
        shift = torch.frexp((weight_limit - 1) / peak).exponent.to(torch.int32) - 1
        scale = power_of_two(shift)
        integer = torch.round(weight * scale[:, None, None, None]).to(torch.int32)
        bias = cast(Tensor, conv.bias).detach().double().cpu() * scale * 2**LATENT_BITS
        return cls(integer, torch.round(bias + scale / 2).to(torch.int64), shift, limit)

    def forward(self, x: Tensor) -> Tensor:
        size = self.weight.shape[-1]
        if size == 1:
            total = torch.matmul(self.kernel[:, :, 0, 0], x.flatten(2))
            total = total.reshape(len(x), len(self.kernel), *x.shape[2:])
        else:
            total = F.conv2d(x, self.kernel, padding=size // 2)
        total = total.add_(self.offset).mul_(self.scale).floor_()
        return total.clamp_(-self.limit, self.limit)


def to_integer(network: nn.Module) -> nn.Module:
    """A copy of `network` whose convolutions and activations are their integer counterparts."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, IntegerConv2d.from_float(child))
            elif isinstance(child, Activation):
                setattr(parent, name, IntegerActivation(child.slope))
    return network.eval()
