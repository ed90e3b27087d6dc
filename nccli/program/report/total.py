"""What a batch has come to. Standard library only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from nccli.errors import ExitCode
from nccli.program.job import MaskReport, Outcome


@dataclass
class Total:
    """What a batch has come to so far.

    Attributes:
        unit: what is counted: `pictures`, or `frames`.
    """

    unit: str = "pictures"
    done: int = 0
    skipped: int = 0
    failed: int = 0
    units: int = 0
    pixels: int = 0
    bytes: int = 0
    exit_code: int = ExitCode.OK
    start: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count one more job; the exit code is the first failure's."""
        self.skipped += outcome.skipped
        self.failed += outcome.error is not None
        self.exit_code = self.exit_code or int(outcome.exit_code)
        report = outcome.report
        if report is None:
            return
        self.done += 1
        self.units += outcome.units
        self.pixels += report.width * report.height * outcome.units
        if not isinstance(report, MaskReport):
            self.bytes += report.bytes

    def text(self, verb: str) -> str:
        """One line for people."""
        parts = [f"{self.done} {verb}"]
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        seconds = time.monotonic() - self.start
        size = f" {self.bytes:,} bytes of ncc, {self.bytes * 8 / max(self.pixels, 1):.3f} bpp,"
        speed = f"{self.units / max(seconds, 1e-3):.1f} {self.unit}/s"
        counted = f"{self.pixels / 1e6:.1f} megapixels,{size if self.bytes else ''} {seconds:.1f} s, {speed}"
        return f"{', '.join(parts)}; {counted}"
