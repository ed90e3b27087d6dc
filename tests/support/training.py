"""What tests of training share."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from nccli.train.pictures.data import Batch, Kind, Tiles

CPU = torch.device("cpu")


def batch_of(x: Tensor) -> Batch:
    """Crops (b, 3, h, w) in [0, 1] that are good for every rate."""
    return Batch(x, torch.full((len(x),), math.inf))


def tiles_of(pixels: Tensor, kind: Kind = Kind.LOSSY) -> Tiles:
    """Pictures (n, 3, h, w) uint8 of one kind."""
    return Tiles(pixels, torch.full((len(pixels),), int(kind)))


def pictures(count: int, size: int, seed: int = 1) -> Tiles:
    """Smooth random pictures with a little noise: something that a model can learn in a moment."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.uniform(0, 255, (count, 3, size // 16, size // 16)))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    noisy = smooth + torch.from_numpy(generator.normal(0, 4, smooth.shape))
    return tiles_of(noisy.round().clamp(0, 255).to(torch.uint8))
