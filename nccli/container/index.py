"""The index at the end of a file of chunks: writing it, and reading any chunk by it.

Where the index is missing or damaged, all chunks up to the first damage are found by walking from
one to the next. Source: docs/FORMAT.md section 2.3. Standard library only.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import BinaryIO

from nccli.container.chunks import (
    KEY_FLAG,
    KNOWN_FLAGS,
    LEAST_CHUNK,
    MOST_CHUNK,
    Chunk,
    bytes_at,
    read_chunk,
    write_chunk,
)
from nccli.container.framing import Reader, refuse_unknown, write_varint
from nccli.errors import FormatError, UsageError

INDEX = 0
"""Id of the index chunk."""

END_MARK = b"\x8eEND"
TRAILER_BYTES = 4 + len(END_MARK)
"""Behind the index: its size, and the mark."""

MAX_CHUNKS = 2**22
"""Of a file, without the index: 19 hours at 60 a second."""

LEAST_ENTRY = 3
"""Bytes of an entry of the index: size, id, flags."""


@dataclass(frozen=True)
class Place:
    """Where a chunk stands.

    Attributes:
        offset: of its first byte.
        size: bytes, its CRC included.
        id: type.
        flags: as in the file.
    """

    offset: int
    size: int
    id: int
    flags: int

    @property
    def key(self) -> bool:
        """Reading may begin here."""
        return bool(self.flags & KEY_FLAG)


class Places:
    """Places of chunks that stand end to end; a few bytes for each, however many a file claims."""

    def __init__(self, start: int) -> None:
        self._ends, self._heads = array("Q", [start]), array("H")

    @property
    def end(self) -> int:
        """Where the next one would begin."""
        return self._ends[-1]

    def append(self, size: int, number: int, flags: int) -> None:
        """One more."""
        self._ends.append(self.end + size)
        self._heads.append(number << 8 | flags)

    def __len__(self) -> int:
        return len(self._heads)

    def __getitem__(self, number: int) -> Place:
        start, head = self._ends[number], self._heads[number]
        return Place(start, self._ends[number + 1] - start, head >> 8, head & 0xFF)

    def pack(self) -> bytes:
        """Payload of the index."""
        places = (self[number] for number in range(len(self)))
        entries = (write_varint(place.size) + bytes([place.id, place.flags]) for place in places)
        return write_varint(len(self)) + b"".join(entries)

    @classmethod
    def unpack(cls, payload: bytes, start: int, end: int) -> Places:
        """The chunks between two bytes of a file, by the payload of its index.

        Raises:
            FormatError: the payload is damaged, or the chunks do not fill the room.
        """
        reader = Reader(payload, len(payload), base=end)
        count, places = reader.varint("chunks in the index", MAX_CHUNKS), cls(start)
        if count > (reader.end - reader.offset) // LEAST_ENTRY:
            raise FormatError("chunks in the index", offset=end, found=count, expected="as many entries")
        for _ in range(count):
            place = reader.place
            size, number = reader.varint("chunk size", MOST_CHUNK), reader.number(1, "chunk id")
            flags = reader.number(1, "chunk flags")
            if size < LEAST_CHUNK or number == INDEX or flags & ~KNOWN_FLAGS:
                raise FormatError("entry of the index", offset=place, found=f"{size}, {number}, {flags}")
            places.append(size, number, flags)
        if places.end != end or reader.offset != reader.end:
            raise FormatError("index", offset=end, found=f"chunks to byte {places.end}", expected=end)
        return places


class ChunkWriter:
    """Writes a file piece by piece, never going back."""

    def __init__(self, write: Callable[[bytes], object], head: bytes) -> None:
        """write: takes the next bytes of the file. head: see `chunks.write_head`."""
        self._write, self._places = write, Places(len(head))
        write(head)

    def add(self, chunk: Chunk) -> None:
        """The next chunk.

        Raises:
            UsageError: the file has all the chunks that one may have.
        """
        if chunk.id == INDEX:
            raise ValueError("chunks of id 0 are the index")
        if len(self._places) == MAX_CHUNKS:
            raise UsageError(f"a file has at most {MAX_CHUNKS} chunks")
        data = write_chunk(chunk)
        self._places.append(len(data), chunk.id, chunk.flags)
        self._write(data)

    def finish(self) -> None:
        """Index and end of the file."""
        index = write_chunk(Chunk(INDEX, self._places.pack()))
        self._write(index + len(index).to_bytes(4, "little") + END_MARK)


class ChunkReader:
    """Any chunk of a file.

    Attributes:
        damage: why chunks may be missing at the end, or the index was of no use; None for a whole file.
    """

    def __init__(self, file: BinaryIO, start: int, known: Collection[int]) -> None:
        """Find the chunks.

        Args:
            file: opened for reading, seekable.
            start: where the first chunk begins, behind the head.
            known: ids of chunks that the kind has.

        Raises:
            FormatError: more chunks than a file may have.
            UnsupportedError: a required chunk is not known.
        """
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        self.damage: FormatError | None = None
        try:
            self._places = self._indexed(start)
        except FormatError as error:
            self._places, self.damage = self._scanned(start, error)
        for number in range(len(self)):
            place = self.place(number)
            refuse_unknown(place.id, known, f"chunk 0x{place.id:02x} at byte {place.offset}")

    def __len__(self) -> int:
        return len(self._places)

    def place(self, number: int) -> Place:
        """Where a chunk stands; they count from 0."""
        if not 0 <= number < len(self):
            raise IndexError(f"chunk {number} of {len(self)}")
        return self._places[number]

    def key_before(self, number: int) -> int:
        """The last chunk up to this one at which reading may begin.

        Raises:
            FormatError: there is none.
        """
        for earlier in range(number, -1, -1):
            if self.place(earlier).key:
                return earlier
        raise FormatError("chunks to begin with", offset=self.place(number).offset, found=0)

    def read(self, number: int) -> Chunk:
        """A chunk.

        Raises:
            FormatError: it is damaged, or not what the index says.
        """
        place = self.place(number)
        chunk, size = read_chunk(self._file, place.offset, place.offset + place.size)
        found, expected = (size, chunk.id, chunk.flags), (place.size, place.id, place.flags)
        if found != expected:
            raise FormatError("chunk", offset=place.offset, found=found, expected=f"{expected} by the index")
        return chunk

    def _indexed(self, start: int) -> Places:
        """By the index."""
        room = self._size - start - TRAILER_BYTES
        if room < 0:
            raise FormatError("the file is cut short: it has no index", offset=self._size)
        trailer = bytes_at(self._file, start + room, TRAILER_BYTES)
        size = int.from_bytes(trailer[:4], "little")
        if trailer[4:] != END_MARK or size > room:
            raise FormatError("the file is cut short: it has no index", offset=self._size)
        offset = start + room - size
        chunk, found = read_chunk(self._file, offset, start + room)
        if chunk.id != INDEX or chunk.flags or found != size:
            raise FormatError(
                "index", offset=offset, found=f"chunk {chunk.id} of {found} bytes", expected=size
            )
        return Places.unpack(chunk.payload, start, offset)

    def _scanned(self, start: int, reason: FormatError) -> tuple[Places, FormatError]:
        """By walking from chunk to chunk up to the index, the end or the first damage; also says which."""
        places = Places(start)
        while places.end < self._size:
            try:
                chunk, size = read_chunk(self._file, places.end, self._size)
            except FormatError as error:
                return places, error
            if chunk.id == INDEX:
                break
            if len(places) == MAX_CHUNKS:
                raise FormatError("chunks", offset=places.end, found=f"more than {MAX_CHUNKS}")
            places.append(size, chunk.id, chunk.flags)
        return places, reason
