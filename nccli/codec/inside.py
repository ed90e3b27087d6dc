"""How good a picture is inside its region of interest and outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.coding.bits import PositionMap
from nccli.entropy.grid import LATENT_STRIDE, Grid
from nccli.entropy.region import Region
from nccli.media.metrics import IDENTICAL_PSNR, psnr
from nccli.media.picture import Pixels


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
