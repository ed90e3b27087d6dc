from __future__ import annotations

import numpy as np
import pytest
import torch

from nccli.entropy.coder import TOTAL, Tables
from nccli.entropy.steps import NUM_ROWS, STEP_Z_CHOICES
from nccli.entropy.tables import MAX_REACH, MIN_REACH, TABLE_REACH, TAIL, row_log2_ratios
from nccli.networks.prior import FactorizedPrior, ScaleMixture, gaussian_likelihood
from nccli.train.publish.fitting import density_tables, fitted_tables, prior_tables

CHANNELS = 7


def assert_symmetric(tables: Tables) -> None:
    tables.check()
    assert tables.rows == NUM_ROWS
    for row, scale in enumerate(2 ** row_log2_ratios()):
        symbols = tables.row(row)[:-1]
        reach = -int(tables.lowest[row])
        assert len(symbols) == 2 * reach + 1
        assert reach == min(max(int(np.ceil(scale * TABLE_REACH)), MIN_REACH), MAX_REACH)
        assert np.abs(symbols - symbols[::-1]).max() <= len(symbols)
        assert symbols[reach] >= symbols.max() - len(symbols)


def test_density_tables_are_the_density() -> None:
    density = ScaleMixture()
    tables = density_tables(density)
    assert_symmetric(tables)
    step = torch.tensor(1.0)
    for row in (0, 20, 45, NUM_ROWS - 1):
        scale = torch.tensor(2.0 ** row_log2_ratios()[row], dtype=torch.float64)
        k = torch.arange(len(tables.row(row)) - 1) + int(tables.lowest[row])
        with torch.no_grad():
            expected = density.likelihood(k.double(), scale, step).numpy()
        assert np.abs(tables.row(row)[:-1] / TOTAL - expected).max() < 1e-4
        assert tables.row(row)[-1] / TOTAL >= 0.9 * TAIL


def counts_of(scales: np.ndarray, symbols: int) -> np.ndarray:
    """What many Gaussian latents of the given scales would be counted as, per row."""
    k = torch.arange(MAX_REACH + 2, dtype=torch.float64)
    rows = []
    for scale in scales:
        mass = gaussian_likelihood(k, torch.tensor(scale), torch.tensor(1.0)).numpy()
        rows.append(symbols * mass * np.where(k == 0, 1, 2))
    return np.array(rows)


@pytest.mark.parametrize("wider", [0.5, 1.0, 1.6])
def test_fitted_tables_follow_the_counts(wider: float) -> None:
    scales = 2 ** row_log2_ratios() * wider
    counts = counts_of(scales, 10**6)
    tables = fitted_tables(counts)
    assert_symmetric(tables)
    for row in range(10, NUM_ROWS - 20, 10):
        folded = counts[row] / counts[row].sum()
        reach = -int(tables.lowest[row])
        found = tables.row(row)[reach:-1] / TOTAL * np.where(np.arange(reach + 1) == 0, 1, 2)
        assert np.abs(found - folded[: reach + 1]).max() < 2e-3


def test_rows_that_were_never_seen_are_still_distributions() -> None:
    assert_symmetric(fitted_tables(np.zeros((NUM_ROWS, MAX_REACH + 2))))


def test_counts_beyond_the_reach_go_to_the_escape() -> None:
    counts = np.zeros((NUM_ROWS, MAX_REACH + 2))
    counts[:, 0], counts[:, -1] = 30_000, 10_000
    tables = fitted_tables(counts)
    for row in range(NUM_ROWS):
        assert tables.row(row)[-1] / TOTAL == pytest.approx(0.25, abs=0.01)


def test_tables_of_z_are_the_priors() -> None:
    torch.manual_seed(4)
    prior = FactorizedPrior(CHANNELS, init_scale=10.0).double().requires_grad_(False)
    for parameter in prior.parameters():
        parameter.add_(0.4 * torch.randn_like(parameter))
    tables = prior_tables(prior)
    assert tables.rows == len(STEP_Z_CHOICES) * CHANNELS
    for row in range(tables.rows):
        step = torch.tensor(2.0 ** STEP_Z_CHOICES[row // CHANNELS], dtype=torch.float64)
        found = tables.row(row)[:-1] / 2**24
        k = torch.arange(len(found), dtype=torch.float64) + int(tables.lowest[row])
        with torch.no_grad():
            mass = prior.likelihood((k * step)[None, None, None].expand(1, CHANNELS, 1, -1), step)
        expected = mass[0, row % CHANNELS, 0].numpy()
        assert np.abs(found - expected).max() < 1e-4
        assert tables.row(row)[-1] / 2**24 >= 0.9 * max(1 - expected.sum(), TAIL)
