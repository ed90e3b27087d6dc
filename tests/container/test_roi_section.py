"""The mask stream and what importance follows from it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.data import horse

from nccli.bounds import MAX_DECISIONS, MAX_DROP
from nccli.container.roi_section import pack_region, unpack_region
from nccli.entropy.region import FULL, RateField, Region, cells_of
from nccli.entropy.steps import STEP_UNIT
from nccli.errors import FormatError
from nccli.masks.mask import Choice, fitted, mask_of_array, select

HEIGHT, WIDTH = 512, 768


@st.composite
def regions(draw: st.DrawFn) -> tuple[Region, int, int]:
    """A region and the latent positions that it covers."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    cell_log2, top = draw(st.integers(0, 3)), draw(st.integers(1, 15))
    cells = cells_of(height, width, cell_log2)
    levels = draw(hnp.arrays(np.uint8, cells, elements=st.integers(0, top)))
    feather, drop = draw(st.integers(0, 7)), draw(st.integers(1, MAX_DROP))
    return Region(levels, top, cell_log2, feather, drop), height, width


def blob(seed: int, coverage: float) -> np.ndarray:
    """Smooth random blobs over part of 512 x 768."""
    rng = np.random.default_rng(seed)
    waves = np.zeros((HEIGHT, WIDTH))
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    for _ in range(8):
        fy, fx = rng.uniform(-1.5, 1.5, 2)
        waves += np.cos(2 * np.pi * (fy * rows / HEIGHT + fx * columns / WIDTH + rng.uniform()))
    return waves > np.quantile(waves, 1 - coverage)


def region_of(mask: np.ndarray) -> Region:
    region = select(mask_of_array(mask), Choice()).region
    assert region is not None
    return region


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(regions())
def test_regions_come_back(given_region: tuple[Region, int, int]) -> None:
    region, height, width = given_region
    again = unpack_region(pack_region(region), height, width)
    assert np.array_equal(again.levels, region.levels)
    assert (again.top, again.cell_log2, again.feather, again.drop) == (
        region.top,
        region.cell_log2,
        region.feather,
        region.drop,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(regions())
def test_feathering_never_lowers_the_mask(given_region: tuple[Region, int, int]) -> None:
    region, height, width = given_region
    sharp = Region(region.levels, region.top, region.cell_log2, 0, region.drop)
    soft, hard = region.importance(height, width), sharp.importance(height, width)
    assert soft.shape == (height, width)
    assert (soft >= hard).all()
    assert soft.max() == hard.max()
    assert soft.min() >= 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(regions(), st.integers(0, 0xFFFF))
def test_drops_are_those_of_the_format(given_region: tuple[Region, int, int], rate: int) -> None:
    region, height, width = given_region
    importance, drops = region.importance(height, width), region.drops(height, width)
    field = RateField.of(rate, region, height, width)
    for m, d, local, beyond in zip(
        importance.flat, drops.flat, field.local.flat, field.beyond.flat, strict=True
    ):
        assert d == (255 - m) * region.drop * 64 // 255
        assert local == max(rate - d, min(rate, 4096))
        assert beyond == (local - (rate - d)) // 128


def test_pixels_weigh_what_their_drop_says() -> None:
    levels = np.array([[1, 0]], np.uint8)
    weights = Region(levels, 1, 0, 0, 5 * STEP_UNIT).weights(10, 30)
    assert weights.shape == (10, 30)
    assert (weights[:, :16] == 1).all()
    assert np.allclose(weights[:, 16:], 1 / 32)


@pytest.mark.parametrize("coverage", [0.1, 0.2, 0.3, 0.4])
def test_typical_masks_take_less_than_60_bytes(coverage: float) -> None:
    sizes = [len(pack_region(region_of(blob(seed, coverage)))) for seed in range(8)]
    assert max(sizes) < 60, sizes


def test_shapes_take_few_bytes() -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = np.hypot(rows - 256, columns - 384) < 150
    checkers = (rows // 128 + columns // 128) % 2 == 0
    silhouette = fitted(mask_of_array(~horse()), HEIGHT, WIDTH, resize=True)
    assert len(pack_region(region_of(disc))) < 30
    assert len(pack_region(region_of(checkers))) < 40
    assert len(pack_region(region_of(silhouette))) < 75


@pytest.mark.parametrize("seed", range(40))
def test_damaged_payloads_are_format_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    top = int(rng.integers(1, 9))
    levels = rng.integers(0, top + 1, (16, 24)).astype(np.uint8)
    payload = bytearray(pack_region(Region(levels, top, 0, 2, 300)))
    kind = seed % 3
    if kind == 0:
        payload[rng.integers(len(payload))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del payload[int(rng.integers(len(payload))) :]
    else:
        payload = bytearray(rng.integers(0, 256, int(rng.integers(0, 80)), np.uint8).tobytes())
    try:
        region = unpack_region(bytes(payload), 16, 24)
    except FormatError:
        return
    assert region.levels.max() <= region.top


@pytest.mark.parametrize(
    ("payload", "height", "width"),
    [
        (b"", 4, 4),
        (b"\x00\x00\x01", 4, 4),  # no levels
        (b"\x81\x00\x01", 4, 4),  # feather 8
        (b"\x01\x08\x01", 4, 4),  # cell 8
        (b"\x01\x00\x00", 4, 4),  # no drop
        (b"\x01\x00\x81\x08", 4, 4),  # drop 1025
        (b"\x02\x00\x01", 256, 256),  # too many decisions
        (b"\x01\x00\x01" + b"\xff" * 400, 4, 4),  # data after the end
    ],
)
def test_impossible_payloads(payload: bytes, height: int, width: int) -> None:
    with pytest.raises(FormatError):
        unpack_region(payload, height, width)


def test_the_largest_mask_is_read_quickly() -> None:
    side = int(MAX_DECISIONS**0.5)
    levels = np.random.default_rng(1).integers(0, 2, (side, side)).astype(np.uint8)
    payload = pack_region(Region(levels, 1, 0, 7, MAX_DROP))
    start = time.process_time()
    region = unpack_region(payload, side, side)
    assert time.process_time() - start < 1
    assert np.array_equal(region.levels, levels)
    assert region.importance(side, side).max() == FULL
