from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nccli.entropy.grid import Grid
from nccli.entropy.rate import NUM_ANCHORS, RATE_UNIT
from nccli.entropy.steps import LATENT_BITS
from nccli.networks.image_model import EntropyNetwork, ImageConfig
from nccli.networks.integer import (
    ACTIVATION_LIMIT,
    EXACT_LIMIT,
    WEIGHT_LIMIT,
    IntegerActivation,
    IntegerConv2d,
    to_integer,
)
from nccli.networks.layers import Activation, Block, Overlap
from nccli.networks.weights import ImageWeights

UNIT = 2**LATENT_BITS
GRID = Grid(23, 18)

pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")


def integers(generator: torch.Generator, limit: int, *shape: int) -> Tensor:
    """Uniform integers up to a limit, both ends included, the ends themselves often."""
    values = torch.randint(-limit, limit + 1, shape, generator=generator)
    ends = torch.where(torch.rand(shape, generator=generator) < 0.5, limit, -limit)
    return torch.where(torch.rand(shape, generator=generator) < 0.1, ends, values)


def exact_conv(layer: IntegerConv2d, x: Tensor) -> list[int]:
    """The layer in Python integers, which have no limit."""
    weight, bias, shift = layer.weight.tolist(), layer.bias.tolist(), layer.shift.tolist()
    size = layer.weight.shape[-1]
    padded = nn.functional.pad(x, [size // 2] * 4)
    image = [[[int(v) for v in row] for row in plane] for plane in padded[0].tolist()]
    out = []
    for kernel, offset, bits in zip(weight, bias, shift, strict=True):
        for top in range(x.shape[2]):
            for left in range(x.shape[3]):
                total = offset + sum(
                    kernel[c][i][j] * image[c][top + i][left + j]
                    for c in range(len(kernel))
                    for i in range(size)
                    for j in range(size)
                )
                total = total >> bits if bits >= 0 else total << -bits
                out.append(min(max(total, -ACTIVATION_LIMIT), ACTIVATION_LIMIT))
    return out


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([1, 3]),
    weight_bits=st.integers(0, 24),
    shift=st.integers(-3, 40),
)
@settings(deadline=None, max_examples=60)
def test_convolution_equals_python_integers(seed: int, size: int, weight_bits: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = integers(generator, 2**weight_bits, 3, 4, size, size).int()
    bias = integers(generator, 2**45, 3)
    layer = IntegerConv2d(weight, bias, torch.full((3,), shift, dtype=torch.int32))
    x = integers(generator, ACTIVATION_LIMIT, 1, 4, 3, 4)
    result = layer(x.double())
    assert result.dtype == torch.float64
    assert result.flatten().long().tolist() == exact_conv(layer, x)


def test_convolution_is_exact_at_the_limit() -> None:
    peak = 2**31 - 1
    bias = EXACT_LIMIT - 1 - peak * ACTIVATION_LIMIT
    for sign in (1, -1):
        layer = IntegerConv2d(
            torch.full((1, 1, 1, 1), sign * peak, dtype=torch.int32),
            torch.tensor([sign * bias]),
            torch.tensor([33], dtype=torch.int32),
        )
        x = torch.tensor([ACTIVATION_LIMIT, ACTIVATION_LIMIT - 1, 1, 0, -ACTIVATION_LIMIT])[None, None, None]
        assert layer(x.double()).flatten().long().tolist() == exact_conv(layer, x)


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
    kernel = torch.tensor(weight)[:, :, None, None]
    shift = torch.zeros(len(weight), dtype=torch.int32)
    with pytest.raises(ValueError, match=r"2\^53"):
        IntegerConv2d(kernel, torch.tensor(bias), shift)
    less = torch.tensor(bias) - torch.tensor(bias).sign()
    smaller = torch.where(kernel.abs() > 1, kernel - kernel.sign(), kernel)
    IntegerConv2d(smaller, less, shift)


def test_activation_equals_python_integers() -> None:
    values = [*range(-40, 41), -ACTIVATION_LIMIT, ACTIVATION_LIMIT, -ACTIVATION_LIMIT + 1]
    result = IntegerActivation()(torch.tensor(values, dtype=torch.float64))
    assert result.long().tolist() == [v if v >= 0 else v // 8 for v in values]


def test_quantised_layer_uses_its_precision() -> None:
    generator = torch.Generator().manual_seed(1)
    conv = nn.Conv2d(20, 8, 3, padding=1)
    layer = IntegerConv2d.from_float(conv)
    peaks = layer.weight.abs().flatten(1).amax(1)
    assert int(peaks.min()) >= WEIGHT_LIMIT // 4
    assert int(peaks.max()) < WEIGHT_LIMIT
    x = integers(generator, 4 * UNIT, 2, 20, 9, 7)
    expected = conv.double()(x.double() / UNIT)
    assert (layer(x.double()) / UNIT - expected).abs().max() <= 0.75 / UNIT


def test_integer_network_is_close_to_the_float_one() -> None:
    torch.manual_seed(3)
    network = EntropyNetwork(ImageConfig("tiny", M=24, hyper_channels=8, hyper_width=16, context_width=8))
    for head in (network.first_head, network.second_head):
        nn.init.normal_(head.weight, std=0.3)
    exact = to_integer(network)
    assert not any(isinstance(m, (nn.Conv2d, Activation)) for m in exact.modules())
    z_hat = torch.round(torch.randn(1, 8, 3, 2) * 3 * UNIT)
    y_first = torch.round(torch.randn(1, 24, 11, 7) * 2 * UNIT)
    rate = torch.full((1, 1, 11, 7), 2.0 * UNIT)
    with torch.no_grad():
        wanted = run(network.double(), z_hat.double() / UNIT, rate.double() / UNIT, y_first.double() / UNIT)
        found = run(exact, z_hat.double(), rate.double(), y_first.double())
    for a, b in zip(wanted, found, strict=True):
        assert float(a.abs().max()) > 0.1
        assert (a - b / UNIT).abs().max() < 0.01


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


def run(network: nn.Module, z_hat: Tensor, rate: Tensor, y_first: Tensor) -> tuple[Tensor, ...]:
    """Every part of the entropy network: features, both heads, context."""
    features = network.features(z_hat, *rate.shape[2:])
    around = network.around(y_first)
    return features, network.first(features, rate), around, network.second(features, rate, around)


@pytest.fixture(scope="module")
def inputs(weights: ImageWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of plausible size for the shipped network, float64 integers."""
    generator = torch.Generator().manual_seed(5)
    config = weights.config
    z_hat = torch.randn(1, config.hyper_channels, *GRID.hyper, generator=generator) * 2
    y_first = torch.randn(1, config.M, GRID.height, GRID.width, generator=generator) * 2
    rate = torch.full((1, 1, GRID.height, GRID.width), 5.0 * RATE_UNIT)
    return torch.round(z_hat.double() * UNIT), rate.double(), torch.round(y_first.double() * UNIT)


def variants(
    network: nn.Module, z_hat: Tensor, rate: Tensor, y_first: Tensor
) -> Iterator[tuple[Tensor, ...]]:
    """The same evaluation in ways that sum in different orders."""
    whole = run(network, z_hat, rate, y_first)
    yield whole
    torch.set_num_threads(1)
    yield run(network, z_hat, rate, y_first)
    torch.set_num_threads(2)
    yield run(network, z_hat, rate, y_first)
    last = torch.channels_last
    yield run(network, *(t.contiguous(memory_format=last) for t in (z_hat, rate, y_first)))
    batched = run(network, *(torch.cat([t, t.flip(2), t]) for t in (z_hat, rate, y_first)))
    yield tuple(t[2:] for t in batched)
    with torch.backends.mkldnn.flags(enabled=False):
        yield run(network, z_hat, rate, y_first)
    features, _, around, _ = whole
    yield features, *_in_parts(network, features, rate, around)


def _in_parts(network: nn.Module, features: Tensor, rate: Tensor, around: Tensor) -> tuple[Tensor, ...]:
    """Heads on a few positions at a time, as in coding."""
    flat = [t.flatten(2)[:, :, None] for t in (features, rate, around)]
    pieces = [torch.split(t, 5, dim=3) for t in flat]
    firsts, seconds = [], []
    for f, r, a in zip(*pieces, strict=True):
        firsts.append(network.first(f, r))
        seconds.append(network.second(f, r, a))
    shape = (1, -1, *features.shape[2:])
    first, second = (torch.cat(parts, 3).reshape(shape) for parts in (firsts, seconds))
    return first, around, second


def assert_exact(network: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """Integers in float64, and the same ones in whatever order they are summed."""
    with torch.no_grad():
        reference, *others = variants(network, *inputs)
    for output in reference:
        assert output.dtype == torch.float64
        assert torch.equal(output, output.floor())
        assert float(output.abs().max()) <= ACTIVATION_LIMIT
        assert len(output.unique()) > 100
    for other in others:
        for a, b in zip(reference, other, strict=True):
            assert torch.equal(a, b)


def as_float(network: nn.Module) -> nn.Module:
    """The shipped network as ordinary float32 layers: same weights, no rounding between layers."""
    network = copy.deepcopy(network)
    for path, module in list(network.named_modules()):
        parent = network.get_submodule(path.rpartition(".")[0])
        if isinstance(module, IntegerConv2d):
            c_out, c_in, size, _ = module.weight.shape
            conv = nn.Conv2d(c_in, c_out, size, padding=size // 2)
            scale = torch.pow(2.0, -module.shift.double())
            conv.weight.data = (module.weight * scale[:, None, None, None]).float()
            conv.bias.data = (module.bias * scale - 0.5).float()
            setattr(parent, path.rpartition(".")[2], conv)
        elif isinstance(module, IntegerActivation):
            setattr(parent, path.rpartition(".")[2], Activation())
    return network


def test_shipped_network_is_exact(weights: ImageWeights, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    assert_exact(weights.network, inputs)


def test_float_network_would_not_be(weights: ImageWeights, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    network = as_float(weights.network)
    floats = tuple(t.float() for t in inputs)
    with torch.no_grad():
        exact = run(weights.network, *inputs)
        ordinary = run(network, *floats)
    for a, b in zip(exact, ordinary, strict=True):
        assert not torch.equal(b, b.round())
        assert not torch.equal(a, b.round().double())
        assert (a - b).abs().max() < UNIT / 8
    with pytest.raises(AssertionError):
        assert_exact(network, floats)
    with pytest.raises(AssertionError):
        assert_exact(network.double(), inputs)


def test_rounded_float_network_depends_on_the_order_of_sums(
    weights: ImageWeights, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    network = as_float(weights.network)
    with torch.no_grad():
        results = [[t.round() for t in r] for r in variants(network, *(t.float() for t in inputs))]
    distinct = {tuple(t.numpy().tobytes() for t in r) for r in results}
    assert len(distinct) > 1


def test_tiles_with_a_halo_equal_the_whole(
    weights: ImageWeights, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    z_hat, y_first = inputs[0], inputs[2]
    network = weights.network
    with torch.no_grad():
        features = network.features(z_hat, GRID.height, GRID.width)
        lower = network.features(z_hat[:, :, 2:], GRID.height - 8, GRID.width)
        assert torch.equal(lower[:, :, 8:], features[:, :, 16:])
        around = network.around(y_first)
        part = network.around(y_first[:, :, 7:16])
    assert torch.equal(part[:, :, 1:-1], around[:, :, 8:15])
