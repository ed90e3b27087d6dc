"""The least of a choice that reaches a PSNR: trials on a line, each where the two before it point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nccli.coding.sender import Stream


@dataclass(frozen=True)
class Bracket:
    """Where to search, and when to stop.

    Attributes:
        low: below all points of the line.
        high: above all points.
        first: point of the first trial.
        slope: dB per point that the second trial expects; negative where PSNR falls along the line.
        slack: dB above what is wanted that end the search.
        near: points that make no difference worth a trial, once the wanted PSNR was reached.
        trials: at most.
        bisect_from: after this many trials the search halves the interval: certain, if slow.
    """

    low: int
    high: int
    first: int
    slope: float
    slack: float
    near: int
    trials: int
    bisect_from: int


def least(
    bracket: Bracket, wanted: float, code: Callable[[int], Stream], measure: Callable[[Stream], float]
) -> Stream | None:
    """The picture coded at the point that has the wanted PSNR with the least beyond it.

    Args:
        bracket: where to search.
        wanted: dB.
        code: codes the picture at a point.
        measure: stream -> PSNR.

    Returns:
        None when no trial had the wanted PSNR.
    """
    low, high, point, slope = bracket.low, bracket.high, bracket.first, bracket.slope
    best: Stream | None = None
    last: tuple[int, float] | None = None
    for number in range(bracket.trials):
        stream = code(point)
        found = measure(stream)
        best = stream if found >= wanted else best
        if (found >= wanted) == (slope > 0):
            high = point
        else:
            low = point
        if 0 <= found - wanted <= bracket.slack or high - low <= (bracket.near if best else 1):
            break
        slope, last = _slope(last, (point, found), slope), (point, found)
        ahead = point + (wanted + bracket.slack / 2 - found) / slope
        halved = (low + high) // 2
        point = round(min(max(ahead, low + 1), high - 1)) if number < bracket.bisect_from else halved
    return best


def _slope(last: tuple[int, float] | None, now: tuple[int, float], expected: float) -> float:
    """dB per point between two trials, or what was expected where these point the wrong way."""
    if last is None or last[0] == now[0]:
        return expected
    slope = (now[1] - last[1]) / (now[0] - last[0])
    return slope if slope * expected > 0 else expected
