"""Reading and writing files: `-` for pipes, and never half a file. Standard library only."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import tempfile
from pathlib import Path

from nccli.errors import MediaError, UsageError

STREAM = "-"
"""The path that means stdin or stdout."""


def read_bytes(path: str) -> bytes:
    """Contents of a file, or of stdin for `-`."""
    try:
        if path == STREAM:
            return sys.stdin.buffer.read()
        return Path(path).read_bytes()
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error


def write_bytes(path: str, data: bytes | memoryview, force: bool) -> None:
    """Write a whole file or none: to a temporary file beside it, then renamed.

    Missing folders are made. Pipes and devices are written to directly.

    Raises:
        UsageError: the file exists and `force` is not set.
        MediaError: it cannot be written.
    """
    if path == STREAM:
        _write_stdout(data)
        return
    refuse_overwrite(path, force)
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                file.write(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_renamed(target, data)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror or error}") from error


def _write_renamed(target: Path, data: bytes | memoryview) -> None:
    handle, part = tempfile.mkstemp(prefix=f".{target.name[:200]}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _write_stdout(data: bytes | memoryview) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        abandon_stdout()
        raise MediaError(f"cannot write to standard output: {error.strerror or error}") from error


def abandon_stdout() -> None:
    """Let what is left in standard output go nowhere: the interpreter flushes it once more at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    try:
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in output.poll(0))
    except OSError:
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def refuse_overwrite(path: str, force: bool) -> None:
    """Raise UsageError if `path` is an existing file and `force` is not set, or a terminal."""
    if path == STREAM:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal: redirect it, or give -o FILE")
    elif not force and (Path(path).is_file() or Path(path).is_dir()):
        raise UsageError(f"{path} exists; --force overwrites it")
