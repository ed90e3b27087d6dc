"""Matrix products of integers held in float64, which BLAS makes exactly as long as it is sound.

Some builds of OpenBLAS (that of numpy 1.26 among them) multiply wrongly on processors that are newer than
they are. So whenever a product of another size comes up, a known one is checked first; once one was wrong,
integers do the work from then on, slowly.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

CHECKED_COLUMNS, CHECKED_REST = 256, 64
"""Columns of a known product at most, and what its width is the remainder by that the real one has."""

KNOWN_LEFT, KNOWN_RIGHT = 2**19, 2**20
"""Largest magnitudes in a known product: sums of 8192 stay below 2^53."""

_WARNING = (
    "numpy's BLAS multiplies matrices wrongly on this processor. Integers do its work, rightly but slowly; "
    "another version of numpy, or OPENBLAS_CORETYPE=Haswell in the environment, cures it."
)


def blas(left: Floats, right: Floats, out: Floats) -> None:
    """out = left @ right."""
    np.matmul(left, right, out=out)


def limit_threads(threads: int) -> None:
    """Let BLAS use this many CPU threads from now on."""
    threadpool_limits(threads, user_api="blas")


class Trust:
    """Whether BLAS has been right so far."""

    def __init__(self) -> None:
        self.broken = False
        self._seen: set[tuple[int, int, int]] = set()

    def serves(self, rows: int, inner: int, columns: int) -> bool:
        """A product of (rows, inner) and (inner, columns) may be left to BLAS.

        Sizes of the same rows and inner are alike if their columns have as many binary digits.
        """
        size = rows, inner, columns.bit_length()
        if size not in self._seen and not self.broken:
            self._seen.add(size)
            few = min(columns, CHECKED_COLUMNS + columns % CHECKED_REST)
            self.broken = not known_product_is_right(rows, inner, few)
            if self.broken:
                warnings.warn(_WARNING, RuntimeWarning, stacklevel=2)
        return not self.broken


TRUST = Trust()
"""Of this process."""


def known_product_is_right(rows: int, inner: int, columns: int) -> bool:
    """BLAS agrees with integers on a known product of these sizes.

    The rows are compared by a sum of them with random odd factors, in 64-bit integers that wrap around: it
    costs next to nothing, and a wrong product has the right sum by chance only.
    Source: Freivalds 1977, Probabilistic machines can use less running time.
    """
    left, right = _known(rows, inner, KNOWN_LEFT), _known(inner, columns, KNOWN_RIGHT)
    product = np.empty((rows, columns))
    blas(left.astype(np.float64), right.astype(np.float64), product)
    if not (np.abs(product) < 2.0**53).all():
        return False
    factors = _known(rows, 1, 2**40) * 2 + 1
    mixed = (factors * left).sum(0)[:, None]
    found = (factors * product.astype(np.int64)).sum(0)
    return bool(np.array_equal(found, (mixed * right).sum(0)) and (product == np.floor(product)).all())


def _known(rows: int, columns: int, limit: int) -> NDArray[np.int64]:
    """Integers from -limit to limit, a power of two, without a pattern: bits of a multiplicative sequence."""
    mixed = np.arange(1, rows * columns + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    top = (mixed >> np.uint64(20)).astype(np.int64)
    return ((top & (2 * limit - 1)) - limit).reshape(rows, columns)


class Matrix:
    """An integer matrix whose rows are divided by powers of two; products with it are exact.

    That holds as long as the sums of the integers stay below 2^53: float64 has them in full, and a division
    by a power of two loses nothing.
    """

    def __init__(self, integers: NDArray[np.int32], shift: NDArray[np.int32]) -> None:
        """integers: (rows, inner); shift: (rows,), rows are divided by 2^shift."""
        self._integers, self._shift = integers, shift
        self._floats: Floats = np.ldexp(integers.astype(np.float64), -shift[:, None])

    def times(self, x: Floats, out: Floats) -> None:
        """Write the product with integers x, (inner, n), into out, (rows, n)."""
        rows, inner = self._floats.shape
        if TRUST.serves(rows, inner, x.shape[1]):
            return blas(self._floats, x, out)
        total: NDArray[Any] = self._integers.astype(np.int64) @ x.astype(np.int64)
        np.ldexp(total.astype(np.float64), -self._shift[:, None], out=out)
        return None
