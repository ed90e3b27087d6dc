from __future__ import annotations

import numpy as np
import pytest
import torch

from nccli.entropy.coder import TOTAL, Tables
from nccli.entropy.prior import ScaleMixture, gaussian_likelihood
from nccli.entropy.steps import NUM_ROWS
from nccli.entropy.tables import (
    MAX_REACH,
    MIN_REACH,
    TABLE_REACH,
    TAIL,
    assemble,
    density_tables,
    fitted_tables,
    row_log2_ratios,
)


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


def test_assembled_rows_keep_the_masses() -> None:
    masses = [np.array([0.5, 0.25, 0.25]), np.array([1.0, 0.0, 0.0, 1e-12]), np.full(5000, 1 / 5000)]
    tables = assemble(masses, [0, -1, -2500])
    for row, mass in enumerate(masses):
        found = tables.row(row) / TOTAL
        assert np.abs(found - mass / mass.sum()).max() < 5001 / TOTAL
        assert found.min() > 0
    assert tables.lowest.tolist() == [0, -1, -2500]


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
