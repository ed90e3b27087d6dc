from __future__ import annotations

import math

import numpy as np
import pytest

from nccli.entropy.rate import (
    ANCHOR_SPACING,
    FIRST_ANCHOR,
    LAMBDA_MAX,
    LAMBDA_MIN,
    NUM_ANCHORS,
    RATE_MAX,
    RATE_MIN,
    RATE_UNIT,
    lambda_to_rate,
    quality_to_lambda,
    rate_to_lambda,
)


def test_rate_points_come_back() -> None:
    for rate in range(0, 0x10000, 7):
        assert lambda_to_rate(rate_to_lambda(rate)) == rate


@pytest.mark.parametrize("lmbda", np.geomspace(LAMBDA_MIN, LAMBDA_MAX, 25).tolist())
def test_lambda_comes_back_within_half_a_rate_point(lmbda: float) -> None:
    found = rate_to_lambda(lambda_to_rate(lmbda))
    assert abs(math.log2(found / lmbda)) <= 0.5 / RATE_UNIT + 1e-12


def test_known_rate_points() -> None:
    assert lambda_to_rate(2.0**-12) == 0
    assert lambda_to_rate(2.0**-11) == FIRST_ANCHOR == RATE_UNIT
    assert lambda_to_rate(1e-9) == 0
    assert lambda_to_rate(1e9) == 0xFFFF
    assert (lambda_to_rate(0.0005), lambda_to_rate(0.15)) == (RATE_MIN, RATE_MAX)
    assert math.log2(rate_to_lambda(FIRST_ANCHOR + (NUM_ANCHORS - 1) * ANCHOR_SPACING)) == -2.25


def test_quality_spans_the_served_lambdas() -> None:
    assert quality_to_lambda(0) == pytest.approx(LAMBDA_MIN)
    assert quality_to_lambda(100) == pytest.approx(LAMBDA_MAX)
    assert quality_to_lambda(50) == pytest.approx(math.sqrt(LAMBDA_MIN * LAMBDA_MAX))
    for end in (0, 100):
        assert LAMBDA_MIN <= quality_to_lambda(end) <= LAMBDA_MAX
    values = [quality_to_lambda(q) for q in range(101)]
    assert values == sorted(set(values))
