"""Picture quality: PSNR and MS-SSIM, on RGB or gray of 8 or 16 bits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nccli.media.picture import Pixels

MS_SSIM_MIN_SIDE = 161
"""MS-SSIM halves the picture four times under an 11x11 window; smaller pictures have none."""

IDENTICAL_PSNR = 100.0
"""Reported for identical pictures, whose PSNR is infinite."""


MS_SSIM_MAX_PIXELS = 2**24
"""It needs a dozen float copies of the picture; larger pictures have none."""


def psnr(x: Pixels, x_hat: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all channels; shapes (h, w, c) of the same type."""
    total, count = 0.0, x.size
    for a, b in zip(x, x_hat, strict=True):
        difference = (a.astype(np.float64) - b).reshape(-1)
        total += float(np.dot(difference, difference))
    if total == 0:
        return IDENTICAL_PSNR
    return float(10 * np.log10(float(np.iinfo(x.dtype).max) ** 2 * count / total))


def ms_ssim(x: Pixels, x_hat: Pixels) -> float | None:
    """Multi-scale SSIM (Wang et al. 2003), or None for pictures too small or too large for it."""
    height, width = x.shape[:2]
    if min(height, width) < MS_SSIM_MIN_SIDE or height * width > MS_SSIM_MAX_PIXELS:
        return None
    from pytorch_msssim import ms_ssim as measure

    a, b = (_planes(p) for p in (x, x_hat))
    return float(measure(a, b, data_range=float(np.iinfo(x.dtype).max)))


def _planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].contiguous()
