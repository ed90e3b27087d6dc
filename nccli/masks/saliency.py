"""`saliency`: what stands out, without weights. Source: Hou and Zhang 2007, spectral residual."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDES = (48, 96)
"""Longer sides of the reduced copies: the method finds things of a few pixels of them."""

BLUR = 0.04
"""Standard deviation of the final smoothing, relative to the longer side."""

FADE = 0.1
"""Part of a side over which the picture fades at its edges."""

LOW, HIGH = 60, 97
"""Percentiles of saliency that become black and white."""

Plane = NDArray[np.float32]


def saliency(pixels: NDArray[np.uint8]) -> Plane:
    """How much each pixel of (h, w, 3) stands out, (h, w) in [0, 1]."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    total = np.zeros((height, width), np.float32)
    for side in SIDES:
        scale = side / max(height, width)
        size = (max(round(width * scale), 8), max(round(height * scale), 8))
        small = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float64) / 255
        found = _smooth(_residual_energy(small), BLUR * max(size)).astype(np.float32)
        whole = Image.fromarray(found / max(float(found.max()), 1e-12))
        total += np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR))
    low, high = np.percentile(total, (LOW, HIGH))
    if high - low <= 1e-6:
        return np.zeros_like(total)
    stretched: Plane = np.clip((total - low) / (high - low), 0, 1).astype(np.float32)
    return stretched


def _residual_energy(small: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy of what is left of light and two colour differences without their smooth spectrum."""
    red, green, blue = small[..., 0], small[..., 1], small[..., 2]
    planes = (small.mean(2), red - green, blue - (red + green) / 2)
    energy = np.zeros(small.shape[:2])
    window = np.outer(*(_faded(side) for side in small.shape[:2]))
    for plane in planes:
        if np.ptp(plane) < 1e-3:
            continue
        spectrum = np.fft.fft2((plane - plane.mean()) * window)
        log = np.log(np.abs(spectrum) + 1e-9)
        residual = log - _box(log)
        back = np.abs(np.fft.ifft2(np.exp(residual) * spectrum / (np.abs(spectrum) + 1e-9))) ** 2
        energy += back * window / back.max() * np.ptp(plane)
    return energy


def _faded(side: int) -> NDArray[np.float64]:
    """1 but towards both ends: opposite edges of a picture are neighbours to the transform."""
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    return np.minimum(from_edge / (FADE * side), 1.0)


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of 3x3, around the edges."""
    rows = np.roll(x, 1, 0) + x + np.roll(x, -1, 0)
    total: NDArray[np.float64] = np.roll(rows, 1, 1) + rows + np.roll(rows, -1, 1)
    return total / 9


def _smooth(x: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A Gaussian, edges repeated."""
    reach = max(round(3 * sigma), 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach, reach)
        padded = np.pad(x, pad, mode="edge")
        x = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    return x
