"""What stands in for rounding in training."""

from __future__ import annotations

import torch
from torch import Tensor


def noisy(x: Tensor, step: Tensor) -> Tensor:
    """Training proxy for the rate: uniform noise one step wide. Source: Balle et al. 2017."""
    return x + step * (torch.rand_like(x) - 0.5)


def straight_through(x: Tensor, step: Tensor) -> Tensor:
    """Training proxy for the pixels: rounding to multiples of `step`, gradient of the identity.

    The step itself learns from the rounding error (Esser et al. 2020, LSQ); without that only the
    rate would move it, towards ever coarser steps.
    """
    scaled = x / step
    return (scaled + (torch.round(scaled) - scaled).detach()) * step
