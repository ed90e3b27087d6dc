"""The manifest of a batch: JSON lines of what was begun and done, failures apart.

Standard library only.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from nccli.catalogue.entries import find
from nccli.engine.journal import Journal, read_journal
from nccli.errors import UsageError
from nccli.files import STREAM
from nccli.program.job import Job, Outcome
from nccli.program.options import EncodeOptions, JobOptions

FAILURES = ".failed"
"""Goes between the name and the suffix of the manifest, for the file of failures."""


def settings_of(options: JobOptions) -> str:
    """A short name for everything in the options that decides what is written."""
    common = replace(options.common, threads=None, force=False, device="auto", max_memory=None)
    weights, decisive = "", replace(options, common=common)
    if isinstance(decisive, EncodeOptions):
        weights = find(decisive.encoding.model).sha256
        decisive = replace(decisive, encoding=replace(decisive.encoding, device="auto"))
    text = f"{decisive!r} {weights}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def failures_path(path: Path) -> Path:
    """Where the failures of a manifest are: `x.jsonl` -> `x.failed.jsonl`."""
    return path.with_name(f"{path.stem}{FAILURES}{path.suffix}")


class Manifest:
    """What a batch has come to, in a file that outlives the process; without a path, nothing at all.

    A line `begun` comes before the work on an input, a line `done` after it. An output that an earlier
    run began and did not finish is thus known to be this batch's own.
    """

    def __init__(self, path: str | None = None, settings: str = "", resume: bool = False) -> None:
        """Begin a manifest, or continue one.

        Args:
            path: the file.
            settings: see `settings_of`; what was done with others is done again.
            resume: continue.

        Raises:
            UsageError: the file exists and is not to be continued.
        """
        self._journal: Journal | None = None
        self._done: dict[tuple[str, str], dict[str, Any]] = {}
        self._begun: set[tuple[str, str]] = set()
        self._settings = settings
        if path is None:
            return
        target = Path(path)
        if target.exists() and not resume:
            raise UsageError(f"{path} exists; --resume continues it")
        for row in read_journal(target):
            key = (str(row.get("input")), str(row.get("output")))
            self._begun.add(key)
            if row.get("status") == "done":
                self._done[key] = row
        self._journal = Journal(target, fresh=not resume)
        self._failures = Journal(failures_path(target), fresh=True)
        failures_path(target).unlink(missing_ok=True)

    def begun(self, job: Job) -> bool:
        """Whether an earlier run began this job."""
        return _key(job) in self._begun

    def done(self, job: Job) -> bool:
        """Whether an earlier run did this job, with these settings, and both its files are as they were."""
        row = self._done.get(_key(job))
        return bool(row) and row == _row(job, self._settings)

    def begin(self, job: Job) -> None:
        """Note a job before it is handed out, unless it must not write its output."""
        if self._journal is None:
            return
        if STREAM in (job.source, job.output):
            raise UsageError("--manifest takes files, not pipes")
        if not job.refused and (self.begun(job) or not Path(job.output).exists()):
            self._journal.append({"status": "begun", "input": job.source, "output": job.output})

    def end(self, outcome: Outcome) -> None:
        """Note what became of a job."""
        if self._journal is None:
            return
        job = outcome.job
        if outcome.error is None:
            self._journal.append(_row(job, self._settings))
        else:
            row = {"input": job.source, "output": job.output, "error": outcome.error}
            self._failures.append(row | {"exit_code": int(outcome.exit_code)})

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._failures.close()


def _key(job: Job) -> tuple[str, str]:
    return job.source, job.output


def _row(job: Job, settings: str) -> dict[str, Any]:
    """The line of a finished job: enough to notice that one of its files has changed since."""
    row: dict[str, Any] = {"status": "done", "input": job.source, "output": job.output, "settings": settings}
    for name, path in (("input", Path(job.source)), ("output", Path(job.output))):
        state = path.stat() if path.exists() else None
        row[f"{name}_bytes"] = state.st_size if state else None
        row[f"{name}_mtime_ns"] = state.st_mtime_ns if state else None
    return row
