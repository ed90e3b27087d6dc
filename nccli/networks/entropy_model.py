"""A model as far as bytes are concerned: no library that trains networks is needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.coder import Tables
from nccli.networks.entry import Entry
from nccli.networks.interface import ParameterNetwork, Sizes


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
    """

    entry: Entry
    config: Sizes
    network: ParameterNetwork
    y_tables: Tables
    z_tables: Tables
    gain: NDArray[np.int64]
    step_z: NDArray[np.int64]
    power: NDArray[np.int64]
