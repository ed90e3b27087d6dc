"""One coded picture without a container: a payload with its setting, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nccli.codec.coded import Coded, code_and_keep, code_picture, decode_coded, shape_of
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.codec.result import Stopwatch
from nccli.coding.condition import Condition
from nccli.coding.sender import Stream, send
from nccli.entropy.grid import Grid
from nccli.entropy.region import Region
from nccli.errors import FormatError
from nccli.networks.weights import ImageWeights
from tests.support import Pixels, latents_payload


def bare(stream: Stream) -> bytes:
    """No container at all."""
    return stream.payload


def again(coded: Coded) -> Coded:
    return decode_coded(coded.weights, coded.shape, coded.stream.setting, coded.stream.payload)


@pytest.mark.parametrize("regional", [False, True])
def test_what_is_coded_is_decoded(weights: ImageWeights, small: Pixels, regional: bool) -> None:
    grid = Grid.of(*small.shape[:2])
    levels = np.eye(grid.height, grid.width, dtype=np.uint8)
    region = Region(levels, 1, 0, 0, 300) if regional else None
    encoding = Encoding(Rate(lmbda=0.02), device="cpu", region=region)
    coded = code_picture(weights, small, encoding, bare)
    decoded = again(coded)
    assert (decoded.shape, decoded.stream.setting) == (shape_of(small), coded.stream.setting)
    assert np.array_equal(decoded.stream.z, coded.stream.z)
    assert np.array_equal(decoded.stream.y_hat, coded.stream.y_hat)
    assert np.array_equal(decoded.reconstruct(), coded.reconstruct())
    assert np.array_equal(decoded.bits(), coded.bits())
    file = encode_pixels(small, encoding).data
    assert latents_payload(file) == coded.stream.payload
    assert np.array_equal(decode_bytes(file, "cpu").pixels, decoded.reconstruct())


def test_another_payload_is_refused(weights: ImageWeights, small: Pixels) -> None:
    coded = code_picture(weights, small, Encoding(Rate(lmbda=0.02), device="cpu"), bare)
    setting, payload = coded.stream.setting, coded.stream.payload
    for damaged in (payload[:-2], payload[:2], bytes([payload[0] ^ 1]) + payload[1:]):
        with pytest.raises(FormatError):
            decode_coded(weights, coded.shape, setting, damaged)


def test_a_condition_reaches_both_sides(weights: ImageWeights, small: Pixels) -> None:
    """A network that knows no context says so when it is given one."""
    encoding, grid = Encoding(Rate(lmbda=0.02), device="cpu"), Grid.of(*small.shape[:2])
    condition = Condition(context=np.zeros((3, grid.height, grid.width), np.int32))
    coded = code_picture(weights, small, encoding, bare)
    with pytest.raises(ValueError, match="context"):
        code_picture(weights, small, encoding, bare, condition=condition)
    with pytest.raises(ValueError, match="context"):
        decode_coded(weights, coded.shape, coded.stream.setting, coded.stream.payload, condition=condition)
    with pytest.raises(ValueError, match="context"):
        replace(coded, condition=condition).bits()


def test_a_size_is_that_of_what_holds_the_picture(weights: ImageWeights, photo: Pixels) -> None:
    """Whatever surrounds a payload counts, however it is packed."""
    encoding = Encoding(Rate(size=2000), device="cpu")
    for around in (0, 700):
        coded = code_picture(weights, photo, encoding, lambda s, n=around: bytes(n) + s.payload)
        assert 0.98 * (2000 - around) <= len(coded.stream.payload) <= 2000 - around


@pytest.mark.parametrize("rate", [Rate(lmbda=0.02), Rate(size=400)])
def test_the_latents_that_were_coded_are_kept(weights: ImageWeights, small: Pixels, rate: Rate) -> None:
    done: list[float] = []
    watch = Stopwatch(done.append)
    coded, latents = code_and_keep(weights, small, Encoding(rate, device="cpu"), bare, watch)
    plain = code_picture(weights, small, Encoding(rate, device="cpu"), bare).stream
    assert coded.stream.payload == plain.payload
    assert send(weights, latents, coded.stream.setting).payload == coded.stream.payload
    assert watch.stages["transform"] > 0
    assert all(0 <= share <= 0.4 for share in done)
