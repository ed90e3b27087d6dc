"""The rate-distortion loss: bpp + lambda * 255^2 * MSE, or another distortion; a lambda for every image
and position."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from nccli.entropy.grid import LATENT_STRIDE
from nccli.entropy.rate import FIRST_ANCHOR, LAMBDA_MAX, LAMBDA_MIN, RATE_UNIT
from nccli.entropy.steps import LOWEST_LOG2_RATIO
from nccli.networks.anchors import anchor_weights
from nccli.networks.image_model import ImageModel, first_pass_mask
from nccli.networks.prior import bits, lower_bound
from nccli.train.image.distortion import Distortion, squared_error
from nccli.train.image.proxies import noisy, straight_through

RATIO_MIN = 2.0**LOWEST_LOG2_RATIO
"""Smallest scale relative to the step; symbols there are not coded at all."""

SOFT_Z = 0.5
"""Part of the images whose z is noisy, not rounded, for h_s too: rounding alone never lets go of a
channel that starts out within half a step of zero."""

LOWEST_LOG2_LAMBDA = FIRST_ANCHOR / RATE_UNIT - 12

SERVED_LOG2_LAMBDA = (math.log2(LAMBDA_MIN) - 0.1, math.log2(LAMBDA_MAX) + 0.1)


@dataclass(frozen=True)
class Rates:
    """Where on the rate axis images are coded.

    Attributes:
        base: (b,) log2 lambda in the region of interest.
        drop: (b, h, w) octaves of lambda below it at each latent position, or (b, 1, 1).
    """

    base: Tensor
    drop: Tensor

    @classmethod
    def uniform(cls, log2_lambda: Tensor) -> Rates:
        """One rate for all of an image: log2_lambda (b,)."""
        return cls(log2_lambda, torch.zeros_like(log2_lambda)[:, None, None])

    @property
    def log2_lambda(self) -> Tensor:
        """(b, h, w) trade-off of every position."""
        return self.base[:, None, None] - self.drop

    @property
    def local(self) -> Tensor:
        """(b, h, w) log2 lambda that networks and steps follow: drops end with the axis."""
        return torch.maximum(self.log2_lambda, self._end)

    @property
    def beyond(self) -> Tensor:
        """(b, h, w) octaves that steps grow by where a drop leaves the axis: half of lambda's."""
        return (self.local - self.log2_lambda) / 2

    @property
    def _end(self) -> Tensor:
        return self.base[:, None, None].clamp_max(LOWEST_LOG2_LAMBDA)


@dataclass(frozen=True)
class Measures:
    """Per-image results, each (b,).

    Attributes:
        bpp_y: bits per pixel of y and details.
        bpp_detail: of the details alone.
        bpp_z: bits per pixel of z.
        mse: mean squared error in [0, 1]^2.
        distortion: mean of lambda * 255^2 * squared error, or of what is trained for in its place.
    """

    bpp_y: Tensor
    bpp_detail: Tensor
    bpp_z: Tensor
    mse: Tensor
    distortion: Tensor

    @property
    def bpp(self) -> Tensor:
        return self.bpp_y + self.bpp_z

    @property
    def objective(self) -> Tensor:
        """bpp + distortion, (b,)."""
        return self.bpp + self.distortion


def random_log2_lambda(ceiling: Tensor) -> Tensor:
    """Log-uniform over the served range, (b,); what is above its ceiling (b,) is drawn again below it."""
    low, high = SERVED_LOG2_LAMBDA
    first, second = torch.rand(2, len(ceiling), device=ceiling.device)
    anywhere = low + (high - low) * first
    below = low + (ceiling.clamp_max(high) - low) * second
    return torch.where(anywhere > ceiling, below, anywhere)


def training_loss(measures: Measures, rates: Rates, z_weight: Tensor | float) -> Tensor:
    """Mean objective with each image weighted by lambda^-0.5, so that every rate counts alike.

    The bits of z count `z_weight` times, 0 .. 1.
    """
    lmbda = torch.exp2(rates.log2_lambda).flatten(1).mean(1)
    weight = (lmbda / 0.01) ** -0.5
    objective = measures.objective - (1 - z_weight) * measures.bpp_z
    return (objective * weight).mean()


def forward(
    model: ImageModel,
    x: Tensor,
    rates: Rates,
    transforms: AbstractContextManager[object],
    rounded: bool = False,
    measure: Distortion = squared_error,
) -> Measures:
    """Code x (b, 3, h, w) with the training proxies.

    `transforms` wraps g_a and g_s (autocast to bf16, or nothing); probabilities stay in float32.
    `rounded` prices the rounded latents, as a file would, in place of noisy ones.
    `measure` is told a smaller error where lambda is lower, by the square root: so any measure that grows
    with the squared error follows regions.
    """
    pixels = x.shape[2] * x.shape[3]
    anchors = anchor_weights(rates.local)
    with transforms:
        y = model.analyse(x, anchors)
    z = model.h_a(y)
    base = anchor_weights(rates.base[:, None, None])
    step_z = torch.exp2(torch.einsum("baij,a->bij", base, model.step_z))[:, None]
    z_hat, z_noisy = straight_through(z, step_z), noisy(z, step_z)
    bits_z = bits(model.z_prior.likelihood(z_hat if rounded else z_noisy, step_z))
    if not rounded:
        soft = torch.rand(len(x), 1, 1, 1, device=x.device) < SOFT_Z
        z_hat = torch.where(soft, z_noisy, z_hat)
    y_hat, bits_y = _code_latents(model, y, z_hat, rates, anchors, rounded)
    with transforms:
        x_hat = model.synthesise(y_hat, anchors)
    bits_detail = torch.zeros_like(bits_y)
    error = x_hat - x
    if model.config.detail:
        correction, bits_detail = _code_details(model, -error.detach(), y_hat.detach(), z_hat.detach(), rates)
        if rounded:
            error = error + correction
    weighted = error * _per_pixel(torch.exp2(-rates.drop / 2))[:, None]
    return Measures(
        bpp_y=(bits_y.flatten(1).sum(1) + bits_detail.flatten(1).sum(1)) / pixels,
        bpp_detail=bits_detail.detach().flatten(1).sum(1) / pixels,
        bpp_z=bits_z.flatten(1).sum(1) / pixels,
        mse=error.detach().square().flatten(1).mean(1),
        distortion=torch.exp2(rates.base) * measure(x + weighted, x),
    )


def _per_pixel(x: Tensor) -> Tensor:
    """(b, h, w) -> (b, 16h, 16w); (b, 1, 1) stays."""
    if x.shape[1:] == (1, 1):
        return x
    return x.repeat_interleave(LATENT_STRIDE, 1).repeat_interleave(LATENT_STRIDE, 2)


def _code_latents(
    model: ImageModel, y: Tensor, z_hat: Tensor, rates: Rates, anchors: Tensor, rounded: bool
) -> tuple[Tensor, Tensor]:
    """Both coding passes: y_hat by straight-through rounding and bits of the noisy y, each like y."""
    height, width = y.shape[-2:]
    step = torch.exp2(torch.einsum("baij,ac->bcij", anchors, model.gain) + rates.beyond[:, None])
    rate = (rates.local - LOWEST_LOG2_LAMBDA)[:, None].expand(-1, 1, height, width)
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


def _code_details(
    model: ImageModel, missed: Tensor, y_hat: Tensor, z_hat: Tensor, rates: Rates
) -> tuple[Tensor, Tensor]:
    """What the details add to the pixels, and their bits, from what the synthesis misses (b, 3, h, w).

    Only the network of their scales learns from them. Were the pixels of a training step those with details,
    nothing would ask the synthesis to miss less.
    """
    height, width = y_hat.shape[-2:]
    step = torch.exp2(torch.einsum("baij,a->bij", anchor_weights(rates.local), model.detail_step))[:, None]
    step = step * torch.exp2(rates.beyond)[:, None]
    rate = (rates.local - LOWEST_LOG2_LAMBDA)[:, None].expand(-1, 1, height, width)
    features = model.entropy.features(z_hat, height, width).detach()
    scales = torch.exp2(model.entropy.details(features, rate, y_hat).clamp(-16, 8))
    details = torch.round(model.details.analyse(missed) / step) * step
    density = model.y_density.likelihood(details, lower_bound(scales, step * RATIO_MIN), step)
    return model.details.synthesise(details), bits(density)
