"""The boxes of an AVIF file: its EXIF and colour description. Source: ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nccli.media.around.colour import CodePoints

CONTAINERS = {b"iprp": 0, b"ipco": 0, b"iinf": 6, b"meta": 4}
"""Boxes that hold boxes, and the bytes in front of those; a list of more than 65535 items is not known."""

MAX_BOXES = 4096
PROFILES = (b"prof", b"rICC")
"""Kinds of colour description that are ICC profiles."""

BRIGHTNESS = (b"clli", b"mdcv")
HIDDEN = b"hide"
"""What the type of an EXIF item is changed to, so that a decoder passes it over."""


@dataclass(frozen=True)
class Box:
    """A box: its type, and where its contents begin and end."""

    name: bytes
    start: int
    end: int


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """All boxes, those inside of known containers included."""
    end = len(data) if end is None else end
    for _ in range(MAX_BOXES):
        size, name, head = _number(data, start, 4), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = _number(data, start + 8, 8), 16
        last = start + size if size else end
        if start + head > end or last > end or last < start + head:
            return
        yield Box(name, start + head, last)
        if name in CONTAINERS:
            yield from boxes(data, start + head + CONTAINERS[name], last)
        start = last


def take_exif(data: bytes) -> tuple[bytes, bytes | None]:
    """A file whose EXIF, if any, decoders pass over; and that EXIF."""
    found = list(boxes(data))
    entries = [box for box in found if box.name == b"infe" and data[box.start] in (2, 3)]
    for box in entries:
        wide = data[box.start] == 3
        at = box.start + 4 + (4 if wide else 2) + 2
        if data[at : at + 4] != b"Exif":
            continue
        item = _number(data, box.start + 4, 4 if wide else 2)
        payload = _payload(data, found, item)
        skipped = 4 + _number(payload, 0, 4)
        return data[:at] + HIDDEN + data[at + 4 :], payload[skipped:] or None
    return data, None


def code_points(data: bytes) -> CodePoints | None:
    """What a file's first colour description says its samples mean; None if it has none."""
    place = _colour_place(data)
    if place is None:
        return None
    primaries, transfer = _number(data, place, 2), _number(data, place + 2, 2)
    return CodePoints(primaries, transfer) if max(primaries, transfer) < 256 else None


def brightness_remarks(data: bytes) -> tuple[str, ...]:
    """A remark for each box that says how bright a display the picture was made for; none is kept."""
    names = sorted({box.name.decode() for box in boxes(data) if box.name in BRIGHTNESS})
    return tuple(f"its {name} box, on the brightness of a display, is left out" for name in names)


def with_code_points(data: bytes, points: CodePoints) -> bytes | None:
    """A file with other code points in its colour description; None if it has none."""
    place = _colour_place(data)
    stated = points.primaries.to_bytes(2, "big") + points.transfer.to_bytes(2, "big")
    return None if place is None else data[:place] + stated + data[place + 4 :]


def has_profile(data: bytes) -> bool:
    """Whether a colour description is an ICC profile."""
    return any(box.name == b"colr" and data[box.start : box.start + 4] in PROFILES for box in boxes(data))


def _colour_place(data: bytes) -> int | None:
    found = (b.start for b in boxes(data) if b.name == b"colr" and data[b.start : b.start + 4] == b"nclx")
    start = next(found, None)
    return None if start is None else start + 4


def _payload(data: bytes, found: list[Box], item: int) -> bytes:
    """The bytes of an item in one piece."""
    place = next((box for box in found if box.name == b"iloc"), None)
    if place is None:
        return b""
    version, sizes, at = data[place.start], data[place.start + 4 : place.start + 6], place.start + 6
    offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
    index_size = sizes[1] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count = _number(data, at, wide)
    at += wide
    for _ in range(min(count, MAX_BOXES)):
        number, at = _number(data, at, wide), at + wide
        method, at = (_number(data, at, 2) & 15, at + 2) if version else (0, at)
        base, at = _number(data, at + 2, base_size), at + 2 + base_size
        extents, at = _number(data, at, 2), at + 2
        parts = []
        for _ in range(min(extents, MAX_BOXES)):
            at += index_size
            offset, length = _number(data, at, offset_size), _number(data, at + offset_size, length_size)
            at += offset_size + length_size
            parts.append((base + offset, length))
        if number == item:
            origin = next((b.start for b in found if b.name == b"idat"), len(data)) if method == 1 else 0
            return data[origin + parts[0][0] :][: parts[0][1]] if len(parts) == 1 else b""
    return b""


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")
