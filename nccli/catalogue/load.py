"""Models by name: verified, then loaded by what they are. Nothing here downloads."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from nccli.catalogue.entries import model_path, verify
from nccli.errors import ModelError
from nccli.networks.allocator import keep_freed_memory
from nccli.networks.entry import Entry
from nccli.networks.weights import ImageWeights, assemble_weights, read_weights
from nccli.zoo.names import is_zoo_name


@lru_cache(maxsize=4)
def load_model(entry: Entry, device: str = "cpu") -> ImageWeights:
    """Load a model of the catalogue; the same object is returned on later calls.

    Raises:
        ModelError: a missing or damaged file.
    """
    if not verify(entry):
        cure = f"run 'ncc models fetch {entry.name}'" if is_zoo_name(entry.name) else "reinstall ncc"
        raise ModelError(f"weights {entry.file} are damaged: their checksum differs; {cure}")
    return load_file(model_path(entry), entry, torch.device(device))


def load_file(path: Path, entry: Entry, device: torch.device) -> ImageWeights:
    """Load the weights in `path`."""
    keep_freed_memory()
    if is_zoo_name(entry.name):
        from nccli.zoo.assemble import load_zoo

        return load_zoo(path, entry, device)
    tensors, config = read_weights(path)
    try:
        return assemble_weights(tensors, config, entry, device)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"weights {path} do not fit their configuration: {error}") from error
