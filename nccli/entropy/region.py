"""The region of interest as the decoder knows it: importance of every latent position.

Outside the region the rate point falls, and with it steps, predictions and the gates of g_s follow
the picture's own axis to a lower rate: one decoder, any mask. Source: docs/FORMAT.md section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.bounds import DROPS_PER_OCTAVE
from nccli.entropy.grid import LATENT_STRIDE
from nccli.entropy.rate import FIRST_ANCHOR, RATE_UNIT
from nccli.entropy.steps import STEP_UNIT

FULL = 255
"""Importance inside the region."""

DROP_UNIT = RATE_UNIT // DROPS_PER_OCTAVE
"""Rate points per unit of drop."""

STEP_PER_RATE = 2 * RATE_UNIT // STEP_UNIT
"""Rate points per 1/64 octave of step: the natural step follows lambda^-1/2."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Region:
    """A region of interest, in the form that files hold.

    Attributes:
        levels: (rows, columns) of 0 .. top, one per cell; `top` is full importance.
        top: highest level, 1 .. 15.
        cell_log2: a cell is 2^cell_log2 latent positions wide and high.
        feather: latent positions over which importance falls off outside the region, 0 .. 7.
        drop: fall of lambda where importance is zero, 1/64 octave, 1 .. 1024.
    """

    levels: NDArray[np.uint8]
    top: int
    cell_log2: int
    feather: int
    drop: int

    def importance(self, height: int, width: int) -> Integers:
        """0 .. 255 at every latent position, (height, width)."""
        cells = self.levels.astype(np.int64) * FULL // self.top
        side = 1 << self.cell_log2
        sharp = cells.repeat(side, 0).repeat(side, 1)[:height, :width]
        soft = sharp
        for _ in range(self.feather):
            soft = np.maximum(sharp, _blurred(soft))
        return soft

    def inside(self, height: int, width: int) -> NDArray[np.bool_]:
        """Latent positions whose level is at least half of the highest, (height, width)."""
        side = 1 << self.cell_log2
        chosen: NDArray[np.bool_] = 2 * self.levels.astype(np.int64) >= self.top
        return chosen.repeat(side, 0).repeat(side, 1)[:height, :width]

    def weights(self, height: int, width: int) -> NDArray[np.float32]:
        """What the error of every pixel counts, 1 where importance is full: (height, width) of pixels."""
        grid = -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)
        each: NDArray[np.float32] = np.exp2(self.drops(*grid) / -RATE_UNIT).astype(np.float32)
        return each.repeat(LATENT_STRIDE, 0)[:height].repeat(LATENT_STRIDE, 1)[:, :width]

    def drops(self, height: int, width: int) -> Integers:
        """Rate points below the picture's at every latent position, (height, width)."""
        return (FULL - self.importance(height, width)) * (self.drop * DROP_UNIT) // FULL


def cells_of(height: int, width: int, cell_log2: int) -> tuple[int, int]:
    """Rows and columns of cells that cover this many latent positions."""
    side = 1 << cell_log2
    return -(-height // side), -(-width // side)


def _blurred(x: Integers) -> Integers:
    """Mean of every position and its eight neighbours, edges repeated, rounded down."""
    padded = np.pad(x, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total: Integers = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total // 9


@dataclass(frozen=True, eq=False)
class RateField:
    """Where on the rate axis every latent position is coded.

    Attributes:
        local: rate points, (h, w), or (1, 1) when all are the same.
        beyond: 1/64 octaves that steps grow by where a drop leaves the axis, likewise.
    """

    local: Integers
    beyond: Integers

    @classmethod
    def of(cls, rate: int, region: Region | None, height: int, width: int) -> RateField:
        """The field of a picture of this many latent positions."""
        drops = np.zeros((1, 1), np.int64) if region is None else region.drops(height, width)
        wanted = rate - drops
        local = np.maximum(wanted, min(rate, FIRST_ANCHOR))
        return cls(local, (local - wanted) // STEP_PER_RATE)

    @property
    def uniform(self) -> bool:
        """All positions are the same."""
        return self.local.shape == (1, 1)

    def part(self, rows: slice, columns: slice = slice(None)) -> RateField:
        """The field of a rectangle of latent positions."""
        if self.uniform:
            return self
        return RateField(self.local[rows, columns], self.beyond[rows, columns])
