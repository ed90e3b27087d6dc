"""Pictures too large to refine at once: windows, one after the other, each with its surroundings.

Only the latents inside a window move; its surroundings are wide enough that everything they
influence is in the objective, so each window lowers the cost of the whole picture. The steps of y
and z belong to the whole picture and are found on one window first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nccli.coding.sender import Latents
from nccli.coding.tiles import Span
from nccli.entropy.grid import HYPER_STRIDE, LATENT_STRIDE, Grid
from nccli.entropy.region import RateField
from nccli.entropy.setting import Setting
from nccli.refinement.descent.judge import Task
from nccli.refinement.descent.metric import Distortion, Source
from nccli.refinement.descent.problem import Kit

INNER, MARGIN = 48, 8
"""Latents a side of a window alone, and around it; multiples of `HYPER_STRIDE`."""

WHOLE = INNER + 2 * MARGIN
"""A picture of at most WHOLE^2 latent positions is one window: 1024 x 1024 pixels."""

EDGE = 4
"""Latents at a window's cut edges whose pixels do not count: the synthesis lacks what lies beyond."""


@dataclass(frozen=True)
class Placed(Setting):
    """A setting for a part of a picture, whose rate field is not at the picture's origin."""

    part: RateField | None = None

    def field(self, grid: Grid) -> RateField:
        return super().field(grid) if self.part is None else self.part


@dataclass(frozen=True)
class Window:
    """A rectangle of latents with its surroundings."""

    rows: Span
    columns: Span

    @property
    def outer(self) -> tuple[slice, slice]:
        """Latents of the window and its surroundings."""
        rows, columns = self.rows, self.columns
        return slice(rows.outer_start, rows.outer_end), slice(columns.outer_start, columns.outer_end)

    @property
    def hyper(self) -> tuple[slice, slice]:
        """The same in z."""
        rows, columns = (slice(s.start // HYPER_STRIDE, -(-s.stop // HYPER_STRIDE)) for s in self.outer)
        return rows, columns

    @property
    def grid(self) -> Grid:
        """Latents of the window and its surroundings."""
        rows, columns = self.outer
        return Grid(rows.stop - rows.start, columns.stop - columns.start)

    def free(self, device: torch.device) -> Tensor:
        """1 inside, 0 around."""
        mask = torch.zeros(self.grid.height, self.grid.width, device=device)
        mask[self.rows.inner, self.columns.inner] = 1
        return mask


def windows(grid: Grid) -> list[Window]:
    """The windows of a picture, rows first; one for a small picture."""
    if grid.height * grid.width <= WHOLE**2:
        return [Window(Span(0, grid.height, 0, grid.height), Span(0, grid.width, 0, grid.width))]
    rows, columns = _spans(grid.height), _spans(grid.width)
    return [Window(row, column) for row in rows for column in columns]


def _spans(length: int) -> list[Span]:
    starts = range(0, length, INNER)
    ends = [min(start + INNER, length) for start in starts]
    return [
        Span(start, end, max(start - MARGIN, 0), min(end + MARGIN, length))
        for start, end in zip(starts, ends, strict=True)
    ]


def window_task(kit: Kit, source: Source, setting: Setting, latents: Latents, window: Window) -> Task:
    """The task of one window of a picture whose latents are now these."""
    rows, columns = window.outer
    z_rows, z_columns = window.hyper
    part = Latents(window.grid, latents.y[:, rows, columns].copy(), latents.z[:, z_rows, z_columns].copy())
    field = setting.field(latents.grid).part(rows, columns)
    placed = Placed(setting.rate, setting.step_y, setting.step_z, setting.region, field)
    distortion = source.distortion(*_pixels(window), kit.weights.device)
    importance = _counted(window, latents.grid, distortion)
    distortion = replace(distortion, importance=importance)
    pixels = distortion.x.shape[2] * distortion.x.shape[3]
    return Task(kit, part, placed, distortion, pixels, 0.0, window.free(kit.weights.device))


def _pixels(window: Window) -> tuple[slice, slice]:
    rows, columns = (slice(s.start * LATENT_STRIDE, s.stop * LATENT_STRIDE) for s in window.outer)
    return rows, columns


def _counted(window: Window, grid: Grid, distortion: Distortion) -> Tensor:
    """Weight of a window's pixels: 0 along edges that are cut."""
    height, width = distortion.x.shape[2:]
    importance = torch.ones(1, 1, height, width, device=distortion.x.device)
    if distortion.importance is not None:
        importance = distortion.importance.clone()
    edge = EDGE * LATENT_STRIDE
    rows, columns = window.outer
    if rows.start:
        importance[..., :edge, :] = 0
    if rows.stop < grid.height:
        importance[..., -edge:, :] = 0
    if columns.start:
        importance[..., :edge] = 0
    if columns.stop < grid.width:
        importance[..., -edge:] = 0
    return importance


def write_back(window: Window, refined: Latents, latents: Latents) -> None:
    """Put the inside of a refined window in its place."""
    rows, columns = window.rows, window.columns
    latents.y[:, rows.start : rows.end, columns.start : columns.end] = refined.y[:, rows.inner, columns.inner]
    z_rows, z_columns = (_hyper_span(s) for s in (rows, columns))
    latents.z[:, z_rows[0], z_columns[0]] = refined.z[:, z_rows[1], z_columns[1]]


def _hyper_span(span: Span) -> tuple[slice, slice]:
    """Where the inside of a window is in z: of the picture, and of the window."""
    place = slice(span.start // HYPER_STRIDE, -(-span.end // HYPER_STRIDE))
    offset = span.outer_start // HYPER_STRIDE
    return place, slice(place.start - offset, place.stop - offset)


def pilot(grid: Grid) -> Window:
    """The window that stands for the picture: the one in the middle."""
    parts = windows(grid)
    return parts[len(parts) // 2]
