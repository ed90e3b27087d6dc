"""Where the bits of a picture went."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.coding.schedule import CHECKS_BYTES, Driver, Features, Group, Receiver, code_hyper, code_latents
from nccli.entropy.coder import IntArray, SymbolDecoder, Tables, symbol_bits
from nccli.entropy.grid import HYPER_STRIDE, Grid
from nccli.entropy.setting import Setting
from nccli.networks.weights import ImageWeights

PositionMap = NDArray[np.float64]
"""A number for every latent position, (h, w)."""


class Meter:
    """A driver that notes, for another one, what every latent position costs.

    Attributes:
        bits: (h, w); what z costs is shared evenly by the positions under it.
    """

    def __init__(self, driver: Driver, tables: Tables, grid: Grid) -> None:
        self._driver, self._tables, self._grid = driver, tables, grid
        self.bits: PositionMap = np.zeros((grid.height, grid.width))

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        symbols = self._driver.hyper(tables, indexes)
        each = symbol_bits(tables, indexes, symbols).reshape(-1, *self._grid.hyper).sum(0)
        rows, columns = (np.arange(side) // HYPER_STRIDE for side in self.bits.shape)
        self.bits += (each / np.outer(np.bincount(rows), np.bincount(columns)))[rows][:, columns]
        return symbols

    def latents(self, group: Group) -> Tensor:
        symbols = self._driver.latents(group)
        indexes = group.indexes.flatten()[group.sent].cpu().numpy()
        values = symbols.flatten()[group.sent].to(torch.int64).cpu().numpy()
        count = group.indexes.shape[1]
        cost = symbol_bits(self._tables, indexes, values)
        each = np.bincount(group.sent.cpu().numpy() % count, cost, count)
        self.bits[slice(*group.rows)][group.mask.cpu().numpy()] += each
        return symbols


@torch.inference_mode()
def bits_map(weights: ImageWeights, grid: Grid, setting: Setting, payload: bytes) -> PositionMap:
    """Bits of every latent position in the payload of a latents section.

    Raises:
        FormatError: the payload is damaged.
    """
    coder = SymbolDecoder(payload[CHECKS_BYTES:])
    meter = Meter(Receiver(weights.y_tables, coder), weights.y_tables, grid)
    z_symbols = code_hyper(weights, grid, setting.step_z, meter)
    code_latents(weights, grid, Features(weights, grid, z_symbols, setting.step_z), setting, meter)
    coder.finish()
    return meter.bits
