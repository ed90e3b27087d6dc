"""Where on the rate axis a picture is coded."""

from __future__ import annotations

from dataclasses import dataclass

from nccli.entropy.grid import Grid
from nccli.entropy.region import RateField, Region


@dataclass(frozen=True)
class Setting:
    """Where on the rate axis a picture is coded.

    Attributes:
        rate: as in `framing.Header`.
        step_y: likewise.
        step_z: likewise.
        region: where the picture is to be better than elsewhere; None for nowhere.
    """

    rate: int
    step_y: int
    step_z: int
    region: Region | None = None

    def field(self, grid: Grid) -> RateField:
        """Rate point of every latent position."""
        return RateField.of(self.rate, self.region, grid.height, grid.width)
