"""Where a command's words go: tables and remarks to stderr, JSON lines to stdout. Standard library only."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from nccli.program.job import Outcome
from nccli.program.report.listing import outcome_rows
from nccli.program.report.text import print_rows
from nccli.program.report.total import Total


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
            print_rows(outcome_rows(outcome), f"{verb} {outcome.job.name}")

    def failure(self, outcome: Outcome) -> None:
        """One input's failure, naming the input."""
        text, job = outcome.error or "", outcome.job
        named = any(source in text for source in job.sources)
        self.error(text if named else f"{job.name}: {text}", outcome.trace if self.trace else "")
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
