"""The optimiser of the training program."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nccli.train.soap import Soap

STEPS, RATE = 400, 0.1


def remaining(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> float:
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
    optimiser = make([weight])
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return float(loss().detach()) / start


def test_soap_is_ahead_of_adam_where_coordinates_are_mixed() -> None:
    soap = remaining(lambda parameters: Soap(parameters, RATE))
    assert soap < 1e-4
    assert soap < remaining(lambda parameters: torch.optim.Adam(parameters, RATE)) / 3


def test_bfloat16_turns_go_downhill_too() -> None:
    assert remaining(lambda parameters: Soap(parameters, RATE, bf16=True)) < 1e-2


@pytest.mark.parametrize("shape", [(5,), (1, 7), (4, 3, 3, 3), (2, 900)])
def test_every_shape_moves_towards_its_goal(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    goal = torch.randn(shape)
    weight = nn.Parameter(torch.zeros(shape))
    optimiser = Soap([weight], RATE)
    for _ in range(300):
        optimiser.zero_grad()
        (weight - goal).square().sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(((weight - goal).square().sum() / goal.square().sum()).detach()) < 0.2
