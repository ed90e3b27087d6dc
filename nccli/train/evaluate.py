"""Measure an exported model: real files, 8-bit pixels, BD-rate against published figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from nccli.codec import encode_pixels
from nccli.media import decode_picture
from nccli.search import Target
from nccli.train.data import SUFFIXES

LAMBDAS = (0.0006, 0.0015, 0.003, 0.0067, 0.015, 0.03, 0.06, 0.12)


@dataclass(frozen=True)
class Point:
    """Averages over the pictures at one lambda: bits per pixel of the files, dB, MS-SSIM."""

    lmbda: float
    bpp: float
    psnr: float
    ms_ssim: float


def measure(pictures: list[Path], model: str, lambdas: tuple[float, ...] = LAMBDAS) -> Iterator[Point]:
    """One point per lambda, averaged per picture."""
    loaded = [decode_picture(path.read_bytes(), str(path)) for path in pictures]
    for lmbda in lambdas:
        reports = [encode_pixels(x, Target(lmbda=lmbda), model).report for x in loaded]
        count = len(reports)
        yield Point(
            lmbda=lmbda,
            bpp=sum(r.bpp for r in reports) / count,
            psnr=sum(r.psnr or 0 for r in reports) / count,
            ms_ssim=sum(r.ms_ssim or 0 for r in reports) / count,
        )


def bd_rate(anchor: Path, points: list[Point]) -> float:
    """Bjontegaard rate difference in percent against an anchor's JSON (lists `bpp`, `psnr`)."""
    import bjontegaard

    published = json.loads(anchor.read_text())
    return float(
        bjontegaard.bd_rate(
            published["bpp"],
            published["psnr"],
            [p.bpp for p in points],
            [p.psnr for p in points],
            method="akima",
            require_matching_points=False,
            min_overlap=0.25,
        )
    )


def evaluate(
    folder: Path, model: str, anchors: list[Path], every: int
) -> tuple[list[Point], dict[str, float]]:
    """Print and return the rate-distortion points of a folder of pictures, and BD-rates by anchor."""
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)[::every]
    points = []
    for point in measure(pictures, model):
        points.append(point)
        print(json.dumps(asdict(point)), flush=True)
    rates = {anchor.stem: bd_rate(anchor, points) for anchor in anchors}
    for name, value in rates.items():
        print(f"BD-rate against {name}: {value:+.2f} %", flush=True)
    return points, rates
