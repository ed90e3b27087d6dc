"""Regions of interest on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nccli.container.image_file import read_image
from nccli.container.section_ids import SectionId
from nccli.errors import ExitCode
from nccli.masks.mask import mask_of_boxes
from tests.support import Call, Pixels

BOX = "40,20,60,50"


@pytest.fixture
def mask(photo: Pixels, tmp_path: Path) -> np.ndarray:
    """Writes a.png and its mask m.png."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    shown = mask_of_boxes(BOX, *photo.shape[:2])
    Image.fromarray(shown).save(tmp_path / "m.png")
    return shown


def has_region(name: str) -> bool:
    return read_image(Path(name).read_bytes()).find(SectionId.ROI) is not None


@pytest.mark.usefixtures("mask")
def test_masks_and_boxes_are_the_same(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "--roi", "m.png", "--size", "2500", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["psnr_roi"] > rows["psnr"] > rows["psnr_background"]
    assert 0 < rows["roi_bytes"] < rows["bytes"] <= 2500
    assert call("encode", "a.png", "--roi", BOX, "--size", "2500", "-o", "b.ncc") == 0
    table = capsys.readouterr().err
    assert all(name in table for name in ("psnr_roi", "psnr_background", "roi_bytes"))
    assert Path("a.ncc").read_bytes() == Path("b.ncc").read_bytes()
    assert call("decode", "a.ncc", "-o", "d.png", "--reference", "a.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["psnr_roi"] == rows["psnr_roi"]


def test_the_mask_that_was_used_is_kept(call: Call, mask: np.ndarray) -> None:
    assert call("encode", "a.png", "--roi", BOX, "--roi-out", "used.png", "-q") == 0
    assert np.array_equal(np.asarray(Image.open("used.png")), mask)
    assert call("encode", "a.png", "--roi", BOX, "--roi-out", "used.png", "-o", "b.ncc") == ExitCode.USAGE
    assert not Path("b.ncc").exists()


@pytest.mark.usefixtures("mask")
def test_folders_of_masks(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("masks").mkdir()
    for name in ("x", "y"):
        shutil.copy("a.png", f"in/{name}.png")
    Path("masks/x.png").write_bytes(Path("m.png").read_bytes())
    code = call("encode", "in", "--roi", "masks", "--out-dir", "out", "--roi-out", "used", "--no-measure")
    assert code == ExitCode.USAGE
    assert "no mask for in/y.png" in capsys.readouterr().err
    assert has_region("out/x.ncc")
    assert Path("used/x.png").exists()
    assert not Path("out/y.ncc").exists()
    shared = call("encode", "in", "--roi", BOX, "--out-dir", "out", "--roi-out", "one.png", "--force")
    assert shared == ExitCode.USAGE


@pytest.mark.usefixtures("mask")
def test_an_empty_mask_is_mentioned(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (64, 48)).save("empty.png")
    Image.new("L", (64, 48), 255).save("full.png")
    assert call("encode", "a.png", "--roi", "empty.png") == 0
    assert "nothing important" in capsys.readouterr().err
    assert call("encode", "a.png", "--roi", "full.png", "-o", "b.ncc") == 0
    assert "warning" not in capsys.readouterr().err
    assert not has_region("a.ncc")
    assert Path("a.ncc").read_bytes() == Path("b.ncc").read_bytes()


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--roi", "nowhere.png"], ExitCode.MEDIA, "nowhere.png"),
        (["--roi", "1,2,3"], ExitCode.USAGE, "a box is X,Y,W,H"),
        (["--roi", "999,0,5,5"], ExitCode.USAGE, "outside the picture"),
        (["--roi", "square.png"], ExitCode.USAGE, "--roi-resize"),
        (["--roi", BOX, "--roi-model", "seg"], ExitCode.USAGE, "either"),
        (["--roi", BOX, "--roi-gain", "0.1"], ExitCode.USAGE, "gain"),
        (["--roi", BOX, "--roi-feather", "500"], ExitCode.USAGE, "feather"),
        (["--roi", BOX, "--roi-gain", "9", "--roi-background", "20"], ExitCode.USAGE, "either"),
        (["--roi-gain", "9"], ExitCode.USAGE, "need --roi"),
        (["--roi-model", "motion"], ExitCode.USAGE, "video"),
        (["--roi", BOX, "--roi-background", "70"], ExitCode.USAGE, "the background reaches only"),
    ],
)
def test_errors_are_one_line(
    call: Call, capsys: pytest.CaptureFixture[str], options: list[str], code: int, text: str
) -> None:
    Image.new("L", (50, 50), 255).save("square.png")
    assert call("encode", "a.png", *options) == code
    message = capsys.readouterr().err
    assert text in message
    assert message.count("\n") == 1
    assert not Path("a.ncc").exists()


@pytest.mark.usefixtures("mask")
def test_a_resized_mask(call: Call) -> None:
    Image.new("L", (50, 50)).save("square.png")
    Image.fromarray(mask_of_boxes("10,10,20,20", 50, 50)).save("square.png")
    assert call("encode", "a.png", "--roi", "square.png", "--roi-resize", "-q") == 0
    assert has_region("a.ncc")


@pytest.mark.usefixtures("mask")
def test_info_tells_and_draws(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "--roi", BOX, "-q") == 0
    assert call("info", "a.ncc", "--json", "--roi-map", "r.png", "--bits-map", "b.png") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["roi"]["gain"] == pytest.approx(30, rel=0.01)
    assert rows["bits_map"]["lightest_bpp"] > 0
    assert Image.open("r.png").size == Image.open("b.png").size == Image.open("a.png").size
    assert Image.open("r.png").getpixel((70, 45)) == 255
    assert call("info", "a.ncc", "--roi-map", "r.png") == ExitCode.USAGE
    assert call("info", "a.ncc", "--roi-map", "r.png", "--force") == 0
    assert call("info", "a.ncc", "a.ncc", "--roi-map", "r.png", "--force") == ExitCode.USAGE


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize("options", [("--device", "cpu"), ("--strip",), ("--no-alpha",)])
def test_masks_take_no_options_that_do_nothing(call: Call, options: tuple[str, ...]) -> None:
    assert call("roi", "a.png", "--model", "saliency", *options) == ExitCode.USAGE


@pytest.mark.usefixtures("mask")
def test_masks_alone(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("roi", "a.png", "--model", "saliency", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["output"] == "a.roi.png"
    assert 0 < rows["share"] < 1
    assert Image.open("a.roi.png").size == Image.open("a.png").size
    assert call("roi", "a.png", "m.png", "--model", "saliency", "--out-dir", "masks") == 0
    assert sorted(p.name for p in Path("masks").iterdir()) == ["a.png", "m.png"]
    assert call("encode", "a.png", "--roi", "masks", "-q") == 0
    assert has_region("a.ncc")


@pytest.mark.usefixtures("mask")
def test_masks_go_on_where_they_stopped(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("roi", "a.png", "m.png", "--model", "saliency", "--out-dir", "masks")
    assert call(*command, "-j", "2", "--manifest", "m.jsonl") == 0
    first = Path("masks/a.png").stat().st_mtime_ns
    assert "2 masked" in capsys.readouterr().err
    Path("masks/m.png").unlink()
    assert call(*command, "--manifest", "m.jsonl", "--resume") == 0
    assert "1 masked, 1 skipped" in capsys.readouterr().err
    assert call(*command, "--skip-existing") == 0
    assert "0 masked, 2 skipped" in capsys.readouterr().err
    assert Path("masks/a.png").stat().st_mtime_ns == first


@pytest.mark.usefixtures("mask")
def test_a_mask_never_replaces_its_picture(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("a.png").read_bytes()
    assert call("roi", "a.png", "-o", "a.png", "--force", "--model", "saliency") == ExitCode.USAGE
    assert call("roi", "a.png", "--out-dir", ".", "--force", "--model", "saliency") == ExitCode.USAGE
    assert "own mask" in capsys.readouterr().err
    assert Path("a.png").read_bytes() == before


@pytest.mark.usefixtures("mask")
def test_refinement_knows_the_region(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "--roi", BOX, "--refine", "3", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["psnr_roi"] > rows["psnr_background"]
    assert has_region("a.ncc")
