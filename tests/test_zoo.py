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

from nccli import coding, tiles
from nccli.catalogue import find
from nccli.codec import decode_bytes, encode_picture, encode_pixels, stored_setting
from nccli.coding import Grid, Group, Setting, code_group, receive
from nccli.container import SectionId, read_container
from nccli.encoding import CostCounter, Encoder, Latents, Sender, Stream, send
from nccli.entropy import SymbolEncoder
from nccli.errors import FormatError, ModelError, NccError, UnsupportedError
from nccli.metrics import psnr
from nccli.picture import Picture
from nccli.prior import gaussian_likelihood
from nccli.quantize import LOWEST_LOG2_RATIO, ROWS_PER_OCTAVE, interpolate_anchors
from nccli.rate import lambda_to_rate
from nccli.roi.field import Region
from nccli.search import Target
from nccli.tiles import Shape, analyse, reconstruct
from nccli.weights import load_model
from nccli.zoo.cache import file_name, zoo_folder
from nccli.zoo.convert import convert, float_network, natural_steps
from nccli.zoo.names import LAMBDAS, zoo_models
from nccli.zoo.network import IntegerLogScale, ZooConfig, log2_thresholds
from tests import reference_zoo
from tests.support import Pixels, frozen, resealed
from tests.zoo_support import STEMS, M, N, Small, as_weights, make_net, make_small, model_of, oracle, trained

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
        self._generator = torch.Generator().manual_seed(5)
        self._counter, self._small = coder, small
        self.hyper_bits = 0.0
        self.groups: list[Group] = []

    def hyper(self, tables, indexes):
        symbols = super().hyper(tables, indexes)
        self.hyper_bits = self._counter.bits
        return symbols

    def latents(self, group: Group) -> Tensor:
        self.groups.append(group)
        ratios = torch.exp2(group.indexes.flatten()[group.sent] / ROWS_PER_OCTAVE + LOWEST_LOG2_RATIO)
        drawn = torch.randn(len(group.sent), generator=self._generator) * ratios
        return code_group(self._small.weights.y_tables, self._counter, group, drawn.round().double())


@dataclass(frozen=True)
class Drawn:
    sampler: Sampler
    bits: float
    y_hat: Tensor
    z_hat: Tensor


def draw(small: Small, face: Pixels, setting: Setting) -> Drawn:
    """A walk with drawn symbols; latents as floats."""
    latents = analyse(small.weights, face)
    counter = CostCounter()
    sampler = Sampler(small, latents, setting, counter)
    walk, _ = Encoder(small.weights, latents).walk(setting, sampler)
    z_hat = latents.z.round() + small.weights.h_a.median
    return Drawn(sampler, counter.bits, walk.y_hat.float()[None] / UNIT, z_hat[None])


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
        rows, mask = slice(*group.rows), group.mask
        difference = group.means / UNIT - means[0][:, rows][:, mask]
        assert difference.abs().max() < 0.01 if difference.numel() else True
        log2 = scales[0][:, rows][:, mask].clamp_min(0.11).log2()
        expected = (log2 - LOWEST_LOG2_RATIO) * ROWS_PER_OCTAVE
        wide = expected > ROWS_PER_OCTAVE
        assert (group.indexes - expected)[wide].abs().max() < 0.7 if wide.any() else True


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
    z = ((drawn.z_hat - small.weights.h_a.median) * UNIT).round().double()
    features = network.features(z, *drawn.y_hat.shape[2:])
    means = network.dense(features, (drawn.y_hat * UNIT).round().double())[0].chunk(2)[0]
    for group in drawn.sampler.groups:
        assert torch.equal(group.means, means[:, slice(*group.rows)][:, group.mask])


def test_every_position_is_visited_once_after_its_neighbours(smalls: dict[str, Small]) -> None:
    for small in smalls.values():
        grid, network = Grid(9, 7), small.weights.network
        seen = torch.zeros(9, 7, dtype=torch.int64)
        for number, visit in enumerate(network.visits([(0, 4), (4, 8), (8, 9)], grid.width)):
            for row, column in (visit.mask.nonzero() + torch.tensor([visit.rows[0], 0])).tolist():
                assert seen[row, column] == 0
                if small.model.architecture.autoregressive:
                    above = seen[max(row - 2, 0) : row, max(column - 2, 0) : column + 3]
                    assert (above > 0).all()
                    assert (above <= number).all()
                    assert (seen[row, max(column - 2, 0) : column] > 0).all()
                seen[row, column] = number + 1
        assert (seen > 0).all()


def test_round_trip_is_exact_whatever_the_threads(small: Small, face: Pixels) -> None:
    latents = analyse(small.weights, face)
    streams: list[Stream] = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        streams.append(send(small.weights, latents, natural(small, 10, 4)))
        y_hat = receive(small.weights, latents.grid, natural(small, 10, 4), streams[0].payload)
        assert torch.equal(y_hat, streams[0].y_hat)
    assert {stream.payload for stream in streams} == {streams[0].payload}


def test_bands_change_the_order_alone(small: Small, face: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = analyse(small.weights, face)
    whole = send(small.weights, latents, natural(small))
    monkeypatch.setattr(coding, "BAND_ROWS", 4)
    assert len(latents.grid.bands()) == 2
    banded = send(small.weights, latents, natural(small))
    assert torch.equal(banded.y_hat, whole.y_hat)
    assert torch.equal(receive(small.weights, latents.grid, natural(small), banded.payload), whole.y_hat)


def test_tiles_join_without_seams(small: Small, chelsea: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = chelsea[:300, :451]
    shape = Shape(300, 451, depth=16)
    whole = analyse(small.weights, pixels)
    setting = natural(small)
    y_hat = send(small.weights, whole, setting).y_hat
    picture = reconstruct(small.weights, y_hat, setting.field(whole.grid), shape)
    monkeypatch.setattr(tiles, "TILE_ROWS", 8)
    monkeypatch.setattr(tiles, "TILE_COLUMNS", 12)
    parts = analyse(small.weights, pixels)
    assert torch.allclose(parts.y, whole.y, atol=2e-3)
    assert torch.allclose(parts.z, whole.z, atol=2e-3)
    tiled = reconstruct(small.weights, y_hat, setting.field(whole.grid), shape)
    assert np.abs(tiled.astype(int) - picture).max() <= 4


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (1, 1), (1, 90), (90, 17)])
def test_files_of_any_size(installed: Small, chelsea: Pixels, size: tuple[int, int]) -> None:
    pixels = chelsea[: size[0], : size[1]]
    encoded = encode_pixels(pixels, Target(lmbda=0.01), installed.model.name, "cpu")
    decoded = decode_bytes(encoded.data, "cpu", pixels)
    assert decoded.pixels.shape == pixels.shape
    assert decoded.report.psnr == encoded.report.psnr
    assert decoded.report.model == installed.model.name
    assert read_container(encoded.data).header.model_id == installed.model.id


@pytest.mark.parametrize("size", [(64, 64), (90, 17)])
def test_the_second_decoder_agrees(installed: Small, chelsea: Pixels, size: tuple[int, int]) -> None:
    """Written from the format's description, in integers alone."""
    pixels = chelsea[: size[0], : size[1]]
    data = encode_pixels(pixels, Target(lmbda=0.02), installed.model.name, "cpu", measure=False).data
    container = read_container(data)
    y_hat = receive(
        load_model(find(installed.model.name), "cpu"),
        Grid.of(*size),
        stored_setting(container),
        container.section(SectionId.LATENTS),
    )
    theirs = reference_zoo.decode_y_hat(data, Path(find(installed.model.name).file))
    assert np.array_equal(y_hat.numpy(), theirs)


def test_own_lambda_means_steps_of_one() -> None:
    for model in zoo_models():
        gain = natural_steps(model.lmbda)
        assert (np.diff(gain) == -56).all()
        own = lambda_to_rate(model.lmbda)
        assert interpolate_anchors(gain[:, None], own)[0] == 0
        assert interpolate_anchors(gain[:, None], own - 4096)[0] in (32, 31) or own < 8192
    assert len(LAMBDAS) == 8


def test_a_region_is_better_than_the_rest(smalls: dict[str, Small], face: Pixels) -> None:
    small = smalls["mbt2018-4"]
    levels = np.zeros((6, 8), np.uint8)
    levels[2:5, 2:5] = 1
    setting = natural(small, region=Region(levels, 1, 0, 0, 4 * 64))
    latents = analyse(small.weights, face)
    stream = send(small.weights, latents, setting)
    assert torch.equal(receive(small.weights, latents.grid, setting, stream.payload), stream.y_hat)
    error = (stream.y_hat / UNIT - latents.y).abs().mean(0)
    inside = torch.from_numpy(levels.astype(bool))
    assert float(error[~inside].mean()) > 1.5 * float(error[inside].mean())
    assert len(stream.payload) < 0.7 * len(send(small.weights, latents, natural(small)).payload)


def test_damaged_payloads_are_refused(small: Small, face: Pixels) -> None:
    latents = analyse(small.weights, face)
    payload = send(small.weights, latents, natural(small)).payload
    generator = np.random.default_rng(1)
    for cut in (0, 2, 3, 7, len(payload) // 2, len(payload) - 4):
        with pytest.raises(FormatError):
            receive(small.weights, latents.grid, natural(small), payload[:cut])
    for _ in range(8):
        damaged = bytearray(payload)
        damaged[generator.integers(len(payload))] ^= 1 << generator.integers(8)
        with pytest.raises(FormatError):
            receive(small.weights, latents.grid, natural(small), bytes(damaged))


def test_files_for_weights_that_are_not_here(installed: Small, face: Pixels) -> None:
    data = encode_pixels(face, Target(lmbda=0.01), installed.model.name, "cpu", measure=False).data
    other = bytearray(data)
    other[10] ^= 1
    with pytest.raises(UnsupportedError, match="here are"):
        decode_bytes(resealed(bytes(other)), "cpu")
    shutil.rmtree(zoo_folder())
    with pytest.raises(UnsupportedError, match=f"ncc models fetch {installed.model.name}"):
        decode_bytes(data, "cpu")
    with pytest.raises(ModelError, match=f"ncc models fetch {installed.model.name}"):
        encode_pixels(face, Target(lmbda=0.01), installed.model.name, "cpu")
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


@pytest.mark.parametrize("keep", [0, 7, 100, 5000, -100])
def test_truncated_weights_are_refused(smalls: dict[str, Small], tmp_path: Path, keep: int) -> None:
    small = smalls["mbt2018-mean-3"]
    with pytest.raises(ModelError):
        as_weights(small.model, small.data[:keep], tmp_path)


def test_weights_that_do_not_fit_are_refused(smalls: dict[str, Small], tmp_path: Path) -> None:
    small = smalls["mbt2018-mean-3"]
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
    scales = torch.tensor([0, 450, 451, 452, 4095, 4096, 4097, 8191, 8192, 2**20, 2**24, 2**25])
    log2 = IntegerLogScale()(scales.double()) / 64
    units = []
    for scale in scales.clamp(451, 2**24).tolist():
        power = scale**64
        unit = -210
        while power >= 1 << (768 + unit + 1):
            unit += 1
        units.append(unit)
    assert log2.tolist() == units


def test_conversion_depends_on_the_checkpoint_alone(smalls: dict[str, Small]) -> None:
    small = smalls["cheng2020-anchor-3"]
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
        len(encode_pixels(face, Target(lmbda=lmbda), learned.model.name, "cpu", measure=False).data)
        for lmbda in (0.001, 0.1)
    ]
    wanted = sum(sizes) // 2
    data = encode_pixels(face, Target(size=wanted), learned.model.name, "cpu", measure=False).data
    assert wanted - 6 <= len(data) <= wanted


def test_a_psnr_is_met(learned: Small, face: Pixels) -> None:
    ends = [
        encode_pixels(face, Target(lmbda=lmbda), learned.model.name, "cpu").report.psnr or 0
        for lmbda in (0.001, 0.1)
    ]
    assert ends[1] > ends[0] + 0.5
    wanted = sum(ends) / 2
    encoded = encode_picture(Picture(face), Target(psnr=wanted), learned.model.name, "cpu")
    decoded = decode_bytes(encoded.data, "cpu", face)
    assert wanted <= psnr(face, decoded.pixels) < wanted + 0.25


def test_one_coder_for_all(learned: Small, face: Pixels) -> None:
    """A stream begun for z goes on with y: nothing of the zoo writes another kind of stream."""
    latents = analyse(learned.weights, face)
    encoder, coder = Encoder(learned.weights, latents), SymbolEncoder()
    stream = encoder.transmit(
        natural(learned), Sender(learned.weights, latents, natural(learned), coder), coder
    )
    assert stream.payload == send(learned.weights, latents, natural(learned)).payload
    assert M == learned.weights.config.M
