"""Pictures of 16 bits per sample, which Pillow cannot hold in colour: PNG and PPM, through FFmpeg."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image

from nccli.errors import MediaError
from nccli.media.picture import Picture, Pixels

PNM_HEADER = re.compile(rb"P[56](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s")
PNG_FORMATS = {1: "gray16be", 2: "ya16be", 3: "rgb48be", 4: "rgba64be"}
STRIP_ROWS = 256
COMPRESSION = 4
"""zlib level: most of level 6's saving in half its time."""


def is_deep(data: bytes, image: Image.Image) -> bool:
    """Whether an opened picture has 16-bit samples in a form that `read_deep` reads."""
    if image.format == "PNG":
        return data[24:25] == b"\x10"
    if image.format == "PPM":
        header = PNM_HEADER.match(data[:4096])
        return header is not None and int(header[1]) > 255
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


def write_png(picture: Picture) -> bytes:
    """A 16-bit PNG without metadata.

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
    return b"".join(bytes(packet) for packet in packets)


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
