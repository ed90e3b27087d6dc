from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from nccli.entropy.grid import Grid
from nccli.entropy.rate import NUM_ANCHORS, RATE_UNIT
from nccli.entropy.steps import LATENT_BITS
from nccli.networks import integer
from nccli.networks.image_model import EntropyNetwork, ImageConfig
from nccli.networks.image_parameters import ImageParameters
from nccli.networks.integer import (
    ACTIVATION_LIMIT,
    EXACT_LIMIT,
    WEIGHT_LIMIT,
    IntegerConv,
    leak,
    shuffle,
)
from nccli.networks.layers import Block, Overlap
from nccli.networks.products import Floats
from nccli.networks.weights import ImageWeights, fitting, to_integer
from nccli.program.inputs import limit_threads
from nccli.refinement.descent.differentiable import float_view

UNIT = 2**LATENT_BITS
GRID = Grid(23, 18)

Random = np.random.Generator


def integers(random: Random, limit: int, *shape: int) -> NDArray[np.int64]:
    """Uniform integers up to a limit, both ends included, the ends themselves often."""
    values = random.integers(-limit, limit + 1, shape)
    ends = np.where(random.random(shape) < 0.5, limit, -limit)
    return np.where(random.random(shape) < 0.1, ends, values)


def exact_conv(layer: IntegerConv, x: Floats) -> list[int]:
    """The layer in Python integers, which have no limit; x: (c, h, w)."""
    weight, bias, shift = layer.weight.tolist(), layer.bias.tolist(), layer.shift.tolist()
    size = layer.weight.shape[-1]
    image = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2))).astype(np.int64).tolist()
    out = []
    for kernel, offset, bits in zip(weight, bias, shift, strict=True):
        for top in range(x.shape[1]):
            for left in range(x.shape[2]):
                total = offset + sum(
                    kernel[c][i][j] * image[c][top + i][left + j]
                    for c in range(len(kernel))
                    for i in range(size)
                    for j in range(size)
                )
                total = total >> bits if bits >= 0 else total << -bits
                out.append(min(max(total, -ACTIVATION_LIMIT), ACTIVATION_LIMIT))
    return out


def shifts(count: int, shift: int) -> NDArray[np.int32]:
    return np.full(count, shift, np.int32)


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([1, 3]),
    weight_bits=st.integers(0, 24),
    shift=st.integers(-3, 40),
)
@settings(deadline=None, max_examples=60)
def test_convolution_equals_python_integers(seed: int, size: int, weight_bits: int, shift: int) -> None:
    random = np.random.default_rng(seed)
    weight = integers(random, 2**weight_bits, 3, 4, size, size).astype(np.int32)
    layer = IntegerConv(weight, integers(random, 2**45, 3), shifts(3, shift))
    x = integers(random, ACTIVATION_LIMIT, 4, 3, 4).astype(np.float64)
    result = layer(x)
    assert result.dtype == np.float64
    assert result.shape == (3, 3, 4)
    assert result.reshape(-1).astype(np.int64).tolist() == exact_conv(layer, x)


def test_convolution_is_exact_at_the_limit() -> None:
    peak = 2**31 - 1
    bias = EXACT_LIMIT - 1 - peak * ACTIVATION_LIMIT
    for sign in (1, -1):
        weight = np.full((1, 1, 1, 1), sign * peak, np.int32)
        layer = IntegerConv(weight, np.array([sign * bias]), shifts(1, 33))
        x = np.array([ACTIVATION_LIMIT, ACTIVATION_LIMIT - 1, 1, 0, -ACTIVATION_LIMIT], np.float64)
        assert layer(x[None]).reshape(-1).astype(np.int64).tolist() == exact_conv(layer, x[None, None])


def test_no_positions_are_none() -> None:
    layer = IntegerConv(np.ones((3, 2, 1, 1), np.int32), np.zeros(3, np.int64), shifts(3, 0))
    assert layer(np.empty((2, 0))).shape == (3, 0)


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        ([[1], [2**32 - 1]], [0, 2**21]),
        ([[1] * 4096], [EXACT_LIMIT - 2**33]),
        ([[2**20] * 4096], [0]),
        ([[-(2**20)] * 4096], [0]),
        ([[0]], [-EXACT_LIMIT]),
    ],
)
def test_layers_that_may_leave_the_exact_range_are_refused(weight: list[list[int]], bias: list[int]) -> None:
    kernel, offset = np.array(weight)[:, :, None, None], np.array(bias)
    with pytest.raises(ValueError, match=r"2\^53"):
        IntegerConv(kernel, offset, shifts(len(weight), 0))
    smaller = np.where(np.abs(kernel) > 1, kernel - np.sign(kernel), kernel)
    IntegerConv(smaller, offset - np.sign(offset), shifts(len(weight), 0))


def test_shifts_that_leave_the_range_of_floats_are_refused() -> None:
    for shift in (513, -513, -(2**31)):
        with pytest.raises(ValueError, match="shift"):
            IntegerConv(np.ones((1, 1, 1, 1), np.int32), np.zeros(1, np.int64), shifts(1, shift))


def test_activation_equals_python_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer, "BLOCK", 7)
    values = [*range(-40, 41), -ACTIVATION_LIMIT, ACTIVATION_LIMIT, -ACTIVATION_LIMIT + 1]
    result = np.array(values, np.float64)
    leak(result, 0.125)
    assert result.astype(np.int64).tolist() == [v if v >= 0 else v // 8 for v in values]


def test_shuffle_is_that_of_torch() -> None:
    x = np.random.default_rng(0).random((12, 3, 5))
    assert np.array_equal(shuffle(x), nn.PixelShuffle(2)(torch.from_numpy(x)).numpy())


def test_quantised_layer_uses_its_precision() -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(20, 8, 3, padding=1)
    layer = to_integer(nn.Sequential(conv))["0"]
    peaks = np.abs(layer.weight).reshape(8, -1).max(1)
    assert peaks.min() >= WEIGHT_LIMIT // 4
    assert peaks.max() < WEIGHT_LIMIT
    x = integers(np.random.default_rng(1), 4 * UNIT, 20, 9, 7).astype(np.float64)
    with torch.no_grad():
        expected = conv.double()(torch.from_numpy(x)[None] / UNIT)[0].numpy()
    assert np.abs(layer(x) / UNIT - expected).max() <= 0.75 / UNIT


def exact_of(network: EntropyNetwork, config: ImageConfig) -> ImageParameters:
    """The exact counterpart of a float network."""
    layers = to_integer(network)
    return ImageParameters(config, lambda path, layer: fitting(layers[path], path, layer))


Run = Callable[[Floats, float, Floats], list[Floats]]


def exact_run(network: ImageParameters, grid: Grid = GRID) -> Run:
    """Features, and what each pass predicts: (c', h, w), (2, M, n) twice."""

    def run(z_hat: Floats, rate: float, y_hat: Floats) -> list[Floats]:
        features = network.features(z_hat, grid.height, grid.width)
        y_first = np.array(y_hat, np.int32)
        rates = np.array([rate])
        visits = network.visits([(0, grid.height)], grid.width)
        return [features, *(np.stack(network.predict(v, features, rates, y_first)) for v in visits)]

    return run


def float_run(network: EntropyNetwork, dtype: torch.dtype, unit: int, grid: Grid = GRID) -> Run:
    """The same of a float network, in its units."""

    @torch.no_grad()
    def run(z_hat: Floats, rate: float, y_hat: Floats) -> list[Floats]:
        z, y = (torch.from_numpy(x / unit).to(dtype)[None] for x in (z_hat, y_hat))
        features = network.features(z, grid.height, grid.width)
        rates = torch.full((1, 1, grid.height, grid.width), rate / unit, dtype=dtype)
        even = torch.from_numpy(next(exact_visits(grid)))
        outputs = [
            network.first(features, rates)[0][:, even],
            network.second(features, rates, network.around(y * even))[0][:, ~even],
        ]
        return [features[0].numpy(), *(o.view(2, -1, o.shape[1]).numpy() for o in outputs)]

    return run


def exact_visits(grid: Grid) -> Iterator[NDArray[np.bool_]]:
    rows, columns = np.indices((grid.height, grid.width))
    yield (rows + columns) % 2 == 0


def test_integer_network_is_close_to_the_float_one() -> None:
    torch.manual_seed(3)
    config = ImageConfig("tiny", M=24, hyper_channels=8, hyper_width=16, context_width=8)
    network = EntropyNetwork(config)
    for head in (network.first_head, network.second_head):
        nn.init.normal_(head.weight, std=0.3)
    grid = Grid(11, 7)
    exact = exact_run(exact_of(network, config), grid)
    random = np.random.default_rng(3)
    z_hat = np.rint(random.standard_normal((8, *grid.hyper)) * 3 * UNIT)
    y_hat = np.rint(random.standard_normal((24, 11, 7)) * 2 * UNIT)
    wanted = float_run(network.double(), torch.float64, UNIT, grid)(z_hat, 2.0 * UNIT, y_hat)
    for a, b in zip(wanted, exact(z_hat, 2.0 * UNIT, y_hat), strict=True):
        assert np.abs(a).max() > 0.1
        assert np.abs(a - b / UNIT).max() < 0.01


def test_overlap_mixes_what_lies_around_a_corner_of_four_patches() -> None:
    overlap = Overlap(8)
    x = torch.rand(1, 3, 24, 32)
    assert torch.equal(overlap(x), x)
    torch.nn.init.normal_(overlap.mix.weight)
    changed = overlap(x) != x
    moved = x.clone()
    moved[0, 0, 12, 12] += 1
    reached = (overlap(moved) - overlap(x)).detach().abs() > 1e-6
    inner = torch.zeros_like(changed)
    inner[..., 4:-4, 4:-4] = True
    around = torch.zeros_like(changed)
    around[..., 12:20, 12:20] = True
    assert torch.equal(changed, inner)
    assert torch.equal(reached, around)


def test_untrained_block_is_the_identity() -> None:
    block = Block(8)
    x, anchors = torch.randn(2, 8, 5, 6), torch.full((2, NUM_ANCHORS, 1, 1), 1 / NUM_ANCHORS)
    assert torch.equal(block(x, anchors), x)


Inputs = tuple[Floats, float, Floats]


@pytest.fixture(scope="module")
def inputs(weights: ImageWeights) -> Inputs:
    """Latents of plausible size for the shipped network, float64 integers, and a rate."""
    random, config = np.random.default_rng(5), weights.config
    z_hat = random.standard_normal((config.hyper_channels, *GRID.hyper)) * 2
    y_hat = random.standard_normal((config.M, GRID.height, GRID.width)) * 2
    return np.rint(z_hat * UNIT), 5.0 * RATE_UNIT, np.rint(y_hat * UNIT)


def variants(run: Run, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Floats]]:
    """The same evaluation in ways that sum in different orders."""
    yield run(*inputs)
    for threads in (1, 2):
        limit_threads(threads)
        yield run(*inputs)
    monkeypatch.setattr(integer, "PATCH_COLUMNS", 5)
    monkeypatch.setattr(integer, "BLOCK", 100)
    yield run(*inputs)
    z_hat, rate, y_hat = inputs
    yield run(np.asfortranarray(z_hat), rate, np.asfortranarray(y_hat))


def assert_exact(run: Run, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers in float64, and the same ones in whatever order they are summed."""
    reference, *others = variants(run, inputs, monkeypatch)
    for output in reference:
        assert output.dtype == np.float64
        assert np.array_equal(output, np.floor(output))
        assert np.abs(output).max() <= ACTIVATION_LIMIT
        assert len(np.unique(output)) > 100
    for other in others:
        for a, b in zip(reference, other, strict=True):
            assert np.array_equal(a, b)


def as_float(weights: ImageWeights, dtype: torch.dtype) -> Run:
    """The shipped network as ordinary layers in fixed point's units: same weights, no rounding between.

    Of runs, every other has channels innermost in memory, so that sums are in another order.
    """
    network = float_view(weights, torch.device("cpu")).network
    assert isinstance(network, EntropyNetwork)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.bias *= UNIT
    plain = float_run(network.to(dtype), dtype, 1)
    turned = float_run(copy.deepcopy(network).to(memory_format=torch.channels_last), dtype, 1)
    runs = itertools.cycle((plain, turned))
    return lambda z_hat, rate, y_hat: next(runs)(z_hat, rate, y_hat)


def test_shipped_network_is_exact(
    weights: ImageWeights, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_exact(exact_run(weights.network), inputs, monkeypatch)


def test_float_network_would_not_be(
    weights: ImageWeights, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, ordinary = exact_run(weights.network)(*inputs), as_float(weights, torch.float32)(*inputs)
    for a, b in zip(exact, ordinary, strict=True):
        assert not np.array_equal(b, np.rint(b))
        assert not np.array_equal(a, np.rint(b))
        assert np.abs(a - b).max() < UNIT / 8
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(AssertionError):
            assert_exact(as_float(weights, dtype), inputs, monkeypatch)


def test_rounded_float_network_depends_on_the_order_of_sums(
    weights: ImageWeights, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = variants(as_float(weights, torch.float32), inputs, monkeypatch)
    distinct = {tuple(np.rint(x).tobytes() for x in r) for r in results}
    assert len(distinct) > 1


def test_bands_with_a_halo_equal_the_whole(weights: ImageWeights, inputs: Inputs) -> None:
    z_hat, rate, y_hat = inputs
    network, (height, width) = weights.network, (GRID.height, GRID.width)
    features = network.features(z_hat, height, width)
    lower = network.features(z_hat[:, 2:], height - 8, width)
    assert np.array_equal(lower[:, 8:], features[:, 16:])
    known, rates = y_hat.astype(np.int32), np.array([rate])
    whole, parts = np.zeros((2, 2, *y_hat.shape))
    for result, bands in ((whole, [(0, height)]), (parts, [(0, 8), (8, 20), (20, height)])):
        for visit in network.visits(bands, width):
            rows = slice(*visit.rows)
            found = network.predict(visit, features[:, rows].copy(), rates, known)
            result[:, :, rows][:, :, visit.mask] = np.stack(found)
    assert np.array_equal(whole, parts)


def test_the_second_pass_depends_on_the_first_alone(weights: ImageWeights, inputs: Inputs) -> None:
    """What a decoder does not know yet changes nothing; what it knows does."""
    z_hat, rate, y_hat = inputs
    even = next(exact_visits(GRID))
    run = exact_run(weights.network)
    whole, without, other = (run(z_hat, rate, y)[2] for y in (y_hat, y_hat * even, y_hat * ~even))
    assert np.array_equal(whole, without)
    assert not np.array_equal(whole, other)
