"""What layers the entropy networks consist of, written once for floats and for integers.

`layers.sequential` makes torch modules of such a description, `integer.Chain` exact arithmetic; the place
of a layer in it is its name in weights files. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAK = 0.125
"""Negative slope; a power of two, so that integer layers can apply it exactly."""


@dataclass(frozen=True)
class Conv:
    """A convolution of stride 1 with a bias, zeros around the plane; `size` is its side, 1 or 3."""

    c_in: int
    c_out: int
    size: int = 1


@dataclass(frozen=True)
class Leak:
    """Leaky ReLU."""

    slope: float = LEAK


@dataclass(frozen=True)
class Shuffle:
    """Four channels become one of twice the rows and columns."""


Layers = tuple[Conv | Leak | Shuffle, ...]
