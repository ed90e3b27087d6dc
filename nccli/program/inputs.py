"""Reading what a job codes, within the limits that a user sets.

The heavy modules are imported inside, so that planning a batch costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nccli import files
from nccli.program.memory import check_memory
from nccli.program.options import Common

if TYPE_CHECKING:
    from nccli.media.picture import Picture


def limit_threads(threads: int | None) -> None:
    """Let torch and numpy's BLAS use this many CPU threads; None for all cores."""
    if threads is not None:
        import torch

        from nccli.networks import products

        torch.set_num_threads(threads)
        products.limit_threads(threads)


def read_picture(source: str, operation: str, common: Common) -> Picture:
    """Read what is to be coded, unless that would need too much memory."""
    from nccli.media import still

    data = files.read_bytes(source)
    if common.max_memory is not None:
        height, width = still.picture_size(data, source)
        check_memory(operation, height, width, 8, common.max_memory, source)
    picture = trim(still.read_picture(data, source, common.max_pixels), common)
    check_memory(operation, picture.height, picture.width, picture.depth, common.max_memory, source)
    return picture


def remarks_on(picture: Picture, source: str) -> tuple[str, ...]:
    """What was wrong with the file of a picture."""
    return tuple(f"{source}: {remark}" for remark in picture.remarks)


def trim(picture: Picture, common: Common) -> Picture:
    """The picture without what the user does not want."""
    from nccli.media.picture import Metadata

    alpha = picture.alpha if common.keep_alpha else None
    kept = picture.metadata if common.keep_metadata else Metadata(colour=picture.metadata.colour)
    return replace(picture, alpha=alpha, metadata=kept)
