"""The colour section: what samples mean. Source: docs/FORMAT.md section 3.3. Standard library only."""

from __future__ import annotations

from nccli.container.framing import Reader
from nccli.errors import FormatError
from nccli.media.around.colour import CodePoints, Colour

POINTS, GAMMA, CHROMATICITIES = 1, 2, 3
"""Kinds of item, in the order in which they come."""

WORD = 4
COORDINATES = 8


def pack_colour(colour: Colour) -> bytes:
    """A description -> the payload of a colour section."""
    out = b""
    if colour.points is not None:
        points = colour.points
        out += bytes([POINTS, points.primaries, points.transfer, points.full])
    if colour.gamma is not None:
        out += bytes([GAMMA]) + colour.gamma.to_bytes(WORD, "little")
    if colour.chromaticities is not None:
        out += bytes([CHROMATICITIES]) + b"".join(n.to_bytes(WORD, "little") for n in colour.chromaticities)
    return out


def unpack_colour(payload: bytes) -> Colour:
    """The description in a colour section.

    Raises:
        FormatError: it is none.
    """
    reader, last, found = Reader(payload, len(payload)), 0, Colour()
    while reader.offset < reader.end or not last:
        kind = reader.number(1, "colour")
        if not last < kind <= CHROMATICITIES:
            raise FormatError("colour", found=f"an item {kind} after {last}")
        last = kind
        if kind == POINTS:
            primaries, transfer, full = reader.take(3, "colour")
            if full > 1:
                raise FormatError("colour", found=f"range {full}", expected="0 or 1")
            found = Colour(CodePoints(primaries, transfer, bool(full)))
        elif kind == GAMMA:
            found = Colour(found.points, reader.number(WORD, "colour"))
        else:
            numbers = tuple(reader.number(WORD, "colour") for _ in range(COORDINATES))
            found = Colour(found.points, found.gamma, numbers)
    return found
