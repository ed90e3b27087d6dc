"""What surrounds a picture: kept, or named when it is not; and never in the way of the picture."""

from __future__ import annotations

import io
import struct
import subprocess
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from nccli.errors import MediaError
from nccli.media.exif import ORIENTATION
from nccli.media.formats import FORMATS
from nccli.media.picture import Metadata, Picture
from nccli.media.png import chunk_of
from nccli.media.save import lost, write_picture
from nccli.media.still import picture_of, read_picture
from tests.support import Pixels

BOMB_TAGS = 4000


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png_with(pixels: Pixels, *chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    data = saved(Image.fromarray(pixels), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with(pixels: Pixels, *payloads: bytes) -> bytes:
    """A JPEG with APP1 segments."""
    data = saved(Image.fromarray(pixels), "JPEG", quality=95)
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in payloads)
    return data[:2] + segments + data[2:]


def exif_of(orientation: int = 6) -> bytes:
    """A block without the prefix: maker, copyright, orientation, a sub-directory."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[271], exif[33432] = orientation, "a maker", "a copyright"
    exif.get_ifd(34665)[36867] = "2026:01:02 03:04:05"
    return exif.tobytes().removeprefix(b"Exif\0\0")


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


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_gray(small: Pixels, depth: int) -> None:
    peak = 2**depth - 1
    values = small[..., 0].astype(np.uint16) % (peak + 1 if depth < 16 else 2**16)
    key = int(values[5, 7])
    if depth == 16:
        rows = values.astype(">u2").view(np.uint8)
    else:
        ones = values[..., None] >> np.arange(depth)[::-1] & 1
        rows = np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    data = b"\x89PNG\r\n\x1a\n" + chunk_of(b"IHDR", struct.pack(">IIBBBBB", 47, 33, depth, 0, 0, 0, 0))
    data += chunk_of(b"tRNS", struct.pack(">H", key)) + chunk_of(b"IDAT", zlib.compress(lines))
    data += chunk_of(b"IEND", b"")
    picture = read_picture(data, "a")
    assert np.array_equal(picture.alpha == 0, values == key)
    opened = picture_of(Image.open(io.BytesIO(data)))
    assert np.array_equal(opened.alpha == 0, values == key)
    scale = 1 if depth >= 8 else 255 // peak
    assert np.array_equal(picture.pixels[..., 0], values * scale)


def test_only_as_many_bits_of_a_key_count_as_samples_have(small: Pixels) -> None:
    key = 0xAB00 | int(small[5, 7, 0])
    data = saved(Image.fromarray(small[..., 0]), "PNG")
    data = data[:33] + chunk_of(b"tRNS", struct.pack(">H", key)) + data[33:]
    assert np.array_equal(read_picture(data, "a").alpha == 0, small[..., 0] == small[5, 7, 0])


def test_transparent_colour_of_sixteen_bits(small: Pixels) -> None:
    samples = small.astype(np.uint16) * 200
    data = bytes(write_picture(Picture(samples), "png"))
    key = samples[4, 4]
    data = data[:33] + chunk_of(b"tRNS", key.astype(">u2").tobytes()) + data[33:]
    picture = read_picture(data, "a")
    assert np.array_equal(picture.alpha == 0, (samples == key).all(axis=2))
    assert np.array_equal(picture.pixels, samples)


def test_a_gray_gif_keeps_its_own_key() -> None:
    values = np.arange(4, dtype=np.uint8).repeat(16).reshape(8, 8) * 85
    data = saved(Image.fromarray(values), "GIF", transparency=1)
    assert read_picture(data, "a").alpha is None


@pytest.mark.parametrize("megabytes", [0.1, 1.2, 5])
def test_large_profiles_and_packets_come_back(small: Pixels, megabytes: float) -> None:
    rng = np.random.default_rng(0)
    icc = bytes(16) + b"RGB " + rng.bytes(int(megabytes * 1e6))
    xmp = b"<x:xmpmeta>" + b"a" * int(megabytes * 1e6) + b"</x:xmpmeta>"
    for samples in (small, small.astype(np.uint16) * 257):
        for name in ("png", "webp", "tiff", "avif"):
            kept = Metadata(icc, None, xmp)
            read = read_picture(bytes(write_picture(Picture(samples, None, kept), name)), "a")
            assert read.metadata == kept
    text = chunk_of(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000)))
    packed = chunk_of(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))
    assert read_picture(png_with(small, text, packed), "a").metadata.xmp == xmp


def test_a_bomb_of_a_profile_is_left_out(small: Pixels) -> None:
    packed = zlib.compress(bytes(2**26 + 1), 9)
    picture = read_picture(png_with(small, chunk_of(b"iCCP", b"a\0\0" + packed)), "a")
    assert picture.metadata.icc is None
    assert "iCCP" in picture.remarks[0]


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP"])
def test_wrong_checksums_around_a_picture(small: Pixels, name: bytes) -> None:
    broken = bytearray(chunk_of(name, b"Comment\0\0\0\0\0" + b"abc"))
    broken[-1] ^= 1
    picture = read_picture(png_with(small, bytes(broken)), "a")
    assert np.array_equal(picture.pixels, small)
    assert name.decode() in picture.remarks[0]


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"PLTE", b"tRNS"])
def test_wrong_checksums_in_a_picture_name_the_chunk(small: Pixels, name: bytes) -> None:
    data = bytearray(saved(Image.fromarray(small).quantize(8), "PNG", transparency=0))
    place = data.index(name)
    size = int.from_bytes(data[place - 4 : place], "big")
    data[place + 4 + size] ^= 1
    with pytest.raises(MediaError, match=f"name.png.*{name.decode()}"):
        read_picture(bytes(data), "name.png")


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_profiles_of_another_kind_stay_out_of_png(small: Pixels, gray: bool, depth: int) -> None:
    samples = small[..., :1] if gray else small
    samples = np.ascontiguousarray(samples) if depth == 8 else samples.astype(np.uint16) * 257
    for space in (b"RGB ", b"GRAY"):
        picture = Picture(samples, None, Metadata(bytes(16) + space + bytes(200)))
        read = read_picture(bytes(write_picture(picture, "png")), "a")
        fits = gray == (space == b"GRAY")
        assert (read.metadata.icc is not None) == fits
        assert lost(picture, "png") == ([] if fits else ["the ICC profile"])


def test_what_formats_cannot_hold_is_named(small: Pixels) -> None:
    kept = Metadata(bytes(16) + b"RGB " + bytes(100), exif_of(1), b"x" * 70_000)
    picture = Picture(small, None, kept)
    assert lost(picture, "jpg") == ["XMP"]
    assert lost(picture, "ppm") == lost(picture, "bmp") == ["the ICC profile", "EXIF", "XMP"]
    assert [lost(picture, name) for name in ("png", "webp", "tiff", "avif")] == [[], [], [], []]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("gray", [False, True])
def test_a_jpeg_without_its_end(photo: Pixels, progressive: bool, gray: bool) -> None:
    image = Image.fromarray(photo[..., 0] if gray else photo)
    whole = saved(image, "JPEG", quality=90, progressive=progressive)
    expected = read_picture(whole, "a")
    for ending in (b"", b"\xff", b"\0" * 20):
        read = read_picture(whole[:-2] + ending, "a")
        assert np.array_equal(read.pixels, expected.pixels)
        assert "end" in read.remarks[0]
    assert expected.remarks == ()
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    cuts = [len(whole) - 4, len(whole) - 10, len(whole) // 2, *scans[1:], *(at + 60 for at in scans)]
    for cut in cuts:
        with pytest.raises(MediaError):
            read_picture(whole[:cut], "a")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_postscript_starts_no_program(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = tmp_path / "started"

    def refuse(*_: object, **__: object) -> None:
        started.touch()
        raise OSError

    monkeypatch.setattr(subprocess, "Popen", refuse)
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 32\n%%EndComments\nshowpage\n%%EOF\n"
    for data in (text, struct.pack("<IIIIIIIH", 0xC6D3D0C5, 30, len(text), 0, 0, 0, 0, 0xFFFF) + text):
        with pytest.raises(MediaError, match="PostScript"):
            read_picture(data, name)
    assert not started.exists()


def test_cmyk_is_converted_by_the_profile_of_its_file(photo: Pixels) -> None:
    """A profile that is no profile is passed over; that it is looked at shows that it arrives."""
    image = Image.fromarray(photo).convert("CMYK")
    for format in ("JPEG", "TIFF"):
        data = saved(image, format, icc_profile=bytes(16) + b"CMYK" + bytes(200))
        picture = read_picture(data, "a")
        assert picture.metadata.icc is None
        assert np.abs(picture.pixels.astype(int) - photo).mean() < 6
