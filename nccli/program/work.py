"""A command over all its inputs: do each, report each, remember the first failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nccli import files
from nccli.errors import ExitCode, UsageError
from nccli.program.batch import run
from nccli.program.job import Failure, Job, Outcome
from nccli.program.manifest import Manifest, files_beside, settings_of
from nccli.program.options import JobOptions
from nccli.program.report.printer import Printer
from nccli.program.report.progress import ProgressBar
from nccli.program.report.total import Total


@dataclass(frozen=True)
class Manner:
    """How a command treats its inputs and its user.

    Attributes:
        output: the one output.
        out_dir: folder of the outputs.
        recursive: descend into folders.
        workers: processes.
        skip_existing: leave outputs alone that are there.
        json: report to programs.
        quiet: report nothing but errors.
        engine: where the work is done, one of `engine.ENGINES`.
        manifest: file that keeps what is done.
        resume: continue the manifest of an interrupted run.
    """

    output: str | None
    out_dir: str | None
    recursive: bool
    workers: int
    skip_existing: bool
    json: bool
    quiet: bool
    engine: str = "local"
    manifest: str | None = None
    resume: bool = False


@dataclass(frozen=True)
class Deed:
    """What a command does to its inputs, in words.

    Attributes:
        verb: in the past tense.
        unit: what there is of it, `pictures` or `frames`.
    """

    verb: str
    unit: str = "pictures"


def work(
    jobs: list[Job],
    options: JobOptions,
    manner: Manner,
    deed: Deed,
    trace: bool,
    attempt: Callable[[Callable[[], Outcome]], Outcome | Failure],
) -> None:
    """Do the jobs, report each, and exit with the first failure's code.

    Args:
        jobs: in the order of the report.
        options: of the command.
        manner: towards inputs and user.
        deed: what is done.
        trace: show where errors came from.
        attempt: turns an error that nobody foresaw into a `Failure`.
    """
    busy = any(files.STREAM in job.outputs for job in jobs)
    printer = Printer(manner.json, manner.quiet, busy, trace)
    total, alone = Total(deed.unit), len(jobs) == 1
    with ProgressBar(not manner.quiet, len(jobs)) as bar:

        def handle(job: Job, finish: Callable[[], Outcome]) -> None:
            outcome = attempt(finish)
            if isinstance(outcome, Failure):
                outcome = outcome.outcome(job)
            bar.next()
            total.add(outcome)
            printer.outcome(outcome, deed.verb, alone)
            if outcome.exit_code == ExitCode.INTERRUPTED:
                raise KeyboardInterrupt

        manifest = _manifest(manner, options)
        run(jobs, options, manner.workers, manner.skip_existing, handle, bar, manner.engine, manifest)
        manifest.close()
    if not alone:
        printer.summary(total, deed.verb)
    if total.exit_code:
        raise SystemExit(total.exit_code)


def _manifest(manner: Manner, options: JobOptions) -> Manifest:
    """The manifest that a command keeps."""
    if manner.manifest is None:
        if manner.resume:
            raise UsageError("--resume needs the --manifest of the run to continue")
        return Manifest()
    return Manifest(
        manner.manifest, settings_of(options), manner.resume, partial(files_beside, options=options)
    )
