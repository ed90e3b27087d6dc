"""Build the integer frequency tables at export. Never used when coding a file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.entropy import TOTAL, Tables
from nccli.prior import FactorizedPrior, gaussian_likelihood
from nccli.quantize import HIGHEST_LOG2_RATIO, LOWEST_LOG2_RATIO, ROWS_PER_OCTAVE, STEP_Z_CHOICES

TAIL = 2.0**-18
"""Probability mass that a row leaves to its escape at least."""

Z_REACH = 127
"""Symbols of z beyond +-127 are escaped."""


def _integer_row(mass: NDArray[np.float64]) -> NDArray[np.int32]:
    """Masses (escape last) -> frequencies >= 1 that sum to 2^24."""
    free = TOTAL - len(mass)
    row: NDArray[np.int64] = np.floor(mass / mass.sum() * free).astype(np.int64) + 1
    row[np.argmax(row)] += TOTAL - row.sum()
    return row.astype(np.int32)


def assemble(rows: list[NDArray[np.float64]], lowest: list[int]) -> Tables:
    """Tables from per-row masses, escape last."""
    integer = [_integer_row(row) for row in rows]
    starts = np.cumsum([0, *(len(row) for row in integer)])
    tables = Tables(np.concatenate(integer), starts.astype(np.int32), np.array(lowest, np.int32))
    tables.check()
    return tables


def row_log2_ratios() -> NDArray[np.float64]:
    """log2(scale / step) of each row of the y tables."""
    count = round((HIGHEST_LOG2_RATIO - LOWEST_LOG2_RATIO) * ROWS_PER_OCTAVE) + 1
    return LOWEST_LOG2_RATIO + np.arange(count) / ROWS_PER_OCTAVE


def gaussian_rows() -> tuple[list[NDArray[np.float64]], list[int]]:
    """Masses of a zero-mean Gaussian on the integers for every row, escape last."""
    rows, lowest = [], []
    for log2_ratio in row_log2_ratios():
        scale = torch.tensor(2.0**log2_ratio, dtype=torch.float64)
        reach = max(int(np.ceil(float(scale) * 4.7)), 2)
        k = torch.arange(-reach, reach + 1, dtype=torch.float64)
        mass = gaussian_likelihood(k, scale, torch.tensor(1.0)).numpy()
        rows.append(np.append(mass, max(1 - mass.sum(), TAIL)))
        lowest.append(-reach)
    return rows, lowest


@torch.no_grad()
def prior_tables(prior: FactorizedPrior) -> Tables:
    """Tables of z: row = step index * channels + channel."""
    prior = prior.double().cpu()
    channels = len(prior.matrices[0])
    k = torch.arange(-Z_REACH, Z_REACH + 1, dtype=torch.float64)
    rows, lowest = [], []
    for log2_step in STEP_Z_CHOICES:
        step = torch.tensor(2.0**log2_step, dtype=torch.float64)
        points = (k * step)[None, None, None].expand(1, channels, 1, -1)
        mass = prior.likelihood(points, step)[0, :, 0].numpy()
        for channel in mass:
            kept = np.flatnonzero(channel > TAIL)
            low, high = int(kept[0]), int(kept[-1])
            inside = channel[low : high + 1]
            rows.append(np.append(inside, max(1 - inside.sum(), TAIL)))
            lowest.append(low - Z_REACH)
    return assemble(rows, lowest)
