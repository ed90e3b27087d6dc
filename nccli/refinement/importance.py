"""Masks that weight the distortion of every pixel."""

from __future__ import annotations

import numpy as np

from nccli.masks.mask import DEFAULT_GAIN, Mask
from nccli.refinement.descent.metric import Importance


def importance_of(mask: Mask, gain: float | None) -> Importance:
    """A mask (h, w) as weights: 255 is 1, 0 is 1 / gain, shades lie between.

    Source: Gao et al. 2022, 4.5, where the background weighs 0.04.
    """
    background = 1 / (DEFAULT_GAIN if gain is None else gain)
    return np.asarray(background + (1 - background) * (mask.astype(np.float32) / 255), np.float32)
