"""Where on the rate axis a picture is coded. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nccli.entropy.grid import Grid

if TYPE_CHECKING:
    from nccli.entropy.region import RateField, Region


@dataclass(frozen=True)
class Setting:
    """Where on the rate axis a picture is coded.

    Attributes:
        rate: rate point, see `nccli.entropy.rate`.
        step_y: offset of every latent's log2 step, 1/64 octave.
        step_z: index into the allowed steps of z, 0..6.
        region: where the picture is to be better than elsewhere; None for nowhere.
    """

    rate: int
    step_y: int
    step_z: int
    region: Region | None = None

    def field(self, grid: Grid) -> RateField:
        """Rate point of every latent position."""
        from nccli.entropy.region import RateField

        return RateField.of(self.rate, self.region, grid.height, grid.width)
