"""Pictures of what a file holds: its mask, and where its bits went."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nccli.codec.coded import choose_device
from nccli.codec.image import model_of
from nccli.coding.bits import bits_map
from nccli.container.image_file import ImageContainer, ImageHeader
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_setting
from nccli.entropy.grid import LATENT_STRIDE, Grid
from nccli.entropy.region import FULL
from nccli.masks.mask import png_of

RAMP = ((0, 0, 4), (60, 15, 110), (150, 40, 105), (225, 90, 45), (250, 180, 30), (252, 255, 200))
"""Colours of nothing, of a fifth of the most, and so on: lighter is more."""

MOST = 99.5
"""Percentile of the positions that is drawn as the most."""


@dataclass(frozen=True)
class BitsMap:
    """A drawing of where the bits went.

    Attributes:
        png: the picture, of the coded picture's size.
        most: bits per pixel at the lightest colour.
    """

    png: bytes
    most: float


def roi_map(container: ImageContainer) -> bytes:
    """The importance of every position, softened as decoders do it; white all over without a mask."""
    header, region = container.header, stored_setting(container).region
    grid = Grid.of(header.height, header.width)
    if region is None:
        importance = np.full((grid.height, grid.width), FULL, np.uint8)
    else:
        importance = region.importance(grid.height, grid.width).astype(np.uint8)
    return png_of(_enlarged(importance, header))


def draw_bits(container: ImageContainer, device: str = "auto") -> BitsMap:
    """Where the bits of a file went.

    Raises:
        FormatError: the file is damaged.
        UnsupportedError: it needs another version or model.
    """
    header = container.header
    weights = model_of(container, choose_device(device))
    grid = Grid.of(header.height, header.width)
    payload = container.section(SectionId.LATENTS)
    spent = bits_map(weights, grid, stored_setting(container), payload) / LATENT_STRIDE**2
    most = max(float(np.percentile(spent, MOST)), 1e-6)
    place = np.clip(spent / most, 0, 1) * (len(RAMP) - 1)
    colours = np.array(RAMP, np.float64)
    shown = np.stack([np.interp(place, np.arange(len(RAMP)), colours[:, c]) for c in range(3)], axis=2)
    out = io.BytesIO()
    Image.fromarray(_enlarged(np.rint(shown).astype(np.uint8), header)).save(out, "PNG")
    return BitsMap(out.getvalue(), most)


def _enlarged(positions: NDArray[np.uint8], header: ImageHeader) -> NDArray[np.uint8]:
    """Latent positions as the pixels that they stand for."""
    rows = positions.repeat(LATENT_STRIDE, 0)[: header.height]
    return rows.repeat(LATENT_STRIDE, 1)[:, : header.width]
