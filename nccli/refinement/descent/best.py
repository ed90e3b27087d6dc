"""The best rounded iterate of a run, and the last step towards a target.

With a target the iterates lie on both sides of it. Two of them on the same lattice can be mixed
position by position, which comes as near to the target as a single position's bits allow.
"""

from __future__ import annotations

import numpy as np

from nccli.coding.sender import Latents
from nccli.refinement.descent.aims import Control, Fixed, Measured, Quality
from nccli.refinement.descent.judge import Candidate, Judge


class Best:
    """Keeps what may be written, and the nearest iterate on the other side of the target."""

    def __init__(self, judge: Judge, control: Control, start: Candidate) -> None:
        self._judge, self._control = judge, control
        self.start = start
        self.kept: Candidate | None = None
        self.beyond: Candidate | None = None

    def offer(self, candidate: Candidate) -> None:
        """See one more iterate."""
        measured = candidate.measured
        if isinstance(self._control, Fixed):
            if self.kept is None or self.cost(measured) < self.cost(self.kept.measured):
                self.kept = candidate
        elif candidate.still:
            if self._control.meets(measured):
                if self.kept is None or self.cost(measured) < self.cost(self.kept.measured):
                    self.kept = candidate
            elif self.beyond is None or self._excess(measured) < self._excess(self.beyond.measured):
                self.beyond = candidate

    def cost(self, measured: Measured) -> float:
        """What is to be small among iterates that meet the target."""
        if isinstance(self._control, Quality):
            return measured.bytes
        if isinstance(self._control, Fixed):
            return self._judge.objective(measured, self._control.lmbda)
        return self._judge.distortion(measured, self._control.lmbda)

    def _excess(self, measured: Measured) -> float:
        return -measured.psnr if isinstance(self._control, Quality) else measured.bytes

    def chosen(self) -> Candidate:
        """The best so far, the start if nothing is better."""
        kept, start = self.kept, self.start
        if kept is None:
            return start
        behind = self.cost(kept.measured) >= self.cost(start.measured)
        return start if behind and self._control.meets(start.measured) else kept

    @property
    def settled(self) -> bool:
        """The target is met from near by, or can be by mixing."""
        if isinstance(self._control, Fixed):
            return True
        return self.kept is not None and (self.beyond is not None or self._control.tight(self.kept.measured))

    def mix(self) -> None:
        """Take as many positions from the iterate beyond the target as the target allows."""
        if self.kept is None or self.beyond is None or self._control.tight(self.kept.measured):
            return
        kept, beyond = self.kept, self.beyond
        low, high = 0, kept.latents.y[0].size
        while high - low > 1:
            middle = (low + high) // 2
            mixed = self._judge.candidate(_mixed(kept.latents, beyond.latents, middle), kept.setting, True)
            if self._control.meets(mixed.measured):
                low = middle
                self.offer(mixed)
            else:
                high = middle


def _mixed(kept: Latents, beyond: Latents, count: int) -> Latents:
    """The first `count` positions, in scan order, of one and the rest of the other."""
    first = np.arange(kept.y[0].size).reshape(kept.y.shape[1:]) < count
    return Latents(kept.grid, np.where(first, beyond.y, kept.y), kept.z)
