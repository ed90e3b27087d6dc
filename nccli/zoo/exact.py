"""exp, log and erf from additions, multiplications and divisions of single numbers alone.

IEEE 754 fixes the last bit of those, but not that of a library's exp or of a sum in unknown order.
So tables made with these functions are the same on every machine. numpy does one operation at a
time and never fuses two; accuracy is about 1e-15, which the tables do not need.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LN2_HIGH, LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6
"""ln 2 in two parts, the first of few bits so that multiples of it are exact."""

EXP_TERMS, LOG_TERMS, ERF_TERMS = 14, 12, 110
"""Of the series; the rest is below the last bit."""

EXP_REACH = 700.0
"""Arguments of exp are kept within this."""

ERF_REACH = 6.0
"""Beyond, erf is one to 16 digits."""


def exp(x: Floats) -> Floats:
    """e^x, of x within +-EXP_REACH."""
    x = np.clip(x, -EXP_REACH, EXP_REACH)
    octaves = np.floor(x / (LN2_HIGH + LN2_LOW) + 0.5)
    rest = x - octaves * LN2_HIGH - octaves * LN2_LOW
    total = np.ones_like(rest)
    for term in range(EXP_TERMS, 0, -1):
        total = total * rest / term + 1.0
    return _shifted(total, octaves)


def log(x: Floats) -> Floats:
    """Natural logarithm of x > 0, by 2 atanh((m - 1) / (m + 1)) of a mantissa m near one."""
    mantissa, octaves = np.frexp(x)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, mantissa * 2.0, mantissa)
    octaves = np.where(small, octaves - 1, octaves).astype(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, total = s * s, np.zeros_like(s)
    for term in range(LOG_TERMS, -1, -1):
        total = total * square + 1.0 / (2 * term + 1)
    return octaves * LN2_HIGH + (octaves * LN2_LOW + 2.0 * s * total)


def softplus(x: Floats) -> Floats:
    """log(1 + e^x)."""
    return np.maximum(x, 0.0) + log(1.0 + exp(-np.abs(x)))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    result: Floats = 1.0 / (1.0 + exp(-x))
    return result


def tanh(x: Floats) -> Floats:
    """Hyperbolic tangent."""
    shrunk = exp(-2.0 * np.abs(x))
    result: Floats = np.copysign((1.0 - shrunk) / (1.0 + shrunk), x)
    return result


def erf(x: Floats) -> Floats:
    """Error function: 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (1 3 5 .. 2n+1)."""
    inner = np.clip(x, -ERF_REACH, ERF_REACH)
    double = 2.0 * inner * inner
    total = np.ones_like(inner)
    for term in range(ERF_TERMS, 0, -1):
        total = total * double / (2 * term + 1) + 1.0
    result: Floats = 1.1283791670955126 * inner * total * exp(-inner * inner)
    return np.where(np.abs(x) >= ERF_REACH, np.copysign(1.0, x), result)


def _shifted(x: Floats, octaves: NDArray[Any]) -> Floats:
    """x * 2^octaves."""
    result: Floats = np.ldexp(x, octaves.astype(np.int32))
    return result
