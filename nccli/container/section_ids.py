"""Section types of all kinds of file. Source: docs/FORMAT.md section 3. Standard library only."""

from __future__ import annotations

from enum import IntEnum

from nccli.container.framing import OPTIONAL_BIT


class SectionId(IntEnum):
    """Section types; those with `OPTIONAL_BIT` may be skipped by a reader that does not know them."""

    LATENTS = 0x01
    ALPHA = 0x02
    ROI = 0x03
    DETAILS = OPTIONAL_BIT | 0x05
    ICC = OPTIONAL_BIT | 0x01
    EXIF = OPTIONAL_BIT | 0x02
    XMP = OPTIONAL_BIT | 0x03
    COLOUR = OPTIONAL_BIT | 0x04


METADATA_NAMES = {
    SectionId.ICC: ("icc", "icc_profile"),
    SectionId.EXIF: ("exif", "exif"),
    SectionId.XMP: ("xmp", "xmp"),
}
"""Sections of metadata that are kept as they are: their names in `media.picture.Metadata`, and in what Pillow calls `info`."""
