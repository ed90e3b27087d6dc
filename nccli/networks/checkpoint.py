"""Files of tensors that other programs wrote with torch: nothing but tensors is ever unpickled."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nccli.errors import ModelError

UNREADABLE = (
    torch.serialization.pickle.PickleError,  # type: ignore[attr-defined]
    torch.serialization.struct.error,  # type: ignore[attr-defined]
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    OSError,
)
"""What `torch.load` raises on bytes that are not its own."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        ModelError: it is damaged or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ModelError(f"cannot read the checkpoint {path.name}: {type(error).__name__}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{path.name} is no checkpoint: it does not hold tensors alone")
    return state
