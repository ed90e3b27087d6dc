"""One model: name, number, file and checksum. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        name: what `--model` takes.
        id: number in the file header, never reused.
        file: weights file in the models folder, or the whole path of one elsewhere.
        sha256: of that file, hexadecimal.
        about: one line for people.
        retired: why the model is gone; its number stays taken. Empty for the others.
    """

    name: str
    id: int
    file: str
    sha256: str
    about: str
    retired: str = ""

    @property
    def tag(self) -> bytes:
        """The 4 bytes that name these weights in a file header."""
        return bytes.fromhex(self.sha256[:8])
