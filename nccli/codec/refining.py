"""What a user may choose about a refinement. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from nccli.errors import UsageError


class Method(StrEnum):
    """Stand-ins for rounding, see `refinement/descent/relax`."""

    SSL = "ssl"
    LINEAR = "linear"
    COSINE = "cosine"
    ATANH = "atanh"
    STE = "ste"
    NOISE = "noise"
    DETERMINISTIC = "deterministic"


TWO_CLASSES = {Method.SSL: (4 / 3, 1.0, 1.0)}
THREE_CLASSES = {
    Method.SSL: (1.4, 0.93, 1.5),
    Method.LINEAR: (1.0, 0.98, 1.5),
    Method.COSINE: (1.0, 0.98, 2.0),
}
"""a, r and n where the thesis found them best (its table 5.4.3); elsewhere 1."""

TAU_MAX = {Method.ATANH: 0.5}
"""Highest temperature; 1 where not named. Source: thesis, table 5.4.1."""

LEARNING_RATES = {Method.STE: 0.002}
DEFAULT_LEARNING_RATE = 0.02
"""Steps of the lattice per optimiser step. The papers have 0.005 for 2000 steps at a constant rate;
with a rate that falls to zero larger ones end lower."""

TAU_END = 0.15
"""Temperature at the end of a schedule that has no `tau_rate`."""

METRICS = ("mse", "ms-ssim", "lpips", "features")


@dataclass(frozen=True)
class RefineOptions:
    """How to refine.

    Attributes:
        steps: optimiser steps.
        method: stand-in for rounding.
        classes: 2 or 3 neighbours that a value is rounded to.
        a: slope of ssl; None for the method's own.
        r: reach of three classes; likewise.
        n: power of three classes; likewise.
        lr: learning rate of y, lattice steps per optimiser step; likewise.
        tau_max: highest temperature; likewise.
        tau_rate: c of the temperature exp(-c t) at step t; None to end at `TAU_END`.
        seed: of the random roundings.
        seconds: time budget, which the schedule then follows instead of `steps`.
        search_step_z: try all steps of z at the start.
        naive: all steps stay those of the start: refinement alone.
        base_lambda: lambda of the rate point, when it is not that of the objective.
        metrics: (name, weight) of the distortions, see `refinement/descent/metric`.
        lpips_weights: file with the backbone of LPIPS; None for torch's cache.
    """

    steps: int = 500
    method: Method = Method.SSL
    classes: int = 2
    a: float | None = None
    r: float | None = None
    n: float | None = None
    lr: float | None = None
    tau_max: float | None = None
    tau_rate: float | None = None
    seed: int = 0
    seconds: float | None = None
    search_step_z: bool = True
    naive: bool = False
    base_lambda: float | None = None
    metrics: tuple[tuple[str, float], ...] = (("mse", 1.0),)
    lpips_weights: str | None = None

    def check(self) -> None:
        """Raise UsageError for values that make no sense."""
        positive = {"steps": self.steps, "lr": self.lr, "a": self.a, "n": self.n, "time": self.seconds}
        for name, value in positive.items():
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be positive, not {value:g}")
        for name, share in {"r": self.r, "tau-max": self.tau_max}.items():
            if share is not None and not 0 < share <= 1:
                raise UsageError(f"{name} must be in 0 .. 1, not {share:g}")
        if self.tau_rate is not None and not 0 <= self.tau_rate < math.inf:
            raise UsageError(f"tau-rate must not be negative, not {self.tau_rate:g}")
        if self.classes not in (2, 3):
            raise UsageError(f"classes is 2 or 3, not {self.classes}")
        if self.classes == 3 and self.method not in THREE_CLASSES:
            raise UsageError(f"{self.method} has no three-class form")
        for name, weight in self.metrics:
            if name not in METRICS:
                raise UsageError(f"unknown metric {name!r}: choose from {', '.join(METRICS)}")
            if not 0 <= weight < math.inf:
                raise UsageError(f"the weight of {name} must not be negative, not {weight:g}")

    def shape(self) -> tuple[float, float, float]:
        """a, r and n with the method's own where none are given."""
        own = (THREE_CLASSES if self.classes == 3 else TWO_CLASSES).get(self.method, (1.0, 1.0, 1.0))
        a, r, n = (
            o if given is None else given for o, given in zip(own, (self.a, self.r, self.n), strict=True)
        )
        return a, r, n

    def learning_rate(self) -> float:
        """Of y."""
        return self.lr if self.lr is not None else LEARNING_RATES.get(self.method, DEFAULT_LEARNING_RATE)

    def temperature(self, fraction: float) -> float:
        """tau when this fraction of the schedule is done. Source: thesis, equation 5.4.1."""
        tau_max = self.tau_max if self.tau_max is not None else TAU_MAX.get(self.method, 1.0)
        if self.tau_rate is None:
            return float(tau_max * (TAU_END / tau_max) ** fraction)
        return min(math.exp(-self.tau_rate * fraction * self.steps), tau_max)

    @property
    def perceptual(self) -> bool:
        """Something else than squared error counts."""
        return any(name != "mse" and weight for name, weight in self.metrics)


PRESETS = {
    "fast": RefineOptions(steps=100, lr=0.04),
    "default": RefineOptions(),
    "best": RefineOptions(steps=2000, lr=0.01),
}


def preset(name: str) -> RefineOptions:
    """The options of that name.

    Raises:
        UsageError: no such preset.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def parse_metrics(texts: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """`NAME=WEIGHT` or `NAME` each; nothing given means mse alone.

    Raises:
        UsageError: unknown names or weights that are no numbers.
    """
    if not texts:
        return (("mse", 1.0),)
    metrics: dict[str, float] = {}
    for text in texts:
        name, _, weight = text.partition("=")
        try:
            metrics[name] = float(weight or 1)
        except ValueError:
            raise UsageError(f"{text!r} is not NAME=WEIGHT") from None
    return tuple(metrics.items())
