"""How much memory coding a picture takes, and amounts as people write them. Standard library only."""

from __future__ import annotations

import re

from nccli.bounds import MAX_DETAIL_POSITIONS
from nccli.errors import UsageError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}

BASE_MEMORY = 700_000_000
"""Bytes: interpreter, torch, weights and the work on one tile."""

PIXEL_BYTES = {"encode": 22, "decode": 12, "refine": 48}
"""Bytes per pixel of 8 bits; measured on a picture of 100 megapixels, see docs/guide.md."""

DEEP_PIXEL_BYTES = {"encode": 42, "decode": 24, "refine": 68}
"""The same for 16 bits per sample."""

DETAIL_BYTES = {"encode": 44, "decode": 6, "refine": 44}
"""Bytes per pixel of pictures that may have details, in addition."""

BAND_BYTES = 14_000
"""Bytes per 16 pixels of a row: one band of 64 latent rows is coded at a time."""


def parse_amount(text: str) -> int:
    """`128M`, `2GiB`, `1.5g` or a plain number -> a number.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmg]?i?)b?\s*", text.lower())
    if match is None or match[2] not in UNITS:
        raise UsageError(f"{text!r} is not an amount such as 128M or 2GiB")
    return int(float(match[1]) * UNITS[match[2]])


def check_memory(operation: str, height: int, width: int, depth: int, limit: int | None, name: str) -> None:
    """Raise UsageError if coding a picture is expected to take more than `limit` bytes."""
    needed = estimate(operation, height, width, depth)
    if limit is not None and needed > limit:
        raise UsageError(
            f"{name} is {width}x{height} and would take about {needed / 1e9:.1f} GB of memory, "
            f"more than the {limit / 1e9:.1f} GB of --max-memory"
        )


def estimate(operation: str, height: int, width: int, depth: int) -> int:
    """Peak memory in bytes of `encode` or `decode`."""
    per_pixel = (PIXEL_BYTES if depth == 8 else DEEP_PIXEL_BYTES)[operation]
    if -(-height // 16) * -(-width // 16) <= MAX_DETAIL_POSITIONS:
        per_pixel += DETAIL_BYTES[operation]
    rows = min(-(-height // 16), 64)
    return BASE_MEMORY + per_pixel * height * width + BAND_BYTES * rows * -(-width // 16)
