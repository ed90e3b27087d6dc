"""A wanted PSNR outside the region: how far lambda may fall there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nccli.bounds import DROPS_PER_OCTAVE, MAX_DROP
from nccli.coding.bracket import Bracket, least
from nccli.coding.sender import Stream
from nccli.entropy.region import Region
from nccli.errors import UsageError

Code = Callable[[Region | None], Stream]
"""Codes the picture with a region so that it meets its target."""

FIRST_DROP = 4 * DROPS_PER_OCTAVE
DB_PER_DROP = 1.8 / DROPS_PER_OCTAVE
"""Where the search begins, and how PSNR falls with a drop as far as the second trial goes."""

SLACK = 0.02
"""dB above what is wanted that end the search."""

MAX_TRIALS = 16
BISECT_FROM = 6
"""After this many trials the search halves the interval."""


def reach_background(code: Code, measure: Callable[[Stream], float], region: Region, wanted: float) -> Stream:
    """The picture coded with the largest drop that leaves at least `wanted` dB outside the region.

    Args:
        code: see `Code`.
        measure: stream -> PSNR outside.
        region: whose drop is searched.
        wanted: dB.

    Raises:
        UsageError: the background is worse even where it counts as much as the region.
    """
    line = Bracket(0, MAX_DROP + 1, FIRST_DROP, -DB_PER_DROP, SLACK, 1, MAX_TRIALS, BISECT_FROM)
    coded = least(line, wanted, lambda drop: code(replace(region, drop=drop)), measure)
    if coded is not None:
        return coded
    plain = code(None)
    found = measure(plain)
    if found < wanted:
        raise UsageError(
            f"the background reaches only {found:.2f} dB at this rate without any region: ask for less "
            "than that, or for a higher rate"
        )
    return plain
