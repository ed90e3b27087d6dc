"""A file's region of interest in numbers, as far as they stand in front of its cells. Standard library only."""

from __future__ import annotations

from nccli.bounds import DROPS_PER_OCTAVE
from nccli.container.image_file import ImageContainer
from nccli.container.roi_head import read_roi_head
from nccli.container.section_ids import SectionId
from nccli.entropy.grid import LATENT_STRIDE


def describe(container: ImageContainer) -> dict[str, float]:
    """A file's region in the words of the options: gain and feather, levels and cells; and its bytes.

    Raises:
        FormatError: they are damaged.
    """
    payload = container.find(SectionId.ROI)
    if payload is None:
        return {}
    head, _ = read_roi_head(payload)
    return {
        "gain": 2.0 ** (head.drop / DROPS_PER_OCTAVE),
        "feather": head.feather * LATENT_STRIDE,
        "levels": head.top,
        "cell": LATENT_STRIDE << head.cell_log2,
        "bytes": len(payload),
    }
