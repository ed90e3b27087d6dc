"""The alpha section: one plane, lossless, as a bare PNG. Source: docs/FORMAT.md, section 0x02.

The PNG holds IHDR, IDAT and IEND chunks and nothing else, so that reading one from an unknown
source needs no more memory than the picture that the header promises.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from nccli.errors import FormatError
from nccli.media.picture import Pixels

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

BROKEN = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, OverflowError, zlib.error)
"""What Pillow raises on damaged data."""


def pack_alpha(alpha: Pixels) -> bytes:
    """(h, w) uint8 or uint16 -> the payload of an alpha section."""
    out = io.BytesIO()
    Image.fromarray(alpha).save(out, "PNG", optimize=alpha.size <= 2**20)
    return out.getvalue()


def unpack_alpha(payload: bytes, height: int, width: int, depth: int) -> Pixels:
    """The plane in an alpha section, whose size and depth the header gives.

    Raises:
        FormatError: it is anything else.
    """
    _check_chunks(payload, height, width, depth)
    try:
        with PngImageFile(io.BytesIO(payload)) as image:
            plane = np.array(image)
    except BROKEN as error:
        raise FormatError("alpha is not decodable") from error
    if plane.shape != (height, width) or plane.dtype != (np.uint8 if depth == 8 else np.uint16):
        raise FormatError(
            "alpha", found=f"{plane.shape} {plane.dtype}", expected=f"{(height, width)} of {depth} bits"
        )
    return plane


def _check_chunks(payload: bytes, height: int, width: int, depth: int) -> None:
    """Walk the PNG's chunks without decoding: the expected header, then data only, each intact."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, 0, 0, 0, 0])
    start = PNG_SIGNATURE + len(header).to_bytes(4, "big") + b"IHDR" + header
    if not payload.startswith(start):
        raise FormatError("alpha", found="another header", expected=f"{width}x{height}, gray, {depth} bits")
    offset, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        size = int.from_bytes(payload[offset : offset + 4], "big")
        name, end = payload[offset + 4 : offset + 8], offset + 12 + size
        if end > len(payload):
            raise FormatError("alpha is cut short")
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            raise FormatError("alpha", found=f"a {name!r} chunk", expected="data only")
        crc = int.from_bytes(payload[end - 4 : end], "big")
        if zlib.crc32(payload[offset + 4 : end - 4]) != crc:
            raise FormatError("checksum of the alpha does not match")
        offset = end
    if offset != len(payload):
        raise FormatError("alpha", found="data after its end")
