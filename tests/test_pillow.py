from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nccli
import nccli.pillow
from nccli.container.framing import Section
from nccli.container.image_file import read_image, write_image
from nccli.container.section_ids import SectionId
from tests.support import Pixels, resealed, run_python


def test_save_and_open(photo: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "a.ncc"
    Image.fromarray(photo).save(path, lmbda=0.02)
    assert path.read_bytes() == nccli.encode(photo, lmbda=0.02).data
    with Image.open(path) as image:
        assert (image.format, image.size, image.mode) == ("NCC", (256, 192), "RGB")
        assert image.get_format_mimetype() == "image/x-ncc"
        assert np.array_equal(np.asarray(image), nccli.decode_array(path.read_bytes()))
        assert np.array_equal(np.asarray(image), nccli.decode_array(path.read_bytes()))


def test_nothing_is_decoded_before_it_is_needed(photo: Pixels, tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "a.ncc", quality=40)
    code = (
        "import sys, nccli.pillow; from PIL import Image; image = Image.open('a.ncc');"
        "assert image.size == (256, 192); assert 'torch' not in sys.modules;"
        "image.thumbnail((64, 64)); assert image.size == (64, 48); image.save('thumb.png')"
    )
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "thumb.png") as thumb:
        assert thumb.size == (64, 48)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_modes(small: Pixels, mode: str) -> None:
    image = Image.fromarray(small)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(small[..., 1]))
    image = Image.fromarray(small[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, "NCC")
    expected = {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    opened = Image.open(file)
    assert opened.mode == expected
    opened.load()
    assert opened.mode == expected
    assert opened.size == image.size


def test_metadata(small: Pixels) -> None:
    image, file = Image.fromarray(small), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[271] = 6, "a maker"
    image.info["icc_profile"] = bytes(16) + b"RGB " + bytes(50)
    image.save(file, "NCC", exif=exif, xmp=b"<x/>")
    opened = Image.open(file)
    assert opened.size == (33, 47), "the orientation has been applied"
    assert opened.getexif()[271] == "a maker"
    assert opened.getexif()[0x0112] == 1
    assert opened.info["icc_profile"] == image.info["icc_profile"]
    assert opened.info["xmp"] == b"<x/>"
    file = io.BytesIO()
    image.save(file, "NCC")
    assert "exif" not in Image.open(file).info


def test_bad_files_and_requests(small: Pixels, tmp_path: Path) -> None:
    data = nccli.encode(small).data
    with pytest.raises(Image.UnidentifiedImageError, match="cut short"):
        Image.open(io.BytesIO(data[:-5]))
    with pytest.raises(Image.UnidentifiedImageError, match="checksum"):
        Image.open(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1])))
    with pytest.raises(Image.UnidentifiedImageError, match="version"):
        Image.open(io.BytesIO(resealed(data[:6] + b"\x3f" + data[7:])))
    twice = Section(SectionId.ICC, b"a")
    container = read_image(data)
    with pytest.raises(Image.UnidentifiedImageError, match="icc"):
        Image.open(io.BytesIO(write_image(container.header, [*container.sections, twice, twice])))
    with pytest.raises(ValueError, match="lambda"):
        Image.fromarray(small).save(tmp_path / "a.ncc", lmbda=9)
    assert list(tmp_path.iterdir()) == []


def test_a_payload_that_does_not_decode_says_why(small: Pixels) -> None:
    container = read_image(nccli.encode(small).data)
    broken = [Section(s.id, b"\xff" * len(s.payload)) for s in container.sections]
    opened = Image.open(io.BytesIO(write_image(container.header, broken)))
    for _ in range(2):
        with pytest.raises(OSError, match="corrupt file"):
            opened.load()
    unknown = replace(container.header, model_id=999)
    with pytest.raises(OSError, match="model"):
        Image.open(io.BytesIO(write_image(unknown, list(container.sections)))).load()


def test_tags_that_pillow_cannot_write(small: Pixels, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(34665)[41729] = object()
    with pytest.raises(ValueError, match="EXIF"):
        Image.fromarray(small).save(tmp_path / "a.ncc", exif=exif)
    assert list(tmp_path.iterdir()) == []
