from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.coding import analysis
from nccli.coding.analysis import REACH, Analyser
from nccli.coding.search import setting_at
from nccli.coding.sender import Latents
from nccli.entropy.rate import RATE_MAX, RATE_MIN
from nccli.entropy.region import RateField, Region, cells_of
from nccli.networks.image_model import ImageConfig
from nccli.networks.weights import ImageWeights
from tests.support import Pixels

MIDDLE = (RATE_MIN + RATE_MAX) // 2

Count = Callable[[], int]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often g_a has run."""
    seen: list[RateField] = []
    real = analysis.analyse

    def counted(weights: ImageWeights, pixels: Pixels, field: RateField, *rest: object) -> Latents:
        seen.append(field)
        return real(weights, pixels, field, *rest)

    monkeypatch.setattr(analysis, "analyse", counted)
    return lambda: len(seen)


def test_latents_follow_the_rate(weights: ImageWeights, photo: Pixels) -> None:
    low, high = (Analyser(weights, photo)(setting_at(weights, point)) for point in (RATE_MIN, RATE_MAX))
    assert not np.allclose(low.y, high.y, atol=1e-2)


def test_near_settings_share_a_run(weights: ImageWeights, small: Pixels, runs: Count) -> None:
    analyser = Analyser(weights, small)
    near = [analyser(setting_at(weights, MIDDLE + k)) for k in (0, REACH, -REACH)]
    assert near[0] is near[1] is near[2]
    assert runs() == 1
    far = setting_at(weights, MIDDLE + REACH + 1)
    assert np.array_equal(analyser(far).y, Analyser(weights, small)(far).y)
    assert runs() == 3


def test_a_region_has_latents_of_its_own(weights: ImageWeights, photo: Pixels, runs: Count) -> None:
    levels = np.zeros(cells_of(12, 16, 2), np.uint8)
    levels[0, 0] = 1
    region = Region(levels, 1, 2, 0, 6 * 64)
    analyser = Analyser(weights, photo)
    plain = analyser(setting_at(weights, MIDDLE))
    marked = analyser(setting_at(weights, MIDDLE, region))
    assert analyser(setting_at(weights, MIDDLE, region)) is marked
    assert runs() == 2
    assert np.allclose(plain.y[:, :2, :2], marked.y[:, :2, :2], atol=1e-3)
    assert not np.allclose(plain.y[:, -1], marked.y[:, -1], atol=1e-2)


class Blind(torch.nn.Module):
    """A g_a that is the same at every rate."""

    def __init__(self, weights: ImageWeights) -> None:
        super().__init__()
        self.g_a = weights.g_a

    def forward(self, x: torch.Tensor, anchors: torch.Tensor, given: torch.Tensor | None) -> torch.Tensor:
        result: torch.Tensor = self.g_a(x, torch.ones_like(anchors) / anchors.shape[1])
        return result


class BlindConfig(ImageConfig):
    follows_rate = False


def test_networks_that_do_not_follow_the_rate_run_once(
    weights: ImageWeights, small: Pixels, runs: Count
) -> None:
    config = BlindConfig(**asdict(weights.config))
    blind = replace(weights, g_a=Blind(weights), config=config)
    assert weights.config.follows_rate
    assert not blind.config.follows_rate
    analyser = Analyser(blind, small)
    assert analyser(setting_at(blind, RATE_MIN)) is analyser(setting_at(blind, RATE_MAX))
    assert runs() == 1


@pytest.mark.parametrize("target", [Rate(size=4000), Rate(psnr=33.0)])
def test_a_search_needs_few_runs(photo: Pixels, runs: Count, target: Rate) -> None:
    encoded = encode_pixels(photo, Encoding(target, device="cpu"))
    assert 1 <= runs() <= 4
    if target.psnr is not None:
        assert encoded.report.psnr is not None
        assert encoded.report.psnr >= target.psnr


def test_a_lambda_needs_one_run(photo: Pixels, runs: Count) -> None:
    encode_pixels(photo, Encoding(Rate(lmbda=0.003), device="cpu"))
    assert runs() == 1


def test_a_search_does_not_hold_latents_twice(
    weights: ImageWeights, photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Latents]] = []
    held: list[int] = []
    real = analysis.analyse

    def watched(*args: object) -> Latents:
        held.append(sum(ref() is not None for ref in alive))
        latents = real(*args)  # type: ignore[arg-type]
        alive.append(weakref.ref(latents))
        return latents

    monkeypatch.setattr(analysis, "analyse", watched)
    encode_pixels(photo, Encoding(Rate(size=900), device="cpu"))
    assert len(held) > 1
    assert not any(held)
