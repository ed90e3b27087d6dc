"""Picture formats by name and suffix, without the libraries that read and write them."""

from __future__ import annotations

from pathlib import Path

from nccli.errors import UsageError
from nccli.files import STREAM

FORMATS = {
    "png": "PNG",
    "ppm": "PPM",
    "jpg": "JPEG",
    "webp": "WEBP",
    "tiff": "TIFF",
    "avif": "AVIF",
    "bmp": "BMP",
}
"""Pillow's names by option name, which is also the suffix."""

READ_FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "PPM", "BMP", "DIB", "GIF", "JPEG2000"),
    *("TGA", "QOI", "PSD", "PCX", "SGI", "ICO", "DDS"),
)
"""What Pillow may take a file for, by its names. Others start programs (EPS) or are no pictures."""

SUFFIX_FORMATS = {f".{name}": name for name in FORMATS} | {
    ".jpeg": "jpg",
    ".tif": "tiff",
    ".pgm": "ppm",
    ".pnm": "ppm",
}


PICTURE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".avif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".bmp",
    ".gif",
)
"""What is taken for a picture in a folder; a file named by itself may have any suffix. Of several masks of
one name the first kind counts."""


def format_for(path: str) -> str:
    """Output format of a path by its suffix; PNG for stdout.

    Raises:
        UsageError: the suffix names no known format.
    """
    if path == STREAM:
        return "png"
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(
            f"cannot tell the format of {path}: use --format or one of {', '.join(SUFFIX_FORMATS)}"
        )
    return SUFFIX_FORMATS[suffix]


def is_picture(path: str) -> bool:
    """Whether a path ends like a picture's."""
    return path.lower().endswith(PICTURE_SUFFIXES)
