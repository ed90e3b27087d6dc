"""A folder of pictures as people have them, through the command line and back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import nccli
from nccli.errors import ExitCode
from nccli.media import save
from nccli.media.around.exif import ORIENTATION
from nccli.media.picture import Picture
from tests.support import Call, Pixels

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
QUALITY = "60"
FAR = 25
"""Mean difference of 8-bit samples beyond which a picture is not the same."""


@dataclass(frozen=True)
class Case:
    """A file, and what must come back: samples, mode of the PNG that is decoded to, bits, metadata."""

    name: str
    data: bytes
    expected: NDArray[np.uint8]
    mode: str
    depth: int = 8
    keeps: set[str] = field(default_factory=set)


def pillow_cases(x: Pixels) -> Iterator[Case]:
    image, gray = Image.fromarray(x), Image.fromarray(x).convert("L")
    levels = np.asarray(gray)
    alpha = np.where(np.arange(x.shape[1]) % 9 < 5, 255, 40).astype(np.uint8) * np.ones_like(levels)
    exif = Image.Exif()
    exif[ORIENTATION], exif[271] = 6, "a maker"
    palette = image.quantize(16)
    see_through = (np.asarray(palette) != 0).astype(np.uint8) * 255
    yield from (
        saved(f"plain{suffix}", image, x, "RGB")
        for suffix in (".bmp", ".ppm", ".tif", ".webp", ".avif", ".jpg")
    )
    yield saved("plain.png", image, x, "RGB", {"icc_profile"}, icc_profile=SRGB)
    yield saved("gray.png", gray, levels, "L")
    yield saved("gray.pgm", gray, levels, "L")
    bits = gray.convert("1", dither=Image.Dither.NONE)
    yield saved("bits.png", bits, np.asarray(bits.convert("L")), "L")
    yield saved("turned.jpg", image, np.rot90(x, -1), "RGB", {"exif"}, exif=exif, quality=95)
    yield saved("turned.png", image, np.rot90(x, -1), "RGB", {"exif"}, exif=exif)
    yield saved("clear.png", Image.fromarray(np.dstack([x, alpha])), np.dstack([x, alpha]), "RGBA")
    both = np.dstack([levels, alpha])
    yield saved("clear-gray.png", Image.fromarray(both), both, "LA")
    colours = np.asarray(palette.convert("RGB"))
    yield saved("palette.png", palette, np.dstack([colours, see_through]), "RGBA", transparency=0)
    yield saved("first.gif", palette, colours, "RGB", save_all=True, append_images=[palette.rotate(180)])
    yield saved("ink.jpg", image.convert("CMYK"), x, "RGB", quality=95)
    yield saved("ink.tif", image.convert("CMYK"), x, "RGB")


def saved(
    name: str,
    image: Image.Image,
    expected: NDArray[np.uint8],
    mode: str,
    keeps: set[str] | None = None,
    **options: object,
) -> Case:
    out = io.BytesIO()
    image.save(out, Image.registered_extensions()[Path(name).suffix], **options)
    return Case(name, out.getvalue(), expected, mode, keeps=keeps or set())


def deep_cases(x: Pixels) -> Iterator[Case]:
    wide = x.astype(np.uint16) * 257 // 3 + 7
    for channels, mode in ((1, "I;16"), (2, "RGBA"), (3, "RGB"), (4, "RGBA")):
        colours = np.ascontiguousarray(wide[..., : 1 if channels < 3 else 3])
        picture = Picture(colours, np.ascontiguousarray(wide[..., 1]) if channels in (2, 4) else None)
        shown = (picture.array() / 257).astype(np.uint8)
        for name in ("png", "tiff"):
            if (name, channels) != ("tiff", 2):
                yield Case(
                    f"deep{channels}.{name}", bytes(save.write_picture(picture, name)), shown, mode, 16
                )


def odd_sizes(coffee: Pixels) -> Iterator[Case]:
    line = np.tile(coffee[:1], (1, 9, 1))[:, :5000]
    column = np.tile(coffee[:, :1], (13, 1, 1))[:5000]
    for name, x in (("dot", coffee[:1, :1]), ("line", line), ("column", column), ("odd", coffee[:63, :65])):
        yield saved(f"{name}.png", Image.fromarray(x), x, "RGB")


@pytest.fixture
def cases(small: Pixels, coffee: Pixels) -> list[Case]:
    return [*pillow_cases(small), *deep_cases(small), *odd_sizes(coffee)]


def broken(cases: list[Case]) -> dict[str, bytes]:
    by_name = {case.name: case.data for case in cases}
    whole = by_name["plain.png"]
    return {
        "empty.png": b"",
        "text.jpg": b"no picture",
        "cut.png": whole[: len(whole) // 2],
        "cut.tif": by_name["plain.tif"][:40],
        "cut-deep.png": by_name["deep3.png"][:200],
        "header.webp": by_name["plain.webp"][:20],
    }


def test_a_folder_of_awkward_pictures(
    cases: list[Case], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = broken(cases)
    Path("in").mkdir()
    for name, data in {**{case.name: case.data for case in cases}, **bad}.items():
        Path("in", name).write_bytes(data)
    assert call("encode", "in", "--out-dir", "out", "--quality", QUALITY, "--json") == ExitCode.MEDIA
    captured = capsys.readouterr()
    rows = {Path(row["input"]).name: row for row in map(json.loads, captured.out.splitlines())}
    assert {name for name, row in rows.items() if row["status"] == "failed"} == set(bad)
    assert {name for name, row in rows.items() if row["status"] == "done"} == {case.name for case in cases}
    for name in bad:
        assert name in rows[name]["error"]
        assert rows[name]["exit_code"] == ExitCode.MEDIA
    assert "Traceback" not in captured.err
    assert call("decode", "out", "--out-dir", "back", "--json") == 0
    decoded = {row["input"]: row["output"] for row in map(json.loads, capsys.readouterr().out.splitlines())}
    for case in cases:
        check(case, Path(rows[case.name]["output"]), Path(decoded[rows[case.name]["output"]]))
    assert not [path for path in Path().rglob(".*") if path.is_file()]


def check(case: Case, coded: Path, decoded: Path) -> None:
    """The decoded PNG is the picture that was put in, as an outside reader sees it."""
    array = nccli.decode_array(coded.read_bytes())
    assert array.dtype.itemsize * 8 == case.depth, case.name
    with Image.open(decoded) as image:
        assert image.mode == case.mode, case.name
        assert image.size == (case.expected.shape[1], case.expected.shape[0]), case.name
        assert case.keeps <= set(image.info), case.name
        if "exif" in case.keeps:
            assert image.getexif()[ORIENTATION] == 1
            assert image.getexif()[271] == "a maker"
        if "icc_profile" in case.keeps:
            assert image.info["icc_profile"] == SRGB
    shown = array if case.depth == 8 else (array / 257).astype(np.uint8)
    assert shown.shape == case.expected.shape, case.name
    if case.mode in ("RGBA", "LA"):
        assert np.array_equal(shown[..., -1], case.expected[..., -1]), case.name
    assert np.abs(shown.astype(int) - case.expected).mean() < FAR, case.name
