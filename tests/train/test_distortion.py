"""What training takes for distortion, and how regions weight it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nccli.media import metrics
from nccli.networks.image_model import CONFIGS, ImageModel
from nccli.train.image.course import Plan
from nccli.train.image.distortion import DISTORTIONS, MS_SSIM_WEIGHT, squared_error, structural
from nccli.train.image.loop import Trainer
from nccli.train.image.loss import Rates, forward
from nccli.train.image.masks import disc_drops
from tests.support import Pixels, run_python
from tests.support.training import CPU, batch_of, tiles_of

PLAN = Plan(batch=1, crop=192, rate=3e-4, warmup=12, z_warmup=0.0, seed=2, metric="ms-ssim")


def signal(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def x(coffee: Pixels) -> Tensor:
    return signal(coffee[40:232, 100:292])


@torch.no_grad()
def structural_loss(trainer: Trainer, x: Tensor) -> float:
    """The objective of rounded latents at a middle rate."""
    rates = Rates.uniform(torch.tensor([-7.0]))
    return float(forward(trainer.model, x, rates, trainer.transforms(), True, structural).objective)


def test_distortions_are_the_metrics(coffee: Pixels, chelsea: Pixels) -> None:
    a = np.stack([coffee[:200, :240], chelsea[:200, :240]])
    b = np.clip(a.astype(np.int32) + np.random.default_rng(1).integers(-20, 21, a.shape), 0, 255).astype(
        np.uint8
    )
    x, x_hat = (torch.cat([signal(p) for p in pair]) for pair in (a, b))
    mse = [np.mean((p.astype(np.float64) - q) ** 2) for p, q in zip(a, b, strict=True)]
    assert squared_error(x_hat, x).tolist() == pytest.approx(mse, rel=1e-5)
    similarity = [metrics.ms_ssim(p, q) or 0 for p, q in zip(a, b, strict=True)]
    wanted = [MS_SSIM_WEIGHT * (1 - s) for s in similarity]
    assert structural(x_hat, x).tolist() == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("metric", DISTORTIONS)
@torch.no_grad()
def test_errors_count_by_the_lambda_of_their_place(metric: str, x: Tensor) -> None:
    torch.manual_seed(1)
    model = ImageModel(CONFIGS["s"])
    rates = Rates(torch.tensor([-5.0]), disc_drops(1, 12, 12, 4.0, CPU))
    seen = []

    def measure(x_hat: Tensor, x: Tensor) -> Tensor:
        seen.append(x_hat - x)
        return DISTORTIONS[metric](x_hat, x)

    m = forward(model, x, rates, torch.autocast("cpu", enabled=False), rounded=True, measure=measure)
    share = torch.exp2(-rates.drop).repeat_interleave(16, 1).repeat_interleave(16, 2)
    assert float((seen[0].square().mean(1) / share).mean()) == pytest.approx(float(m.mse), rel=1e-4)
    assert float(m.distortion) == pytest.approx(2**-5 * float(DISTORTIONS[metric](x + seen[0], x)), rel=1e-5)


def test_training_follows_the_metric(x: Tensor) -> None:
    trainer = Trainer(PLAN, CPU)
    trainer.start(tiles_of(x.mul(255).to(torch.uint8).expand(4, -1, -1, -1)))
    tiles = (x * 255).to(torch.uint8)
    tiles = torch.cat([torch.cat([tiles, tiles], 2)] * 2, 3)
    found = {}
    for metric in DISTORTIONS:
        trainer.plan = replace(PLAN, metric=metric)
        found[metric] = trainer.validate(tiles_of(tiles))
    for plain, other in zip(found["mse"], found["ms-ssim"], strict=True):
        assert plain["bpp"] == other["bpp"]
        assert plain["psnr"] == other["psnr"]
        assert plain["loss"] != other["loss"]
    torch.manual_seed(1)
    before = structural_loss(trainer, x)
    for _ in range(20):
        trainer.step(batch_of(x))
    assert structural_loss(trainer, x) < before


def test_small_crops_have_no_ms_ssim() -> None:
    result = run_python(
        "-m", "nccli.train", "image", "nothing", "-o", "nowhere", "--metric", "ms-ssim", "--crop", "128"
    )
    assert result.returncode == 1
    assert result.stderr.strip() == "--metric ms-ssim needs a --crop of at least 161 pixels"
