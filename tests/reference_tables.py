"""Tables of the zoo, number by number, from docs/FORMAT.md section 13.2; shares no code with nccli."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

L, SMALL = 0.693145751953125, 1.42860682030941723212e-6


def exp(x: float) -> float:
    x = min(max(x, -700.0), 700.0)
    n = math.floor(x / (L + SMALL) + 0.5)
    r = x - n * L - n * SMALL
    t = 1.0
    for k in range(14, 0, -1):
        t = t * r / k + 1
    return t * 2.0**n


def log(x: float) -> float:
    m, n = math.frexp(x)
    if m < 0.7071067811865476:
        m, n = 2 * m, n - 1
    s = (m - 1) / (m + 1)
    q, t = s * s, 0.0
    for k in range(12, -1, -1):
        t = t * q + 1 / (2 * k + 1)
    return n * L + (n * SMALL + 2 * s * t)


def erf(x: float) -> float:
    if abs(x) >= 6:
        return math.copysign(1.0, x)
    d, t = 2 * x * x, 1.0
    for k in range(110, 0, -1):
        t = t * d / (2 * k + 1) + 1
    return 1.1283791670955126 * x * t * exp(-x * x)


def tanh(x: float) -> float:
    u = exp(-2 * abs(x))
    return math.copysign((1 - u) / (1 + u), x)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def softplus(x: float) -> float:
    return max(x, 0.0) + log(1 + exp(-abs(x)))


Layer = tuple[Sequence[Sequence[float]], Sequence[float], Sequence[float] | None]
"""matrix, bias, factor of one channel."""


def logit(layers: Sequence[Layer], x: float) -> float:
    """The prior of one channel."""
    values = [x]
    for matrix, bias, factor in layers:
        mixed = []
        for o, row in enumerate(matrix):
            t = bias[o]
            for weight, value in zip(row, values, strict=True):
                t = t + softplus(weight) * value
            mixed.append(t if factor is None else t + tanh(factor[o]) * tanh(t))
        values = mixed
    return values[0]


def mass(p: float) -> float:
    return math.floor(max(p, 0.0) * 2.0**40) / 2.0**40


def frequencies(masses: list[float]) -> list[int]:
    """A row of a table."""
    row = [*masses, max(1 - math.fsum(masses), 2.0**-18)]
    whole, free = math.fsum(row), 2**24 - len(row)
    found = [math.floor(p / whole * free) + 1 for p in row]
    found[found.index(max(found))] += 2**24 - sum(found)
    return found


def row_of_y(j: int, power: Sequence[int]) -> tuple[int, list[int]]:
    """Lowest symbol and frequencies."""
    u = 8 * j - 208
    s = power[u % 64] * 2.0 ** (u // 64 - 20)
    reach = min(max(math.ceil(12 * s), 5), 1500)
    edges = [erf((k - 0.5) * (0.7071067811865476 / s)) / 2 for k in range(-reach, reach + 2)]
    masses = [mass(b - a) for a, b in pairwise(edges)]
    return -reach, frequencies([min(pair) for pair in zip(masses, reversed(masses), strict=True)])


def row_of_z(layers: Sequence[Layer], median: int, step: int) -> tuple[int, list[int]]:
    """Lowest symbol and frequencies of a channel; median and step in fixed point."""
    edges = [logit(layers, median / 4096 + (k - 0.5) * (step / 4096)) for k in range(-127, 129)]
    masses = []
    for a, b in pairwise(edges):
        sign = -1 if a + b > 0 else 1
        masses.append(mass(abs(sigmoid(sign * b) - sigmoid(sign * a))))
    kept = [k for k, p in enumerate(masses) if p > 2.0**-18] or [127]
    return kept[0] - 127, frequencies(masses[kept[0] : kept[-1] + 1])
