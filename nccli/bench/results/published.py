"""Curves that others have published, from tab-separated tables with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nccli.bench.results.curves import Curve, Point
from nccli.errors import MediaError

NEEDED = ("name", "bpp", "psnr")
OPTIONAL = ("ms_ssim", "matches", "settings", "source", "encode_s", "decode_s")


@dataclass(frozen=True)
class Published:
    """One published curve.

    Attributes:
        name: for people.
        matches: the codec of ours that ran with the same settings; empty when none does.
        settings: what is known of the encoder's.
        source: where the figures stand.
        curve: the figures.
    """

    name: str
    matches: str
    settings: str
    source: str
    curve: Curve


def read_published(path: Path) -> tuple[Published, ...]:
    """The curves of a table: one row per point, columns as in `NEEDED` and `OPTIONAL`.

    Lines that begin with # are remarks.

    Raises:
        MediaError: it cannot be read, or is no such table.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise MediaError(f"{path} is not a table of published figures: it is no text") from error
    names = lines[0].split("\t") if lines else []
    if not set(NEEDED) <= set(names):
        raise MediaError(
            f"{path} is not a table of published figures: it needs the columns {' '.join(NEEDED)}"
        )
    groups: dict[str, list[dict[str, str]]] = {}
    for line in lines[1:]:
        row = dict(zip(names, line.split("\t"), strict=False))
        groups.setdefault(row["name"], []).append(row)
    try:
        return tuple(_curve(name, rows) for name, rows in groups.items())
    except (ValueError, KeyError) as error:
        raise MediaError(f"{path} is not a table of published figures: {error}") from error


def _curve(name: str, rows: list[dict[str, str]]) -> Published:
    def number(row: dict[str, str], column: str) -> float | None:
        return float(row[column]) if row.get(column) else None

    points = [
        Point(
            setting=None,
            bpp=float(row["bpp"]),
            psnr=number(row, "psnr"),
            ms_ssim=number(row, "ms_ssim"),
            encode_s=number(row, "encode_s"),
            decode_s=number(row, "decode_s"),
        )
        for row in rows
    ]
    first = rows[0]
    return Published(
        name,
        first.get("matches", ""),
        first.get("settings", ""),
        first.get("source", ""),
        tuple(sorted(points, key=lambda p: p.bpp)),
    )
