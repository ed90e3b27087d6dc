"""Models by name: verified, then loaded by what they are. Nothing here downloads."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from nccli.catalogue.entries import intact_path
from nccli.errors import ModelError
from nccli.networks.allocator import keep_freed_memory
from nccli.networks.entry import Entry, ModelKind
from nccli.networks.weights import ImageWeights, assemble_weights, read_weights


@lru_cache(maxsize=4)
def load_model(entry: Entry, device: str = "cpu") -> ImageWeights:
    """Load a model of the catalogue; the same object is returned on later calls.

    Raises:
        ModelError: a missing or damaged file.
    """
    return load_file(intact_path(entry), entry, torch.device(device))


def load_file(path: Path, entry: Entry, device: torch.device) -> ImageWeights:
    """Load the weights in `path`."""
    keep_freed_memory()
    match entry.kind:
        case ModelKind.IMAGE:
            return _image_model(path, entry, device)
        case ModelKind.ZOO:
            from nccli.zoo.assemble import load_zoo

            return load_zoo(path, entry, device)
        case ModelKind.MASK:
            raise ModelError(f"{entry.name} makes masks and codes no pictures")


def _image_model(path: Path, entry: Entry, device: torch.device) -> ImageWeights:
    tensors, config = read_weights(path)
    try:
        return assemble_weights(tensors, config, entry, device)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"weights {path} do not fit their configuration: {error}") from error
