"""Weights of the rate anchors, which the gates of the transforms are interpolated by."""

from __future__ import annotations

import torch
from torch import Tensor

from nccli.entropy.rate import ANCHOR_SPACING, FIRST_ANCHOR, NUM_ANCHORS, RATE_UNIT


def anchor_weights(log2_lambda: Tensor) -> Tensor:
    """Weights of the rate anchors: log2 lambda (b, h, w) -> (b, NUM_ANCHORS, h, w)."""
    position = (log2_lambda + 12) * RATE_UNIT
    position = ((position - FIRST_ANCHOR) / ANCHOR_SPACING).clamp(0, NUM_ANCHORS - 1)
    grid = torch.arange(NUM_ANCHORS, device=position.device, dtype=position.dtype)
    return (1 - (position[:, None] - grid[:, None, None]).abs()).clamp_min(0)
