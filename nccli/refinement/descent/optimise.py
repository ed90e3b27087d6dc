"""The optimisation of one picture, or one window of a picture, by gradient.

Soft symbols are hardened by a falling temperature; z is rounded for good first, the step of y next,
so that the last part moves symbols on a lattice that stands still. Every few steps the latents are
rounded for real and priced by the exact coder; what is returned is the best of these, never a soft
iterate.

Source: Yang et al. 2020, Improving inference for neural image compression; Gao et al. 2022, Flexible
neural image compression via code editing, 2.3.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nccli.bounds import STEP_Y_LIMIT
from nccli.codec.refining import RefineOptions
from nccli.entropy.steps import STEP_UNIT
from nccli.refinement.descent.adam import Adam
from nccli.refinement.descent.aims import Control
from nccli.refinement.descent.best import Best
from nccli.refinement.descent.judge import Candidate, Judge, Task
from nccli.refinement.descent.metric import PEAK_SQUARED
from nccli.refinement.descent.problem import Problem
from nccli.refinement.descent.relax import Relaxation
from nccli.refinement.descent.trace import Check, Moment, Observer, ignore

FREEZE_Z, FREEZE_STEP = 0.6, 0.8
"""Shares of the schedule after which z, and then the step of y, stand still."""

Z_RATE, STEP_RATE = 0.5, 0.1
"""Learning rates of z (its steps) and step_y (octaves), relative to that of y."""

LEAST_RATE = 0.05
"""Share of the learning rate that is left at the end of its cosine."""

CHECKS = 25
CHECK_EVERY = (4, 50)
"""Rounded checks per run, and fewest and most steps between two."""

EXTRA_CHECKS = 24
"""Checks beyond the schedule until a target is met from both sides."""

EXTRA_FRACTION, EXTRA_RATE = 0.75, 0.5
"""Where in the schedule the temperature of these steps is, and the share of the learning rate they have:
soft and fast enough to move."""

Z, STEP = 2, 3
"""Numbers of these variables, after the two passes of y."""


@dataclass(frozen=True)
class Result:
    """How a refinement ended.

    Attributes:
        best: rounded iterate; the start if nothing was better.
        start: what it began with.
        rows: of the trace.
        lmbda: in use at the end.
        interrupted: the user stopped it.
    """

    best: Candidate
    start: Candidate
    rows: tuple[Check, ...]
    lmbda: float
    interrupted: bool = False


class Clock:
    """How far a run is, by steps or by time."""

    def __init__(self, options: RefineOptions) -> None:
        self._options = options
        self._start = time.perf_counter()
        self.step = 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    @property
    def fraction(self) -> float:
        """Of the schedule; 1 when it is over."""
        if self._options.seconds is not None:
            return min(self.seconds / self._options.seconds, 1.0)
        return min(self.step / self._options.steps, 1.0)

    @property
    def seconds_left(self) -> float:
        """Estimate."""
        done = max(self.fraction, 1e-6)
        return self.seconds * (1 - done) / done


class Optimiser:
    """One run."""

    def __init__(
        self, task: Task, options: RefineOptions, control: Control, observer: Observer = ignore
    ) -> None:
        self._task, self._options, self._control, self._observer = task, options, control, observer
        self._problem = Problem(task.kit, task.latents.grid, task.setting)
        self._variables = self._problem.variables(task.latents)
        variables = self._variables
        self._tensors = [*variables.y, variables.z, variables.step_y]
        rate = options.learning_rate()
        self._adam = Adam(self._tensors, [rate, rate, rate * Z_RATE, rate * STEP_RATE])
        self._moving = {0, 1, Z} if options.naive or task.free is not None else {0, 1, Z, STEP}
        self._masks = self._free_masks()
        self._features: Tensor | None = None
        self._z_bits = 0.0
        self._relaxation = Relaxation(options.method, options.classes, *options.shape())
        self._generator = torch.Generator(task.kit.weights.device).manual_seed(options.seed)
        self._clock = Clock(options)
        self._judge = Judge(task, self._problem.anchors)
        self.start = self._judge.candidate(task.latents, task.setting, False)
        self._best = Best(self._judge, control, self.start)
        self._rows: list[Check] = []

    def _free_masks(self) -> dict[int, Tensor]:
        free = self._task.free
        if free is None:
            return {}
        flat, grid = free.flatten(), self._problem.grid
        hyper = torch.nn.functional.interpolate(free[None, None], grid.hyper, mode="nearest")[0, 0]
        return {0: flat[self._problem.places[0]], 1: flat[self._problem.places[1]], Z: hyper}

    def run(self) -> Result:
        """Refine; a KeyboardInterrupt ends it with the best so far."""
        interrupted = False
        try:
            self._follow_schedule()
            self._meet_target()
        except KeyboardInterrupt:
            interrupted = True
        best = self._best.chosen()
        return Result(best, self.start, tuple(self._rows), self._control.lmbda, interrupted)

    def _follow_schedule(self) -> None:
        seconds, least_most = self._options.seconds, CHECK_EVERY
        every = min(max(self._options.steps // CHECKS, least_most[0]), least_most[1])
        checked = 0.0
        while (fraction := self._clock.fraction) < 1:
            self._freeze(fraction)
            soft = self._step(fraction)
            now = self._clock.fraction
            due = now - checked >= 1 / CHECKS if seconds is not None else self._clock.step % every == 0
            if due or now >= 1:
                checked = now
                self._check(now, soft)
            self._tell()

    def _meet_target(self) -> None:
        """Go on at the last temperature until iterates lie on both sides of the target, then mix two.

        What the analysis found, rounded on the final lattice, is larger and better than any refined
        iterate, and so serves as the one on the far side.
        """
        if self._best.settled:
            return self._best.mix()
        plain = replace(self._problem.latents(self._variables), y=self._task.latents.y)
        setting = replace(self._task.setting, step_y=self._step_y())
        self._best.offer(self._judge.candidate(plain, setting, True))
        for _ in range(EXTRA_CHECKS):
            if self._best.settled:
                break
            for _ in range(CHECK_EVERY[0]):
                soft = self._step(EXTRA_FRACTION, EXTRA_RATE)
            self._check(1.0, soft)
        self._best.mix()

    def _freeze(self, fraction: float) -> None:
        variables = self._variables
        if Z in self._moving and fraction >= FREEZE_Z:
            self._moving.discard(Z)
            with torch.no_grad():
                variables.z.copy_(variables.z.round())
                bits, self._features = self._problem.code_hyper(variables.z)
                self._z_bits = float(bits)
        if STEP in self._moving and fraction >= FREEZE_STEP:
            self._moving.discard(STEP)
            variables.step_y.detach().fill_(self._step_y() / STEP_UNIT)

    def _step_y(self) -> int:
        units = round(float(self._variables.step_y.detach()) * STEP_UNIT)
        return min(max(units, -STEP_Y_LIMIT), STEP_Y_LIMIT)

    def _step(self, fraction: float, rate: float | None = None) -> tuple[float, float]:
        """One step of the optimiser, at the schedule's rate if none is given; the soft bpp and PSNR."""
        task, problem = self._task, self._problem
        tau = self._options.temperature(fraction)
        moving = sorted(self._moving)
        for number, tensor in enumerate(self._tensors):
            tensor.requires_grad_(number in self._moving)

        def rounding(v: Tensor) -> Tensor:
            return self._relaxation(v, tau, self._generator)

        z_bits: Tensor | float = self._z_bits
        features = self._features
        if features is None:
            z_bits, features = problem.code_hyper(rounding(self._variables.z))
        soft = problem.code_latents(self._variables, features, rounding)
        x_hat = task.distortion.fit(self._synthesise(soft.y_hat))
        squared, perceptual = task.distortion.squared(x_hat), task.distortion.perceptual(x_hat)
        bpp = (soft.bits + z_bits) / task.pixels
        loss = self._control.rate_weight * bpp + task.distortion.total(
            squared, perceptual, self._control.lmbda
        )
        gradients = dict(
            zip(moving, torch.autograd.grad(loss, [self._tensors[n] for n in moving]), strict=True)
        )
        for number, mask in self._masks.items():
            if number in gradients:
                gradients[number] *= mask
        decay = LEAST_RATE + (1 - LEAST_RATE) * (1 + math.cos(math.pi * fraction)) / 2
        self._adam.step(gradients, decay if rate is None else rate)
        self._clock.step += 1
        return float(bpp.detach()), _decibels(float(squared.detach()))

    def _synthesise(self, y_hat: Tensor) -> Tensor:
        weights = self._task.kit.weights
        x_hat: Tensor = weights.g_s(y_hat * weights.spread[:, None, None], self._problem.anchors)
        return x_hat

    def _check(self, fraction: float, soft: tuple[float, float]) -> None:
        """Round for real, keep the iterate if it is the best, steer lambda, and note it."""
        setting = replace(self._task.setting, step_y=self._step_y())
        still = not self._moving & {Z, STEP}
        candidate = self._judge.candidate(self._problem.latents(self._variables), setting, still)
        self._best.offer(candidate)
        measured, lmbda = candidate.measured, self._control.lmbda
        best = self._best.chosen().measured
        row = Check(
            step=self._clock.step,
            seconds=self._clock.seconds,
            tau=self._options.temperature(fraction),
            lmbda=lmbda,
            soft_bpp=soft[0],
            soft_psnr=soft[1],
            bpp=measured.bytes * 8 / self._task.pixels,
            psnr=measured.psnr,
            perceptual=measured.perceptual,
            objective=self._judge.objective(measured, lmbda),
            best=self._judge.objective(best, lmbda),
            step_y=setting.step_y,
        )
        self._rows.append(row)
        self._control.learn(measured)

    def _tell(self) -> None:
        clock, best = self._clock, self._best.chosen().measured
        bpp = best.bytes * 8 / self._task.pixels
        objective = self._judge.objective(best, self._control.lmbda)
        self._observer(Moment(clock.fraction, clock.step, bpp, best.psnr, objective, clock.seconds_left))


def _decibels(squared: float) -> float:
    return 10 * math.log10(PEAK_SQUARED / max(squared, 1e-9))
