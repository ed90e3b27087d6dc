"""JSON lines that survive an interruption: appended as work is done. Standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nccli.errors import MediaError


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The objects of a journal; a line that was cut off is left out. Empty when there is no file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


class Journal:
    """A journal that is written to; the file is made with the first line."""

    def __init__(self, path: Path, fresh: bool) -> None:
        """Continue the file at `path`, or begin it anew."""
        self._path, self._fresh = path, fresh
        self._file: Any = None

    def append(self, row: dict[str, Any]) -> None:
        """Write a line and hand it to the system.

        Raises:
            MediaError: it cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise MediaError(f"cannot write {self._path}: {error.strerror or error}") from error

    def _open(self) -> Any:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("wb" if self._fresh else "ab+")
        if not self._fresh and file.tell() > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
