"""Pictures of 16 bits per sample, which Pillow cannot hold in colour: PNG, TIFF and PPM.

Samples are read and PNG is written by FFmpeg, TIFF is written by tifffile, since FFmpeg's has no tags.
"""

from __future__ import annotations

import io
import re
import zlib
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from nccli.errors import MediaError
from nccli.media.picture import Metadata, Picture, Pixels

PNM_HEADER = re.compile(rb"P[56](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s")
PNG_HEADER_BYTES = 33
"""Signature and first chunk, before any other."""

PNG_FORMATS = {1: "gray16be", 2: "ya16be", 3: "rgb48be", 4: "rgba64be"}
STRIP_ROWS = 256
COMPRESSION = 4
"""zlib level: most of level 6's saving in half its time."""

BITS_PER_SAMPLE, SAMPLE_FORMAT, XMP_TAG = 258, 339, 700
"""TIFF tags."""

TIFF_BYTES = 1
"""TIFF's type of bytes."""


def is_deep(data: bytes, image: Image.Image) -> bool:
    """Whether an opened picture has 16-bit samples in a form that `read_deep` reads."""
    if image.format == "PNG":
        return data[24:25] == b"\x10"
    if image.format == "PPM":
        header = PNM_HEADER.match(data[:4096])
        return header is not None and int(header[1]) > 255
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        unsigned = set(tags.get(SAMPLE_FORMAT, (1,))) == {1}
        return unsigned and set(tags.get(BITS_PER_SAMPLE, (1,))) == {16} and image.mode[:3] in ("RGB", "I;1")
    return False


def read_deep(data: bytes, name: str) -> Pixels:
    """All samples of a 16-bit picture, (h, w, c) uint16 with c 1 to 4, white at 65535.

    Raises:
        MediaError: the file is damaged or of a layout that is not understood.
    """
    import av

    try:
        with av.open(io.BytesIO(data), "r") as source:
            frame = next(source.decode(video=0))
    except (OSError, ValueError, StopIteration, av.FFmpegError) as error:
        raise MediaError(f"cannot decode the 16-bit picture {name}: {error}") from error
    if not re.fullmatch(r"(gray16|ya16|rgb48|rgba64)[lb]e", frame.format.name):
        raise MediaError(f"cannot decode {name}: 16-bit samples stored as {frame.format.name}")
    channels = len(frame.format.components)
    kind = ">u2" if frame.format.is_big_endian else "<u2"
    plane: Any = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    rows = rows[:, : frame.width * channels * 2]
    return (
        np.ascontiguousarray(rows).view(kind).reshape(frame.height, frame.width, channels).astype(np.uint16)
    )


def _chunk(name: bytes, payload: bytes) -> bytes:
    crc = zlib.crc32(name + payload)
    return len(payload).to_bytes(4, "big") + name + payload + crc.to_bytes(4, "big")


def png_metadata(metadata: Metadata) -> bytes:
    """The PNG chunks of a picture's metadata."""
    chunks = b""
    if metadata.icc:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
    if metadata.exif:
        chunks += _chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        chunks += _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    return chunks


def write_png(picture: Picture) -> bytes:
    """A 16-bit PNG.

    Raises:
        MediaError: the picture is too large for the library.
    """
    import av

    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    codec: Any = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, PNG_FORMATS[channels]
    codec.time_base = codec.sample_aspect_ratio = Fraction(1, 1)
    codec.thread_count = 1
    codec.options = {"pred": "paeth", "compression_level": str(COMPRESSION)}
    try:
        frame = av.VideoFrame(picture.width, picture.height, PNG_FORMATS[channels])
        _fill(frame, picture)
        packets = [*codec.encode(frame), *codec.encode(None)]
    except (OSError, ValueError, MemoryError, av.FFmpegError) as error:
        raise MediaError(f"cannot write this picture as a 16-bit png: {error}") from error
    whole = b"".join(bytes(packet) for packet in packets)
    return whole[:PNG_HEADER_BYTES] + png_metadata(picture.metadata) + whole[PNG_HEADER_BYTES:]


def _fill(frame: Any, picture: Picture) -> None:
    """Copy all samples, big-endian, a few rows at a time."""
    rows = np.frombuffer(frame.planes[0], np.uint8).reshape(picture.height, -1)
    for top in range(0, picture.height, STRIP_ROWS):
        part = slice(top, top + STRIP_ROWS)
        alpha = None if picture.alpha is None else picture.alpha[part]
        samples = Picture(picture.pixels[part], alpha).array().astype(">u2")
        packed = samples.reshape(len(samples), -1).view(np.uint8)
        rows[part, : packed.shape[1]] = packed


def write_ppm(picture: Picture) -> bytes:
    """A 16-bit PPM, or PGM when gray; alpha has no place in it."""
    kind = b"P5" if picture.gray else b"P6"
    return (
        kind + b"\n%d %d\n65535\n" % (picture.width, picture.height) + picture.pixels.astype(">u2").tobytes()
    )


def write_tiff(picture: Picture) -> memoryview:
    """A 16-bit TIFF: deflate, horizontal differences.

    Gray with alpha becomes colour, since few programs read the two-channel form.
    """
    import tifffile

    if picture.gray and picture.alpha is not None:
        picture = Picture(picture.pixels.repeat(3, axis=2), picture.alpha, picture.metadata)
    xmp = picture.metadata.xmp
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        picture.array(),
        photometric="minisblack" if picture.gray else "rgb",
        extrasamples=[] if picture.alpha is None else ["unassalpha"],
        compression="adobe_deflate",
        compressionargs={"level": COMPRESSION},
        predictor=True,
        metadata=None,
        software=False,
        iccprofile=picture.metadata.icc,
        extratags=[(XMP_TAG, TIFF_BYTES, len(xmp), xmp, True)] if xmp else [],
    )
    return out.getbuffer()
