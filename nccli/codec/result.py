"""What coding came to: files, pictures and reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from nccli.codec.inside import RoiReport
from nccli.media.picture import Picture, Pixels


@dataclass(frozen=True)
class Seconds:
    """Where the time went."""

    load: float
    transform: float
    entropy: float
    total: float


@dataclass(frozen=True)
class Report:
    """What coding a picture came to.

    Attributes:
        width: pixels.
        height: pixels.
        bytes: size of the whole file.
        bpp: file bytes * 8 / pixels.
        psnr: dB, at the picture's own depth; None when there is nothing to compare with.
        ms_ssim: None for pictures with a side below 161 pixels or of more than 16 megapixels, or
            nothing to compare with.
        lmbda: where on the rate axis the picture was coded.
        model: catalogue name.
        device: where the networks ran.
        seconds: time spent.
        roi: what the region of interest came to, if there is one.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    psnr: float | None
    ms_ssim: float | None
    lmbda: float
    model: str
    device: str
    seconds: Seconds
    roi: RoiReport | None = None


@dataclass(frozen=True)
class Encoded:
    """A finished file and its report."""

    data: bytes
    report: Report


@dataclass(frozen=True)
class Decoded:
    """A decoded picture and its report."""

    picture: Picture
    report: Report

    @property
    def pixels(self) -> Pixels:
        """(h, w, 3), or (h, w, 1) when gray; uint8 or uint16."""
        return self.picture.pixels


class Stopwatch:
    """Seconds per named stage since it was made, and how much of the work is done."""

    def __init__(self, progress: Callable[[float], None] = lambda done: None) -> None:
        """progress: told the share of the work done."""
        self.start = self.last = time.perf_counter()
        self.stages = {"load": 0.0, "transform": 0.0, "entropy": 0.0}
        self._progress = progress

    def lap(self, stage: str) -> None:
        """Book the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.stages[stage] += now - self.last
        self.last = now

    def seconds(self) -> Seconds:
        """The times so far."""
        return Seconds(**self.stages, total=time.perf_counter() - self.start)

    def share(self, start: float, end: float) -> Callable[[float], None]:
        """Progress of one stage as a part of the whole."""
        return lambda done: self._progress(start + (end - start) * done)
