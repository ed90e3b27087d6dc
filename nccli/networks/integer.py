"""Exact integer layers of the entropy path: float64 arrays that hold integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from nccli.entropy.steps import LATENT_BITS
from nccli.networks.chain import Conv, Layers, Leak
from nccli.networks.products import Floats, Matrix

WEIGHT_LIMIT = 2**20
"""Largest magnitude of an integer weight."""

ACTIVATION_LIMIT = 2**21
"""Largest magnitude of an integer activation: +-512 with 12 fractional bits."""

EXACT_LIMIT = 2**53
"""Integers below this magnitude are exact in float64, whatever the order of the sums."""

SHIFT_LIMIT = 512
"""Largest magnitude of a shift: what it scales stays far from the ends of float64."""

PATCH_COLUMNS = 2048
"""Positions whose 3x3 neighbourhoods are laid out at once: bounds the memory."""

BLOCK = 2**15
"""Numbers that are rounded and clamped at once: they stay in the processor's cache."""


class IntegerConv:
    """A stride-1 convolution on integers held in float64, exact on every machine.

    Weights are integers with a power-of-two scale per output channel. Inputs and outputs are
    fixed point with `LATENT_BITS` fractional bits, clamped to `limit`. Construction proves that
    every partial sum stays below 2^53.

    Attributes:
        weight: (c_out, c_in, k, k), k is 1 or 3.
        bias: (c_out,).
        shift: (c_out,) sums are divided by 2^shift.
        limit: of inputs and outputs.

    Source: docs/FORMAT.md section 7.
    """

    def __init__(
        self,
        weight: NDArray[np.int32],
        bias: NDArray[np.int64],
        shift: NDArray[np.int32],
        limit: int = ACTIVATION_LIMIT,
    ) -> None:
        self.weight, self.bias, self.shift, self.limit = weight, bias, shift, limit
        flat = weight.reshape(len(weight), -1)
        bound = np.abs(flat.astype(np.float64)).sum(1) * limit + np.abs(bias.astype(np.float64))
        if bound.max() >= EXACT_LIMIT:
            raise ValueError(f"integer layer may reach {bound.max():.3g}, beyond 2^53")
        if np.abs(shift.astype(np.int64)).max() > SHIFT_LIMIT:
            raise ValueError(f"integer layer has a shift beyond {SHIFT_LIMIT}")
        self._matrix = Matrix(flat, shift)
        self._offset: Floats = np.ldexp(bias.astype(np.float64), -shift)[:, None]

    @classmethod
    def from_float(
        cls, weight: Floats, bias: Floats, limit: int = ACTIVATION_LIMIT, weight_limit: int = WEIGHT_LIMIT
    ) -> IntegerConv:
        """Quantise a float convolution; the rounding half is folded into the bias.

        Exact operations and roundings of single numbers only: every machine finds the same integers.
        """
        peak = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 2.0**-20)
        shift = np.frexp((weight_limit - 1) / peak)[1].astype(np.int32) - np.int32(1)
        scale = np.ldexp(1.0, shift)
        integer = np.rint(weight * scale[:, None, None, None]).astype(np.int32)
        offset = np.rint(bias * scale * 2**LATENT_BITS + scale / 2).astype(np.int64)
        return cls(integer, offset, shift, limit)

    def __call__(self, x: Floats) -> Floats:
        """x: (c_in, n) or (c_in, h, w), which a side of 3 needs -> a new array (c_out, ...)."""
        total = np.empty((len(self.weight), x[0].size))
        if self.weight.shape[-1] == 1:
            self._matrix.times(x.reshape(len(x), -1), total)
        else:
            for place, patches in _patches(x):
                self._matrix.times(patches, total[:, place])
        self._finish(total)
        return total.reshape(len(total), *x.shape[1:])

    def _finish(self, total: Floats) -> None:
        """Bias, rounding and clamping in place."""
        rows = max(BLOCK // max(total.shape[1], 1), 1)
        for first in range(0, len(total), rows):
            part = total[first : first + rows]
            part += self._offset[first : first + rows]
            np.floor(part, out=part)
            np.clip(part, -self.limit, self.limit, out=part)


def _patches(x: Floats) -> Iterator[tuple[slice, Floats]]:
    """3x3 neighbourhoods of all positions, some rows at a time: places, and (9c, places)."""
    channels, height, width = x.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = x
    step = max(PATCH_COLUMNS // width, 1)
    for top in range(0, height, step):
        rows = min(step, height - top)
        laid = np.empty((channels, 9, rows, width))
        for tap in range(9):
            i, j = divmod(tap, 3)
            laid[:, tap] = padded[:, top + i : top + i + rows, j : j + width]
        yield slice(top * width, (top + rows) * width), laid.reshape(channels * 9, -1)


def leak(x: Floats, slope: float) -> None:
    """Leaky ReLU in place: negative integers are multiplied by the slope, rounded down."""
    flat = x.reshape(-1)
    for first in range(0, len(flat), BLOCK):
        part = flat[first : first + BLOCK]
        leaked = part * slope
        np.floor(leaked, out=leaked)
        np.maximum(part, leaked, out=part)


def shuffle(x: Floats) -> Floats:
    """Pixel shuffle: (4c, h, w) -> (c, 2h, 2w)."""
    channels, height, width = len(x) // 4, *x.shape[1:]
    out = np.empty((channels, 2 * height, 2 * width))
    for phase in range(4):
        out[:, phase // 2 :: 2, phase % 2 :: 2] = x[phase::4]
    return out


Convolution = Callable[[str, Conv], IntegerConv]
"""Gives the integer layer of a name and a description."""


class Kept:
    """A `Convolution` that notes, in `layers`, what it has given."""

    def __init__(self, convolution: Convolution) -> None:
        self._convolution = convolution
        self.layers: dict[str, IntegerConv] = {}

    def __call__(self, path: str, layer: Conv) -> IntegerConv:
        self.layers[path] = self._convolution(path, layer)
        return self.layers[path]


class Chain:
    """Layers one after the other."""

    def __init__(self, layers: Layers, convolution: Convolution, path: str) -> None:
        """convolution: gives the one of a name; names are those of `path` and a layer's place in it."""
        self._steps = [
            convolution(f"{path}.{place}", layer) if isinstance(layer, Conv) else layer
            for place, layer in enumerate(layers)
        ]

    def __call__(self, x: Floats) -> Floats:
        """x: (c, n) or (c, h, w), which stays as it is -> a new array."""
        for number, step in enumerate(self._steps):
            if isinstance(step, IntegerConv):
                x = step(x)
            elif isinstance(step, Leak):
                x = x if number else x.copy()
                leak(x, step.slope)
            else:
                x = shuffle(x)
        return x
