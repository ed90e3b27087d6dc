"""The rate axis: lambda, quality and the fixed-point rate point `r` of the file header.

The rate point is log2(lambda) + 12 in units of 1/4096 octave, an unsigned 16-bit integer.
Learned tables hold one row per anchor, evenly spaced in `r`. Standard library only.
"""

from __future__ import annotations

import math

RATE_UNIT = 4096
"""Rate points per octave of lambda."""

NUM_ANCHORS = 6
FIRST_ANCHOR = RATE_UNIT
"""Rate point of the first anchor: log2(lambda) = -11."""
ANCHOR_SPACING = RATE_UNIT * 7 // 4
"""1.75 octaves of lambda between anchors; the last one is at log2(lambda) = -2.25."""

LAMBDA_MIN = 0.0005
LAMBDA_MAX = 0.15
DEFAULT_QUALITY = 50.0


def lambda_to_rate(lmbda: float) -> int:
    """Rate point nearest to `lmbda` (loss = bpp + lambda * 255^2 * MSE, pixels in [0, 1])."""
    return min(max(round((math.log2(lmbda) + 12) * RATE_UNIT), 0), 0xFFFF)


def rate_to_lambda(rate: int) -> float:
    """lambda of a rate point."""
    return float(2.0 ** (rate / RATE_UNIT - 12))


def quality_to_lambda(quality: float) -> float:
    """lambda of a quality 0..100: log-linear between `LAMBDA_MIN` and `LAMBDA_MAX`."""
    return float(LAMBDA_MIN * (LAMBDA_MAX / LAMBDA_MIN) ** (quality / 100))


RATE_MIN = lambda_to_rate(LAMBDA_MIN)
RATE_MAX = lambda_to_rate(LAMBDA_MAX)
