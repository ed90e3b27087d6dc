"""What coding asks of networks, without the libraries that train them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nccli.networks.products import Floats


@dataclass(frozen=True, eq=False)
class Visit:
    """A stop of the coding schedule: latents of one band whose parameters are known together.

    Attributes:
        rows: first and past-the-end latent row of the band.
        mask: (rows, width) the positions.
        channels: first and past-the-end of the channels that are coded at those positions.
        number: of the pass, as the network counts.
    """

    rows: tuple[int, int]
    mask: NDArray[np.bool_]
    channels: tuple[int, int]
    number: int

    @cached_property
    def places(self) -> NDArray[np.intp]:
        """(n,) the positions in the flattened band, ascending."""
        return np.flatnonzero(self.mask)


class ParameterNetwork(Protocol):
    """What the coding schedule asks of the network that predicts means and scales.

    Latents are (channels, h, w): those of all groups that a network has, one after the other.

    Attributes:
        channels: of the latents.
        context_channels: of what the network wants to know beside z, at the latents' resolution; 0 for
            nothing.
        features_halo: rows of z beyond a band that its features depend on.
    """

    @property
    def channels(self) -> int: ...
    @property
    def context_channels(self) -> int: ...
    @property
    def features_halo(self) -> int: ...

    def features(self, z_hat: Floats, height: int, width: int) -> Floats:
        """z_hat (c, hz, wz) -> features (c', height, width) at the latents' resolution."""

    def visits(self, bands: list[tuple[int, int]], width: int) -> Iterator[Visit]:
        """The coding order: every latent that is coded, once."""

    def predict(
        self, visit: Visit, features: Floats, rate: Floats, y_hat: NDArray[np.int32]
    ) -> tuple[Floats, Floats]:
        """Means and log2 scales in octaves of a visit's latents, integers: (c, n) each, c of its channels.

        Args:
            visit: which.
            features: (c', rows, width) of the band, then its context if there is one.
            rate: (n,) rate points above the first anchor, or (1,) when all are the same.
            y_hat: (channels, h, w) what has been coded so far.
        """


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
    @property
    def follows_rate(self) -> bool:
        """Latents depend on the rate point that they are made for."""


Context = NDArray[np.integer[Any]]
"""What a network knows of a picture beside z: integers (context_channels, h, w) of the latents' grid."""
