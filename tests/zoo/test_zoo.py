"""Networks of the zoo, coded: against CompressAI's own, on every schedule, with bad files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import nccli
from nccli.catalogue.entries import find
from nccli.catalogue.load import load_model
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.coding import tiles
from nccli.coding.payload import read_payload
from nccli.coding.schedule import Group
from nccli.coding.sender import CostCounter, Encoder, Latents, Sender, Stream, send
from nccli.coding.tiles import Shape, reconstruct
from nccli.container.image_file import read_image
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_setting
from nccli.entropy import grid
from nccli.entropy.coder import IntArray
from nccli.entropy.grid import Grid
from nccli.entropy.rate import lambda_to_rate
from nccli.entropy.region import Region
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LOWEST_LOG2_RATIO, ROWS_PER_OCTAVE
from nccli.errors import FormatError, ModelError, UnsupportedError
from nccli.networks.interface import Visit
from nccli.networks.prior import gaussian_likelihood
from nccli.program.inputs import limit_threads
from nccli.zoo.cache import file_name, zoo_folder
from nccli.zoo.convert import float_network
from nccli.zoo.zoo_parameters import ZooConfig
from tests import reference_zoo
from tests.support import Pixels, analysed, frozen, resealed
from tests.support.zoo import STEMS, N, Small, make_small, oracle

UNIT = 2**12


@pytest.fixture(scope="module")
def face(astronaut: Pixels) -> Pixels:
    return frozen(astronaut[60:156, 150:278])


@pytest.fixture(scope="module")
def smalls(face: Pixels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Small]:
    folder = tmp_path_factory.mktemp("zoo")
    return {stem: make_small(stem, face, folder) for stem in STEMS}


@pytest.fixture(params=STEMS)
def small(request: pytest.FixtureRequest, smalls: dict[str, Small]) -> Small:
    return smalls[request.param]


@pytest.fixture
def installed(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A small network in the user's cache folder."""
    monkeypatch.setenv("NCC_CACHE", str(tmp_path))
    zoo_folder().mkdir(parents=True)
    (zoo_folder() / file_name(small.model, hashlib.sha256(small.data).hexdigest())).write_bytes(small.data)
    return small


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def natural(small: Small, step_y: int = 0, step_z: int = 3, region: Region | None = None) -> Setting:
    return Setting(lambda_to_rate(small.model.lmbda), step_y, step_z, region)


class Sampler(Sender):
    """Draws symbols as the network predicts them, so that its own bits are the expected ones."""

    def __init__(self, small: Small, latents: Latents, setting: Setting, coder: CostCounter) -> None:
        super().__init__(small.weights, latents, setting, coder)
        self._random = np.random.default_rng(5)
        self._counter, self._small = coder, small
        self.hyper_bits = 0.0
        self.groups: list[Group] = []

    def hyper(self, tables, indexes):
        symbols = super().hyper(tables, indexes)
        self.hyper_bits = self._counter.bits
        return symbols

    def latents(self, group: Group) -> IntArray:
        self.groups.append(group)
        ratios = np.exp2(group.sent_indexes / ROWS_PER_OCTAVE + LOWEST_LOG2_RATIO)
        drawn = np.rint(self._random.standard_normal(len(group.sent)) * ratios).astype(np.int32)
        return self._counter.code(self._small.weights.y_tables, group.sent_indexes, drawn)


@dataclass(frozen=True)
class Drawn:
    sampler: Sampler
    bits: float
    y_hat: Tensor
    z_hat: Tensor


def draw(small: Small, face: Pixels, setting: Setting) -> Drawn:
    """A walk with drawn symbols; latents as floats."""
    latents = analysed(small.weights, face)
    counter = CostCounter()
    sampler = Sampler(small, latents, setting, counter)
    walk, _ = Encoder(small.weights, lambda _: latents).walk(setting, sampler)
    z_hat = torch.from_numpy(np.rint(latents.z)) + small.weights.h_a.median
    return Drawn(sampler, counter.bits, torch.from_numpy(walk.y_hat).float()[None] / UNIT, z_hat[None])


def test_bits_are_those_of_compressai(small: Small, face: Pixels) -> None:
    drawn = draw(small, face, natural(small))
    _, _, y_bits, z_bits = oracle(small, drawn.y_hat, drawn.z_hat)
    hyper = drawn.sampler.hyper_bits
    assert z_bits > 100
    assert y_bits > 1000
    assert abs(hyper - z_bits) < 0.02 * z_bits
    assert abs(drawn.bits - hyper - y_bits) < 0.015 * y_bits


def test_means_and_scales_are_those_of_compressai(small: Small, face: Pixels) -> None:
    drawn = draw(small, face, natural(small))
    scales, means, _, _ = oracle(small, drawn.y_hat, drawn.z_hat)
    for group in drawn.sampler.groups:
        rows, mask = slice(*group.visit.rows), torch.from_numpy(group.visit.mask)
        difference = torch.from_numpy(group.means) / UNIT - means[0][:, rows][:, mask]
        assert difference.abs().max() < 0.01 if difference.numel() else True
        log2 = scales[0][:, rows][:, mask].clamp_min(0.11).log2()
        expected = (log2 - LOWEST_LOG2_RATIO) * ROWS_PER_OCTAVE
        wide = expected > ROWS_PER_OCTAVE
        assert (torch.from_numpy(group.indexes) - expected)[wide].abs().max() < 0.7 if wide.any() else True


@pytest.mark.parametrize("step_y", [-96, 64])
def test_bits_at_other_steps_are_those_of_the_density(small: Small, face: Pixels, step_y: int) -> None:
    drawn = draw(small, face, natural(small, step_y))
    scales, means, _, _ = oracle(small, drawn.y_hat, drawn.z_hat)
    step = torch.tensor(2.0 ** (step_y / 64))
    likelihood = gaussian_likelihood(drawn.y_hat - means, scales.clamp_min(0.11), step)
    bits = float(-likelihood.clamp_min(1e-9).log2().sum())
    assert abs(drawn.bits - drawn.sampler.hyper_bits - bits) < 0.02 * bits


def test_float_form_equals_compressai(small: Small, face: Pixels) -> None:
    config = ZooConfig(small.model.architecture.name, small.model.quality, N, small.weights.config.M)
    network = float_network(config, small.net)
    drawn = draw(small, face, natural(small))
    scales, means, _, _ = oracle(small, drawn.y_hat, drawn.z_hat)
    z = drawn.z_hat - small.weights.h_a.median
    features = network.features(z, *drawn.y_hat.shape[2:])
    ours = network.dense(features, drawn.y_hat).chunk(2, 1)
    assert torch.allclose(ours[0], means, atol=1e-3)
    assert torch.allclose(torch.exp2(ours[1]), scales.clamp_min(0.11), atol=1e-3)


def test_all_positions_at_once_give_the_same_integers(small: Small, face: Pixels) -> None:
    drawn = draw(small, face, natural(small))
    network = small.weights.network
    z = ((drawn.z_hat[0] - small.weights.h_a.median) * UNIT).round().double().numpy()
    y_hat = (drawn.y_hat[0] * UNIT).round().numpy().astype(np.int32)
    features = network.features(z, *y_hat.shape[1:])
    everywhere = Visit((0, y_hat.shape[1]), np.ones(y_hat.shape[1:], bool), (0, len(y_hat)), 0)
    means = network.predict(everywhere, features, np.zeros(1), y_hat)[0].reshape(y_hat.shape)
    for group in drawn.sampler.groups:
        assert np.array_equal(group.means, means[:, slice(*group.visit.rows)][:, group.visit.mask])


def test_every_position_is_visited_once_after_its_neighbours(smalls: dict[str, Small]) -> None:
    for small in smalls.values():
        grid, network = Grid(9, 7), small.weights.network
        seen = np.zeros((9, 7), np.int64)
        for number, visit in enumerate(network.visits([(0, 4), (4, 8), (8, 9)], grid.width)):
            for row, column in (np.argwhere(visit.mask) + np.array([visit.rows[0], 0])).tolist():
                assert seen[row, column] == 0
                if small.model.architecture.autoregressive:
                    above = seen[max(row - 2, 0) : row, max(column - 2, 0) : column + 3]
                    assert (above > 0).all()
                    assert (above <= number).all()
                    assert (seen[row, max(column - 2, 0) : column] > 0).all()
                seen[row, column] = number + 1
        assert (seen > 0).all()


def test_round_trip_is_exact_whatever_the_threads(small: Small, face: Pixels) -> None:
    latents = analysed(small.weights, face)
    streams: list[Stream] = []
    for threads in (1, 2, 4):
        limit_threads(threads)
        streams.append(send(small.weights, latents, natural(small, 10, 4)))
        y_hat = read_payload(small.weights, latents.grid, natural(small, 10, 4), streams[0].payload).y_hat
        assert np.array_equal(y_hat, streams[0].y_hat)
    assert {stream.payload for stream in streams} == {streams[0].payload}


def test_bands_change_the_order_alone(small: Small, face: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = analysed(small.weights, face)
    whole = send(small.weights, latents, natural(small))
    monkeypatch.setattr(grid, "BAND_ROWS", 4)
    assert len(latents.grid.bands()) == 2
    banded = send(small.weights, latents, natural(small))
    assert np.array_equal(banded.y_hat, whole.y_hat)
    assert np.array_equal(
        read_payload(small.weights, latents.grid, natural(small), banded.payload).y_hat, whole.y_hat
    )


def test_tiles_join_without_seams(small: Small, chelsea: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = chelsea[:300, :451]
    shape = Shape(300, 451, depth=16)
    whole = analysed(small.weights, pixels)
    setting = natural(small)
    y_hat = send(small.weights, whole, setting).y_hat
    picture = reconstruct(small.weights, y_hat, setting.field(whole.grid), shape)
    monkeypatch.setattr(tiles, "TILE_ROWS", 8)
    monkeypatch.setattr(tiles, "TILE_COLUMNS", 12)
    parts = analysed(small.weights, pixels)
    assert np.allclose(parts.y, whole.y, atol=2e-3)
    assert np.allclose(parts.z, whole.z, atol=2e-3)
    tiled = reconstruct(small.weights, y_hat, setting.field(whole.grid), shape)
    assert np.abs(tiled.astype(int) - picture).max() <= 4


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 1), (1, 90), (90, 17)])
def test_files_of_any_size(installed: Small, chelsea: Pixels, size: tuple[int, int]) -> None:
    pixels = chelsea[: size[0], : size[1]]
    encoded = encode_pixels(pixels, Encoding(Rate(lmbda=0.01), installed.model.name, "cpu"))
    decoded = decode_bytes(encoded.data, "cpu", pixels)
    assert decoded.pixels.shape == pixels.shape
    assert decoded.report.psnr == encoded.report.psnr
    assert decoded.report.model == installed.model.name
    assert read_image(encoded.data).header.model_id == installed.model.id


@pytest.mark.parametrize("size", [(70, 16), (70, 17), (90, 32), (90, 33), (16, 90)])
def test_regions_in_narrow_pictures(installed: Small, chelsea: Pixels, size: tuple[int, int]) -> None:
    """Diagonals step over three columns, so that some are empty where there are fewer."""
    pixels = chelsea[: size[0], : size[1]]
    encoded = nccli.encode(pixels, model=installed.model.name, device="cpu", measure=True, roi="0,0,9,9")
    decoded = decode_bytes(encoded.data, "cpu", pixels)
    assert decoded.report.psnr == encoded.report.psnr
    assert decoded.report.roi is not None


@pytest.mark.parametrize("size", [(64, 64), (90, 17)])
def test_the_second_decoder_agrees(installed: Small, chelsea: Pixels, size: tuple[int, int]) -> None:
    """Written from the format's description, in integers alone."""
    pixels = chelsea[: size[0], : size[1]]
    data = encode_pixels(pixels, Encoding(Rate(lmbda=0.02), installed.model.name, "cpu", measure=False)).data
    container = read_image(data)
    y_hat = read_payload(
        load_model(find(installed.model.name), "cpu"),
        Grid.of(*size),
        stored_setting(container),
        container.section(SectionId.LATENTS),
    ).y_hat
    theirs = reference_zoo.decode_y_hat(data, Path(find(installed.model.name).file))
    assert np.array_equal(y_hat, theirs)


def test_damaged_payloads_are_refused(small: Small, face: Pixels) -> None:
    latents = analysed(small.weights, face)
    payload = send(small.weights, latents, natural(small)).payload
    generator = np.random.default_rng(1)
    for cut in (0, 2, 3, 7, len(payload) // 2, len(payload) - 4):
        with pytest.raises(FormatError):
            read_payload(small.weights, latents.grid, natural(small), payload[:cut])
    for _ in range(8):
        damaged = bytearray(payload)
        damaged[generator.integers(len(payload))] ^= 1 << generator.integers(8)
        with pytest.raises(FormatError):
            read_payload(small.weights, latents.grid, natural(small), bytes(damaged))


def test_files_for_weights_that_are_not_here(installed: Small, face: Pixels) -> None:
    data = encode_pixels(face, Encoding(Rate(lmbda=0.01), installed.model.name, "cpu", measure=False)).data
    other = bytearray(data)
    other[10] ^= 1
    with pytest.raises(UnsupportedError, match="here are"):
        decode_bytes(resealed(bytes(other)), "cpu")
    shutil.rmtree(zoo_folder())
    with pytest.raises(UnsupportedError, match=f"ncc models fetch {installed.model.name}"):
        decode_bytes(data, "cpu")
    with pytest.raises(ModelError, match=f"ncc models fetch {installed.model.name}"):
        encode_pixels(face, Encoding(Rate(lmbda=0.01), installed.model.name, "cpu"))
    with pytest.raises(ModelError, match="there are: zoo:"):
        find("zoo:nothing-1")
    unknown = bytearray(data)
    unknown[8:10] = b"\xff\x80"
    with pytest.raises(UnsupportedError, match="33023"):
        decode_bytes(resealed(bytes(unknown)), "cpu")


def test_damaged_weights_are_refused(installed: Small) -> None:
    entry = find(installed.model.name)
    path = Path(entry.file)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"damaged.*ncc models fetch"):
        load_model(replace(entry, about="not loaded before"), "cpu")
