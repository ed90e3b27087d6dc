"""The rate-distortion loss: bpp + lambda * 255^2 * MSE, one lambda per image."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from nccli.model import ImageModel, first_pass_mask
from nccli.prior import bits, lower_bound
from nccli.quantize import LOWEST_LOG2_RATIO, anchor_weights, noisy, straight_through
from nccli.rate import FIRST_ANCHOR, LAMBDA_MAX, LAMBDA_MIN, RATE_UNIT

RATIO_MIN = 2.0**LOWEST_LOG2_RATIO
"""Smallest scale relative to the step; symbols there are not coded at all."""

SOFT_Z = 0.5
"""Part of the images whose z is noisy, not rounded, for h_s too: rounding alone never lets go of a
channel that starts out within half a step of zero."""

SERVED_LOG2_LAMBDA = (math.log2(LAMBDA_MIN) - 0.1, math.log2(LAMBDA_MAX) + 0.1)


@dataclass(frozen=True)
class Measures:
    """Per-image results, each (b,): bits per pixel of y and z, mean squared error in [0, 1]^2."""

    bpp_y: Tensor
    bpp_z: Tensor
    mse: Tensor

    @property
    def bpp(self) -> Tensor:
        return self.bpp_y + self.bpp_z

    def objective(self, log2_lambda: Tensor) -> Tensor:
        """bpp + lambda * 255^2 * MSE, (b,)."""
        return self.bpp + torch.exp2(log2_lambda) * 255**2 * self.mse


def random_log2_lambda(batch: int, device: torch.device) -> Tensor:
    """Log-uniform over the served range, (batch,)."""
    low, high = SERVED_LOG2_LAMBDA
    return low + (high - low) * torch.rand(batch, device=device)


def training_loss(measures: Measures, log2_lambda: Tensor, z_weight: float) -> Tensor:
    """Mean objective with each image weighted by lambda^-0.5, so that every rate counts alike.

    The bits of z count `z_weight` times, 0 .. 1.
    """
    weight = torch.exp2(-0.5 * (log2_lambda - math.log2(0.01)))
    objective = measures.objective(log2_lambda) - (1 - z_weight) * measures.bpp_z
    return (objective * weight).mean()


def forward(
    model: ImageModel,
    x: Tensor,
    log2_lambda: Tensor,
    transforms: AbstractContextManager[object],
    rounded: bool = False,
) -> Measures:
    """Code x (b, 3, h, w) at log2_lambda (b,) with the training proxies.

    `transforms` wraps g_a and g_s (autocast to bf16, or nothing); probabilities stay in float32.
    `rounded` prices the rounded latents, as a file would, in place of noisy ones.
    """
    pixels = x.shape[2] * x.shape[3]
    anchors = anchor_weights(log2_lambda)
    with transforms:
        y = model.analyse(x)
    z = model.h_a(y)
    step_z = torch.exp2(anchors @ model.step_z)[:, None, None, None]
    z_hat, z_noisy = straight_through(z, step_z), noisy(z, step_z)
    bits_z = bits(model.z_prior.likelihood(z_hat if rounded else z_noisy, step_z))
    if not rounded:
        soft = torch.rand(len(x), 1, 1, 1, device=x.device) < SOFT_Z
        z_hat = torch.where(soft, z_noisy, z_hat)
    y_hat, bits_y = _code_latents(model, y, z_hat, log2_lambda, rounded)
    with transforms:
        x_hat = model.synthesise(y_hat, anchors)
    return Measures(
        bpp_y=bits_y.flatten(1).sum(1) / pixels,
        bpp_z=bits_z.flatten(1).sum(1) / pixels,
        mse=(x_hat - x).square().flatten(1).mean(1),
    )


def _code_latents(
    model: ImageModel, y: Tensor, z_hat: Tensor, log2_lambda: Tensor, rounded: bool
) -> tuple[Tensor, Tensor]:
    """Both coding passes: y_hat by straight-through rounding and bits of the noisy y, each like y."""
    height, width = y.shape[-2:]
    step = torch.exp2(anchor_weights(log2_lambda) @ model.gain)[..., None, None]
    octaves = log2_lambda + 12 - FIRST_ANCHOR / RATE_UNIT
    rate = octaves[:, None, None, None].expand(-1, 1, height, width)
    features = model.entropy.features(z_hat, height, width)
    mask = first_pass_mask(height, width, y.device)
    first = model.entropy.first(features, rate)
    means = first.chunk(2, dim=1)[0]
    y_first = (straight_through(y - means, step) + means) * mask
    second = model.entropy.second(features, rate, model.entropy.around(y_first))
    means, log2_scales = torch.where(mask, first, second).chunk(2, dim=1)
    y_hat = torch.where(mask, y_first, straight_through(y - means, step) + means)
    scales = lower_bound(torch.exp2(log2_scales.clamp(-16, 8)), step * RATIO_MIN)
    sample = y_hat - means if rounded else noisy(y - means, step)
    return y_hat, bits(model.y_density.likelihood(sample, scales, step))
