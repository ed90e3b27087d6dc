"""The transforms over a fixed grid of tiles, so that memory does not grow with the picture.

A tile is computed with as many neighbouring latents around it as the network's filters reach, so
tiles join without seams and the result is that of the whole picture up to float rounding. The
grid depends on nothing but the picture's size: the bytes of a file never depend on memory options.
A picture within one tile takes the direct path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nccli.coding.condition import ALONE, Condition
from nccli.coding.sender import Latents
from nccli.entropy.grid import HYPER_STRIDE, LATENT_STRIDE, Grid
from nccli.entropy.rate import RATE_UNIT
from nccli.entropy.region import RateField
from nccli.entropy.steps import LATENT_BITS
from nccli.media.picture import Pixels
from nccli.networks.anchors import anchor_weights
from nccli.networks.weights import ImageWeights

TILE_ROWS, TILE_COLUMNS = 64, 64
"""Latents per tile: 1024 x 1024 pixels, multiples of `HYPER_STRIDE`. Larger tiles repeat less of their
surroundings but take a fifth more CPU time: the system's allocator returns blocks above 32 MiB at once,
and fresh pages cost more than the repetition."""

Progress = Callable[[float], None]
"""Told how much of the work is done, 0 .. 1."""


@dataclass(frozen=True)
class Span:
    """One axis of a tile, in latents: first and past-the-end, alone and with its surroundings."""

    start: int
    end: int
    outer_start: int
    outer_end: int

    @property
    def outer(self) -> slice:
        """With its surroundings."""
        return slice(self.outer_start, self.outer_end)

    @property
    def inner(self) -> slice:
        """The tile inside its surroundings."""
        return slice(self.start - self.outer_start, self.end - self.outer_start)


@dataclass(frozen=True)
class Tile:
    """A rectangle of latents."""

    rows: Span
    columns: Span


def _spans(length: int, step: int, halo: int) -> list[Span]:
    ends = [(start, min(start + step, length)) for start in range(0, length, step)]
    return [Span(start, end, max(start - halo, 0), min(end + halo, length)) for start, end in ends]


def tiles(grid: Grid, halo: int) -> list[Tile]:
    """The tiles of a picture, rows first."""
    columns = _spans(grid.width, TILE_COLUMNS, halo)
    return [Tile(row, column) for row in _spans(grid.height, TILE_ROWS, halo) for column in columns]


def quiet(done: float) -> None:
    """Progress that nobody wants to know."""


def _counted(items: list[Tile], progress: Progress) -> Iterator[Tile]:
    for number, item in enumerate(items):
        yield item
        progress((number + 1) / len(items))


def _window(pixels: Pixels, tile: Tile, device: torch.device) -> Tensor:
    """The pixels of a tile and its surroundings: (1, 3, h, w) in [0, 1], sides multiples of 16."""
    part = pixels[_outer_pixels(tile)]
    scale = 255 if part.dtype == np.uint8 else 65535
    plain = part if part.dtype == np.uint8 else part.astype(np.int32)
    x = torch.tensor(plain, device=device).permute(2, 0, 1)[None].float() / scale
    x = _filled(x)
    return x.expand(1, 3, *x.shape[2:])


def _given(condition: Condition, tile: Tile, device: torch.device) -> Tensor | None:
    """What a condition shows of a tile and its surroundings: (1, c, h, w), sides multiples of 16."""
    if condition.pixels is None:
        return None
    rows, columns = _outer_pixels(tile)
    return _filled(torch.tensor(condition.pixels[:, rows, columns], device=device)[None])


def _outer_pixels(tile: Tile) -> tuple[slice, slice]:
    """Rows and columns of pixels of a tile and its surroundings."""
    rows, columns = (
        slice(span.outer_start * LATENT_STRIDE, span.outer_end * LATENT_STRIDE)
        for span in (tile.rows, tile.columns)
    )
    return rows, columns


def _filled(x: Tensor) -> Tensor:
    """(1, c, h, w) with its last row and column repeated up to multiples of 16."""
    height, width = x.shape[2:]
    return F.pad(x, (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE), mode="replicate")


@torch.no_grad()
def analyse(
    weights: ImageWeights,
    pixels: Pixels,
    field: RateField,
    progress: Progress = quiet,
    condition: Condition = ALONE,
) -> Latents:
    """Run g_a and h_a. pixels: (h, w, 1 or 3)."""
    grid = Grid.of(*pixels.shape[:2])
    parts = tiles(grid, weights.config.analysis_halo)
    spread, device = weights.spread[:, None, None], weights.device
    if len(parts) == 1:
        x, given = _window(pixels, parts[0], device), _given(condition, parts[0], device)
        y = weights.g_a(x, _anchors(field, device), given) / spread
        return Latents(grid, _array(y[0]), _array(weights.h_a(y)[0]))
    y = torch.empty(weights.config.M, grid.height, grid.width, device=device)
    for tile in _counted(parts, progress):
        rows, columns = tile.rows, tile.columns
        x, given = _window(pixels, tile, device), _given(condition, tile, device)
        y_tile = weights.g_a(x, _anchors(field.part(rows.outer, columns.outer), device), given)
        part = y_tile[0, :, rows.inner, columns.inner]
        torch.div(part, spread, out=y[:, rows.start : rows.end, columns.start : columns.end])
    return Latents(grid, _array(y), _array(_hyper(weights, y, grid)))


def _array(x: Tensor) -> NDArray[np.float32]:
    """On the CPU, in memory's own order."""
    array: NDArray[np.float32] = x.contiguous().cpu().numpy()
    return array


def _hyper(weights: ImageWeights, y: Tensor, grid: Grid) -> Tensor:
    """h_a by tiles: (hyper_channels, hz, wz)."""
    z = torch.empty(weights.config.hyper_channels, *grid.hyper, device=weights.device)
    for tile in tiles(grid, weights.config.hyper_halo):
        rows, columns = tile.rows, tile.columns
        window = y[None, :, rows.outer, columns.outer]
        place = [slice(s.start // HYPER_STRIDE, -(-s.end // HYPER_STRIDE)) for s in (rows, columns)]
        inside = [
            slice(s.inner.start // HYPER_STRIDE, -(-s.inner.stop // HYPER_STRIDE)) for s in (rows, columns)
        ]
        z[:, place[0], place[1]] = weights.h_a(window)[0, :, inside[0], inside[1]]
    return z


@dataclass(frozen=True)
class Shape:
    """What a decoder must know of a picture to make its pixels."""

    height: int
    width: int
    gray: bool = False
    depth: int = 8


@torch.no_grad()
def reconstruct(
    weights: ImageWeights,
    y_hat: NDArray[np.int32],
    field: RateField,
    shape: Shape,
    progress: Progress = quiet,
    condition: Condition = ALONE,
) -> Pixels:
    """Run g_s on fixed-point latents (M, h, w) and round to integer samples (h, w, 1 or 3)."""
    scale = weights.spread[:, None, None] / 2**LATENT_BITS
    out: Pixels = np.empty(
        (shape.height, shape.width, 1 if shape.gray else 3), np.uint8 if shape.depth == 8 else np.uint16
    )
    grid = Grid.of(shape.height, shape.width)
    for tile in _counted(tiles(grid, weights.config.synthesis_halo), progress):
        rows, columns = tile.rows, tile.columns
        part = torch.from_numpy(y_hat[:, rows.outer, columns.outer]).to(weights.device).float()
        anchors = _anchors(field.part(rows.outer, columns.outer), weights.device)
        x_hat = weights.g_s(part[None] * scale, anchors, _given(condition, tile, weights.device))[0]
        top, left = (s.inner.start * LATENT_STRIDE for s in (rows, columns))
        place = out[rows.start * LATENT_STRIDE : rows.end * LATENT_STRIDE]
        place = place[:, columns.start * LATENT_STRIDE : columns.end * LATENT_STRIDE]
        place[...] = _samples(x_hat[:, top : top + place.shape[0], left : left + place.shape[1]], shape)
    return out


def _anchors(field: RateField, device: torch.device) -> Tensor:
    """Rate weights as the transforms take them."""
    log2_lambda = torch.from_numpy(field.local).to(device, torch.float32) / RATE_UNIT - 12
    return anchor_weights(log2_lambda[None])


def _samples(x_hat: Tensor, shape: Shape) -> Pixels:
    """(3, h, w) in [0, 1] -> (h, w, 1 or 3) integers; a gray picture is the mean of its channels."""
    peak = 255 if shape.depth == 8 else 65535
    if shape.gray:
        x_hat = x_hat.mean(0, keepdim=True)
    rounded = (x_hat * peak).round_().clamp_(0, peak).to(torch.uint8 if shape.depth == 8 else torch.int32)
    samples: Pixels = rounded.permute(1, 2, 0).cpu().numpy()
    return samples
