"""Picture formats that can be written, without the libraries that write them."""

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
