"""Rate control while refining: what lambda to use next, and which rounded iterate is the best.

A target is met at the end by choosing among rounded iterates, see `optimise`; here lambda is steered
so that they come to lie around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ELASTICITY = 0.6
"""d log bytes / d log lambda, about, at medium rates."""

PSNR_PER_LAMBDA = 1.3
"""dB of PSNR for each doubling of lambda, about."""

PATIENCE = 0.7
"""Share of the error that one correction takes out: the latents follow lambda with a delay."""

HEAD_START = 1.12
"""Rise of lambda before the first correction: refinement alone makes files that much smaller."""

AIM = 0.9965
"""Fraction of a size target that is aimed at."""

PRICE_ERROR = 4
"""Bytes that a real stream may take more than its price."""

TIGHT_SIZE = 0.9965
TIGHT_PSNR = 0.005
"""A target met within this fraction of the bytes, or these dB, needs no mixing."""

LAMBDA_RANGE = 16.0
"""Lambda never goes further from its start than by this factor."""

WEIGHT_ABOVE, WEIGHT_BELOW = 4.0, 0.25
"""Of the rate while it is above or below the target. Source: Mentzer et al. 2020; Gao et al. 2022, D."""


class Measured(NamedTuple):
    """A rounded iterate.

    Attributes:
        bytes: of the whole file, to within a few.
        psnr: dB, of the stored samples.
        squared: mean squared error on the scale of 8 bits, each pixel weighted by its importance.
        perceptual: weighted sum of the other distortions.
    """

    bytes: float
    psnr: float
    squared: float
    perceptual: float


class Control(Protocol):
    """What steers a refinement."""

    lmbda: float

    def learn(self, measured: Measured) -> None:
        """See a rounded iterate."""

    @property
    def rate_weight(self) -> float:
        """Factor on the rate in the objective."""

    def meets(self, measured: Measured) -> bool:
        """The iterate may be what is written."""

    def tight(self, measured: Measured) -> bool:
        """It meets the target with next to nothing to spare."""


@dataclass
class Fixed:
    """lambda stays as it is."""

    lmbda: float

    def learn(self, measured: Measured) -> None:
        """Nothing to learn."""

    @property
    def rate_weight(self) -> float:
        return 1.0

    def meets(self, measured: Measured) -> bool:
        return True

    def tight(self, measured: Measured) -> bool:
        return True


@dataclass
class Size:
    """At most `size` bytes, and nearly that.

    With `two_sided` the rate's weight moves instead of lambda, so that the balance among several
    distortions stays the user's: it jumps between two values by the last rounded size, and the level of
    both follows the sizes. Soft sizes would mislead: at high temperatures they are twice the real ones.

    Attributes:
        lmbda: at the start.
        size: bytes.
        two_sided: see above.
    """

    lmbda: float
    size: int
    two_sided: bool = False

    def __post_init__(self) -> None:
        self._level = self._side = 1.0
        if not self.two_sided:
            self.lmbda *= HEAD_START
        self._start = self.lmbda

    def learn(self, measured: Measured) -> None:
        change = math.exp(PATIENCE * math.log(self.size * AIM / measured.bytes) / ELASTICITY)
        if self.two_sided:
            self._level /= change
            self._side = WEIGHT_ABOVE if measured.bytes > self.size * AIM else WEIGHT_BELOW
        else:
            self.lmbda = _within(self.lmbda * change, self._start)

    @property
    def rate_weight(self) -> float:
        return self._level * self._side

    def meets(self, measured: Measured) -> bool:
        return measured.bytes <= self.size - PRICE_ERROR

    def tight(self, measured: Measured) -> bool:
        return measured.bytes >= TIGHT_SIZE * self.size


@dataclass
class Quality:
    """At least `psnr` dB, in few bytes."""

    lmbda: float
    psnr: float

    def __post_init__(self) -> None:
        self._start = self.lmbda

    def learn(self, measured: Measured) -> None:
        octaves = (self.psnr - measured.psnr) / PSNR_PER_LAMBDA
        self.lmbda = _within(self.lmbda * 2 ** (PATIENCE * octaves), self._start)

    @property
    def rate_weight(self) -> float:
        return 1.0

    def meets(self, measured: Measured) -> bool:
        return measured.psnr >= self.psnr

    def tight(self, measured: Measured) -> bool:
        return measured.psnr <= self.psnr + TIGHT_PSNR


def _within(lmbda: float, start: float) -> float:
    return min(max(lmbda, start / LAMBDA_RANGE), start * LAMBDA_RANGE)
