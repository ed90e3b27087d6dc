"""Probabilities into integer frequency tables. Never used when coding a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.coder import TOTAL, Tables
from nccli.entropy.steps import LOWEST_LOG2_RATIO, NUM_ROWS, ROWS_PER_OCTAVE

TAIL = 2.0**-18
"""Probability mass that a row leaves to its escape at least."""

TABLE_REACH = 12.0
"""Largest symbol of a row of y, in scales; beyond is escaped. Real latents have long tails."""

MIN_REACH = 5
MAX_REACH = 1500

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
    return LOWEST_LOG2_RATIO + np.arange(NUM_ROWS) / ROWS_PER_OCTAVE


def mirrored(rows: list[NDArray[np.float64]]) -> Tables:
    """Masses of magnitudes -> symmetric tables with an escape for what is beyond."""
    full, lowest = [], []
    for row in rows:
        half = row[1:] / 2
        escape = max(1 - float(row.sum()), TAIL)
        full.append(np.concatenate([half[::-1], row[:1], half, [escape]]))
        lowest.append(-len(half))
    return assemble(full, lowest)
