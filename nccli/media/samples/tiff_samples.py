"""A TIFF's samples as a picture's: 8 or 16 bits, white at the top, colours not multiplied with alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nccli.errors import MediaError
from nccli.media.around.tiff import EXTRA, FLOAT, PHOTOMETRIC, SIGNED, UNSIGNED, WHITE_IS_ZERO, TiffFile
from nccli.media.picture import Pixels
from nccli.media.samples.strips import unpack

UNSPECIFIED, ASSOCIATED = 0, 1
"""Kinds of extra samples: of no known meaning, and alpha that colours were multiplied with."""

MAX_CHANNELS = 16
CLIPPED = 2.0**-10
"""Floats may leave 0..1 by this much: the rounding of half precision."""


def samples_of(file: TiffFile) -> Pixels:
    """All samples, (h, w, c) uint8 or uint16 with c 1 to 4, alpha last when c is even.

    Raises:
        MediaError: the file is damaged, or has a property that is not supported.
    """
    if file.sample_format not in (UNSIGNED, SIGNED, FLOAT) or not file.bits:
        raise MediaError(f"cannot decode {file.name}: TIFF of {file.properties()} is not supported")
    if not file.colours <= file.channels <= MAX_CHANNELS or (file.sample_format == FLOAT and file.bits < 16):
        raise MediaError(f"cannot decode {file.name}: TIFF of {file.properties()} is not supported")
    wanted, associated = _wanted(file)
    pieces = unpack(file, wanted)
    out: Pixels = np.empty((file.height, file.width, wanted), np.uint8 if file.bits == 8 else np.uint16)
    for piece in pieces:
        scaled = _scaled(file, piece.samples)
        part = out[piece.rows, piece.columns, piece.channels]
        part[...] = scaled[: part.shape[0], : part.shape[1], : part.shape[2]]
    colours = out[..., : file.colours]
    if file.number(PHOTOMETRIC) == WHITE_IS_ZERO:
        np.subtract(np.iinfo(out.dtype).max, colours, out=colours)
    if associated:
        _divide(colours, out[..., -1])
    return out


def _wanted(file: TiffFile) -> tuple[int, bool]:
    """Channels to keep, alpha among them, and whether colours were multiplied with it.

    Extra samples of no known meaning are none; one that no tag tells of is alpha.
    """
    extra = file.channels - file.colours
    kinds = file.numbers(EXTRA)
    if not extra or (kinds and kinds[0] == UNSPECIFIED):
        return file.colours, False
    return file.colours + 1, bool(kinds) and kinds[0] == ASSOCIATED


def _scaled(file: TiffFile, values: NDArray[Any]) -> Pixels:
    """Samples as 8 or 16 bits, white at the top."""
    if file.sample_format == FLOAT:
        if not (values.min() >= -CLIPPED and values.max() <= 1 + CLIPPED):
            raise MediaError(f"{file.name} has floating-point values outside 0 .. 1")
        return np.asarray(np.rint(np.clip(values, 0, 1).astype(np.float64) * 65535), np.uint16)
    if file.bits in (8, 16) and file.sample_format == UNSIGNED:
        return np.asarray(values)
    if file.bits < 16 and file.sample_format == UNSIGNED:
        peak = 2**file.bits - 1
        return np.asarray((values.astype(np.uint32) * 65535 + peak // 2) // peak, np.uint16)
    if file.channels > 1 and file.sample_format == UNSIGNED:
        return np.asarray(values >> (file.bits - 16), np.uint16)
    top = 255 if file.bits == 8 else 65535
    if values.min() < 0 or values.max() > top:
        raise MediaError(f"{file.name} has values of {file.bits} bits outside 0 .. {top}")
    return np.asarray(values, np.uint8 if file.bits == 8 else np.uint16)


def _divide(colours: Pixels, alpha: Pixels) -> None:
    """Undo a multiplication with alpha, row by row; what is wholly transparent stays."""
    top = int(np.iinfo(colours.dtype).max)
    for row, opacity in zip(colours, alpha, strict=True):
        a = np.maximum(opacity.astype(np.uint32), 1)[:, None]
        divided = np.minimum((row.astype(np.uint32) * top + a // 2) // a, top)
        row[...] = np.where(opacity[:, None] == 0, row, divided)
