"""What surrounds a picture: kept, or named when it is not; and never in the way of the picture."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nccli.errors import MediaError
from nccli.media.around.png import chunk_of
from nccli.media.picture import Metadata, Picture
from nccli.media.save import lost, write_picture
from nccli.media.still import picture_of, read_picture
from tests.support import Pixels
from tests.support.pictures import exif_of, png_with, saved


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
