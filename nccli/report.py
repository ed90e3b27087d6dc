"""What people and programs read: tables and progress on stderr, JSON lines on stdout."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from nccli.catalogue import Entry
from nccli.container import Container, SectionId
from nccli.rate import rate_to_lambda

if TYPE_CHECKING:
    from nccli.codec import Report


@dataclass(frozen=True)
class Printer:
    """Where messages go.

    Attributes:
        json: one JSON object per input instead of tables.
        quiet: nothing but errors.
        stdout_busy: stdout carries data, so JSON goes to stderr.
    """

    json: bool = False
    quiet: bool = False
    stdout_busy: bool = False

    def result(self, rows: dict[str, Any], title: str) -> None:
        """One input's result."""
        if self.json:
            stream: TextIO = sys.stderr if self.stdout_busy else sys.stdout
            print(json.dumps(rows), file=stream, flush=True)
        elif not self.quiet:
            self._table(rows, title)

    def warning(self, text: str) -> None:
        """A remark that does not stop the work."""
        if not self.quiet:
            print(f"ncc: warning: {text}", file=sys.stderr)

    @staticmethod
    def error(text: str) -> None:
        """A failure, on one line."""
        print(f"ncc: error: {' '.join(text.split())}", file=sys.stderr)

    @staticmethod
    def _table(rows: dict[str, Any], title: str) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
        for name, value in rows.items():
            table.add_row(f"[dim]{name}[/dim]", _human(name, value))
        Console(stderr=True).print(table)


UNITS = {"psnr": "dB", "bpp": "bits per pixel", "bytes": "bytes"}


def _human(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:.2f}" for k, v in value.items())
    if name == "lambda":
        return f"{value:.5g}"
    text = f"{value:.4f}" if isinstance(value, float) else f"{value}"
    return f"{text} {UNITS.get(name, '')}".rstrip()


def report_rows(source: str, output: str, report: Report) -> dict[str, Any]:
    """A `codec.Report` as one flat object, in the field names that users see."""
    rows = {"input": source, "output": output} | asdict(report)
    order = ["input", "output", "width", "height", "bytes", "bpp", "psnr", "ms_ssim"]
    rest = {"lambda": rows["lmbda"], "model": rows["model"], "device": rows["device"]}
    return {name: rows[name] for name in order} | rest | {"seconds": rows["seconds"]}


def section_name(number: int) -> str:
    """Name of a section id."""
    known = {int(s): s.name.lower() for s in SectionId}
    return known.get(number, f"unknown 0x{number:02x}")


def info_rows(source: str, container: Container, entry: Entry | None) -> dict[str, Any]:
    """Every header field and section of a file."""
    header = container.header
    return {
        "input": source,
        "format": f"{container.version[0]}.{container.version[1]}",
        "kind": header.kind.name.lower(),
        "bytes": container.size,
        "width": header.width,
        "height": header.height,
        "bpp": container.size * 8 / header.pixels,
        "model_id": header.model_id,
        "model": entry.name if entry else None,
        "weights": header.weights_tag.hex(),
        "rate": header.rate,
        "lambda": rate_to_lambda(header.rate),
        "step_y": header.step_y,
        "step_z": header.step_z,
        "sections": [
            {
                "name": section_name(s.id),
                "id": s.id,
                "offset": s.offset,
                "size": s.size,
                "payload": len(s.payload),
            }
            for s in container.sections
        ],
    }


def print_info(rows: dict[str, Any]) -> None:
    """`ncc info` for people, on stdout; plain text, since rich takes long to load."""
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

    table = Table(box=None, pad_edge=False)
    for column in ("name", "id", "file", "state", "about"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[c]) for c in ("name", "id", "file", "state", "about")))
    Console().print(table)
