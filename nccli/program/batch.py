"""Many inputs: which files, where their outputs go, and who does them. Standard library only."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from nccli.engine import Engine, WorkerDied, make_engine
from nccli.errors import UsageError
from nccli.files import STREAM
from nccli.program.job import Job, Listener, Outcome
from nccli.program.manifest import Manifest
from nccli.program.options import JobOptions
from nccli.program.perform import perform

NCC_SUFFIXES = (".ncc",)

Options = JobOptions
Task = tuple[Job, Options]


def default_output(source: str, suffix: str) -> str:
    """The input's path with another suffix; stdout for stdin."""
    return source if source == STREAM else str(Path(source).with_suffix(suffix))


def plan(
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    wanted: tuple[str, ...],
    suffix: str,
) -> list[Job]:
    """The jobs for what a user asked for.

    Inputs that differ only in their suffix, such as a.png and a.jpg, keep it: a.png.ncc, a.jpg.ncc.

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
    targets = [source if source == STREAM else _base(source, relative, out_dir) for source, relative in found]
    sharing: dict[str, set[str]] = {}
    for target in targets:
        sharing.setdefault(default_output(target, suffix), set()).add(Path(target).name)
    jobs: list[Job] = []
    taken: dict[str, str] = {}
    for (source, _), target in zip(found, targets, strict=True):
        short = default_output(target, suffix)
        output = short if len(sharing[short]) == 1 else target + suffix
        other = taken.setdefault(output, source)
        refused = None if other == source else f"{source} and {other} would both be written to {output}"
        jobs.append(Job(source, output, refused))
    return list(dict.fromkeys(jobs))


def _base(source: str, relative: Path, out_dir: str | None) -> str:
    """Where an output goes, with the input's suffix still on."""
    return str(Path(out_dir, relative) if out_dir else Path(source))


def _expand(source: str, recursive: bool, wanted: tuple[str, ...]) -> list[tuple[str, Path]]:
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
        raise UsageError(f"no {' '.join(wanted)} files in {source}{hint}")
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
    progress: Listener | None = None,
    engine: str = "local",
    manifest: Manifest | None = None,
) -> None:
    """Do all jobs; `handle` gets, for each in order, a call that waits for its outcome.

    The call raises what `perform` does not foresee. With several workers, each has its share of the
    cores and loads its model once; one local worker is this process. What `manifest` says is done is
    left out.
    """
    manifest = manifest or Manifest()
    skipped = {job for job in jobs if (skip_existing and Path(job.output).exists()) or manifest.done(job)}
    todo = [job for job in jobs if job not in skipped]
    workers = min(workers, len(todo))
    if workers <= 1 and engine == "local":
        for job in jobs:
            if job in skipped:
                handle(job, partial(_same, Outcome(job, skipped=True)))
            else:
                manifest.begin(job)
                handle(job, partial(_here, job, _options_of(job, options, manifest), progress, manifest))
        return
    threads = max((options.common.threads or cores()) // max(workers, 1), 1)
    options = replace(options, common=replace(options.common, threads=threads))
    tasks = ((job, _options_of(job, options, manifest)) for job in todo)
    _in_order(jobs, skipped, tasks, make_engine(engine, max(workers, 1), threads), handle, manifest)


def _in_order(
    jobs: list[Job],
    skipped: set[Job],
    tasks: Iterator[Task],
    engine: Engine,
    handle: Callable[[Job, Callable[[], Outcome]], None],
    manifest: Manifest,
) -> None:
    """Do the tasks in an engine, but handle the outcomes in the order of `jobs`."""
    waiting: dict[Job, Callable[[], Outcome]] = {}
    order = iter(jobs)
    job = next(order, None)

    def advance() -> None:
        nonlocal job
        while job is not None and (job in skipped or job in waiting):
            handle(job, waiting.pop(job) if job in waiting else partial(_same, Outcome(job, skipped=True)))
            job = next(order, None)

    advance()
    for (finished, _), finish in engine.run(_perform, _noted(tasks, manifest)):
        waiting[finished] = partial(_settle, finished, finish, manifest)
        advance()


def _noted(tasks: Iterator[Task], manifest: Manifest) -> Iterator[Task]:
    """The tasks, each written down before it is handed out."""
    for task in tasks:
        manifest.begin(task[0])
        yield task


def _options_of(job: Job, options: Options, manifest: Manifest) -> Options:
    """The options of a job: what an interrupted run began may be overwritten."""
    if not manifest.begun(job):
        return options
    return replace(options, common=replace(options.common, force=True))


def _perform(task: Task) -> Outcome:
    return perform(*task)


def _here(job: Job, options: Options, progress: Listener | None, manifest: Manifest) -> Outcome:
    outcome = perform(job, options, progress)
    manifest.end(outcome)
    return outcome


def _same(outcome: Outcome) -> Outcome:
    return outcome


def _settle(job: Job, finish: Callable[[], Outcome], manifest: Manifest) -> Outcome:
    """The outcome of a job that an engine has finished."""
    try:
        outcome = finish()
    except WorkerDied as error:
        outcome = Outcome(job, error=f"{job.source}: {error}", exit_code=error.exit_code)
    manifest.end(outcome)
    return outcome
