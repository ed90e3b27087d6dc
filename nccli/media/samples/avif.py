"""AVIF of 10 and 12 bits, which Pillow reads with 8: FFmpeg decodes the planes, colour is computed here.

FFmpeg's own conversion to RGB keeps 10 bits at most and fails on odd widths.
"""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nccli.errors import MediaError
from nccli.media.around.colour import CodePoints
from nccli.media.picture import Pixels

HEAD_BYTES = 2**16
"""Where the boxes of an AVIF file are expected."""

HIGH_BIT_DEPTH = 0x40
"""Bit of the third byte of an av1C box."""

LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    9: (0.2627, 0.0593),
}
"""Share of red and blue in luma by matrix coefficients; 2 is unspecified. Source: ITU-T H.273, table 4."""

FULL_RANGE = 2
STRIP_ROWS = 256
WHITE = 65535


def is_deep(data: bytes) -> bool:
    """Whether an AVIF file has more than 8 bits per sample."""
    configuration = re.search(rb"av1C..(.)", data[:HEAD_BYTES], re.DOTALL)
    return configuration is not None and bool(configuration[1][0] & HIGH_BIT_DEPTH)


def read(data: bytes, name: str, width: int, height: int, alpha: bool) -> Pixels | None:
    """All samples, (h, w, c) uint16 with c 1 to 4, white at 65535.

    None when the file holds them in a way that is not understood here: as a grid of pictures, cropped,
    multiplied with alpha, or in an unusual colour space.

    Raises:
        MediaError: the file is damaged.
    """
    frames = _frames(data, name)
    if len(frames) != 1 + alpha or b"prem" in data[:HEAD_BYTES]:
        return None
    if any((frame.width, frame.height) != (width, height) for frame in frames):
        return None
    colours = _colours(frames[0])
    if colours is None or not alpha:
        return colours
    joined: Pixels = np.concatenate((colours, _scaled(_planes(frames[1])[0], frames[1])[..., None]), axis=2)
    return joined


def code_points(data: bytes) -> CodePoints | None:
    """What the coded picture itself says its samples mean, for files whose boxes do not; None for unknown."""
    import av

    try:
        with av.open(io.BytesIO(data), "r") as source:
            coded = source.streams.video[0].codec_context
            return CodePoints(int(coded.color_primaries), int(coded.color_trc))
    except (OSError, ValueError, IndexError, TypeError, av.FFmpegError):
        return None


def _frames(data: bytes, name: str) -> list[Any]:
    """The first frame of each stream: colour, then alpha."""
    import av

    frames = []
    try:
        with av.open(io.BytesIO(data), "r") as source:
            count = len(source.streams.video)
        for number in range(count):
            with av.open(io.BytesIO(data), "r") as source:
                frames.append(next(source.decode(video=number)))
    except (OSError, ValueError, StopIteration, av.FFmpegError) as error:
        raise MediaError(f"cannot decode {name}: {error}") from error
    return frames


def _planes(frame: Any) -> list[NDArray[np.uint16]]:
    """Planes of 16-bit words as they are stored."""
    return [
        np.frombuffer(plane, "<u2").reshape(plane.height, plane.line_size // 2)[:, : plane.width]
        for plane in frame.planes
    ]


def _scaled(plane: NDArray[np.uint16], frame: Any) -> NDArray[np.uint16]:
    """A full-range plane, stretched to 16 bits."""
    peak = 2 ** int(frame.format.components[0].bits) - 1
    scaled = (plane.astype(np.uint32) * WHITE + peak // 2) // peak
    return np.asarray(scaled, np.uint16)


def _colours(frame: Any) -> Pixels | None:
    """(h, w, 1 or 3) uint16, None for layouts that are not understood."""
    layout, planes = frame.format.name, _planes(frame)
    full = int(frame.color_range) == FULL_RANGE
    if re.fullmatch(r"gbrp1[02]le", layout):
        green, blue, red = (_scaled(plane, frame) for plane in planes)
        return np.stack((red, green, blue), axis=2)
    if re.fullmatch(r"gray1[02]le", layout) and full:
        gray: Pixels = _scaled(planes[0], frame)[..., None]
        return gray
    weights = LUMA_WEIGHTS.get(int(frame.colorspace))
    if not re.fullmatch(r"yuv4(44|22|20)p1[02]le", layout) or weights is None:
        return None
    out = np.empty((frame.height, frame.width, 3), np.uint16)
    for top in range(0, frame.height, STRIP_ROWS):
        rows = np.arange(top, min(top + STRIP_ROWS, frame.height))
        luma, *chroma = (_full_size(plane, rows, frame) for plane in planes)
        out[rows] = _rgb(luma, chroma, frame.format.components[0].bits, full, weights)
    return out


def _full_size(plane: NDArray[np.uint16], rows: NDArray[np.int64], frame: Any) -> NDArray[np.float32]:
    """Rows of a plane in the picture's resolution."""
    columns = np.arange(frame.width)
    tall = _stretched(plane, rows, 0) if len(plane) < frame.height else plane[rows].astype(np.float32)
    return _stretched(tall, columns, 1) if plane.shape[1] < frame.width else tall


def _stretched(samples: NDArray[Any], places: NDArray[np.int64], axis: int) -> NDArray[np.float32]:
    """Twice the resolution along an axis, linear between the centres of samples."""
    near = places // 2
    far = np.clip(near + places % 2 * 2 - 1, 0, samples.shape[axis] - 1)
    mixed = samples.take(near, axis).astype(np.float32) * 0.75
    mixed += samples.take(far, axis).astype(np.float32) * 0.25
    return mixed


def _rgb(
    luma: NDArray[np.float32],
    chroma: list[NDArray[np.float32]],
    bits: int,
    full: bool,
    weights: tuple[float, float],
) -> NDArray[np.uint16]:
    """(h, w, 3) uint16. Source: ITU-T H.273, section 8.3."""
    unit = 2 ** (bits - 8)
    peak = 2**bits - 1
    base, reach, spread = (0, peak, peak) if full else (16 * unit, 219 * unit, 224 * unit)
    y = (luma - base) / reach
    blue, red = ((plane - 128 * unit) / spread for plane in chroma)
    of_red, of_blue = weights
    r, b = y + 2 * (1 - of_red) * red, y + 2 * (1 - of_blue) * blue
    g = (y - of_red * r - of_blue * b) / (1 - of_red - of_blue)
    rounded: NDArray[np.uint16] = np.rint(np.clip(np.stack((r, g, b), axis=2), 0, 1) * WHITE).astype(
        np.uint16
    )
    return rounded
