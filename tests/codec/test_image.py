from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from nccli.catalogue.entries import find
from nccli.catalogue.load import load_model
from nccli.codec.coded import choose_device
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.coding.sender import price, send
from nccli.container.image_file import read_image, write_image
from nccli.entropy.rate import LAMBDA_MAX, LAMBDA_MIN, RATE_UNIT
from nccli.entropy.steps import LATENT_BITS
from nccli.errors import UnsupportedError, UsageError
from nccli.media.metrics import psnr
from nccli.networks.anchors import anchor_weights
from nccli.networks.weights import ImageWeights
from tests.support import Pixels, Sample, analysed, encode, encode_sample, latents_payload, setting_of

LAMBDAS = np.geomspace(LAMBDA_MIN, LAMBDA_MAX, 12)


@pytest.mark.parametrize("lmbda", [0.0005, 0.01, 0.15])
@pytest.mark.parametrize("picture", ["photo", "odd", "small"])
def test_decoder_makes_the_encoders_picture(
    weights: ImageWeights, request: pytest.FixtureRequest, picture: str, lmbda: float
) -> None:
    pixels: Pixels = request.getfixturevalue(picture)
    sample = encode_sample(weights, pixels, lmbda)
    own = sample.reconstruct(weights)
    encoded = encode_pixels(pixels, Encoding(Rate(lmbda=lmbda), device="cpu"))
    decoded = decode_bytes(encoded.data, device="cpu", reference=pixels)
    assert np.array_equal(decoded.pixels, own)
    assert decoded.pixels.dtype == np.uint8
    assert encoded.data == sample.data
    assert encoded.report.psnr == decoded.report.psnr == psnr(pixels, own)
    assert encoded.report.ms_ssim == decoded.report.ms_ssim
    assert encoded.report.bytes == len(encoded.data)
    assert encoded.report.bpp == 8 * len(encoded.data) / (pixels.shape[0] * pixels.shape[1])


def test_samples_are_rounded_to_the_nearest(weights: ImageWeights, photo_sample: Sample) -> None:
    stream = photo_sample.stream
    y = torch.from_numpy(stream.y_hat).double() / 2**LATENT_BITS * weights.spread[:, None, None]
    log2_lambda = torch.tensor([[[stream.setting.rate / RATE_UNIT - 12]]])
    with torch.inference_mode():
        x_hat = weights.g_s(y.float()[None], anchor_weights(log2_lambda))[0]
    exact = x_hat.permute(1, 2, 0).double().numpy() * 255
    pixels = photo_sample.reconstruct(weights)
    assert np.abs(pixels - exact.clip(0, 255)).max() < 0.501


def test_encoding_twice_gives_the_same_bytes(photo: Pixels) -> None:
    assert encode(photo, 0.01) == encode(photo, 0.01)


@pytest.mark.parametrize("picture", ["photo", "coffee", "chelsea"])
def test_rate_and_quality_grow_with_lambda(request: pytest.FixtureRequest, picture: str) -> None:
    pixels: Pixels = request.getfixturevalue(picture)[:256, :256]
    reports = [encode_pixels(pixels, Encoding(Rate(lmbda=float(v)), device="cpu")).report for v in LAMBDAS]
    for worse, better in pairwise(reports):
        assert worse.bytes < better.bytes
        assert worse.psnr < better.psnr
    assert reports[-1].psnr - reports[0].psnr > 10
    assert reports[-1].bpp > 10 * reports[0].bpp


@pytest.mark.parametrize("picture", ["photo", "odd", "small"])
def test_estimated_bytes_are_the_real_ones(
    weights: ImageWeights, request: pytest.FixtureRequest, picture: str
) -> None:
    with torch.inference_mode():
        for lmbda in LAMBDAS[::3]:
            latents = analysed(weights, request.getfixturevalue(picture), float(lmbda))
            setting = setting_of(weights, float(lmbda))
            estimate, y_hat = price(weights, latents, setting)
            stream = send(weights, latents, setting)
            assert np.array_equal(y_hat, stream.y_hat)
            assert abs(estimate - len(stream.payload)) <= max(0.01 * len(stream.payload), 4)


def test_fixed_pictures_stay_as_good_as_they_are(photo: Pixels) -> None:
    report = encode_pixels(photo, Encoding(Rate(lmbda=0.01), device="cpu")).report
    assert report.bpp < 0.6
    assert report.psnr > 29


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (17, 1), (16, 16), (63, 65), (100, 1)])
def test_odd_sizes(coffee: Pixels, size: tuple[int, int]) -> None:
    pixels = coffee[100 : 100 + size[0], 200 : 200 + size[1]]
    encoded = encode_pixels(pixels, Encoding(Rate(lmbda=0.05), device="cpu"))
    decoded = decode_bytes(encoded.data, device="cpu")
    assert decoded.pixels.shape == (*size, 3)
    assert psnr(pixels, decoded.pixels) == encoded.report.psnr
    assert encoded.report.psnr > 30


def test_padding_repeats_the_edge(weights: ImageWeights, odd: Pixels) -> None:
    padded = np.pad(odd, ((0, -75 % 16), (0, -101 % 16), (0, 0)), mode="edge")
    with torch.inference_mode():
        a, b = analysed(weights, odd), analysed(weights, padded)
    assert np.array_equal(a.y, b.y)
    assert np.array_equal(a.z, b.z)
    ours, theirs = encode(odd, 0.01), encode(padded, 0.01)
    assert latents_payload(ours) == latents_payload(theirs)
    whole = decode_bytes(theirs, device="cpu").pixels
    assert np.array_equal(decode_bytes(ours, device="cpu").pixels, whole[:75, :101])


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures_cost_next_to_nothing(value: int) -> None:
    pixels = np.full((128, 128, 3), value, np.uint8)
    encoded = encode_pixels(pixels, Encoding(Rate(lmbda=0.01), device="cpu"))
    assert encoded.report.bytes < 400
    assert encoded.report.psnr > 35


def test_noise_comes_back(weights: ImageWeights) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sample = encode_sample(weights, pixels, 0.15)
    assert np.array_equal(decode_bytes(sample.data, device="cpu").pixels, sample.reconstruct(weights))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights_tag": b"\xba\xd0\xba\xd0"}, "bad0bad0"),
        ({"model_id": 65535}, "model 65535"),
    ],
)
def test_files_this_program_cannot_read_are_refused_by_name(
    small_sample: Sample, change: dict[str, object], named: str
) -> None:
    read = read_image(small_sample.data)
    data = write_image(replace(read.header, **change), list(read.sections))
    with pytest.raises(UnsupportedError, match=named):
        decode_bytes(data, device="cpu")


def test_reference_of_another_size_is_refused(small_sample: Sample, photo: Pixels) -> None:
    with pytest.raises(UsageError, match="reference"):
        decode_bytes(small_sample.data, device="cpu", reference=photo)


def test_report_says_what_was_done(photo: Pixels) -> None:
    report = encode_pixels(photo, Encoding(Rate(lmbda=0.02), device="cpu", measure=False)).report
    assert (report.width, report.height) == (256, 192)
    assert report.lmbda == pytest.approx(0.02, rel=1e-3)
    assert (report.psnr, report.ms_ssim, report.device) == (None, None, "cpu")
    seconds = report.seconds
    assert 0 < seconds.load + seconds.transform + seconds.entropy <= seconds.total


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_missing_device_is_named() -> None:
    with pytest.raises(UsageError, match="CUDA"):
        choose_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("lmbda", [0.0005, 0.01, 0.15])
def test_cuda_and_cpu_agree_on_every_symbol(astronaut: Pixels, lmbda: float) -> None:
    from nccli.coding.payload import read_payload
    from nccli.entropy.grid import Grid

    entry = find("s")
    data = encode_pixels(astronaut, Encoding(Rate(lmbda=lmbda), device="cuda", measure=False)).data
    for source in (data, encode(astronaut, lmbda)):
        header = read_image(source).header
        setting = setting_of(load_model(entry, "cpu"), lmbda)
        assert (setting.rate, setting.step_z) == (header.rate, header.step_z)
        with torch.inference_mode():
            latents = [
                read_payload(
                    load_model(entry, device), Grid.of(512, 512), setting, latents_payload(source)
                ).y_hat
                for device in ("cpu", "cuda")
            ]
        assert np.array_equal(*latents)
        a, b = (decode_bytes(source, device=d).pixels.astype(int) for d in ("cpu", "cuda"))
        assert np.abs(a - b).max() <= 1
