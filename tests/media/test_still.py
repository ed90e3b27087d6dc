from __future__ import annotations

import io
from contextlib import suppress

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from nccli.errors import MediaError, UsageError
from nccli.media import save, still
from nccli.media.around.exif import ORIENTATION, upright_exif, whole_exif
from nccli.media.formats import FORMATS, format_for
from nccli.media.picture import Metadata, Picture, change_depth, eight_bit
from nccli.media.samples import avif, deep
from tests.support import ROOT, Pixels

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[271] = "a maker"
    return exif


@pytest.mark.parametrize("format", ["PNG", "PPM", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_give_their_pixels(small: Pixels, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    picture = still.read_picture(saved(Image.fromarray(small), format, **options), "a")
    assert np.array_equal(picture.pixels, small)
    assert picture.alpha is None
    assert picture.depth == 8


@pytest.mark.parametrize("format", ["JPEG", "AVIF"])
def test_lossy_formats_are_read(photo: Pixels, format: str) -> None:
    picture = still.read_picture(saved(Image.fromarray(photo), format, quality=95), "a")
    assert np.abs(picture.pixels.astype(int) - photo).mean() < 4


def test_first_frame_of_an_animation(small: Pixels) -> None:
    first, second = Image.fromarray(small).quantize(64), Image.new("P", (47, 33))
    picture = still.read_picture(saved(first, "GIF", save_all=True, append_images=[second]), "a")
    assert np.array_equal(picture.pixels, np.asarray(first.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_stays_gray(small: Pixels, mode: str) -> None:
    image = Image.fromarray(small).convert(mode)
    picture = still.read_picture(saved(image, "PNG"), "a")
    assert picture.gray
    assert np.array_equal(picture.pixels[..., 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_a_plane_of_its_own(small: Pixels, mode: str) -> None:
    image = Image.fromarray(small).convert(mode)
    image.putalpha(Image.fromarray(small[..., 1]))
    picture = still.read_picture(saved(image, "PNG"), "a")
    assert picture.gray == (mode == "LA")
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, small[..., 1])


def test_opaque_alpha_is_dropped(small: Pixels) -> None:
    picture = still.read_picture(saved(Image.fromarray(small).convert("RGBA"), "PNG"), "a")
    assert picture.alpha is None


def test_palette_with_transparency(small: Pixels) -> None:
    image = Image.fromarray(small).quantize(8)
    picture = still.read_picture(saved(image, "PNG", transparency=0), "a")
    assert not picture.gray
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, np.asarray(image) == 0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_colour(small: Pixels, mode: str) -> None:
    image = Image.fromarray(small).convert(mode)
    colour = image.getpixel((5, 5))
    picture = still.read_picture(saved(image, "PNG", transparency=colour), "a")
    assert picture.alpha is not None
    assert picture.alpha[5, 5] == 0


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_without_its_profile(photo: Pixels, format: str) -> None:
    picture = still.read_picture(saved(Image.fromarray(photo).convert("CMYK"), format), "a")
    assert picture.pixels.shape == photo.shape
    assert np.abs(picture.pixels.astype(int) - photo).mean() < 6
    assert picture.metadata.icc is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_orientation_is_applied_and_reset(small: Pixels, format: str, orientation: int) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(Image.fromarray(small), format, exif=exif_of(orientation), **options)
    picture = still.read_picture(data, "a")
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(picture.pixels, np.asarray(upright))
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[ORIENTATION] == 1
    assert exif[271] == "a maker"


def test_orientation_of_a_tiff(small: Pixels) -> None:
    data = saved(Image.fromarray(small), "TIFF", tiffinfo={ORIENTATION: 6, 271: "a maker"})
    picture = still.read_picture(data, "a")
    assert np.array_equal(picture.pixels, np.rot90(small, -1))
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert exif[271] == "a maker"
    assert exif.get(ORIENTATION, 1) == 1


def test_orientation_in_xmp_is_reset(small: Pixels) -> None:
    xmp = b'<x:xmpmeta tiff:Orientation="8"><tiff:Orientation>8</tiff:Orientation></x:xmpmeta>'
    data = saved(Image.fromarray(small), "JPEG", exif=exif_of(8), xmp=xmp)
    assert still.read_picture(data, "a").metadata.xmp == xmp.replace(b"8", b"1")


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_exif_is_survived(noise: bytes, head: bytes) -> None:
    whole = whole_exif(head + noise)
    if whole is not None:
        assert len(upright_exif(whole, turned=False)) == len(whole)
        assert len(upright_exif(whole, turned=True)) <= len(whole)


@pytest.mark.parametrize("name", save.METADATA_FORMATS)
def test_metadata_survives_every_format_that_holds_it(photo: Pixels, name: str) -> None:
    exif = exif_of(1).tobytes().removeprefix(b"Exif\0\0")
    kept = Metadata(SRGB, exif, b"<x:xmpmeta/>")
    data = bytes(save.write_picture(Picture(photo, None, kept), name))
    read = still.read_picture(data, "a").metadata
    assert read.icc == SRGB
    assert read.xmp == kept.xmp
    tags = Image.Exif()
    tags.load(read.exif)
    assert tags[271] == "a maker"


def test_what_a_jpeg_cannot_hold_is_left_out(small: Pixels) -> None:
    huge = Metadata(SRGB, b"II*\0\x08\0\0\0\0\0" + bytes(70_000), b"x" * 70_000)
    read = still.read_picture(bytes(save.write_picture(Picture(small, None, huge), "jpg")), "a").metadata
    assert read == Metadata(SRGB, None, None)


def deep_picture(pixels: Pixels, channels: int) -> Picture:
    rng = np.random.default_rng(channels)
    samples = (pixels.astype(np.uint16) * 251 + rng.integers(0, 251, pixels.shape)).astype(np.uint16)
    colours = 1 if channels < 3 else 3
    alpha = samples[..., 2] if channels in (2, 4) else None
    return Picture(np.ascontiguousarray(samples[..., :colours]), alpha)


@pytest.mark.parametrize("name", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_survive(odd: Pixels, name: str, channels: int) -> None:
    picture = deep_picture(odd, channels)
    kept = Picture(picture.pixels, picture.alpha, Metadata(SRGB, None, b"<x/>"))
    read = still.read_picture(bytes(save.write_picture(kept, name)), "a")
    assert read.depth == 16
    if name == "tiff" and channels == 2:
        assert np.array_equal(read.pixels, picture.pixels.repeat(3, axis=2))
    else:
        assert np.array_equal(read.array(), picture.array())
    gray_png = name == "png" and channels < 3
    assert read.metadata == Metadata(None if gray_png else SRGB, None, b"<x/>")


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_ppm(odd: Pixels, channels: int) -> None:
    picture = deep_picture(odd, channels)
    read = still.read_picture(bytes(save.write_picture(picture, "ppm")), "a")
    assert np.array_equal(read.array(), picture.array())


def test_ten_bit_ppm_reaches_white() -> None:
    data = b"P6\n# a comment\n2 1\n1023\n" + np.array([[1023] * 3, [0] * 3], ">u2").tobytes()
    assert still.read_picture(data, "a").pixels.tolist() == [[[65535] * 3, [0] * 3]]


def ten_bits(height: int, width: int) -> Pixels:
    """(h, w, 4) with all 10 bits in use."""
    row, column = np.mgrid[:height, :width]
    planes = (row * 97 + column * 31, row * 13 + column * 59, row * column, row * 41 + column)
    return (np.stack(planes, axis=2) % 1024).astype(np.uint16)


def test_lossless_ten_bit_avif_with_alpha() -> None:
    """The file was made by `avifenc --lossless --depth 10` from a PNG of these samples."""
    data = (ROOT / "tests" / "pictures" / "ten-bit-alpha.avif").read_bytes()
    expected = np.rint(ten_bits(17, 23) * (65535 / 1023)).astype(np.uint16)
    read = still.read_picture(data, "a").array()
    assert read.dtype == np.uint16
    assert np.abs(read.astype(int) - expected).max() <= 1


def ten_bit_avif(x: Pixels) -> bytes:
    """4:2:0, lossy."""
    out = io.BytesIO()
    with av.open(out, "w", format="avif") as target:
        stream = target.add_stream("libsvtav1", rate=1)
        stream.height, stream.width, stream.pix_fmt = *x.shape[:2], "yuv420p10le"
        stream.options = {"crf": "5", "preset": "12"}
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 2
        frame = av.VideoFrame.from_ndarray(x.astype(np.uint16) * 257, format="rgb48le")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace="ITU709", dst_color_range="JPEG")
        for packet in (*stream.encode(frame), *stream.encode(None)):
            target.mux(packet)
    return out.getvalue()


def test_lossy_ten_bit_avif(photo: Pixels) -> None:
    data = ten_bit_avif(photo)
    read = still.read_picture(data, "a").pixels
    assert read.dtype == np.uint16
    with Image.open(io.BytesIO(data)) as image:
        assert np.abs(read / 257 - np.asarray(image)).mean() < 1
    assert np.abs(read / 257 - photo).mean() < 2
    with pytest.raises(MediaError):
        still.read_picture(data[: len(data) // 2], "a")


def test_avif_layouts_that_are_not_understood_are_read_with_eight_bits(photo: Pixels) -> None:
    data = ten_bit_avif(photo)
    assert avif.read(data, "a", 10, 10, alpha=False) is None
    assert avif.read(data, "a", 256, 192, alpha=True) is None


def test_float_tiff_becomes_sixteen_bit_gray(small: Pixels) -> None:
    values = small[..., 0].astype(np.float32) / 255
    picture = still.read_picture(saved(Image.fromarray(values), "TIFF"), "a")
    assert np.array_equal(picture.pixels[..., 0], small[..., 0].astype(np.uint16) * 257)
    with pytest.raises(MediaError, match="outside"):
        still.read_picture(saved(Image.fromarray(values * 2), "TIFF"), "a")


def test_depths_map_white_to_white() -> None:
    every = np.arange(256, dtype=np.uint8)[:, None]
    assert np.array_equal(change_depth(change_depth(every, 16), 8), every)
    assert int(change_depth(every, 16).max()) == 65535


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_can_be_written_as_every_format(odd: Pixels, name: str, channels: int) -> None:
    for picture in (deep_picture(odd, channels), eight_bit(deep_picture(odd, channels))):
        read = still.read_picture(bytes(save.write_picture(picture, name)), "a")
        assert read.pixels.shape[:2] == picture.pixels.shape[:2]
        assert (read.alpha is None) == (picture.alpha is None or "transparency" in save.lost(picture, name))
        assert (read.depth == 8) == (picture.depth == 8 or "16 bits per sample" in save.lost(picture, name))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "PPM"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_broken_pictures_are_media_errors(photo: Pixels, format: str) -> None:
    whole = saved(Image.fromarray(photo), format)
    for length in (0, 1, 4, 30, len(whole) // 2):
        with pytest.raises(MediaError, match=r"name\.x"):
            still.read_picture(whole[:length], "name.x")
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 2000), 3):
            damaged[place] ^= int(rng.integers(1, 256))
        with suppress(MediaError):
            still.read_picture(bytes(damaged), "name.x")


def test_broken_sixteen_bit_png(odd: Pixels) -> None:
    data = deep.write_png(deep_picture(odd, 3))
    for length in (30, 60, len(data) // 2):
        with pytest.raises(MediaError):
            still.read_picture(data[:length], "a")


def test_size_limits_are_ours_alone() -> None:
    before = Image.MAX_IMAGE_PIXELS
    data = saved(Image.new("1", (400, 300)), "PNG")
    with pytest.raises(MediaError, match=r"name\.png is 400x300.*--max-pixels"):
        still.read_picture(data, "name.png", max_pixels=119_999)
    assert still.read_picture(data, "name.png", max_pixels=120_000).width == 400
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(MediaError, match="the format ends"):
        still.check_size(2**14, 2**15, "a", 2**40)
    with pytest.raises(MediaError, match="the format ends"):
        still.check_size(2**20 + 1, 1, "a")


def test_formats_by_suffix() -> None:
    assert format_for("a/b.JPEG") == "jpg"
    assert format_for("-") == "png"
    with pytest.raises(UsageError, match=r"\.webp"):
        format_for("a.xyz")
