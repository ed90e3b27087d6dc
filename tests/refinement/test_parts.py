"""Parts of refinement: soft roundings, schedules, the soft rate, the float network, masks, plots."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from nccli.codec.refining import Method, RefineOptions, parse_metrics, preset
from nccli.coding.sender import CostCounter, Latents, price
from nccli.entropy.grid import Grid
from nccli.entropy.setting import Setting
from nccli.entropy.steps import STEP_UNIT
from nccli.errors import UsageError
from nccli.masks.mask import DEFAULT_GAIN
from nccli.networks.weights import ImageWeights
from nccli.refinement.descent.adam import Adam
from nccli.refinement.descent.aims import Measured, Quality, Size
from nccli.refinement.descent.cost import CostTable
from nccli.refinement.descent.differentiable import float_view
from nccli.refinement.descent.metric import Distortion, Source
from nccli.refinement.descent.problem import Kit, Problem
from nccli.refinement.descent.relax import Relaxation
from nccli.refinement.descent.trace import Check, to_csv
from nccli.refinement.importance import importance_of
from nccli.refinement.plot import draw
from nccli.refinement.windows import EDGE, INNER, MARGIN, window_task, windows, write_back
from tests.support import Pixels, Sample, analysed, setting_of

CPU = torch.device("cpu")


def floor_probability(relaxation: Relaxation, t: float) -> float:
    return float(torch.sigmoid(-relaxation.logit(torch.tensor(t, dtype=torch.float64))))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Method.LINEAR, lambda t: 1 - t),
        (Method.COSINE, lambda t: math.cos(math.pi * t / 2) ** 2),
        (Method.SSL, lambda t: 1 / (1 + (t / (1 - t)) ** (4 / 3))),
        (Method.ATANH, lambda t: 1 / (1 + math.exp(math.atanh(t) - math.atanh(1 - t)))),
    ],
)
def test_probability_of_rounding_down(method: Method, expected: object) -> None:
    for t in (0.05, 0.3, 0.5, 0.8, 0.99):
        assert floor_probability(Relaxation(method), t) == pytest.approx(expected(t), abs=1e-9)


def test_soft_rounding_follows_its_probability() -> None:
    """At temperature one the linear method rounds up with the probability t."""
    v = torch.full((200_000,), 4.3)
    soft = Relaxation(Method.LINEAR)(v, 1.0, torch.Generator().manual_seed(1))
    assert float((soft > 4.5).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(soft.min()) >= 4
    assert float(soft.max()) <= 5


@pytest.mark.parametrize("method", [m for m in Method if m not in (Method.NOISE, Method.STE)])
def test_cold_soft_rounding_is_rounding(method: Method) -> None:
    v = torch.tensor([-2.7, -0.4, 0.0, 0.1, 1.6, 7.0])
    soft = Relaxation(method)(v, 0.01, torch.Generator().manual_seed(0))
    assert torch.allclose(soft, v.round(), atol=1e-3)


def test_three_classes_reach_the_integer_on_the_other_side() -> None:
    v = torch.full((100_000,), 0.05)
    generator = torch.Generator().manual_seed(0)
    three = Relaxation(Method.SSL, 3, 1.4, 0.7, 1.5)(v, 1.0, generator)
    assert float((three < -0.5).float().mean()) > 0.01
    assert float(three.max()) <= 1
    assert float(three.min()) >= -1
    two = Relaxation(Method.SSL)(v, 1.0, generator)
    assert float(two.min()) >= 0


def test_three_classes_with_full_reach_are_two() -> None:
    """r = 1, n = 1 of the linear form is the two-class one. Source: thesis, 5.3.2."""
    relaxation = Relaxation(Method.LINEAR, 3)
    w = torch.tensor(0.3, dtype=torch.float64)
    chances = [float(relaxation.probability(w - k)) for k in (-1, 0, 1)]
    assert chances[1] / sum(chances) == pytest.approx(0.7, abs=1e-4)
    assert chances[0] / sum(chances) == pytest.approx(0, abs=1e-4)


def test_straight_through_and_noise() -> None:
    v = torch.tensor([0.3, 1.7], requires_grad=True)
    rounded = Relaxation(Method.STE)(v, 1.0)
    assert rounded.tolist() == [0, 2]
    rounded.sum().backward()
    assert v.grad is not None
    assert v.grad.tolist() == [1, 1]
    noisy = Relaxation(Method.NOISE)(torch.zeros(1000), 1.0, torch.Generator().manual_seed(0))
    assert 0.4 < float(noisy.max()) <= 0.5


def test_temperature_schedules() -> None:
    options = RefineOptions(steps=2000, tau_rate=1e-3)
    assert options.temperature(0) == 1
    assert options.temperature(0.5) == pytest.approx(math.exp(-1))
    assert RefineOptions(method=Method.ATANH).temperature(0) == 0.5
    assert RefineOptions(tau_max=0.8, tau_rate=1e-3).temperature(0) == 0.8
    assert RefineOptions().temperature(1) == pytest.approx(0.15)


def test_presets_and_bad_options() -> None:
    assert [preset(name).steps for name in ("fast", "default", "best")] == [100, 500, 2000]
    with pytest.raises(UsageError, match="unknown preset"):
        preset("slow")
    with pytest.raises(UsageError, match="no three-class form"):
        RefineOptions(method=Method.STE, classes=3).check()
    with pytest.raises(UsageError, match="tau-max"):
        RefineOptions(tau_max=1.5).check()
    assert parse_metrics(()) == (("mse", 1.0),)
    assert parse_metrics(("mse=0.5", "features=2")) == (("mse", 0.5), ("features", 2.0))
    with pytest.raises(UsageError, match="NAME=WEIGHT"):
        parse_metrics(("mse=x",))
    with pytest.raises(UsageError, match="unknown metric"):
        RefineOptions(metrics=parse_metrics(("psnr=1",))).check()


def test_cost_at_integers_is_what_the_coder_spends(weights: ImageWeights) -> None:
    tables = weights.y_tables
    table = CostTable(tables, range(tables.rows), True, CPU)
    rng = np.random.default_rng(0)
    rows = rng.integers(1, tables.rows, 3000)
    symbols = np.rint(rng.standard_cauchy(3000) * 5).astype(np.int64).clip(-table.reach, table.reach)
    for row, symbol in zip(rows[:200], symbols[:200], strict=True):
        counter = CostCounter()
        counter.code(tables, np.array([row]), np.array([symbol]))
        bits = table.bits(torch.tensor([float(row)]), torch.tensor([float(symbol)]))
        assert float(bits) == pytest.approx(counter.bits, rel=1e-5)
    counter = CostCounter()
    counter.code(tables, rows, symbols)
    total = table.bits(torch.from_numpy(rows).float(), torch.from_numpy(symbols).float()).double().sum()
    assert float(total) == pytest.approx(counter.bits, rel=1e-5)


def test_uncoded_row_is_free(weights: ImageWeights) -> None:
    table = CostTable(weights.y_tables, range(weights.y_tables.rows), True, CPU)
    assert float(table.bits(torch.zeros(1), torch.zeros(1))) == 0
    assert float(table.bits(torch.zeros(1), torch.ones(1))) > 1


def test_gradient_of_the_cost_is_its_slope(weights: ImageWeights) -> None:
    table = CostTable(weights.y_tables, range(weights.y_tables.rows), True, CPU)
    rows = torch.tensor([3.3, 20.6, 40.2, 60.9, 88.5], requires_grad=True)
    symbols = torch.tensor([0.4, -1.3, 3.7, -20.2, 300.6], requires_grad=True)
    table.bits(rows, symbols).sum().backward()
    with torch.no_grad():
        for moved, grad in ((rows, rows.grad), (symbols, symbols.grad)):
            other = symbols if moved is rows else rows
            ends = [
                table.bits(moved + h, other) if moved is rows else table.bits(other, moved + h)
                for h in (-0.01, 0.01)
            ]
            assert grad is not None
            assert torch.allclose((ends[1] - ends[0]) / 0.02, grad, rtol=0.02, atol=2e-3)


def test_float_network_is_the_integer_one(weights: ImageWeights) -> None:
    network = float_view(weights, CPU).network
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(-3, 4, (1, weights.config.hyper_channels, 4, 5), generator=generator)
    exact = weights.network.features(z[0].double().numpy() * 4096, 16, 20) / 4096
    close = network.features(z.float(), 16, 20)[0].numpy()
    assert np.abs(exact - close).max() < 0.01 * np.abs(exact).max()
    assert not any(p.requires_grad for p in network.parameters())


def hard(v: torch.Tensor) -> torch.Tensor:
    return v.round()


def test_soft_rate_of_rounded_latents_is_the_price(weights: ImageWeights, photo_sample: Sample) -> None:
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    problem = Problem(Kit.of(weights), latents.grid, setting)
    variables = problem.variables(Latents(latents.grid, latents.y.copy(), latents.z.copy()))
    with torch.no_grad():
        z_bits, features = problem.code_hyper(variables.z.round())
        soft = problem.code_latents(variables, features, hard)
    size, y_hat = price(weights, latents, setting)
    assert float(z_bits + soft.bits) / 8 == pytest.approx(size, rel=0.01)
    exact = torch.from_numpy(y_hat).float()[None] / 4096
    assert float((soft.y_hat - exact).abs().mean()) < 0.01 * float(exact.abs().mean())


def smooth(v: torch.Tensor) -> torch.Tensor:
    return Relaxation(Method.DETERMINISTIC)(v, 0.5)


def test_gradient_of_the_soft_rate_points_where_the_price_falls(
    weights: ImageWeights, photo_sample: Sample
) -> None:
    """A move against the gradient of y makes the real stream smaller; one along it, larger."""
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    problem = Problem(Kit.of(weights), latents.grid, setting)
    start = Latents(latents.grid, latents.y.copy(), latents.z.copy())
    variables = problem.variables(start)
    for y in variables.y:
        y.requires_grad_()
    with torch.no_grad():
        _, features = problem.code_hyper(variables.z.round())
    bits = problem.code_latents(variables, features, smooth).bits
    gradients = torch.autograd.grad(bits, variables.y)
    sizes = []
    for move in (-0.1, 0, 0.1):
        moved = problem.variables(start)
        first, second = (y + move * g.sign() for y, g in zip(moved.y, gradients, strict=True))
        moved.y = (first, second)
        sizes.append(price(weights, problem.latents(moved), setting)[0])
    assert sizes[0] < sizes[1] < sizes[2]


def straight(v: torch.Tensor) -> torch.Tensor:
    return Relaxation(Method.STE)(v, 1.0)


def test_gradient_of_step_y_is_that_of_the_rate(weights: ImageWeights, photo_sample: Sample) -> None:
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    problem = Problem(Kit.of(weights), latents.grid, setting)
    variables = problem.variables(Latents(latents.grid, latents.y.copy(), latents.z.copy()))
    with torch.no_grad():
        _, features = problem.code_hyper(variables.z.round())

    def bits(octaves: float) -> torch.Tensor:
        variables.step_y = torch.tensor(octaves, requires_grad=True)
        return problem.code_latents(variables, features, smooth).bits

    reach = 8 / STEP_UNIT
    slope = float(bits(reach).detach() - bits(-reach).detach()) / (2 * reach)
    total = bits(0.0)
    (gradient,) = torch.autograd.grad(total, [variables.step_y])
    assert 0.9 * slope > float(gradient) > 1.1 * slope
    sizes = [
        price(weights, latents, Setting(setting.rate, setting.step_y + d, setting.step_z))[0] for d in (-8, 8)
    ]
    assert sizes[1] < sizes[0]
    assert float(gradient) < 0


def test_mean_moves_the_rate_but_not_the_pixels(weights: ImageWeights, photo_sample: Sample) -> None:
    """Where symbols are sent, z has a gradient through the rate alone."""
    latents, setting = photo_sample.latents, photo_sample.stream.setting
    problem = Problem(Kit.of(weights), latents.grid, setting)
    variables = problem.variables(Latents(latents.grid, latents.y.copy(), latents.z.copy()))
    variables.z.requires_grad_()
    _, features = problem.code_hyper(straight(variables.z))
    soft = problem.code_latents(variables, features, straight)
    (by_rate,) = torch.autograd.grad(soft.bits, [variables.z])
    assert float(by_rate.abs().max()) > 0


def test_adam_goes_downhill() -> None:
    x = torch.tensor([3.0, -2.0])
    adam = Adam([x], [0.1])
    for _ in range(200):
        adam.step({0: 2 * x}, 1.0)
    assert float(x.abs().max()) < 0.05


def test_distortion_is_that_of_the_stored_samples(odd: Pixels) -> None:
    source = Source(odd)
    distortion = source.distortion(slice(None), slice(None), CPU)
    noise = np.random.default_rng(0).integers(-5, 6, odd.shape)
    other = (odd.astype(int) + noise).clip(0, 255).astype(np.uint8)
    x_hat = torch.from_numpy(other.astype(np.float32) / 255).permute(2, 0, 1)[None]
    expected = float(((other.astype(float) - odd) ** 2).mean())
    assert float(distortion.squared(distortion.rounded(x_hat + 0.001))) == pytest.approx(expected, rel=1e-4)
    assert source.squared(other) == pytest.approx(expected, rel=1e-6)
    half = np.zeros(odd.shape[:2], np.float32)
    half[:40] = 1
    weighted = Source(odd, half)
    expected = float(((other.astype(float) - odd)[:40] ** 2).sum() / odd.size)
    assert weighted.squared(other) == pytest.approx(expected, rel=1e-6)
    part = weighted.distortion(slice(None), slice(None), CPU)
    assert float(part.squared(x_hat)) == pytest.approx(expected, rel=1e-4)


def test_size_control_raises_lambda_when_there_is_room() -> None:
    control = Size(0.01, 1000)
    before = control.lmbda
    control.learn(Measured(900, 30, 60, 0))
    assert control.lmbda > before
    control.learn(Measured(1500, 30, 60, 0))
    control.learn(Measured(1500, 30, 60, 0))
    assert control.lmbda < before
    assert control.rate_weight == 1
    assert not control.meets(Measured(1001, 30, 60, 0))


def test_two_sided_weight() -> None:
    control = Size(0.01, 1000, two_sided=True)
    control.learn(Measured(1000, 30, 60, 0))
    assert control.rate_weight == pytest.approx(4, rel=0.01)
    control.learn(Measured(990, 30, 60, 0))
    assert control.rate_weight == pytest.approx(0.25, rel=0.02)
    for _ in range(3):
        control.learn(Measured(1500, 30, 60, 0))
    assert control.rate_weight > 8
    assert control.lmbda == 0.01


def test_quality_control() -> None:
    control = Quality(0.01, 32.0)
    control.learn(Measured(900, 31, 60, 0))
    assert control.lmbda > 0.01
    assert control.meets(Measured(900, 32.001, 60, 0))
    assert not control.meets(Measured(900, 31.999, 60, 0))


def test_windows_tile_the_picture() -> None:
    grid = Grid(100, 130)
    seen = np.zeros((100, 130), int)
    for window in windows(grid):
        rows, columns = window.rows, window.columns
        seen[rows.start : rows.end, columns.start : columns.end] += 1
        assert window.grid.height <= INNER + 2 * MARGIN
        assert rows.outer_start % 4 == columns.outer_start % 4 == 0
    assert (seen == 1).all()
    assert len(windows(Grid(64, 64))) == 1


def test_window_and_back(weights: ImageWeights, photo: Pixels) -> None:
    picture = np.tile(photo, (6, 5, 1))[:1100, :1200]
    latents = analysed(weights, picture)
    window = windows(latents.grid)[3]
    task = window_task(Kit.of(weights), Source(picture), setting_of(weights, 0.01), latents, window)
    importance = task.distortion.importance
    assert importance is not None
    assert float(importance[..., : EDGE * 16, :].max()) == 0
    assert float(importance.max()) == 1
    copy = Latents(latents.grid, np.zeros_like(latents.y), np.zeros_like(latents.z))
    for part in windows(latents.grid):
        whole = window_task(Kit.of(weights), Source(picture), setting_of(weights, 0.01), latents, part)
        write_back(part, whole.latents, copy)
    assert np.array_equal(copy.y, latents.y)
    assert np.array_equal(copy.z, latents.z)


def test_mask_becomes_weights() -> None:
    importance = importance_of(np.array([[0, 255], [51, 0]], np.uint8), 25)
    assert importance[0].tolist() == pytest.approx([0.04, 1])
    assert importance[1, 0] == pytest.approx(0.04 + 0.2 * 0.96)
    assert float(importance_of(np.zeros((1, 1), np.uint8), None)[0, 0]) == pytest.approx(1 / DEFAULT_GAIN)


ROWS = tuple(Check(i, i / 2, 1 / i, 0.01, 0.5, 31.0, 0.6, 30.0, 0.0, 1 / i, 1 / i, i) for i in range(1, 6))


def test_trace_as_text() -> None:
    lines = to_csv(ROWS).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("step,seconds,tau,lmbda")
    assert lines[2].split(",")[0] == "2"


def test_plots() -> None:
    svg = draw(ROWS, "run.svg").decode()
    assert svg.startswith("<svg")
    assert svg.count("<polyline") >= 7
    image = Image.open(io.BytesIO(draw(ROWS, "run.PNG")))
    assert image.size[0] == 720
    assert len(image.convert("RGB").getcolors(10**6) or []) > 3
    with pytest.raises(UsageError, match="png"):
        draw(ROWS, "run.pdf")
    assert draw((), "empty.svg")


def test_gray_originals_compare_the_mean_channel() -> None:
    x = torch.zeros(1, 1, 4, 4)
    shown = torch.tensor([0.0, 0.3, 0.6]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert Distortion(x).fit(shown).shape == (1, 1, 4, 4)
    assert float(Distortion(x).fit(shown).mean()) == pytest.approx(0.3)
