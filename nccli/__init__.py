"""ncc: a neural image codec.

    import nccli
    encoded = nccli.encode(image, lmbda=0.01)     # PIL image, numpy array or torch tensor
    image = nccli.decode(encoded.data)            # PIL image
    array = nccli.decode_array(encoded.data)      # numpy array

Names are loaded on first use, so that importing the package costs nothing. A loaded model is kept
and shared by all threads.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nccli.api import decode, decode_array, encode
    from nccli.codec import Decoded, Encoded, Report, decode_bytes, encode_picture, encode_pixels
    from nccli.container import read_container
    from nccli.errors import FormatError, MediaError, ModelError, NccError, UnsupportedError, UsageError
    from nccli.picture import Metadata, Picture
    from nccli.search import Target

_HOMES = {
    "Decoded": "codec",
    "Encoded": "codec",
    "FormatError": "errors",
    "MediaError": "errors",
    "Metadata": "picture",
    "ModelError": "errors",
    "NccError": "errors",
    "Picture": "picture",
    "Report": "codec",
    "Target": "search",
    "UnsupportedError": "errors",
    "UsageError": "errors",
    "decode": "api",
    "decode_array": "api",
    "decode_bytes": "codec",
    "encode": "api",
    "encode_picture": "codec",
    "encode_pixels": "codec",
    "read_container": "container",
}

__all__ = [
    "Decoded",
    "Encoded",
    "FormatError",
    "MediaError",
    "Metadata",
    "ModelError",
    "NccError",
    "Picture",
    "Report",
    "Target",
    "UnsupportedError",
    "UsageError",
    "decode",
    "decode_array",
    "decode_bytes",
    "encode",
    "encode_picture",
    "encode_pixels",
    "read_container",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"nccli.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'nccli' has no attribute {name!r}")
