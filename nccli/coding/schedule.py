"""The coding schedule: the order in which symbols are sent and the parameters of each group.

Written once. An encoder walks it with a `Sender`, a decoder with a `Receiver`; both see the same
integers on every machine. Source: docs/FORMAT.md sections 6 to 8.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nccli.entropy.coder import IntArray, SymbolCoder, SymbolDecoder, Tables
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
from nccli.networks.integer import ACTIVATION_LIMIT
from nccli.networks.interface import Visit
from nccli.networks.weights import ImageWeights

LATENT_LIMIT = 2.0**30
"""Largest magnitude of a fixed-point latent."""


@dataclass(frozen=True)
class Group:
    """One pass over one band: n positions of M channels.

    Attributes:
        rows: first and past-the-end latent row.
        mask: (rows, width) positions of this pass.
        means: (M, n) fixed point, float64.
        log2_steps: (M, n) 1/64 octave, or (M, 1) when all positions have the same.
        steps: the same as fixed-point step sizes, float64.
        indexes: (M, n) table rows, uint8; 0 means not coded.
        sent: (k,) places in the flattened group of the symbols that are coded, ascending.
    """

    rows: tuple[int, int]
    mask: Tensor
    means: Tensor
    log2_steps: Tensor
    steps: Tensor
    indexes: Tensor
    sent: Tensor


class Driver(Protocol):
    """What the schedule asks of an encoder or a decoder."""

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        """Symbols of z, (n,), coded with the given table rows."""

    def latents(self, group: Group) -> Tensor:
        """Symbols of one group of y, (M, n) float64 integers."""


@dataclass(frozen=True)
class Walk:
    """What a walk of the schedule leaves behind.

    Attributes:
        y_hat: (M, h, w) fixed point, int32.
        checksum: CRC-32 of all symbols of y.
    """

    y_hat: Tensor
    checksum: int


def code_hyper(weights: ImageWeights, grid: Grid, step_z: int, driver: Driver) -> IntArray:
    """Code z: channel by channel, rows then columns. Returns symbols (channels, hz, wz)."""
    channels = weights.config.hyper_channels
    height, width = grid.hyper
    indexes = np.repeat(np.arange(channels) + step_z * channels, height * width)
    return driver.hyper(weights.z_tables, indexes).reshape(channels, height, width)


def symbols_checksum(symbols: IntArray, start: int = 0) -> int:
    """CRC-32 of symbols as little-endian 32-bit integers."""
    return zlib.crc32(np.ascontiguousarray(symbols, "<i4").tobytes(), start)


class Features:
    """Output of h_s for any band of rows, from the symbols of z.

    Kept for all bands of a small picture, for the last one of others.
    """

    def __init__(self, weights: ImageWeights, grid: Grid, z_symbols: IntArray, step_z: int) -> None:
        step = round(2 ** (STEP_Z_CHOICES[step_z] + LATENT_BITS))
        z_hat = torch.from_numpy(z_symbols.astype(np.float64)).to(weights.device)[None] * step
        self._z_hat = z_hat.clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        self._network, self._grid = weights.network, grid
        self._keep = 2 if len(grid.bands()) <= 2 else 1
        self._kept: dict[int, Tensor] = {}

    def band(self, top: int, bottom: int) -> Tensor:
        """Features (1, c, bottom - top, w) of latent rows top..bottom; top is a multiple of 4."""
        if top in self._kept:
            return self._kept[top]
        while len(self._kept) >= self._keep:
            self._kept.pop(next(iter(self._kept)))
        halo = self._network.features_halo
        first = max(top // HYPER_STRIDE - halo, 0)
        last = -(-bottom // HYPER_STRIDE) + halo
        skip = top - first * HYPER_STRIDE
        height = skip + bottom - top
        features = self._network.features(self._z_hat[:, :, first:last], height, self._grid.width)
        self._kept[top] = features[:, :, skip:]
        return self._kept[top]


def log2_steps(weights: ImageWeights, setting: Setting, local: IntArray, beyond: IntArray) -> IntArray:
    """log2 steps (M, n) of positions with these rate points and offsets, (n,). Source: FORMAT.md section 5."""
    points, place = np.unique(local, return_inverse=True)
    gains = np.stack([interpolate_anchors(weights.gain, int(point)) for point in points], axis=1)
    return gains[:, place] + (setting.step_y + beyond)


def _steps(weights: ImageWeights, setting: Setting, field: RateField, mask: Tensor) -> tuple[Tensor, Tensor]:
    """log2 steps and steps of a group, as `Group` has them."""
    if field.uniform:
        local, beyond = field.local[0], field.beyond[0]
    else:
        chosen = mask.cpu().numpy()
        local, beyond = field.local[chosen], field.beyond[chosen]
    log2 = log2_steps(weights, setting, local, beyond)
    octave, part = np.divmod(log2, STEP_UNIT)
    mantissa = weights.power[part].astype(np.float64)
    size = np.ldexp(mantissa, (octave + LATENT_BITS - MANTISSA_BITS).astype(np.int32))
    return torch.from_numpy(log2).to(weights.device), torch.from_numpy(size).to(weights.device)


def dequantise(symbols: Tensor, group: Group) -> Tensor:
    """y_hat = mean + symbol * step, rounded to fixed point: (M, n) int32."""
    y_hat = (symbols * group.steps).add_(0.5).floor_().add_(group.means)
    return y_hat.clamp_(-LATENT_LIMIT, LATENT_LIMIT).to(torch.int32)


def code_latents(
    weights: ImageWeights, grid: Grid, features: Features, setting: Setting, driver: Driver
) -> Walk:
    """Code y in the order that the network visits it."""
    field = setting.field(grid)
    y_hat = torch.zeros(weights.config.M, grid.height, grid.width, dtype=torch.int32, device=weights.device)
    checksum = 0
    for visit in weights.network.visits(grid.bands(), grid.width, weights.device):
        group = _group(weights, features, setting, field, y_hat, visit)
        symbols = driver.latents(group)
        checksum = symbols_checksum(symbols.to(torch.int32).cpu().numpy(), checksum)
        y_hat[:, slice(*visit.rows)][:, visit.mask] = dequantise(symbols, group)
    return Walk(y_hat, checksum)


def _group(
    weights: ImageWeights,
    features: Features,
    setting: Setting,
    field: RateField,
    y_hat: Tensor,
    visit: Visit,
) -> Group:
    """Parameters of a visit's positions, from what has been coded before."""
    rows, mask = visit.rows, visit.mask
    chosen = features.band(*rows)[:, :, mask][:, :, None]
    band = field.part(slice(*rows))
    above = torch.from_numpy(band.local - FIRST_ANCHOR).to(chosen).expand(mask.shape)
    rate = above[mask][None, None, None]
    output = weights.network.predict(visit, chosen, rate, y_hat)
    means, log2_scales = output[0, :, 0].chunk(2)
    log2, steps = _steps(weights, setting, band, mask)
    ratio = (log2_scales / 2 ** (LATENT_BITS - 6)).floor_().sub_(log2)
    width = STEP_UNIT // ROWS_PER_OCTAVE
    row = ratio.add_(width // 2 - LOWEST_LOG2_RATIO * STEP_UNIT).div_(width).floor_()
    indexes = row.clamp_(0, weights.y_tables.rows - 1).to(torch.uint8)
    sent = indexes.flatten().nonzero()[:, 0]
    return Group(rows, mask, means, log2, steps, indexes, sent)


class Receiver:
    """Decoder side of the schedule."""

    def __init__(self, tables: Tables, coder: SymbolDecoder) -> None:
        self._tables, self._coder = tables, coder

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        return self._coder.code(tables, indexes, indexes)

    def latents(self, group: Group) -> Tensor:
        return code_group(self._tables, self._coder, group, torch.zeros_like(group.sent))


def code_group(tables: Tables, coder: SymbolCoder, group: Group, symbols: Tensor) -> Tensor:
    """Pass the sent symbols of a group, (k,), through a coder; returns all, (M, n), the others zero."""
    indexes = group.indexes.flatten()[group.sent].cpu().numpy()
    coded = coder.code(tables, indexes, symbols.to(torch.int32).cpu().numpy())
    result = torch.zeros_like(group.means)
    result.view(-1)[group.sent] = torch.from_numpy(coded).to(result)
    return result
