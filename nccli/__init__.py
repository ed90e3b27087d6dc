"""ncc: a neural image codec.

    import nccli
    encoded = nccli.encode_pixels(pixels, nccli.Target(lmbda=0.01))
    pixels = nccli.decode_bytes(encoded.data).pixels

Names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Decoded": "codec",
    "Encoded": "codec",
    "NccError": "errors",
    "Report": "codec",
    "Target": "search",
    "decode_bytes": "codec",
    "encode_pixels": "codec",
    "read_container": "container",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"nccli.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'nccli' has no attribute {name!r}")
