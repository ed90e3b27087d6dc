from __future__ import annotations

import math

import numpy as np
import pytest

from nccli.media.metrics import IDENTICAL_PSNR, MS_SSIM_MIN_SIDE, ms_ssim, psnr
from tests.support import Pixels


def noisy(pixels: Pixels, amount: int) -> Pixels:
    rng = np.random.default_rng(amount)
    shifted = pixels.astype(np.int32) + rng.integers(-amount, amount + 1, pixels.shape)
    return shifted.clip(0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


@pytest.mark.parametrize("amount", [1, 5, 40, 255])
def test_psnr_is_the_formula(coffee: Pixels, amount: int) -> None:
    other = noisy(coffee, amount)
    mse = np.mean((coffee.astype(np.float64) - other.astype(np.float64)) ** 2)
    assert psnr(coffee, other) == pytest.approx(10 * math.log10(255**2 / mse), abs=1e-9)
    assert psnr(other, coffee) == psnr(coffee, other)


def test_psnr_of_sixteen_bits_uses_their_peak(coffee: Pixels) -> None:
    deep = coffee.astype(np.uint16) * 257
    other = noisy(coffee, 9)
    assert psnr(deep, other.astype(np.uint16) * 257) == pytest.approx(psnr(coffee, other), abs=1e-9)


def test_psnr_of_known_pictures() -> None:
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(black, black) == psnr(white, white) == IDENTICAL_PSNR
    one = black.copy()
    one[2, 3, 1] = 1
    assert psnr(black, one) == pytest.approx(10 * math.log10(255**2 * 60))
    assert psnr(one, black) < IDENTICAL_PSNR


def test_psnr_of_different_sizes_is_an_error(coffee: Pixels) -> None:
    with pytest.raises(ValueError, match="zip"):
        psnr(coffee, coffee[:-1])


def test_ms_ssim_falls_with_noise(coffee: Pixels) -> None:
    values = [ms_ssim(coffee, noisy(coffee, amount)) for amount in (2, 10, 50)]
    assert ms_ssim(coffee, coffee) == pytest.approx(1, abs=1e-5)
    assert 1 > values[0] > values[1] > values[2] > 0


def test_ms_ssim_needs_a_large_enough_picture(coffee: Pixels) -> None:
    side = MS_SSIM_MIN_SIDE
    for height, width in ((side - 1, 300), (300, side - 1)):
        assert ms_ssim(coffee[:height, :width], coffee[:height, :width]) is None
    smallest = coffee[:side, :side]
    assert ms_ssim(smallest, noisy(smallest, 30)) < 1
