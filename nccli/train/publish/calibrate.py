"""Fit steps and integer tables of y to what the finished model really does.

Noise in place of rounding overrates the bits of small latents, so that training settles on steps
that are too coarse for their lambda, and on scales that are off. Both are put right here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.codec.coded import Coded, shape_of, with_details
from nccli.codec.packing import details_of
from nccli.coding.analysis import Analyser
from nccli.coding.search import setting_at
from nccli.coding.sender import Latents, Stream, default_step_z, price, send, walk
from nccli.coding.tiles import Shape, reconstruct
from nccli.entropy.coder import IntArray, Tables
from nccli.entropy.rate import (
    ANCHOR_SPACING,
    FIRST_ANCHOR,
    LAMBDA_MAX,
    LAMBDA_MIN,
    NUM_ANCHORS,
    lambda_to_rate,
    rate_to_lambda,
)
from nccli.entropy.setting import Setting
from nccli.entropy.tables import MAX_REACH
from nccli.media.picture import Pixels
from nccli.networks.entropy_model import DetailModel
from nccli.networks.weights import ImageWeights
from nccli.train.image.distortion import Distortion
from nccli.train.publish.fitting import fitted_tables

REACH = MAX_REACH + 1
"""Larger magnitudes are counted as this one: no row reaches it, so they belong to the escapes."""

TILES = 48
RATES = 6
"""Rates, log-uniform over the served range, that the symbols are counted at."""

OFFSETS = (-32, -16, 0, 16)
"""Trial offsets of the log2 steps, 1/64 octave."""

DETAIL_OFFSETS = (-64, -32, 0, 32)
"""Likewise of the details."""

STEP_TILES_EVERY = 3
"""Of the tiles that symbols are counted on, steps are fitted on every third."""


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
    pictures = [tile.permute(1, 2, 0).numpy() for tile in tiles]
    total = np.zeros((weights.y_tables.rows, REACH + 1))
    for lmbda in np.geomspace(LAMBDA_MIN, LAMBDA_MAX, RATES):
        counter = SymbolCounter(weights.y_tables)
        setting = setting_at(weights, lambda_to_rate(float(lmbda)))
        for pixels in pictures:
            walk(weights, Analyser(weights, pixels)(setting), setting, counter)
        total += counter.counts
    return total


@torch.inference_mode()
def fitted_gain(weights: ImageWeights, tiles: Tensor, measure: Distortion) -> NDArray[np.int64]:
    """log2 steps whose common offset at each anchor gives the least bpp + lambda * distortion."""
    pictures = [tile.permute(1, 2, 0).numpy() for tile in tiles]
    gain = weights.gain.copy()
    for anchor in range(NUM_ANCHORS):
        rate = FIRST_ANCHOR + anchor * ANCHOR_SPACING
        setting = Setting(rate, 0, default_step_z(weights, rate))
        latents = [Analyser(weights, x)(setting) for x in pictures]
        losses = [
            sum(
                _loss(weights, x, item, replace(setting, step_y=offset), measure)
                for x, item in zip(pictures, latents, strict=True)
            )
            for offset in OFFSETS
        ]
        curve, slope, _ = np.polyfit(OFFSETS, losses, 2)
        best = -slope / (2 * curve) if curve > 0 else OFFSETS[int(np.argmin(losses))]
        gain[anchor] += round(float(np.clip(best, OFFSETS[0], OFFSETS[-1])))
    return gain


def _loss(weights: ImageWeights, x: Pixels, latents: Latents, setting: Setting, measure: Distortion) -> float:
    size, y_hat = price(weights, latents, setting)
    x_hat = reconstruct(weights, y_hat, setting.field(latents.grid), Shape(x.shape[0], x.shape[1]))
    distortion = float(measure(_signal(x_hat), _signal(x)))
    return float(size * 8 / (x.shape[0] * x.shape[1]) + rate_to_lambda(setting.rate) * distortion)


@torch.inference_mode()
def fitted_detail_gain(weights: ImageWeights, tiles: Tensor, measure: Distortion) -> NDArray[np.int64]:
    """log2 steps of the details whose offset at each anchor gives the least bpp + lambda * distortion."""
    pictures = [tile.permute(1, 2, 0).numpy() for tile in tiles]
    model = cast(DetailModel, weights.details)
    gain = model.gain.copy()
    for anchor in range(NUM_ANCHORS):
        rate = FIRST_ANCHOR + anchor * ANCHOR_SPACING
        setting = Setting(rate, 0, default_step_z(weights, rate))
        streams = [send(weights, Analyser(weights, x)(setting), setting) for x in pictures]
        losses = []
        for offset in DETAIL_OFFSETS:
            trial = replace(weights, details=replace(model, gain=model.gain + offset))
            pairs = zip(pictures, streams, strict=True)
            losses.append(sum(_loss_with_details(trial, x, stream, measure) for x, stream in pairs))
        gain[anchor] += DETAIL_OFFSETS[int(np.argmin(losses))]
    return gain


def _loss_with_details(weights: ImageWeights, x: Pixels, stream: Stream, measure: Distortion) -> float:
    coded = Coded(weights, shape_of(x), with_details(weights, x, stream))
    size = len(stream.payload) + len(details_of(coded.stream) or b"")
    distortion = float(measure(_signal(coded.reconstruct()), _signal(x)))
    return size * 8 / (x.shape[0] * x.shape[1]) + rate_to_lambda(stream.setting.rate) * distortion


def _signal(pixels: Pixels) -> Tensor:
    """(h, w, 3) uint8 as (1, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255


def calibrate(weights: ImageWeights, tiles: Tensor, measure: Distortion) -> ImageWeights:
    """The model with steps and tables of y fitted on tiles (n, 3, h, w) uint8."""
    chosen = tiles[torch.linspace(0, len(tiles) - 1, min(TILES, len(tiles))).long()]
    weights = replace(weights, y_tables=fitted_tables(count_symbols(weights, chosen)))
    weights = replace(weights, gain=fitted_gain(weights, chosen[::STEP_TILES_EVERY], measure))
    weights = replace(weights, y_tables=fitted_tables(count_symbols(weights, chosen)))
    if weights.details is None:
        return weights
    gain = fitted_detail_gain(weights, chosen[::STEP_TILES_EVERY], measure)
    return replace(weights, details=replace(weights.details, gain=gain))
