"""Measure an exported model: real files, 8-bit pixels, BD-rate against published figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from nccli.bench.curves import Point, difference
from nccli.codec import encode_pixels
from nccli.media import decode_picture
from nccli.search import Target
from nccli.train.data import SUFFIXES

COMPARED = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
"""Metrics that BD-rates are given for."""

LAMBDAS = (0.0006, 0.0015, 0.003, 0.0067, 0.015, 0.03, 0.06, 0.12)


def measure(pictures: list[Path], model: str, lambdas: tuple[float, ...] = LAMBDAS) -> Iterator[Point]:
    """One point per lambda, averaged per picture."""
    loaded = [decode_picture(path.read_bytes(), str(path)) for path in pictures]
    for lmbda in lambdas:
        reports = [encode_pixels(x, Target(lmbda=lmbda), model).report for x in loaded]
        count = len(reports)
        yield Point(
            setting=lmbda,
            bpp=sum(r.bpp for r in reports) / count,
            psnr=sum(r.psnr or 0 for r in reports) / count,
            ms_ssim=sum(r.ms_ssim or 0 for r in reports) / count,
        )


def bd_rates(anchor: Path, points: list[Point]) -> dict[str, float]:
    """BD-rates in percent by `psnr` and `ms_ssim` against an anchor's JSON (lists `bpp`, `psnr`, and
    maybe `ms_ssim`); without those that cannot be had.
    """
    published = json.loads(anchor.read_text())
    lists = [published[key] for key in ("bpp", "psnr")]
    lists.append(published.get("ms_ssim") or [None] * len(lists[0]))
    curve = tuple(Point(None, *values) for values in zip(*lists, strict=True))
    found = {metric: difference(curve, tuple(points), metric) for metric in COMPARED}
    return {metric: d.percent for metric, d in found.items() if d}


def evaluate(
    folder: Path, model: str, anchors: list[Path], every: int
) -> tuple[list[Point], dict[str, dict[str, float]]]:
    """Print and return the rate-distortion points of a folder of pictures, and `bd_rates` by anchor."""
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)[::every]
    points = []
    for point in measure(pictures, model):
        points.append(point)
        row = {"lmbda": point.setting, "bpp": point.bpp, "psnr": point.psnr, "ms_ssim": point.ms_ssim}
        print(json.dumps(row), flush=True)
    rates = {anchor.stem: bd_rates(anchor, points) for anchor in anchors}
    for name, found in rates.items():
        figures = ", ".join(f"{value:+.2f} % by {COMPARED[metric]}" for metric, value in found.items())
        print(f"BD-rate against {name}: {figures or 'no overlap'}", flush=True)
    return points, rates
