"""A picture between the stages: pixels, alpha and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nccli.errors import UsageError
from nccli.media.around.colour import Colour

Pixels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Metadata:
    """What a picture carries beside its pixels, as it stood in the file.

    Attributes:
        icc: ICC profile.
        exif: EXIF block, beginning with its TIFF header; its orientation tag is 1.
        xmp: XMP packet.
        colour: what the samples mean, where it is neither sRGB nor only the profile's to say.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    colour: Colour | None = None


@dataclass(frozen=True)
class Picture:
    """One picture, upright.

    Attributes:
        pixels: (h, w, 3) RGB or (h, w, 1) gray; uint8 or uint16.
        alpha: (h, w) of the same type, or None when all is opaque.
        metadata: profiles and tags.
        remarks: what was wrong with the file it was read from, in words.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = field(default_factory=Metadata)
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape, kind = self.pixels.shape, self.pixels.dtype
        if kind not in (np.uint8, np.uint16) or len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise UsageError(f"a picture of shape {shape} and type {kind} cannot be coded")
        if self.alpha is not None and (self.alpha.shape != shape[:2] or self.alpha.dtype != kind):
            raise UsageError("alpha differs from the picture in size or type")

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def gray(self) -> bool:
        return bool(self.pixels.shape[2] == 1)

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 if self.pixels.dtype == np.uint8 else 16

    def array(self) -> Pixels:
        """Everything in one array: (h, w), (h, w, 2), (h, w, 3) or (h, w, 4), alpha last."""
        if self.alpha is not None:
            joined: Pixels = np.concatenate((self.pixels, self.alpha[..., None]), axis=2)
            return joined
        return self.pixels[..., 0] if self.gray else self.pixels


def change_depth(samples: Pixels, depth: int) -> Pixels:
    """Samples of 8 or 16 bits to the other, white to white, a few rows at a time."""
    if samples.dtype.itemsize * 8 == depth:
        return samples
    out: Pixels = np.empty(samples.shape, np.dtype("u1" if depth == 8 else "u2"))
    for row, source in zip(out, samples, strict=True):
        row[...] = (source.astype(np.uint32) + 128) // 257 if depth == 8 else source.astype(np.uint16) * 257
    return out


def eight_bit(picture: Picture) -> Picture:
    """The picture with 8 bits per sample."""
    alpha = None if picture.alpha is None else change_depth(picture.alpha, 8)
    return replace(picture, pixels=change_depth(picture.pixels, 8), alpha=alpha)


def drop_opaque(alpha: Pixels | None) -> Pixels | None:
    """None for an alpha plane that hides nothing."""
    if alpha is None or int(alpha.min()) == 2 ** (8 * alpha.dtype.itemsize) - 1:
        return None
    return alpha
