"""PNG chunks: what a PNG carries beside its picture, read within bounds and written.

Decoders get the chunks of the picture alone, so that nothing around it can mislead or fail them.
Source: PNG, third edition.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from nccli.errors import MediaError
from nccli.media.around.colour import CodePoints, Colour
from nccli.media.around.exif import EXIF_PREFIX
from nccli.media.picture import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 33
"""Signature and first chunk, before any other."""

TEXT = (b"tEXt", b"zTXt", b"iTXt")
COLOUR_CHUNKS = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
BRIGHTNESS_CHUNKS = (b"mDCV", b"cLLI")
CARRIED = (b"iCCP", b"eXIf", *BRIGHTNESS_CHUNKS, *COLOUR_CHUNKS, *TEXT)
"""Chunks of metadata: without them the picture is the same."""

GRAY, COLOUR, PALETTE = 0, 2, 3
"""Colour types."""

PICTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND")

METADATA_LIMIT = 2**26
"""Bytes that a compressed chunk may come to."""

XMP_KEYWORD = b"XML:com.adobe.xmp"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
RAW_PROFILE = b"Raw profile type "
"""How ImageMagick and others keep EXIF and XMP in text: the name, the length, hexadecimal digits."""


@dataclass(frozen=True)
class PngFile:
    """A PNG taken apart.

    Attributes:
        picture: a PNG of its picture alone, without `transparent`.
        transparent: the colour that is transparent, a value of 8 or 16 bits per channel; or nothing.
        metadata: as it stands in the file.
        remarks: what was wrong with the rest.
    """

    picture: bytes
    transparent: tuple[int, ...]
    metadata: Metadata
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class PngChunk:
    """One chunk: `raw` is all of it, `whole` whether it is there to its end, `sound` its checksum."""

    name: bytes
    payload: bytes
    raw: bytes
    whole: bool
    sound: bool


def take_apart(data: bytes, name: str) -> PngFile:
    """A PNG's picture, and what surrounds it.

    Raises:
        MediaError: a chunk of the picture has a wrong checksum, or there is no header.
    """
    head, key, remarks = [SIGNATURE], b"", list[str]()
    body, carried = list[bytes](), list[PngChunk]()
    for chunk in _chunks(data):
        shown = chunk.name.decode("latin1")
        needed = chunk.name in PICTURE or chunk.name == b"tRNS"
        if chunk.whole and not chunk.sound and (needed or not chunk.name[0] & 0x20):
            raise MediaError(f"{name} is damaged: the checksum of its {shown} chunk does not match")
        if chunk.name in PICTURE:
            (body if body or chunk.name == b"IDAT" else head).append(chunk.raw)
        elif chunk.name == b"tRNS":
            key = chunk.payload
        elif chunk.name in CARRIED and chunk.whole:
            if chunk.sound:
                carried.append(chunk)
            else:
                remarks.append(f"its {shown} chunk is left out: the checksum does not match")
    header = head[1] if len(head) > 1 else b""
    if header[4:8] != b"IHDR" or len(header) != 25:
        raise MediaError(f"{name} is damaged: it begins with no IHDR chunk")
    depth, kind = header[16], header[17]
    if kind == PALETTE and key:
        head.append(chunk_of(b"tRNS", key))
    found = Found(remarks)
    for chunk in carried:
        found.add(chunk)
    values = _key(key, depth) if len(key) == {GRAY: 2, COLOUR: 6}.get(kind) and depth else ()
    metadata = Metadata(found.icc, found.exif, found.xmp, found.colour)
    return PngFile(b"".join((*head, *body)), values, metadata, tuple(remarks))


def _chunks(data: bytes) -> Iterator[PngChunk]:
    """All chunks up to IEND, the last perhaps cut short."""
    offset, name = len(SIGNATURE), b""
    while offset < len(data) and name != b"IEND":
        size = int.from_bytes(data[offset : offset + 4], "big")
        name, end = data[offset + 4 : offset + 8], offset + 12 + size
        body = memoryview(data)[offset + 4 : end - 4]
        sound = zlib.crc32(body) == int.from_bytes(data[end - 4 : end], "big")
        payload = b"" if name == b"IDAT" else bytes(body[4:])
        yield PngChunk(name, payload, data[offset:end], end <= len(data), sound)
        offset = end


def _key(payload: bytes, depth: int) -> tuple[int, ...]:
    """Transparent samples as decoded, with 8 or 16 bits; only as many low bits count as a sample has."""
    peak, scale = 2**depth - 1, 255 // (2**depth - 1) if depth < 8 else 1
    values = (int.from_bytes(payload[at : at + 2], "big") for at in range(0, len(payload), 2))
    return tuple((value & peak) * scale for value in values)


class Found:
    """Metadata found in chunks so far; the first of a kind counts."""

    def __init__(self, remarks: list[str]) -> None:
        self.icc: bytes | None = None
        self.exif: bytes | None = None
        self.xmp: bytes | None = None
        self._colour: dict[bytes, bytes] = {}
        self._remarks = remarks

    def add(self, chunk: PngChunk) -> None:
        """Take what a chunk holds; what cannot be read is a remark."""
        try:
            if chunk.name == b"iCCP":
                self.icc = self.icc or inflate(chunk.payload.partition(b"\0")[2][1:])
            elif chunk.name == b"eXIf":
                self.exif = chunk.payload
            elif chunk.name in BRIGHTNESS_CHUNKS:
                self._remarks.append(
                    f"its {chunk.name.decode()} chunk, on the brightness of a display, is left out"
                )
            elif chunk.name in COLOUR_CHUNKS:
                self._colour.setdefault(chunk.name, chunk.payload)
            else:
                self._text(*_text(chunk))
        except (ValueError, zlib.error) as error:
            self._remarks.append(f"its {chunk.name.decode('latin1')} chunk is left out: {error}")

    @property
    def colour(self) -> Colour:
        """What the samples mean, less what a profile or sRGB says better."""
        found = self._colour
        points, gamma, chromaticities = (found.get(name, b"") for name in COLOUR_CHUNKS[:3])
        if b"sRGB" in found:
            gamma = chromaticities = b""
        numbers = (int.from_bytes(chromaticities[at : at + 4], "big") for at in range(0, 32, 4))
        return Colour(
            CodePoints(points[0], points[1], bool(points[3])) if len(points) == 4 else None,
            int.from_bytes(gamma, "big") if len(gamma) == 4 else None,
            tuple(numbers) if len(chromaticities) == 32 else None,
        )

    def _text(self, keyword: bytes, text: bytes) -> None:
        if keyword == XMP_KEYWORD:
            self.xmp = self.xmp or text
        elif keyword.lower().startswith(RAW_PROFILE.lower()):
            kind, profile = keyword[len(RAW_PROFILE) :].lower(), _raw_profile(text)
            if profile.startswith(EXIF_PREFIX) or kind == b"exif":
                self.exif = self.exif or profile
            elif profile.startswith(XMP_PREFIX) or kind == b"xmp":
                self.xmp = self.xmp or profile.removeprefix(XMP_PREFIX)


def _text(chunk: PngChunk) -> tuple[bytes, bytes]:
    """Keyword and text of a text chunk; other keywords than those of metadata are not decompressed."""
    keyword, _, rest = chunk.payload.partition(b"\0")
    if keyword != XMP_KEYWORD and not keyword.lower().startswith(RAW_PROFILE.lower()):
        return b"", b""
    packed = chunk.name == b"zTXt"
    if chunk.name == b"zTXt":
        rest = rest[1:]
    elif chunk.name == b"iTXt":
        packed = rest[:1] == b"\x01"
        rest = rest[2:].split(b"\0", 2)[2] if rest[2:].count(b"\0") >= 2 else b""
    return keyword, inflate(rest) if packed else rest


def _raw_profile(text: bytes) -> bytes:
    """The bytes behind hexadecimal digits, of which the text states the number."""
    lines = text.strip().split(b"\n", 2)
    if len(lines) < 3:
        raise ValueError("a raw profile without data")
    return bytes.fromhex(lines[2].decode("ascii"))[: int(lines[1])]


def inflate(data: bytes) -> bytes:
    """Decompressed data, up to a limit.

    Raises:
        ValueError: it is longer than the limit, or cut short.
        zlib.error: it is damaged.
    """
    engine = zlib.decompressobj()
    out = engine.decompress(data, METADATA_LIMIT)
    if engine.unconsumed_tail:
        raise ValueError(f"it holds more than {METADATA_LIMIT // 2**20} MiB")
    if not engine.eof:
        raise ValueError("it is cut short")
    return out


def chunk_of(name: bytes, payload: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return len(payload).to_bytes(4, "big") + name + payload + zlib.crc32(name + payload).to_bytes(4, "big")


def fitting_icc(icc: bytes | None, gray: bool) -> bytes | None:
    """A profile that a gray or a colour PNG may hold: one of its own kind, and not too large to be read."""
    fits = icc is not None and icc[16:20] == (b"GRAY" if gray else b"RGB ") and len(icc) <= METADATA_LIMIT
    return icc if fits else None


def metadata_chunks(metadata: Metadata, gray: bool) -> bytes:
    """The chunks of a picture's metadata, which stand behind the header."""
    chunks = b"" if metadata.colour is None else _colour_chunks(metadata.colour)
    icc = fitting_icc(metadata.icc, gray)
    if icc:
        chunks += chunk_of(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if metadata.exif:
        chunks += chunk_of(b"eXIf", metadata.exif)
    if metadata.xmp:
        chunks += chunk_of(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp)
    return chunks


def _colour_chunks(colour: Colour) -> bytes:
    chunks = b""
    if colour.points is not None:
        points = colour.points
        chunks += chunk_of(b"cICP", bytes([points.primaries, points.transfer, 0, points.full]))
    if colour.gamma is not None:
        chunks += chunk_of(b"gAMA", colour.gamma.to_bytes(4, "big"))
    if colour.chromaticities is not None:
        chunks += chunk_of(b"cHRM", b"".join(n.to_bytes(4, "big") for n in colour.chromaticities))
    return chunks


def with_chunks(png: bytes | memoryview, chunks: bytes) -> bytes | memoryview:
    """A PNG with more chunks behind its header."""
    return (
        b"".join((memoryview(png)[:HEADER_BYTES], chunks, memoryview(png)[HEADER_BYTES:])) if chunks else png
    )
