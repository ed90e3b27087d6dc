"""The container: bytes <-> header and sections. Source: docs/FORMAT.md sections 2 to 4.

Standard library only, so that a file can be inspected without loading a network.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from nccli.bounds import MAX_PIXELS, MAX_SIDE, STEP_Y_LIMIT
from nccli.errors import FormatError, UnsupportedError

MAGIC = b"\x8eNCC\r\n"
MAJOR, MINOR = 0, 2
CRC_BYTES = 4


MAX_SECTIONS = 256
PIXELS_PER_BYTE = 2**14
FREE_PIXELS = 2**20
"""A picture may have at most FREE_PIXELS + PIXELS_PER_BYTE pixels per byte of latents."""

MIN_COUNTED_SIDE = 64
"""Pixels per hyper-latent: a narrower side costs as much work."""

OPTIONAL_BIT = 0x80


class Kind(IntEnum):
    """What a container holds."""

    IMAGE = 0
    STEREO = 1
    VIDEO = 2
    LAYERED = 3


class SectionId(IntEnum):
    """Section types; those with `OPTIONAL_BIT` may be skipped by a reader that does not know them."""

    LATENTS = 0x01
    ALPHA = 0x02
    ROI = 0x03
    ICC = OPTIONAL_BIT | 0x01
    EXIF = OPTIONAL_BIT | 0x02
    XMP = OPTIONAL_BIT | 0x03


GRAY_FLAG = 1 << 5
DEEP_FLAG = 1 << 6
"""Flags beside the kind and step_z."""


@dataclass(frozen=True)
class Header:
    """The fixed fields of a container.

    Attributes:
        kind: what the container holds.
        model_id: number of the weights, never reused.
        weights_tag: first 4 bytes of the weights file's sha256.
        width: pixels.
        height: pixels.
        rate: rate point, see `nccli.entropy.rate`.
        step_y: offset of every latent's log2 step, 1/64 octave.
        step_z: index into the allowed steps of z, 0..6.
        gray: the picture has one channel, coded as three equal ones.
        depth: bits per sample, 8 or 16.
    """

    kind: Kind
    model_id: int
    weights_tag: bytes
    width: int
    height: int
    rate: int
    step_y: int
    step_z: int
    gray: bool = False
    depth: int = 8

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class Section:
    """One typed payload.

    Attributes:
        id: type.
        payload: contents.
        offset: where the section's first byte, its id, stands in a parsed file.
    """

    id: int
    payload: bytes
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes in the file: id, length and payload."""
        return 1 + len(write_varint(len(self.payload))) + len(self.payload)


@dataclass(frozen=True)
class Container:
    """A parsed file."""

    version: tuple[int, int]
    header: Header
    sections: tuple[Section, ...]
    size: int

    def section(self, wanted: SectionId) -> bytes:
        """Payload of a section that must be there exactly once."""
        payload = self.find(wanted)
        if payload is None:
            raise FormatError(f"{wanted.name.lower()} sections", found=0, expected=1)
        return payload

    def find(self, wanted: SectionId) -> bytes | None:
        """Payload of a section that may be there once."""
        found = [s.payload for s in self.sections if s.id == wanted]
        if len(found) > 1:
            raise FormatError(f"{wanted.name.lower()} sections", found=len(found), expected=1)
        return found[0] if found else None


def write_varint(value: int) -> bytes:
    """LEB128 of a non-negative integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Signed to unsigned: 0, -1, 1, -2, ... -> 0, 1, 2, 3, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


class Reader:
    """Cursor over the bytes in front of the CRC."""

    def __init__(self, data: bytes, end: int) -> None:
        self.data, self.end, self.offset = data, end, 0

    def take(self, count: int, field: str) -> bytes:
        left = self.end - self.offset
        if count > left:
            raise FormatError(
                f"{field} is cut short", offset=self.offset, found=f"{left} bytes", expected=f"{count}"
            )
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def varint(self, field: str, limit: int) -> int:
        start, value, shift = self.offset, 0, 0
        while True:
            byte = self.take(1, field)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 35:
                raise FormatError(field, offset=start, found="an endless number")
        if byte == 0 and shift > 7:
            raise FormatError(field, offset=start, found="a padded number", expected="the shortest form")
        if value > limit:
            raise FormatError(field, offset=start, found=value, expected=f"at most {limit}")
        return value


def write_container(header: Header, sections: list[Section]) -> bytes:
    """Serialise a container.

    Raises:
        ValueError: a field is out of range (a defect of the caller, never of user input).
    """
    if not 1 <= header.width <= MAX_SIDE or not 1 <= header.height <= MAX_SIDE:
        raise ValueError(f"size {header.width}x{header.height} out of range")
    if header.pixels > MAX_PIXELS or abs(header.step_y) > STEP_Y_LIMIT or not 0 <= header.step_z <= 6:
        raise ValueError(f"header out of range: {header}")
    if header.depth not in (8, 16):
        raise ValueError(f"{header.depth} bits per sample")
    out = bytearray(MAGIC)
    flags = GRAY_FLAG * header.gray | DEEP_FLAG * (header.depth == 16)
    out += bytes([MAJOR << 5 | MINOR, header.kind | header.step_z << 2 | flags])
    out += struct.pack("<H4s", header.model_id, header.weights_tag)
    out += write_varint(header.width) + write_varint(header.height)
    out += struct.pack("<H", header.rate) + write_varint(zigzag(header.step_y))
    for section in sections:
        out += bytes([section.id]) + write_varint(len(section.payload)) + section.payload
    return bytes(out + struct.pack("<I", zlib.crc32(out)))


def read_container(data: bytes) -> Container:
    """Parse and verify a container; nothing in `data` is trusted.

    Raises:
        FormatError: not a container, damaged, or out of the format's limits.
        UnsupportedError: another version, or a required section this version does not know.
    """
    reader = Reader(data, max(len(data) - CRC_BYTES, 0))
    version = _read_version(reader)
    crc = struct.unpack("<I", data[reader.end :])[0]
    if zlib.crc32(data[: reader.end]) != crc:
        _explain_truncation(reader)
        raise FormatError("checksum does not match: the file is damaged", offset=reader.end)
    header = _read_header(reader)
    sections = _read_sections(reader)
    _check_plausible(header, sections)
    return Container(version, header, sections, len(data))


def _read_version(reader: Reader) -> tuple[int, int]:
    if not reader.data:
        raise FormatError("the file is empty")
    head = reader.data[: len(MAGIC)]
    if head != MAGIC[: len(head)]:
        if head[:4] == MAGIC[:4]:
            raise FormatError("line ends were converted in transfer", offset=4)
        raise FormatError("not an ncc file", offset=0, found=head.hex(), expected=MAGIC.hex())
    reader.take(len(MAGIC), "signature")
    byte = reader.take(1, "version")[0]
    version = byte >> 5, byte & 0x1F
    if version != (MAJOR, MINOR):
        raise UnsupportedError(
            f"format version {version[0]}.{version[1]} is not supported: this program reads {MAJOR}.{MINOR}"
        )
    return version


def _explain_truncation(reader: Reader) -> None:
    """After a failed CRC: say that the file is cut short when its structure shows it."""
    probe = Reader(reader.data, len(reader.data))
    probe.offset = reader.offset
    _read_header(probe)
    while probe.offset < probe.end - CRC_BYTES:
        probe.take(1, "section id")
        probe.take(probe.varint("section length", 2**32), "section")
    probe.take(CRC_BYTES, "checksum")


def _read_header(reader: Reader) -> Header:
    start = reader.offset
    packed = reader.take(1, "kind")[0]
    step_z = packed >> 2 & 7
    if packed & 0x80 or step_z == 7:
        raise FormatError("flags", offset=start, found=packed)
    model_id, tag = struct.unpack("<H4s", reader.take(6, "model"))
    width, height = reader.varint("width", MAX_SIDE), reader.varint("height", MAX_SIDE)
    if not width or not height or width * height > MAX_PIXELS:
        raise FormatError("picture size", offset=start + 7, found=f"{width}x{height}")
    rate = struct.unpack("<H", reader.take(2, "rate"))[0]
    folded = reader.varint("step_y", 2 * STEP_Y_LIMIT)
    step_y = folded >> 1 if folded % 2 == 0 else -(folded + 1 >> 1)
    gray, depth = bool(packed & GRAY_FLAG), 16 if packed & DEEP_FLAG else 8
    return Header(Kind(packed & 3), model_id, tag, width, height, rate, step_y, step_z, gray, depth)


def _read_sections(reader: Reader) -> tuple[Section, ...]:
    sections: list[Section] = []
    known = {int(s) for s in SectionId}
    while reader.offset < reader.end:
        offset = reader.offset
        number = reader.take(1, "section id")[0]
        payload = reader.take(reader.varint("section length", 2**32), f"section 0x{number:02x}")
        if number not in known and not number & OPTIONAL_BIT:
            raise UnsupportedError(f"required section 0x{number:02x} at byte {offset} is not known")
        sections.append(Section(number, payload, offset))
        if len(sections) > MAX_SECTIONS:
            raise FormatError("sections", offset=offset, found=f"more than {MAX_SECTIONS}")
    return tuple(sections)


def minimum_latent_bytes(width: int, height: int) -> int:
    """Shortest latents payload allowed for a picture; encoders pad to it with zero bytes.

    Sides count as at least `MIN_COUNTED_SIDE` pixels, since networks pad a narrow picture.
    """
    pixels = max(width, MIN_COUNTED_SIDE) * max(height, MIN_COUNTED_SIDE)
    return max(-(-(pixels - FREE_PIXELS) // PIXELS_PER_BYTE), 0)


def _check_plausible(header: Header, sections: tuple[Section, ...]) -> None:
    """Refuse a huge claimed size that no payload of this length may have."""
    total = sum(len(s.payload) for s in sections if s.id == SectionId.LATENTS)
    if total < minimum_latent_bytes(header.width, header.height):
        raise FormatError(
            "picture size is out of proportion to its data",
            found=f"{header.width}x{header.height} in {total} bytes",
        )
