"""Sizes of the latents of a picture. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

LATENT_STRIDE = 16
"""Pixels per latent position, each way."""

HYPER_STRIDE = 4
"""Latent positions per hyper-latent position, each way."""

BAND_ROWS, BAND_POSITIONS = 64, 2**16
"""Latent rows per group of symbols, and positions that more rows than four must not exceed: this
bounds the memory of large pictures."""


@dataclass(frozen=True)
class Grid:
    """Sizes of the latents of a picture."""

    height: int
    width: int

    @classmethod
    def of(cls, height: int, width: int) -> Grid:
        """The grid of a picture of this many pixels."""
        return cls(-(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE))

    @property
    def hyper(self) -> tuple[int, int]:
        """Height and width of z."""
        return -(-self.height // HYPER_STRIDE), -(-self.width // HYPER_STRIDE)

    def bands(self) -> list[tuple[int, int]]:
        """First and past-the-end latent row of every band."""
        rows = BAND_POSITIONS // self.width // HYPER_STRIDE * HYPER_STRIDE
        rows = min(max(rows, HYPER_STRIDE), BAND_ROWS)
        return [(top, min(top + rows, self.height)) for top in range(0, self.height, rows)]
