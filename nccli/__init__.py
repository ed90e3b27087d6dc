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
    from nccli.codec.encoding import Encoding, Rate
    from nccli.codec.image import encode_picture, encode_pixels
    from nccli.codec.opened import decode_bytes
    from nccli.codec.refining import RefineOptions
    from nccli.codec.result import Decoded, Encoded, Report
    from nccli.coding.search import Target
    from nccli.container.kinds import read_container
    from nccli.errors import FormatError, MediaError, ModelError, NccError, UnsupportedError, UsageError
    from nccli.media.picture import Metadata, Picture
    from nccli.refinement.refined import Refined, refine, refine_file, refine_picture

_HOMES = {
    "Decoded": "codec.result",
    "Encoded": "codec.result",
    "Encoding": "codec.encoding",
    "FormatError": "errors",
    "MediaError": "errors",
    "Metadata": "media.picture",
    "ModelError": "errors",
    "NccError": "errors",
    "Picture": "media.picture",
    "Rate": "codec.encoding",
    "RefineOptions": "codec.refining",
    "Refined": "refinement.refined",
    "Report": "codec.result",
    "Target": "coding.search",
    "UnsupportedError": "errors",
    "UsageError": "errors",
    "decode": "api",
    "decode_array": "api",
    "decode_bytes": "codec.opened",
    "encode": "api",
    "encode_picture": "codec.image",
    "encode_pixels": "codec.image",
    "read_container": "container.kinds",
    "refine": "refinement.refined",
    "refine_file": "refinement.refined",
    "refine_picture": "refinement.refined",
}

__all__ = [
    "Decoded",
    "Encoded",
    "Encoding",
    "FormatError",
    "MediaError",
    "Metadata",
    "ModelError",
    "NccError",
    "Picture",
    "Rate",
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
