"""Chunks and the head in front of them: files that are written and read piece by piece.

Every piece has a checksum of its own, so that a file that was cut short still reads to the cut.
Source: docs/FORMAT.md section 2.3. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from nccli.container.framing import (
    CRC_BYTES,
    MAGIC,
    MAX_PAYLOAD,
    Container,
    H,
    Kind,
    Reader,
    ReadHeader,
    Section,
    crc_of,
    first_bytes,
    read_first,
    read_sections,
    write_sections,
    write_varint,
)
from nccli.container.setting_fields import read_setting, write_setting
from nccli.entropy.setting import Setting
from nccli.errors import FormatError

KEY_FLAG, SETTING_FLAG = 1, 2
KNOWN_FLAGS = KEY_FLAG | SETTING_FLAG

LENGTH_BYTES = 4
"""Of the length of a head."""

FIRST_BYTES = len(MAGIC) + 2 + LENGTH_BYTES
"""Signature, version, kind and length of a head."""

LEAST_CHUNK = 3 + CRC_BYTES
MOST_CHUNK = 7 + MAX_PAYLOAD + CRC_BYTES
"""Bytes of a chunk: id, flags, a length of 1 to 5, what it counts, and the CRC."""


@dataclass(frozen=True)
class Chunk:
    """One piece of a file.

    Attributes:
        id: type, as the kind numbers them; 0 is the index.
        payload: contents.
        key: reading may begin here, nothing in front of it is needed.
        setting: where on the rate axis the contents are coded; its region is no part of it.
    """

    id: int
    payload: bytes
    key: bool = False
    setting: Setting | None = None

    @property
    def flags(self) -> int:
        """The flags of the file."""
        return KEY_FLAG * self.key | SETTING_FLAG * (self.setting is not None)


def write_head(packed: int, header: bytes, sections: Iterable[Section]) -> bytes:
    """What stands in front of the chunks; arguments as of `framing.write_whole`."""
    rest = header + write_sections(sections)
    body = first_bytes(packed) + len(rest).to_bytes(LENGTH_BYTES, "little") + rest
    return body + crc_of(body)


def read_head(
    file: BinaryIO, wanted: Kind, read_header: ReadHeader[H], known: Collection[int]
) -> Container[H]:
    """Parse and verify a head; the first chunk begins at its size.

    Args:
        file: opened for reading, seekable.
        wanted, read_header, known: as of `framing.read_whole`.

    Raises:
        FormatError: not an ncc file, damaged, or out of the format's limits.
        UnsupportedError: another version or kind, or an unknown required section.
    """
    size = file.seek(0, os.SEEK_END)
    first = bytes_at(file, 0, min(FIRST_BYTES, size))
    reader = Reader(first, len(first))
    version, packed = read_first(reader, wanted)
    length = reader.number(LENGTH_BYTES, "length of the head")
    end = FIRST_BYTES + length
    if end + CRC_BYTES > size:
        left = size - FIRST_BYTES
        raise FormatError("head is cut short", offset=FIRST_BYTES, found=f"{left} bytes", expected=length + 4)
    data = bytes_at(file, 0, end + CRC_BYTES)
    check_crc(data, 0, "head")
    reader = Reader(data, end, FIRST_BYTES)
    header = read_header(packed, reader)
    return Container(version, wanted, header, read_sections(reader, known), len(data))


def write_chunk(chunk: Chunk) -> bytes:
    """A chunk's bytes."""
    setting = b"" if chunk.setting is None else write_setting(chunk.setting)
    length = len(setting) + len(chunk.payload)
    if not 0 <= chunk.id <= 0xFF or length > MAX_PAYLOAD:
        raise ValueError(f"chunk {chunk.id} of {length} bytes")
    body = bytes([chunk.id, chunk.flags]) + write_varint(length) + setting + chunk.payload
    return body + crc_of(body)


def read_chunk(file: BinaryIO, offset: int, end: int) -> tuple[Chunk, int]:
    """The chunk at an offset, and its bytes in the file; `end` is where the file ends.

    Raises:
        FormatError: it is damaged or cut short.
    """
    first = bytes_at(file, offset, min(2 + 6, end - offset))
    reader = Reader(first, len(first), base=offset)
    number, flags = reader.number(1, "chunk id"), reader.number(1, "chunk flags")
    size = reader.varint("chunk length", MAX_PAYLOAD) + reader.offset + CRC_BYTES
    if size > end - offset:
        found = f"{end - offset} bytes"
        raise FormatError(f"chunk 0x{number:02x} is cut short", offset=offset, found=found, expected=size)
    data = bytes_at(file, offset, size)
    check_crc(data, offset, f"chunk 0x{number:02x}")
    if flags & ~KNOWN_FLAGS:
        raise FormatError("chunk flags", offset=offset + 1, found=flags, expected=f"at most {KNOWN_FLAGS}")
    reader = Reader(data, size - CRC_BYTES, reader.offset, offset)
    setting = read_setting(reader) if flags & SETTING_FLAG else None
    payload = reader.take(reader.end - reader.offset, "chunk")
    return Chunk(number, payload, bool(flags & KEY_FLAG), setting), size


def check_crc(data: bytes, offset: int, what: str) -> None:
    """Raise FormatError unless the data, which stand at this byte of the file, end in their CRC."""
    end = len(data) - CRC_BYTES
    if crc_of(data[:end]) != data[end:]:
        raise FormatError(f"checksum of the {what} does not match", offset=offset + end)


def bytes_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """So many bytes that are known to be there."""
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise FormatError("the file shrank", offset=offset, found=f"{len(data)} bytes", expected=count)
    return data
