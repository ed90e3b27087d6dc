"""ncc: a neural image codec.

    import nccli
    encoded = nccli.encode(image, lmbda=0.01)     # PIL image, numpy array or torch tensor
    image = nccli.decode(encoded.data)            # PIL image
    array = nccli.decode_array(encoded.data)      # numpy array
    refined = nccli.refine(image, lmbda=0.01)     # a smaller file, for more encoder time

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
    from nccli.refinement.api import Refined, refine, refine_file, refine_picture
    from nccli.refinement.config import RefineOptions
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
    "RefineOptions": "refinement.config",
    "Refined": "refinement.api",
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
    "refine": "refinement.api",
    "refine_file": "refinement.api",
    "refine_picture": "refinement.api",
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
    "RefineOptions",
    "Refined",
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
    "refine",
    "refine_file",
    "refine_picture",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"nccli.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'nccli' has no attribute {name!r}")
