"""Models that make masks: by name, from what is shipped, installed or in a file. Nothing downloads.

What a model needs is loaded when it is used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nccli.catalogue.entries import models_folder
from nccli.errors import ModelError, UsageError
from nccli.masks.mask import Mask
from nccli.media.picture import Picture, change_depth

ROI_CATALOGUE = "roi.json"
"""Weights of models that make masks, in the models folder. No file names them: they decide nothing there."""

SHIPPED = "seg (foreground) and saliency"

MODEL_HELP = (
    "seg, saliency, boxes:CLASS[,CLASS...], torchvision:lraspp_mobilenet_v3_large[:CLASS,...] "
    "or onnx:PATH[,mean=M][,std=S]"
)


@dataclass(frozen=True)
class RoiEntry:
    """Weights of a model that makes masks.

    Attributes:
        name: what `--roi-model` takes.
        file: in the models folder.
        sha256: of that file, hexadecimal.
        about: one line for people.
    """

    name: str
    file: str
    sha256: str
    about: str


def roi_entries() -> tuple[RoiEntry, ...]:
    """Every shipped model that makes masks."""
    path = models_folder() / ROI_CATALOGUE
    try:
        return tuple(RoiEntry(**item) for item in json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error


def roi_weights(name: str) -> Path:
    """The intact weights file of a shipped model."""
    for entry in roi_entries():
        if entry.name == name:
            path = models_folder() / entry.file
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
                raise ModelError(f"weights {entry.file} of {name} are missing or damaged: reinstall ncc")
            return path
    raise ModelError(f"{name} is not in this installation")


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

        return foreground(roi_weights("seg"), pixels).astype(np.uint8) * np.uint8(255)
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
