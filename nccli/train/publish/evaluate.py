"""Measure an exported model: real files, 8-bit pixels, BD-rate against published figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nccli.bench.results.curves import Point, difference
from nccli.catalogue.entries import find
from nccli.catalogue.load import load_model
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.coding.analysis import Analyser
from nccli.coding.schedule import Group
from nccli.coding.search import setting_at
from nccli.coding.sender import CostCounter, Encoder, Latents, Sender
from nccli.entropy.coder import IntArray
from nccli.entropy.rate import LAMBDA_MAX, lambda_to_rate
from nccli.entropy.setting import Setting
from nccli.media.formats import PICTURE_SUFFIXES
from nccli.media.picture import Pixels
from nccli.media.still import decode_picture
from nccli.networks.weights import ImageWeights

COMPARED = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
"""Metrics that BD-rates are given for."""

LAMBDAS = (0.0006, 0.0015, 0.003, 0.0067, 0.015, 0.03, 0.06, 0.12)


@dataclass(frozen=True)
class Measured:
    """What a folder of pictures says of a model.

    Attributes:
        points: rate and quality at each of `LAMBDAS`, averaged per picture.
        bd_rates: by anchor, see `bd_rates`.
        silent: channels of y that are zero throughout, on all pictures at the highest rate.
        channels: of y.
    """

    points: tuple[Point, ...]
    bd_rates: dict[str, dict[str, float]]
    silent: int
    channels: int


def measure(pictures: Sequence[Pixels], model: str) -> Iterator[Point]:
    """One point per lambda, averaged per picture."""
    for lmbda in LAMBDAS:
        reports = [encode_pixels(x, Encoding(Rate(lmbda=lmbda), model)).report for x in pictures]
        count = len(reports)
        yield Point(
            setting=lmbda,
            bpp=sum(r.bpp for r in reports) / count,
            psnr=sum(r.psnr or 0 for r in reports) / count,
            ms_ssim=sum(r.ms_ssim or 0 for r in reports) / count,
        )


class ChannelWatch(Sender):
    """Sends nothing, and notes which channels have symbols other than zero: `used`, (channels,)."""

    def __init__(self, weights: ImageWeights, latents: Latents, setting: Setting) -> None:
        super().__init__(weights, latents, setting, CostCounter())
        self.used = np.zeros(weights.network.channels, np.bool_)

    def latents(self, group: Group) -> IntArray:
        symbols = super().latents(group)
        channels = group.sent[symbols != 0] // group.indexes.shape[1]
        self.used[group.visit.channels[0] + channels] = True
        return symbols


def used_channels(pictures: Sequence[Pixels], model: str) -> NDArray[np.bool_]:
    """Which channels of y are not zero throughout at the highest rate, (M,)."""
    weights = load_model(find(model))
    setting = setting_at(weights, lambda_to_rate(LAMBDA_MAX))
    used = np.zeros(weights.network.channels, np.bool_)
    for x in pictures:
        analysed = Analyser(weights, x)
        watch = ChannelWatch(weights, analysed(setting), setting)
        Encoder(weights, analysed).walk(setting, watch)
        used |= watch.used
    return used


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


def evaluate(folder: Path, model: str, anchors: list[Path], every: int) -> Measured:
    """Measure on every n-th picture of a folder; print as it goes."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)[::every]
    pictures = [decode_picture(path.read_bytes(), str(path)) for path in paths]
    points = []
    for point in measure(pictures, model):
        points.append(point)
        row = {"lmbda": point.setting, "bpp": point.bpp, "psnr": point.psnr, "ms_ssim": point.ms_ssim}
        print(json.dumps(row), flush=True)
    rates = {anchor.stem: bd_rates(anchor, points) for anchor in anchors}
    for name, found in rates.items():
        figures = ", ".join(f"{value:+.2f} % by {COMPARED[metric]}" for metric, value in found.items())
        print(f"BD-rate against {name}: {figures or 'no overlap'}", flush=True)
    used = used_channels(pictures, model)
    silent = int((~used).sum())
    print(f"silent channels: {silent} of {len(used)}", flush=True)
    return Measured(tuple(points), rates, silent, len(used))
