"""Rates that crops are trained at."""

from __future__ import annotations

import math

import pytest
import torch

from nccli.train.image.loss import SERVED_LOG2_LAMBDA, random_log2_lambda

LOW, HIGH = SERVED_LOG2_LAMBDA


@pytest.mark.parametrize("ceiling", [-5.0, LOW, HIGH, math.inf])
def test_random_rates_keep_ceilings(ceiling: float) -> None:
    torch.manual_seed(1)
    drawn = random_log2_lambda(torch.full((20_000,), ceiling))
    end = min(ceiling, HIGH)
    assert float(drawn.min()) >= LOW - 1e-4
    assert float(drawn.max()) <= end + 1e-4
    quarters = torch.histc(drawn, 4, LOW, end) / len(drawn) if end > LOW else torch.full((4,), 0.25)
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), rtol=0, atol=0.02)


def test_each_crop_keeps_its_own_ceiling() -> None:
    torch.manual_seed(1)
    ceiling = torch.tensor([-6.0, math.inf]).repeat(5000)
    low, free = random_log2_lambda(ceiling).view(-1, 2).unbind(1)
    assert float(low.max()) <= -6
    assert float((free > -6).float().mean()) == pytest.approx((HIGH + 6) / (HIGH - LOW), abs=0.03)
