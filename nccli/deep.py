"""Pictures of 16 bits per sample, which Pillow cannot hold in colour: PNG, TIFF and PPM."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nccli.errors import MediaError
from nccli.picture import Metadata, Picture, Pixels

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNM_HEADER = re.compile(rb"P[56](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s")
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
STRIP_ROWS = 256
COMPRESSION = 4
"""zlib level: most of level 6's saving in half its time."""

BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
"""TIFF tags."""


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
    """A 16-bit PNG."""
    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    header = picture.width.to_bytes(4, "big") + picture.height.to_bytes(4, "big")
    out = bytearray(PNG_SIGNATURE)
    out += _chunk(b"IHDR", header + bytes([16, PNG_COLOUR_TYPES[channels], 0, 0, 0]))
    out += png_metadata(picture.metadata)
    deflate = zlib.compressobj(COMPRESSION)
    above = np.zeros((1, picture.width * channels * 2), np.uint8)
    for strip in _strips(picture):
        rows = strip.astype(">u2").reshape(len(strip), -1).view(np.uint8)
        out += _chunk(b"IDAT", deflate.compress(_paeth(rows, above, channels * 2).tobytes()))
        above = rows[-1:]
    out += _chunk(b"IDAT", deflate.flush())
    return bytes(out + _chunk(b"IEND", b""))


def _strips(picture: Picture) -> Iterator[Pixels]:
    for top in range(0, picture.height, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        alpha = None if picture.alpha is None else picture.alpha[rows]
        part = Picture(picture.pixels[rows], alpha).array()
        yield part.reshape(*part.shape[:2], -1)


def _paeth(rows: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """PNG's filter 4: each byte less the nearest of left, up and up-left to left + up - up-left."""
    up = np.concatenate((above, rows[:-1])).astype(np.int16)
    left, corner = (np.pad(part, ((0, 0), (step, 0)))[:, :-step].astype(np.int16) for part in (rows, up))
    guess = left + up - corner
    to_left, to_up, to_corner = (np.abs(guess - part) for part in (left, up, corner))
    nearest = np.where(to_up <= to_corner, up, corner)
    nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
    filtered = (rows - nearest).astype(np.uint8)
    return np.concatenate((np.full((len(rows), 1), 4, np.uint8), filtered), axis=1)


def write_ppm(picture: Picture) -> bytes:
    """A 16-bit PPM, or PGM when gray; alpha has no place in it."""
    kind = b"P5" if picture.gray else b"P6"
    return (
        kind + b"\n%d %d\n65535\n" % (picture.width, picture.height) + picture.pixels.astype(">u2").tobytes()
    )


def write_tiff(picture: Picture) -> bytes:
    """A 16-bit TIFF in one strip: deflate, horizontal differences.

    Gray with alpha becomes colour, since few programs read the two-channel form.
    """
    if picture.gray and picture.alpha is not None:
        picture = Picture(picture.pixels.repeat(3, axis=2), picture.alpha, picture.metadata)
    samples = np.concatenate(list(_strips(picture)))
    samples[:, 1:] -= samples[:, :-1].copy()
    strip = zlib.compress(samples.astype("<u2").tobytes(), COMPRESSION)
    channels, metadata = samples.shape[2], picture.metadata
    tags: list[tuple[int, int, bytes]] = [
        (256, 4, picture.width.to_bytes(4, "little")),
        (257, 4, picture.height.to_bytes(4, "little")),
        (BITS_PER_SAMPLE, 3, b"\x10\0" * channels),
        (259, 3, b"\x08\0"),
        (262, 3, b"\1\0" if picture.gray else b"\2\0"),
        (273, 4, (8).to_bytes(4, "little")),
        (277, 3, bytes([channels, 0])),
        (278, 4, picture.height.to_bytes(4, "little")),
        (279, 4, len(strip).to_bytes(4, "little")),
        (317, 3, b"\2\0"),
    ]
    if picture.alpha is not None:
        tags.append((338, 3, b"\2\0"))
    if metadata.xmp:
        tags.append((700, 1, metadata.xmp))
    if metadata.icc:
        tags.append((34675, 7, metadata.icc))
    return _tiff_file(strip, tags)


def _tiff_file(strip: bytes, tags: list[tuple[int, int, bytes]]) -> bytes:
    """Header, strip, values that do not fit an entry, directory. tags: (tag, type, value bytes)."""
    sizes = {1: 1, 3: 2, 4: 4, 7: 1}
    out = bytearray(b"II*\0\0\0\0\0" + strip)
    directory = len(tags).to_bytes(2, "little")
    for tag, kind, value in tags:
        stored = value.ljust(4, b"\0")
        if len(value) > 4:
            out += bytes(len(out) % 2)
            stored = len(out).to_bytes(4, "little")
            out += value
        count = len(value) // sizes[kind]
        directory += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        directory += count.to_bytes(4, "little") + stored
    out += bytes(len(out) % 2)
    out[4:8] = len(out).to_bytes(4, "little")
    return bytes(out + directory + bytes(4))
