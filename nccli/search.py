"""Rate control: find the setting that meets a target. g_a has run; each trial is cheap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nccli.coding import Setting
from nccli.container import STEP_Y_LIMIT
from nccli.encoding import Latents, Stream, default_step_z, price, send
from nccli.errors import UsageError
from nccli.quantize import STEP_UNIT
from nccli.rate import LAMBDA_MAX, LAMBDA_MIN, RATE_MAX, RATE_MIN, RATE_UNIT, lambda_to_rate
from nccli.weights import ImageWeights

UNITS_PER_STEP = 2 * RATE_UNIT // STEP_UNIT
"""Rate points per 1/64 octave of step: the natural step follows lambda^-1/2."""

REACH_BELOW = RATE_MIN - UNITS_PER_STEP * STEP_Y_LIMIT // 2
REACH_ABOVE = RATE_MAX + UNITS_PER_STEP * STEP_Y_LIMIT // 4
"""Ends of the extended axis: beyond the served rates, step_y goes on alone."""

ACCEPT = 0.9925
"""Fraction of a size target that ends the search."""

AIM = 0.9965
"""Fraction of a size target that each trial aims at."""

MAX_TRIALS = 24
FIRST_SLOPE = 0.5
"""log2(bytes) per octave of lambda, a photograph's."""


@dataclass(frozen=True)
class Target:
    """What decides the rate; exactly one is set.

    Attributes:
        lmbda: trade-off of loss = bpp + lambda * 255^2 * MSE, 0.0005 .. 0.15.
        size: largest file size in bytes.
        psnr: smallest PSNR in dB.
    """

    lmbda: float | None = None
    size: int | None = None
    psnr: float | None = None


def setting_at(weights: ImageWeights, point: int) -> Setting:
    """The setting at a point of the extended rate axis."""
    rate = min(max(point, RATE_MIN), RATE_MAX)
    step_y = -round((point - rate) / UNITS_PER_STEP)
    return Setting(rate, step_y, default_step_z(weights, rate))


def find_setting(
    weights: ImageWeights,
    latents: Latents,
    target: Target,
    pack: Callable[[Stream], bytes],
    render: Callable[[Tensor, int], float],
) -> Setting:
    """The setting that meets `target`.

    Args:
        weights: model.
        latents: the analysed picture.
        target: what to meet.
        pack: stream -> file, whose size counts.
        render: (y_hat, rate) -> PSNR of the decoded picture.

    Raises:
        UsageError: out of range, or out of reach for this picture.
    """
    if target.size is not None:
        return _fit_size(weights, latents, target.size, pack)
    if target.psnr is not None:
        return _reach_psnr(weights, latents, target.psnr, render)
    lmbda = target.lmbda or 0.0
    if not LAMBDA_MIN <= lmbda <= LAMBDA_MAX:
        raise UsageError(f"lambda {lmbda:g} is outside {LAMBDA_MIN} .. {LAMBDA_MAX}")
    return setting_at(weights, lambda_to_rate(lmbda))


def _fit_size(weights: ImageWeights, latents: Latents, size: int, pack: Callable[[Stream], bytes]) -> Setting:
    """The highest rate whose file is at most `size` bytes: secant steps on log2(bytes).

    Trials are coded for real: that takes no longer than pricing them, and a limit is a limit.
    """
    low, high = REACH_BELOW, REACH_ABOVE
    point = lambda_to_rate(0.01)
    best: Setting | None = None
    known: list[tuple[int, float]] = []
    for _ in range(MAX_TRIALS):
        setting = setting_at(weights, point)
        bytes_ = len(pack(send(weights, latents, setting)))
        known.append((point, math.log2(bytes_)))
        if bytes_ <= size:
            low, best = point, setting
        else:
            high = point
        if ACCEPT * size <= bytes_ <= size or high - low <= 1 or low == REACH_ABOVE:
            break
        point = _next_point(known, math.log2(max(size * AIM, 1)), low, high)
    if best is None:
        raise UsageError(f"{size} bytes are too few for this picture, even at the lowest quality")
    return best


def _next_point(known: list[tuple[int, float]], wanted: float, low: int, high: int) -> int:
    """Where the line through the two trials nearest to the target meets it, inside (low, high)."""
    near = sorted(known, key=lambda item: abs(item[1] - wanted))[:2]
    slope = FIRST_SLOPE / RATE_UNIT
    if len(near) == 2 and near[0][0] != near[1][0]:
        slope = (near[0][1] - near[1][1]) / (near[0][0] - near[1][0])
    if slope <= 0:
        return (low + high) // 2
    guess = near[0][0] + (wanted - near[0][1]) / slope
    if not low < guess < high and low > REACH_BELOW and high < REACH_ABOVE:
        return (low + high) // 2
    return round(min(max(guess, low + 1), high - 1))


def _reach_psnr(
    weights: ImageWeights, latents: Latents, wanted: float, render: Callable[[Tensor, int], float]
) -> Setting:
    """The lowest rate whose decoded 8-bit picture has at least `wanted` dB: bisection."""

    def reached(point: int) -> bool:
        setting = setting_at(weights, point)
        return render(price(weights, latents, setting)[1], setting.rate) >= wanted

    low, high = REACH_BELOW, RATE_MAX
    if not reached(high):
        low, high = high, REACH_ABOVE
        if not reached(high):
            raise UsageError(f"{wanted:g} dB are out of this model's reach for this picture")
    while high - low > RATE_UNIT // 64:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return setting_at(weights, high)
