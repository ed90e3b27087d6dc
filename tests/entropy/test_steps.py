from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from nccli.entropy.rate import ANCHOR_SPACING, FIRST_ANCHOR, NUM_ANCHORS, rate_to_lambda
from nccli.entropy.steps import (
    HIGHEST_LOG2_RATIO,
    LOWEST_LOG2_RATIO,
    MANTISSA_BITS,
    ROWS_PER_OCTAVE,
    STEP_Z_CHOICES,
    interpolate_anchors,
    power_table,
    step_z_index,
)
from nccli.networks.anchors import anchor_weights
from nccli.networks.weights import ImageWeights
from nccli.train.image.proxies import noisy, straight_through

ENDS = (FIRST_ANCHOR, FIRST_ANCHOR + (NUM_ANCHORS - 1) * ANCHOR_SPACING)


@pytest.fixture
def anchors() -> np.ndarray:
    """Falling, rising and mixed channels."""
    rng = np.random.default_rng(2)
    mixed = rng.integers(-500, 500, (NUM_ANCHORS, 6))
    return np.concatenate([-np.sort(-mixed, axis=0), np.sort(mixed, axis=0), mixed], axis=1)


def test_interpolation_is_exact_at_the_anchors(anchors: np.ndarray) -> None:
    for i, row in enumerate(anchors):
        assert np.array_equal(interpolate_anchors(anchors, FIRST_ANCHOR + i * ANCHOR_SPACING), row)


def test_interpolation_is_constant_beyond_the_ends(anchors: np.ndarray) -> None:
    for rate in (0, FIRST_ANCHOR - 1):
        assert np.array_equal(interpolate_anchors(anchors, rate), anchors[0])
    for rate in (ENDS[1] + 1, 0xFFFF):
        assert np.array_equal(interpolate_anchors(anchors, rate), anchors[-1])


def test_interpolation_is_monotone_where_the_anchors_are(anchors: np.ndarray) -> None:
    table = np.array([interpolate_anchors(anchors, rate) for rate in range(*ENDS, 101)])
    assert table.dtype == np.int64
    assert (np.diff(table[:, :6], axis=0) <= 0).all()
    assert (np.diff(table[:, 6:12], axis=0) >= 0).all()


def test_interpolation_is_the_exact_line_rounded_down(anchors: np.ndarray) -> None:
    for rate in np.random.default_rng(1).integers(*ENDS, 100).tolist():
        low, part = divmod(rate - FIRST_ANCHOR, ANCHOR_SPACING)
        share = Fraction(part, ANCHOR_SPACING)
        exact = [
            int(a) * (1 - share) + int(b) * share for a, b in zip(anchors[low], anchors[low + 1], strict=True)
        ]
        assert interpolate_anchors(anchors, rate).tolist() == [value.__floor__() for value in exact]


def test_interpolation_rounds_down_next_to_an_anchor() -> None:
    values = np.repeat(np.array([[0, 0], [1, -1]]), [1, NUM_ANCHORS - 1], axis=0)
    assert interpolate_anchors(values, FIRST_ANCHOR + ANCHOR_SPACING - 1).tolist() == [0, -1]
    assert interpolate_anchors(values, FIRST_ANCHOR + 1).tolist() == [0, -1]


def test_anchor_weights_are_the_same_line() -> None:
    rates = torch.linspace(0, 0xFFFF, 200, dtype=torch.float64).round()
    log2_lambda = torch.tensor([float(np.log2(rate_to_lambda(int(r)))) for r in rates], dtype=torch.float64)
    weights = anchor_weights(log2_lambda[:, None, None])[..., 0, 0]
    assert torch.allclose(weights.sum(1), torch.ones(200, dtype=torch.float64))
    assert ((weights > 0).sum(1) <= 2).all()
    values = np.arange(NUM_ANCHORS)[:, None] * 10_000
    exact = torch.tensor([int(interpolate_anchors(values, int(r))[0]) for r in rates])
    assert (weights @ torch.from_numpy(values[:, 0]).double() - exact).abs().max() <= 1


def test_power_table_is_rounded_exactly() -> None:
    for i, mantissa in enumerate(power_table().tolist()):
        below, above = (Fraction(2 * mantissa + side, 2 ** (MANTISSA_BITS + 1)) ** 64 for side in (-1, 1))
        assert below <= 2**i <= above


def test_shipped_weights_hold_the_power_table(weights: ImageWeights) -> None:
    assert np.array_equal(weights.power, power_table())


def test_shipped_table_rows_grow_wider(weights: ImageWeights) -> None:
    tables = weights.y_tables
    assert tables.rows == round((HIGHEST_LOG2_RATIO - LOWEST_LOG2_RATIO) * ROWS_PER_OCTAVE) + 1
    spreads = []
    for row in range(ROWS_PER_OCTAVE, tables.rows, ROWS_PER_OCTAVE):
        mass = tables.row(row)[:-1] / tables.row(row)[:-1].sum()
        symbols = np.arange(len(mass)) + tables.lowest[row]
        spreads.append(float(np.sqrt((mass * symbols**2).sum())))
    for narrow, wide in pairwise(spreads):
        assert 1.2 * narrow < wide


def test_step_z_index_is_the_nearest_choice() -> None:
    for index, choice in enumerate(STEP_Z_CHOICES):
        for change in (-0.2, 0.0, 0.2):
            assert step_z_index(choice + change) == index
    assert step_z_index(-9) == 0
    assert step_z_index(9) == len(STEP_Z_CHOICES) - 1


def test_training_proxies() -> None:
    torch.manual_seed(0)
    x = torch.randn(10_000, requires_grad=True)
    step = torch.tensor(0.5)
    rounded = straight_through(x, step)
    assert torch.equal((rounded / step).round() * step, rounded)
    assert float((rounded - x).detach().abs().max()) <= 0.25 + 1e-6
    (gradient,) = torch.autograd.grad(rounded.sum(), x)
    assert torch.equal(gradient, torch.ones_like(x))
    spread = (noisy(x, step) - x).detach()
    assert -0.25 <= float(spread.min()) < -0.24
    assert 0.24 < float(spread.max()) <= 0.25
    assert abs(float(spread.mean())) < 0.01
