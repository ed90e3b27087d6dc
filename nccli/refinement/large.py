"""The windows of a large picture, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nccli.codec.refining import RefineOptions
from nccli.coding.sender import Latents, price
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LATENT_BITS, STEP_Z_CHOICES
from nccli.refinement.descent.aims import Control, Fixed, Quality, Size
from nccli.refinement.descent.judge import Judge, Task
from nccli.refinement.descent.metric import Source
from nccli.refinement.descent.optimise import Optimiser, Result
from nccli.refinement.descent.problem import Kit, Problem
from nccli.refinement.descent.trace import Check, Moment, Observer
from nccli.refinement.start import searched
from nccli.refinement.windows import pilot, window_task, windows, write_back

PILOT_SHARE = 0.5
"""Steps of the pilot against those of every window."""


@dataclass(frozen=True)
class Start:
    """A picture before refinement."""

    kit: Kit
    source: Source
    latents: Latents
    setting: Setting


@dataclass(frozen=True)
class Optimised:
    """A picture after refinement, before it is coded.

    Attributes:
        latents: rounding them makes the symbols.
        setting: to code them at.
        lmbda: of the objective at the end.
        rows: of the trace; of all windows, one after the other.
        interrupted: the user stopped it.
    """

    latents: Latents
    setting: Setting
    lmbda: float
    rows: tuple[Check, ...]
    interrupted: bool


class Windows:
    """Refines a large picture."""

    def __init__(self, start: Start, options: RefineOptions, control: Control, observer: Observer) -> None:
        self._start, self._options, self._control, self._observer = start, options, control, observer
        self._parts = windows(start.latents.grid)
        self._total = PILOT_SHARE + len(self._parts)
        self._done = 0.0
        self._rows: list[Check] = []

    def run(self) -> Optimised:
        """Find the steps and lambda on the pilot, then refine every window."""
        start = self._start
        first = self._pilot()
        setting = replace(start.setting, step_y=first.best.setting.step_y, step_z=first.best.setting.step_z)
        around = self._rounded(setting)
        latents = Latents(start.latents.grid, start.latents.y.copy(), start.latents.z.copy())
        interrupted = first.interrupted
        for window in [] if interrupted else self._parts:
            task = window_task(start.kit, start.source, setting, around, window)
            inside = window_task(start.kit, start.source, setting, start.latents, window).latents
            free = np.True_ if task.free is None else (task.free > 0).cpu().numpy()
            mixed = replace(task.latents, y=np.where(free, inside.y, task.latents.y))
            result = self._optimise(replace(task, latents=mixed), Fixed(first.lmbda), 1.0)
            for target in (latents, around):
                write_back(window, result.best.latents, target)
            if result.interrupted:
                interrupted = True
                break
        return Optimised(latents, setting, first.lmbda, tuple(self._rows), interrupted)

    def _pilot(self) -> Result:
        """One window refined on its own, its bytes or PSNR held when the picture has such a target."""
        start = self._start
        task = window_task(start.kit, start.source, start.setting, start.latents, pilot(start.latents.grid))
        task = replace(task, free=None)
        lmbda = self._control.lmbda
        task = replace(task, setting=searched(task, self._options, lmbda))
        control: Control = Fixed(lmbda)
        if not isinstance(self._control, Fixed):
            anchors = Problem(task.kit, task.latents.grid, task.setting).anchors
            measured = Judge(task, anchors).measure(task.latents, task.setting)
            if isinstance(self._control, Size):
                control = Size(lmbda, round(measured.bytes), self._control.two_sided)
            elif isinstance(self._control, Quality):
                control = Quality(lmbda, measured.psnr)
        return self._optimise(task, control, PILOT_SHARE)

    def _optimise(self, task: Task, control: Control, share: float) -> Result:
        """One window, which is `share` of the `_total` work."""
        before, total = self._done, self._total

        def tell(moment: Moment) -> None:
            fraction = (before + moment.fraction * share) / total
            rest = (total - before - share) / max((1 - moment.fraction) * share, 1e-6)
            self._observer(replace(moment, fraction=fraction, seconds_left=moment.seconds_left * (1 + rest)))

        seconds = self._options.seconds
        options = replace(
            self._options,
            steps=max(round(self._options.steps * share), 1),
            seconds=None if seconds is None else seconds * share / total,
        )
        result = Optimiser(task, options, control, tell).run()
        self._done += share
        self._rows.extend(result.rows)
        return result

    def _rounded(self, setting: Setting) -> Latents:
        """What a window sees around it: the latents as a decoder would have them now."""
        start = self._start
        step = 2.0 ** STEP_Z_CHOICES[setting.step_z]
        _, y_hat = price(start.kit.weights, start.latents, setting)
        z = np.rint(start.latents.z / np.float32(step)) * np.float32(step)
        return Latents(start.latents.grid, y_hat.astype(np.float32) / np.float32(2**LATENT_BITS), z)
