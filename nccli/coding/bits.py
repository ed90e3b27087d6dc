"""Where the bits of a picture went."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nccli.coding.payload import read_payload
from nccli.coding.schedule import Driver, Group
from nccli.entropy.coder import IntArray, Tables, symbol_bits
from nccli.entropy.grid import HYPER_STRIDE, Grid
from nccli.entropy.setting import Setting
from nccli.networks.entropy_model import EntropyModel
from nccli.networks.interface import Context

PositionMap = NDArray[np.float64]
"""A number for every latent position, (h, w)."""


class Meter:
    """A driver that adds what every latent position costs to a map while another one codes.

    What z costs is shared evenly by the positions under it.
    """

    def __init__(self, driver: Driver, tables: Tables, grid: Grid, bits: PositionMap) -> None:
        self._driver, self._tables, self._grid, self._bits = driver, tables, grid, bits

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        symbols = self._driver.hyper(tables, indexes)
        each = symbol_bits(tables, indexes, symbols).reshape(-1, *self._grid.hyper).sum(0)
        rows, columns = (np.arange(side) // HYPER_STRIDE for side in self._bits.shape)
        self._bits += (each / np.outer(np.bincount(rows), np.bincount(columns)))[rows][:, columns]
        return symbols

    def latents(self, group: Group) -> IntArray:
        symbols = self._driver.latents(group)
        count = group.indexes.shape[1]
        each = np.bincount(group.sent % count, symbol_bits(self._tables, group.sent_indexes, symbols), count)
        self._bits[slice(*group.visit.rows)][group.visit.mask] += each
        return symbols


def bits_map(
    weights: EntropyModel, grid: Grid, setting: Setting, payload: bytes, context: Context | None = None
) -> PositionMap:
    """Bits of every latent position in a payload; arguments as of `payload.read_payload`.

    Raises:
        FormatError: the payload is damaged.
    """
    bits = np.zeros((grid.height, grid.width))
    tables = weights.y_tables
    read_payload(weights, grid, setting, payload, lambda d: Meter(d, tables, grid, bits), context)
    return bits
