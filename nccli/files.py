"""Reading and writing files: `-` for pipes, and never half a file. Standard library only."""

from __future__ import annotations

import contextlib
import os
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


def write_bytes(path: str, data: bytes, force: bool) -> None:
    """Write a whole file or none: to a temporary file beside it, then renamed.

    Raises:
        UsageError: the file exists and `force` is not set.
        MediaError: it cannot be written.
    """
    if path == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    refuse_overwrite(path, force)
    target = Path(path)
    try:
        handle, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(part, 0o666 & ~_umask())
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def refuse_overwrite(path: str, force: bool) -> None:
    """Raise UsageError if `path` exists and `force` is not set."""
    if path != STREAM and not force and Path(path).exists():
        raise UsageError(f"{path} exists; --force overwrites it")
