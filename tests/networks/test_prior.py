from __future__ import annotations

import math
import warnings
from types import ModuleType

import pytest
import torch
from torch import Tensor

from nccli.networks.prior import (
    LIKELIHOOD_BOUND,
    FactorizedPrior,
    ScaleMixture,
    bits,
    gaussian_likelihood,
    lower_bound,
)

CHANNELS = 7


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    """CompressAI's densities; it cannot be imported where its torchvision does not fit torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from compressai import entropy_models
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"compressai cannot be imported: {error}")
    return entropy_models


@pytest.fixture
def prior() -> FactorizedPrior:
    """One that has been trained away from its symmetric start."""
    torch.manual_seed(4)
    prior = FactorizedPrior(CHANNELS, init_scale=10.0).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return prior.requires_grad_(False)


def integers(reach: int) -> Tensor:
    return torch.arange(-reach, reach + 1, dtype=torch.float64)


def test_factorized_prior_equals_compressai(oracle: ModuleType, prior: FactorizedPrior) -> None:
    theirs = oracle.EntropyBottleneck(CHANNELS, init_scale=10, likelihood_bound=0).double().eval()
    copied = dict(zip(theirs.matrices, prior.matrices, strict=True))
    copied |= dict(zip(theirs.biases, prior.biases, strict=True))
    copied |= dict(zip(theirs.factors, prior.factors, strict=True))
    assert len(copied) == len(list(prior.parameters()))
    with torch.no_grad():
        for target, source in copied.items():
            assert target.shape == source.shape
            target.copy_(source)
        z = torch.randn(2, CHANNELS, 9, 11, dtype=torch.float64) * 8
        z_hat, expected = theirs(z, training=False)
        found = prior.likelihood(z_hat, torch.ones((), dtype=torch.float64))
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-13)
    assert float(found.max()) > 0.05


def test_untrained_prior_equals_compressai(oracle: ModuleType) -> None:
    ours, theirs = (
        FactorizedPrior(CHANNELS, init_scale=10.0),
        oracle.EntropyBottleneck(CHANNELS, init_scale=10),
    )
    for a, b in zip(ours.matrices, theirs.matrices, strict=True):
        assert torch.allclose(a, b)
    for a, b in zip(ours.factors, theirs.factors, strict=True):
        assert torch.equal(a, b)
    assert [b.shape for b in ours.biases] == [b.shape for b in theirs.biases]


def test_gaussian_equals_compressai(oracle: ModuleType) -> None:
    theirs = oracle.GaussianConditional(None, scale_bound=0.05, likelihood_bound=0).double().eval()
    torch.manual_seed(1)
    y, means = (10 * torch.randn(2, 3, 8, 8, dtype=torch.float64) for _ in range(2))
    scales = torch.exp(torch.randn(2, 3, 8, 8, dtype=torch.float64) * 2).clamp_min(0.05)
    y_hat, expected = theirs(y, scales, means, training=False)
    found = gaussian_likelihood(y_hat - means, scales, torch.ones((), dtype=torch.float64))
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_factorized_prior_is_a_distribution(prior: FactorizedPrior) -> None:
    """Its cumulative rises everywhere, from nothing to everything."""
    for step in (0.35, 1.0, 2.8):
        z = (integers(3000) * step)[None, None, None].expand(1, CHANNELS, 1, -1)
        p = prior.likelihood(z, torch.tensor(step, dtype=torch.float64))
        assert (prior.logits_cumulative(z[0]).diff() > 0).all()
        assert torch.allclose(p.sum(-1), torch.ones(1, CHANNELS, 1, dtype=torch.float64), atol=1e-6)


def test_steps_join_without_gaps(prior: FactorizedPrior) -> None:
    """One wide interval weighs as much as the three that it is made of."""
    z = torch.linspace(-20, 20, 101, dtype=torch.float64)[None, None, None].expand(1, CHANNELS, 1, -1)
    third = torch.tensor(0.5, dtype=torch.float64)
    parts = sum(prior.likelihood(z + shift, third) for shift in (-0.5, 0, 0.5))
    assert torch.allclose(prior.likelihood(z, 3 * third), parts, atol=1e-12)


@pytest.mark.parametrize(("scale", "step"), [(0.1, 1.0), (1.0, 1.0), (3.0, 0.25), (0.7, 2.0)])
def test_gaussian_is_the_difference_of_cumulatives(scale: float, step: float) -> None:
    def cumulative(x: float) -> float:
        return 0.5 * math.erfc(-x / scale / math.sqrt(2))

    distance = integers(6) * 0.37
    expected = [cumulative(d + step / 2) - cumulative(d - step / 2) for d in distance.tolist()]
    found = gaussian_likelihood(distance, torch.tensor(scale).double(), torch.tensor(step).double())
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-15)


def test_gaussian_is_exact_far_out() -> None:
    """Where 1 - cumulative would be zero."""
    one = torch.ones((), dtype=torch.float64)
    far = float(gaussian_likelihood(12 * one, one, one))
    assert far == pytest.approx(
        0.5 * (math.erfc(11.5 / math.sqrt(2)) - math.erfc(12.5 / math.sqrt(2))), rel=1e-9
    )
    assert 0 < far < 1e-29


def test_mixture_is_a_distribution_around_its_scale() -> None:
    density = ScaleMixture().double()
    scale, step = torch.tensor(2.5, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    k = integers(200)
    with torch.no_grad():
        p = density.likelihood(k, scale, step)
        assert float(p.sum()) == pytest.approx(1, abs=1e-9)
        assert torch.allclose(p, p.flip(0), rtol=1e-9)
        assert (p[:200].diff() >= 0).all()
        density.log2_ratios.zero_()
        assert torch.allclose(density.likelihood(k, scale, step), gaussian_likelihood(k, scale, step))


def test_lower_bound_lets_only_rising_gradients_through() -> None:
    x = torch.tensor([0.5, 2.0, 0.5, 2.0], requires_grad=True)
    y = lower_bound(x, 1.0)
    assert y.tolist() == [1.0, 2.0, 1.0, 2.0]
    (gradient,) = torch.autograd.grad(y, x, torch.tensor([1.0, 1.0, -1.0, -1.0]))
    assert gradient.tolist() == [0.0, 1.0, -1.0, -1.0]


def test_bits() -> None:
    found = bits(torch.tensor([1.0, 0.5, 2.0**-10, 0.0])).tolist()
    assert found == pytest.approx([0, 1, 10, -math.log2(LIKELIHOOD_BOUND)])
