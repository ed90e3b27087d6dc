"""Build the integer frequency tables at export. Never used when coding a file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.entropy.coder import TOTAL, Tables
from nccli.entropy.prior import FactorizedPrior, ScaleMixture, gaussian_likelihood
from nccli.entropy.steps import LOWEST_LOG2_RATIO, NUM_ROWS, ROWS_PER_OCTAVE, STEP_Z_CHOICES

TAIL = 2.0**-18
"""Probability mass that a row leaves to its escape at least."""

TABLE_REACH = 12.0
"""Largest symbol of a row of y, in scales; beyond is escaped. Real latents have long tails."""

MIN_REACH = 5
MAX_REACH = 1500

FIT_RATIOS = 2.0 ** np.arange(-2, 2.51, 0.5)
"""Scales of the fitted mixtures, relative to the row's own."""

FIT_ROUNDS = 60
PRIOR_COUNT = 100.0
"""Weight of what is expected against what was counted, in symbols."""

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


def density_tables(density: ScaleMixture) -> Tables:
    """Tables of y as the density predicts them."""
    ratios = torch.exp2(density.log2_ratios).double().detach().numpy()
    weights = torch.softmax(density.logits, 0).double().detach().numpy()
    return _mirrored([weights @ _components(scale, ratios) for scale in 2 ** row_log2_ratios()])


def fitted_tables(counts: NDArray[np.float64]) -> Tables:
    """Tables of y fitted to how often each symbol occurred in each row.

    Every row is a mixture of Gaussians around its own scale, fitted by expectation-maximisation
    with the row before it as prior, then corrected towards the counts where there are many.

    Args:
        counts: (rows, MAX_REACH + 2) occurrences of the magnitudes 0..MAX_REACH, then of all larger ones.
    """
    weights = np.full(len(FIT_RATIOS), 1 / len(FIT_RATIOS))
    rows = []
    for scale, seen in zip(2 ** row_log2_ratios(), counts, strict=True):
        parts = _components(scale, FIT_RATIOS)
        folded = np.zeros(parts.shape[1])
        size = min(len(folded), len(seen))
        folded[:size] = seen[:size]
        weights = _fit_weights(parts, folded, weights)
        mass = weights @ parts
        rows.append((folded + PRIOR_COUNT * mass) / (seen.sum() + PRIOR_COUNT))
    return _mirrored(rows)


def _components(scale: float, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """(ratios, reach + 1) masses of the magnitudes 0..reach under Gaussians of scale * ratio."""
    reach = min(max(int(np.ceil(scale * TABLE_REACH)), MIN_REACH), MAX_REACH)
    k = torch.arange(0, reach + 1, dtype=torch.float64)
    scales = torch.from_numpy(scale * ratios)[:, None]
    mass: NDArray[np.float64] = gaussian_likelihood(k, scales, torch.tensor(1.0)).numpy()
    mass[:, 1:] *= 2
    return mass


def _fit_weights(
    parts: NDArray[np.float64], folded: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mixture weights of most likelihood for the counts, drawn towards `prior`."""
    weights = prior
    for _ in range(FIT_ROUNDS):
        joint = weights[:, None] * parts
        share = joint / np.maximum(joint.sum(0), 1e-300)
        weights = share @ folded + PRIOR_COUNT * prior
        weights = weights / weights.sum()
    return weights


def _mirrored(rows: list[NDArray[np.float64]]) -> Tables:
    """Masses of magnitudes -> symmetric tables with an escape for what is beyond."""
    full, lowest = [], []
    for row in rows:
        half = row[1:] / 2
        escape = max(1 - float(row.sum()), TAIL)
        full.append(np.concatenate([half[::-1], row[:1], half, [escape]]))
        lowest.append(-len(half))
    return assemble(full, lowest)


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
