"""Rate control: find the setting that meets a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nccli.bounds import STEP_Y_LIMIT
from nccli.coding.sender import Encoder, Stream, default_step_z
from nccli.coding.targets import START_POINT, Axis, fit_size, reach_psnr
from nccli.entropy.rate import LAMBDA_MAX, LAMBDA_MIN, RATE_MAX, RATE_MIN, lambda_to_rate
from nccli.entropy.region import STEP_PER_RATE, Region
from nccli.entropy.setting import Setting
from nccli.errors import UsageError
from nccli.networks.entropy_model import EntropyModel

REACH_BELOW = RATE_MIN - STEP_PER_RATE * STEP_Y_LIMIT // 2
REACH_ABOVE = RATE_MAX + STEP_PER_RATE * STEP_Y_LIMIT // 4
"""Ends of the extended axis: beyond the served rates, step_y goes on alone."""


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


def setting_at(weights: EntropyModel, point: int, region: Region | None = None) -> Setting:
    """The setting at a point of the extended rate axis.

    Beyond the ends, step_y overshoots by less than one unit and the rate makes up for it.
    """
    outside = point - min(max(point, RATE_MIN), RATE_MAX)
    step_y = math.copysign(-(-abs(outside) // STEP_PER_RATE), -outside)
    rate = point + round(step_y) * STEP_PER_RATE
    return Setting(rate, round(step_y), default_step_z(weights, rate), region)


def first_setting(weights: EntropyModel, target: Target, region: Region | None = None) -> Setting:
    """Where the search for a target begins; for a lambda, also where it ends.

    Raises:
        UsageError: lambda is out of range.
    """
    if target.size is not None or target.psnr is not None:
        return setting_at(weights, START_POINT, region)
    lmbda = target.lmbda or 0.0
    highest = max(LAMBDA_MAX, weights.entry.lmbda or LAMBDA_MAX)
    if not LAMBDA_MIN <= lmbda <= highest:
        raise UsageError(f"lambda {lmbda:g} is outside {LAMBDA_MIN} .. {highest}")
    return setting_at(weights, lambda_to_rate(lmbda), region)


def code_to_target(
    encoder: Encoder,
    target: Target,
    pack: Callable[[Stream], bytes],
    measure: Callable[[Stream], float],
    region: Region | None = None,
) -> Stream:
    """The picture coded so that it meets `target`.

    Args:
        encoder: of the picture.
        target: what to meet.
        pack: stream -> file, whose size counts.
        measure: stream -> PSNR of the decoded picture.
        region: where it is to be better than elsewhere.

    Raises:
        UsageError: out of range, or out of reach for this picture.
    """
    weights = encoder.weights
    axis = Axis(lambda point: setting_at(weights, point, region), REACH_BELOW, REACH_ABOVE)
    if target.size is not None:
        return fit_size(encoder, axis, target.size, lambda stream: len(pack(stream)))
    if target.psnr is not None:
        return reach_psnr(encoder, axis, target.psnr, measure)
    return encoder.send(first_setting(weights, target, region))
