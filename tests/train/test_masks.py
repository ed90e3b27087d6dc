"""Regions of interest in training: random masks, and the same steps as files have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nccli.entropy.rate import NUM_ANCHORS, RATE_UNIT, lambda_to_rate
from nccli.entropy.region import FULL, RateField, Region
from nccli.entropy.steps import STEP_UNIT
from nccli.networks.image_model import CONFIGS, ImageModel
from nccli.train.image.loss import Rates, forward, training_loss
from nccli.train.image.masks import COVERAGE, MAX_DROP, disc_drops, random_drops

CPU = torch.device("cpu")


def test_random_drops_have_regions_and_backgrounds() -> None:
    torch.manual_seed(1)
    drops = torch.cat([random_drops(16, 12, 16, CPU) for _ in range(20)])
    assert drops.shape == (320, 12, 16)
    assert drops.min() == 0
    assert MAX_DROP * 0.9 < drops.max() <= MAX_DROP
    inside = (drops == 0).float().mean((1, 2))
    assert inside.min() > 0
    assert inside.max() <= COVERAGE[1] + 0.02
    assert inside.std() > 0.1
    edges = ((drops > 0) & (drops < drops.amax((1, 2), keepdim=True))).float().mean((1, 2))
    assert edges.min() < 0.02
    assert edges.max() > 0.15


def test_disc_covers_a_quarter() -> None:
    drops = disc_drops(2, 40, 60, 3.0, CPU)
    assert set(drops.unique().tolist()) == {0.0, 3.0}
    assert abs(float((drops == 0).float().mean()) - 0.25) < 0.02


@pytest.mark.parametrize("lmbda", [0.0003, 0.0006, 0.01, 0.15])
def test_training_and_files_agree_on_the_rate_field(lmbda: float) -> None:
    levels = np.arange(16, dtype=np.uint8).reshape(2, 8)
    region = Region(levels, 15, 0, 0, 7 * STEP_UNIT)
    rate = lambda_to_rate(lmbda)
    field = RateField.of(rate, region, 2, 8)
    drop = torch.from_numpy((FULL - levels.astype(np.float64) * 17) / FULL * 7)[None]
    rates = Rates(torch.tensor([rate / RATE_UNIT - 12], dtype=torch.float64), drop)
    local = (rates.local[0].numpy() + 12) * RATE_UNIT
    assert np.abs(local - field.local).max() <= 1
    assert np.abs(rates.beyond[0].numpy() * STEP_UNIT - field.beyond).max() <= 1
    assert (field.beyond.max() > 0) == (lmbda < 0.06)


@pytest.fixture(scope="module")
def model() -> ImageModel:
    torch.manual_seed(0)
    model = ImageModel(CONFIGS["s"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        model.gain += torch.linspace(0, -4, NUM_ANCHORS)[:, None]
    return model


@torch.no_grad()
def test_equal_drops_everywhere_are_a_lower_rate(model: ImageModel) -> None:
    x = torch.rand(1, 3, 64, 64)
    base = torch.tensor([-6.0])
    whole = Rates(base, torch.full((1, 4, 4), 2.5))
    lower = Rates.uniform(base - 2.5)
    nothing = torch.autocast("cpu", enabled=False)
    results = []
    for rates in (whole, lower):
        torch.manual_seed(3)
        results.append(forward(model, x, rates, nothing, rounded=True))
    assert torch.allclose(results[0].bpp_y, results[1].bpp_y, rtol=1e-3)
    assert torch.allclose(results[0].distortion, results[1].distortion, rtol=1e-3)
    assert torch.allclose(results[0].distortion, 2**-8.5 * 255**2 * results[0].mse, rtol=1e-4)


@torch.no_grad()
def test_errors_outside_the_region_count_less(model: ImageModel) -> None:
    x = torch.rand(1, 3, 64, 64)
    nothing = torch.autocast("cpu", enabled=False)
    sharp = Rates.uniform(torch.tensor([-5.0]))
    masked = Rates(sharp.base, disc_drops(1, 4, 4, 5.0, CPU))
    plain, regional = (forward(model, x, rates, nothing, rounded=True) for rates in (sharp, masked))
    assert float(regional.distortion) < float(2**-5 * 255**2 * regional.mse)
    assert float(regional.bpp) < float(plain.bpp)
    loss = training_loss(regional, masked, z_weight=1.0)
    mean = float(torch.exp2(masked.log2_lambda).mean())
    assert float(loss) == pytest.approx(float(regional.objective) * (mean / 0.01) ** -0.5, rel=1e-4)
