"""Many jobs: who does them, in which order they are reported. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from nccli.engine import Engine, WorkerDied, make_engine
from nccli.program.job import Failure, Job, Listener, Outcome
from nccli.program.manifest import Manifest
from nccli.program.options import JobOptions
from nccli.program.perform import perform

Assignment = tuple[Job, JobOptions]


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    jobs: list[Job],
    options: JobOptions,
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
    skipped = {job for job in jobs if (skip_existing and _exists(job)) or manifest.done(job)}
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


def _exists(job: Job) -> bool:
    return bool(job.outputs) and all(Path(output).exists() for output in job.outputs)


def _in_order(
    jobs: list[Job],
    skipped: set[Job],
    tasks: Iterator[Assignment],
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


def _noted(tasks: Iterator[Assignment], manifest: Manifest) -> Iterator[Assignment]:
    """The tasks, each written down before it is handed out."""
    for task in tasks:
        manifest.begin(task[0])
        yield task


def _options_of(job: Job, options: JobOptions, manifest: Manifest) -> JobOptions:
    """The options of a job: what an interrupted run began may be overwritten."""
    if not manifest.begun(job):
        return options
    return replace(options, common=replace(options.common, force=True))


def _perform(task: Assignment) -> Outcome:
    return perform(*task)


def _here(job: Job, options: JobOptions, progress: Listener | None, manifest: Manifest) -> Outcome:
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
        outcome = Failure(f"{job.name}: {error}", error.exit_code).outcome(job)
    manifest.end(outcome)
    return outcome
