"""Put predicted scales where the rows of the coder's tables are."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from nccli.entropy.steps import LOWEST_LOG2_RATIO, ROWS_PER_OCTAVE
from nccli.networks.image_model import ImageModel

QUIET = 1e-3
"""Chance that a symbol of the lowest row that is coded is not zero."""

SEARCHED = 16
"""Octaves of scale over step, each way, that are searched for it."""


@torch.no_grad()
def tie_scales(model: ImageModel) -> float:
    """Move scales against the mixture's ratios; the density of every latent stays what it is.

    Training leaves their product to the network, so scales drift, and rows whose symbols are always
    zero would be coded. Returns the octaves that scales are lowered by.
    """
    log2 = torch.arange(-SEARCHED, SEARCHED, 1 / ROWS_PER_OCTAVE)
    zero, step = torch.zeros_like(log2), torch.ones_like(log2)
    silent = model.y_density.likelihood(zero, torch.exp2(log2), step) >= 1 - QUIET
    octaves = float(log2[silent].max()) - (LOWEST_LOG2_RATIO + 1 / ROWS_PER_OCTAVE)
    model.y_density.log2_ratios.add_(octaves)
    for head in (model.entropy.first_head, model.entropy.second_head):
        cast(Tensor, head.bias)[model.config.M :] -= octaves
    if model.config.detail:
        cast(Tensor, model.entropy.detail_head.bias).sub_(octaves)
    return octaves
