"""TIFF files: how their picture is stored, and what surrounds it.

Strips and tiles, interleaved and in planes, 8 to 64 bits, integers and floats, classic and BigTIFF
are read here (`tiff_samples`), since Pillow cannot hold or mistakes many; palettes, bits below 8, CMYK
and the compressions for photographs and faxes are Pillow's. Source: TIFF 6.0; Adobe Photoshop TIFF
technical notes 1 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nccli.errors import MediaError
from nccli.media.around.directory import LONG, Directories, Directory, Order, Tag, write_directory
from nccli.media.around.exif import ORIENTATION, block_of, descriptive
from nccli.media.picture import Metadata

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
OFFSETS, CHANNELS, STRIP_ROWS, COUNTS, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
EXTRA, FORMAT, XMP_TAG, ICC_TAG = 338, 339, 700, 34675

KIND, OTHERS, DNG_VERSION = 254, 330, 50706
PREVIEW = 1
"""Bit of `KIND`; `OTHERS` says where the pictures are that it is a preview of."""

STRUCTURAL = frozenset((*range(254, 267), *range(273, 300), 301, *range(317, 348), *range(512, 533))) - {
    ORIENTATION,
    OTHERS,
}
"""Tags of the picture itself, JPEG's among them: all that Pillow gets to see."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
NONE, LZW, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA, ZSTD = 1, 5, 8, 32773, 32946, 34925, 50000
COMPRESSIONS = {
    NONE: "none",
    LZW: "LZW",
    DEFLATE: "deflate",
    PACKBITS: "PackBits",
    OLD_DEFLATE: "deflate",
    LZMA: "LZMA",
    ZSTD: "Zstandard",
}

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
PLANES = 2
LONG_8 = 16


@dataclass(frozen=True)
class TiffFile:
    """An opened TIFF: its first picture.

    Attributes:
        block: the file.
        tags: its first directory.
        name: for errors.
    """

    block: Directories
    tags: Directory
    name: str

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The values of a tag."""
        return self.block.numbers(self.tags.find(tag)) or default

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return self.numbers(tag, (default,))[0]

    @property
    def width(self) -> int:
        return self.number(WIDTH)

    @property
    def height(self) -> int:
        return self.number(HEIGHT)

    @property
    def orientation(self) -> int:
        """1..8; 1 when there is none or it makes no sense."""
        value = self.number(ORIENTATION, 1)
        return value if 1 <= value <= 8 else 1

    @cached_property
    def channels(self) -> int:
        return self.number(CHANNELS, 1)

    @cached_property
    def colours(self) -> int:
        """Channels before the extra ones."""
        return 3 if self.number(PHOTOMETRIC) == RGB else 1

    @cached_property
    def bits(self) -> int:
        """Bits per sample; 0 where channels differ in them."""
        found = set(self.numbers(BITS, (1,)))
        return found.pop() if len(found) == 1 else 0

    @cached_property
    def sample_format(self) -> int:
        """0 where channels differ in it."""
        found = set(self.numbers(FORMAT, (UNSIGNED,)))
        return found.pop() if len(found) == 1 else 0

    @property
    def plain(self) -> bool:
        """Whether its samples are to be read here and not by Pillow."""
        known = self.number(COMPRESSION, 1) in COMPRESSIONS and self.number(PREDICTOR, 1) in (1, 2, 3)
        whole = self.bits >= 8 and self.number(FILL_ORDER, 1) == 1
        return known and whole and self.number(PHOTOMETRIC, -1) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)

    def properties(self) -> str:
        """What is unusual about it, in words."""
        kinds = {SIGNED: "signed ", FLOAT: "floating-point "}
        bits = ", ".join(str(n) for n in sorted(set(self.numbers(BITS, (1,)))))
        return (
            f"{self.channels} channels of {kinds.get(self.sample_format, '')}{bits} bits, photometric "
            f"interpretation {self.number(PHOTOMETRIC, -1)}, compression {self.number(COMPRESSION, 1)}"
            + (", in planes" if self.number(PLANAR, 1) == PLANES else "")
        )


def opened(data: bytes, name: str) -> TiffFile | None:
    """None for data that begins with no TIFF header.

    Raises:
        MediaError: its directory lies outside, or claims more data than there is; or its picture is a
            preview of another.
    """
    block = Directories.of(data)
    if block is None:
        return None
    tags = block.first()
    if tags is None:
        raise MediaError(f"cannot decode {name}: its TIFF directory is damaged")
    file = TiffFile(block, tags, name)
    if file.number(KIND) & PREVIEW and (tags.find(OTHERS) or tags.find(DNG_VERSION)):
        raise MediaError(f"cannot decode {name}: its first picture is a preview, as in cameras' raw files")
    return file


def metadata_of(file: TiffFile) -> Metadata:
    """Profiles and tags as they stand in the file."""
    icc, xmp = file.tags.find(ICC_TAG), file.tags.find(XMP_TAG)
    said = descriptive(file.block)
    return Metadata(
        icc.value if icc else None,
        block_of(said, file.block.order) if said else None,
        xmp.value if xmp else None,
    )


def bare(file: TiffFile) -> bytes:
    """The file with a directory of the picture's own tags alone, in no need of turning; never a BigTIFF."""
    order: Order = file.block.order
    kept = tuple(_classic(entry, order) for entry in file.tags.entries if entry.tag in STRUCTURAL)
    data = file.block.data + bytes(len(file.block.data) % 2)
    signature = b"II*\0" if order == "little" else b"MM\0*"
    directory = write_directory(Directory(kept), order, len(data))
    return signature + len(data).to_bytes(4, order) + data[8:] + directory


def _classic(entry: Tag, order: Order) -> Tag:
    """Numbers of 64 bits with 32."""
    if entry.type != LONG_8:
        return entry
    values = (entry.value[at : at + 8] for at in range(0, len(entry.value), 8))
    short = b"".join(value[:4] if order == "little" else value[4:] for value in values)
    return Tag(entry.tag, LONG, entry.count, short)
