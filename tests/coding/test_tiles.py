from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.coding import tiles
from nccli.coding.tiles import Shape
from nccli.entropy.grid import Grid
from nccli.entropy.region import RateField
from nccli.networks.weights import ImageWeights
from tests.support import Pixels

FIELD = RateField.of(20000, None, 1, 1)

ROUNDING = 1e-3
"""Float sums in another order: latents reach some hundreds."""


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 64 x 128 pixels: a picture of a hundred thousand pixels then has dozens."""
    monkeypatch.setattr(tiles, "TILE_ROWS", 4)
    monkeypatch.setattr(tiles, "TILE_COLUMNS", 8)


@pytest.mark.parametrize("size", [(1, 1), (63, 65), (64, 128), (65, 129), (1100, 17), (17, 2100)])
@pytest.mark.parametrize("halo", [1, 3])
def test_tiles_cover_the_grid_once(size: tuple[int, int], halo: int) -> None:
    covered = np.zeros(size, int)
    for tile in tiles.tiles(Grid(*size), halo):
        rows, columns = tile.rows, tile.columns
        covered[rows.start : rows.end, columns.start : columns.end] += 1
        assert rows.outer_start == max(rows.start - halo, 0)
        assert columns.outer_end == min(columns.end + halo, size[1])
        assert rows.start % 4 == columns.start % 4 == 0
    assert (covered == 1).all()


def test_latents_of_tiles_are_those_of_the_whole(
    weights: ImageWeights, chelsea: Pixels, request: pytest.FixtureRequest
) -> None:
    with torch.inference_mode():
        whole = tiles.analyse(weights, chelsea, FIELD)
        request.getfixturevalue("small_tiles")
        assert len(tiles.tiles(whole.grid, 1)) > 10
        parts = tiles.analyse(weights, chelsea, FIELD)
    assert np.abs(parts.y - whole.y).max() < ROUNDING
    assert np.abs(parts.z - whole.z).max() < ROUNDING


@pytest.mark.parametrize("shape", [Shape(300, 451), Shape(300, 451, True, 16)])
def test_pixels_of_tiles_are_those_of_the_whole(
    weights: ImageWeights, chelsea: Pixels, request: pytest.FixtureRequest, shape: Shape
) -> None:
    with torch.inference_mode():
        y_hat = np.rint(tiles.analyse(weights, chelsea, FIELD).y * 4096).astype(np.int32)
        whole = tiles.reconstruct(weights, y_hat, FIELD, shape)
        request.getfixturevalue("small_tiles")
        parts = tiles.reconstruct(weights, y_hat, FIELD, shape)
    assert parts.shape == (300, 451, 1 if shape.gray else 3)
    difference = np.abs(parts.astype(int) - whole)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize(("halo", "less"), [("analysis_halo", 1), ("synthesis_halo", 2)])
def test_surroundings_are_as_wide_as_the_filters_reach(
    weights: ImageWeights,
    chelsea: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    small_tiles: None,
    halo: str,
    less: int,
) -> None:
    # The outermost latents of g_s reach a tile through corners of all filters: too weak for samples.
    needed = getattr(weights.config, halo)

    def result(width: int) -> NDArray[np.floating]:
        monkeypatch.setattr(type(weights.config), halo, width)
        with torch.inference_mode():
            latents = tiles.analyse(weights, chelsea, FIELD)
            if halo == "analysis_halo":
                return latents.y
            y_hat = np.rint(latents.y * 4096).astype(np.int32)
            samples = tiles.reconstruct(weights, y_hat, FIELD, Shape(300, 451, depth=16))
            return samples / 65535

    enough = result(needed)
    rounding = np.abs(enough - result(needed + 2)).max()
    assert rounding < ROUNDING
    assert np.abs(enough - result(needed - less)).max() > 2 * rounding


def test_files_made_with_tiles_decode_without_and_back(
    chelsea: Pixels, request: pytest.FixtureRequest
) -> None:
    plain = encode_pixels(chelsea, Encoding(Rate(lmbda=0.01), device="cpu", measure=False)).data
    request.getfixturevalue("small_tiles")
    tiled = encode_pixels(chelsea, Encoding(Rate(lmbda=0.01), device="cpu", measure=False)).data
    assert abs(len(tiled) - len(plain)) <= 0.002 * len(plain)
    pixels = decode_bytes(plain, "cpu").pixels
    assert np.abs(pixels.astype(int) - decode_bytes(tiled, "cpu").pixels).mean() < 0.1


def test_progress_runs_from_zero_to_one(weights: ImageWeights, chelsea: Pixels, small_tiles: None) -> None:
    seen: list[float] = []
    with torch.inference_mode():
        tiles.analyse(weights, chelsea, FIELD, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.slow
def test_a_picture_of_several_real_tiles(coffee: Pixels) -> None:
    large = np.tile(coffee, (3, 4, 1))[:1100, :2100]
    encoded = encode_pixels(large, Encoding(Rate(lmbda=0.005), device="cpu"))
    decoded = decode_bytes(encoded.data, "cpu", large)
    assert decoded.report.psnr == encoded.report.psnr
    assert (decoded.report.psnr or 0) > 27
