"""Converted networks in the user's cache folder. Standard library only; nothing here downloads."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from nccli.zoo.names import ZooModel


@dataclass(frozen=True)
class Fetched:
    """A converted network on this machine.

    Attributes:
        path: weights file; its name holds its checksum.
        sha256: of that file, hexadecimal.
    """

    path: Path
    sha256: str

    @property
    def tag(self) -> bytes:
        """The 4 bytes that name these weights in a file header."""
        return bytes.fromhex(self.sha256[:8])


def zoo_folder() -> Path:
    """Where converted networks are kept: NCC_CACHE, or `ncc` in the user's cache folder."""
    given = os.environ.get("NCC_CACHE")
    if given:
        return Path(given) / "zoo"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "ncc" / "zoo"


def file_name(model: ZooModel, sha256: str) -> str:
    """Name of a converted network."""
    return f"{model.stem}-{sha256}.safetensors"


def fetched(model: ZooModel) -> tuple[Fetched, ...]:
    """What is here of a model, newest first: more than one after conversions by different versions."""
    name = re.compile(re.escape(model.stem) + r"-([0-9a-f]{64})\.safetensors")
    found = []
    for path in zoo_folder().glob(f"{model.stem}-*.safetensors"):
        match = name.fullmatch(path.name)
        if match and path.is_file():
            found.append((path.stat().st_mtime, Fetched(path, match[1])))
    return tuple(item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True))
