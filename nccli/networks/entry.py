"""One model: name, number, kind, file and checksum. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ModelKind(StrEnum):
    """What a model is for, and so what builds it."""

    IMAGE = "image"
    ZOO = "zoo"
    MASK = "mask"


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        name: what `--model`, or for masks `--roi-model`, takes.
        id: number in the file header, never reused; 0 for networks that no file depends on.
        file: weights file in the models folder, or the whole path of one elsewhere.
        sha256: of that file, hexadecimal.
        about: one line for people.
        retired: why the model is gone; its number stays taken. Empty for the others.
        kind: what it is for.
        lmbda: the one rate that it was trained for; None if it serves a range of them.
    """

    name: str
    id: int
    file: str
    sha256: str
    about: str
    retired: str = ""
    kind: ModelKind = ModelKind.IMAGE
    lmbda: float | None = None

    @property
    def tag(self) -> bytes:
        """The 4 bytes that name these weights in a file header."""
        return bytes.fromhex(self.sha256[:8])

    @property
    def cure(self) -> str:
        """What a user does about weights that are damaged."""
        return f"run 'ncc models fetch {self.name}'" if self.kind == ModelKind.ZOO else "reinstall ncc"

    def listed(self) -> dict[str, Any]:
        """Its object in models/index.json."""
        rest = {"about": self.about, "retired": self.retired, "kind": self.kind.value}
        return {"name": self.name, "id": self.id, "file": self.file, "sha256": self.sha256} | rest

    @classmethod
    def of(cls, item: dict[str, Any]) -> Entry:
        """The entry that `listed` made an object of.

        Raises:
            TypeError, ValueError: it made no such object.
        """
        return cls(**(item | {"kind": ModelKind(item.get("kind", ModelKind.IMAGE))}))
