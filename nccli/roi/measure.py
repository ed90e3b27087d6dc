"""Where the bits of a picture went, and how good it is inside its region and outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.coding import (
    CHECKS_BYTES,
    Driver,
    Features,
    Grid,
    Group,
    Receiver,
    Setting,
    code_hyper,
    code_latents,
)
from nccli.entropy import IntArray, SymbolDecoder, Tables, symbol_bits
from nccli.metrics import IDENTICAL_PSNR, psnr
from nccli.model import HYPER_STRIDE, LATENT_STRIDE
from nccli.picture import Pixels
from nccli.roi.field import Region
from nccli.weights import ImageWeights

PositionMap = NDArray[np.float64]
"""A number for every latent position, (h, w)."""


@dataclass(frozen=True)
class RoiReport:
    """What a region of interest came to.

    Attributes:
        psnr_roi: dB inside, where the file's mask is at least half on.
        psnr_background: dB everywhere else.
        roi_bytes: bytes spent on what is inside.
    """

    psnr_roi: float
    psnr_background: float
    roi_bytes: int


class Meter:
    """A driver that notes, for another one, what every latent position costs.

    Attributes:
        bits: (h, w); what z costs is shared evenly by the positions under it.
    """

    def __init__(self, driver: Driver, tables: Tables, grid: Grid) -> None:
        self._driver, self._tables, self._grid = driver, tables, grid
        self.bits: PositionMap = np.zeros((grid.height, grid.width))

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        symbols = self._driver.hyper(tables, indexes)
        each = symbol_bits(tables, indexes, symbols).reshape(-1, *self._grid.hyper).sum(0)
        rows, columns = (np.arange(side) // HYPER_STRIDE for side in self.bits.shape)
        self.bits += (each / np.outer(np.bincount(rows), np.bincount(columns)))[rows][:, columns]
        return symbols

    def latents(self, group: Group) -> Tensor:
        symbols = self._driver.latents(group)
        indexes = group.indexes.flatten()[group.sent].cpu().numpy()
        values = symbols.flatten()[group.sent].to(torch.int64).cpu().numpy()
        count = group.indexes.shape[1]
        cost = symbol_bits(self._tables, indexes, values)
        each = np.bincount(group.sent.cpu().numpy() % count, cost, count)
        self.bits[slice(*group.rows)][group.mask.cpu().numpy()] += each
        return symbols


@torch.inference_mode()
def bits_map(weights: ImageWeights, grid: Grid, setting: Setting, payload: bytes) -> PositionMap:
    """Bits of every latent position in the payload of a latents section.

    Raises:
        FormatError: the payload is damaged.
    """
    coder = SymbolDecoder(payload[CHECKS_BYTES:])
    meter = Meter(Receiver(weights.y_tables, coder), weights.y_tables, grid)
    z_symbols = code_hyper(weights, grid, setting.step_z, meter)
    code_latents(weights, grid, Features(weights, grid, z_symbols, setting.step_z), setting, meter)
    coder.finish()
    return meter.bits


def _errors(x: Pixels, x_hat: Pixels) -> tuple[PositionMap, PositionMap]:
    """Sum of squared differences and number of samples of every latent position."""
    height, width, channels = x.shape
    grid = Grid.of(height, width)
    sums = np.zeros((grid.height, grid.width))
    starts = np.arange(grid.width) * LATENT_STRIDE
    for row in range(grid.height):
        place = slice(row * LATENT_STRIDE, (row + 1) * LATENT_STRIDE)
        difference = x[place].astype(np.float64) - x_hat[place]
        sums[row] = np.add.reduceat(np.square(difference).sum((0, 2)), starts)
    heights, widths = (
        np.minimum(side - np.arange(0, side, LATENT_STRIDE), LATENT_STRIDE) for side in (height, width)
    )
    return sums, np.outer(heights, widths) * float(channels)


def inside_psnr(x: Pixels, x_hat: Pixels, region: Region | None) -> tuple[float, float]:
    """PSNR in dB inside a region, and outside; where one of the two is empty, both are of the whole."""
    sums, counts = _errors(x, x_hat)
    inside = np.ones(sums.shape, bool) if region is None else region.inside(*sums.shape)
    if inside.all() or not inside.any():
        return psnr(x, x_hat), psnr(x, x_hat)
    peak = float(np.iinfo(x.dtype).max)

    def decibel(chosen: NDArray[np.bool_]) -> float:
        total = float(sums[chosen].sum())
        return float(10 * np.log10(peak**2 * counts[chosen].sum() / total)) if total else IDENTICAL_PSNR

    return decibel(inside), decibel(~inside)


def roi_report(region: Region, bits: PositionMap, x: Pixels, x_hat: Pixels) -> RoiReport:
    """The report of a region: a picture and what a decoder makes of it."""
    spent = int(np.ceil(bits[region.inside(*bits.shape)].sum() / 8))
    inside, outside = inside_psnr(x, x_hat, region)
    return RoiReport(inside, outside, spent)
