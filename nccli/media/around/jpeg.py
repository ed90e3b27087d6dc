"""JPEG segments: what a JPEG carries beside its picture; and JPEGs that lack their end.

Source: ITU-T T.81; EXIF 2.32, section 4.7; XMP part 3; ICC.1, annex B.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nccli.media.around.exif import EXIF_PREFIX
from nccli.media.around.png import XMP_PREFIX
from nccli.media.picture import Metadata

START, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
SCAN, EXIF_XMP, ICC_SEGMENT = 0xDA, 0xE1, 0xE2
KEPT_APPLICATIONS = (0xE0, 0xEE)
"""JFIF and Adobe, which say what the colours are."""

COMMENT = 0xFE
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
BARE_MARKERS = (0x01, *range(0xD0, 0xD8))
"""Markers without a length."""

ICC_PREFIX = b"ICC_PROFILE\0"
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"


@dataclass
class JpegFile:
    """A JPEG taken apart.

    Attributes:
        picture: a JPEG of its picture alone.
        metadata: as it stands in the file.
        remarks: what was left out.
    """

    picture: bytes
    metadata: Metadata = field(default_factory=Metadata)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """A marker and what follows it; `raw` is both."""

    marker: int
    payload: bytes
    raw: bytes


def take_apart(data: bytes) -> JpegFile:
    """A JPEG's picture and its metadata, from the segments in front of the first scan."""
    segments, rest = _segments(data)
    kept = [START]
    exif, xmp, profile, remarks = b"", None, [], []
    for segment in segments:
        payload = segment.payload
        if segment.marker == EXIF_XMP and payload.startswith(EXIF_PREFIX):
            exif += payload.removeprefix(EXIF_PREFIX)
        elif segment.marker == EXIF_XMP and payload.startswith(XMP_PREFIX):
            xmp = xmp or payload.removeprefix(XMP_PREFIX)
        elif segment.marker == EXIF_XMP and payload.startswith(EXTENDED_XMP):
            remarks = ["its extended XMP is left out"]
        elif segment.marker == ICC_SEGMENT and payload.startswith(ICC_PREFIX):
            profile.append(payload.removeprefix(ICC_PREFIX))
        elif segment.marker in KEPT_APPLICATIONS or not 0xE0 <= segment.marker <= COMMENT:
            kept.append(segment.raw)
    kept.append(data[rest:])
    icc = _joined(profile)
    if profile and icc is None:
        remarks.append("its ICC profile is incomplete and left out")
    return JpegFile(b"".join(kept), Metadata(icc, exif or None, xmp), tuple(remarks))


def _segments(data: bytes) -> tuple[list[Segment], int]:
    """The segments in front of the first scan, and where the rest begins."""
    found, at = list[Segment](), len(START)
    while True:
        start = at
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if data[at : at + 1] != b"\xff" or len(data) < at + 4:
            return found, start
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in BARE_MARKERS or marker in (0, SCAN, END_OF_IMAGE[1]) or size < 2:
            return found, start
        end = at + 2 + size
        if end > len(data):
            return found, start
        found.append(Segment(marker, data[at + 4 : end], data[at:end]))
        at = end


def _joined(parts: list[bytes]) -> bytes | None:
    """A profile from numbered parts; None unless all are there."""
    parts = sorted(parts, key=lambda part: part[:1])
    numbers = [part[0] for part in parts if len(part) >= 2]
    if not parts or numbers != list(range(1, len(parts) + 1)) or parts[0][1] != len(parts):
        return None
    return b"".join(part[2:] for part in parts)


def all_scans(data: bytes) -> bool:
    """Whether the scans that a JPEG has code every coefficient to its last bit.

    Sequential ones have to name every component, progressive ones each of 64 coefficients as well.
    """
    components: dict[int, list[int]] = {}
    progressive, at = False, 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 4:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if marker in BARE_MARKERS or marker in (0, 0xFF):
            at += 1 + (marker != 0xFF)
            continue
        if marker in FRAMES and len(body) >= 6:
            progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
            components = {body[6 + 3 * n]: [-1] * 64 for n in range(body[5]) if len(body) > 6 + 3 * n}
        if marker == SCAN and body and len(body) >= 4 + 2 * body[0]:
            first, last, low = body[-3], body[-2], body[-1] & 15
            reached = range(first, min(last, 63) + 1) if progressive else range(64)
            for number in range(body[0]):
                levels = components.get(body[1 + 2 * number], [0] * 64)
                for place in reached:
                    levels[place] = low if progressive else 0
        at += 2 + size
    return bool(components) and all(level == 0 for levels in components.values() for level in levels)


def lacks_end(data: bytes) -> bool:
    """Whether this is a JPEG without an end marker; taken apart, since a thumbnail has one of its own."""
    return data.startswith(START) and END_OF_IMAGE not in data


ENDS = (END_OF_IMAGE, b"\xaa" * 64 + END_OF_IMAGE, b"\x55" * 64 + END_OF_IMAGE)
"""What a JPEG without an end is completed with. If all data is there the decoder ignores what stands
before the marker; if any is missing it takes it for the picture, which then differs."""


def completed(data: bytes) -> Iterator[bytes]:
    """A JPEG without an end, with each of `ENDS`."""
    return (data.rstrip(b"\xff") + end for end in ENDS)
