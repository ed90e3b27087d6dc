"""Random regions of interest: blobs of smooth noise, as drops of lambda below the region's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_DROP = 7.0
"""Octaves of lambda between a region and its background, at most."""

COVERAGE = (0.1, 0.6)
"""Part of a picture that its regions cover."""


def random_drops(batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """(b, h, w) octaves: 0 inside the blobs, up to `MAX_DROP` outside, edges from hard to soft."""
    cells = int(torch.randint(2, 6, ()))
    noise = torch.randn(batch, 1, cells + 1, cells + 1, device=device)
    smooth = F.interpolate(noise, (height, width), mode="bicubic", align_corners=True)[:, 0].flatten(1)
    low, high = COVERAGE
    coverage = low + (high - low) * torch.rand(batch, device=device)
    ranks = smooth.argsort(1).argsort(1) / smooth.shape[1]
    edge = 0.01 + 0.3 * torch.rand(batch, 1, device=device) ** 2
    outside = ((1 - coverage[:, None] - ranks) / edge).clamp(0, 1)
    depth = MAX_DROP * torch.rand(batch, 1, device=device)
    return (outside * depth).reshape(batch, height, width)


def disc_drops(batch: int, height: int, width: int, drop: float, device: torch.device) -> Tensor:
    """(b, h, w) octaves: 0 in a central disc over a quarter of the picture, `drop` outside."""
    rows = torch.linspace(-1, 1, height, device=device)[:, None]
    columns = torch.linspace(-1, 1, width, device=device)[None, :]
    outside = rows**2 + columns**2 > 1 / torch.pi
    return (outside * drop).expand(batch, -1, -1)
