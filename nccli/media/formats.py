"""Picture formats by name and suffix, without the libraries that know them."""

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


def is_picture(path: str) -> bool:
    """Whether a path ends like a picture's."""
    return path.lower().endswith(PICTURE_SUFFIXES)
