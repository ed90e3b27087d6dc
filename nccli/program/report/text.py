"""Tables for people; plain text where a command is short, since rich takes long to load."""

from __future__ import annotations

import os
import sys
from typing import Any


def print_rows(rows: dict[str, Any], title: str) -> None:
    """A table on stderr; plain text."""
    dim, plain = ("\033[2m", "\033[0m") if _colour() else ("", "")
    print(title, file=sys.stderr)
    width = max(8, *(len(name) for name in rows))
    for name, value in rows.items():
        if name not in ("input", "status"):
            print(f"  {dim}{name:<{width}}{plain} {_human(name, value)}", file=sys.stderr)


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


UNITS = {
    "psnr": "dB",
    "psnr_roi": "dB",
    "psnr_background": "dB",
    "roi_bytes": "bytes",
    "mask_bytes": "bytes",
    "bpp": "bits per pixel",
    "bytes": "bytes",
}


def _human(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items())
    if name == "lambda":
        return f"{value:.5g}"
    text = f"{value:.4f}" if isinstance(value, float) else f"{value}"
    return f"{text} {UNITS.get(name, '')}".rstrip()


def print_info(rows: dict[str, Any]) -> None:
    """`ncc info` for people, on stdout; plain text."""
    for name, value in rows.items():
        if name != "sections":
            print(f"{name:<10} {_human(name, value)}")
    print(f"{'section':<16} {'offset':>10} {'size':>10}")
    for section in rows["sections"]:
        print(f"{section['name']:<16} {section['offset']:>10} {section['size']:>10}")


def print_models(rows: list[dict[str, Any]]) -> None:
    """`ncc models` for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    columns = ("name", "id", "state", "about")
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != "about")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    console = Console()
    with console.capture() as text:
        console.print(table)
    print(text.get(), end="")  # where the reader may be gone, which Console would see to in its own way
