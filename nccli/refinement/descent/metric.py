"""Distortions of a refinement: squared error and its perceptual companions, weighted and mixed.

The objective is bpp + lambda * 255^2 * W * MSE + the sum of W * D over all other metrics, as in Gao
et al. 2022 (Code Editing), equation 9: weights of other metrics are absolute, in bits per pixel for
a distortion of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.errors import UsageError
from nccli.media.metrics import MS_SSIM_MIN_SIDE
from nccli.media.picture import Pixels
from nccli.refinement.descent.perceptual import Metric, feature_metric, lpips_metric

PEAK_SQUARED = 255.0**2

Importance = NDArray[np.float32]
"""Weight of each pixel's squared error, (h, w)."""


@dataclass(frozen=True)
class Distortion:
    """How far a picture is from the original.

    Attributes:
        x: the original, (1, 3 or 1, h, w) in [0, 1].
        importance: weight of each pixel's squared error, (1, 1, h, w), or None for 1.
        mse_weight: weight of the squared error.
        others: other metrics and their weights.
        depth: bits per sample of decoded pictures.
    """

    x: Tensor
    importance: Tensor | None = None
    mse_weight: float = 1.0
    others: tuple[tuple[Metric, float], ...] = ()
    depth: int = 8

    def fit(self, x_hat: Tensor) -> Tensor:
        """The output of g_s as the picture it stands for: cropped, gray if the original is."""
        height, width = self.x.shape[2:]
        shown = x_hat[..., :height, :width]
        return shown.mean(1, keepdim=True) if self.x.shape[1] == 1 else shown

    def rounded(self, x_hat: Tensor) -> Tensor:
        """As a decoder would store it."""
        peak = (1 << self.depth) - 1
        return (self.fit(x_hat) * peak).round().clamp(0, peak) / peak

    def squared(self, fitted: Tensor, weighted: bool = True) -> Tensor:
        """Mean squared error on the scale of 8 bits, each pixel weighted by its importance."""
        error = (fitted - self.x).square()
        if weighted and self.importance is not None:
            error = error * self.importance
        return error.mean() * PEAK_SQUARED

    def perceptual(self, fitted: Tensor) -> Tensor:
        """Weighted sum of the other metrics."""
        total = fitted.new_zeros(())
        if self.others:
            shown, original = fitted.expand(-1, 3, -1, -1), self.x.expand(-1, 3, -1, -1)
            for metric, weight in self.others:
                total = total + weight * metric(shown, original)
        return total

    def total(self, squared: Tensor, perceptual: Tensor, lmbda: float) -> Tensor:
        """What distortion adds to the objective, bits per pixel."""
        return lmbda * self.mse_weight * squared + perceptual


@dataclass(frozen=True)
class Source:
    """The original and how differences from it count.

    Attributes:
        pixels: (h, w, 3 or 1), uint8 or uint16.
        importance: weight of each pixel, or None for 1.
        mse_weight: weight of the squared error.
        others: other metrics and their weights.
    """

    pixels: Pixels
    importance: Importance | None = None
    mse_weight: float = 1.0
    others: tuple[tuple[Metric, float], ...] = ()

    @property
    def mean_importance(self) -> float:
        """1 when all pixels count fully."""
        return 1.0 if self.importance is None else float(self.importance.mean())

    def distortion(self, rows: slice, columns: slice, device: torch.device) -> Distortion:
        """The distortion of a rectangle."""
        part = self.pixels[rows, columns]
        peak = np.iinfo(part.dtype).max
        x = torch.from_numpy(part.astype(np.float32) / peak).permute(2, 0, 1)[None].to(device)
        weight = None
        if self.importance is not None:
            weight = torch.from_numpy(np.ascontiguousarray(self.importance[rows, columns]))
            weight = weight.to(device)[None, None]
        return Distortion(x, weight, self.mse_weight, self.others, 8 * part.dtype.itemsize)

    def squared(self, decoded: Pixels) -> float:
        """As `Distortion.squared`, of stored samples, a row at a time."""
        total, peak = 0.0, float(np.iinfo(decoded.dtype).max)
        for row, (a, b) in enumerate(zip(self.pixels, decoded, strict=True)):
            error = ((a.astype(np.float64) - b) / peak) ** 2
            total += float(
                (error if self.importance is None else error * self.importance[row, :, None]).sum()
            )
        return total / self.pixels.size * PEAK_SQUARED


def ms_ssim_loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM. Source: Wang et al. 2003."""
    from pytorch_msssim import ms_ssim

    if min(x.shape[2:]) < MS_SSIM_MIN_SIDE:
        raise UsageError(f"ms-ssim needs pictures of at least {MS_SSIM_MIN_SIDE} pixels a side")
    loss: Tensor = 1 - ms_ssim(x_hat.clamp(0, 1), x, data_range=1.0)
    return loss


def make_metric(name: str, lpips_weights: str | None, device: torch.device) -> Metric:
    """A metric other than mse by name."""
    if name == "ms-ssim":
        return ms_ssim_loss
    return lpips_metric(lpips_weights, device) if name == "lpips" else feature_metric(device)
