"""The search for the least that reaches a PSNR, on made-up curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nccli.coding.bracket import Bracket, least
from nccli.coding.sender import Stream
from nccli.entropy.setting import Setting

RISING = Bracket(0, 1000, 500, 0.02, 0.0, 1, 40, 8)
FALLING = Bracket(0, 1000, 500, -0.02, 0.0, 1, 40, 8)


def coded(point: int) -> Stream:
    """A stream that remembers its point as its rate."""
    return Stream(Setting(point, 0, 0), b"", np.zeros(0, np.int32), np.zeros(0, np.int32))


def found(bracket: Bracket, curve: Callable[[int], float], wanted: float) -> int | None:
    stream = least(bracket, wanted, coded, lambda stream: curve(stream.setting.rate))
    return None if stream is None else stream.setting.rate


@pytest.mark.parametrize("bend", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("wanted", [10.0, 25.3, 39.9])
def test_the_least_point_is_found_whatever_the_curve(bend: float, wanted: float) -> None:
    def curve(point: int) -> float:
        return 10 + 30 * (point / 1000) ** bend

    points = range(1, 1000)
    assert found(RISING, curve, wanted) == min((p for p in points if curve(p) >= wanted), default=None)
    assert found(FALLING, lambda p: curve(1000 - p), wanted) == max(
        (p for p in points if curve(1000 - p) >= wanted), default=None
    )


def test_out_of_reach_is_nothing() -> None:
    assert found(RISING, lambda point: point / 1000, 2.0) is None


def test_slack_ends_the_search() -> None:
    tried: list[int] = []

    def curve(point: int) -> float:
        tried.append(point)
        return 30 + point / 50

    slack = Bracket(0, 1000, 500, 0.02, 0.5, 1, 40, 8)
    assert found(slack, curve, 33.0) is not None
    assert len(tried) == 2
