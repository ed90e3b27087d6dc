"""The strips and tiles of a TIFF, decompressed, with differences undone.

Each is decompressed to the bytes that its size allows and no further.
"""

from __future__ import annotations

import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nccli.errors import MediaError
from nccli.media.around import tiff
from nccli.media.around.directory import LONG, Directory, Tag, write_directory
from nccli.media.around.tiff import PLANES, TiffFile

TILE_PLACES, STRIP_PLACES = (tiff.TILE_OFFSETS, tiff.TILE_COUNTS), (tiff.OFFSETS, tiff.COUNTS)
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3
"""Predictors."""

PIECE_PIXELS = 2**22
"""A tile may have as many pixels in any picture; larger ones must not exceed the picture by far."""


@dataclass(frozen=True)
class Piece:
    """Some samples (h, w, c) and where they belong; those beyond the picture's edge are to be cut."""

    samples: NDArray[Any]
    rows: slice
    columns: slice
    channels: slice


@dataclass(frozen=True)
class Cut:
    """How a picture is cut up: size of a piece in pixels, pieces across and down, channels in each."""

    height: int
    width: int
    across: int
    down: int
    channels: int
    tiled: bool


def _layout(file: TiffFile) -> Cut:
    tiled = bool(file.number(tiff.TILE_WIDTH))
    width = file.number(tiff.TILE_WIDTH) if tiled else file.width
    height = (
        file.number(tiff.TILE_HEIGHT)
        if tiled
        else min(file.number(tiff.STRIP_ROWS, file.height) or file.height, file.height)
    )
    if not 0 < width * height <= max(PIECE_PIXELS, 4 * file.width * file.height):
        raise MediaError(f"cannot decode {file.name}: TIFF in pieces of {width}x{height}")
    channels = 1 if file.number(tiff.PLANAR, 1) == PLANES else file.channels
    return Cut(height, width, -(-file.width // width), -(-file.height // height), channels, tiled)


def unpack(file: TiffFile, wanted: int) -> Iterator[Piece]:
    """All pieces with the first `wanted` channels; floats and integers of the machine's byte order.

    Raises:
        MediaError: a piece is missing or damaged, or its compression is not supported.
    """
    layout = _layout(file)
    offsets, counts = (file.numbers(tag) for tag in (TILE_PLACES if layout.tiled else STRIP_PLACES))
    planes = wanted if layout.channels == 1 and file.channels > 1 else 1
    needed = layout.across * layout.down * planes
    if len(offsets) < needed or len(counts) < needed:
        raise MediaError(f"cannot decode {file.name}: it is damaged: {len(offsets)} of {needed} pieces")
    for number in range(needed):
        plane, place = divmod(number, layout.across * layout.down)
        row, column = divmod(place, layout.across)
        top, left = row * layout.height, column * layout.width
        height = layout.height if layout.tiled else min(layout.height, file.height - top)
        packed = file.block.data[offsets[number] : offsets[number] + counts[number]]
        row_bytes = -(-layout.width * layout.channels * file.bits // 8)
        raw = _decompressed(file, packed, height, row_bytes)
        values = _values(file, raw, height, layout.width, layout.channels)
        channels = slice(plane, plane + 1) if layout.channels == 1 else slice(0, wanted)
        yield Piece(
            values[: file.height - top, : file.width - left, :wanted],
            slice(top, top + height),
            slice(left, left + layout.width),
            channels,
        )


def _decompressed(file: TiffFile, packed: bytes, height: int, row_bytes: int) -> bytes:
    """`height * row_bytes` bytes."""
    compression, size = file.number(tiff.COMPRESSION, 1), height * row_bytes
    try:
        if compression == tiff.NONE:
            raw = packed
        elif compression in (tiff.DEFLATE, tiff.OLD_DEFLATE):
            raw = zlib.decompressobj().decompress(packed, size)
        elif compression == tiff.LZMA:
            raw = lzma.LZMADecompressor().decompress(packed, size)
        else:
            raw = _by_libtiff(packed, compression, height, row_bytes)
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, lzma.LZMAError) as error:
        kind = tiff.COMPRESSIONS[compression]
        raise MediaError(f"cannot decode {file.name}: data compressed with {kind}: {error}") from error
    if len(raw) < size:
        raise MediaError(f"cannot decode {file.name}: {len(raw)} of the {size} bytes of a piece")
    return raw[:size]


def _by_libtiff(packed: bytes, compression: int, height: int, row_bytes: int) -> bytes:
    """Through Pillow's library, as a gray TIFF of one strip whose samples are the bytes."""
    values = {256: row_bytes, 257: height, 258: 8, 259: compression, 262: 1, 273: 8, 277: 1, 278: height}
    values[279] = len(packed)
    entries = tuple(Tag(tag, LONG, 1, value.to_bytes(4, "little")) for tag, value in values.items())
    start = 8 + len(packed) + len(packed) % 2
    body = packed + bytes(len(packed) % 2) + write_directory(Directory(entries), "little", start)
    with Image.open(io.BytesIO(b"II*\0" + start.to_bytes(4, "little") + body), formats=["TIFF"]) as image:
        return image.tobytes()


def _values(file: TiffFile, raw: bytes, height: int, width: int, channels: int) -> NDArray[Any]:
    """(h, w, c) samples of the machine's byte order."""
    bits, predictor = file.bits, file.number(tiff.PREDICTOR, 1)
    shape = (height, width, channels)
    if predictor == FLOAT_DIFFERENCES:
        return _float_differences(raw, shape, bits)
    kind = "f" if file.sample_format == tiff.FLOAT else "i" if file.sample_format == tiff.SIGNED else "u"
    if bits not in (8, 16, 32, 64):
        return _packed(file, raw, shape)
    stored = np.frombuffer(raw, f"{'<' if file.block.order == 'little' else '>'}{kind}{bits // 8}")
    values = stored.reshape(shape).astype(stored.dtype.newbyteorder("="))
    if predictor == DIFFERENCES:
        whole = values.view(f"u{bits // 8}")
        np.cumsum(whole, axis=1, dtype=whole.dtype, out=whole)
    return values


def _packed(file: TiffFile, raw: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Samples of other widths up to 32 bits, the highest bit first; a row begins with a byte."""
    if file.sample_format != tiff.UNSIGNED or file.bits > 32 or file.number(tiff.PREDICTOR, 1) != 1:
        raise MediaError(f"cannot decode {file.name}: TIFF of {file.properties()} is not supported")
    height, width, channels = shape
    ones = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(height, -1), axis=1)
    ones = ones[:, : width * channels * file.bits].reshape(height, width * channels, file.bits)
    values = np.zeros(ones.shape[:2], np.uint32)
    for bit in range(file.bits):
        values <<= 1
        values |= ones[..., bit]
    return values.reshape(shape)


def _float_differences(raw: bytes, shape: tuple[int, int, int], bits: int) -> NDArray[Any]:
    """Differences of bytes, the highest bytes of a row's samples first. Source: technical note 3."""
    height, width, channels = shape
    rows = np.frombuffer(raw, np.uint8).reshape(height, -1, channels)
    summed = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(height, bits // 8, width * channels)
    joined = np.ascontiguousarray(summed.transpose(0, 2, 1))
    return joined.view(f">f{bits // 8}").reshape(shape).astype(f"f{bits // 8}")
