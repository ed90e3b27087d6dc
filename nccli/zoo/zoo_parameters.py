"""h_s, context and entropy parameters of the zoo's networks in exact integers.

Transposed convolutions of CompressAI are 3x3 convolutions before a pixel shuffle here, its masked
convolution a 1x1 convolution over the twelve neighbours that come before a position. `network.ZooNetwork`
is the same in floats; both are made of one description. Source: docs/FORMAT.md section 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.grid import HYPER_STRIDE
from nccli.entropy.steps import LATENT_BITS, STEP_UNIT
from nccli.networks.chain import Conv, Layers, Leak, Shuffle
from nccli.networks.integer import Chain, Convolution, Kept
from nccli.networks.interface import Visit
from nccli.networks.products import Floats
from nccli.zoo.names import ARCHITECTURES, Architecture

ZOO_LIMIT = 2**24
"""Largest magnitude of an activation: +-4096, since latents of high qualities pass +-512."""

ZOO_WEIGHT_LIMIT = 2**16
"""Largest magnitude of a weight: with this a layer of 8192 inputs stays below 2^53."""

SLOPE = 10486 / 2**20
"""Of CompressAI's leaky ReLU, 0.01, as an exact binary fraction."""

LOWEST_SCALE = 451
"""0.11 in fixed point: narrower scales count as this. Source: Balle et al. 2018, CompressAI."""

HIGHEST_LOG2 = 12 * STEP_UNIT
"""log2 of the largest activation, 1/64 octave."""

NEIGHBOURS = (*((row, column) for row in (-2, -1) for column in range(-2, 3)), (0, -2), (0, -1))
"""Offsets of the latents that a masked 5x5 filter sees, in scan order."""

DIAGONAL = 3
"""Columns between the positions of a diagonal in successive rows: its neighbours above are done then."""


@dataclass(frozen=True)
class ZooConfig:
    """Sizes of a network of the zoo.

    Attributes:
        architecture: its name.
        quality: as CompressAI counts, 1 ..
        N: channels inside the transforms, and of z.
        M: channels of y.
    """

    architecture: str
    quality: int
    N: int
    M: int

    @property
    def family(self) -> Architecture:
        """What the architecture's name stands for; KeyError if nothing."""
        return {a.name: a for a in ARCHITECTURES}[self.architecture]

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.quality}"

    @property
    def hyper_channels(self) -> int:
        return self.N

    @property
    def detail(self) -> int:
        """Channels of details: none."""
        return 0

    @property
    def follows_rate(self) -> bool:
        """One set of latents serves all rates."""
        return False

    @property
    def analysis_halo(self) -> int:
        return self.family.analysis_halo

    @property
    def synthesis_halo(self) -> int:
        return self.family.synthesis_halo

    @property
    def hyper_halo(self) -> int:
        """h_a reaches 7 latents in all architectures."""
        return 2 * HYPER_STRIDE


@dataclass(frozen=True)
class ZooParts:
    """Of what layers a network consists.

    Attributes:
        hyper: h_s, z_hat -> features.
        context: the latents around a position -> what is merged with its features; None if nothing is.
        merge: features and context -> parameters.
    """

    hyper: Layers
    context: Conv | None
    merge: Layers


def parts(config: ZooConfig) -> ZooParts:
    """The layers of an architecture of these sizes."""
    m, family, leak = config.M, config.family, Leak(SLOPE)
    if not family.autoregressive:
        return ZooParts(_hyper_synthesis(config), None, ())
    wide, narrow = m * 10 // 3, m * 8 // 3
    merge = (Conv(m * 12 // 3, wide), leak, Conv(wide, narrow), leak, Conv(narrow, m * 6 // 3))
    return ZooParts(_hyper_synthesis(config), Conv(len(NEIGHBOURS) * m, 2 * m), merge)


def _hyper_synthesis(config: ZooConfig) -> Layers:
    n, m, wide = config.N, config.M, config.M * 3 // 2
    leak = Leak(0.0 if config.family.zero_means else SLOPE)
    if config.family.residual:
        narrow = (Conv(n, n, 3), leak, *_raised(n, n), leak)
        return (*narrow, Conv(n, wide, 3), leak, *_raised(wide, wide), leak, Conv(wide, 2 * m, 3))
    if config.family.zero_means:
        return (*_raised(n, n), leak, *_raised(n, n), leak, Conv(n, m, 3), leak)
    return (*_raised(n, m), leak, *_raised(m, wide), leak, Conv(wide, 2 * m, 3))


def _raised(c_in: int, c_out: int) -> Layers:
    """Twice the rows and columns."""
    return (Conv(c_in, 4 * c_out, 3), Shuffle())


class ZooParameters:
    """The `ParameterNetwork` of the zoo: means and scales of its architectures.

    Attributes:
        config: sizes.
        channels: of y.
        median: (N,) what symbol 0 of z stands for, fixed point.
        layers: its integer layers, by name.
    """

    context_channels = 0

    def __init__(self, config: ZooConfig, convolution: Convolution, median: NDArray[np.int64]) -> None:
        """convolution: gives the layer of a name; median: (N,) fixed point, what symbol 0 of z stands for."""
        described, kept = parts(config), Kept(convolution)
        self.config, self.channels, self.median = config, config.M, median
        self.features_halo = 4 if config.family.residual else 2
        self.hyper = Chain(described.hyper, kept, "hyper")
        self.merge = Chain(described.merge, kept, "merge")
        self.context = None if described.context is None else kept("context", described.context)
        self.layers = kept.layers

    def features(self, z_hat: Floats, height: int, width: int) -> Floats:
        return self.hyper(z_hat + self.median[:, None, None])[:, :height, :width]

    def visits(self, bands: list[tuple[int, int]], width: int) -> Iterator[Visit]:
        """Band by band; with a context, diagonal by diagonal from the top left of each."""
        channels = (0, self.channels)
        for top, bottom in bands:
            if self.context is None:
                yield Visit((top, bottom), np.ones((bottom - top, width), np.bool_), channels, 0)
                continue
            place = np.arange(bottom - top)[:, None] * DIAGONAL + np.arange(width)
            for diagonal in range(DIAGONAL * (bottom - top - 1) + width):
                if diagonal % DIAGONAL >= width:
                    continue  # empty, where there are fewer columns than a diagonal steps over
                yield Visit((top, bottom), place == diagonal, channels, diagonal)

    def predict(
        self, visit: Visit, features: Floats, rate: Floats, y_hat: NDArray[np.int32]
    ) -> tuple[Floats, Floats]:
        chosen = features.reshape(len(features), -1)[:, visit.places]
        if self.context is not None:
            context = self.context(_around(y_hat, visit))
            chosen = self.merge(np.concatenate((chosen, context)))
        if self.config.family.zero_means:
            return np.zeros(chosen.shape), log_scale(chosen)
        return chosen[: self.channels], log_scale(chosen[self.channels :])


def _around(y_hat: NDArray[np.int32], visit: Visit) -> Floats:
    """Latents at the neighbours of a visit's positions, zero outside the picture: (12M, n)."""
    row, column = np.divmod(visit.places, y_hat.shape[2])
    offsets = np.array(NEIGHBOURS)[:, :, None]
    rows, columns = row + visit.rows[0] + offsets[:, 0], column + offsets[:, 1]
    inside = (rows >= 0) & (columns >= 0) & (columns < y_hat.shape[2])
    taken = y_hat[:, np.maximum(rows, 0), np.clip(columns, 0, y_hat.shape[2] - 1)] * inside
    limited: Floats = np.clip(taken.swapaxes(0, 1), -ZOO_LIMIT, ZOO_LIMIT).astype(np.float64)
    return limited.reshape(len(NEIGHBOURS) * len(y_hat), len(visit.places))


def log_scale(scales: Floats) -> Floats:
    """Scales -> their log2 in whole 1/64 octaves, rounded down, found by integer thresholds.

    Scales below 0.11 count as that.
    """
    limited = np.clip(scales, LOWEST_SCALE, ZOO_LIMIT)
    reached = np.searchsorted(np.array(log2_thresholds(), np.float64), limited, side="right")
    units = reached.astype(np.float64) + (_lowest_log2() - 1)
    units *= 2**LATENT_BITS // STEP_UNIT
    return units


@lru_cache(maxsize=1)
def log2_thresholds() -> tuple[int, ...]:
    """Smallest fixed-point scale of every 1/64 octave from that of `LOWEST_SCALE` to the highest.

    That is the smallest s with s^64 >= 2^(768 + u), in exact integers.
    """
    found = []
    for unit in range(_lowest_log2(), HIGHEST_LOG2 + 1):
        power = 1 << (LATENT_BITS * STEP_UNIT + unit)
        scale = round(2.0 ** (LATENT_BITS + unit / STEP_UNIT))
        while scale**STEP_UNIT >= power:
            scale -= 1
        while scale**STEP_UNIT < power:
            scale += 1
        found.append(scale)
    return tuple(found)


@lru_cache(maxsize=1)
def _lowest_log2() -> int:
    """log2 of `LOWEST_SCALE`, 1/64 octave, rounded down: bits of s^64 less those of 1.0^64, less one."""
    power: int = LOWEST_SCALE**STEP_UNIT
    return power.bit_length() - 1 - LATENT_BITS * STEP_UNIT
