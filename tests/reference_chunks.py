"""A second reader of chunks, written from docs/FORMAT.md section 2.3; shares no code with nccli."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from tests.reference_coder import require, unfold
from tests.reference_decoder import SIGNATURE, Cursor


@dataclass(frozen=True)
class Piece:
    """A chunk as it stands in the file."""

    number: int
    key: bool
    setting: tuple[int, int, int] | None
    payload: bytes
    size: int


def sealed(data: bytes) -> bytes:
    """What a CRC-32 at the end covers."""
    require(zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little"), "checksum")
    return data[:-4]


def head(data: bytes) -> tuple[int, bytes, int]:
    """Byte of the kind, header with sections, and where the first chunk begins."""
    require(data[:6] == SIGNATURE and data[6] == 2 and len(data) >= 12, "signature and version")
    end = 12 + int.from_bytes(data[8:12], "little")
    require(end + 4 <= len(data), "head cut short")
    return data[7], sealed(data[: end + 4])[12:], end + 4


def piece(data: bytes) -> Piece:
    """The chunk that the bytes begin with."""
    cursor = Cursor(data)
    number, flags = cursor.take(2)
    length = cursor.varint()
    start = cursor.place
    require(length <= 2**32, "length")
    cursor.take(length + 4)
    inside = Cursor(sealed(data[: cursor.place])[start:])
    require(flags < 4, "flags")
    setting = None
    if flags & 2:
        step_z, rate, folded = inside.take(1)[0], int.from_bytes(inside.take(2), "little"), inside.varint()
        require(step_z < 7 and folded <= 2048, "setting")
        setting = rate, unfold(folded), step_z
    return Piece(number, bool(flags & 1), setting, inside.data[inside.place :], cursor.place)


def pieces(data: bytes, start: int) -> list[Piece]:
    """All chunks of a whole file by walking, checked against its index."""
    require(data[-4:] == b"\x8eEND", "mark")
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    require(end >= start, "index")
    index = piece(data[end:-8])
    plain = not index.key and index.setting is None
    require((index.number, index.size) == (0, len(data) - 8 - end) and plain, "index")
    found = []
    while start < end:
        found.append(piece(data[start:end]))
        start += found[-1].size
    cursor = Cursor(index.payload)
    require(cursor.varint() == len(found), "number of chunks")
    for one in found:
        flags = one.key + 2 * (one.setting is not None)
        require(cursor.varint() == one.size and tuple(cursor.take(2)) == (one.number, flags), "entry")
    require(cursor.place == len(index.payload), "index")
    return found
