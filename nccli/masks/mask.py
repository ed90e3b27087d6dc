"""Masks at pixel resolution, from pictures, boxes and arrays, and the regions that they ask for.

A mask is (h, w) uint8: 255 is important, 0 is not. Nothing here is normative.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nccli.bounds import DROPS_PER_OCTAVE, MAX_CELL_LOG2, MAX_DECISIONS, MAX_DROP, MAX_FEATHER
from nccli.entropy.grid import LATENT_STRIDE
from nccli.entropy.region import FULL, Region
from nccli.errors import UsageError
from nccli.media.picture import Picture, Pixels, change_depth

Mask = NDArray[np.uint8]

DEFAULT_GAIN = 30.0
"""How much more an error inside the region counts than one outside. Source: Perugachi-Diaz, chapter 6."""

DEFAULT_FEATHER = 32.0
"""Pixels over which quality falls off outside the region: two latents, no visible seam."""

MAX_GAIN = 2.0 ** (MAX_DROP / DROPS_PER_OCTAVE)

GRAY_LEVELS = 8
"""Levels of a mask with shades; one of two values has one."""

AVERAGE = 4
"""Side in pixels of the averages whose maximum a latent position gets."""

TOUCHED = FULL // 4
"""An average this bright makes a position important in a mask of two values: a line a pixel wide does."""

DARK, BRIGHT = 26, 229
"""Between the two a mask has a shade; beyond them it may be noise on black or white."""

PATCH, PATCH_SHARE = 5, 64
"""A mask has shades where a square of this side has them all over, less in small masks: one in so many
of the shorter side. Smoothed edges between black and white are narrower."""

ASPECT = 0.01
"""Relative difference of aspect that passes for rounding."""

EMPTY = "the mask names nothing important: coded without a region of interest"

BOX = re.compile(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*")


@dataclass(frozen=True)
class Choice:
    """How a mask becomes a region.

    Attributes:
        gain: how much more an error inside counts than one outside, 1 .. 65536.
        feather: pixels over which quality falls off outside the mask, 0 .. 112.
    """

    gain: float = DEFAULT_GAIN
    feather: float = DEFAULT_FEATHER

    @property
    def drop(self) -> int:
        """Fall of lambda outside, 1/64 octave."""
        if not 1 <= self.gain <= MAX_GAIN:
            raise UsageError(f"a gain of {self.gain:g} is outside 1 .. {MAX_GAIN:g}")
        return round(math.log2(self.gain) * DROPS_PER_OCTAVE)

    @property
    def passes(self) -> int:
        """The feather in latent positions."""
        widest = MAX_FEATHER * LATENT_STRIDE
        if not 0 <= self.feather <= widest:
            raise UsageError(f"a feather of {self.feather:g} pixels is outside 0 .. {widest}")
        return math.ceil(self.feather / LATENT_STRIDE)


def mask_of(picture: Picture) -> Mask:
    """The mask that a picture shows: its brightest channel, nothing where it is transparent.

    A picture of one colour all over is cut out by its alpha.
    """
    shown: Mask = change_depth(picture.pixels, 8).max(axis=2).astype(np.uint8)
    if picture.alpha is None:
        return shown
    opaque: Mask = change_depth(picture.alpha, 8).astype(np.uint8)
    if int(shown.min()) == int(shown.max()):
        return opaque
    visible: Mask = (shown.astype(np.uint16) * opaque // FULL).astype(np.uint8)
    return visible


def mask_of_boxes(text: str, height: int, width: int) -> Mask:
    """The mask of boxes `x,y,w,h[;...]`: left, top, width and height in pixels.

    Raises:
        UsageError: a box is written otherwise, or lies outside the picture.
    """
    mask = np.zeros((height, width), np.uint8)
    for part in filter(str.strip, text.split(";")):
        match = BOX.fullmatch(part)
        if match is None:
            raise UsageError(f"a box is X,Y,W,H in pixels, not {part.strip()!r}")
        left, top, wide, high = (int(number) for number in match.groups())
        inside = mask[max(top, 0) : max(top + high, 0), max(left, 0) : max(left + wide, 0)]
        if not inside.size:
            raise UsageError(f"the box {part.strip()} lies outside the picture, which is {width}x{height}")
        inside[...] = FULL
    return mask


def mask_of_array(values: NDArray[np.generic]) -> Mask:
    """The mask in an array (h, w) or (h, w, 1): bool, uint8, uint16, or float in [0, 1].

    Raises:
        UsageError: it is anything else.
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or not values.size:
        raise UsageError(f"a mask must be (h, w), not {values.shape}")
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(FULL)
    if values.dtype.kind == "f":
        if not (values.min() >= 0 and values.max() <= 1):
            raise UsageError("floating-point masks must lie in [0, 1]")
        rounded: Mask = np.rint(values.astype(np.float64) * FULL).astype(np.uint8)
        return rounded
    if values.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"a mask must be bool, uint8, uint16 or float in [0, 1], not {values.dtype}")
    samples: Pixels = values  # type: ignore[assignment]
    return change_depth(samples, 8).astype(np.uint8)


def fitted(mask: Mask, height: int, width: int, resize: bool = False) -> Mask:
    """The mask in a picture's size.

    Raises:
        UsageError: the mask has another aspect, and `resize` is not set.
    """
    if mask.shape == (height, width):
        return mask
    if not resize and not _same_aspect(mask.shape[0], mask.shape[1], height, width):
        text = f"the mask is {mask.shape[1]}x{mask.shape[0]}, the picture {width}x{height}: another aspect"
        if _same_aspect(mask.shape[1], mask.shape[0], height, width):
            text += ", as if one of them were turned by a quarter"
        raise UsageError(f"{text}; --roi-resize stretches the mask")
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.BOX))


def _same_aspect(mask_height: int, mask_width: int, height: int, width: int) -> bool:
    """Whether sizes agree but for rounding of the mask's to whole pixels."""
    wanted = mask_width * height / width
    other = mask_height * width / height
    return (
        min(abs(wanted - mask_height), abs(other - mask_width)) < 1 or abs(wanted / mask_height - 1) <= ASPECT
    )


def shaded(mask: Mask) -> bool:
    """Whether a mask has shades between black and white, not only smoothed edges."""
    gray = (mask > DARK) & (mask < BRIGHT)
    side = min(max(min(mask.shape) // PATCH_SHARE, 1), PATCH)
    for _ in range(side - 1):
        gray = gray[1:] & gray[:-1]
        gray = gray[:, 1:] & gray[:, :-1]
    return bool(gray.any())


def positions(mask: Mask) -> Mask:
    """The mask at latent positions, (ceil(h / 16), ceil(w / 16)): the brightest small average in each."""
    height, width = mask.shape
    rows, columns = -(-height // LATENT_STRIDE), -(-width // LATENT_STRIDE)
    out = np.empty((rows, columns), np.uint8)
    per = LATENT_STRIDE // AVERAGE
    for row in range(rows):
        strip = mask[row * LATENT_STRIDE : (row + 1) * LATENT_STRIDE]
        pad = ((0, LATENT_STRIDE - len(strip)), (0, columns * LATENT_STRIDE - width))
        blocks = np.pad(strip, pad, mode="edge").reshape(per, AVERAGE, columns * per, AVERAGE)
        averages = blocks.mean((1, 3), dtype=np.float64)
        out[row] = np.rint(averages.reshape(per, columns, per).max((0, 2)))
    return out


@dataclass(frozen=True, eq=False)
class Selection:
    """What a mask comes to.

    Attributes:
        mask: in the picture's size.
        region: what the file will hold; None when the mask makes no difference.
        remark: for the user, when that may surprise.
    """

    mask: Mask
    region: Region | None
    remark: str | None = None


def select(mask: Mask, choice: Choice) -> Selection:
    """The region that a mask of the picture's size asks for."""
    drop, passes = choice.drop, choice.passes
    top = GRAY_LEVELS if shaded(mask) else 1
    bright = positions(mask)
    wanted = (bright.astype(np.int64) * top + FULL // 2) // FULL if top > 1 else bright >= TOUCHED
    levels, cell_log2 = wanted.astype(np.uint8), 0
    while levels.size * top > MAX_DECISIONS and cell_log2 < MAX_CELL_LOG2:
        levels, cell_log2 = _halved(levels), cell_log2 + 1
    if not levels.any():
        return Selection(mask, None, EMPTY)
    if drop == 0 or int(levels.min()) == top:
        return Selection(mask, None)
    return Selection(mask, Region(levels, top, cell_log2, passes, drop))


def _halved(levels: Mask) -> Mask:
    """The highest level in every square of four."""
    padded = np.pad(levels, ((0, levels.shape[0] % 2), (0, levels.shape[1] % 2)), mode="edge")
    rows = np.maximum(padded[::2], padded[1::2])
    return np.maximum(rows[:, ::2], rows[:, 1::2])


def png_of(mask: Mask) -> bytes:
    """A mask as a gray PNG."""
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG", optimize=mask.size <= 2**20)
    return out.getvalue()
