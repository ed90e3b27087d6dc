"""Masks that weight the distortion of every pixel."""

from __future__ import annotations

import numpy as np

from nccli import files
from nccli.errors import UsageError
from nccli.media import read_picture
from nccli.refinement.distortion import Importance

BACKGROUND = 0.04
"""Weight of a pixel where the mask is black. Source: Gao et al. 2022, 4.5."""


def read_importance(path: str, height: int, width: int) -> Importance:
    """A mask picture as weights: white is 1, black `BACKGROUND`, shades lie between.

    Raises:
        UsageError: it has another size than the picture.
        MediaError: it cannot be read.
    """
    pixels = read_picture(files.read_bytes(path), path, height * width).pixels
    if pixels.shape[:2] != (height, width):
        found = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise UsageError(f"the mask {path} is {found}, the picture {width}x{height}")
    shade = pixels.astype(np.float32).mean(2) / np.iinfo(pixels.dtype).max
    return np.asarray(BACKGROUND + (1 - BACKGROUND) * shade, np.float32)
