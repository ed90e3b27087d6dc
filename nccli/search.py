"""Rate control: find the setting that meets a target. g_a has run; each trial is cheap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nccli.coding import Setting, log2_steps
from nccli.container import STEP_Y_LIMIT
from nccli.encoding import Latents, Stream, default_step_z, price, send
from nccli.errors import UsageError
from nccli.quantize import STEP_UNIT
from nccli.rate import LAMBDA_MAX, LAMBDA_MIN, RATE_MAX, RATE_MIN, RATE_UNIT, lambda_to_rate
from nccli.roi.field import STEP_PER_RATE, Region
from nccli.weights import ImageWeights

REACH_BELOW = RATE_MIN - STEP_PER_RATE * STEP_Y_LIMIT // 2
REACH_ABOVE = RATE_MAX + STEP_PER_RATE * STEP_Y_LIMIT // 4
"""Ends of the extended axis: beyond the served rates, step_y goes on alone."""

ACCEPT = 0.9925
"""Fraction of a size target that ends the search."""

AIM = 0.9965
"""Fraction of a size target that each trial aims at."""

MAX_TRIALS = 32
BISECT_FROM = 8
"""After this many trials the search halves the interval: certain, if slow."""

SAMPLES, KNOTS = 256, 48
"""Latent positions and points of the axis that the first estimate of the size is made from."""

BITS_PER_ESTIMATE, BASE_BYTES = 1.0, 40.0
"""What a real stream takes for each bit of the estimate, and at least, on photographs."""


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


def setting_at(weights: ImageWeights, point: int, region: Region | None = None) -> Setting:
    """The setting at a point of the extended rate axis.

    Beyond the ends, step_y overshoots by less than one unit and the rate makes up for it.
    """
    outside = point - min(max(point, RATE_MIN), RATE_MAX)
    step_y = math.copysign(-(-abs(outside) // STEP_PER_RATE), -outside)
    rate = point + round(step_y) * STEP_PER_RATE
    return Setting(rate, round(step_y), default_step_z(weights, rate), region)


def code_to_target(
    weights: ImageWeights,
    latents: Latents,
    target: Target,
    pack: Callable[[Stream], bytes],
    render: Callable[[Tensor, Setting], float],
    region: Region | None = None,
) -> Stream:
    """The picture coded so that it meets `target`.

    Args:
        weights: model.
        latents: the analysed picture.
        target: what to meet.
        pack: stream -> file, whose size counts.
        render: (y_hat, setting) -> PSNR of the decoded picture.
        region: where it is to be better than elsewhere.

    Raises:
        UsageError: out of range, or out of reach for this picture.
    """
    if target.size is not None:
        return _fit_size(weights, latents, target.size, pack, region)
    if target.psnr is not None:
        return send(weights, latents, _reach_psnr(weights, latents, target.psnr, render, region))
    lmbda = target.lmbda or 0.0
    if not LAMBDA_MIN <= lmbda <= LAMBDA_MAX:
        raise UsageError(f"lambda {lmbda:g} is outside {LAMBDA_MIN} .. {LAMBDA_MAX}")
    return send(weights, latents, setting_at(weights, lambda_to_rate(lmbda), region))


def _fit_size(
    weights: ImageWeights,
    latents: Latents,
    size: int,
    pack: Callable[[Stream], bytes],
    region: Region | None,
) -> Stream:
    """The highest rate whose file is at most `size` bytes.

    A quick estimate gives the shape of log2(bytes) along the axis, trials correct its height. Trials
    are coded for real: that takes no longer than pricing them, and a limit is a limit.
    """
    low, high = REACH_BELOW, REACH_ABOVE
    shape = _Shape(weights, latents, region)
    wanted = math.log2(max(size * AIM, 1))
    point = shape.solve(wanted, low, high)
    best: Stream | None = None
    for trial in range(MAX_TRIALS):
        stream = send(weights, latents, setting_at(weights, point, region))
        bytes_ = len(pack(stream))
        if bytes_ <= size:
            low, best = point, stream
        else:
            high = point
        if ACCEPT * size <= bytes_ <= size or high - low <= 1 or low == REACH_ABOVE:
            break
        shape.correct(point, math.log2(bytes_))
        point = shape.solve(wanted, low, high) if trial < BISECT_FROM else (low + high) // 2
    if best is None:
        raise UsageError(f"{size} bytes are too few for this picture, even at the lowest quality")
    return best


class _Shape:
    """log2(bytes) along the extended rate axis: an estimate from y alone, made right by trials."""

    def __init__(self, weights: ImageWeights, latents: Latents, region: Region | None) -> None:
        stride = max(latents.y[0].numel() // SAMPLES, 1)
        sample = latents.y.flatten(1)[:, ::stride].abs()
        scale = latents.y[0].numel() / sample.shape[1]
        points = np.linspace(REACH_BELOW, REACH_ABOVE, KNOTS)
        heights = []
        for knot in points:
            setting = setting_at(weights, int(knot), region)
            field = setting.field(latents.grid)
            places = (plane.reshape(-1)[::stride] for plane in (field.local, field.beyond))
            steps = torch.from_numpy(np.exp2(log2_steps(weights, setting, *places) / STEP_UNIT))
            bits = torch.log2(1 + (sample / steps.to(sample)) ** 2).sum() / 2 * scale
            heights.append(math.log2(float(bits) / 8 * BITS_PER_ESTIMATE + BASE_BYTES))
        self._points, self._heights = points, np.array(heights)
        self._known: list[tuple[int, float]] = []

    def correct(self, point: int, height: float) -> None:
        """Learn from a trial: the estimate goes through the last two, its shape between them."""
        self._known = [*self._known, (point, height)][-2:]
        errors = [h - float(np.interp(p, self._points, self._heights)) for p, h in self._known]
        if len(errors) == 2 and self._known[0][0] != self._known[1][0]:
            (first, _), (second, _) = self._known
            tilt = (errors[1] - errors[0]) / (second - first)
            self._heights = self._heights + errors[1] + tilt * (self._points - second)
        else:
            self._heights = self._heights + errors[-1]

    def solve(self, wanted: float, low: int, high: int) -> int:
        """The point strictly between low and high where the estimate comes nearest to `wanted`."""
        rising = np.maximum.accumulate(self._heights)
        return round(min(max(float(np.interp(wanted, rising, self._points)), low + 1), high - 1))


def _reach_psnr(
    weights: ImageWeights,
    latents: Latents,
    wanted: float,
    render: Callable[[Tensor, Setting], float],
    region: Region | None,
) -> Setting:
    """The lowest rate whose decoded 8-bit picture has at least `wanted` dB: bisection."""

    def reached(point: int) -> bool:
        setting = setting_at(weights, point, region)
        return render(price(weights, latents, setting)[1], setting) >= wanted

    low, high = REACH_BELOW, RATE_MAX
    if not reached(high):
        low, high = high, REACH_ABOVE
        if not reached(high):
            raise UsageError(f"{wanted:g} dB are out of this model's reach for this picture")
    while high - low > RATE_UNIT // 64:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return setting_at(weights, high, region)
