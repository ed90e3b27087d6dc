"""EXIF: kept wherever it stands, and never in the way of the picture."""

from __future__ import annotations

import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from nccli.errors import MediaError
from nccli.media.around.exif import ORIENTATION
from nccli.media.around.png import chunk_of
from nccli.media.formats import FORMATS
from nccli.media.picture import Metadata, Picture
from nccli.media.save import lost, write_picture
from nccli.media.still import read_picture
from tests.support import Pixels
from tests.support.pictures import exif_of, jpeg_with, png_with, saved

BOMB_TAGS = 4000


def bomb(tags: int, order: str = "<") -> bytes:
    """A block of which every tag has most of the block as its value."""
    size = 8 + 2 + 12 * tags + 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, tags)
    entries = (struct.pack(order + "HHII", 1000 + n, 7, size - 8, 8) for n in range(tags))
    return head + b"".join(entries) + bytes(4)


GARBAGE = {
    "empty": b"",
    "short": b"II*\0",
    "no header": b"\0\x08\0\x02\x01\x12\0\x03",
    "cut": exif_of()[:40],
    "far directory": b"II*\0\xff\xff\xff\x7f" + bytes(20),
    "endless": b"MM\0*\0\0\0\x08\xff\xff" + bytes(100),
    "odd types": b"II*\0\x08\0\0\0\x02\0"
    + struct.pack("<HHIIHHII", 271, 99, 1, 0, 34665, 2, 9, 0)
    + bytes(9),
    "loop": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIII", 34665, 4, 1, 8, 8),
    "wild pointer": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIII", 34665, 4, 1, 2**31, 0),
    "bomb": bomb(300),
}


@pytest.mark.parametrize("block", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_broken_exif_is_never_in_the_way(small: Pixels, block: bytes, prefix: bytes) -> None:
    for data in (
        png_with(small, chunk_of(b"eXIf", prefix + block)),
        jpeg_with(small, b"Exif\0\0" + block),
        saved(Image.fromarray(small), "WEBP", lossless=True, exif=prefix + block),
    ):
        picture = read_picture(data, "a")
        assert picture.pixels.shape == small.shape
        kept = Picture(picture.pixels, None, Metadata(exif=block))
        for name in FORMATS:
            for written in (picture, kept, Picture(small.astype(np.uint16) * 257, None, kept.metadata)):
                again = read_picture(bytes(write_picture(written, name)), name)
                assert again.pixels.shape == small.shape


def test_what_is_left_out_is_remarked(small: Pixels) -> None:
    assert read_picture(png_with(small, chunk_of(b"eXIf", b"abc")), "a").remarks
    assert not read_picture(png_with(small, chunk_of(b"eXIf", exif_of())), "a").remarks
    assert lost(Picture(small, None, Metadata(exif=b"abc")), "png") == ["EXIF that is broken"]


def raw_profile(keyword: bytes, block: bytes) -> tuple[bytes, bytes]:
    """Keyword and text, as ImageMagick writes them."""
    digits = block.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    name = keyword.split()[-1].decode()
    return keyword, f"\n{name}\n{len(block):8}\n{lines}\n".encode()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("way", ["eXIf", "prefixed", "tEXt", "zTXt", "iTXt", "packed iTXt", "APP1"])
def test_exif_in_all_its_places_of_a_png(small: Pixels, orientation: int, way: str) -> None:
    block = exif_of(orientation)
    keyword, text = raw_profile(
        b"Raw profile type " + (b"APP1" if way == "APP1" else b"exif"), b"Exif\0\0" + block
    )
    chunk = {
        "eXIf": chunk_of(b"eXIf", block),
        "prefixed": chunk_of(b"eXIf", b"Exif\0\0" + block),
        "tEXt": chunk_of(b"tEXt", keyword + b"\0" + text),
        "zTXt": chunk_of(b"zTXt", keyword + b"\0\0" + zlib.compress(text)),
        "iTXt": chunk_of(b"iTXt", keyword + b"\0\0\0\0\0" + text),
        "packed iTXt": chunk_of(b"iTXt", keyword + b"\0\1\0\0\0" + zlib.compress(text)),
        "APP1": chunk_of(b"zTXt", keyword + b"\0\0" + zlib.compress(text)),
    }[way]
    picture = read_picture(png_with(small, chunk), "a")
    image = Image.fromarray(small)
    image.getexif()[ORIENTATION] = orientation
    assert np.array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(image)))
    tags = Image.Exif()
    tags.load(picture.metadata.exif)
    assert (tags[ORIENTATION], tags[271], tags[33432]) == (1, "a maker", "a copyright")
    assert tags.get_ifd(34665)[36867] == "2026:01:02 03:04:05"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_as_its_boxes_say(photo: Pixels, orientation: int) -> None:
    block = Image.Exif()
    block[ORIENTATION], block[271] = orientation, "a maker"
    data = saved(Image.fromarray(photo), "AVIF", quality=95, exif=block)
    image = Image.fromarray(photo)
    image.getexif()[ORIENTATION] = orientation
    picture = read_picture(data, "a")
    assert np.abs(picture.pixels.astype(int) - np.asarray(ImageOps.exif_transpose(image))).mean() < 4
    tags = Image.Exif()
    tags.load(picture.metadata.exif)
    assert (tags.get(ORIENTATION, 1), tags[271]) == (1, "a maker")


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("depth", [8, 16])
def test_exif_survives_every_format_that_holds_it(small: Pixels, name: str, depth: int) -> None:
    samples = small if depth == 8 else small.astype(np.uint16) * 257
    data = bytes(write_picture(Picture(samples, None, Metadata(exif=exif_of(1))), name))
    tags = Image.Exif()
    tags.load(read_picture(data, "a").metadata.exif)
    assert (tags[271], tags[33432]) == ("a maker", "a copyright")
    assert tags.get_ifd(34665)[36867] == "2026:01:02 03:04:05"


def with_thumbnail(pixels: Pixels, orientation: int) -> bytes:
    """A block with a thumbnail in a second directory, behind all else."""
    thumbnail = saved(Image.fromarray(pixels).resize((16, 12)), "JPEG")
    block = bytearray(exif_of(orientation))
    end = len(block) + len(block) % 2
    block += bytes(end - len(block))
    first = struct.unpack_from("<I" if block[:2] == b"II" else ">I", block, 4)[0]
    order = "<" if block[:2] == b"II" else ">"
    count = struct.unpack_from(order + "H", block, first)[0]
    struct.pack_into(order + "I", block, first + 2 + 12 * count, end)
    block += struct.pack(order + "H", 2) + struct.pack(order + "HHII", 0x0201, 4, 1, end + 30)
    block += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return bytes(block) + thumbnail


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_picture_has_no_unturned_thumbnail(small: Pixels, orientation: int) -> None:
    block = with_thumbnail(small, orientation)
    kept = read_picture(jpeg_with(small, b"Exif\0\0" + block), "a").metadata.exif
    tags = Image.Exif()
    tags.load(kept)
    assert (tags[ORIENTATION], tags[271]) == (1, "a maker")
    assert tags.get_ifd(34665)[36867] == "2026:01:02 03:04:05"
    if orientation == 1:
        assert kept == block
    else:
        assert b"\xff\xd8\xff" not in kept
        assert not tags.get_ifd(1)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "avif", "webp"])
def test_a_bomb_of_tags_is_bounded(small: Pixels, kind: str) -> None:
    block = bomb(BOMB_TAGS)
    image = Image.fromarray(small)
    parts = [b"Exif\0\0" + block[at : at + 65000] for at in range(0, len(block), 65000)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bombed = saved(image, "AVIF", exif=block)
    data = {
        "png": lambda: png_with(small, chunk_of(b"eXIf", block)),
        "jpeg": lambda: jpeg_with(small, *parts),
        "tiff": lambda: block,
        "avif": lambda: bombed,
        "webp": lambda: saved(image, "WEBP", exif=block),
    }[kind]()
    tracemalloc.start()
    try:
        if kind == "tiff":
            with pytest.raises(MediaError, match="directory"):
                read_picture(data, "a")
        else:
            assert read_picture(data, "a").pixels.shape == small.shape
        for name in ("tiff", "avif", "png", "jpg"):
            write_picture(Picture(small, None, Metadata(exif=block)), name)
        assert tracemalloc.get_traced_memory()[1] < 2**24, "4000 tags of 48 kB each would be 190 MB"
    finally:
        tracemalloc.stop()
