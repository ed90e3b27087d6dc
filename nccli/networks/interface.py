"""What coding asks of networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Visit:
    """A stop of the coding schedule: positions of one band whose parameters are known together.

    Attributes:
        rows: first and past-the-end latent row of the band.
        mask: (rows, width) the positions.
        number: of the pass.
    """

    rows: tuple[int, int]
    mask: Tensor
    number: int


class ParameterNetwork(nn.Module):
    """What the coding schedule asks of the network that predicts means and scales.

    Attributes:
        features_halo: rows of z beyond a band that its features depend on.
    """

    features_halo: int

    def features(self, z_hat: Tensor, height: int, width: int) -> Tensor:
        """z_hat (b, c, hz, wz) -> features (b, c', height, width) at y's resolution."""
        raise NotImplementedError

    def visits(
        self, bands: list[tuple[int, int]], width: int, device: torch.device | None = None
    ) -> Iterator[Visit]:
        """The coding order of y: every position once."""
        raise NotImplementedError

    def predict(self, visit: Visit, features: Tensor, rate: Tensor, y_hat: Tensor) -> Tensor:
        """Means, then log2 scales in octaves, at the n positions of a visit: (1, 2M, 1, n) integers.

        Args:
            visit: where.
            features: (1, c', 1, n) of those positions.
            rate: (1, 1, 1, n) rate points above the first anchor.
            y_hat: (M, h, w) int32, what has been coded so far.
        """
        raise NotImplementedError


class Sizes(Protocol):
    """What coding must know of a network's sizes; see `ImageConfig`."""

    @property
    def name(self) -> str: ...
    @property
    def M(self) -> int: ...
    @property
    def hyper_channels(self) -> int: ...
    @property
    def analysis_halo(self) -> int: ...
    @property
    def synthesis_halo(self) -> int: ...
    @property
    def hyper_halo(self) -> int: ...
