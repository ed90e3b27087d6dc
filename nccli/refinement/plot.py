"""The run of a refinement as a drawing, PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from nccli.errors import UsageError
from nccli.refinement.descent.trace import Check

WIDTH, PANEL, MARGIN = 720, 180, 56
"""Pixels: of the drawing, of one panel's height, and around its axes."""

INK, GRID = "#333333", "#dddddd"
COLOURS = ("#1b6ca8", "#c8553d")

Series = tuple[str, Callable[[Check], float]]

PANELS: tuple[tuple[str, tuple[Series, ...]], ...] = (
    ("objective", (("rounded", lambda row: row.objective), ("best", lambda row: row.best))),
    ("bpp", (("rounded", lambda row: row.bpp), ("soft", lambda row: row.soft_bpp))),
    ("PSNR, dB", (("rounded", lambda row: row.psnr), ("soft", lambda row: row.soft_psnr))),
    ("temperature", (("tau", lambda row: row.tau),)),
)


@dataclass(frozen=True)
class Line:
    """A polyline in pixels."""

    points: tuple[tuple[float, float], ...]
    colour: str


@dataclass(frozen=True)
class Text:
    """Words that begin at a place in pixels."""

    x: float
    y: float
    text: str
    colour: str = INK


def draw(rows: tuple[Check, ...], name: str) -> bytes:
    """A drawing of the trace; the suffix of `name` says of which kind.

    Raises:
        UsageError: it is neither .png nor .svg.
    """
    suffix = name.lower().rpartition(".")[2]
    if suffix not in ("png", "svg"):
        raise UsageError(f"plots are .png or .svg, not {name}")
    marks: list[Line | Text] = []
    for number, (title, series) in enumerate(PANELS):
        marks += _panel(rows, title, series, number * PANEL)
    height = len(PANELS) * PANEL + MARGIN // 2
    return _svg(marks, height) if suffix == "svg" else _png(marks, height)


def _panel(rows: tuple[Check, ...], title: str, series: tuple[Series, ...], top: int) -> list[Line | Text]:
    """Axes, curves and their names, `top` pixels from above."""
    left, right, high, low = MARGIN, WIDTH - 16, top + 28, top + PANEL - 16
    values = [value(row) for row in rows for _, value in series]
    if not values:
        return [Text(left, top + 8, f"{title}: no checks")]
    first, last = min(values), max(values)
    last = last if last > first else first + 1e-9
    end = max(row.step for row in rows)
    marks: list[Line | Text] = [Text(left, top + 8, title)]
    for share in (0.0, 0.5, 1.0):
        y = low - share * (low - high)
        marks += [
            Line(((left, y), (right, y)), GRID),
            Text(4, y - 6, f"{first + share * (last - first):.4g}"),
        ]
    for number, (name, value) in enumerate(series):
        points = tuple(
            (
                left + row.step / end * (right - left),
                low - (value(row) - first) / (last - first) * (low - high),
            )
            for row in rows
        )
        marks += [
            Line(points, COLOURS[number]),
            Text(left + 140 + 90 * number, top + 8, name, COLOURS[number]),
        ]
    marks.append(Text(right - 70, low + 2, f"step {end}"))
    return marks


def _svg(marks: list[Line | Text], height: int) -> bytes:
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">']
    lines.append('<rect width="100%" height="100%" fill="white"/>')
    for mark in marks:
        if isinstance(mark, Line):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
            lines.append(f'<polyline points="{points}" fill="none" stroke="{mark.colour}"/>')
        else:
            style = f'fill="{mark.colour}" font-family="sans-serif" font-size="11"'
            lines.append(f'<text x="{mark.x:.1f}" y="{mark.y + 10:.1f}" {style}>{mark.text}</text>')
    return "\n".join([*lines, "</svg>", ""]).encode()


def _png(marks: list[Line | Text], height: int) -> bytes:
    image = Image.new("RGB", (WIDTH, height), "white")
    canvas = ImageDraw.Draw(image)
    for mark in marks:
        if isinstance(mark, Line):
            canvas.line(list(mark.points), fill=mark.colour, width=2 if mark.colour in COLOURS else 1)
        else:
            canvas.text((mark.x, mark.y), mark.text, fill=mark.colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
