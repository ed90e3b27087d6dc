"""RGB <-> planar YCbCr, BT.601 full range as in JPEG, for codecs that take planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nccli.bench.coders import Frames

Planes = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Y, Cb, Cr, each (h, w) of its own size."""

RED, BLUE = 0.299, 0.114
"""Weights of red and blue in luma. Source: ITU-R BT.601."""

GREEN = 1 - RED - BLUE


@dataclass(frozen=True)
class Layout:
    """How samples are kept.

    Attributes:
        half: chroma has half the width and height.
        depth: bits per sample, 8 or 10.
    """

    half: bool
    depth: int

    @property
    def dtype(self) -> Any:
        return np.uint8 if self.depth == 8 else np.dtype("<u2")

    @property
    def scale(self) -> float:
        """Full-range code values per 8-bit value."""
        return (2.0**self.depth - 1) / 255

    @property
    def centre(self) -> float:
        """Code value of no chroma."""
        return 2.0 ** (self.depth - 1)


def to_planes(pixels: Frames, layout: Layout) -> Planes:
    """(h, w, 3) RGB -> planes; odd sides are padded by their last row or column when chroma is halved."""
    if layout.half:
        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    r, g, b = np.moveaxis(pixels.astype(np.float32), 2, 0)
    y = RED * r + GREEN * g + BLUE * b
    cb, cr = (b - y) / (2 - 2 * BLUE), (r - y) / (2 - 2 * RED)
    if layout.half:
        cb, cr = _halve(cb), _halve(cr)
    return _code(y, 0.0, layout), _code(cb, layout.centre, layout), _code(cr, layout.centre, layout)


def to_pixels(planes: Planes, layout: Layout, height: int, width: int) -> Frames:
    """Planes -> (height, width, 3) RGB."""
    y = planes[0].astype(np.float32) / layout.scale
    cb, cr = ((p.astype(np.float32) - layout.centre) / layout.scale for p in planes[1:])
    if layout.half:
        cb, cr = _double(cb), _double(cr)
    r = y + (2 - 2 * RED) * cr
    b = y + (2 - 2 * BLUE) * cb
    g = (y - RED * r - BLUE * b) / GREEN
    pixels = np.rint(np.stack((r, g, b), axis=2)).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[:height, :width])


def _code(values: NDArray[Any], offset: float, layout: Layout) -> NDArray[Any]:
    top = 2**layout.depth - 1
    codes: NDArray[Any] = np.rint(values * layout.scale + offset).clip(0, top).astype(layout.dtype)
    return codes


def _halve(plane: NDArray[Any]) -> NDArray[Any]:
    """Means of 2x2 samples, so that chroma sits in their middle."""
    height, width = plane.shape
    means: NDArray[Any] = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return means


def _double(plane: NDArray[Any]) -> NDArray[Any]:
    """Linear interpolation between samples that sit in the middle of 2x2."""
    for axis in (0, 1):
        padded = np.pad(plane, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], "edge")
        before, after = (np.delete(padded, e, axis) for e in ([-1, -2], [0, 1]))
        pairs = np.stack((0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after), axis=axis + 1)
        shape = list(plane.shape)
        shape[axis] *= 2
        plane = pairs.reshape(shape)
    return plane
