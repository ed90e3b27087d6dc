"""Densities and counts into the integer tables of a model, at export."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.entropy.coder import Tables
from nccli.entropy.steps import STEP_Z_CHOICES
from nccli.entropy.tables import (
    MAX_REACH,
    MIN_REACH,
    TABLE_REACH,
    TAIL,
    Z_REACH,
    assemble,
    mirrored,
    row_log2_ratios,
)
from nccli.networks.prior import FactorizedPrior, ScaleMixture, gaussian_likelihood

FIT_RATIOS = 2.0 ** np.arange(-2, 2.51, 0.5)
"""Scales of the fitted mixtures, relative to the row's own."""

FIT_ROUNDS = 60
PRIOR_COUNT = 100.0
"""Weight of what is expected against what was counted, in symbols."""


def density_tables(density: ScaleMixture) -> Tables:
    """Tables of y as the density predicts them."""
    ratios = torch.exp2(density.log2_ratios).double().detach().numpy()
    weights = torch.softmax(density.logits, 0).double().detach().numpy()
    return mirrored([weights @ _components(scale, ratios) for scale in 2 ** row_log2_ratios()])


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
    return mirrored(rows)


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
