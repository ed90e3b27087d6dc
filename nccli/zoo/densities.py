"""Integer tables of the zoo, the same on every machine that makes them.

Probabilities are rounded down to multiples of 2^-40 one by one, from then on all sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.coder import Tables
from nccli.entropy.steps import (
    LATENT_BITS,
    LOWEST_LOG2_RATIO,
    MANTISSA_BITS,
    NUM_ROWS,
    ROWS_PER_OCTAVE,
    STEP_UNIT,
    STEP_Z_CHOICES,
    power_table,
)
from nccli.entropy.tables import MAX_REACH, MIN_REACH, TABLE_REACH, TAIL, Z_REACH, assemble
from nccli.zoo.exact import Floats, erf, sigmoid, softplus, tanh

MASS_UNIT = 2.0**-40

ROOT_HALF = 0.7071067811865476


@dataclass(frozen=True)
class Bottleneck:
    """A factorized prior: a small monotone network per channel that ends in a logistic function.

    Attributes:
        matrices: (channels, c_out, c_in) of each layer, before softplus.
        biases: (channels, c_out, 1).
        factors: (channels, c_out, 1), before tanh, of each layer but the last.
        medians: (channels,) fixed point: what symbol 0 stands for.

    Source: Balle et al. 2018, appendix 6.1.
    """

    matrices: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    factors: tuple[Floats, ...]
    medians: NDArray[np.int64]

    def logits(self, x: Floats) -> Floats:
        """Logits of the cumulative: (channels, n) -> (channels, n)."""
        rows = [x]
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            slopes, mixed = softplus(matrix), []
            for out in range(matrix.shape[1]):
                total = bias[:, out]
                for place, row in enumerate(rows):
                    total = total + slopes[:, out, place, None] * row
                if number < len(self.factors):
                    total = total + tanh(self.factors[number][:, out]) * tanh(total)
                mixed.append(total)
            rows = mixed
        return rows[0]


def prior_tables(prior: Bottleneck) -> Tables:
    """Tables of z: row = step index * channels + channel."""
    k = np.arange(-Z_REACH, Z_REACH + 2, dtype=np.float64)
    medians = prior.medians[:, None] / 2.0**LATENT_BITS
    rows, lowest = [], []
    for log2_step in STEP_Z_CHOICES:
        step = round(2 ** (log2_step + LATENT_BITS)) / 2.0**LATENT_BITS
        edges = prior.logits(medians + (k - 0.5) * step)
        lower, upper = edges[:, :-1], edges[:, 1:]
        # Where both are large a difference of their mirror images keeps its digits.
        sign = np.where(lower + upper > 0, -1.0, 1.0)
        mass = _rounded(np.abs(sigmoid(sign * upper) - sigmoid(sign * lower)))
        for channel in mass:
            kept = np.flatnonzero(channel > TAIL)
            low, high = (int(kept[0]), int(kept[-1])) if len(kept) else (Z_REACH, Z_REACH)
            inside = channel[low : high + 1]
            rows.append(np.append(inside, max(1 - float(inside.sum()), TAIL)))
            lowest.append(low - Z_REACH)
    return assemble(rows, lowest)


def gaussian_tables() -> Tables:
    """Tables of y: a Gaussian of each row's scale."""
    powers, rows, lowest = power_table(), [], []
    for number in range(NUM_ROWS):
        unit = round((LOWEST_LOG2_RATIO + number / ROWS_PER_OCTAVE) * STEP_UNIT)
        octave, part = divmod(unit, STEP_UNIT)
        scale = float(powers[part]) * 2.0 ** (octave - MANTISSA_BITS)
        reach = min(max(int(np.ceil(scale * TABLE_REACH)), MIN_REACH), MAX_REACH)
        places: Floats = np.arange(-reach, reach + 2, dtype=np.float64) - 0.5
        edges = erf(places * (ROOT_HALF / scale)) / 2
        mass = _rounded(edges[1:] - edges[:-1])
        mass = np.minimum(mass, mass[::-1])
        rows.append(np.append(mass, max(1 - float(mass.sum()), TAIL)))
        lowest.append(-reach)
    return assemble(rows, lowest)


def _rounded(mass: Floats) -> Floats:
    """Multiples of 2^-40, none negative."""
    result: Floats = np.floor(np.maximum(mass, 0.0) / MASS_UNIT) * MASS_UNIT
    return result
