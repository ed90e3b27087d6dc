"""Framing that all kinds of file share: signature, version, kind, sections, checksum.

Source: docs/FORMAT.md section 2. What a header says is a matter of each kind: `image_file` and those
beside it. Standard library only, so that a file can be inspected without loading a network.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from nccli.errors import FormatError, UnsupportedError

MAGIC = b"\x8eNCC\r\n"
MAJOR, MINOR = 0, 2
CRC_BYTES = 4

MAX_SECTIONS = 256
MAX_PAYLOAD = 2**32
"""Bytes of a section or chunk."""

OPTIONAL_BIT = 0x80
"""Of the id of what may be skipped by a reader that does not know it."""

KIND_MASK = 3


class Kind(IntEnum):
    """What a file holds."""

    IMAGE = 0
    STEREO = 1
    VIDEO = 2
    LAYERED = 3


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


def unfold(folded: int) -> int:
    """The inverse of `zigzag`."""
    return folded >> 1 if folded % 2 == 0 else -(folded + 1 >> 1)


def crc_of(data: bytes | bytearray) -> bytes:
    """The checksum that closes a file, a head or a chunk."""
    return zlib.crc32(data).to_bytes(CRC_BYTES, "little")


class Reader:
    """Cursor over bytes up to an end, all of which it checks.

    Attributes:
        data: bytes.
        end: first byte that is not to be read.
        offset: next byte.
        base: where the data begin in the file.
    """

    def __init__(self, data: bytes, end: int, offset: int = 0, base: int = 0) -> None:
        self.data, self.end, self.offset, self.base = data, end, offset, base

    @property
    def place(self) -> int:
        """Offset in the file."""
        return self.base + self.offset

    def take(self, count: int, field: str) -> bytes:
        """The next bytes."""
        left = self.end - self.offset
        if count > left:
            found, expected = f"{left} bytes", f"{count}"
            raise FormatError(f"{field} is cut short", offset=self.place, found=found, expected=expected)
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def number(self, count: int, field: str) -> int:
        """An unsigned number of this many bytes."""
        return int.from_bytes(self.take(count, field), "little")

    def varint(self, field: str, limit: int) -> int:
        """A varint up to a limit."""
        start, value, shift = self.place, 0, 0
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


H = TypeVar("H")


@dataclass(frozen=True)
class Container(Generic[H]):
    """A parsed file that was written in one piece, or the head of one that has chunks.

    Attributes:
        version: major and minor.
        kind: what the file holds.
        header: its kind's own fields.
        sections: in the order of the file.
        size: bytes of the file or head, its CRC included.
    """

    version: tuple[int, int]
    kind: Kind
    header: H
    sections: tuple[Section, ...]
    size: int

    def section(self, wanted: IntEnum) -> bytes:
        """Payload of a section that must be there exactly once."""
        payload = self.find(wanted)
        if payload is None:
            raise FormatError(f"{wanted.name.lower()} sections", found=0, expected=1)
        return payload

    def find(self, wanted: IntEnum) -> bytes | None:
        """Payload of a section that may be there once."""
        found = [s.payload for s in self.sections if s.id == wanted]
        if len(found) > 1:
            raise FormatError(f"{wanted.name.lower()} sections", found=len(found), expected=1)
        return found[0] if found else None


ReadHeader = Callable[[int, Reader], H]
"""The byte of the kind, and a reader behind it -> the kind's header."""


def first_bytes(packed: int) -> bytes:
    """Signature, version, and the byte whose lower two bits are the kind."""
    return MAGIC + bytes([MAJOR << 5 | MINOR, packed])


def write_sections(sections: Iterable[Section]) -> bytes:
    """Sections, end to end."""
    return b"".join(bytes([s.id]) + write_varint(len(s.payload)) + s.payload for s in sections)


def write_whole(packed: int, header: bytes, sections: Iterable[Section]) -> bytes:
    """A file in one piece.

    Args:
        packed: kind in bits 0-1, the rest as the kind has it.
        header: the kind's fields.
        sections: what follows them.
    """
    body = first_bytes(packed) + header + write_sections(sections)
    return body + crc_of(body)


def read_whole(data: bytes, wanted: Kind, read_header: ReadHeader[H], known: Collection[int]) -> Container[H]:
    """Parse and verify a file in one piece; nothing in `data` is trusted.

    Args:
        data: the file.
        wanted: the kind it must be of.
        read_header: how that kind's header is read.
        known: section ids of that kind.

    Raises:
        FormatError: not an ncc file, damaged, or out of the format's limits.
        UnsupportedError: another version or kind, or an unknown required section.
    """
    reader = Reader(data, max(len(data) - CRC_BYTES, 0))
    version, packed = read_first(reader, wanted)
    if crc_of(data[: reader.end]) != data[reader.end :]:
        _explain_truncation(reader, packed, read_header)
        raise FormatError("checksum does not match: the file is damaged", offset=reader.end)
    header = read_header(packed, reader)
    sections = read_sections(reader, known)
    return Container(version, wanted, header, sections, len(data))


def kind_of(data: bytes) -> Kind:
    """What kind of file begins with these bytes.

    Raises:
        FormatError: none.
        UnsupportedError: one of another version.
    """
    return Kind(_first(Reader(data, len(data)))[1] & KIND_MASK)


def read_first(reader: Reader, wanted: Kind) -> tuple[tuple[int, int], int]:
    """Version, and the byte of the kind.

    Raises:
        FormatError: not an ncc file.
        UnsupportedError: another version or kind.
    """
    version, packed = _first(reader)
    kind = Kind(packed & KIND_MASK)
    if kind != wanted:
        raise UnsupportedError(f"the file's kind is {kind.name.lower()}, not {wanted.name.lower()}")
    return version, packed


def _first(reader: Reader) -> tuple[tuple[int, int], int]:
    if not reader.data:
        raise FormatError("the file is empty")
    head = reader.data[: len(MAGIC)]
    if head != MAGIC[: len(head)]:
        if head[:4] == MAGIC[:4]:
            raise FormatError("line ends were converted in transfer", offset=4)
        raise FormatError("not an ncc file", offset=0, found=head.hex(), expected=MAGIC.hex())
    reader.take(len(MAGIC), "signature")
    byte = reader.number(1, "version")
    version = byte >> 5, byte & 0x1F
    if version != (MAJOR, MINOR):
        raise UnsupportedError(
            f"format version {version[0]}.{version[1]} is not supported: this program reads {MAJOR}.{MINOR}"
        )
    return version, reader.number(1, "kind")


def _explain_truncation(reader: Reader, packed: int, read_header: ReadHeader[H]) -> None:
    """After a failed CRC: say that the file is cut short when its structure shows it."""
    probe = Reader(reader.data, len(reader.data), reader.offset)
    read_header(packed, probe)
    while probe.offset < probe.end - CRC_BYTES:
        probe.take(1, "section id")
        probe.take(probe.varint("section length", MAX_PAYLOAD), "section")
    probe.take(CRC_BYTES, "checksum")


def read_sections(reader: Reader, known: Collection[int]) -> tuple[Section, ...]:
    """Sections up to the reader's end.

    Raises:
        FormatError: they do not end there.
        UnsupportedError: a required one is not known.
    """
    sections: list[Section] = []
    while reader.offset < reader.end:
        offset = reader.place
        number = reader.number(1, "section id")
        payload = reader.take(reader.varint("section length", MAX_PAYLOAD), f"section 0x{number:02x}")
        sections.append(Section(number, payload, offset))
        if len(sections) > MAX_SECTIONS:
            raise FormatError("sections", offset=offset, found=f"more than {MAX_SECTIONS}")
    for section in sections:
        refuse_unknown(section.id, known, f"section 0x{section.id:02x} at byte {section.offset}")
    return tuple(sections)


def refuse_unknown(number: int, known: Collection[int], what: str) -> None:
    """Raise UnsupportedError for the id of something required that is not known."""
    if number not in known and not number & OPTIONAL_BIT:
        raise UnsupportedError(f"required {what} is not known")
