"""What every codec looks like to the measurement: frames -> bytes -> frames."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nccli.bench.codecs import Codec

Frames = NDArray[np.uint8]
"""(n, h, w, 3) RGB; a still picture has n = 1."""


class Coder(Protocol):
    """A codec that is ready to run."""

    def encode(self, frames: Frames, setting: float) -> bytes:
        """A whole file."""
        ...

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        """The frames of a file; `shape` is theirs, for formats that do not carry it."""
        ...


def open_coder(codec: Codec, threads: int, device: str) -> Coder:
    """Load a codec.

    Args:
        codec: which.
        threads: CPU threads that it may use.
        device: where networks run: `auto`, `cpu` or `cuda`.
    """
    home: Any = import_module(f"nccli.bench.{codec.home}")
    coder: Coder = home.make(codec, threads, device)
    return coder
