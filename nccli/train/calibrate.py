"""Fit the integer tables of y to the symbols that the finished model really produces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.encoding import walk
from nccli.entropy import IntArray, Tables
from nccli.rate import LAMBDA_MAX, LAMBDA_MIN, lambda_to_rate
from nccli.search import setting_at
from nccli.tables import MAX_REACH, fitted_tables
from nccli.tiles import analyse
from nccli.weights import ImageWeights

REACH = MAX_REACH + 1
"""Larger magnitudes are counted as this one: no row reaches it, so they belong to the escapes."""

TILES = 96
RATES = 6
"""Rates, log-uniform over the served range, that the symbols are counted at."""

ROUNDS = 2
"""The encoder's choices depend on the tables, so fit twice."""


class SymbolCounter:
    """A `SymbolCoder` that counts magnitudes per row of the tables of y."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.counts = np.zeros((tables.rows, REACH + 1))

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        if tables is self._tables:
            size = np.minimum(np.abs(symbols), REACH)
            place = indexes.astype(np.int64) * (REACH + 1) + size
            self.counts += np.bincount(place, minlength=self.counts.size).reshape(self.counts.shape)
        return symbols


@torch.inference_mode()
def count_symbols(weights: ImageWeights, tiles: Tensor) -> NDArray[np.float64]:
    """Magnitudes per row over tiles (n, 3, h, w) uint8, every rate weighing alike."""
    latents = [analyse(weights, tile.permute(1, 2, 0).numpy()) for tile in tiles]
    total = np.zeros((weights.y_tables.rows, REACH + 1))
    for lmbda in np.geomspace(LAMBDA_MIN, LAMBDA_MAX, RATES):
        counter = SymbolCounter(weights.y_tables)
        setting = setting_at(weights, lambda_to_rate(float(lmbda)))
        for item in latents:
            walk(weights, item, setting, counter)
        total += counter.counts
    return total


def calibrate(weights: ImageWeights, tiles: Tensor) -> Tables:
    """Tables of y fitted on tiles (n, 3, h, w) uint8."""
    chosen = tiles[torch.linspace(0, len(tiles) - 1, min(TILES, len(tiles))).long()]
    for _ in range(ROUNDS):
        weights = replace(weights, y_tables=fitted_tables(count_symbols(weights, chosen)))
    return weights.y_tables
