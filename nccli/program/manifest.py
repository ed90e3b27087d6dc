"""The manifest of a batch: JSON lines of what was begun and done, failures apart.

Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from nccli.catalogue.entries import find, mask_entries
from nccli.engine.journal import Journal, read_journal
from nccli.errors import UsageError
from nccli.files import STREAM
from nccli.masks.request import mask_file
from nccli.program.job import Job, Outcome
from nccli.program.options import DecodeOptions, EncodeOptions, JobOptions, MaskOptions
from nccli.program.report.listing import one_or_all

FAILURES = ".failed"
"""Goes between the name and the suffix of the manifest, for the file of failures."""


def settings_of(options: JobOptions) -> str:
    """A short name for everything in the options that decides what is written."""
    common = replace(options.common, threads=None, force=False, device="auto", max_memory=None)
    weights, decisive = "", replace(options, common=common)
    if isinstance(decisive, EncodeOptions):
        weights = find(decisive.encoding.model).sha256 + _mask_weights(decisive.roi.roi_model)
        decisive = replace(decisive, encoding=replace(decisive.encoding, device="auto"))
    elif isinstance(decisive, MaskOptions):
        weights = _mask_weights(decisive.model)
    text = f"{decisive!r} {weights}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mask_weights(model: str | None) -> str:
    """The checksum of a shipped network that makes masks."""
    return "".join(entry.sha256 for entry in mask_entries() if entry.name == model)


def failures_path(path: Path) -> Path:
    """Where the failures of a manifest are: `x.jsonl` -> `x.failed.jsonl`."""
    return path.with_name(f"{path.stem}{FAILURES}{path.suffix}")


def files_beside(job: Job, options: JobOptions) -> tuple[str, ...]:
    """Files that decide what becomes of a job beside its inputs: masks, originals, networks."""
    if isinstance(options, DecodeOptions):
        return () if options.reference is None else (options.reference,)
    if isinstance(options, MaskOptions):
        return _network_file(options.model)
    found = [
        options.original,
        None if options.encoding.refine is None else options.encoding.refine.lpips_weights,
    ]
    if options.roi.roi_mask is not None:
        # A mask that is not there is for the job to find out.
        with contextlib.suppress(UsageError):
            found.append(mask_file(options.roi.roi_mask, job.sources[0]))
    named = () if options.roi.roi_model is None else _network_file(options.roi.roi_model)
    return (*(path for path in found if path is not None), *named)


def _network_file(model: str) -> tuple[str, ...]:
    """The file that a model for masks names, if it does."""
    kind, _, rest = model.partition(":")
    return (rest.partition(",")[0],) if kind == "onnx" else ()


def _nothing(job: Job) -> tuple[str, ...]:
    return ()


class Manifest:
    """What a batch has come to, in a file that outlives the process; without a path, nothing at all.

    A line `begun` comes before the work on an input, a line `done` after it. An output that an earlier
    run began and did not finish is thus known to be this batch's own.
    """

    def __init__(
        self,
        path: str | None = None,
        settings: str = "",
        resume: bool = False,
        beside: Callable[[Job], tuple[str, ...]] = _nothing,
    ) -> None:
        """Begin a manifest, or continue one.

        Args:
            path: the file.
            settings: see `settings_of`; what was done with others is done again.
            resume: continue.
            beside: what a job reads beside its inputs; it is done again when one of these has changed.

        Raises:
            UsageError: the file exists and is not to be continued.
        """
        self._journal: Journal | None = None
        self._done: dict[str, dict[str, Any]] = {}
        self._begun: set[str] = set()
        self._settings, self._beside = settings, beside
        if path is None:
            return
        target = Path(path)
        if target.exists() and not resume:
            raise UsageError(f"{path} exists; --resume continues it")
        for row in read_journal(target):
            key = _key(row.get("input"), row.get("output"))
            self._begun.add(key)
            if row.get("status") == "done":
                self._done[key] = row
        self._journal = Journal(target, fresh=not resume)
        self._failures = Journal(failures_path(target), fresh=True)
        failures_path(target).unlink(missing_ok=True)

    def begun(self, job: Job) -> bool:
        """Whether an earlier run began this job."""
        return _key_of(job) in self._begun

    def done(self, job: Job) -> bool:
        """Whether an earlier run did this job, with these settings, and all its files are as they were."""
        row = self._done.get(_key_of(job))
        return bool(row) and row == self._row(job)

    def begin(self, job: Job) -> None:
        """Note a job before it is handed out, unless it must not write its output."""
        if self._journal is None:
            return
        if STREAM in (*job.sources, *job.outputs):
            raise UsageError("--manifest takes files, not pipes")
        if not job.refused and (self.begun(job) or not any(Path(output).exists() for output in job.outputs)):
            self._journal.append({"status": "begun"} | _names(job))

    def end(self, outcome: Outcome) -> None:
        """Note what became of a job."""
        if self._journal is None:
            return
        job = outcome.job
        if outcome.error is None:
            self._journal.append(self._row(job))
        else:
            row = _names(job) | {"error": outcome.error}
            self._failures.append(row | {"exit_code": int(outcome.exit_code)})

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._failures.close()

    def _row(self, job: Job) -> dict[str, Any]:
        """The line of a finished job: enough to notice that one of its files has changed since."""
        states = [_state(path) for path in (*job.sources, *job.outputs, *self._beside(job))]
        return {"status": "done"} | _names(job) | {"settings": self._settings, "files": states}


def _state(path: str) -> list[Any]:
    """Path, bytes and time of a file."""
    found = Path(path).stat() if Path(path).exists() else None
    return [path, found.st_size if found else None, found.st_mtime_ns if found else None]


def _names(job: Job) -> dict[str, Any]:
    return {"input": one_or_all(job.sources), "output": one_or_all(job.outputs)}


def _key_of(job: Job) -> str:
    return _key(one_or_all(job.sources), one_or_all(job.outputs))


def _key(source: Any, output: Any) -> str:
    """What names a job, from the fields of a line."""
    return json.dumps([source, output])
