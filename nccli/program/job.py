"""What is worked on together, and what became of it. Standard library only."""

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
    """Inputs that are worked on together, and where the outputs go.

    Attributes:
        sources: one input for most commands, both for a pair.
        outputs: likewise.
        refused: why this job cannot be done, found out while planning.
    """

    sources: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    refused: str | None = None

    @property
    def source(self) -> str:
        """The input, of a command that takes them one by one."""
        (source,) = self.sources
        return source

    @property
    def output(self) -> str:
        """The output, of a command that writes one for each job."""
        (output,) = self.outputs
        return output

    @property
    def name(self) -> str:
        """The inputs, for people."""
        return " + ".join(self.sources)


@dataclass(frozen=True)
class MaskReport:
    """A mask that was made.

    Attributes:
        width: pixels.
        height: pixels.
        model: what made it.
        share: part of the picture that is important.
        mask_bytes: what the mask takes in a file; 0 when it makes no difference.
        seconds: time spent.
    """

    width: int
    height: int
    model: str
    share: float
    mask_bytes: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        report: set when it was done.
        warnings: remarks for the user.
        skipped: its outputs were there already.
        error: what went wrong, one line.
        exit_code: of the failure; 0 when there is none.
        trace: where the failure came from.
        units: pictures, or frames of a clip, of the report's size that were worked on.
    """

    job: Job
    report: Report | MaskReport | None = None
    warnings: tuple[str, ...] = ()
    skipped: bool = False
    error: str | None = None
    exit_code: int = ExitCode.OK
    trace: str = ""
    units: int = 1


@dataclass(frozen=True)
class Failure:
    """An error as the user sees it."""

    text: str
    exit_code: int
    trace: str = ""

    def outcome(self, job: Job) -> Outcome:
        """What became of a job that met it."""
        return Outcome(job, error=self.text, exit_code=self.exit_code, trace=self.trace)
