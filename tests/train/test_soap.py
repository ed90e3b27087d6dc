"""The optimiser of the training program."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nccli.train.optimise.soap import Soap, cholesky_qr, orthonormal

STEPS, RATE = 400, 0.1

Step = Callable[[float, int], None]
"""Changes the weights at a learning rate, in the step of this number."""


def with_soap(weights: list[nn.Parameter], bf16: bool = False) -> Step:
    optimiser = Soap([(1.0, weights)], bf16=bf16)

    def step(rate: float, number: int) -> None:
        optimiser.lr.fill_(rate)
        optimiser.step()
        optimiser.turn(number)

    return step


def with_adam(weights: list[nn.Parameter]) -> Step:
    optimiser = torch.optim.Adam(weights, RATE)

    def step(rate: float, number: int) -> None:
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()

    return step


def remaining(make: Callable[[list[nn.Parameter]], Step]) -> float:
    """Loss after minimising a badly scaled quadratic of a turned matrix, relative to the start's."""
    generator = torch.Generator().manual_seed(3)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for n in (24, 12))
    scales = torch.logspace(0, -2, 24)[:, None] * torch.logspace(0, -2, 12)
    goal = left @ torch.randn(24, 12, generator=generator) @ right
    weight = nn.Parameter(torch.zeros(24, 12))

    def loss() -> Tensor:
        off: Tensor = (left.T @ (weight - goal) @ right.T) * scales
        return off.square().sum()

    start = float(loss().detach())
    step = make([weight])
    for number in range(STEPS):
        weight.grad = None
        loss().backward()  # type: ignore[no-untyped-call]
        step(RATE * (1 - number / STEPS), number + 1)
    return float(loss().detach()) / start


def test_soap_is_ahead_of_adam_where_coordinates_are_mixed() -> None:
    soap = remaining(with_soap)
    assert soap < 1e-4
    assert soap < remaining(with_adam) / 3


def test_bfloat16_turns_go_downhill_too() -> None:
    assert remaining(lambda weights: with_soap(weights, bf16=True)) < 1e-2


@pytest.mark.parametrize("shape", [(5,), (1, 7), (4, 3, 3, 3), (2, 900)])
def test_every_shape_moves_towards_its_goal(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    goal = torch.randn(shape)
    weight = nn.Parameter(torch.zeros(shape))
    step = with_soap([weight])
    for number in range(300):
        weight.grad = None
        (weight - goal).square().sum().backward()  # type: ignore[no-untyped-call]
        step(RATE, number + 1)
    assert float(((weight - goal).square().sum() / goal.square().sum()).detach()) < 0.2


SHAPES = ((6, 4), (6, 4), (5,), (6, 2, 1, 2), (5,), (4, 6), (3, 40), (3, 40), (6, 4))


def test_stacked_weights_go_as_one_by_one() -> None:
    """Over 100 steps with five turns; weights of one shape at two scales are in two stacks."""
    generator = torch.Generator().manual_seed(5)
    goals = [torch.randn(shape, generator=generator) for shape in SHAPES]
    together = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    alone = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    scales = [1.0] * 7 + [0.1, 0.1]
    groups = [(1.0, together[:7]), (0.1, together[7:])]
    stacked = Soap(groups, longest=20)
    assert sorted(len(stack.parameters) for stack in stacked.stacks) == [1, 1, 1, 1, 2, 3]
    single = [Soap([(scale, [p])], longest=20) for scale, p in zip(scales, alone, strict=True)]
    for number in range(100):
        noise = [torch.randn(shape, generator=generator) for shape in SHAPES]
        for parameters in (together, alone):
            for p, goal, off in zip(parameters, goals, noise, strict=True):
                p.grad = p.detach() - goal + 0.5 * off
        for optimiser in (stacked, *single):
            optimiser.lr.fill_(0.02)
            optimiser.step()
            optimiser.turn(number + 1)
    for a, b in zip(together, alone, strict=True):
        assert float(a.detach().abs().max()) > 0.05
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_a_turn_is_made_when_it_is_due() -> None:
    weights = [nn.Parameter(torch.zeros(4, 3)) for _ in range(2)]
    optimiser = Soap([(1.0, weights)], every=3)

    def bases(number: int) -> Tensor:
        for p in weights:
            p.grad = torch.randn(4, 3)
        optimiser.step()
        before = optimiser.stacks[0].state["rows_basis"].clone()
        optimiser.turn(number)
        return (optimiser.stacks[0].state["rows_basis"] - before).abs().amax((1, 2))

    torch.manual_seed(1)
    assert [bool((bases(number) > 1e-3).all()) for number in range(1, 7)] == [False, False, True] * 2


def test_the_state_goes_on_elsewhere() -> None:
    torch.manual_seed(1)
    shapes = ((4, 3), (4, 3), (5,))
    first, second = ([nn.Parameter(torch.ones(s)) for s in shapes] for _ in range(2))
    one, other = Soap([(1.0, first)], every=2), Soap([(1.0, second)], every=2)

    def step(number: int, *optimisers: tuple[Soap, list[nn.Parameter]]) -> None:
        grads = [torch.randn(s) for s in shapes]
        for optimiser, weights in optimisers:
            for p, grad in zip(weights, grads, strict=True):
                p.grad = grad.clone()
            optimiser.lr.fill_(0.1)
            optimiser.step()
            optimiser.turn(number)

    assert one.state_dict() == {}
    for number in range(1, 4):
        step(number, (one, first))
    other.load_state_dict({k: v.clone() for k, v in one.state_dict().items()})
    for a, b in zip(second, first, strict=True):
        a.data.copy_(b)
    for number in range(4, 9):
        step(number, (one, first), (other, second))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("size", [1, 7, 60])
def test_cholesky_qr_is_qr_up_to_signs(size: int) -> None:
    generator = torch.Generator().manual_seed(2)
    scales = torch.logspace(0, -3, size, dtype=torch.float64)
    x = torch.randn(3, size, size, generator=generator, dtype=torch.float64) * scales
    q = torch.linalg.qr(x)[0]
    found = cholesky_qr(x)
    signs = (q * found).sum(1, keepdim=True).sign()
    torch.testing.assert_close(found, q * signs, rtol=0, atol=1e-8)


def test_a_basis_that_is_none_is_told() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    broken = torch.full((4, 4), torch.nan, dtype=torch.float64)
    found, sound = orthonormal(torch.stack((2 * eye, eye)))
    assert sound.flatten().tolist() == [True, True]
    torch.testing.assert_close(found.abs(), torch.stack((eye, eye)))
    assert not cholesky_qr(torch.ones(1, 4, 4, dtype=torch.float64)).isfinite().all()
    assert orthonormal(torch.stack((eye, broken)))[1].flatten().tolist() == [True, False]
