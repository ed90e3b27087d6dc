"""What surrounds the pixels of a picture file: ICC profile, EXIF, XMP, and which way is up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import error as StructError
from typing import Any

import numpy as np
from PIL import Image

from nccli.media.around.colour import from_info, worth_keeping
from nccli.media.around.directory import EXIF_POINTER, GPS_POINTER
from nccli.media.around.exif import DESCRIPTIVE, exif_orientation, upright_exif, whole_exif
from nccli.media.picture import Metadata, Pixels

KEPT_SPACES = (b"RGB ", b"GRAY")
"""Colour spaces of ICC profiles that still hold after coding; others are converted to RGB."""

XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s{0,99}=\s{0,99}[\"']|\s{0,99}>\s{0,99}))(\d)")

BROKEN_TAGS = (OSError, SyntaxError, ValueError, TypeError, KeyError, AttributeError, StructError)
"""What Pillow raises on tags that it cannot write."""

BROKEN_EXIF = "its EXIF is broken and left out"


@dataclass(frozen=True)
class Carried:
    """Metadata to keep.

    Attributes:
        metadata: for a picture that has been turned upright.
        orientation: EXIF's number of how the stored picture is to be turned, 1..8.
        remarks: what was left out.
    """

    metadata: Metadata
    orientation: int = 1
    remarks: tuple[str, ...] = ()


def carried(stored: Metadata, orientation: int | None = None) -> Carried:
    """What to keep of the metadata in a file.

    Args:
        stored: as it stands there.
        orientation: where the file states it elsewhere than in EXIF or XMP, which then do not count.
    """
    exif = whole_exif(stored.exif) if stored.exif else None
    icc, xmp = stored.icc, stored.xmp
    if orientation is None:
        orientation = exif_orientation(exif) or _xmp_orientation(xmp) or 1
    kept = Metadata(
        icc=icc if icc and icc[16:20] in KEPT_SPACES else None,
        exif=upright_exif(exif, orientation != 1) if exif else None,
        xmp=XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None,
        colour=worth_keeping(stored.colour, icc is not None) if stored.colour else None,
    )
    return Carried(kept, orientation, (BROKEN_EXIF,) if stored.exif and not exif else ())


def _xmp_orientation(xmp: bytes | None) -> int | None:
    found = XMP_ORIENTATION.search(xmp or b"")
    return int(found[2]) if found and 1 <= int(found[2]) <= 8 else None


def turn_upright(samples: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation; (h, w) or (h, w, c). Source: EXIF 2.3, tag 0x0112."""
    if orientation == 1:
        return samples
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(samples[rows, columns])


def stored_in(image: Image.Image) -> Metadata:
    """Profiles and tags that an opened picture carries."""
    xmp = image.info.get("xmp")
    return Metadata(
        icc=_some_bytes(image.info.get("icc_profile")),
        exif=_some_bytes(image.info.get("exif")),
        xmp=xmp.encode() if isinstance(xmp, str) else _some_bytes(xmp),
        colour=from_info(image.info),
    )


def tiff_exif(image: Image.Image) -> bytes | None:
    """EXIF of a TIFF that Pillow has opened; None when Pillow cannot make a block of it."""
    try:
        source, kept = image.getexif(), Image.Exif()
        for tag in (*DESCRIPTIVE, EXIF_POINTER, GPS_POINTER):
            if tag in source:
                kept[tag] = source[tag] if tag in DESCRIPTIVE else source.get_ifd(tag)
        return kept.tobytes() if len(kept) else None
    except BROKEN_TAGS:
        return None


def _some_bytes(value: Any) -> bytes | None:
    return bytes(value) if isinstance(value, bytes | bytearray) and value else None
