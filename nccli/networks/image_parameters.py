"""The image network's h_s and parameter heads in exact integers: what decides every probability.

`image_model.EntropyNetwork` is the same in floats, for training; both are made of one description.
Source: docs/FORMAT.md section 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nccli.networks.chain import Conv, Layers, Leak, Shuffle
from nccli.networks.integer import ACTIVATION_LIMIT, Chain, Convolution, Kept
from nccli.networks.interface import Visit
from nccli.networks.products import Floats

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Offsets of the positions that the second pass sees: up, down, left, right."""


class EntropySizes(Protocol):
    """Sizes of the network; see `image_model.ImageConfig`."""

    @property
    def M(self) -> int: ...
    @property
    def hyper_channels(self) -> int: ...
    @property
    def hyper_width(self) -> int: ...
    @property
    def context_width(self) -> int: ...


@dataclass(frozen=True)
class Parts:
    """Of what layers the network consists.

    Attributes:
        hyper: h_s, z_hat -> features.
        first_head: features and rate -> parameters of the first pass.
        reduce: y_hat -> the context of a position's neighbours.
        merge: features, rate and the contexts of four neighbours -> ...
        second_head: ... -> parameters of the second pass.
    """

    hyper: Layers
    first_head: Conv
    reduce: Layers
    merge: Layers
    second_head: Conv


def parts(sizes: EntropySizes) -> Parts:
    """The layers of a network of these sizes."""
    width, context = sizes.hyper_width, sizes.context_width
    raised = (Conv(width, 4 * width), Shuffle(), Leak())
    return Parts(
        hyper=(
            *(Conv(sizes.hyper_channels, width, 3), Leak(), *raised),
            *(Conv(width, width, 3), Leak(), *raised),
        ),
        first_head=Conv(width + 1, 2 * sizes.M),
        reduce=(Conv(sizes.M, context), Leak()),
        merge=(Conv(width + 1 + len(NEIGHBOURS) * context, width), Leak()),
        second_head=Conv(width, 2 * sizes.M),
    )


class ImageParameters:
    """The `ParameterNetwork` of the image models: two passes over a checkerboard.

    Heads work on each position alone, so they are given just the positions of their pass.

    Attributes:
        sizes: of the network.
        channels: of y.
        layers: its integer layers, by name.
    """

    context_channels = 0
    features_halo = 2

    def __init__(self, sizes: EntropySizes, convolution: Convolution) -> None:
        """convolution: gives the layer of a name."""
        self.sizes, self.channels = sizes, sizes.M
        described, kept = parts(sizes), Kept(convolution)
        self.hyper = Chain(described.hyper, kept, "hyper")
        self.first_head = kept("first_head", described.first_head)
        self.reduce = Chain(described.reduce, kept, "reduce")
        self.merge = Chain(described.merge, kept, "merge")
        self.second_head = kept("second_head", described.second_head)
        self.layers = kept.layers

    def features(self, z_hat: Floats, height: int, width: int) -> Floats:
        return self.hyper(z_hat)[:, :height, :width]

    def visits(self, bands: list[tuple[int, int]], width: int) -> Iterator[Visit]:
        """All bands of the first pass, then all bands of the second."""
        for number in range(2):
            for top, bottom in bands:
                even = checkerboard(bottom - top, width)
                yield Visit((top, bottom), even if number == 0 else ~even, (0, self.channels), number)

    def predict(
        self, visit: Visit, features: Floats, rate: Floats, y_hat: NDArray[np.int32]
    ) -> tuple[Floats, Floats]:
        width, context = self.sizes.hyper_width, self.sizes.context_width
        size = width + 1 + (len(NEIGHBOURS) * context if visit.number else 0)
        inputs = np.empty((size, len(visit.places)))
        np.take(features.reshape(width, -1), visit.places, axis=1, out=inputs[:width], mode="clip")
        inputs[width] = rate
        if visit.number:
            self._around(visit, y_hat, inputs[width + 1 :].reshape(len(NEIGHBOURS), context, -1))
        output = self.second_head(self.merge(inputs)) if visit.number else self.first_head(inputs)
        return output[: self.channels], output[self.channels :]

    def _around(self, visit: Visit, y_hat: NDArray[np.int32], out: Floats) -> None:
        """Contexts of a second visit's positions, (neighbours, context, n); zero beyond the picture."""
        height, width = y_hat.shape[1:]
        top, bottom = max(visit.rows[0] - 1, 0), min(visit.rows[1] + 1, height)
        rows, columns = np.nonzero(checkerboard(bottom - top, width, top))
        known = np.take(y_hat.reshape(len(y_hat), -1), (rows + top) * width + columns, axis=1)
        clamped = np.clip(known, -ACTIVATION_LIMIT, ACTIVATION_LIMIT).astype(np.float64)
        framed = np.zeros((self.sizes.context_width, bottom - top + 2, width + 2))
        flat = framed.reshape(len(framed), -1)
        flat[:, (rows + 1) * (width + 2) + columns + 1] = self.reduce(clamped)
        row, column = np.divmod(visit.places, width)
        place = (row + visit.rows[0] - top + 1) * (width + 2) + column + 1
        for part, (down, right) in zip(out, NEIGHBOURS, strict=True):
            np.take(flat, place + down * (width + 2) + right, axis=1, out=part, mode="clip")


def checkerboard(height: int, width: int, top: int = 0) -> NDArray[np.bool_]:
    """(h, w) from row `top` on: True where row + column is even, the positions of the first pass."""
    rows, columns = np.arange(top, top + height)[:, None], np.arange(width)
    even: NDArray[np.bool_] = (rows + columns) % 2 == 0
    return even
