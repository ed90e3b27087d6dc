"""Building blocks in floats."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nccli.networks.layers import Depthwise


def outcome(way: str, x: Tensor, layer: Depthwise) -> tuple[Tensor, ...]:
    """Output, and gradients of input, weight and bias."""
    layer.way = way
    layer.zero_grad()
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert layer.bias is not None
    assert layer.bias.grad is not None
    return y.detach(), x.grad, layer.weight.grad, layer.bias.grad


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_ways_of_depthwise_filters_are_equal(memory: torch.memory_format) -> None:
    torch.manual_seed(1)
    layer = Depthwise(6)
    x = torch.randn(2, 6, 9, 7).contiguous(memory_format=memory)
    expected = outcome("filter", x, layer)
    assert Depthwise.WAYS == ("filter", "planes", "shifts")
    for way in Depthwise.WAYS[1:]:
        torch.testing.assert_close(outcome(way, x, layer), expected, rtol=1e-4, atol=1e-5)
