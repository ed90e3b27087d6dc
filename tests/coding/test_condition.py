"""A made-up condition: what it shows the transforms, and how it changes probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nccli.coding import tiles
from nccli.coding.analysis import Analyser
from nccli.coding.condition import ALONE, Condition
from nccli.coding.payload import read_payload
from nccli.coding.sender import send
from nccli.coding.tiles import Shape, reconstruct
from nccli.errors import FormatError
from nccli.networks.interface import ParameterNetwork, Visit
from nccli.networks.products import Floats
from nccli.networks.weights import ImageWeights
from tests.support import Pixels, Sample, setting_of


class Leaning:
    """Another network whose means and scales move with two channels of context."""

    context_channels = 2

    def __init__(self, inner: ParameterNetwork) -> None:
        self._inner = inner
        self.channels, self.features_halo = inner.channels, inner.features_halo

    def features(self, z_hat: Floats, height: int, width: int) -> Floats:
        return self._inner.features(z_hat, height, width)

    def visits(self, bands: list[tuple[int, int]], width: int) -> Iterator[Visit]:
        return self._inner.visits(bands, width)

    def predict(
        self, visit: Visit, features: Floats, rate: Floats, y_hat: NDArray[np.int32]
    ) -> tuple[Floats, Floats]:
        context = features[-2:].reshape(2, -1)[:, visit.places]
        means, log2_scales = self._inner.predict(visit, features[:-2], rate, y_hat)
        return means + context[0], log2_scales + context[1]


@pytest.fixture
def leaning(weights: ImageWeights) -> ImageWeights:
    return replace(weights, network=Leaning(weights.network))


@pytest.fixture
def context(photo_sample: Sample) -> NDArray[np.int64]:
    """Means up to a quarter off, scales up to half an octave."""
    grid = photo_sample.latents.grid
    return np.random.default_rng(7).integers(-2048, 2048, (2, grid.height, grid.width)) // [[[2]], [[1]]]


def test_a_context_changes_probabilities_on_both_sides_alike(
    leaning: ImageWeights, photo_sample: Sample, context: NDArray[np.int64]
) -> None:
    latents, plain = photo_sample.latents, photo_sample.stream
    stream = send(leaning, latents, plain.setting, context)
    assert stream.payload != plain.payload
    decoded = read_payload(leaning, latents.grid, plain.setting, stream.payload, context=context)
    assert np.array_equal(decoded.y_hat, stream.y_hat)
    other = context.copy()
    other[1, 3] += 4096
    with pytest.raises(FormatError):
        read_payload(leaning, latents.grid, plain.setting, stream.payload, context=other)


def test_a_context_of_zeros_is_none(leaning: ImageWeights, photo_sample: Sample) -> None:
    grid, plain = photo_sample.latents.grid, photo_sample.stream
    nothing = np.zeros((2, grid.height, grid.width), np.int64)
    assert send(leaning, photo_sample.latents, plain.setting, nothing).payload == plain.payload


def test_a_context_is_kept_within_what_layers_take(leaning: ImageWeights, photo_sample: Sample) -> None:
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    size = (2, latents.grid.height, latents.grid.width)
    wild, tame = (send(leaning, latents, setting, np.full(size, v)) for v in (-(2**40), -(2**21)))
    assert wild.payload == tame.payload


def test_a_context_that_does_not_fit_is_refused(
    weights: ImageWeights, leaning: ImageWeights, photo_sample: Sample, context: NDArray[np.int64]
) -> None:
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    for model, given in (
        (weights, context),
        (leaning, None),
        (leaning, context[:1]),
        (leaning, context[:, 1:]),
    ):
        with pytest.raises(ValueError, match="context"):
            send(model, latents, setting, given)


class Guided(torch.nn.Module):
    """A transform that adds a little of what it is given; `down` are pixels per output."""

    def __init__(self, inner: torch.nn.Module, down: int) -> None:
        super().__init__()
        self.inner, self._down = inner, down

    def forward(self, x: Tensor, anchors: Tensor, given: Tensor | None = None) -> Tensor:
        out: Tensor = self.inner(x, anchors)
        if given is None:
            return out
        return out + torch.nn.functional.avg_pool2d(given, self._down).mean(1, keepdim=True)


@pytest.mark.parametrize("tiled", [False, True])
def test_transforms_see_the_pixels_where_they_belong(
    weights: ImageWeights, odd: Pixels, monkeypatch: pytest.MonkeyPatch, tiled: bool
) -> None:
    """75x101 pixels, in one piece and in pieces: repeated beyond the edges, aligned everywhere."""
    if tiled:
        monkeypatch.setattr(tiles, "TILE_ROWS", 4)
        monkeypatch.setattr(tiles, "TILE_COLUMNS", 4)
    guided = replace(weights, g_a=Guided(weights.g_a, 16), g_s=Guided(weights.g_s, 1))
    setting = setting_of(weights, 0.01)
    pixels = np.random.default_rng(2).random((2, 75, 101), np.float32)
    condition = Condition(pixels=pixels)
    with torch.inference_mode():
        plain, moved = (Analyser(guided, odd, condition=c)(setting) for c in (ALONE, condition))
        field = setting.field(plain.grid)
        y_hat = np.rint(plain.y * 4096).astype(np.int32)
        shape = Shape(75, 101, depth=16)
        dark, light = (
            reconstruct(guided, y_hat, field, shape, condition=c) / 65535.0 for c in (ALONE, condition)
        )
    filled = np.pad(pixels, ((0, 0), (0, 5), (0, 11)), mode="edge").mean(0)
    means = filled.reshape(5, 16, 7, 16).mean((1, 3))
    spread = weights.spread.numpy()[:, None, None]
    assert np.allclose((moved.y - plain.y) * spread, means[None], atol=1e-3)
    expected = np.clip(dark + pixels.mean(0)[:, :, None], 0, 1)
    between = (dark > 0) & (dark < 1)
    assert np.allclose(light[between], expected[between], atol=1e-4)


def test_without_a_condition_nothing_is_given(weights: ImageWeights, small_sample: Sample) -> None:
    guided = replace(weights, g_a=Guided(weights.g_a, 16))
    with torch.inference_mode():
        latents = Analyser(guided, small_sample.pixels)(small_sample.stream.setting)
    assert np.array_equal(latents.y, small_sample.latents.y)
    assert np.array_equal(latents.z, small_sample.latents.z)
