from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from nccli.errors import MediaError
from nccli.media.save import write_picture
from nccli.media.still import picture_size, read_picture
from tests.support import Pixels

Samples = NDArray[np.generic]


def tiff_of(samples: Samples, **options: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, samples, metadata=None, **options)
    return out.getvalue()


def deep(small: Pixels) -> NDArray[np.uint16]:
    """(33, 47, 3) with all 16 bits in use."""
    rng = np.random.default_rng(0)
    return (small.astype(np.uint16) * 251 + rng.integers(0, 1000, small.shape)).astype(np.uint16)


ZSTD = ["zstd"] if int(PIL.__version__.split(".")[0]) > 11 else []
"""Pillow's library was built without it in earlier versions."""

COMPRESSIONS = [None, "lzw", "adobe_deflate", "deflate", "packbits", "lzma", *ZSTD]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("tile", [None, (16, 16), (32, 64), (64, 32)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("depth", [8, 16])
def test_any_storage_gives_the_same_samples(
    small: Pixels, compression: str, tile: tuple[int, int], planar: str, depth: int
) -> None:
    samples = deep(small) if depth == 16 else small
    stored = samples if planar == "contig" else samples.transpose(2, 0, 1)
    data = tiff_of(stored, photometric="rgb", planarconfig=planar, compression=compression, tile=tile)
    picture = read_picture(data, "a")
    assert picture.pixels.dtype == samples.dtype
    assert np.array_equal(picture.pixels, samples)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compression", [None, "lzw", "adobe_deflate"])
@pytest.mark.parametrize("predictor", [False, True])
def test_byte_orders_big_files_and_differences(
    small: Pixels, order: str, big: bool, compression: str, predictor: bool
) -> None:
    samples = deep(small)
    data = tiff_of(
        samples,
        photometric="rgb",
        byteorder=order,
        bigtiff=big,
        compression=compression,
        predictor=predictor if compression else None,
        rowsperstrip=7,
    )
    assert np.array_equal(read_picture(data, "a").pixels, samples)
    assert picture_size(data, "a") == (33, 47)


@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
def test_gray(small: Pixels, tile: tuple[int, int], white: str) -> None:
    samples = deep(small)[..., 0]
    for stored in (samples, small[..., 0]):
        picture = read_picture(tiff_of(stored, photometric=white, tile=tile, compression="lzw"), "a")
        top = np.iinfo(stored.dtype).max
        assert np.array_equal(picture.pixels[..., 0], stored if white == "minisblack" else top - stored)


@pytest.mark.parametrize("kind", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_floats(small: Pixels, kind: str, predictor: bool, channels: int) -> None:
    values = (small[..., :channels] / 255).astype(kind)
    photometric = "rgb" if channels == 3 else "minisblack"
    data = tiff_of(
        values if channels == 3 else values[..., 0],
        photometric=photometric,
        compression="adobe_deflate",
        predictor=predictor,
        byteorder=kind[0],
    )
    pixels = read_picture(data, "a").pixels
    assert np.array_equal(pixels, np.rint(values.astype(np.float64) * 65535))


@pytest.mark.parametrize("beyond", [1e-8, 1e-7, 1e-6, 5e-4])
@pytest.mark.parametrize("channels", [1, 3])
def test_floats_may_leave_their_range_by_rounding(small: Pixels, beyond: float, channels: int) -> None:
    values = (small[..., :channels] / 255).astype(np.float32)
    values[0, 0], values[1, 1] = -beyond, 1 + beyond
    data = tiff_of(
        values if channels == 3 else values[..., 0], photometric="rgb" if channels == 3 else "minisblack"
    )
    pixels = read_picture(data, "a").pixels
    assert pixels[0, 0].max() == 0
    assert pixels[1, 1].min() == 65535


@pytest.mark.parametrize("value", [1.1, -0.1, np.nan, np.inf])
def test_floats_beyond_are_refused(small: Pixels, value: float) -> None:
    values = (small / 255).astype(np.float32)
    values[3, 3, 1] = value
    with pytest.raises(MediaError, match="outside 0"):
        read_picture(tiff_of(values, photometric="rgb"), "a")


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_odd_widths_reach_white(small: Pixels, bits: int) -> None:
    values = (small[..., 0].astype(np.uint16) * (2**bits - 1) // 255).astype(np.uint16)
    ones = values[..., None] >> np.arange(bits)[::-1] & 1
    rows = np.packbits(ones.reshape(len(values), -1).astype(np.uint8), axis=1)
    stored = {256: 47, 257: 33, 258: bits, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 33}
    stored[279] = rows.size
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in stored.items())
    data = b"II*\0" + struct.pack("<IH", 8, 9) + tags + bytes(4) + rows.tobytes()
    pixels = read_picture(data, "a").pixels[..., 0]
    assert np.array_equal(pixels, np.rint(values * (65535 / (2**bits - 1))))


def blended(small: Pixels, kind: type) -> tuple[Samples, Samples]:
    """Colours, and alpha from 0 to the top."""
    top = np.iinfo(kind).max
    colours = (small.astype(np.uint32) * (top // 255)).astype(kind)
    alpha = np.linspace(0, top, small.shape[0] * small.shape[1]).reshape(small.shape[:2]).astype(kind)
    return colours, alpha


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_associated_alpha_is_divided_out(
    small: Pixels, kind: type, channels: int, tile: tuple[int, int]
) -> None:
    colours, alpha = blended(small, kind)
    top = np.iinfo(kind).max
    colours = colours[..., :channels]
    multiplied = np.rint(colours * (alpha[..., None] / top)).astype(kind)
    stored = np.concatenate((multiplied, alpha[..., None]), axis=2)
    data = tiff_of(
        stored,
        photometric="rgb" if channels == 3 else "minisblack",
        extrasamples=["assocalpha"],
        planarconfig="contig",
        tile=tile,
    )
    picture = read_picture(data, "a")
    assert np.array_equal(picture.alpha, alpha)
    seen = alpha > top // 2
    assert np.abs(picture.pixels[seen].astype(int) - colours[seen]).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("extra", ["unspecified", "unassalpha"])
def test_other_extra_samples(small: Pixels, kind: type, channels: int, extra: str) -> None:
    colours, alpha = blended(small, kind)
    colours = colours[..., :channels]
    data = tiff_of(
        np.concatenate((colours, alpha[..., None]), axis=2),
        photometric="rgb" if channels == 3 else "minisblack",
        extrasamples=[extra],
        planarconfig="contig",
    )
    picture = read_picture(data, "a")
    assert np.array_equal(picture.pixels, colours)
    assert (picture.alpha is None) == (extra == "unspecified")
    assert extra == "unspecified" or np.array_equal(picture.alpha, alpha)


def test_orientation_of_all_depths(small: Pixels) -> None:
    tag = [(274, "H", 1, 6, True)]
    for samples in (small, deep(small)):
        for tile in (None, (16, 16)):
            data = tiff_of(samples, photometric="rgb", extratags=tag, tile=tile)
            assert np.array_equal(read_picture(data, "a").pixels, np.rot90(samples, -1))
    out = io.BytesIO()
    Image.fromarray(small).quantize(16).save(out, "TIFF", tiffinfo={274: 6})
    expected = np.rot90(np.asarray(Image.fromarray(small).quantize(16).convert("RGB")), -1)
    assert np.array_equal(read_picture(out.getvalue(), "a").pixels, expected)


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "LAB"])
def test_what_is_pillows(photo: Pixels, mode: str) -> None:
    image = Image.fromarray(photo)
    image = image if mode == "LAB" else image.convert(mode)
    out = io.BytesIO()
    image.save(out, "TIFF")
    expected = np.asarray(image.convert("L" if mode == "1" else "RGB"))
    assert np.abs(read_picture(out.getvalue(), "a").pixels.squeeze().astype(int) - expected).max() <= 1


def test_jpeg_in_a_big_tiff(photo: Pixels) -> None:
    data = tiff_of(photo, photometric="rgb", compression="jpeg", bigtiff=True, tile=(64, 64))
    assert np.abs(read_picture(data, "a").pixels.astype(int) - photo).mean() < 6


def test_what_is_not_supported_is_named(small: Pixels) -> None:
    with pytest.raises(MediaError, match=r"compression 34933"):
        read_picture(tiff_of(small, photometric="rgb", compression="png"), "name.tif")
    complex_values = small[..., 0].astype(np.complex64)
    with pytest.raises(MediaError, match=r"name\.tif.*64 bits"):
        read_picture(tiff_of(complex_values, photometric="minisblack"), "name.tif")
    many = np.zeros((20, 9, 9), np.uint16)
    with pytest.raises(MediaError, match="20 channels of 16 bits"):
        read_picture(tiff_of(many, photometric="minisblack", planarconfig="separate"), "name.tif")


def test_a_preview_is_not_taken_for_the_picture(small: Pixels) -> None:
    version = [(50706, 1, 4, bytes([1, 4, 0, 0]), True)]
    data = tiff_of(small, photometric="rgb", subfiletype=1, extratags=version)
    with pytest.raises(MediaError, match="preview"):
        read_picture(data, "a")
    assert np.array_equal(read_picture(tiff_of(small, photometric="rgb", subfiletype=1), "a").pixels, small)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_damage_is_a_media_error(small: Pixels, compression: str) -> None:
    whole = tiff_of(deep(small), photometric="rgb", compression=compression, tile=(16, 16))
    rng = np.random.default_rng(1)
    for number in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole) if number % 2 else 300, 3):
            damaged[place] ^= int(rng.integers(1, 256))
        with suppress(MediaError):
            read_picture(bytes(damaged[: int(rng.integers(8, len(whole) + 1))]), "name.tif", 2**16)


def test_written_files_are_read_by_others(small: Pixels, tmp_path: Path) -> None:
    from nccli.media.picture import Metadata, Picture

    exif = Image.Exif()
    exif[271], exif[33432] = "a maker", "a copyright"
    exif.get_ifd(34665)[36867] = "2026:01:02 03:04:05"
    exif.get_ifd(34665)[37386] = 35.5
    exif.get_ifd(34853)[1] = "N"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    for samples in (small, deep(small)):
        path = tmp_path / "a.tiff"
        path.write_bytes(write_picture(Picture(samples, None, Metadata(None, block, b"<x/>")), "tiff"))
        assert np.array_equal(tifffile.imread(path), samples)
        with tifffile.TiffFile(path) as file:
            tags = file.pages[0].tags
            assert tags[271].value == "a maker"
            assert tags[33432].value == "a copyright"
            assert tags[34665].value["DateTimeOriginal"] == "2026:01:02 03:04:05"
            assert tags[34853].value["GPSLatitudeRef"] == "N"
            assert bytes(tags[700].value) == b"<x/>"
        again = read_picture(path.read_bytes(), "a").metadata
        tags = Image.Exif()
        tags.load(again.exif)
        assert tags[33432] == "a copyright"
        assert tags.get_ifd(34665)[37386] == 35.5
        assert again.xmp == b"<x/>"
