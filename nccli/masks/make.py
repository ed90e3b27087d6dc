"""Models that make masks: by name, from what is shipped, installed or in a file. Nothing downloads.

What a model needs is loaded when it is used.
"""

from __future__ import annotations

import numpy as np

from nccli.catalogue.entries import find_mask_network, intact_path
from nccli.errors import UsageError
from nccli.masks.mask import Mask
from nccli.media.picture import Picture, change_depth

SHIPPED = "seg (foreground) and saliency"

MODEL_HELP = (
    "seg, saliency, boxes:CLASS[,CLASS...], torchvision:lraspp_mobilenet_v3_large[:CLASS,...] "
    "or onnx:PATH[,mean=M][,std=S]"
)


def make_mask(name: str, picture: Picture) -> Mask:
    """The mask (h, w) that the model called `name` makes of a picture.

    Raises:
        UsageError: there is no such model, or it cannot work on a single picture.
        ModelError: what it needs is not installed.
    """
    kind, _, rest = name.partition(":")
    pixels = _colours(picture)
    if kind == "seg" and not rest:
        from nccli.masks.segment import foreground

        return foreground(intact_path(find_mask_network("seg")), pixels).astype(np.uint8) * np.uint8(255)
    if kind == "saliency" and not rest:
        from nccli.masks.saliency import saliency

        return _shades(saliency(pixels))
    if kind == "onnx" and rest:
        from nccli.masks.external import onnx_mask

        return _shades(onnx_mask(rest, pixels))
    if kind == "boxes":
        from nccli.masks.vision import detected

        return _decided(detected(_classes(rest), pixels))
    if kind == "torchvision" and rest:
        from nccli.masks.vision import segmented

        network, _, classes = rest.partition(":")
        return _decided(segmented(network, _classes(classes), pixels))
    raise UsageError(_refusal(kind, name))


def _refusal(kind: str, name: str) -> str:
    if kind == "motion":
        return f"motion needs a video; shipped models for pictures are {SHIPPED}"
    if kind in ("person", "face"):
        other = "boxes:person or torchvision:lraspp_mobilenet_v3_large:person"
        return f"no shipped model finds a {kind}: use {other}, or seg for whatever stands in front"
    return f"no model called {name!r} makes masks: give {MODEL_HELP}"


def _classes(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip().lower() for part in text.split(","))))


def _decided(p: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Mask:
    """On where it is more likely than not: a mask of two values takes few bytes."""
    return (p >= 0.5).astype(np.uint8) * np.uint8(255)


def _shades(p: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Mask:
    """Importance in [0, 1] as samples."""
    mask: Mask = np.rint(p * 255).astype(np.uint8)
    return mask


def _colours(picture: Picture) -> Mask:
    """(h, w, 3) uint8."""
    pixels = change_depth(picture.pixels, 8).astype(np.uint8)
    return pixels.repeat(3, axis=2) if picture.gray else pixels
