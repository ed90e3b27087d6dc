"""The rate of a refinement: soft symbols of z and y -> bits and latents, differentiable.

Walks the coding schedule as `coding` does, in float32: z, then the two passes of y. Both passes'
latents are kept apart, so that a step of the optimiser gathers and scatters as little as possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nccli.coding.schedule import log2_steps
from nccli.coding.sender import Latents
from nccli.entropy.coder import IntArray
from nccli.entropy.grid import Grid
from nccli.entropy.rate import FIRST_ANCHOR, RATE_UNIT
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LOWEST_LOG2_RATIO, ROWS_PER_OCTAVE, STEP_UNIT, STEP_Z_CHOICES
from nccli.networks.anchors import anchor_weights
from nccli.networks.weights import ImageWeights
from nccli.refinement.descent.cost import CostTable
from nccli.refinement.descent.differentiable import Passes, View, float_view

CODED = 0.5
"""Table row, before rounding, from which a symbol is coded at all."""

Rounding = Callable[[Tensor], Tensor]
"""A soft rounding at some temperature."""


@dataclass(frozen=True)
class Kit:
    """What all pictures of one model share: the float view of its network and the cost tables."""

    weights: ImageWeights
    view: View
    y_costs: CostTable
    z_costs: tuple[CostTable, ...]

    @classmethod
    def of(cls, weights: ImageWeights) -> Kit:
        """The kit of a loaded model."""
        channels, device = weights.config.hyper_channels, weights.device
        rows = [range(i * channels, (i + 1) * channels) for i in range(len(STEP_Z_CHOICES))]
        return cls(
            weights,
            float_view(weights, device),
            CostTable(weights.y_tables, range(weights.y_tables.rows), True, device),
            tuple(CostTable(weights.z_tables, part, False, device) for part in rows),
        )


class Soft(NamedTuple):
    """A soft coding.

    Attributes:
        bits: of z and y together.
        y_hat: (1, M, h, w), latents.
    """

    bits: Tensor
    y_hat: Tensor


@dataclass
class Variables:
    """What is optimised.

    Attributes:
        y: latents of each pass, (M, n), in steps of the starting setting; a zoo network's are all in the
            first.
        z: hyper-latents in their steps.
        step_y: log2 of the factor on all steps of y, octaves.
    """

    y: tuple[Tensor, Tensor]
    z: Tensor
    step_y: Tensor


class Problem:
    """A picture or a window of one, at one setting: where its latents are and what they cost."""

    def __init__(self, kit: Kit, grid: Grid, setting: Setting) -> None:
        weights = kit.weights
        self.kit, self.grid, self.setting = kit, grid, setting
        device = weights.device
        first = torch.from_numpy(kit.view.first_pass(grid.height, grid.width)).to(device).flatten()
        self.places = (first.nonzero()[:, 0], (~first).nonzero()[:, 0])
        local, beyond = (_plane(p, grid) for p in _planes(setting, grid))
        still = Setting(setting.rate, 0, setting.step_z)
        chosen = [places.cpu().numpy() for places in self.places]
        whole = log2_steps(weights, still, local, beyond) / STEP_UNIT
        octaves = [whole[:, p] for p in chosen]
        self.log2_steps = tuple(torch.from_numpy(o).to(device, torch.float32) for o in octaves)
        self.steps = tuple(torch.exp2(log2) for log2 in self.log2_steps)
        above = torch.from_numpy((local - FIRST_ANCHOR) / RATE_UNIT).to(device, torch.float32)
        rates = above[self.places[0]][None, None, None], above[self.places[1]][None, None, None]
        self._passes = Passes(self.places, rates, (grid.height, grid.width))
        field = setting.field(grid)
        log2_lambda = torch.from_numpy(field.local).to(device, torch.float32) / RATE_UNIT - 12
        self.anchors = anchor_weights(log2_lambda[None])
        self.step_z = 2.0 ** STEP_Z_CHOICES[setting.step_z]
        self.z_costs = kit.z_costs[setting.step_z]
        channels = torch.arange(weights.config.hyper_channels, device=device, dtype=torch.float32)
        self.z_rows = channels[:, None, None].expand(-1, *grid.hyper)

    def variables(self, latents: Latents) -> Variables:
        """Starting point of the optimisation."""
        device = self.kit.weights.device
        flat = torch.tensor(latents.y, device=device).flatten(1)
        first, second = (flat[:, p] / s for p, s in zip(self.places, self.steps, strict=True))
        step_y = torch.tensor(self.setting.step_y / STEP_UNIT, device=device)
        return Variables((first, second), torch.tensor(latents.z, device=device) / self.step_z, step_y)

    def latents(self, variables: Variables) -> Latents:
        """The variables as the encoder takes them."""
        y, z = self._passes.joined(*self._unrounded(variables))[0], variables.z * self.step_z
        return Latents(self.grid, y.detach().cpu().numpy(), z.detach().cpu().numpy())

    def _unrounded(self, variables: Variables) -> tuple[Tensor, Tensor]:
        """Latents of each pass, (M, n)."""
        return variables.y[0] * self.steps[0], variables.y[1] * self.steps[1]

    def code_hyper(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Soft symbols of z -> bits and features (c, h * w)."""
        grid = self.grid
        bits = self.z_costs.bits(self.z_rows, z).sum()
        features = self.kit.view.network.features(z[None] * self.step_z, grid.height, grid.width)
        return bits, features[0].flatten(1)

    def code_latents(self, variables: Variables, features: Tensor, rounding: Rounding) -> Soft:
        """Code y softly, pass by pass."""

        def code(number: int, output: Tensor) -> tuple[Tensor, Tensor]:
            return self._code_pass(variables, number, output, rounding)

        coded = self.kit.view.code(self._passes, features, self._unrounded(variables), code)
        return Soft(coded.bits, self._passes.joined(*coded.latents))

    def _code_pass(
        self, variables: Variables, number: int, output: Tensor, rounding: Rounding
    ) -> tuple[Tensor, Tensor]:
        """Bits and latents (M, n) of one pass from the network's output.

        The lattice mean + k * step moves with z and with the first pass. Where a symbol is sent the
        decoder's latent does not follow: another k makes up for it, to within the rounding. So the
        mean has a gradient through the rate alone, as if k moved freely, and none through the pixels.
        """
        means, log2_scales = output[0, :, 0].chunk(2)
        log2 = self.log2_steps[number] + variables.step_y
        rows = (log2_scales - log2 - LOWEST_LOG2_RATIO) * ROWS_PER_OCTAVE
        sent = (rows.detach() >= CODED).flatten().nonzero()[:, 0]
        y = (variables.y[number] * self.steps[number]).flatten()[sent]
        steps = torch.exp2(log2).expand_as(means).flatten()[sent]
        mean = means.flatten()[sent]
        still = mean.detach()
        symbols = rounding((y - still) / steps)
        moved = symbols - (mean - still) / steps.detach()
        sent_rows = rows.flatten()[sent]
        bits = self.kit.y_costs.bits(sent_rows, moved)
        bits = bits.sum() + _leaving(bits, sent_rows, variables.step_y)
        y_hat = means.flatten().index_copy(0, sent, still + symbols * steps)
        return bits, y_hat.view_as(means)


def _leaving(bits: Tensor, rows: Tensor, step_y: Tensor) -> Tensor:
    """Zero, with the slope in step_y of what falls to the row that is not coded.

    As the step grows by a row, symbols less than a row above `CODED` cease to cost anything.
    """
    edge = bits.detach()[rows.detach() < CODED + 1].sum()
    return edge * ROWS_PER_OCTAVE * (step_y.detach() - step_y)


def _planes(setting: Setting, grid: Grid) -> tuple[IntArray, IntArray]:
    field = setting.field(grid)
    return field.local, field.beyond


def _plane(values: IntArray, grid: Grid) -> IntArray:
    """One value per position, or one for all -> (h * w,)."""
    return np.broadcast_to(values, (grid.height, grid.width)).reshape(-1)
