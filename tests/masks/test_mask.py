"""Masks from pictures, boxes and arrays, and the regions that they ask for."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nccli.bounds import MAX_DECISIONS
from nccli.errors import ModelError, UsageError
from nccli.masks.choose import choose, mask_from, named_mask
from nccli.masks.make import make_mask
from nccli.masks.mask import (
    Choice,
    Mask,
    Selection,
    fitted,
    mask_of,
    mask_of_array,
    mask_of_boxes,
    positions,
    select,
    shaded,
)
from nccli.masks.request import RoiOptions
from nccli.media.picture import Picture
from nccli.media.still import picture_of, read_picture

LIMIT = 2**24


def disc(height: int, width: int, radius: float = 0.3) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.hypot(rows - height / 2, columns - width / 2) < radius * min(height, width)


def plain(height: int, width: int) -> Picture:
    return Picture(np.zeros((height, width, 3), np.uint8))


def saved(image: Image.Image, path: Path, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def read(path: str) -> Mask:
    return mask_of(read_picture(Path(path).read_bytes(), path, LIMIT))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_bits_shades_and_16_bits_mean_the_same(tmp_path: Path, suffix: str) -> None:
    on = disc(60, 90)
    gray = Image.fromarray(on.astype(np.uint8) * 255)
    expected = on.astype(np.uint8) * 255
    assert np.array_equal(read(saved(gray, tmp_path / f"l.{suffix}", lossless=True)), expected)
    assert np.array_equal(read(saved(gray.convert("RGB"), tmp_path / f"c.{suffix}", lossless=True)), expected)
    if suffix in ("png", "tiff"):
        deep = Image.fromarray(on.astype(np.uint16) * 65535)
        assert np.array_equal(read(saved(deep, tmp_path / f"d.{suffix}")), expected)
        assert np.array_equal(read(saved(gray.convert("1"), tmp_path / f"b.{suffix}")), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    turned = Image.fromarray(mask_of_boxes("0,0,10,5", 40, 60))
    exif = Image.Exif()
    exif[0x0112] = orientation
    name = saved(turned, tmp_path / "m.png", exif=exif)
    upright = picture_of(Image.open(name))
    assert np.array_equal(read(name), upright.pixels[..., 0])
    assert read(name).shape == ((40, 60) if orientation < 5 else (60, 40))
    corners = [read(name)[i, j] for i in (0, -1) for j in (0, -1)]
    assert sum(int(c) for c in corners) == 255


def test_a_coloured_mask_counts_by_its_brightest_channel() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[1, 1, 0] = 200
    assert mask_of(Picture(pixels))[1, 1] == 200


def test_transparent_places_do_not_matter() -> None:
    pixels = np.full((4, 4, 1), 255, np.uint8)
    pixels[0] = 0
    alpha = np.full((4, 4), 255, np.uint8)
    alpha[2] = 0
    alpha[3] = 128
    assert mask_of(Picture(pixels, alpha))[:, 0].tolist() == [0, 255, 0, 128]


def test_a_cut_out_of_one_colour_is_its_alpha() -> None:
    alpha = disc(20, 20).astype(np.uint8) * 255
    assert np.array_equal(mask_of(Picture(np.zeros((20, 20, 3), np.uint8), alpha)), alpha)


def test_boxes() -> None:
    mask = mask_of_boxes("2,1,3,2; -5,6,7,9", 8, 10)
    assert mask.sum() // 255 == 6 + 2 * 2
    assert mask[1:3, 2:5].all()
    assert mask[6:, :2].all()


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "1,2,3,0", "90,0,5,5", "1,2;3,4", "0,0,5,5;9"])
def test_bad_boxes(text: str) -> None:
    with pytest.raises(UsageError):
        mask_of_boxes(text, 50, 60)


@pytest.mark.parametrize(
    "values",
    [
        disc(6, 8),
        disc(6, 8).astype(np.uint8) * 255,
        disc(6, 8).astype(np.uint16) * 65535,
        disc(6, 8).astype(np.float32),
        disc(6, 8).astype(np.float64)[..., None],
    ],
)
def test_arrays(values: np.ndarray) -> None:
    assert np.array_equal(mask_of_array(values), disc(6, 8) * np.uint8(255))


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int64), np.full((2, 2), 1.5), np.zeros((0, 2))],
)
def test_bad_arrays(values: np.ndarray) -> None:
    with pytest.raises(UsageError):
        mask_of_array(values)


@pytest.mark.parametrize("shape", [(512, 768), (64, 96), (2, 3), (67, 100), (1024, 1536), (341, 511)])
def test_masks_of_any_size_of_the_same_aspect(shape: tuple[int, int]) -> None:
    mask = fitted(mask_of_array(disc(*shape)), 512, 768)
    assert mask.shape == (512, 768)
    if min(shape) > 60:
        assert mask[256, 384] == 255
        assert mask[0, 0] == 0
        assert np.mean(mask) == pytest.approx(255 * np.mean(disc(512, 768)), rel=0.05)


@pytest.mark.parametrize("shape", [(768, 512), (512, 512), (96, 64), (100, 300)])
def test_another_aspect_is_an_error_unless_resized(shape: tuple[int, int]) -> None:
    mask = mask_of_array(disc(*shape))
    with pytest.raises(UsageError, match="--roi-resize") as caught:
        fitted(mask, 512, 768)
    assert ("turned" in str(caught.value)) == (shape[0] * 512 == shape[1] * 768)
    assert fitted(mask, 512, 768, resize=True).shape == (512, 768)


def test_a_touched_position_is_important() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[20, :] = 255  # a line one pixel wide
    levels = select(mask, Choice()).region.levels  # type: ignore[union-attr]
    assert levels.tolist() == [[0] * 4, [1] * 4, [0] * 4, [0] * 4]
    assert positions(mask)[1].tolist() == [64] * 4


@pytest.mark.parametrize("shape", [(1, 1), (17, 5), (33, 47), (16, 16), (250, 3)])
def test_odd_sizes(shape: tuple[int, int]) -> None:
    assert positions(np.full(shape, 200, np.uint8)).tolist() == [
        [200] * -(-shape[1] // 16) for _ in range(-(-shape[0] // 16))
    ]


def test_two_values_take_one_level_and_shades_eight() -> None:
    on = disc(256, 256)
    smooth = np.asarray(
        Image.fromarray(on.astype(np.uint8) * 255).resize((250, 250), Image.Resampling.LANCZOS)
    )
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (256, 1))
    half = np.full((256, 256), 0, np.uint8)
    half[64:128, 64:128] = 128
    noisy = on * np.uint8(235) + np.random.default_rng(1).integers(0, 20, on.shape).astype(np.uint8)
    assert not any(shaded(m) for m in (mask_of_array(on), smooth, noisy))
    assert shaded(ramp)
    assert shaded(half)
    region = select(half, Choice()).region
    assert region is not None
    assert (region.top, region.levels.max()) == (8, 4)
    assert select(mask_of_array(on), Choice()).region.top == 1  # type: ignore[union-attr]


def test_a_mask_that_changes_nothing_costs_nothing() -> None:
    everywhere = select(np.full((64, 64), 255, np.uint8), Choice())
    assert everywhere.region is None
    assert everywhere.remark is None
    nowhere = select(np.zeros((64, 64), np.uint8), Choice())
    assert nowhere.region is None
    assert "nothing important" in (nowhere.remark or "")
    assert select(mask_of_array(disc(64, 64)), Choice(gain=1)).region is None


@pytest.mark.parametrize(("gain", "drop"), [(2, 64), (30, 314), (1000, 638), (65536, 1024)])
def test_a_gain_is_a_drop_of_its_octaves(gain: float, drop: int) -> None:
    assert Choice(gain).drop == drop


def test_impossible_gains_and_feathers() -> None:
    for gain in (0.5, 0, -1, 1e6, float("nan")):
        with pytest.raises(UsageError, match="gain"):
            _ = Choice(gain).drop
    for feather in (-1, 113, float("nan")):
        with pytest.raises(UsageError, match="feather"):
            _ = Choice(feather=feather).passes
    assert [Choice(feather=px).passes for px in (0, 1, 16, 17, 32, 112)] == [0, 1, 1, 2, 2, 7]


def test_cells_grow_with_the_picture() -> None:
    ramp = np.tile(np.linspace(0, 255, 2400).astype(np.uint8), (2000, 1))
    region = select(ramp, Choice()).region
    assert region is not None
    assert region.levels.size * region.top <= MAX_DECISIONS
    assert region.cell_log2 == 1
    assert region.importance(125, 150).shape == (125, 150)


def test_python_takes_any_kind_of_mask(tmp_path: Path) -> None:
    on = disc(40, 60)
    expected = mask_of_array(on)
    name = saved(Image.fromarray(expected), tmp_path / "m.png")
    for given in (on, torch.from_numpy(on), Image.fromarray(expected), name, Path(name)):
        assert np.array_equal(mask_from(given, 40, 60), expected)
    box = mask_of_boxes("3,4,5,6", 40, 60)
    for given in ("3,4,5,6", [(3, 4, 5, 6)]):
        assert np.array_equal(mask_from(given, 40, 60), box)
    with pytest.raises(UsageError):
        mask_from(7, 40, 60)


def chosen(options: RoiOptions, source: str) -> Selection | None:
    """What the mask that the options name for an input comes to."""
    picture = plain(80, 120)
    return choose(picture, options, partial(named_mask, picture, str(options.roi_mask), source, LIMIT))


def test_a_folder_of_masks(tmp_path: Path) -> None:
    for place, shape in (("masks/b/x.png", (8, 12)), ("masks/x.png", (10, 15))):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask_of_array(disc(*shape))).save(tmp_path / place)
    options = RoiOptions(str(tmp_path / "masks"))
    for source in ("b/x.jpg", "/far/b/x.png"):
        found = chosen(options, source)
        assert found is not None
        assert np.array_equal(found.mask, fitted(mask_of_array(disc(8, 12)), 80, 120))
    found = chosen(options, "x.webp")
    assert found is not None
    assert np.array_equal(found.mask, fitted(mask_of_array(disc(10, 15)), 80, 120))
    with pytest.raises(UsageError, match="no mask for"):
        chosen(options, "y.png")


def test_options_that_contradict_each_other() -> None:
    for options in (
        RoiOptions("m.png", "seg"),
        RoiOptions("m.png", roi_gain=3, roi_background=20),
        RoiOptions(roi_gain=3),
        RoiOptions(roi_resize=True),
    ):
        with pytest.raises(UsageError):
            options.check()


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("nothing", UsageError, "seg, saliency"),
        ("motion", UsageError, "video"),
        ("person", UsageError, "boxes:person"),
        ("face", UsageError, "seg"),
        ("onnx:nowhere.onnx", ModelError, "nowhere.onnx|onnxruntime"),
        ("onnx:x.onnx,size=3", UsageError, "mean=M"),
        ("torchvision:lraspp_mobilenet_v3_large", ModelError, "torchvision|python -c"),
        ("boxes:dog", ModelError, "torchvision|python -c"),
    ],
)
def test_models_that_are_not_there(
    name: str, kind: type[Exception], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(kind, match=text):
        make_mask(name, plain(32, 32))


def test_saliency_finds_what_stands_out() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(110, 130, (120, 200, 3)).astype(np.uint8)
    pixels[50:75, 130:160] = (230, 40, 30)
    mask = make_mask("saliency", Picture(pixels))
    assert mask.shape == (120, 200)
    assert mask[50:75, 130:160].mean() > 4 * mask.mean()
    assert not make_mask("saliency", plain(30, 40)).any()
    assert make_mask("saliency", Picture(pixels[..., :1])).shape == (120, 200)


def test_a_png_mask_is_what_was_made(tmp_path: Path) -> None:
    from nccli.masks.mask import png_of

    mask = mask_of_array(disc(30, 50))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_of(mask)))), mask)
