"""EXIF blocks: which way is up, and what of them another file takes over. They come from strangers.

A block is kept byte for byte unless the picture was turned. Source: EXIF 2.32.
"""

from __future__ import annotations

from dataclasses import replace

from nccli.media.around.directory import Directories, Directory, Order, reordered, write_directory

EXIF_PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112

HEADER_BYTES = 8
ENTRY_BYTES = 12

DESCRIPTIVE = (269, 270, 271, 272, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
"""Tags of a TIFF that say nothing about how it is stored: document, title, maker, camera, software,
date, artist, computer, rating, copyright; Windows' title, comment, author, keywords, subject."""

THUMBNAIL_DATA = ((0x0201, 0x0202), (0x0111, 0x0117))
"""Tags of a thumbnail's place and size: a JPEG, or a TIFF's strips."""


def whole_exif(block: bytes) -> bytes | None:
    """A block from its TIFF header on; None when nobody could read it.

    That is without a TIFF header, with its directory outside, or one whose values come to more bytes
    than the block has: so reading what is kept takes no more memory than the block.
    """
    block = block.removeprefix(EXIF_PREFIX)
    opened = Directories.of(block)
    if opened is None or opened.big:
        return None
    first = opened.first()
    if first is None:
        return None
    thumbnail = opened.at(first.following) if first.following else None
    return block if thumbnail is not None or not first.following else _unlinked(opened, first)


def has_tags(block: bytes) -> bool:
    """Whether a whole block says anything."""
    opened = Directories.of(block)
    first = opened.first() if opened else None
    return first is not None and bool(first.entries or first.children or first.following)


def exif_orientation(block: bytes | None) -> int | None:
    """The orientation 1..8 that a block states."""
    opened = Directories.of(block or b"")
    first = opened.first() if opened else None
    if opened is None or first is None:
        return None
    values = opened.numbers(first.find(ORIENTATION))
    return values[0] if len(values) == 1 and 1 <= values[0] <= 8 else None


def upright_exif(block: bytes, turned: bool) -> bytes:
    """A whole block with its orientation tag set to 1; of a picture that was turned, without thumbnail."""
    opened = Directories.of(block)
    first = opened.first() if opened else None
    entry = first.find(ORIENTATION) if first else None
    if opened is not None and entry is not None:
        size = len(entry.value)
        block = block[: entry.at] + (1).to_bytes(size, opened.order) + block[entry.at + size :]
    return without_thumbnail(block) if turned else block


def without_thumbnail(block: bytes) -> bytes:
    """A whole block with its first directory alone; the thumbnail's bytes go if they are the last."""
    opened = Directories.of(block)
    first = opened.first() if opened else None
    if opened is None or first is None or not first.following:
        return block
    thumbnail = opened.at(first.following)
    block = _unlinked(opened, first)
    places = [first.following]
    for tags in THUMBNAIL_DATA if thumbnail else ():
        places += opened.numbers(thumbnail.find(tags[0])) if thumbnail else ()
    return block[: min(places)] if _end(first) <= min(places) else block


def without_orientation(block: bytes) -> bytes:
    """A whole block less its orientation tag; all else stays in its place."""
    opened = Directories.of(block)
    first = opened.first() if opened else None
    if opened is None or first is None or first.find(ORIENTATION) is None:
        return block
    entries = [block[at : at + ENTRY_BYTES] for at in range(first.start + 2, first.end - 4, ENTRY_BYTES)]
    kept = [entry for entry in entries if int.from_bytes(entry[:2], opened.order) != ORIENTATION]
    rebuilt = len(kept).to_bytes(2, opened.order) + b"".join(kept) + block[first.end - 4 : first.end]
    return block[: first.start] + rebuilt.ljust(first.end - first.start, b"\0") + block[first.end :]


def descriptive(block: Directories) -> Directory | None:
    """What a TIFF's first directory says about the picture, and its EXIF and GPS directories."""
    first = block.first()
    if first is None:
        return None
    entries = tuple(entry for entry in first.entries if entry.tag in DESCRIPTIVE)
    return replace(first, entries=entries) if entries or first.children else None


def block_of(directory: Directory, order: Order) -> bytes:
    """An EXIF block that holds a directory."""
    signature = b"II*\0" if order == "little" else b"MM\0*"
    head = signature + HEADER_BYTES.to_bytes(4, order)
    return head + write_directory(directory, order, HEADER_BYTES)


def tiff_tags(block: bytes | None, order: Order) -> Directory:
    """What a TIFF takes over from an EXIF block."""
    opened = Directories.of(block or b"")
    found = descriptive(opened) if opened else None
    return Directory(()) if opened is None or found is None else reordered(found, opened.order, order)


def _unlinked(opened: Directories, first: Directory) -> bytes:
    """The block without a reference to a second directory."""
    return opened.data[: first.end - 4] + bytes(4) + opened.data[first.end :]


def _end(directory: Directory) -> int:
    """Behind the last byte that a directory, its values or its children take."""
    ends = [directory.end, *(entry.at + len(entry.value) for entry in directory.entries)]
    return max(*ends, *(_end(child) for child in directory.children.values()), 0)
