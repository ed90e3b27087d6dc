"""What people and programs read: tables and progress on stderr, JSON lines on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self, TextIO

from nccli.container.colour_section import unpack_colour
from nccli.container.image_file import ImageContainer
from nccli.container.section_ids import SectionId
from nccli.entropy.rate import rate_to_lambda
from nccli.errors import ExitCode
from nccli.networks.entry import Entry

if TYPE_CHECKING:
    from nccli.program.job import Outcome


PATIENCE_SECONDS = 1.0
"""Shorter work shows no progress bar."""


@dataclass(frozen=True)
class Printer:
    """Where messages go.

    Attributes:
        json: one JSON object per input instead of tables.
        quiet: nothing but errors.
        stdout_busy: stdout carries data, so JSON goes to stderr.
        trace: show where errors came from.
    """

    json: bool = False
    quiet: bool = False
    stdout_busy: bool = False
    trace: bool = False

    def outcome(self, outcome: Outcome, verb: str, alone: bool) -> None:
        """One input's result; `alone` when it is the only one."""
        for text in outcome.warnings:
            self.warning(text)
        if outcome.error is not None:
            self.failure(outcome)
        elif self.json:
            self._json(outcome_rows(outcome))
        elif alone and not self.quiet:
            print_rows(outcome_rows(outcome), f"{verb} {outcome.job.source}")

    def failure(self, outcome: Outcome) -> None:
        """One input's failure, naming the input."""
        text, source = outcome.error or "", outcome.job.source
        self.error(text if source in text else f"{source}: {text}", outcome.trace if self.trace else "")
        if self.json:
            self._json(outcome_rows(outcome))

    def _json(self, rows: dict[str, Any]) -> None:
        stream: TextIO = sys.stderr if self.stdout_busy else sys.stdout
        print(json.dumps(rows), file=stream, flush=True)

    def summary(self, total: Total, verb: str) -> None:
        """The last line after several inputs."""
        if not self.quiet:
            print(f"ncc: {total.text(verb)}", file=sys.stderr)

    def warning(self, text: str) -> None:
        """A remark that does not stop the work."""
        if not self.quiet:
            print(f"ncc: warning: {text}", file=sys.stderr)

    @staticmethod
    def error(text: str, trace: str = "") -> None:
        """A failure, on one line; `trace` before it shows where it came from."""
        with contextlib.suppress(OSError):
            print(f"{trace}ncc: error: {' '.join(text.split())}", file=sys.stderr)


@dataclass
class Total:
    """What a batch has come to so far."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    pixels: int = 0
    bytes: int = 0
    exit_code: int = ExitCode.OK
    start: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count one more; the exit code is the first failure's."""
        self.done += outcome.report is not None
        self.skipped += outcome.skipped
        self.failed += outcome.error is not None
        self.exit_code = self.exit_code or int(outcome.exit_code)
        if outcome.report:
            self.pixels += outcome.report.width * outcome.report.height
            self.bytes += outcome.report.bytes

    def text(self, verb: str) -> str:
        """One line for people."""
        parts = [f"{self.done} {verb}"]
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        seconds = time.monotonic() - self.start
        size = f"{self.bytes:,} bytes of ncc, {self.bytes * 8 / max(self.pixels, 1):.3f} bpp"
        speed = f"{self.done / max(seconds, 1e-3):.1f} pictures/s"
        return f"{', '.join(parts)}; {self.pixels / 1e6:.1f} megapixels, {size}, {seconds:.1f} s, {speed}"


class Meter:
    """A progress bar on a terminal, after the first second; nothing anywhere else."""

    def __init__(self, wanted: bool, inputs: int) -> None:
        self._wanted = wanted and sys.stderr.isatty()
        self._inputs, self._finished = inputs, 0
        self._start = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, done: float, note: str = "") -> None:
        """Note the progress of the current input, 0 .. 1, and how it stands in words."""
        if not self._wanted or (self._bar is None and time.monotonic() - self._start < PATIENCE_SECONDS):
            return
        if self._bar is None:
            self._bar = self._make()
            self._task = self._bar.add_task("", total=self._inputs)
            self._bar.start()
        self._bar.update(self._task, completed=self._finished + min(done, 1.0), description=note)

    @staticmethod
    def _make() -> Any:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        return Progress(*columns, console=Console(stderr=True), transient=True)

    def next(self) -> None:
        """One input is finished."""
        self._finished += 1
        self(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def print_rows(rows: dict[str, Any], title: str) -> None:
    """A table on stderr; plain text, since rich takes long to load."""
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
        return ", ".join(f"{k} {v:.2f}" for k, v in value.items())
    if name == "lambda":
        return f"{value:.5g}"
    text = f"{value:.4f}" if isinstance(value, float) else f"{value}"
    return f"{text} {UNITS.get(name, '')}".rstrip()


def outcome_rows(outcome: Outcome) -> dict[str, Any]:
    """An outcome as one flat object, in the field names that users see."""
    rows: dict[str, Any] = {"input": outcome.job.source, "output": outcome.job.output}
    if outcome.error is not None:
        return rows | {"status": "failed", "error": outcome.error, "exit_code": int(outcome.exit_code)}
    if outcome.report is None:
        return rows | {"status": "skipped"}
    report = asdict(outcome.report)
    measured = ("width", "height", "bytes", "bpp", "psnr", "ms_ssim")
    rows |= {"status": "done"} | {name: report[name] for name in measured}
    rows |= report["roi"] or {}
    rest = {"lambda": report["lmbda"], "model": report["model"], "device": report["device"]}
    return rows | rest | {"seconds": report["seconds"]}


def section_name(number: int) -> str:
    """Name of a section id."""
    known = {int(s): s.name.lower() for s in SectionId}
    return known.get(number, f"unknown 0x{number:02x}")


def info_rows(source: str, container: ImageContainer, entry: Entry | None) -> dict[str, Any]:
    """Every header field and section of a file."""
    header, colour = container.header, container.find(SectionId.COLOUR)
    return {
        "input": source,
        "format": f"{container.version[0]}.{container.version[1]}",
        "kind": container.kind.name.lower(),
        "bytes": container.size,
        "width": header.width,
        "height": header.height,
        "channels": 1 if header.gray else 3,
        "alpha": container.find(SectionId.ALPHA) is not None,
        "depth": header.depth,
        "colour": None if colour is None else str(unpack_colour(colour)),
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

    columns = ("name", "id", "state", "about")
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != "about")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)
