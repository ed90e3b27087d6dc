"""How far a command is, for whoever watches a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

PATIENCE_SECONDS = 1.0
"""Shorter work shows no progress bar."""


class ProgressBar:
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
