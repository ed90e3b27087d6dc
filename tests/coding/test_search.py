from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.coding.analysis import Analyser
from nccli.coding.search import REACH_ABOVE, REACH_BELOW, setting_at
from nccli.coding.sender import send
from nccli.coding.tiles import Shape, reconstruct
from nccli.entropy.rate import (
    DEFAULT_QUALITY,
    LAMBDA_MAX,
    LAMBDA_MIN,
    RATE_MAX,
    RATE_MIN,
    RATE_UNIT,
    lambda_to_rate,
)
from nccli.entropy.region import STEP_PER_RATE
from nccli.errors import UsageError
from nccli.media.metrics import psnr
from nccli.networks.weights import ImageWeights
from tests.support import Pixels, encode

STEP_Y_BYTES = 2
"""What a header may grow by beyond the served lambdas."""

BPPS = (0.15, 0.25, 0.4, 0.7, 1.0, 1.5, 2.0)


def fitted(pixels: Pixels, size: int) -> int:
    """Bytes of the file that a size target gives."""
    return len(encode_pixels(pixels, Encoding(Rate(size=size), device="cpu", measure=False)).data)


@pytest.mark.parametrize("bpp", BPPS)
@pytest.mark.parametrize("picture", ["astronaut", "coffee"])
def test_size_target_is_used_and_never_exceeded(
    request: pytest.FixtureRequest, picture: str, bpp: float
) -> None:
    pixels: Pixels = request.getfixturevalue(picture)[64:320, 100:484]
    size = int(bpp * pixels.shape[0] * pixels.shape[1] / 8)
    assert 0.99 * size <= fitted(pixels, size) <= size


@pytest.mark.parametrize("picture", ["coffee", "small"])
def test_size_is_kept_where_the_search_begins(request: pytest.FixtureRequest, picture: str) -> None:
    pixels: Pixels = request.getfixturevalue(picture)
    length = len(encode(pixels, 0.01))
    for size in range(length - 6, length + 2, 2):
        assert fitted(pixels, size) <= size


def test_size_of_small_pictures_is_never_exceeded(small: Pixels, odd: Pixels) -> None:
    for pixels in (small, odd, small[:3, :2]):
        lowest = len(encode(pixels, LAMBDA_MIN)) + STEP_Y_BYTES
        for size in range(lowest, 3 * lowest, max(lowest // 6, 1)):
            assert fitted(pixels, size) <= size


def test_the_smallest_file_of_a_single_pixel_is_found(small: Pixels) -> None:
    """Below the served rates its header is longer, so the search ends where they begin."""
    dot = small[:1, :1]
    lowest = len(encode(dot, LAMBDA_MIN))
    assert fitted(dot, lowest) == lowest


def test_more_bytes_never_make_the_picture_worse(photo: Pixels) -> None:
    qualities = [
        encode_pixels(photo, Encoding(Rate(size=size), device="cpu")).report.psnr
        for size in range(1000, 9000, 1000)
    ]
    assert qualities == sorted(qualities)


def test_search_reaches_beyond_the_served_lambdas(photo: Pixels) -> None:
    lowest, highest = len(encode(photo, LAMBDA_MIN)), len(encode(photo, LAMBDA_MAX))
    for size in (int(0.6 * lowest), int(1.5 * highest)):
        assert 0.98 * size <= fitted(photo, size) <= size


@pytest.mark.parametrize("size", [0, 1, 30, 60])
def test_sizes_that_nothing_fits_are_refused(astronaut: Pixels, size: int) -> None:
    with pytest.raises(UsageError, match=f"{size} bytes"):
        fitted(astronaut, size)


def test_a_size_beyond_all_use_gives_the_best_file(small: Pixels) -> None:
    encoded = encode_pixels(small, Encoding(Rate(size=10**9), device="cpu"))
    assert (
        encoded.report.psnr > encode_pixels(small, Encoding(Rate(lmbda=LAMBDA_MAX), device="cpu")).report.psnr
    )


@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.9])
def test_psnr_target_is_reached_at_the_lowest_rate(
    weights: ImageWeights, photo: Pixels, share: float
) -> None:
    worst, best = (
        encode_pixels(photo, Encoding(Rate(lmbda=lmbda), device="cpu")).report.psnr
        for lmbda in (LAMBDA_MIN, LAMBDA_MAX)
    )
    wanted = worst + share * (best - worst)
    encoded = encode_pixels(photo, Encoding(Rate(psnr=wanted), device="cpu"))
    assert wanted <= encoded.report.psnr < wanted + 0.25
    rate = lambda_to_rate(encoded.report.lmbda)
    assert RATE_MIN < rate < RATE_MAX
    with torch.inference_mode():
        setting = setting_at(weights, rate - RATE_UNIT // 16)
        latents = Analyser(weights, photo)(setting)
        stream = send(weights, latents, setting)
        pixels = reconstruct(
            weights, stream.y_hat, stream.setting.field(latents.grid), Shape(*photo.shape[:2])
        )
    assert psnr(photo, pixels) < wanted
    assert len(stream.payload) < len(encoded.data)


def test_psnr_beyond_the_served_lambdas(photo: Pixels) -> None:
    best = encode_pixels(photo, Encoding(Rate(lmbda=LAMBDA_MAX), device="cpu")).report.psnr
    assert encode_pixels(photo, Encoding(Rate(psnr=best + 0.5), device="cpu")).report.psnr >= best + 0.5
    worst = encode_pixels(photo, Encoding(Rate(lmbda=LAMBDA_MIN), device="cpu")).report.psnr
    assert worst - 2 <= encode_pixels(photo, Encoding(Rate(psnr=worst - 2), device="cpu")).report.psnr < worst


@pytest.mark.parametrize("wanted", [70.0, math.inf, math.nan])
def test_psnr_out_of_reach_is_refused(small: Pixels, wanted: float) -> None:
    with pytest.raises(UsageError, match="dB"):
        encode_pixels(small, Encoding(Rate(psnr=wanted), device="cpu"))


@pytest.mark.parametrize("lmbda", [0.0, -1.0, 0.0004999, 0.1500001, 1.0, math.inf, -math.inf, math.nan])
def test_lambda_out_of_range_is_refused(small: Pixels, lmbda: float) -> None:
    with pytest.raises(UsageError, match="lambda"):
        encode_pixels(small, Encoding(Rate(lmbda=lmbda), device="cpu"))


def test_no_target_is_the_default_quality(small: Pixels) -> None:
    named = encode_pixels(small, Encoding(Rate(quality=DEFAULT_QUALITY), device="cpu")).data
    assert encode_pixels(small, Encoding(Rate(), device="cpu")).data == named


def test_extended_axis_goes_on_with_steps_alone(weights: ImageWeights) -> None:
    for point in np.linspace(REACH_BELOW, REACH_ABOVE, 500).round().astype(int).tolist():
        setting = setting_at(weights, point)
        assert RATE_MIN <= setting.rate <= RATE_MAX
        assert setting.rate - setting.step_y * STEP_PER_RATE == point
        inside = RATE_MIN <= point <= RATE_MAX
        assert (setting.step_y == 0) == inside
