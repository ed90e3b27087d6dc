"""Encoded pictures <-> pixels, through Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nccli.errors import MediaError, UsageError
from nccli.files import STREAM

FORMATS = {"png": "PNG", "ppm": "PPM", "jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF"}
"""Output formats by their option name and suffix."""

SUFFIX_FORMATS = {f".{name}": name for name in FORMATS} | {".jpeg": "jpg", ".tif": "tiff"}

SAVE_OPTIONS: dict[str, dict[str, int | bool]] = {
    "jpg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True},
}

MAX_PIXELS = 2**28
"""Pictures above 268 megapixels do not fit the format."""


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """An encoded picture -> (h, w, 3) uint8 RGB, EXIF orientation applied.

    Raises:
        MediaError: not a picture that Pillow reads, or damaged.
    """
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            return np.array(_to_rgb(upright), np.uint8)
    except UnidentifiedImageError as error:
        found = "is empty" if not data else "is not a picture in a known format"
        raise MediaError(f"{name} {found}") from error
    except Image.DecompressionBombError as error:
        raise MediaError(f"{name} has more than {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MediaError(f"cannot decode {name}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(
            (np.asarray(image, np.int64).clip(0, 65535) / 257).round().astype(np.uint8)
        ).convert("RGB")
    return image.convert("RGB")


def encode_picture(pixels: NDArray[np.uint8], name: str) -> bytes:
    """Pixels (h, w, 3) -> an encoded picture in the format called `name`."""
    out = io.BytesIO()
    try:
        Image.fromarray(pixels).save(out, FORMATS[name], **SAVE_OPTIONS.get(name, {}))
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot write this picture as {name}: {error}") from error
    return out.getvalue()


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
