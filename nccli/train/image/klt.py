"""The KLT start: make the untrained network a good linear transform coder.

The first 1x1 layer becomes the principal components of 8x8x3 patches, the stride-2 layer those
of 2x2 groups of them, the synthesis their transposes. Every nonlinear part is a residual that
starts at zero. Source: docs/DESIGN.md section 4.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.rate import ANCHOR_SPACING, FIRST_ANCHOR, NUM_ANCHORS, rate_to_lambda
from nccli.networks.image_model import PATCH, PIXEL_SCALE, ImageModel

LEAST_ENERGY = 1e-8
"""Variance that a channel is taken to have at least."""

DETAIL_OCTAVES = 1.0
"""Steps of details are coarser by this than those of a transform on its own: they carry what y has missed."""

SAMPLE_TILES = 400
"""Tiles that the covariances are measured on."""


def principal_components(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows: the `count` leading eigenvectors of the second moments of samples (n, d); and spreads.

    Rows that there are no dimensions for are zero.
    """
    moments = samples.T.double() @ samples.double() / len(samples)
    values, vectors = torch.linalg.eigh(moments)
    order = torch.argsort(values, descending=True)[:count]
    rows, spreads = vectors[:, order].T, values[order]
    missing = count - len(order)
    rows, spreads = F.pad(rows, (0, 0, 0, missing)), F.pad(spreads, (0, missing))
    return rows.float(), spreads.clamp_min(LEAST_ENERGY).sqrt().float()


def flatten(x: Tensor) -> Tensor:
    """(b, c, h, w) -> (b * h * w, c)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _set(conv: nn.Conv2d, matrix: Tensor) -> None:
    conv.weight.copy_(matrix[:, :, None, None])
    if conv.bias is not None:
        conv.bias.zero_()


@torch.no_grad()
def klt_start(model: ImageModel, tiles: Tensor) -> None:
    """Set the linear layers, spreads and steps of `model` from uint8 tiles (n, 3, h, w)."""
    pick = torch.linspace(0, len(tiles) - 1, min(SAMPLE_TILES, len(tiles))).long()
    x = (tiles[pick].float() / 255 - 0.5) * PIXEL_SCALE
    patches = F.pixel_unshuffle(x, PATCH)
    first, spread_8 = principal_components(flatten(patches), model.config.N)
    h = F.conv2d(patches, first[:, :, None, None])
    groups = F.pixel_unshuffle(h, 2)
    second, spread_16 = principal_components(flatten(groups), model.config.M)

    _set(model.g_a.patch, first)
    _set(model.g_a.down, second)
    _set(model.g_s.up, second.T)
    _set(model.g_s.patch, first.T)
    model.spread.copy_(spread_16)
    for block in [*model.g_a.blocks, *model.g_s.blocks]:
        _balance_inputs(block.mix_in, spread_8[: block.channels])
        _balance_inputs(block.feed_in, spread_8[: block.channels])
    _balance_inputs(model.g_s.deep_in, spread_16)
    if model.config.detail:
        detail_start(model, x / PIXEL_SCALE)
    for anchor in range(NUM_ANCHORS):
        lmbda = rate_to_lambda(FIRST_ANCHOR + anchor * ANCHOR_SPACING)
        model.gain[anchor].copy_(torch.log2(natural_step(lmbda) / spread_16))


def natural_step(lmbda: float) -> float:
    """Step of an orthonormal transform of the pixels that suits lambda, by the theory of high rates."""
    return PIXEL_SCALE * 0.2 * math.sqrt(0.01 / lmbda)


@torch.no_grad()
def detail_start(model: ImageModel, error: Tensor) -> None:
    """Basis, steps and scales of the details, from what a synthesis misses: error (n, 3, h, w)."""
    patches = flatten(F.pixel_unshuffle(error * PIXEL_SCALE, PATCH))
    basis, spread = principal_components(patches, patches.shape[1])
    model.details.basis.copy_(basis)
    density = model.y_density
    weights, ratios = torch.softmax(density.logits, 0), torch.exp2(density.log2_ratios)
    unit = -0.5 * torch.log2(
        (weights * ratios.square()).sum()
    )  # what the density takes for a variance of one
    model.entropy.detail_head.weight.zero_()
    cast(Tensor, model.entropy.detail_head.bias).copy_((torch.log2(spread) + unit).repeat_interleave(4))
    for anchor in range(NUM_ANCHORS):
        step = natural_step(rate_to_lambda(FIRST_ANCHOR + anchor * ANCHOR_SPACING))
        model.detail_step[anchor] = math.log2(step) + DETAIL_OCTAVES


def _balance_inputs(conv: nn.Conv2d, spread: Tensor) -> None:
    """Start with inputs of similar size: divide by the channel's spread, but not far below a step."""
    conv.weight.div_((spread**2 + 1).sqrt()[None, :, None, None])


def linear_layers(model: ImageModel) -> list[nn.Conv2d]:
    """The four KLT layers, which learn at a reduced rate so that they stay near orthogonal."""
    return [model.g_a.patch, model.g_a.down, model.g_s.up, model.g_s.patch]
