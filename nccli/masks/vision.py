"""`boxes:` and `torchvision:`: networks of torchvision, with weights that the user has fetched.

The only import of torchvision.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.errors import ModelError, UsageError

DETECTOR = "fasterrcnn_mobilenet_v3_large_320_fpn"
SURE = 0.5
"""Detections that are less likely are left out."""

Plane = NDArray[np.float32]


def segmented(name: str, classes: tuple[str, ...], pixels: NDArray[np.uint8]) -> Plane:
    """How likely each pixel of (h, w, 3) is of one of the classes, or of any: (h, w)."""
    network, weights = _fetched(name)
    categories = [category.lower() for category in weights.meta["categories"]]
    chosen = _chosen(classes, categories, name)
    with torch.inference_mode():
        x = weights.transforms()(_tensor(pixels))[None]
        found = network(x)
        if not isinstance(found, dict) or "out" not in found:
            raise UsageError(f"{name} does not segment pictures")
        p = torch.softmax(found["out"], 1)[:, chosen].sum(1, keepdim=True)
        whole = torch.nn.functional.interpolate(p, pixels.shape[:2], mode="bilinear", align_corners=False)
    plane: Plane = whole[0, 0].float().numpy()
    return plane


def detected(classes: tuple[str, ...], pixels: NDArray[np.uint8]) -> Plane:
    """1 within the boxes around things of the classes, or of any, in (h, w, 3): (h, w)."""
    network, weights = _fetched(DETECTOR)
    chosen = _chosen(classes, [category.lower() for category in weights.meta["categories"]], DETECTOR)
    with torch.inference_mode():
        found = network([weights.transforms()(_tensor(pixels))])[0]
    plane = np.zeros(pixels.shape[:2], np.float32)
    for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
        if score >= SURE and int(label) in chosen:
            left, top, right, bottom = (int(edge) for edge in box.round())
            plane[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = 1
    return plane


def _tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _chosen(classes: tuple[str, ...], categories: list[str], name: str) -> list[int]:
    """Numbers of the classes; of all but the background when none is named."""
    if not classes:
        return [n for n, category in enumerate(categories) if category not in ("__background__", "n/a")]
    unknown = [name for name in classes if name not in categories]
    if unknown:
        known = ", ".join(sorted({c for c in categories if c not in ("__background__", "n/a")}))
        raise UsageError(f"{name} does not know {', '.join(unknown)}; it knows {known}")
    return [categories.index(name) for name in classes]


def intact(path: Path) -> bool:
    """Whether a file has the checksum whose beginning is the end of its name."""
    return hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.rpartition("-")[2])


def _fetched(name: str) -> tuple[Any, Any]:
    """A network in evaluation mode and its weights' description, from torch's cache alone."""
    try:
        from torchvision.models import get_model, get_model_weights
    except (ImportError, RuntimeError) as error:  # the latter when it was built for another torch
        raise ModelError(
            f"{name} needs torchvision, of torch's own version: pip install torchvision"
        ) from error
    try:
        weights = get_model_weights(name).DEFAULT
    except (KeyError, ValueError) as error:
        raise UsageError(f"torchvision has no network called {name}") from error
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
    if not path.is_file():
        command = f"from torchvision.models import get_model; get_model('{name}', weights='DEFAULT')"
        raise ModelError(
            f'weights of {name} are not in {path.parent}; fetch them with: python -c "{command}"'
        )
    if not intact(path):
        raise ModelError(f"{path} is damaged: delete it and fetch it again")
    network = get_model(
        name, weights=None, weights_backbone=None, num_classes=len(weights.meta["categories"])
    )
    try:
        network.load_state_dict(weights.get_state_dict(progress=False, weights_only=True))
    except (RuntimeError, OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise ModelError(f"{path} does not hold weights of {name}: delete it and fetch it again") from error
    return network.eval(), weights
