"""What a refinement tells while it runs, and the record it leaves. Standard library only."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Check:
    """One rounded check, a line of the trace.

    Attributes:
        step: optimiser steps so far.
        seconds: since the start.
        tau: temperature.
        lmbda: of the objective at that time.
        soft_bpp: rate of the soft iterate, latents section alone.
        soft_psnr: of the soft iterate, dB.
        bpp: of the rounded iterate, whole file.
        psnr: of the rounded iterate, dB.
        perceptual: weighted sum of other distortions than mse.
        objective: bpp + distortion of the rounded iterate.
        best: objective of the best iterate so far.
        step_y: offset of the steps of y, 1/64 octave.
    """

    step: int
    seconds: float
    tau: float
    lmbda: float
    soft_bpp: float
    soft_psnr: float
    bpp: float
    psnr: float
    perceptual: float
    objective: float
    best: float
    step_y: int


@dataclass(frozen=True)
class Moment:
    """Where a refinement stands.

    Attributes:
        fraction: of the schedule, 0 .. 1.
        step: optimiser steps so far.
        bpp: of the best rounded iterate.
        psnr: likewise, dB.
        objective: likewise.
        seconds_left: estimate.
    """

    fraction: float
    step: int
    bpp: float
    psnr: float
    objective: float
    seconds_left: float


Observer = Callable[[Moment], None]


def ignore(moment: Moment) -> None:
    """An observer that does not care."""


def to_csv(rows: tuple[Check, ...]) -> str:
    """The trace with a line of column names."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(Check)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()})
    return out.getvalue()
