"""Where a refinement starts: steps of y and z, and what steers lambda."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from nccli.codec.refining import RefineOptions
from nccli.coding.analysis import Analyser
from nccli.coding.search import REACH_ABOVE, REACH_BELOW, Target, setting_at
from nccli.coding.sender import Latents
from nccli.entropy.rate import RATE_UNIT, lambda_to_rate, rate_to_lambda
from nccli.entropy.region import STEP_PER_RATE
from nccli.entropy.setting import Setting
from nccli.entropy.steps import STEP_Z_CHOICES
from nccli.media.picture import Pixels
from nccli.networks.weights import ImageWeights
from nccli.refinement.descent.aims import Control, Fixed, Quality, Size
from nccli.refinement.descent.judge import Judge, Task
from nccli.refinement.descent.problem import Problem

SAME_OCTAVES = 0.05
"""Difference of lambda that the optimisation is left to deal with."""


def lambda_of(setting: Setting) -> float:
    """lambda of a setting, also beyond the ends of the rate axis, where step_y goes on alone."""
    return float(rate_to_lambda(setting.rate) * 2.0 ** (-setting.step_y * STEP_PER_RATE / RATE_UNIT))


def rebased(setting: Setting, options: RefineOptions, lmbda: float) -> Setting:
    """The start's setting for an objective with this lambda.

    The rate point stays, or goes to `base_lambda`; the steps make up for what lambda differs from it.
    """
    if options.base_lambda is not None:
        setting = replace(setting, rate=lambda_to_rate(options.base_lambda), step_y=0)
    if options.naive:
        return replace(setting, step_y=0, step_z=STEP_Z_CHOICES.index(0.0))
    return setting if _serves(setting, lmbda) else shifted(setting, lmbda)


def starts(
    weights: ImageWeights,
    pixels: Pixels,
    latents: Latents,
    setting: Setting,
    options: RefineOptions,
    lmbda: float,
) -> Iterator[tuple[Latents, Setting]]:
    """Where a refinement may start: one place, unless the latents were coded for another lambda.

    They may then stay at their rate point with other steps, or as they are, which suits what an earlier
    refinement left; or move to the rate point of lambda; and the picture may be analysed again, since
    latents that were stored coarsely lack what a larger lambda wants.
    """
    first = rebased(setting, options, lmbda)
    if first.rate != setting.rate:
        latents = _analysed(weights, pixels, first)
    yield latents, first
    if options.base_lambda is not None or options.naive or _serves(setting, lmbda):
        return
    yield latents, setting
    point = min(max(lambda_to_rate(lmbda), REACH_BELOW), REACH_ABOVE)
    own = setting_at(weights, point, setting.region)
    yield latents, own
    yield _analysed(weights, pixels, own), own


def _analysed(weights: ImageWeights, pixels: Pixels, setting: Setting) -> Latents:
    """The picture's latents for this setting."""
    with torch.no_grad():
        return Analyser(weights, pixels)(setting)


def _serves(setting: Setting, lmbda: float) -> bool:
    """The setting was made for this lambda, or nearly so."""
    return abs(math.log2(lambda_of(setting) / lmbda)) < SAME_OCTAVES


def shifted(setting: Setting, lmbda: float) -> Setting:
    """The setting with step_y as theory has it for lambda: a step goes with lambda^-1/2."""
    octaves = (lambda_to_rate(lmbda) - setting.rate) / RATE_UNIT
    return replace(setting, step_y=-round(octaves * RATE_UNIT / STEP_PER_RATE))


def control_for(target: Target, lmbda: float, options: RefineOptions) -> Control:
    """What steers lambda towards a target; `lmbda` is that of the start."""
    if target.size is not None:
        return Size(lmbda, target.size, two_sided=options.perceptual)
    if target.psnr is not None:
        return Quality(lmbda, target.psnr)
    return Fixed(lmbda)


def searched(task: Task, options: RefineOptions, lmbda: float) -> Setting:
    """The start's setting with the step of z that costs least before any refinement."""
    setting = task.setting
    if options.naive or not options.search_step_z:
        return setting
    judge = Judge(task, Problem(task.kit, task.latents.grid, setting).anchors)

    def cost(step_z: int) -> float:
        return judge.objective(judge.measure(task.latents, replace(setting, step_z=step_z)), lmbda)

    return replace(setting, step_z=min(range(len(STEP_Z_CHOICES)), key=cost))
