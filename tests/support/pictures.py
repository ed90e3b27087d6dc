"""Picture files with something around the picture."""

from __future__ import annotations

import io
import struct

from PIL import Image

from nccli.media.around.exif import ORIENTATION
from tests.support import Pixels


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png_with(pixels: Pixels, *chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    data = saved(Image.fromarray(pixels), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with(pixels: Pixels, *payloads: bytes) -> bytes:
    """A JPEG with APP1 segments."""
    data = saved(Image.fromarray(pixels), "JPEG", quality=95)
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in payloads)
    return data[:2] + segments + data[2:]


def exif_of(orientation: int = 6) -> bytes:
    """A block without the prefix: maker, copyright, orientation, a sub-directory."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[271], exif[33432] = orientation, "a maker", "a copyright"
    exif.get_ifd(34665)[36867] = "2026:01:02 03:04:05"
    return exif.tobytes().removeprefix(b"Exif\0\0")
