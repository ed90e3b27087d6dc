"""Float form of the zoo's entropy networks, for conversion and refinement; `zoo_parameters` is exact."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.steps import LATENT_BITS
from nccli.networks.layers import convolution, sequential
from nccli.zoo.zoo_parameters import LOWEST_SCALE, NEIGHBOURS, ZooConfig, parts


class ZooNetwork(nn.Module):
    """Means and scales of the zoo's architectures.

    Attributes:
        median: (N, 1, 1) what symbol 0 of z stands for.
    """

    median: Tensor

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        layers = parts(config)
        self.zero_means = config.family.zero_means
        self.register_buffer("median", torch.zeros(config.N, 1, 1))
        self.hyper = sequential(layers.hyper)
        self.context = None if layers.context is None else convolution(layers.context)
        self.merge = sequential(layers.merge)

    def features(self, z_hat: Tensor, height: int, width: int) -> Tensor:
        """z_hat (b, N, hz, wz) -> features (b, c', height, width)."""
        return cast(Tensor, self.hyper(z_hat + self.median)[..., :height, :width])

    def dense(self, features: Tensor, y_hat: Tensor) -> Tensor:
        """Means, then log2 scales, at all positions, from latents (b, M, h, w) that are all known."""
        raw = features
        if self.context is not None:
            raw = self.merge(torch.cat((features, self.context(neighbours(y_hat))), dim=1))
        if self.zero_means:
            return torch.cat((torch.zeros_like(raw), _log_scale(raw)), dim=1)
        means, scales = raw.chunk(2, dim=1)
        return torch.cat((means, _log_scale(scales)), dim=1)


def _log_scale(scales: Tensor) -> Tensor:
    """Scales -> their log2; scales below 0.11 count as that."""
    return torch.log2(scales.clamp_min(LOWEST_SCALE / 2**LATENT_BITS))


def neighbours(y: Tensor) -> Tensor:
    """The latents that a masked 5x5 filter sees, of every position: (b, M, h, w) -> (b, 12M, h, w)."""
    height, width = y.shape[-2:]
    padded = F.pad(y, (2, 2, 2, 0))
    return torch.cat(
        [padded[..., 2 + r : 2 + r + height, 2 + c : 2 + c + width] for r, c in NEIGHBOURS], dim=1
    )
