"""TIFF directories, which TIFF files and EXIF blocks consist of: bytes <-> entries; nothing is trusted.

Values stay bytes in the order of the block they come from, so that whatever is carried over is exact.
Source: TIFF 6.0, section 2; BigTIFF for files beyond 4 GB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Order = Literal["little", "big"]

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value by its type's number."""

BIG_TYPE_BYTES = {16: 8, 17: 8, 18: 8}
"""Types of BigTIFF alone."""

PAIRS = (5, 10)
"""Types of two numbers: rationals."""

LONG = 4
EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 34665, 34853, 40965
CHILDREN: Mapping[int, tuple[int, ...]] = {0: (EXIF_POINTER, GPS_POINTER), EXIF_POINTER: (INTEROP_POINTER,)}
"""Directories within directories, by the tag that points to them; 0 stands for the first of a block."""

CLASSIC: dict[bytes, Order] = {b"II*\0": "little", b"MM\0*": "big"}
BIG: dict[bytes, Order] = {b"II+\0": "little", b"MM\0+": "big"}


@dataclass(frozen=True)
class Tag:
    """One tag.

    Attributes:
        tag: number.
        type: TIFF's number of the type of its values.
        count: values.
        value: their bytes.
        at: where the bytes stand in the block they were read from.
    """

    tag: int
    type: int
    count: int
    value: bytes
    at: int = 0


@dataclass(frozen=True)
class Directory:
    """Tags and the directories they point to.

    Attributes:
        entries: without pointers to children.
        children: by the tag that points to them.
        start: first byte in the block it was read from.
        end: byte behind its last.
        following: where the next directory begins, 0 for none.
    """

    entries: tuple[Tag, ...]
    children: dict[int, Directory] = field(default_factory=dict)
    start: int = 0
    end: int = 0
    following: int = 0

    def find(self, tag: int) -> Tag | None:
        """The entry of a tag."""
        return next((entry for entry in self.entries if entry.tag == tag), None)


@dataclass(frozen=True)
class Directories:
    """A TIFF file or an EXIF block.

    Attributes:
        data: all of it.
        order: of the bytes of a number.
        big: BigTIFF.
    """

    data: bytes
    order: Order
    big: bool = False

    @staticmethod
    def of(data: bytes) -> Directories | None:
        """None for data that begins with no TIFF header."""
        head = data[:4]
        if head in CLASSIC:
            return Directories(data, CLASSIC[head])
        return Directories(data, BIG[head], big=True) if head in BIG else None

    def number(self, at: int, size: int) -> int:
        """An unsigned number; 0 beyond the end."""
        return int.from_bytes(self.data[at : at + size], self.order)

    def first(self) -> Directory | None:
        """The first directory with its children; None if it is outside the data or claims too much."""
        start = self.number(8, 8) if self.big else self.number(4, 4)
        budget = [len(self.data)]
        return self._directory(start, 0, budget)

    def at(self, start: int) -> Directory | None:
        """A directory without children."""
        return self._directory(start, -1, [len(self.data)])

    def numbers(self, entry: Tag | None) -> tuple[int, ...]:
        """The unsigned values of an entry."""
        if entry is None or entry.type not in (1, 3, 4, 16):
            return ()
        size = _type_bytes(entry.type)
        return tuple(
            int.from_bytes(entry.value[at : at + size], self.order) for at in range(0, len(entry.value), size)
        )

    def _directory(self, start: int, kind: int, budget: list[int]) -> Directory | None:
        """A directory whose values, and those of its children, may take what is left of the budget."""
        head, width, word = (8, 20, 8) if self.big else (2, 12, 4)
        if not 0 < start <= len(self.data) - head:
            return None
        count = self.number(start, head)
        end = start + head + count * width + word
        if end - word > len(self.data):
            return None
        entries, children = [], {}
        for number in range(count):
            entry = self._entry(start + head + number * width, budget)
            if budget[0] < 0:
                return None
            if entry is None:
                continue
            if entry.tag not in CHILDREN.get(kind, ()):
                entries.append(entry)
                continue
            child = self._directory(int.from_bytes(entry.value, self.order), entry.tag, budget)
            if child is not None:
                children[entry.tag] = child
        if budget[0] < 0:
            return None
        return Directory(tuple(entries), children, start, end, self.number(end - word, word))

    def _entry(self, at: int, budget: list[int]) -> Tag | None:
        """None for an entry of an unknown type or beyond the end."""
        tag, kind = self.number(at, 2), self.number(at + 2, 2)
        word = 8 if self.big else 4
        count, place = self.number(at + 4, word), at + 4 + word
        size = _type_bytes(kind) * count
        if size > word:
            place = self.number(place, word)
        if not size or place + size > len(self.data):
            return None
        budget[0] -= size
        return Tag(tag, kind, count, self.data[place : place + size], place) if budget[0] >= 0 else None


def _type_bytes(kind: int) -> int:
    return TYPE_BYTES.get(kind, 0) or BIG_TYPE_BYTES.get(kind, 0)


def reordered(directory: Directory, old: Order, new: Order) -> Directory:
    """The same with numbers in another byte order; raw bytes, such as a maker's note, stay."""
    if old == new:
        return directory
    entries = tuple(replace(entry, value=_swapped(entry)) for entry in directory.entries)
    children = {tag: reordered(child, old, new) for tag, child in directory.children.items()}
    return replace(directory, entries=entries, children=children)


def _swapped(entry: Tag) -> bytes:
    size = _type_bytes(entry.type) // (2 if entry.type in PAIRS else 1)
    return b"".join(entry.value[at : at + size][::-1] for at in range(0, len(entry.value), size))


def write_directory(directory: Directory, order: Order, at: int) -> bytes:
    """A directory, its values and its children, for a block in which it begins at byte `at` (even)."""
    entries = [entry for entry in directory.entries if entry.type in TYPE_BYTES]
    entries += [Tag(tag, LONG, 1, bytes(4)) for tag in directory.children]
    entries.sort(key=lambda entry: entry.tag)
    head = bytearray(len(entries).to_bytes(2, order))
    tail = bytearray()
    behind = at + 2 + 12 * len(entries) + 4
    for entry in entries:
        value = entry.value
        if entry.tag in directory.children:
            value = (behind + len(tail)).to_bytes(4, order)
            tail += _even(write_directory(directory.children[entry.tag], order, behind + len(tail)))
        elif len(value) > 4:
            value = (behind + len(tail)).to_bytes(4, order)
            tail += _even(entry.value)
        head += entry.tag.to_bytes(2, order) + entry.type.to_bytes(2, order)
        head += entry.count.to_bytes(4, order) + value.ljust(4, b"\0")
    return bytes(head + bytes(4) + tail)


def _even(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)
