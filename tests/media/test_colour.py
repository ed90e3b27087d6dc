"""What samples mean: kept from file to file, or named as lost."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nccli
import nccli.pillow
from nccli.codec.opened import decode_bytes
from nccli.container.image_file import read_image
from nccli.container.section_ids import SectionId
from nccli.media.around import boxes
from nccli.media.around.boxes import code_points, with_code_points
from nccli.media.around.colour import CodePoints, Colour, worth_keeping
from nccli.media.around.png import chunk_of
from nccli.media.picture import Metadata, Picture
from nccli.media.save import lost, write_picture
from nccli.media.still import read_picture
from tests.support import Call, Pixels

BT2020 = (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
PROFILE = bytes(16) + b"RGB " + bytes(60)

GAMA, CHRM = chunk_of(b"gAMA", struct.pack(">I", 45455)), chunk_of(b"cHRM", struct.pack(">8I", *BT2020))
PQ = chunk_of(b"cICP", bytes([9, 16, 0, 1]))


def png_of(pixels: Pixels, *chunks: bytes) -> bytes:
    data = bytes(write_picture(Picture(pixels), "png"))
    return data[:33] + b"".join(chunks) + data[33:]


def avif_of(pixels: Pixels, points: CodePoints) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "AVIF", quality=90)
    described = with_code_points(out.getvalue(), points)
    assert described is not None
    return described


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("chunks", "colour"),
    [
        ([PQ], Colour(CodePoints(9, 16))),
        ([chunk_of(b"cICP", bytes([12, 13, 0, 1]))], Colour(CodePoints(12, 13))),
        ([chunk_of(b"cICP", bytes([9, 18, 0, 0]))], Colour(CodePoints(9, 18, full=False))),
        ([GAMA, CHRM], Colour(None, 45455, BT2020)),
        ([CHRM], Colour(None, None, BT2020)),
        ([chunk_of(b"gAMA", struct.pack(">I", 100000))], Colour(None, 100000)),
        ([GAMA, CHRM, PQ], Colour(CodePoints(9, 16), 45455, BT2020)),
    ],
)
def test_png_to_png(small: Pixels, depth: int, chunks: list[bytes], colour: Colour) -> None:
    samples = small if depth == 8 else small.astype(np.uint16) * 257
    picture = read_picture(png_of(samples, *chunks), "a")
    assert picture.metadata.colour == colour
    data = nccli.encode(picture, device="cpu").data
    decoded = decode_bytes(data, "cpu").picture
    assert decoded.metadata.colour == colour
    written = bytes(write_picture(decoded, "png"))
    assert read_picture(written, "a").metadata.colour == colour
    assert all(chunk in written for chunk in chunks)
    assert lost(decoded, "png") == []


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [GAMA],
        [GAMA, chunk_of(b"cHRM", struct.pack(">8I", *SRGB))],
        [chunk_of(b"sRGB", b"\0"), GAMA, CHRM],
        [chunk_of(b"cICP", bytes([1, 13, 0, 1]))],
    ],
)
def test_srgb_goes_without_saying(small: Pixels, chunks: list[bytes]) -> None:
    picture = read_picture(png_of(small, *chunks), "a")
    assert picture.metadata == Metadata()
    assert nccli.encode(picture, device="cpu").data == nccli.encode(small, device="cpu").data


def test_a_profile_replaces_gamma_but_not_code_points() -> None:
    assert worth_keeping(Colour(None, 50000, BT2020), profile=True) is None
    assert worth_keeping(Colour(CodePoints(9, 16), 50000), profile=True) == Colour(CodePoints(9, 16))


@pytest.mark.parametrize(
    "points", [CodePoints(9, 16), CodePoints(12, 13), CodePoints(9, 18), CodePoints(1, 1)]
)
def test_avif_to_avif_and_png(small: Pixels, points: CodePoints) -> None:
    picture = read_picture(avif_of(small, points), "a")
    assert picture.metadata.colour == Colour(points)
    for name in ("avif", "png"):
        assert lost(picture, name) == []
        assert read_picture(bytes(write_picture(picture, name)), "a").metadata.colour == Colour(points)
    written = bytes(write_picture(picture, "avif"))
    assert code_points(written) == points
    plain = bytes(write_picture(Picture(picture.pixels), "avif"))
    with Image.open(io.BytesIO(plain)) as before, Image.open(io.BytesIO(written)) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after)), "samples are as they were"


def test_avif_without_a_description_says_it_in_its_picture(small: Pixels) -> None:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="avif") as target:
        stream = target.add_stream("libsvtav1", rate=1)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p10le"
        stream.options = {"crf": "20", "preset": "12"}
        stream.codec_context.color_primaries, stream.codec_context.color_trc = 9, 16
        stream.codec_context.colorspace, stream.codec_context.color_range = 9, 2
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 30000, np.uint16), format="rgb48le")
        frame = frame.reformat(format="yuv420p10le")
        frame.color_primaries, frame.color_trc = 9, 16
        for packet in (*stream.encode(frame), *stream.encode(None)):
            target.mux(packet)
    for data in (out.getvalue(), out.getvalue().replace(b"colrnclx", b"colXnclx")):
        assert read_picture(data, "a").metadata.colour == Colour(CodePoints(9, 16))


def test_srgb_avif_and_avif_with_a_profile(small: Pixels) -> None:
    for options in ({}, {"icc_profile": PROFILE}):
        out = io.BytesIO()
        Image.fromarray(small).save(out, "AVIF", **options)
        assert read_picture(out.getvalue(), "a").metadata == Metadata(icc=options.get("icc_profile"))


@pytest.mark.parametrize("name", ["jpg", "webp", "tiff", "ppm", "bmp"])
def test_what_cannot_be_held_is_named(small: Pixels, name: str) -> None:
    picture = Picture(small, None, Metadata(colour=Colour(CodePoints(9, 16))))
    assert lost(picture, name) == ["what its colours mean (BT.2020, PQ)"]
    assert lost(Picture(small, None, Metadata(colour=Colour(gamma=100000))), "avif")
    assert lost(Picture(small, None, Metadata(colour=Colour(CodePoints(9, 16, full=False)))), "avif")


def test_command_line(small: Pixels, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(png_of(small, PQ))
    assert call("encode", "a.png") == 0
    capsys.readouterr()
    assert call("info", "a.ncc") == 0
    shown = capsys.readouterr().out
    assert "BT.2020, PQ" in shown
    assert "colour" in shown.split("section")[1]
    assert call("info", "a.ncc", "--json") == 0
    assert json.loads(capsys.readouterr().out)["colour"] == "BT.2020, PQ"
    assert call("decode", "a.ncc", "-o", "a.jpg") == 0
    assert "what its colours mean" in capsys.readouterr().err
    assert call("decode", "a.ncc", "-o", "b.png", "--strip") == 0
    assert PQ in (tmp_path / "b.png").read_bytes()


def test_python(small: Pixels, tmp_path: Path) -> None:
    image = Image.open(io.BytesIO(png_of(small, GAMA, CHRM)))
    decoded = nccli.decode(nccli.encode(image, device="cpu").data)
    assert decoded.info["gamma"] == image.info["gamma"]
    assert decoded.info["chromaticity"] == image.info["chromaticity"]
    image.save(tmp_path / "a.ncc")
    assert read_image((tmp_path / "a.ncc").read_bytes()).find(SectionId.COLOUR) is not None
    with Image.open(tmp_path / "a.ncc") as opened:
        assert opened.info["chromaticity"] == image.info["chromaticity"]
    hdr = nccli.decode(nccli.encode(read_picture(png_of(small, PQ), "a"), device="cpu").data)
    assert hdr.info["cicp"] == (9, 16, 0, 1)
    assert decode_bytes(nccli.encode(hdr, device="cpu").data).picture.metadata.colour == Colour(
        CodePoints(9, 16)
    )


def test_brightness_in_an_avif_is_remarked(small: Pixels) -> None:
    data = avif_of(small, CodePoints(9, 16))
    place = data.index(b"pasp") if b"pasp" in data else data.index(b"pixi")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(boxes, "BRIGHTNESS", (data[place : place + 4],))
        assert "brightness" in read_picture(data, "a").remarks[0]


def test_brightness_of_a_display_is_remarked(small: Pixels) -> None:
    picture = read_picture(png_of(small, PQ, chunk_of(b"mDCV", bytes(24)), chunk_of(b"cLLI", bytes(8))), "a")
    assert [remark.split()[1] for remark in picture.remarks] == ["mDCV", "cLLI"]
