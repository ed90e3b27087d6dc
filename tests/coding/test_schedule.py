from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nccli.coding.payload import CHECKS_BYTES, pack_payload, read_payload
from nccli.coding.schedule import (
    LATENT_LIMIT,
    Features,
    Group,
    code_hyper,
    code_latents,
    dequantise,
    symbols_checksum,
    table_rows,
)
from nccli.coding.sender import CostCounter, Latents, Sender, send
from nccli.entropy import grid
from nccli.entropy.coder import IntArray, SymbolEncoder, Tables
from nccli.entropy.grid import Grid
from nccli.entropy.rate import lambda_to_rate
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LATENT_BITS, STEP_UNIT, STEP_Z_CHOICES, interpolate_anchors
from nccli.errors import FormatError
from nccli.networks.interface import Visit
from nccli.networks.products import Floats
from nccli.networks.weights import ImageWeights
from nccli.program.inputs import limit_threads
from tests.support import Pixels, Sample, analysed, setting_of


class Recorder:
    """An encoder that keeps every group's parameters, by position."""

    def __init__(self, weights: ImageWeights, latents: Latents, setting: Setting) -> None:
        grid = latents.grid
        self.sender = Sender(weights, latents, setting, CostCounter())
        self.means = np.full((weights.config.M, grid.height, grid.width), np.nan)
        self.indexes = np.full(self.means.shape, 255, np.uint8)
        self.groups = 0

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        return self.sender.hyper(tables, indexes)

    def latents(self, group: Group) -> IntArray:
        self.groups += 1
        rows, mask = slice(*group.visit.rows), group.visit.mask
        self.means[:, rows][:, mask] = group.means
        self.indexes[:, rows][:, mask] = group.indexes
        return self.sender.latents(group)


def record(weights: ImageWeights, latents: Latents, setting: Setting) -> tuple[Recorder, NDArray[np.int32]]:
    recorder = Recorder(weights, latents, setting)
    z_symbols = code_hyper(weights, latents.grid, setting.step_z, recorder)
    features = Features(weights, latents.grid, z_symbols, setting.step_z)
    walk = code_latents(weights, latents.grid, features, setting, recorder)
    return recorder, walk.y_hat


def assert_same(a: tuple[Recorder, NDArray[np.int32]], b: tuple[Recorder, NDArray[np.int32]]) -> None:
    assert not np.isnan(a[0].means).any()
    assert np.array_equal(a[0].means, b[0].means)
    assert np.array_equal(a[0].indexes, b[0].indexes)
    assert np.array_equal(a[1], b[1])


@pytest.fixture(scope="module")
def tall(weights: ImageWeights, astronaut: Pixels) -> Latents:
    """70 latent rows: more than one band."""
    column = np.ascontiguousarray(astronaut[:, 150:215])
    return analysed(weights, np.concatenate([column, column[::-1], column[:96]]))


@pytest.mark.parametrize("rows", [4, 8, 12, 64])
@pytest.mark.parametrize("lmbda", [0.002, 0.05])
def test_parameters_do_not_depend_on_the_bands(
    weights: ImageWeights, tall: Latents, monkeypatch: pytest.MonkeyPatch, rows: int, lmbda: float
) -> None:
    setting = setting_of(weights, lmbda)
    monkeypatch.setattr(grid, "BAND_ROWS", 1024)
    whole = record(weights, tall, setting)
    monkeypatch.setattr(grid, "BAND_ROWS", rows)
    banded = record(weights, tall, setting)
    assert (whole[0].groups, banded[0].groups) == (2, 2 * -(-70 // rows))
    assert_same(whole, banded)


def test_parameters_do_not_depend_on_the_threads(weights: ImageWeights, tall: Latents) -> None:
    results = []
    for threads in (1, 2):
        limit_threads(threads)
        results.append(record(weights, tall, setting_of(weights, 0.01)))
    assert_same(*results)


def test_every_position_is_coded_once_in_two_passes(weights: ImageWeights, tall: Latents) -> None:
    recorder, y_hat = record(weights, tall, setting_of(weights, 0.05))
    assert (recorder.indexes < weights.y_tables.rows).all()
    assert (recorder.indexes > 0).any()
    assert (recorder.indexes == 0).any()
    assert y_hat.dtype == np.int32


@pytest.mark.parametrize("lmbda", [0.0005, 0.01, 0.15])
@pytest.mark.parametrize("step_y", [-300, 0, 300])
def test_decoder_gets_the_encoders_latents(
    weights: ImageWeights, photo_sample: Sample, lmbda: float, step_y: int
) -> None:
    latents = photo_sample.latents
    stream = send(weights, latents, setting_of(weights, lmbda, step_y))
    assert np.array_equal(
        read_payload(weights, latents.grid, stream.setting, stream.payload).y_hat, stream.y_hat
    )


@pytest.mark.parametrize("step_z", range(7))
def test_every_step_of_z_decodes(weights: ImageWeights, small_sample: Sample, step_z: int) -> None:
    latents = small_sample.latents
    stream = send(weights, latents, replace(setting_of(weights, 0.01), step_z=step_z))
    assert np.array_equal(
        read_payload(weights, latents.grid, stream.setting, stream.payload).y_hat, stream.y_hat
    )


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 17), (17, 1), (16, 16), (63, 65), (1, 5000), (5000, 1), (129, 64)]
)
def test_odd_sizes_come_back(weights: ImageWeights, coffee: Pixels, size: tuple[int, int]) -> None:
    pixels = np.resize(coffee[100:300, 200:400], (*size, 3))
    latents = analysed(weights, pixels, 0.02)
    stream = send(weights, latents, setting_of(weights, 0.02))
    grid = Grid.of(*size)
    assert tuple(stream.y_hat.shape) == (weights.config.M, grid.height, grid.width)
    assert np.array_equal(read_payload(weights, grid, stream.setting, stream.payload).y_hat, stream.y_hat)


def test_latents_far_outside_the_density_come_back(weights: ImageWeights, small_sample: Sample) -> None:
    latents = small_sample.latents
    y, z = latents.y.copy(), latents.z.copy()
    y[::7, ::2] = 1e5
    y[3, 1] = -1e12
    z[::5] = -3e4
    z[1] = 1e12
    stream = send(weights, replace(latents, y=y, z=z), setting_of(weights, 0.01))
    assert np.array_equal(
        read_payload(weights, latents.grid, stream.setting, stream.payload).y_hat, stream.y_hat
    )
    assert int(np.abs(stream.y_hat).max()) <= LATENT_LIMIT


class Tamperer:
    """Encodes one symbol wrongly and says nothing."""

    def __init__(self, group: int) -> None:
        self.group, self.seen, self.encoder = group, 0, SymbolEncoder()

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        wrong = np.array(symbols)
        if self.seen == self.group:
            wrong[len(wrong) // 2] += 1
        self.seen += 1
        self.encoder.code(tables, indexes, wrong)
        return symbols


@pytest.mark.parametrize("group", [0, 1, 2])
def test_one_wrong_symbol_is_an_error(weights: ImageWeights, photo_sample: Sample, group: int) -> None:
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    payloads = []
    for coder in (Tamperer(group), Tamperer(99)):
        sender = Sender(weights, latents, setting, coder)
        z_symbols = code_hyper(weights, latents.grid, setting.step_z, sender)
        features = Features(weights, latents.grid, z_symbols, setting.step_z)
        walk = code_latents(weights, latents.grid, features, setting, sender)
        payloads.append(pack_payload(symbols_checksum(z_symbols), walk.checksum, coder.encoder.finish()))
    assert payloads[1] == photo_sample.stream.payload
    with pytest.raises(FormatError):
        read_payload(weights, latents.grid, setting, payloads[0])


@pytest.mark.parametrize(
    "change",
    [
        {"rate": lambda_to_rate(0.02)},
        {"rate": lambda_to_rate(0.009)},
        {"step_y": 8},
        {"step_y": -8},
    ],
)
def test_decoding_with_another_setting_is_an_error(
    weights: ImageWeights, photo_sample: Sample, change: dict[str, int]
) -> None:
    stream = photo_sample.stream
    with pytest.raises(FormatError):
        read_payload(weights, photo_sample.latents.grid, replace(stream.setting, **change), stream.payload)


def test_decoding_with_another_step_of_z_is_an_error(weights: ImageWeights, photo_sample: Sample) -> None:
    stream = photo_sample.stream
    for step_z in set(range(len(STEP_Z_CHOICES))) - {stream.setting.step_z}:
        other = replace(stream.setting, step_z=step_z)
        with pytest.raises(FormatError):
            read_payload(weights, photo_sample.latents.grid, other, stream.payload)


@pytest.mark.parametrize("change", [(1, 0), (0, 1), (-1, 0), (4, 4)])
def test_decoding_at_another_size_is_an_error(
    weights: ImageWeights, photo_sample: Sample, change: tuple[int, int]
) -> None:
    grid = photo_sample.latents.grid
    other = Grid(grid.height + change[0], grid.width + change[1])
    with pytest.raises(FormatError):
        read_payload(weights, other, photo_sample.stream.setting, photo_sample.stream.payload)


@pytest.mark.parametrize("length", [0, 1, CHECKS_BYTES - 1, CHECKS_BYTES, 10])
def test_short_payloads_are_an_error(weights: ImageWeights, photo_sample: Sample, length: int) -> None:
    stream = photo_sample.stream
    with pytest.raises(FormatError):
        read_payload(weights, photo_sample.latents.grid, stream.setting, stream.payload[:length])


def test_data_after_the_last_symbol_is_an_error(weights: ImageWeights, photo_sample: Sample) -> None:
    stream, grid = photo_sample.stream, photo_sample.latents.grid
    assert np.array_equal(
        read_payload(weights, grid, stream.setting, stream.payload + bytes(9)).y_hat, stream.y_hat
    )
    with pytest.raises(FormatError, match="after the last symbol"):
        read_payload(weights, grid, stream.setting, stream.payload + b"some more bytes")


def test_wrong_checks_are_an_error(weights: ImageWeights, small_sample: Sample) -> None:
    stream = small_sample.stream
    for place in range(CHECKS_BYTES):
        payload = bytearray(stream.payload)
        payload[place] ^= 1
        with pytest.raises(FormatError, match="checksum"):
            read_payload(weights, small_sample.latents.grid, stream.setting, bytes(payload))


def test_steps_follow_the_anchors_and_step_y(weights: ImageWeights, small_sample: Sample) -> None:
    setting = setting_of(weights, 0.01, step_y=37)
    groups: list[Group] = []

    class Keeper(Recorder):
        def latents(self, group: Group) -> IntArray:
            groups.append(group)
            return super().latents(group)

    keeper = Keeper(weights, small_sample.latents, setting)
    z_symbols = code_hyper(weights, small_sample.latents.grid, setting.step_z, keeper)
    features = Features(weights, small_sample.latents.grid, z_symbols, setting.step_z)
    code_latents(weights, small_sample.latents.grid, features, setting, keeper)
    expected = interpolate_anchors(weights.gain, setting.rate) + 37
    for group in groups:
        assert np.array_equal(group.log2_steps[:, 0], expected)
        sizes = 2.0 ** (expected / STEP_UNIT + LATENT_BITS)
        assert np.allclose(group.steps[:, 0], sizes, rtol=1e-6)


def group_of(means: Floats, steps: Floats, indexes: NDArray[np.uint8]) -> Group:
    visit = Visit((0, 1), np.ones((1, means.shape[1]), bool), (0, len(means)), 0)
    log2 = np.zeros(steps.shape, np.int64)
    return Group(visit, means, log2, steps, indexes, np.flatnonzero(indexes))


@pytest.mark.parametrize("each", [False, True])
def test_dequantise_rounds_to_fixed_point(each: bool) -> None:
    """Steps of channels, or one of every latent; what is not sent is its mean."""
    symbols = np.array([1, -1, 3, 2**30, 5, -7, 2, -(2**30)])
    steps = np.array([[100.25], [0.75]])
    means = np.array([[5.0, -9, 17, 0, 0], [1, 2, 3, 4, 0]])
    indexes = np.array([[0, 1, 9, 3, 1], [1, 2, 3, 0, 4]], np.uint8)
    expected = [[5, 91, -83, 301, 2**30], [5, -3, 5, 4, -3 * 2**28]]
    group = group_of(means, np.broadcast_to(steps, means.shape).copy() if each else steps, indexes)
    assert group.sent_steps.tolist() == [100.25] * 4 + [0.75] * 4
    assert dequantise(symbols, group).tolist() == expected
    turned = group_of(np.asfortranarray(means), group.steps, np.asfortranarray(indexes))
    assert dequantise(symbols, turned).tolist() == expected


def test_table_rows_are_those_of_the_format() -> None:
    """Twice rounded down, as docs/FORMAT.md has it."""
    random = np.random.default_rng(3)
    scales = random.integers(-(2**21), 2**21, (40, 500)).astype(np.float64)
    scales[:20] = random.integers(-(2**16), 2**17, (20, 500))
    log2 = random.integers(-900, 900, (40, 1))
    rows = (scales.astype(np.int64) // 64 - log2 + 4 + 208) // 8
    for steps in (log2, np.repeat(log2, 500, 1)):
        assert np.array_equal(table_rows(scales, steps, 91), np.clip(rows, 0, 90))


def test_grid_sizes() -> None:
    assert Grid.of(1, 1) == Grid(1, 1)
    assert Grid.of(16, 17) == Grid(1, 2)
    assert Grid.of(512, 768).hyper == (8, 12)
    assert Grid(5, 9).hyper == (2, 3)
    assert Grid(130, 1).bands() == [(0, 64), (64, 128), (128, 130)]
