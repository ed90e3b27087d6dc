"""The `ncc` program: its commands and its entry point."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

import click

from nccli import files
from nccli.cli.bench import bench
from nccli.cli.completion import completion
from nccli.cli.decode import decode
from nccli.cli.encode import encode
from nccli.cli.failures import attempt
from nccli.cli.info import info
from nccli.cli.models import models
from nccli.cli.refine import refine
from nccli.cli.roi import roi
from nccli.engine.local import leave
from nccli.errors import ExitCode
from nccli.program.job import Failure
from nccli.program.report.printer import Printer


def _version() -> str:
    try:
        return version("nccli")
    except PackageNotFoundError:
        return "unknown"


@click.group(
    commands=[encode, decode, refine, bench, roi, info, models, completion],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(_version(), prog_name="ncc")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def cli(context: click.Context, traceback: bool) -> None:
    """ncc: a neural image codec. Files decode to the same symbols on every machine.

    Exit codes: 0 done, 1 a bug, 2 usage, 3 corrupt file, 4 unsupported version or model, 5 a picture
    or file that cannot be read or written, 130 interrupted, 141 nobody reads the output any more. Of
    several failures the first counts.
    """
    context.obj = traceback


def _run() -> None:
    """The command, and all that it has to say."""
    try:
        cli.main(standalone_mode=False, prog_name="ncc")
        sys.stdout.flush()
    except SystemExit as stop:
        if stop.code == ExitCode.BUG and files.reader_gone():  # click's way to end when a pipe breaks
            raise SystemExit(ExitCode.READER_GONE) from None
        sys.stdout.flush()
        raise


def main() -> None:
    """Entry point of the `ncc` program."""
    trace = "--traceback" in sys.argv
    # Before torch is loaded: threads that spin while they wait double the time of a small picture on a
    # machine that has other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, leave)
    if not trace:
        warnings.simplefilter("ignore")
    result = attempt(_run)
    if isinstance(result, Failure):
        Printer.error(result.text, result.trace if trace else "")
        raise SystemExit(result.exit_code)
