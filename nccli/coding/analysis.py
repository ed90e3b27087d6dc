"""A picture's latents for whatever setting an encoder tries."""

from __future__ import annotations

from nccli.coding.condition import ALONE, Condition
from nccli.coding.sender import Latents
from nccli.coding.tiles import Progress, analyse, quiet
from nccli.entropy.grid import Grid
from nccli.entropy.rate import RATE_UNIT
from nccli.entropy.setting import Setting
from nccli.media.picture import Pixels
from nccli.networks.weights import ImageWeights

REACH = RATE_UNIT // 4
"""Rate points on either side that one run of g_a serves: a quarter of an octave of lambda off costs next to
nothing."""


class Analyser:
    """Runs g_a and h_a where on the rate axis they are needed, and keeps the last result.

    Settings that are near the last run's share its latents, so that at the end of a search sizes follow
    the steps alone, without jumps.
    """

    def __init__(
        self,
        weights: ImageWeights,
        pixels: Pixels,
        progress: Progress = quiet,
        condition: Condition = ALONE,
    ) -> None:
        """pixels: (h, w, 1 or 3); progress is told about the first run."""
        self._weights, self._pixels, self._progress = weights, pixels, progress
        self._condition = condition
        self._made_for: Setting | None = None
        self._latents: Latents | None = None

    def __call__(self, setting: Setting) -> Latents:
        """The latents to code at a setting."""
        if self._latents is None or not self._serves(setting):
            self._latents = None  # a large picture's latents need not be there twice
            field = setting.field(Grid.of(*self._pixels.shape[:2]))
            self._latents = analyse(self._weights, self._pixels, field, self._progress, self._condition)
            self._made_for, self._progress = setting, quiet
        return self._latents

    def _serves(self, setting: Setting) -> bool:
        """The last run's latents suit this setting, too."""
        made_for = self._made_for
        if made_for is None or not self._weights.config.follows_rate:
            return made_for is not None
        return made_for.region is setting.region and abs(made_for.rate - setting.rate) <= REACH
