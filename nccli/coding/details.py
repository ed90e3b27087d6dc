"""Details: what the synthesis misses of a picture, coded after y and given it.

Most pictures have none. Where quality is to be higher than the synthesis can bring, or a picture is of a kind that
it does not know, they say the rest. Source: docs/FORMAT.md section 3.4.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.bounds import MAX_DETAIL_POSITIONS
from nccli.coding.schedule import Features, step_sizes, table_rows
from nccli.container.detail_section import CHANNEL_UNIT, DetailFields, pack_details, unpack_details
from nccli.entropy.coder import IntArray, SymbolDecoder, SymbolEncoder, symbol_bits
from nccli.entropy.grid import Grid
from nccli.entropy.rate import FIRST_ANCHOR, RATE_UNIT
from nccli.entropy.region import RateField
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LATENT_BITS, STEP_UNIT, interpolate_anchors
from nccli.errors import FormatError
from nccli.networks.entropy_model import DetailModel, EntropyModel
from nccli.networks.interface import Context

SYMBOL_LIMIT = 2**15 - 1
"""Largest magnitude of a symbol."""

DEAD_ZONE = 0.3
"""Values of a step are rounded as if they were smaller by this share of it: most details are not worth their bits."""

OVERHEAD_BITS = 8 * 8.0
"""Of a section with its checks and the last word of a stream."""


@dataclass(frozen=True, eq=False)
class Details:
    """Coded details.

    Attributes:
        offset: of their log2 steps, 1/64 octave.
        symbols: (K, h, w) int16 of the first K channels.
        payload: of the section.
    """

    offset: int
    symbols: NDArray[np.int16]
    payload: bytes


@dataclass(frozen=True, eq=False)
class Extra:
    """Details to add to pixels.

    Attributes:
        symbols: (K, h, w) of the first K channels.
        steps: their sizes, (h, w) or (1, 1).
    """

    symbols: NDArray[np.int16]
    steps: NDArray[np.float32]


def extra(weights: EntropyModel, grid: Grid, setting: Setting, details: Details | None) -> Extra | None:
    """What the details of a picture add, for those who make pixels."""
    if details is None:
        return None
    return Extra(details.symbols, detail_steps(weights, grid, setting, details.offset))


@dataclass(frozen=True, eq=False)
class Band:
    """A group of details: all positions of some latent rows.

    Attributes:
        rows: first and past-the-end latent row.
        indexes: (K, n) table rows, uint8; 0 means not coded.
    """

    rows: tuple[int, int]
    indexes: NDArray[np.uint8]

    def part(self, symbols: NDArray[np.int16]) -> NDArray[np.int16]:
        """The band of all symbols (K, h, w)."""
        return symbols[:, slice(*self.rows)]


def log2_steps(model: DetailModel, setting: Setting, offset: int, field: RateField) -> NDArray[np.int64]:
    """log2 steps of all positions of a field, (h, w), or (1, 1) when they are the same; of all channels."""
    local, beyond = field.local, field.beyond
    if field.uniform:
        local, beyond = local[:1, :1], beyond[:1, :1]
    points, place = np.unique(local, return_inverse=True)
    gains = np.array([int(interpolate_anchors(model.gain[:, None], int(point))[0]) for point in points])
    steps: NDArray[np.int64] = gains[place].reshape(local.shape) + (setting.step_y + offset + beyond)
    return steps


def bands(
    weights: EntropyModel,
    grid: Grid,
    features: Features,
    setting: Setting,
    y_hat: NDArray[np.int32],
    channels: int,
    offset: int,
) -> Iterator[Band]:
    """The groups of the details, from the top."""
    model, field = _model(weights), setting.field(grid)
    for top, bottom in grid.bands():
        part = field.part(slice(top, bottom))
        local = part.local[:1, :1] if part.uniform else part.local
        rate = (local - FIRST_ANCHOR).astype(np.float64).reshape(-1)
        scales = model.network.detail_scales(features.band(top, bottom), rate, y_hat[:, top:bottom], channels)
        log2 = log2_steps(model, setting, offset, part).reshape(1, -1)
        yield Band((top, bottom), table_rows(scales, log2, weights.y_tables.rows))


def details_checksum(symbols: NDArray[np.int16], start: int) -> int:
    """CRC-32 of symbols as little-endian 16-bit integers."""
    return zlib.crc32(np.ascontiguousarray(symbols, "<i2").data, start)


def _model(weights: EntropyModel) -> DetailModel:
    if weights.details is None:
        raise FormatError("details of a model that has none", found=weights.entry.name)
    return weights.details


def read_details(
    weights: EntropyModel,
    grid: Grid,
    setting: Setting,
    z_symbols: IntArray,
    y_hat: NDArray[np.int32],
    payload: bytes,
    context: Context | None = None,
) -> Details:
    """Decode a details section, after y.

    Raises:
        FormatError: the payload is not what an encoder with these weights would write.
    """
    if grid.height * grid.width > MAX_DETAIL_POSITIONS:
        found = f"{grid.height} x {grid.width} latents"
        raise FormatError(
            "details of so large a picture", found=found, expected=f"at most {MAX_DETAIL_POSITIONS}"
        )
    fields = unpack_details(payload, _model(weights).channels)
    features = Features(weights, grid, z_symbols, setting.step_z, context)
    coder, checksum = SymbolDecoder(fields.stream), 0
    symbols = np.zeros((fields.channels, grid.height, grid.width), np.int16)
    for band in bands(weights, grid, features, setting, y_hat, fields.channels, fields.offset):
        sent = np.flatnonzero(band.indexes)
        indexes = band.indexes.reshape(-1)[sent]
        coded = coder.code(weights.y_tables, indexes, indexes)
        if len(coded) and np.abs(coded.astype(np.int64)).max() > SYMBOL_LIMIT:
            raise FormatError("a detail is out of range", expected=f"at most {SYMBOL_LIMIT}")
        whole = np.zeros(band.indexes.size, np.int16)
        whole[sent] = coded
        checksum = details_checksum(whole, checksum)
        band.part(symbols)[...] = whole.reshape(fields.channels, -1, grid.width)
    coder.finish()
    if checksum & 0xFFFF != fields.checksum:
        raise FormatError("checksum of the decoded details does not match")
    return Details(fields.offset, symbols, payload)


Missed = Callable[[], NDArray[np.float32]]
"""What the synthesis misses, as details (channels, h, w)."""


def code_details(
    weights: EntropyModel,
    grid: Grid,
    setting: Setting,
    z_symbols: IntArray,
    y_hat: NDArray[np.int32],
    missed: Missed,
    context: Context | None = None,
) -> Details | None:
    """The details of a coded picture that are worth their bits; None if none are."""
    if weights.details is None or grid.height * grid.width > MAX_DETAIL_POSITIONS:
        return None
    model, offset = weights.details, 0
    steps = detail_steps(weights, grid, setting, offset)
    scaled = missed()
    scaled /= steps
    symbols = np.clip(_rounded(scaled), -SYMBOL_LIMIT, SYMBOL_LIMIT).astype(np.int16)
    if not symbols.any():
        return None
    features = Features(weights, grid, z_symbols, setting.step_z, context)
    found = list(bands(weights, grid, features, setting, y_hat, model.channels, offset))
    for band in found:  # what has no row is not sent
        kept = band.indexes.reshape(model.channels, -1, grid.width) > 0
        band.part(symbols)[~kept] = 0
    channels = _worth(weights, setting.field(grid), setting.step_y, found, symbols, scaled, steps)
    if not channels:
        return None
    coder, checksum = SymbolEncoder(), 0
    symbols = np.ascontiguousarray(symbols[:channels])
    for band in found:
        indexes = band.indexes[:channels].reshape(-1)
        whole, sent = band.part(symbols).reshape(-1), np.flatnonzero(indexes)
        coder.code(weights.y_tables, indexes[sent], whole[sent].astype(np.int32))
        checksum = details_checksum(whole, checksum)
    payload = pack_details(DetailFields(channels, offset, checksum & 0xFFFF, coder.finish()))
    return Details(offset, symbols, payload)


def detail_steps(weights: EntropyModel, grid: Grid, setting: Setting, offset: int) -> NDArray[np.float32]:
    """Step of every position in units of the details: (h, w) or (1, 1)."""
    log2 = log2_steps(_model(weights), setting, offset, setting.field(grid))
    sizes: NDArray[np.float32] = (step_sizes(weights, log2) / 2**LATENT_BITS).astype(np.float32)
    return sizes


def _rounded(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest symbols to values that are nearer to zero by the dead zone."""
    size = np.abs(scaled)
    size += np.float32(0.5 - DEAD_ZONE / 2)
    np.floor(size, out=size)
    return np.copysign(size, scaled, out=size)


def _worth(
    weights: EntropyModel,
    field: RateField,
    step_y: int,
    found: list[Band],
    symbols: NDArray[np.int16],
    scaled: NDArray[np.float32],
    steps: NDArray[np.float32],
) -> int:
    """How many channels make bits + lambda * 255^2 * squared error least.

    lambda is that of the position's rate point, and follows the steps where these leave the axis.
    """
    units = len(symbols) // CHANNEL_UNIT
    bits = np.zeros(units)
    for band in found:
        flat, indexes = band.part(symbols).reshape(len(symbols), -1), band.indexes
        channel, place = np.nonzero(indexes)
        cost = symbol_bits(weights.y_tables, indexes[channel, place], flat[channel, place].astype(np.int32))
        bits += np.bincount(channel // CHANNEL_UNIT, cost, minlength=units)
    log2_lambda = field.local / RATE_UNIT - 12 - (field.beyond + step_y) * (2 / STEP_UNIT)
    value = (steps * steps * np.exp2(log2_lambda)).astype(np.float32)
    gained = (scaled * scaled - np.square(scaled - symbols)) * value
    worth = _model(weights).pixel_weight * gained.reshape(units, -1).sum(1, dtype=np.float64)
    total = np.cumsum(worth - bits)
    best = int(np.argmax(total))
    return (best + 1) * CHANNEL_UNIT if total[best] > OVERHEAD_BITS else 0
