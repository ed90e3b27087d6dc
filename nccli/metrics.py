"""Picture quality: PSNR and MS-SSIM on 8-bit RGB."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MS_SSIM_MIN_SIDE = 161
"""MS-SSIM halves the picture four times under an 11x11 window; smaller pictures have none."""

IDENTICAL_PSNR = 100.0
"""Reported for identical pictures, whose PSNR is infinite."""


def psnr(x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all channels; shapes (h, w, 3)."""
    total, count = 0, x.size
    for a, b in zip(x, x_hat, strict=True):
        difference = a.astype(np.int32) - b
        total += int(np.vdot(difference, difference))
    if total == 0:
        return IDENTICAL_PSNR
    return float(10 * np.log10(255.0**2 * count / total))


def ms_ssim(x: NDArray[np.uint8], x_hat: NDArray[np.uint8]) -> float | None:
    """Multi-scale SSIM (Wang et al. 2003), or None for pictures too small for it."""
    if min(x.shape[:2]) < MS_SSIM_MIN_SIDE:
        return None
    from pytorch_msssim import ms_ssim as measure

    a, b = (_planes(p) for p in (x, x_hat))
    return float(measure(a, b, data_range=255.0))


def _planes(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
