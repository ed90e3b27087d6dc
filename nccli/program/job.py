"""One input and its output, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nccli.errors import ExitCode

if TYPE_CHECKING:
    from nccli.codec.result import Report


class Listener(Protocol):
    """Told how much of a job is done, 0 .. 1, and how it stands in words."""

    def __call__(self, done: float, note: str = "") -> None:
        """Hear it."""


@dataclass(frozen=True)
class Job:
    """One input and where its output goes.

    Attributes:
        refused: why this job cannot be done, found out while planning.
    """

    source: str
    output: str
    refused: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        report: set when it was done.
        warnings: remarks for the user.
        skipped: its output was there already.
        error: what went wrong, one line.
        exit_code: of the failure; 0 when there is none.
        trace: where the failure came from.
    """

    job: Job
    report: Report | None = None
    warnings: tuple[str, ...] = ()
    skipped: bool = False
    error: str | None = None
    exit_code: int = ExitCode.OK
    trace: str = ""
