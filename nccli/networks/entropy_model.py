"""A model as far as bytes are concerned: no library that trains networks is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.coder import Tables
from nccli.networks.entry import Entry
from nccli.networks.interface import ParameterNetwork, Sizes
from nccli.networks.products import Floats


class DetailNetwork(Protocol):
    """What coding details asks of a network."""

    def detail_scales(
        self, features: Floats, rate: Floats, y_hat: NDArray[np.int32], channels: int
    ) -> Floats:
        """log2 scales in octaves, integers, of the first channels at all n positions of a band: (channels, n).

        Args:
            features: (c, rows, width) of the band.
            rate: (n,) rate points above the first anchor, or (1,) when all are the same.
            y_hat: (M, rows, width) of the band.
            channels: how many, a multiple of 16.
        """


@dataclass(frozen=True, eq=False)
class DetailModel:
    """What a model with details has besides.

    Attributes:
        network: predicts their scales; their means are zero.
        channels: of the details.
        gain: (NUM_ANCHORS,) log2 steps, 1/64 octave, the same for all channels.
        pixel_weight: 255^2 times the mean squared error of a pixel that has a detail of one.
    """

    network: DetailNetwork
    channels: int
    gain: NDArray[np.int64]
    pixel_weight: float


@dataclass(frozen=True, eq=False)
class EntropyModel:
    """What turns latents into bytes and back: exact, in arrays, the same on every machine.

    Attributes:
        entry: its line in the catalogue.
        config: network sizes.
        network: h_s and the parameter heads, exact integers in float64.
        y_tables: rows by scale over step.
        z_tables: rows by step index and channel.
        gain: (NUM_ANCHORS, channels) log2 steps, 1/64 octave.
        step_z: (NUM_ANCHORS,) log2 step of z, 1/64 octave, the encoder's default.
        power: (64,) mantissas of 2^(i/64).
        details: what codes details; None for models without.
    """

    entry: Entry
    config: Sizes
    network: ParameterNetwork
    y_tables: Tables
    z_tables: Tables
    gain: NDArray[np.int64]
    step_z: NDArray[np.int64]
    power: NDArray[np.int64]
    details: DetailModel | None
