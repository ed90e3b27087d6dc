"""The step field: from a rate point to integer quantisation steps.

Everything that changes rate or quality is a change of the step `s` of a uniform quantiser
(docs/FORMAT.md section 5). Steps, scales and rates are integers, so every machine computes
the same ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.rate import ANCHOR_SPACING, FIRST_ANCHOR, NUM_ANCHORS

STEP_UNIT = 64
"""Steps and scales are stored as log2 values in units of 1/64 octave."""

LATENT_BITS = 12
"""Latents and network activations are fixed point with 12 fractional bits."""

MANTISSA_BITS = 20
"""Fractional bits of the power-of-two mantissa table (`power_table`)."""

ROWS_PER_OCTAVE = 8
LOWEST_LOG2_RATIO = -3.25
HIGHEST_LOG2_RATIO = 8.0
"""Table rows of y: scale over step from 2^-3.25 (not coded at all) to 2^8, eight per octave."""

NUM_ROWS = round((HIGHEST_LOG2_RATIO - LOWEST_LOG2_RATIO) * ROWS_PER_OCTAVE) + 1

MAX_GAIN = 1024
"""Largest magnitude of a learned log2 step, 1/64 octave."""

STEP_Z_CHOICES = tuple(0.5 * i for i in range(-3, 4))
"""log2 of the allowed steps of z, indexed by the header's 3-bit `step_z`."""


def power_table() -> NDArray[np.int64]:
    """Integer mantissas round(2^(i/64) * 2^20) for i = 0..63; stored with the weights at export."""
    mantissas = [round(2 ** (i / STEP_UNIT + MANTISSA_BITS)) for i in range(STEP_UNIT)]
    return np.array(mantissas, np.int64)


def step_z_index(log2_step: float) -> int:
    """Index of the allowed z step nearest to `log2_step`."""
    return min(range(len(STEP_Z_CHOICES)), key=lambda i: abs(STEP_Z_CHOICES[i] - log2_step))


def interpolate_anchors(anchors: NDArray[np.int64], rate: int) -> NDArray[np.int64]:
    """Integer linear interpolation along the rate axis, constant beyond its ends.

    Args:
        anchors: (NUM_ANCHORS, c) integers.
        rate: rate point, see `nccli.entropy.rate`.

    Returns:
        (c,) integers, rounded down.
    """
    last = (NUM_ANCHORS - 1) * ANCHOR_SPACING
    position = min(max(rate - FIRST_ANCHOR, 0), last)
    low = min(position // ANCHOR_SPACING, NUM_ANCHORS - 2)
    part = position - low * ANCHOR_SPACING
    mixed: NDArray[np.int64] = anchors[low] * (ANCHOR_SPACING - part) + anchors[low + 1] * part
    return mixed // ANCHOR_SPACING
