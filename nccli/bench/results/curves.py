"""Rate-distortion curves: averages over pictures, and the area between two of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from nccli.bench.rows import Row

MIN_OVERLAP = 0.1
"""Curves whose quality ranges share less than this part of their union are not compared."""

MIN_POINTS = 3


@dataclass(frozen=True)
class Point:
    """A codec at one setting, averaged over pictures; None where a picture has no value."""

    setting: float | None
    bpp: float
    psnr: float | None
    ms_ssim: float | None = None
    lpips: float | None = None
    psnr_roi: float | None = None
    psnr_rest: float | None = None
    encode_s: float | None = None
    decode_s: float | None = None
    peak_mb: float | None = None


Curve = tuple[Point, ...]


@dataclass(frozen=True)
class Difference:
    """Bjontegaard rate difference.

    Attributes:
        percent: more bits for the same quality; negative is better than the anchor.
        overlap: shared part of the two quality ranges, 0 .. 1.
    """

    percent: float
    overlap: float


def decibels(ratio: float) -> float:
    """A quality whose best value is 1, on a scale that tells good ones apart."""
    return -10 * math.log10(max(1 - ratio, 1e-10))


METRICS: dict[str, Callable[[Point], float | None]] = {
    "psnr": lambda p: p.psnr,
    "ms_ssim": lambda p: None if p.ms_ssim is None else decibels(p.ms_ssim),
    "lpips": lambda p: None if p.lpips is None else decibels(1 - p.lpips),
    "psnr_roi": lambda p: p.psnr_roi,
}
"""Quality of a point on the scale that rates are compared at, larger being better."""


def complete_images(rows: Iterable[Row], settings: dict[str, tuple[float, ...]]) -> dict[str, set[str]]:
    """The images that each codec has at all of its settings."""
    found: dict[str, dict[str, set[float]]] = {name: {} for name in settings}
    for row in rows:
        if row.codec in found:
            found[row.codec].setdefault(row.image, set()).add(row.setting)
    return {
        name: {image for image, have in images.items() if have >= set(settings[name])}
        for name, images in found.items()
    }


def curve_of(rows: Sequence[Row]) -> Curve:
    """One codec's rows, averaged at each setting, by rising rate."""
    points = []
    for setting in sorted({row.setting for row in rows}):
        some = [row for row in rows if row.setting == setting]
        names = [field.name for field in fields(Point) if field.name != "setting"]
        points.append(Point(setting, **{name: _mean(some, name) for name in names}))  # type: ignore[arg-type]
    return tuple(sorted(points, key=lambda p: p.bpp))


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [getattr(row, name) for row in rows]
    return None if None in values else float(np.mean(values))


def difference(anchor: Curve, curve: Curve, metric: str, method: str = "akima") -> Difference | None:
    """BD-rate of a curve against the anchor, or None where they cannot be compared.

    Source: Bjontegaard, VCEG-M33; Akima interpolation as in Herglotz et al. 2022.
    """
    import bjontegaard

    one, two = (_rising(c, METRICS[metric]) for c in (anchor, curve))
    if min(len(one), len(two)) < MIN_POINTS:
        return None
    low, high = max(one[0][1], two[0][1]), min(one[-1][1], two[-1][1])
    union = max(one[-1][1], two[-1][1]) - min(one[0][1], two[0][1])
    overlap = (high - low) / union
    if overlap < MIN_OVERLAP:
        return None
    (rates, qualities), (other_rates, other_qualities) = (zip(*c, strict=True) for c in (one, two))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # small overlaps: `Difference` tells of them
        percent = bjontegaard.bd_rate(
            list(rates),
            list(qualities),
            list(other_rates),
            list(other_qualities),
            method=method,
            require_matching_points=False,
        )
    return Difference(float(percent), float(overlap)) if np.isfinite(percent) else None


def _rising(curve: Curve, quality: Callable[[Point], float | None]) -> list[tuple[float, float]]:
    """(bpp, quality) pairs, without those that cost more than another and are no better."""
    pairs: list[tuple[float, float]] = []
    for point in sorted(curve, key=lambda p: p.bpp):
        value = quality(point)
        if value is not None and (not pairs or (value > pairs[-1][1] and point.bpp > pairs[-1][0])):
            pairs.append((point.bpp, value))
    return pairs
