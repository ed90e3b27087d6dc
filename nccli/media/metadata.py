"""What surrounds the pixels of a picture file: ICC profile, EXIF, XMP, and which way is up."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from PIL import Image

from nccli.media.picture import Metadata, Pixels

ORIENTATION = 0x0112
EXIF_PREFIX = b"Exif\0\0"

XMP_TAG = 700

TIFF_TAGS = (270, 271, 272, 305, 306, 315, 33432, 34665, 34853)
"""Descriptive tags of a TIFF: title, maker, camera, software, date, artist, copyright, EXIF, GPS."""

KEPT_SPACES = (b"RGB ", b"GRAY")
"""Colour spaces of ICC profiles that still hold after coding; others are converted to RGB."""

XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>\s*))\d")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 when there is none or it makes no sense."""
    value = image.getexif().get(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turn_upright(samples: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation; (h, w) or (h, w, c). Source: EXIF 2.3, tag 0x0112."""
    if orientation == 1:
        return samples
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(samples[rows, columns])


def metadata_of(image: Image.Image) -> Metadata:
    """Profiles and tags of an opened picture, marked upright."""
    icc = _some_bytes(image.info.get("icc_profile"))
    xmp = image.info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return Metadata(
        icc=icc if icc and icc[16:20] in KEPT_SPACES else None,
        exif=_exif(image),
        xmp=XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if isinstance(xmp, bytes) and xmp else None,
    )


def _some_bytes(value: Any) -> bytes | None:
    return bytes(value) if isinstance(value, bytes | bytearray) and value else None


def _exif(image: Image.Image) -> bytes | None:
    stored = _some_bytes(image.info.get("exif"))
    if stored is not None:
        return upright_exif(stored.removeprefix(EXIF_PREFIX))
    if image.format != "TIFF":
        return None
    kept = _descriptive(image.getexif())
    return upright_exif(kept.tobytes().removeprefix(EXIF_PREFIX)) if len(kept) else None


def _descriptive(source: Image.Exif) -> Image.Exif:
    """Only the tags that say nothing about how a TIFF is stored."""
    kept = Image.Exif()
    for tag in TIFF_TAGS:
        if tag in source:
            kept[tag] = source.get_ifd(tag) if tag in (34665, 34853) else source[tag]
    return kept


def tiff_tags(metadata: Metadata) -> Image.Exif:
    """EXIF and XMP as the tags of a TIFF."""
    source = Image.Exif()
    if metadata.exif:
        source.load(metadata.exif)
    tags = _descriptive(source)
    if metadata.xmp:
        tags[XMP_TAG] = metadata.xmp
    return tags


def upright_exif(exif: bytes) -> bytes | None:
    """An EXIF block with its orientation tag set to 1 and not one other byte changed.

    None when it does not begin with a TIFF header.
    """
    order: Any = {b"II*\0": "little", b"MM\0*": "big"}.get(exif[:4])
    if order is None:
        return None
    directory = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[directory : directory + 2], order)
    for number in range(count):
        start = directory + 2 + 12 * number
        entry = exif[start : start + 12]
        if len(entry) < 12:
            break
        if int.from_bytes(entry[:2], order) == ORIENTATION:
            upright = (1).to_bytes(2, order) + bytes(2)
            return exif[: start + 8] + upright + exif[start + 12 :]
    return exif
