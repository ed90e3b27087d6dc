"""Many inputs: which files, where their outputs go, and worker processes. Standard library only."""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from nccli.errors import ExitCode, UsageError
from nccli.files import STREAM
from nccli.jobs import DecodeOptions, EncodeOptions, Job, Outcome, perform

PICTURE_SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".avif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".bmp",
        ".gif",
    ]
)
"""What is taken from a folder when encoding; a file named by itself may have any suffix."""

NCC_SUFFIXES = frozenset({".ncc"})

GRACE_SECONDS = 5
"""What a worker that lost its parent has to clean up."""

if TYPE_CHECKING:
    from nccli.tiles import Progress

Options = EncodeOptions | DecodeOptions


def default_output(source: str, suffix: str) -> str:
    """The input's path with another suffix; stdout for stdin."""
    return source if source == STREAM else str(Path(source).with_suffix(suffix))


def plan(
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    wanted: frozenset[str],
    suffix: str,
) -> list[Job]:
    """The jobs for what a user asked for.

    Args:
        sources: files, folders, patterns, or `-`.
        output: the one output, for one input.
        out_dir: folder of the outputs; those of a folder keep its tree.
        recursive: descend into folders.
        wanted: suffixes taken from folders.
        suffix: of the outputs.

    Raises:
        UsageError: the request makes no sense.
    """
    if output and out_dir:
        raise UsageError("give either --output or --out-dir")
    found = [pair for source in sources for pair in _expand(source, recursive, wanted)]
    if STREAM in sources and len(found) > 1:
        raise UsageError("standard input cannot be one of several inputs")
    if output:
        if len(found) > 1:
            raise UsageError(f"{len(found)} inputs cannot share the output {output}; use --out-dir")
        return [Job(str(found[0][0]), output)]
    jobs: list[Job] = []
    taken: dict[str, str] = {}
    for path, relative in found:
        target = default_output(path, suffix)
        if out_dir and path != STREAM:
            target = str(Path(out_dir, relative).with_suffix(suffix))
        other = taken.setdefault(target, path)
        refused = None if other == path else f"{path} and {other} would both be written to {target}"
        jobs.append(Job(path, target, refused))
    return list(dict.fromkeys(jobs))


def _expand(source: str, recursive: bool, wanted: frozenset[str]) -> list[tuple[str, Path]]:
    """Paths behind one argument, each with the part that an output folder keeps."""
    path = Path(source)
    if source != STREAM and not path.exists() and glob.has_magic(source):
        hits = sorted(glob.glob(source, recursive=True))
        if not hits:
            raise UsageError(f"nothing matches {source}")
        return [pair for hit in hits for pair in _expand(hit, recursive, wanted)]
    if source == STREAM or not path.is_dir():
        return [(source, Path(path.name))]
    inside = sorted(path.rglob("*") if recursive else path.iterdir())
    chosen = [p for p in inside if p.suffix.lower() in wanted and p.is_file() and not p.name.startswith(".")]
    if not chosen:
        hint = "" if recursive else " (--recursive looks into its folders)"
        raise UsageError(f"no {' '.join(sorted(wanted))} files in {source}{hint}")
    return [(str(p), p.relative_to(path)) for p in chosen]


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    jobs: list[Job],
    options: Options,
    workers: int,
    skip_existing: bool,
    handle: Callable[[Job, Callable[[], Outcome]], None],
    progress: Progress | None = None,
) -> None:
    """Do all jobs; `handle` gets, for each in order, a call that waits for its outcome.

    The call raises what `perform` does not foresee. With several workers, each has its share of the
    cores and loads its model once.
    """
    skipped = {job for job in jobs if skip_existing and Path(job.output).exists()}
    workers = min(workers, len(jobs) - len(skipped))
    if workers <= 1:
        for job in jobs:
            done = Outcome(job, skipped=True)
            handle(job, partial(_same, done) if job in skipped else partial(perform, job, options, progress))
        return
    threads = max((options.common.threads or cores()) // workers, 1)
    options = replace(options, common=replace(options.common, threads=threads))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    try:
        futures = {job: pool.submit(perform, job, options) for job in jobs if job not in skipped}
        for job in jobs:
            handle(job, partial(_collect, job, futures.get(job)))
    except BaseException:
        for child in active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _same(outcome: Outcome) -> Outcome:
    return outcome


def _collect(job: Job, future: Future[Outcome] | None) -> Outcome:
    if future is None:
        return Outcome(job, skipped=True)
    try:
        return future.result()
    except BrokenProcessPool:
        text = f"{job.source}: not done, since a worker process died (out of memory?)"
        return Outcome(job, error=text, exit_code=ExitCode.MEDIA)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, clean up when told to stop, and do not outlive the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=_watch_parent, daemon=True).start()


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Signal handler: unwind, so that temporary files go, then exit."""
    raise SystemExit(128 + number)


def _watch_parent() -> None:
    parent = parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    with contextlib.suppress(ValueError):
        signal.raise_signal(signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
