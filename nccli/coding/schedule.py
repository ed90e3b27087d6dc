"""The coding schedule: the order in which symbols are sent and the parameters of each group.

Written once. An encoder walks it with a `Sender`, a decoder with a `Receiver`; both see the same
integers on every machine. Source: docs/FORMAT.md sections 6 to 8.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.coder import IntArray, SymbolDecoder, Tables
from nccli.entropy.grid import HYPER_STRIDE, Grid
from nccli.entropy.rate import FIRST_ANCHOR
from nccli.entropy.region import RateField
from nccli.entropy.setting import Setting
from nccli.entropy.steps import (
    LATENT_BITS,
    LOWEST_LOG2_RATIO,
    MANTISSA_BITS,
    ROWS_PER_OCTAVE,
    STEP_UNIT,
    STEP_Z_CHOICES,
    interpolate_anchors,
)
from nccli.networks.entropy_model import EntropyModel
from nccli.networks.integer import ACTIVATION_LIMIT
from nccli.networks.interface import Context, Visit
from nccli.networks.products import Floats

LATENT_LIMIT = 2.0**30
"""Largest magnitude of a fixed-point latent."""


TABLE_ROW = STEP_UNIT // ROWS_PER_OCTAVE
"""1/64 octaves per row of the tables of y."""


@dataclass(frozen=True, eq=False)
class Group:
    """The latents of a visit: n positions of c channels.

    Attributes:
        visit: which.
        means: (c, n) fixed point, float64.
        log2_steps: (c, n) 1/64 octave, or (c, 1) when all positions have the same.
        steps: the same as fixed-point step sizes, float64.
        indexes: (c, n) table rows, uint8; 0 means not coded.
        sent: (k,) places in the flattened group of the symbols that are coded, ascending.
    """

    visit: Visit
    means: Floats
    log2_steps: IntArray
    steps: Floats
    indexes: NDArray[np.uint8]
    sent: NDArray[np.intp]

    def flat(self, latents: NDArray[Any]) -> NDArray[Any]:
        """The band that the group is in, of all latents (channels, h, w): (c, positions), a view."""
        (top, bottom), width = self.visit.rows, latents.shape[2]
        return latents.reshape(len(latents), -1)[slice(*self.visit.channels), top * width : bottom * width]

    @cached_property
    def sent_indexes(self) -> NDArray[np.uint8]:
        """(k,) table rows of what is coded."""
        return self.indexes.reshape(-1)[self.sent]

    @cached_property
    def sent_means(self) -> Floats:
        """(k,) means of what is coded."""
        return self.means.reshape(-1)[self.sent]

    @cached_property
    def sent_steps(self) -> Floats:
        """(k,) steps of what is coded."""
        if self.steps.shape == self.means.shape:
            return self.steps.reshape(-1)[self.sent]
        return np.repeat(self.steps[:, 0], np.count_nonzero(self.indexes, axis=1))


class Driver(Protocol):
    """What the schedule asks of an encoder or a decoder."""

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        """Symbols of z, (n,), coded with the given table rows."""

    def latents(self, group: Group) -> IntArray:
        """Symbols of what a group sends, (k,)."""


@dataclass(frozen=True)
class Walk:
    """What a walk of the schedule leaves behind.

    Attributes:
        y_hat: (channels, h, w) fixed point, int32.
        checksum: CRC-32 of all symbols of y.
    """

    y_hat: NDArray[np.int32]
    checksum: int


def code_hyper(weights: EntropyModel, grid: Grid, step_z: int, driver: Driver) -> IntArray:
    """Code z: channel by channel, rows then columns. Returns symbols (channels, hz, wz)."""
    channels = weights.config.hyper_channels
    height, width = grid.hyper
    indexes = np.repeat(np.arange(channels) + step_z * channels, height * width)
    return driver.hyper(weights.z_tables, indexes).reshape(channels, height, width)


def symbols_checksum(symbols: IntArray, start: int = 0) -> int:
    """CRC-32 of symbols as little-endian 32-bit integers."""
    return zlib.crc32(np.ascontiguousarray(symbols, "<i4").data, start)


class Features:
    """What the network predicts from, for any band of rows: output of h_s, and a context if there is one.

    Kept for all bands of a small picture, for the last one of others.
    """

    def __init__(
        self,
        weights: EntropyModel,
        grid: Grid,
        z_symbols: IntArray,
        step_z: int,
        context: Context | None = None,
    ) -> None:
        """context: what else the network knows, (context_channels, h, w); None for nothing."""
        step = round(2 ** (STEP_Z_CHOICES[step_z] + LATENT_BITS))
        self._z_hat = _clamped(z_symbols.astype(np.float64) * step)
        self._network, self._grid = weights.network, grid
        expected = (weights.network.context_channels, grid.height, grid.width)
        found = (0, *expected[1:]) if context is None else context.shape
        if found != expected:
            raise ValueError(f"a context of {found}, not {expected}")
        self._context = context
        self._keep = 2 if len(grid.bands()) <= 2 else 1
        self._kept: dict[int, Floats] = {}

    def band(self, top: int, bottom: int) -> Floats:
        """Features (c, bottom - top, w) of latent rows top..bottom; top is a multiple of 4."""
        if top in self._kept:
            return self._kept[top]
        while len(self._kept) >= self._keep:
            self._kept.pop(next(iter(self._kept)))
        halo = self._network.features_halo
        first = max(top // HYPER_STRIDE - halo, 0)
        last = -(-bottom // HYPER_STRIDE) + halo
        skip = top - first * HYPER_STRIDE
        height = skip + bottom - top
        features = self._network.features(self._z_hat[:, first:last], height, self._grid.width)[:, skip:]
        if self._context is not None:
            features = np.concatenate((features, _clamped(self._context[:, top:bottom])))
        self._kept[top] = np.ascontiguousarray(features)
        return self._kept[top]


def _clamped(x: NDArray[Any]) -> Floats:
    """Within what integer layers take."""
    return np.clip(x, -ACTIVATION_LIMIT, ACTIVATION_LIMIT).astype(np.float64)


def log2_steps(
    weights: EntropyModel,
    setting: Setting,
    local: IntArray,
    beyond: IntArray,
    channels: tuple[int, int] | None = None,
) -> NDArray[np.int64]:
    """log2 steps (c, n) of positions with these rate points and offsets, (n,); of all channels if none are
    given. Source: FORMAT.md section 5."""
    gain = weights.gain if channels is None else weights.gain[:, slice(*channels)]
    points, place = np.unique(local, return_inverse=True)
    gains = np.stack([interpolate_anchors(gain, int(point)) for point in points], axis=1)
    steps: NDArray[np.int64] = gains[:, place] + (setting.step_y + beyond)
    return steps


def step_sizes(weights: EntropyModel, log2: NDArray[np.int64]) -> Floats:
    """log2 steps as fixed-point step sizes. Source: FORMAT.md section 5."""
    octave, part = np.divmod(log2, STEP_UNIT)
    mantissa = weights.power[part].astype(np.float64)
    sizes: Floats = np.ldexp(mantissa, (octave + LATENT_BITS - MANTISSA_BITS).astype(np.int32))
    return sizes


def table_rows(log2_scales: Floats, log2: NDArray[np.int64], rows: int) -> NDArray[np.uint8]:
    """The table row of scales, (c, n), at steps, (c, n) or (c, 1). Source: FORMAT.md section 8.

    A scale in 1/64 octaves, rounded down, less the step, then in rows, rounded down: as all else is a
    multiple of what is rounded to, that is one rounding down at the end, which is what turning into
    integers does above zero.
    """
    unit = 2 ** (LATENT_BITS - 6)
    above = TABLE_ROW // 2 - round(LOWEST_LOG2_RATIO * STEP_UNIT) - log2
    row = log2_scales * (1 / (unit * TABLE_ROW))
    row += above / TABLE_ROW
    indexes: NDArray[np.uint8] = np.clip(row, 0, rows - 1, out=row).astype(np.uint8)
    return indexes


def dequantise(symbols: IntArray, group: Group) -> NDArray[np.int32]:
    """y_hat = mean + symbol * step, rounded to fixed point: (c, n). What is not sent is its mean."""
    y_hat = group.means.astype(np.int32, order="C")
    values = symbols * group.sent_steps
    values += 0.5
    np.floor(values, out=values)
    values += group.sent_means
    y_hat.reshape(-1)[group.sent] = np.clip(values, -LATENT_LIMIT, LATENT_LIMIT, out=values)
    return y_hat


def code_latents(
    weights: EntropyModel, grid: Grid, features: Features, setting: Setting, driver: Driver
) -> Walk:
    """Code the latents in the order that the network visits them."""
    field = setting.field(grid)
    y_hat = np.zeros((weights.network.channels, grid.height, grid.width), np.int32)
    checksum = 0
    for visit in weights.network.visits(grid.bands(), grid.width):
        group = _group(weights, features, setting, field, y_hat, visit)
        symbols = driver.latents(group)
        whole = np.zeros(group.indexes.size, np.int32)
        whole[group.sent] = symbols
        checksum = symbols_checksum(whole, checksum)
        group.flat(y_hat)[:, visit.places] = dequantise(symbols, group)
    return Walk(y_hat, checksum)


def _group(
    weights: EntropyModel,
    features: Features,
    setting: Setting,
    field: RateField,
    y_hat: NDArray[np.int32],
    visit: Visit,
) -> Group:
    """Parameters of a visit's latents, from what has been coded before."""
    band = field.part(slice(*visit.rows))
    local, beyond = (p[0] if band.uniform else p[visit.mask] for p in (band.local, band.beyond))
    rate = (local - FIRST_ANCHOR).astype(np.float64)
    means, log2_scales = weights.network.predict(visit, features.band(*visit.rows), rate, y_hat)
    log2 = log2_steps(weights, setting, local, beyond, visit.channels)
    indexes = table_rows(log2_scales, log2, weights.y_tables.rows)
    return Group(visit, means, log2, step_sizes(weights, log2), indexes, np.flatnonzero(indexes != 0))


class Receiver:
    """Decoder side of the schedule."""

    def __init__(self, tables: Tables, coder: SymbolDecoder) -> None:
        self._tables, self._coder = tables, coder

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        return self._coder.code(tables, indexes, indexes)

    def latents(self, group: Group) -> IntArray:
        return self._coder.code(self._tables, group.sent_indexes, group.sent_indexes)
