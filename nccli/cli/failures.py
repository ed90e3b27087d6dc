"""Errors -> exit codes: the one place that catches everything."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

import click

from nccli import files
from nccli.errors import ExitCode, NccError
from nccli.program.job import Failure

T = TypeVar("T")


def attempt(call: Callable[[], T]) -> T | Failure:
    """The result of a call, or why there is none."""
    try:
        return call()
    except click.exceptions.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except click.exceptions.Abort:
        return Failure("interrupted", ExitCode.INTERRUPTED, "")
    except click.ClickException as error:
        error.show()
        raise SystemExit(ExitCode.USAGE) from None
    except NccError as error:
        return Failure(str(error), error.exit_code, traceback.format_exc())
    except Exception as error:
        if isinstance(error, BrokenPipeError) and files.reader_gone():
            files.abandon_stdout()
            raise SystemExit(ExitCode.READER_GONE) from None
        text = f"unexpected {type(error).__name__}: {error} (a bug; --traceback shows where)"
        return Failure(text, ExitCode.BUG, traceback.format_exc())
