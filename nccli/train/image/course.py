"""A run's settings and where it stands."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open


@dataclass(frozen=True)
class Plan:
    """One run's settings.

    Attributes:
        size: model size, a key of `CONFIGS`.
        minutes: wall-clock budget; the learning rate is annealed to end with it.
        batch: crops per step, of all processes together.
        crop: side of a crop in pixels, a multiple of 64.
        rate: peak learning rate.
        flat: fraction of the budget at the peak rate before the cosine fall to 2 %.
        warmup: steps of linear warm-up.
        z_warmup: fraction of the budget over which the bits of z come to count in full; 0 for at once.
        average: decay of the averaged weights per step.
        seed: seed of crops and noise.
        bf16: run the transforms in bfloat16.
        roi_every: every so many steps, the whole batch has random regions of interest; 0 for never.
        shrunk: share of the batches that are made of tiles of reduced size.
        screens: share of the crops that are of screens.
        metric: the distortion to train for, a key of `DISTORTIONS`.
        every: steps between turns of the optimiser's bases.
        longest: side of its largest covariance.
        details: only the network of the details' scales learns.
    """

    size: str = "s"
    minutes: float = 60.0
    batch: int = 8
    crop: int = 192
    rate: float = 1e-3
    flat: float = 0.35
    warmup: int = 200
    z_warmup: float = 0.5
    average: float = 0.999
    seed: int = 1
    bf16: bool = False
    roi_every: int = 4
    shrunk: float = 0.75
    screens: float = 0.1
    metric: str = "mse"
    every: int = 20
    longest: int = 330
    details: bool = False


@dataclass
class Progress:
    """Where a run stands: steps and images done, seconds used of the budget."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0

    def used(self, plan: Plan) -> float:
        """Part of the budget that is used up."""
        return self.seconds / (plan.minutes * 60)

    def learning_rate(self, plan: Plan) -> float:
        """Warm-up by steps, then flat, then a cosine to 2 % by the clock."""
        fall = min(max((self.used(plan) - plan.flat) / (1 - plan.flat), 0), 1)
        scale = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall))
        return plan.rate * scale * min((self.step + 1) / plan.warmup, 1)

    def z_weight(self, plan: Plan) -> float:
        """What the bits of z count: rises with the square of the time, or z would die before it is of use."""
        return min(self.used(plan) / plan.z_warmup, 1.0) ** 2 if plan.z_warmup else 1.0


def plan_of(checkpoint: Path) -> Plan:
    """The settings of the run that a checkpoint is of."""
    with safe_open(checkpoint, "pt") as file:
        return Plan(**json.loads(file.metadata()["plan"]))
