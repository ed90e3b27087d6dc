"""report.html: one file with everything in it, for any browser and no network."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nccli.bench.frames import load, shown
from nccli.bench.results.summary import Summary
from nccli.bench.rows import Row
from nccli.bench.runner import Comparison, picture_path

TARGETS = (0.1, 0.25, 0.5, 1.0)
"""Rates in bpp at which pictures can be compared; each codec shows its nearest."""

NEAR = 1.5
"""Files this many times larger or smaller than asked for are not shown."""

SOURCE = Path(__file__).parent / "page"


@dataclass(frozen=True)
class Item:
    """A decoded picture in the page: `uri` is its place in the list of embedded pictures."""

    bytes: int
    bpp: float
    psnr: float
    uri: int


@dataclass(frozen=True)
class Side:
    """What one codec has of a picture, at each of `TARGETS`."""

    codec: str
    title: str
    items: tuple[Item | None, ...]


@dataclass(frozen=True)
class Shown:
    """One picture that can be looked at."""

    name: str
    original: int
    sides: tuple[Side, ...]


def make_page(comparison: Comparison, summary: Summary, rows: Sequence[Row]) -> bytes:
    """The page of a run."""
    uris: list[str] = []
    pictures = [
        _shown(comparison, place, rows, uris)
        for place in range(min(comparison.pictures, len(comparison.images)))
    ]
    data: dict[str, Any] = asdict(summary)
    data |= {"pictures": [asdict(picture) for picture in pictures], "targets": TARGETS, "uris": uris}
    parts = {
        "style": (SOURCE / "page.css").read_text(encoding="utf-8"),
        "script": "".join((SOURCE / name).read_text(encoding="utf-8") for name in ("chart.js", "page.js")),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    page = (SOURCE / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text)
    return page.encode()


def _shown(comparison: Comparison, place: int, rows: Sequence[Row], uris: list[str]) -> Shown:
    image = comparison.images[place]
    original = _embed(shown(load(image.path, comparison.frames)), uris)
    sides = []
    for codec in comparison.codecs:
        found = [row for row in rows if row.codec == codec.name and row.image == image.name]
        chosen = [nearest(found, target) for target in TARGETS]
        places: dict[float, int] = {}
        for row in chosen:
            if row and row.setting not in places:
                data = picture_path(comparison.folder, place, codec, row.setting).read_bytes()
                places[row.setting] = _embed(data, uris)
        items = tuple(Item(r.bytes, r.bpp, r.psnr, places[r.setting]) if r else None for r in chosen)
        if found:
            sides.append(Side(codec.name, codec.title, items))
    return Shown(image.name, original, tuple(sides))


def nearest(rows: Sequence[Row], target: float) -> Row | None:
    """The row whose rate is nearest to `target` bpp, if it is near at all."""
    if not rows:
        return None
    row = min(rows, key=lambda r: abs(math.log(r.bpp / target)))
    return row if abs(math.log(row.bpp / target)) <= math.log(NEAR) else None


def _embed(data: bytes, uris: list[str]) -> int:
    uris.append(f"data:image/webp;base64,{base64.b64encode(data).decode()}")
    return len(uris) - 1
