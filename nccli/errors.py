"""Errors that a user can cause or meet, and the exit codes they map to."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    BUG = 1
    USAGE = 2
    CORRUPT = 3
    UNSUPPORTED = 4
    MEDIA = 5
    INTERRUPTED = 130
    READER_GONE = 141


class NccError(Exception):
    """Base of every error that ncc raises on purpose; its text is one line for the user."""

    exit_code = ExitCode.BUG


class FormatError(NccError):
    """The file is not a valid container, or is damaged.

    Attributes:
        field: what was being read.
        offset: byte offset in the file, or None when no single place is at fault.
    """

    exit_code = ExitCode.CORRUPT

    def __init__(
        self, field: str, *, offset: int | None = None, found: object = None, expected: object = None
    ) -> None:
        self.field, self.offset, self.found, self.expected = field, offset, found, expected
        text = f"corrupt file: {field}"
        if offset is not None:
            text += f" at byte {offset}"
        if found is not None:
            text += f": found {found}"
        if expected is not None:
            text += f", expected {expected}"
        super().__init__(text)


class UnsupportedError(NccError):
    """The file is well formed but needs a version, model or section that this program lacks."""

    exit_code = ExitCode.UNSUPPORTED


class MediaError(NccError):
    """A picture or output file cannot be read or written."""

    exit_code = ExitCode.MEDIA


class ModelError(NccError):
    """A weights file is missing or damaged."""

    exit_code = ExitCode.UNSUPPORTED


class UsageError(NccError):
    """The request itself makes no sense, or cannot be met."""

    exit_code = ExitCode.USAGE
