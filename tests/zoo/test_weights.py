"""Conversion, weights files and the rate axis of networks of the zoo."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_picture, encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.coding.payload import read_payload
from nccli.coding.sender import Encoder, Sender, send
from nccli.entropy.coder import SymbolEncoder
from nccli.entropy.rate import lambda_to_rate
from nccli.entropy.region import Region
from nccli.entropy.setting import Setting
from nccli.entropy.steps import interpolate_anchors
from nccli.errors import ModelError, NccError
from nccli.media.metrics import psnr
from nccli.media.picture import Picture
from nccli.zoo.cache import file_name, zoo_folder
from nccli.zoo.convert import convert, natural_steps
from nccli.zoo.names import LAMBDAS, zoo_models
from nccli.zoo.zoo_parameters import log2_thresholds, log_scale
from tests.support import Pixels, analysed, frozen
from tests.support.zoo import M, Small, as_weights, make_net, make_small, model_of, trained

UNIT = 2**12


@pytest.fixture(scope="module")
def face(astronaut: Pixels) -> Pixels:
    return frozen(astronaut[60:156, 150:278])


@pytest.fixture(scope="module")
def small(face: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Small:
    return make_small("mbt2018-mean-3", face, tmp_path_factory.mktemp("zoo"))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def natural(small: Small, region: Region | None = None) -> Setting:
    return Setting(lambda_to_rate(small.model.lmbda), 0, 3, region)


def test_own_lambda_means_steps_of_one() -> None:
    for model in zoo_models():
        gain = natural_steps(model.lmbda)
        assert (np.diff(gain) == -56).all()
        own = lambda_to_rate(model.lmbda)
        assert interpolate_anchors(gain[:, None], own)[0] == 0
        assert interpolate_anchors(gain[:, None], own - 4096)[0] in (32, 31) or own < 8192
    assert len(LAMBDAS) == 8


def test_a_region_is_better_than_the_rest(face: Pixels, tmp_path: Path) -> None:
    small = make_small("mbt2018-4", face, tmp_path)
    levels = np.zeros((6, 8), np.uint8)
    levels[2:5, 2:5] = 1
    setting = natural(small, Region(levels, 1, 0, 0, 4 * 64))
    latents = analysed(small.weights, face)
    stream = send(small.weights, latents, setting)
    assert np.array_equal(
        read_payload(small.weights, latents.grid, setting, stream.payload).y_hat, stream.y_hat
    )
    error = np.abs(stream.y_hat / UNIT - latents.y).mean(0)
    inside = levels.astype(bool)
    assert error[~inside].mean() > 1.5 * error[inside].mean()
    assert len(stream.payload) < 0.7 * len(send(small.weights, latents, natural(small)).payload)


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -100])
def test_truncated_weights_are_refused(small: Small, tmp_path: Path, keep: int) -> None:
    with pytest.raises(ModelError):
        as_weights(small.model, small.data[:keep], tmp_path)


def test_weights_that_do_not_fit_are_refused(small: Small, tmp_path: Path) -> None:
    for old, new in (
        (b'\\"M\\": 18', b'\\"M\\": 19'),
        (b'\\"N\\": 12', b'\\"N\\": -2'),
        (b"mbt2018-mean", b"mbt2018-meal"),
        (b"entropy.hyper.0.bias", b"entropy.hyper.0.bios"),
        (b'"median"', b'"mediam"'),
    ):
        assert old in small.data
        with pytest.raises(NccError):
            as_weights(small.model, small.data.replace(old, new), tmp_path)


def test_log2_of_scales_is_exact() -> None:
    found = log2_thresholds()
    assert list(found) == sorted(found)
    scales = np.array([0, 450, 451, 452, 4095, 4096, 4097, 8191, 8192, 2**20, 2**24, 2**25])
    log2 = log_scale(scales.astype(np.float64)) / 64
    units = []
    for scale in np.clip(scales, 451, 2**24).tolist():
        power = scale**64
        unit = -210
        while power >= 1 << (768 + unit + 1):
            unit += 1
        units.append(unit)
    assert log2.tolist() == units


def test_conversion_depends_on_the_checkpoint_alone(small: Small) -> None:
    torch.set_num_threads(3)
    assert convert(small.model, small.net) == small.data


def test_conversion_gives_the_same_bytes_everywhere() -> None:
    """Weights from integers, no random numbers of a library: the digest is a constant of the format."""
    model = model_of("mbt2018-3")
    net = make_net(model, np.full((64, 64, 3), 128, np.uint8))
    state = 1
    for tensor in [*net.parameters(), *(b for n, b in net.named_buffers() if "mask" not in n)]:
        count = tensor.numel()
        values = np.empty(count, np.int64)
        for place in range(count):
            state = (1103515245 * state + 12345) & 0x7FFFFFFF
            values[place] = (state >> 12) - 2**18
        tensor.copy_(torch.from_numpy(values / 2**20).float().reshape(tensor.shape))
    assert hashlib.sha256(convert(model, net)).hexdigest() == GOLDEN


GOLDEN = "d96dfcae9539e5a176cb0692b2e306923b8477b912071db2f3d2cf88368abaaa"


@pytest.fixture(scope="module")
def learned(face: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A network that has seen the picture, so that finer steps make it better."""
    with torch.inference_mode(False), torch.enable_grad():
        small = trained("mbt2018-mean-3", face, 40)
    small = replace(small, weights=as_weights(small.model, small.data, tmp_path_factory.mktemp("learned")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCC_CACHE", str(tmp_path_factory.mktemp("cache")))
        zoo_folder().mkdir(parents=True)
        name = file_name(small.model, hashlib.sha256(small.data).hexdigest())
        (zoo_folder() / name).write_bytes(small.data)
        yield small


def test_a_size_is_met(learned: Small, face: Pixels) -> None:
    sizes = [
        len(encode_pixels(face, Encoding(Rate(lmbda=lmbda), learned.model.name, "cpu", measure=False)).data)
        for lmbda in (0.001, 0.1)
    ]
    wanted = sum(sizes) // 2
    data = encode_pixels(face, Encoding(Rate(size=wanted), learned.model.name, "cpu", measure=False)).data
    assert wanted - 6 <= len(data) <= wanted


def test_a_psnr_is_met(learned: Small, face: Pixels) -> None:
    ends = [
        encode_pixels(face, Encoding(Rate(lmbda=lmbda), learned.model.name, "cpu")).report.psnr or 0
        for lmbda in (0.001, 0.1)
    ]
    assert ends[1] > ends[0] + 0.5
    wanted = sum(ends) / 2
    encoded = encode_picture(Picture(face), Encoding(Rate(psnr=wanted), learned.model.name, "cpu"))
    decoded = decode_bytes(encoded.data, "cpu", face)
    assert wanted <= psnr(face, decoded.pixels) < wanted + 0.25


def test_one_coder_for_all(learned: Small, face: Pixels) -> None:
    """A stream begun for z goes on with y: nothing of the zoo writes another kind of stream."""
    latents = analysed(learned.weights, face)
    encoder, coder = Encoder(learned.weights, lambda _: latents), SymbolEncoder()
    stream = encoder.transmit(
        natural(learned), Sender(learned.weights, latents, natural(learned), coder), coder
    )
    assert stream.payload == send(learned.weights, latents, natural(learned)).payload
    assert M == learned.weights.config.M
