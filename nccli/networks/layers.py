"""Network building blocks in floats; `integer` has the exact counterparts of those in `chain`."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.rate import NUM_ANCHORS
from nccli.networks.chain import LEAK, Conv, Layers, Leak


def pointwise(c_in: int, c_out: int) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(c_in, c_out, 1)


class SignalConv(nn.Conv2d):
    """A 1x1 convolution that stays in float32 under autocast: the signal itself passes through it."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())

    def matrix(self, x: Tensor) -> Tensor:
        """The same on rows: (n, c_in) -> (n, c_out). Faster where channels are not the memory's outer order."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight.flatten(1), self.bias)


class Overlap(nn.Module):
    """Adds a linear function of every patch of the grid that is shifted by half a patch.

    Before a block transform, and after its inverse, it makes the transform a lapped one. Starts as
    the identity. The outer half patch of the picture stays as it is.
    Source: Tran, Liang, Tu 2003, Lapped transform via time-domain pre- and post-filtering.
    """

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.mix = SignalConv(3 * patch * patch, 3 * patch * patch)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(cast(Tensor, self.mix.bias))

    def forward(self, x: Tensor) -> Tensor:
        """x: (b, 3, h, w), sides multiples of the patch."""
        edge, patch = self.patch // 2, self.patch
        x = x.clone()
        inner = x[..., edge:-edge, edge:-edge]
        batch, colours, height, width = inner.shape
        rows, columns = height // patch, width // patch
        grid = inner.reshape(batch, colours, rows, patch, columns, patch)
        mixed = self.mix.matrix(grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, colours * patch * patch))
        grid = mixed.view(batch, rows, columns, colours, patch, patch).permute(0, 3, 1, 4, 2, 5)
        inner += grid.reshape(inner.shape)
        return x


class Activation(nn.Module):
    """Leaky ReLU with slope `LEAK`, or another that is exact in integers: a few bits of fraction."""

    def __init__(self, slope: float = LEAK) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope)


class Block(nn.Module):
    """Residual depthwise-separable convolution, then a residual gated 1x1 feed-forward.

    Both branches end in a layer that starts at zero, so an untrained block is the identity.
    Along the rate axis every channel of a branch has a gate that scales it and shifts before its
    nonlinearities; both are interpolated, and may differ from position to position.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_in = pointwise(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix_out = pointwise(channels, channels)
        self.feed_in = pointwise(channels, 2 * channels)
        self.feed_out = pointwise(channels, channels)
        for layer in (self.mix_out, self.feed_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(cast(Tensor, layer.bias))
        self.gates = nn.Parameter(torch.ones(NUM_ANCHORS, 2, channels))
        self.shifts = nn.Parameter(torch.zeros(NUM_ANCHORS, 3 * channels))

    def forward(self, x: Tensor, anchors: Tensor) -> Tensor:
        """x: (b, c, h, w); anchors: (b, NUM_ANCHORS, h or 1, w or 1) rate weights."""
        channels = x.shape[1]
        gates = torch.einsum("baij,agc->bgcij", anchors, self.gates)
        shifts = torch.einsum("baij,ac->bcij", anchors, self.shifts)
        mix_shift, feed_shift = shifts[:, :channels], shifts[:, channels:]
        mixed = F.leaky_relu(_shifted(self.mix_in, x, mix_shift), LEAK)
        x = _add_gated(x, self.mix_out(self.depthwise(mixed)), gates[:, 0])
        fed = F.glu(_shifted(self.feed_in, x, feed_shift), dim=1)
        return _add_gated(x, self.feed_out(fed), gates[:, 1])


def _shifted(conv: nn.Conv2d, x: Tensor, shift: Tensor) -> Tensor:
    """conv(x) + shift, in one pass over the memory where the shift is one for all."""
    if shift.numel() == shift.shape[1]:
        return F.conv2d(x, conv.weight, cast(Tensor, conv.bias) + shift.flatten())
    return cast(Tensor, conv(x)).add_(shift)


def _add_gated(x: Tensor, branch: Tensor, gate: Tensor) -> Tensor:
    """x + branch * gate, in one pass over the memory."""
    return torch.addcmul(x, branch.to(x.dtype), gate)


def convolution(layer: Conv) -> nn.Conv2d:
    """A described convolution."""
    return nn.Conv2d(layer.c_in, layer.c_out, layer.size, padding=layer.size // 2)


def sequential(layers: Layers) -> nn.Sequential:
    """Described layers, one after the other."""
    made: list[nn.Module] = [
        convolution(layer)
        if isinstance(layer, Conv)
        else Activation(layer.slope)
        if isinstance(layer, Leak)
        else nn.PixelShuffle(2)
        for layer in layers
    ]
    return nn.Sequential(*made)
