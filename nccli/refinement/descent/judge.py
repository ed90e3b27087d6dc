"""The verdict on a rounded iterate: real bytes, real samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nccli.coding.sender import Latents, price
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LATENT_BITS
from nccli.refinement.descent.aims import Measured
from nccli.refinement.descent.metric import PEAK_SQUARED, Distortion
from nccli.refinement.descent.problem import Kit


@dataclass(frozen=True)
class Task:
    """What to refine.

    Attributes:
        kit: of the model.
        latents: start.
        setting: start.
        distortion: against the original.
        pixels: that the rate is divided by.
        overhead: bytes of the file beside the latents section.
        free: (h, w) 1 where latents may change, 0 where not; None for everywhere.
    """

    kit: Kit
    latents: Latents
    setting: Setting
    distortion: Distortion
    pixels: int
    overhead: float = 0.0
    free: Tensor | None = None


@dataclass(frozen=True)
class Candidate:
    """A rounded iterate.

    Attributes:
        latents: rounding them makes the symbols.
        setting: to code them at.
        measured: what they come to.
        still: its lattice is the final one.
    """

    latents: Latents
    setting: Setting
    measured: Measured
    still: bool = False


class Judge:
    """Measures rounded iterates of one task."""

    def __init__(self, task: Task, anchors: Tensor) -> None:
        self.task, self._anchors = task, anchors

    @torch.no_grad()
    def measure(self, latents: Latents, setting: Setting) -> Measured:
        """Round with the exact coder, price, decode and compare."""
        task = self.task
        weights = task.kit.weights
        size, y_hat = price(weights, latents, setting)
        scale = weights.spread[:, None, None] / 2**LATENT_BITS
        y = torch.from_numpy(y_hat).to(weights.device).float()
        shown = task.distortion.rounded(weights.g_s(y[None] * scale, self._anchors))
        squared = float(task.distortion.squared(shown))
        plain = float(task.distortion.squared(shown, weighted=False))
        psnr = 10 * math.log10(PEAK_SQUARED / max(plain, 1e-9))
        return Measured(size + task.overhead, psnr, squared, float(task.distortion.perceptual(shown)))

    def candidate(self, latents: Latents, setting: Setting, still: bool) -> Candidate:
        """A measured iterate."""
        return Candidate(latents, setting, self.measure(latents, setting), still)

    def distortion(self, measured: Measured, lmbda: float) -> float:
        """What distortion adds to the objective, bits per pixel."""
        return lmbda * self.task.distortion.mse_weight * measured.squared + measured.perceptual

    def objective(self, measured: Measured, lmbda: float) -> float:
        """bpp + distortion."""
        return measured.bytes * 8 / self.task.pixels + self.distortion(measured, lmbda)
