"""What samples mean where it is not sRGB and no ICC profile says it: code points, gamma, chromaticities.

Standard library only, so that a file can be inspected without loading a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SRGB_POINTS = ((1, 13), (2, 2), (1, 2), (2, 13))
"""Primaries and transfer of sRGB, or not specified. Source: ITU-T H.273."""

SRGB_GAMMA = 45455
SRGB_CHROMATICITIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
"""With the gamma, what files in sRGB state for programs that know no better. Source: PNG, third edition."""

GAMMA_UNIT = 100_000
"""PNG counts gamma and chromaticities in parts of this."""

PRIMARIES = {
    1: "BT.709",
    4: "BT.470 M",
    5: "BT.601 625",
    6: "BT.601 525",
    7: "SMPTE 240M",
    8: "film",
    9: "BT.2020",
    10: "XYZ",
    11: "DCI-P3",
    12: "Display P3",
    22: "EBU 3213",
}
TRANSFERS = {
    1: "BT.709",
    4: "gamma 2.2",
    5: "gamma 2.8",
    6: "BT.601",
    7: "SMPTE 240M",
    8: "linear",
    13: "sRGB",
    14: "BT.2020",
    15: "BT.2020",
    16: "PQ",
    17: "SMPTE 428",
    18: "HLG",
}


@dataclass(frozen=True)
class CodePoints:
    """Numbers of ITU-T H.273.

    Attributes:
        primaries: what red, green and blue are, 0..255.
        transfer: from samples to light, 0..255.
        full: samples use their whole range.
    """

    primaries: int
    transfer: int
    full: bool = True

    def __str__(self) -> str:
        primaries = PRIMARIES.get(self.primaries, f"primaries {self.primaries}")
        transfer = TRANSFERS.get(self.transfer, f"transfer {self.transfer}")
        return f"{primaries}, {transfer}" + ("" if self.full else ", narrow range")

    @property
    def srgb(self) -> bool:
        return self.full and (self.primaries, self.transfer) in SRGB_POINTS


@dataclass(frozen=True)
class Colour:
    """What samples mean.

    Attributes:
        points: code points, which count before all else.
        gamma: exponent from light to samples, 1/100000.
        chromaticities: x and y of white, red, green, blue, 1/100000.
    """

    points: CodePoints | None = None
    gamma: int | None = None
    chromaticities: tuple[int, ...] | None = None

    def __str__(self) -> str:
        parts = [] if self.points is None else [str(self.points)]
        parts += [] if self.gamma is None else [f"gamma {self.gamma / GAMMA_UNIT:g}"]
        if self.chromaticities is not None:
            parts.append("chromaticities " + " ".join(f"{n / GAMMA_UNIT:g}" for n in self.chromaticities))
        return "; ".join(parts)


def worth_keeping(colour: Colour, profile: bool) -> Colour | None:
    """What is left of a description when sRGB goes without saying; a profile replaces gamma and the like."""
    points = None if colour.points is None or colour.points.srgb else colour.points
    gamma, chromaticities = colour.gamma or None, colour.chromaticities
    usual = gamma in (None, SRGB_GAMMA) and chromaticities in (None, SRGB_CHROMATICITIES)
    if profile or usual:
        gamma = chromaticities = None
    kept = Colour(points, gamma, chromaticities)
    return None if kept == Colour() else kept


def to_info(colour: Colour | None) -> dict[str, Any]:
    """A description under the names that Pillow gives its parts in `info`; it knows none for code points."""
    info: dict[str, Any] = {}
    if colour is not None and colour.points is not None:
        points = colour.points
        info["cicp"] = (points.primaries, points.transfer, 0, int(points.full))
    if colour is not None and colour.gamma is not None:
        info["gamma"] = colour.gamma / GAMMA_UNIT
    if colour is not None and colour.chromaticities is not None:
        info["chromaticity"] = tuple(n / GAMMA_UNIT for n in colour.chromaticities)
    return info


def from_info(info: Mapping[Any, Any]) -> Colour | None:
    """The inverse of `to_info`; None where nothing is said, and where it makes no sense."""
    points, gamma, chromaticities = info.get("cicp"), info.get("gamma"), info.get("chromaticity")
    if "srgb" in info:
        gamma = chromaticities = None
    try:
        return Colour(
            CodePoints(int(points[0]), int(points[1]), bool(points[3])) if points else None,
            _units(gamma) if gamma else None,
            tuple(_units(n) for n in chromaticities) if chromaticities and len(chromaticities) == 8 else None,
        )
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _units(value: float) -> int:
    count = round(value * GAMMA_UNIT)
    if not 0 <= count < 2**32:
        raise ValueError(f"{value} is no gamma or chromaticity")
    return count
