"""Details: learning their scales, and what becomes of them in a payload."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from nccli.codec.coded import Coded, decode_coded, shape_of, with_details
from nccli.coding.details import Details, read_details
from nccli.coding.sender import Stream, send
from nccli.container.detail_section import CHANNEL_UNIT, DetailFields, pack_details, unpack_details
from nccli.entropy.grid import Grid
from nccli.errors import FormatError
from nccli.media.metrics import psnr
from nccli.networks.image_model import DETAIL, ImageConfig, ImageModel
from nccli.networks.weights import ImageWeights
from nccli.train.image.course import Plan
from nccli.train.image.klt import klt_start
from nccli.train.image.loop import Trainer
from nccli.train.image.loss import Rates, forward
from nccli.train.publish.export import assembled, exact_tensors
from tests.support import Pixels, analysed, setting_of
from tests.support.training import CPU, batch_of, pictures

TILES = pictures(6, 128)

X = TILES.pixels[:2, :, :64, :64].float() / 255

NARROW = ImageConfig(
    "narrow",
    N=16,
    M=24,
    detail=DETAIL,
    blocks_a=1,
    blocks_s=1,
    deep_width=16,
    hyper_channels=8,
    hyper_width=16,
    context_width=8,
)
"""Its 24 channels of y leave much to the details."""


@torch.no_grad()
def detail_bits(model: ImageModel) -> float:
    rates = Rates.uniform(torch.tensor([-8.0, -4.0]))
    m = forward(model, X, rates, torch.autocast("cpu", enabled=False), rounded=True)
    return float(m.bpp_detail.mean())


def test_only_the_scales_of_details_learn() -> None:
    trainer = Trainer(Plan(batch=2, crop=64, warmup=1, rate=2e-3, z_warmup=0, details=True), CPU)
    trainer.start(TILES)

    def state() -> dict[str, Tensor]:
        return {k: v.clone() for k, v in trainer.model.state_dict().items()}

    before, bits = state(), detail_bits(trainer.model)
    torch.manual_seed(1)
    for _ in range(16):
        trainer.step(batch_of(X))
    after = state()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {k for k in before if k.startswith("entropy.detail_")}
    assert detail_bits(trainer.model) < 0.95 * bits


def test_pixels_learn_as_if_there_were_no_details() -> None:
    """Details take nothing off the error that the synthesis is trained with."""
    model = ImageModel(NARROW)
    klt_start(model, TILES.pixels)
    rates = Rates.uniform(torch.tensor([-8.0, -4.0]))
    found = {}
    for step in (-3.0, 30.0):
        model.detail_step.fill_(step)
        torch.manual_seed(1)
        model.zero_grad()
        m = forward(model, X, rates, torch.autocast("cpu", enabled=False))
        m.objective.sum().backward()
        gradients = {k: p.grad for k, p in model.named_parameters() if not k.startswith("entropy.detail_")}
        gradients = {k: g for k, g in gradients.items() if not k.startswith("y_density.")}
        found[step] = (m.distortion.detach(), gradients)
    torch.testing.assert_close(found[-3.0], found[30.0])


@pytest.fixture(scope="module")
def weights() -> ImageWeights:
    torch.manual_seed(2)
    model = ImageModel(NARROW).eval().requires_grad_(False)
    klt_start(model, TILES.pixels)
    return assembled(exact_tensors(model), NARROW)


@pytest.fixture(scope="module")
def sent(weights: ImageWeights, photo: Pixels) -> Stream:
    """A photograph without its details."""
    with torch.inference_mode():
        return send(weights, analysed(weights, photo, 0.06), setting_of(weights, 0.06))


@pytest.fixture(scope="module")
def stream(weights: ImageWeights, photo: Pixels, sent: Stream) -> Stream:
    return with_details(weights, photo, sent)


def details_of(stream: Stream) -> Details:
    assert stream.details is not None
    return stream.details


def read(weights: ImageWeights, photo: Pixels, stream: Stream, payload: bytes) -> Details:
    grid = Grid.of(*photo.shape[:2])
    return read_details(weights, grid, stream.setting, stream.z, stream.y_hat, payload)


def test_details_come_back_bit_exactly(
    weights: ImageWeights, photo: Pixels, sent: Stream, stream: Stream
) -> None:
    written = details_of(stream)
    found = read(weights, photo, stream, written.payload)
    assert found.offset == written.offset
    assert found.symbols.dtype == written.symbols.dtype
    assert np.array_equal(found.symbols, written.symbols)
    assert written.symbols.any()
    assert len(written.symbols) % CHANNEL_UNIT == 0
    assert 0 < len(written.symbols) <= DETAIL
    ours = Coded(weights, shape_of(photo), stream)
    theirs = decode_coded(weights, shape_of(photo), stream.setting, stream.payload, written.payload)
    assert np.array_equal(ours.reconstruct(), theirs.reconstruct())
    plain = Coded(weights, shape_of(photo), sent).reconstruct()
    assert psnr(photo, ours.reconstruct()) > psnr(photo, plain) + 1


def test_more_channels_are_in_use_where_quality_is_higher(weights: ImageWeights, photo: Pixels) -> None:
    channels = []
    for lmbda in (0.001, 0.01, 0.15):
        with torch.inference_mode():
            plain = send(weights, analysed(weights, photo, lmbda), setting_of(weights, lmbda))
        found = with_details(weights, photo, plain).details
        channels.append(0 if found is None else len(found.symbols))
    assert channels == sorted(set(channels))


def test_a_picture_that_y_holds_has_no_details(weights: ImageWeights) -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    with torch.inference_mode():
        plain = send(weights, analysed(weights, flat, 0.001), setting_of(weights, 0.001))
    assert with_details(weights, flat, plain).details is None


def test_fields_come_back() -> None:
    for fields in (DetailFields(16, 0, 0, b""), DetailFields(768, -63, 0xFFFF, b"abc")):
        assert unpack_details(pack_details(fields), 768) == fields


def hostile(payload: bytes) -> Iterator[bytes]:
    """Cut, flipped, longer, and with numbers of channels that no model has or the picture does not."""
    yield from (payload[:length] for length in (*range(8), *range(8, len(payload), len(payload) // 20)))
    generator = np.random.default_rng(3)
    for place in (*range(12), *generator.integers(12, len(payload), 40).tolist()):
        broken = bytearray(payload)
        broken[place] ^= 1 << int(generator.integers(8))
        yield bytes(broken)
    yield payload + bytes(range(1, 9))
    for units in (0, payload[0] - 1, payload[0] + 1, DETAIL // CHANNEL_UNIT + 1, 255):
        yield bytes([units]) + payload[1:]


def test_hostile_payloads_are_refused(weights: ImageWeights, photo: Pixels, stream: Stream) -> None:
    payload = details_of(stream).payload
    count = 0
    for broken in hostile(payload):
        count += broken != payload
        with pytest.raises(FormatError):
            read(weights, photo, stream, broken)
    assert count > 70


@pytest.mark.parametrize("units", [0, 49, 255])
def test_units_out_of_range_are_named(units: int) -> None:
    payload = pack_details(DetailFields(16, 0, 0, b"abcd"))
    with pytest.raises(FormatError, match="channels of details"):
        unpack_details(bytes([units]) + payload[1:], DETAIL)
